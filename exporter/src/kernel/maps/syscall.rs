//! bpf(2), and what it is given.

#![expect(
    unsafe_code,
    reason = "a raw system call: the kernel reads and writes at the addresses that it is given"
)]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// Commands of `enum bpf_cmd`.
const BPF_MAP_CREATE: libc::c_int = 0;
pub(super) const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
pub(super) const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
pub(super) const BPF_MAP_LOOKUP_AND_DELETE_BATCH: libc::c_int = 25;

/// The attributes for single elements.
#[repr(C)]
#[derive(Default)]
pub(super) struct ElementAttr {
    pub(super) map_fd: u32,
    pub(super) _pad: u32,
    pub(super) key: u64,
    pub(super) value: u64,
    pub(super) flags: u64,
}

/// The attributes for batches.
#[repr(C)]
#[derive(Default)]
pub(super) struct BatchAttr {
    pub(super) in_batch: u64,
    pub(super) out_batch: u64,
    pub(super) keys: u64,
    pub(super) values: u64,
    pub(super) count: u32,
    pub(super) map_fd: u32,
    pub(super) elem_flags: u64,
    pub(super) flags: u64,
}

/// The attributes for a new map.
#[repr(C)]
#[derive(Default)]
pub(super) struct CreateAttr {
    pub(super) map_type: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) map_flags: u32,
    pub(super) inner_map_fd: u32,
}

/// The attributes for questions about an object.
#[repr(C)]
#[derive(Default)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The beginning of `struct bpf_map_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MapInfo {
    pub(super) map_type: u32,
    pub(super) id: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) map_flags: u32,
}

/// Creates a map.
pub(super) fn create(mut attr: CreateAttr) -> io::Result<OwnedFd> {
    // SAFETY: the attributes hold no addresses.
    let fd = unsafe { bpf(BPF_MAP_CREATE, &mut attr) }?;
    // SAFETY: the kernel has just returned this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What the kernel says of a map.
pub(super) fn map_info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    let mut info = MapInfo::default();
    let mut attr = InfoAttr {
        bpf_fd: raw(&map),
        // Of a constant size far below 4 GiB.
        info_len: size_of::<MapInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the kernel writes `info_len` bytes at most. It reads them, too, and for objects that
    // are no maps takes some for addresses and lengths; they are 0.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(info)
}

/// Calls bpf(2).
///
/// # Safety
///
/// `A` must be the beginning of `union bpf_attr` for this command, and each address in it valid for
/// what the command reads or writes there.
pub(super) unsafe fn bpf<A>(command: libc::c_int, attr: &mut A) -> io::Result<libc::c_int> {
    // SAFETY: `attr` lives through the call and its size is passed; the kernel takes the rest as
    // zero. What is in it is the caller's promise.
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

/// As the attributes hold it.
pub(super) fn address<T>(value: &T) -> u64 {
    std::ptr::from_ref(value) as u64
}

/// As the attributes hold it.
pub(super) fn raw(fd: &impl AsFd) -> u32 {
    // An open descriptor is never negative.
    fd.as_fd().as_raw_fd().cast_unsigned()
}
