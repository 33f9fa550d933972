//! landlock_create_ruleset(2), asked for its version only: the landlock crate answers "not implemented"
//! for every error but one.

#![expect(unsafe_code, reason = "a system call that no crate offers")]

use std::io;

/// `include/uapi/linux/landlock.h`
const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;

/// Whether Landlock can be used here.
///
/// # Errors
///
/// `ENOSYS`: the kernel has none; `EOPNOTSUPP`: it is off since the boot; others come from a sandbox.
pub(super) fn try_landlock() -> io::Result<()> {
    // SAFETY: with this flag the call takes no pointer and no size.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    if version < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
