//! Giving back memory that only the start needed: malloc_trim(3), madvise(2).

#![expect(
    unsafe_code,
    reason = "a call into the C library, and one about the program's own code"
)]

use std::env;
use std::ptr::with_exposed_provenance_mut;

use procfs::process::{MMPermissions, MMapPath, Process};
use rustix::mm::{Advice, madvise};

/// Gives memory that was freed back to the system: parsing BTF takes tens of megabytes, once.
pub fn trim() {
    // SAFETY: glibc's malloc_trim has no preconditions; it takes the allocator's own locks.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Unmaps the pages of the program's code, of which those that are still needed come back from the page
/// cache by themselves. What loads and parses is a good part of them, and runs once. Where procfs is not
/// shown, they stay.
pub fn trim_code() {
    let maps = Process::myself().and_then(|process| process.maps());
    let (Ok(maps), Ok(program)) = (maps, env::current_exe()) else {
        return;
    };
    let code = MMPermissions::READ | MMPermissions::EXECUTE | MMPermissions::PRIVATE;
    for map in maps {
        let is_own = matches!(&map.pathname, MMapPath::Path(path) if *path == program);
        if !is_own || map.perms != code {
            continue;
        }
        let (begin, end) = map.address;
        // Linux has no addresses that do not fit.
        let (begin, len) = (begin as usize, (end - begin) as usize);
        // SAFETY: nobody writes to this mapping, which is of a file and not writable, so the same bytes come
        // back from the file at the next access (madvise(2), MADV_DONTNEED).
        if let Err(e) = unsafe {
            madvise(
                with_exposed_provenance_mut(begin),
                len,
                Advice::LinuxDontNeed,
            )
        } {
            log::debug!("cannot unmap code: {e}");
        }
    }
}
