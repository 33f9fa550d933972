//! Maps whose keys are anything, emptied in batches.

use std::{io, os::fd::OwnedFd};

use super::{
    MapError, Plain, PossibleCpus,
    checked::{Batch, Checked, Kind, Position, Walk},
};

/// Elements asked for at a time. Larger than any bucket of a sanely filled map; a fuller bucket
/// makes the kernel say `ENOSPC`, and then the buffers are doubled.
const BATCH: usize = 256;

/// Bytes of values asked for at a time: of a machine with 8,192 CPUs 256 elements would be 32 MiB.
const BATCH_BYTES: usize = 1 << 20;

/// A `BPF_MAP_TYPE_HASH` of `K` to `V`.
#[derive(Debug)]
pub struct Hash<K, V>(Checked<K, V>);

impl<K: Plain, V: Plain> Hash<K, V> {
    /// Takes the map if the kernel says that it is one.
    ///
    /// # Errors
    ///
    /// It is of another type or size.
    pub fn open(fd: OwnedFd) -> Result<Self, MapError> {
        Checked::open(fd, Kind::Hash).map(Self)
    }

    /// Reads and removes all elements, and gives each to `each`.
    ///
    /// # Errors
    ///
    /// A system call failed. `each` has got what had left the map by then; the rest is still there.
    pub fn take_all(&self, mut each: impl FnMut(K, V)) -> io::Result<()> {
        take_all(&self.0, |key, values| {
            each(key, values.first().copied().unwrap_or_default());
        })
    }
}

/// A `BPF_MAP_TYPE_PERCPU_HASH` of `K` to `V`.
#[derive(Debug)]
pub struct PerCpuHash<K, V>(Checked<K, V>);

impl<K: Plain, V: Plain> PerCpuHash<K, V> {
    /// Takes the map if the kernel says that it is one.
    ///
    /// # Errors
    ///
    /// It is of another type or size.
    pub fn open(fd: OwnedFd, cpus: PossibleCpus) -> Result<Self, MapError> {
        // The kernel rounds values up to 8 bytes, so values of another size would not lie side by side.
        const { assert!(size_of::<V>().is_multiple_of(8)) };
        Checked::open(fd, Kind::PerCpuHash(cpus)).map(Self)
    }

    /// As [`Hash::take_all`]; each key comes with its values, one for each possible CPU.
    ///
    /// # Errors
    ///
    /// As [`Hash::take_all`].
    pub fn take_all(&self, each: impl FnMut(K, &[V])) -> io::Result<()> {
        take_all(&self.0, each)
    }
}

fn take_all<K: Plain, V: Plain>(map: &Checked<K, V>, each: impl FnMut(K, &[V])) -> io::Result<()> {
    walk(
        map.values_per_key(),
        map.max_entries(),
        |position, keys, values| map.take_batch(position, keys, values),
        each,
    )
}

fn walk<K: Plain, V: Plain>(
    values_per_key: usize,
    max_entries: usize,
    mut take_batch: impl FnMut(&mut Position, &mut [K], &mut [V]) -> Batch,
    mut each: impl FnMut(K, &[V]),
) -> io::Result<()> {
    let mut size = batch_size(values_per_key * size_of::<V>());
    let mut position = Position::default();
    loop {
        let mut keys = vec![K::default(); size];
        let mut values = vec![V::default(); size * values_per_key];
        let Batch { taken, walk } = take_batch(&mut position, &mut keys, &mut values);
        for (key, values) in keys.iter().zip(values.chunks(values_per_key)).take(taken) {
            each(*key, values);
        }
        match walk {
            Ok(Walk::GoesOn) => {}
            Ok(Walk::Ended) => return Ok(()),
            Err(e) if e.raw_os_error() == Some(libc::ENOSPC) && size < max_entries => size *= 2,
            Err(e) => return Err(e),
        }
    }
}

/// How many elements to ask for, of so many bytes of values each.
fn batch_size(bytes: usize) -> usize {
    (BATCH_BYTES / bytes).clamp(1, BATCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(taken: usize, error: libc::c_int) -> Batch {
        Batch {
            taken,
            walk: Err(io::Error::from_raw_os_error(error)),
        }
    }

    #[test]
    fn what_left_the_map_before_a_walk_failed_is_given_out() {
        let mut batches = [
            Batch {
                taken: BATCH,
                walk: Ok(Walk::GoesOn),
            },
            failed(3, libc::ENOMEM),
        ]
        .into_iter();
        let mut given = Vec::new();
        let walked = walk(
            2,
            4096,
            |_, keys: &mut [u32], values: &mut [u64]| {
                for (number, key) in (0..).zip(keys) {
                    *key = number;
                }
                for (number, value) in (0..).zip(values) {
                    *value = number;
                }
                batches.next().expect("no call after a failure")
            },
            |key, values: &[u64]| given.push((key, values.to_vec())),
        );
        assert_eq!(
            walked.expect_err("it failed").raw_os_error(),
            Some(libc::ENOMEM)
        );
        assert_eq!(given.len(), BATCH + 3);
        assert_eq!(
            given[BATCH..],
            [(0, vec![0, 1]), (1, vec![2, 3]), (2, vec![4, 5])]
        );
    }

    #[test]
    fn a_bucket_that_does_not_fit_makes_the_buffers_grow_up_to_the_map() {
        let mut sizes = Vec::new();
        let walked = walk(
            2,
            1000,
            |_, keys: &mut [u32], values: &mut [u64]| {
                assert_eq!(values.len(), 2 * keys.len());
                sizes.push(keys.len());
                failed(0, libc::ENOSPC)
            },
            |_, _| unreachable!("nothing was taken"),
        );
        assert_eq!(
            walked.expect_err("it failed").raw_os_error(),
            Some(libc::ENOSPC)
        );
        assert_eq!(sizes, [256, 512, 1024]);
    }

    #[test]
    fn a_batch_is_bounded_in_elements_and_in_bytes() {
        for (cpus, elements) in [(1, 256), (2, 256), (128, 256), (512, 128), (8192, 8)] {
            assert_eq!(batch_size(cpus * 16), elements, "{cpus} CPUs");
        }
        assert_eq!(batch_size(usize::MAX), 1);
    }
}
