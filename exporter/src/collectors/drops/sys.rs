//! System calls that no crate offers: bpf(2) on maps in batches.
//!
//! Everything here takes typed buffers and checks their sizes, so that callers need no `unsafe`.
//! bpf(2) is described in its man page; the attributes are `union bpf_attr` in
//! `include/uapi/linux/bpf.h`. Batches need Linux 5.6, the rest 4.12.

#![expect(
    unsafe_code,
    reason = "raw system calls: the kernel reads and writes the buffers whose addresses it is given"
)]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// Commands of `enum bpf_cmd`.
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_MAP_GET_NEXT_KEY: libc::c_int = 4;
const BPF_MAP_LOOKUP_AND_DELETE_BATCH: libc::c_int = 25;

/// `BPF_MAP_TYPE_ARRAY_OF_MAPS` of `enum bpf_map_type`.
const BPF_MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;

/// Types that may be written by the kernel byte for byte.
///
/// # Safety
///
/// Every bit pattern must be a valid value, and the type must have no padding.
pub unsafe trait Plain: Copy + Default {}

// SAFETY: integers and `repr(C)` structs of integers without padding (asserted beside them).
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: as above.
unsafe impl Plain for netdrop_ebpf::DropKey {}
// SAFETY: as above.
unsafe impl Plain for netdrop_ebpf::DropCount {}
// SAFETY: as above.
unsafe impl Plain for netdrop_ebpf::NameKey {}
// SAFETY: as above; an array of bytes.
unsafe impl Plain for netdrop_ebpf::DeviceName {}

/// The part of `union bpf_attr` for single elements.
#[repr(C)]
#[derive(Default)]
struct ElementAttr {
    map_fd: u32,
    _pad: u32,
    key: u64,
    value_or_next_key: u64,
    flags: u64,
}

/// The part of `union bpf_attr` for batches.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// The part of `union bpf_attr` for the creation of a map of maps.
#[repr(C)]
#[derive(Default)]
struct CreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
}

/// Where a batch walk of a map stands; opaque to user space.
#[derive(Default)]
pub struct Position(Option<u32>);

/// What one batch gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Batch {
    /// So many elements, and there are more.
    More(usize),
    /// So many elements, the last ones.
    Last(usize),
}

/// Reads and removes elements from a hash map, as many as `keys` holds at most.
///
/// `values` holds `values.len() / keys.len()` values per key: one for a plain map, one for each
/// possible CPU for a per-CPU map.
///
/// # Errors
///
/// `ENOSPC` if a bucket has more elements than `keys` holds: nothing was removed, call again with
/// larger buffers. `EINVAL` where the kernel has no such command (before 5.6).
pub fn take_batch<K: Plain, V: Plain>(
    map: BorrowedFd<'_>,
    position: &mut Position,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<Batch> {
    assert!(!keys.is_empty() && values.len().is_multiple_of(keys.len()));
    let mut next = 0_u32;
    let mut attr = BatchAttr {
        in_batch: position.0.as_ref().map_or(0, address),
        out_batch: (&raw mut next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: u32::try_from(keys.len()).unwrap_or(u32::MAX),
        map_fd: raw(map),
        ..BatchAttr::default()
    };
    // SAFETY: `keys` and `values` are writable for `count` elements each, of the sizes the map was
    // created with (both are fixed by netdrop-ebpf); the positions are 4 bytes for hash maps.
    let done = unsafe { bpf(BPF_MAP_LOOKUP_AND_DELETE_BATCH, &mut attr) };
    let count = attr.count as usize;
    match done {
        Ok(_) => {
            position.0 = Some(next);
            Ok(Batch::More(count))
        }
        // The walk is over; what `count` says was still read.
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(Batch::Last(count)),
        Err(e) => Err(e),
    }
}

/// The first key of a map, or `None` if it is empty.
pub fn first_key<K: Plain>(map: BorrowedFd<'_>) -> io::Result<Option<K>> {
    let mut key = K::default();
    let mut attr = ElementAttr {
        map_fd: raw(map),
        value_or_next_key: (&raw mut key) as u64,
        ..ElementAttr::default()
    };
    // SAFETY: `key` is writable for the map's key size; a key of 0 asks for the first.
    let found = absent_as_none(unsafe { bpf(BPF_MAP_GET_NEXT_KEY, &mut attr) })?;
    Ok(found.map(|()| key))
}

/// Reads the element with this key into `values` (one for each possible CPU for a per-CPU map);
/// `false` if there is none.
pub fn lookup<K: Plain, V: Plain>(
    map: BorrowedFd<'_>,
    key: &K,
    values: &mut [V],
) -> io::Result<bool> {
    let mut attr = ElementAttr {
        map_fd: raw(map),
        key: address(key),
        value_or_next_key: values.as_mut_ptr() as u64,
        ..ElementAttr::default()
    };
    // SAFETY: `values` is writable for the map's value size times the possible CPUs: callers size
    // it by `aya::util::nr_cpus`.
    let found = absent_as_none(unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attr) })?;
    Ok(found.is_some())
}

/// Removes the element with this key.
pub fn delete<K: Plain>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    let mut attr = ElementAttr {
        map_fd: raw(map),
        key: address(key),
        ..ElementAttr::default()
    };
    // SAFETY: `key` is readable for the map's key size.
    unsafe { bpf(BPF_MAP_DELETE_ELEM, &mut attr) }.map(drop)
}

/// Sets the element with this key.
pub fn update<K: Plain, V: Plain>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()> {
    let mut attr = ElementAttr {
        map_fd: raw(map),
        key: address(key),
        value_or_next_key: address(value),
        ..ElementAttr::default()
    };
    // SAFETY: `key` and `value` are readable for the map's key and value sizes.
    unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attr) }.map(drop)
}

/// Creates an array of maps with one element, for maps like `inner`.
pub fn create_array_of_maps(inner: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = CreateAttr {
        map_type: BPF_MAP_TYPE_ARRAY_OF_MAPS,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        inner_map_fd: raw(inner),
        ..CreateAttr::default()
    };
    // SAFETY: the attributes hold no addresses.
    let fd = unsafe { bpf(BPF_MAP_CREATE, &mut attr) }?;
    // SAFETY: the kernel has just returned this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Calls bpf(2).
///
/// # Safety
///
/// Each address in `attr` must be valid for what the command reads or writes there.
unsafe fn bpf<A>(command: libc::c_int, attr: &mut A) -> io::Result<libc::c_int> {
    // SAFETY: `attr` is a live `repr(C)` prefix of `union bpf_attr`, whose size is passed; the
    // kernel takes the rest as zero. The addresses within are the caller's promise.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attr),
            size_of::<A>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(libc::c_int::try_from(result).unwrap_or(libc::c_int::MAX))
}

fn absent_as_none(result: io::Result<libc::c_int>) -> io::Result<Option<()>> {
    match result {
        Ok(_) => Ok(Some(())),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

fn address<T>(value: &T) -> u64 {
    std::ptr::from_ref(value) as u64
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    // A borrowed descriptor is never negative.
    fd.as_fd().as_raw_fd().cast_unsigned()
}
