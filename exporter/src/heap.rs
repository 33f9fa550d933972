//! Little memory: one arena (mallopt(3)), and what only the start needed is given back (malloc_trim(3),
//! madvise(2)).

#![expect(
    unsafe_code,
    reason = "a call into the C library, and one about the program's own code"
)]

use std::ptr::with_exposed_provenance_mut;

use procfs::process::{MMPermissions, MMapPath, MemoryMap, Process};
use rustix::mm::{Advice, madvise};

/// Has all threads share one arena of the allocator. By itself it makes one for each thread, and the few threads
/// here wait most of the time. Must be called before there is a second thread.
pub fn share_arena() {
    // SAFETY: glibc's mallopt has no preconditions; a parameter that it does not know changes nothing.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives memory that was freed back to the system: parsing BTF takes tens of megabytes, once.
pub fn trim() {
    // SAFETY: glibc's malloc_trim has no preconditions; it takes the allocator's own locks.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Unmaps the pages of code and constants, of which those that are still needed come back from the page
/// cache by themselves. What loads and parses is a good part of them, and runs once. Where procfs is not
/// shown, they stay.
pub fn trim_code() {
    let maps = Process::myself().and_then(|process| process.maps());
    for map in maps.into_iter().flatten().filter(is_of_file_only) {
        let (begin, end) = map.address;
        // Linux has no addresses that do not fit.
        let (begin, len) = (begin as usize, (end - begin) as usize);
        let begin = with_exposed_provenance_mut(begin);
        // SAFETY: nothing was ever written to this mapping, so the same bytes come back from the file at
        // the next access (madvise(2), MADV_DONTNEED).
        if let Err(e) = unsafe { madvise(begin, len, Advice::LinuxDontNeed) } {
            log::debug!("cannot unmap code: {e}");
        }
    }
}

/// Whether the mapping has nothing but what is in its file: code, which is position-independent, and the
/// constants before it, which begin with the file's head. What the dynamic linker relocates comes after
/// both (ld(1), `-z separate-code` and `-z relro`).
fn is_of_file_only(map: &MemoryMap) -> bool {
    let constants = MMPermissions::READ | MMPermissions::PRIVATE;
    let code = constants | MMPermissions::EXECUTE;
    let is_file = matches!(map.pathname, MMapPath::Path(_));
    is_file && (map.perms == code || map.perms == constants && map.offset == 0)
}
