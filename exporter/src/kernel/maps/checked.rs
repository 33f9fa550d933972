//! Calls on maps, and the checks that make them safe.

#![expect(
    unsafe_code,
    reason = "raw system calls: the kernel reads and writes at the addresses that it is given"
)]

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use super::{
    MapError, Plain, PossibleCpus,
    guarded::Guarded,
    syscall::{
        BPF_MAP_LOOKUP_AND_DELETE_BATCH, BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM, BatchAttr,
        CreateAttr, ElementAttr, MapInfo, address, bpf, create, map_info, raw,
    },
};

/// The number of no bucket: what a position is until the kernel writes it.
const UNTOUCHED: u32 = u32::MAX;

/// The types of maps that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hash,
    Array,
    PerCpuHash(PossibleCpus),
    PerCpuArray(PossibleCpus),
    ArrayOfMaps,
}

impl Kind {
    /// The number in `enum bpf_map_type`.
    fn number(self) -> u32 {
        match self {
            Self::Hash => 1,
            Self::Array => 2,
            Self::PerCpuHash(_) => 5,
            Self::PerCpuArray(_) => 6,
            Self::ArrayOfMaps => 12,
        }
    }

    fn values_per_key(self) -> usize {
        match self {
            Self::Hash | Self::Array | Self::ArrayOfMaps => 1,
            Self::PerCpuHash(cpus) | Self::PerCpuArray(cpus) => cpus.get(),
        }
    }
}

/// A map of which the kernel has said that its keys are `K` and its values `V`.
#[derive(Debug)]
pub(super) struct Checked<K, V> {
    fd: OwnedFd,
    kind: Kind,
    max_entries: usize,
    types: PhantomData<(K, V)>,
}

/// Where a walk in batches stands in the map.
#[derive(Debug, Default)]
pub(super) struct Position(Option<u32>);

/// What one batch gave.
#[derive(Debug)]
pub(super) struct Batch {
    /// So many elements have left the map, whatever `walk` is.
    pub(super) taken: usize,
    /// How to go on.
    pub(super) walk: io::Result<Walk>,
}

/// Whether there can be more elements.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Walk {
    GoesOn,
    Ended,
}

impl<K: Plain, V: Plain> Checked<K, V> {
    /// Checks the map against what the kernel says of it.
    pub(super) fn open(fd: OwnedFd, kind: Kind) -> Result<Self, MapError> {
        let info = map_info(fd.as_fd()).map_err(|source| MapError::Refused {
            step: "ask the kernel about it",
            source,
        })?;
        check::<K, V>(kind, &info)?;
        Ok(Self {
            fd,
            kind,
            max_entries: info.max_entries as usize,
            types: PhantomData,
        })
    }

    /// One, or for a per-CPU map one for each possible CPU.
    pub(super) fn values_per_key(&self) -> usize {
        self.kind.values_per_key()
    }

    /// How many elements the map can have.
    pub(super) fn max_entries(&self) -> usize {
        self.max_entries
    }

    /// The values of this key; `ENOENT` if there is none.
    pub(super) fn lookup(&self, key: &K) -> io::Result<Vec<V>> {
        let mut values = vec![V::default(); self.values_per_key()];
        let mut attr = ElementAttr {
            map_fd: raw(&self.fd),
            key: address(key),
            value: values.as_mut_ptr() as u64,
            ..ElementAttr::default()
        };
        // SAFETY: `check` has compared the sizes of key and value with the kernel's, and there is
        // room for a value for each CPU that the kernel has.
        unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attr) }?;
        Ok(values)
    }

    /// Sets the values of this key: one, or for a per-CPU map one for each possible CPU.
    pub(super) fn update(&self, key: &K, values: &[V]) -> io::Result<()> {
        assert_eq!(self.values_per_key(), values.len());
        let mut attr = ElementAttr {
            map_fd: raw(&self.fd),
            key: address(key),
            value: values.as_ptr() as u64,
            ..ElementAttr::default()
        };
        // SAFETY: as in `lookup`; the kernel reads as many values as there are.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }

    /// Reads and removes elements from a hash map, as many as `keys` holds at most.
    ///
    /// `ENOSPC`: a bucket has more elements than `keys` holds, and none was removed.
    pub(super) fn take_batch(
        &self,
        position: &mut Position,
        keys: &mut [K],
        values: &mut [V],
    ) -> Batch {
        // In other maps a position is as long as a key.
        assert!(matches!(self.kind, Kind::Hash | Kind::PerCpuHash(_)));
        assert_eq!(values.len(), keys.len() * self.values_per_key());
        let mut next = UNTOUCHED;
        let mut attr = BatchAttr {
            in_batch: position.0.as_ref().map_or(0, address),
            out_batch: (&raw mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(keys.len()).unwrap_or(u32::MAX),
            map_fd: raw(&self.fd),
            ..BatchAttr::default()
        };
        // SAFETY: `check` has compared the sizes of key and value with the kernel's; there is room
        // for `count` keys, and for each of them a value for each CPU that the kernel has. The
        // positions in a hash map are 4 bytes (`__htab_map_lookup_and_delete_batch`).
        let done = unsafe { bpf(BPF_MAP_LOOKUP_AND_DELETE_BATCH, &mut attr) };
        // The kernel writes where it stands together with the number of elements, also when it
        // fails on its way. A call that failed before has left our own number in place.
        let taken = if next == UNTOUCHED {
            0
        } else {
            attr.count as usize
        };
        let walk = match done {
            Ok(_) => {
                position.0 = Some(next);
                Ok(Walk::GoesOn)
            }
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(Walk::Ended),
            Err(e) => Err(e),
        };
        Batch { taken, walk }
    }
}

impl<K, V> AsFd for Checked<K, V> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Creates an array of maps with one element, for maps like `inner`.
pub(super) fn create_array_of_maps(inner: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    create(CreateAttr {
        map_type: Kind::ArrayOfMaps.number(),
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        inner_map_fd: raw(&inner),
        ..CreateAttr::default()
    })
}

/// Has the kernel write the values of a new per-CPU array to the beginning of the buffer: for each
/// possible CPU 8 zeros.
///
/// # Errors
///
/// Also if the buffer is too small for them.
pub(super) fn write_zeros_per_cpu(buffer: &mut Guarded) -> Result<(), MapError> {
    let refused = |step| move |source| MapError::Refused { step, source };
    // `BPF_MAP_TYPE_PERCPU_ARRAY`; the memory for a CPU is zeroed (`bpf_map_alloc_percpu`).
    let map = create(CreateAttr {
        map_type: 6,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        ..CreateAttr::default()
    })
    .map_err(refused("create the map that counts the CPUs"))?;
    let mut attr = ElementAttr {
        map_fd: raw(&map),
        key: address(&0_u32),
        value: buffer.words().as_mut_ptr() as u64,
        ..ElementAttr::default()
    };
    // SAFETY: the key is readable for 4 bytes. The kernel writes upwards from the beginning of the
    // buffer, and fails at the memory behind it.
    match unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attr) } {
        Ok(_) => Ok(()),
        Err(e) if e.raw_os_error() == Some(libc::EFAULT) => Err(MapError::TooManyCpus),
        Err(e) => Err(refused("count the CPUs")(e)),
    }
}

/// Compares the kernel's answer with what is read and written here.
fn check<K, V>(kind: Kind, info: &MapInfo) -> Result<(), MapError> {
    for (what, found, expected) in [
        ("type", info.map_type, kind.number() as usize),
        ("key size", info.key_size, size_of::<K>()),
        ("value size", info.value_size, size_of::<V>()),
    ] {
        if found as usize != expected {
            return Err(MapError::Differs {
                what,
                found,
                expected,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{DropCount, DropKey};

    /// What the kernel says of `DROPS_A`.
    const DROPS: MapInfo = MapInfo {
        map_type: 5,
        id: 7,
        key_size: 32,
        value_size: 16,
        max_entries: 4096,
        map_flags: 0,
    };

    fn difference(kind: Kind, info: MapInfo) -> Option<String> {
        check::<DropKey, DropCount>(kind, &info)
            .err()
            .map(|e| e.to_string())
    }

    #[test]
    fn only_a_map_of_this_type_and_these_sizes_is_taken() {
        let cpus = PossibleCpus::of(2);
        assert_eq!(difference(Kind::PerCpuHash(cpus), DROPS), None);
        for (kind, info, expected) in [
            (Kind::Hash, DROPS, "its type is 5, not 1"),
            (Kind::PerCpuArray(cpus), DROPS, "its type is 5, not 6"),
            (
                Kind::PerCpuHash(cpus),
                MapInfo {
                    key_size: 24,
                    ..DROPS
                },
                "its key size is 24, not 32",
            ),
            (
                Kind::PerCpuHash(cpus),
                MapInfo {
                    value_size: 8,
                    ..DROPS
                },
                "its value size is 8, not 16",
            ),
        ] {
            let text = difference(kind, info).expect("it differs");
            assert!(text.starts_with(expected), "{text}");
            assert!(text.contains("reinstall"), "{text}");
        }
    }

    #[test]
    fn per_cpu_maps_have_a_value_for_each_cpu_and_others_one() {
        let cpus = PossibleCpus::of(96);
        for (kind, values) in [
            (Kind::Hash, 1),
            (Kind::Array, 1),
            (Kind::ArrayOfMaps, 1),
            (Kind::PerCpuHash(cpus), 96),
            (Kind::PerCpuArray(cpus), 96),
        ] {
            assert_eq!(kind.values_per_key(), values, "{kind:?}");
        }
    }

    #[test]
    fn what_is_no_map_is_refused_by_the_kernel() {
        let file = std::fs::File::open("/dev/null").expect("/dev/null");
        let refused = Checked::<u32, u64>::open(file.into(), Kind::Array);
        assert!(matches!(refused, Err(MapError::Refused { .. })));
    }

    #[test]
    fn a_batch_that_the_kernel_refuses_has_taken_nothing() {
        let file = std::fs::File::open("/dev/null").expect("/dev/null");
        let no_map = Checked::<u32, u64> {
            fd: file.into(),
            kind: Kind::Hash,
            max_entries: 4,
            types: PhantomData,
        };
        let batch = no_map.take_batch(&mut Position::default(), &mut [0; 4], &mut [0; 4]);
        assert_eq!(batch.taken, 0);
        assert!(batch.walk.is_err());
    }
}
