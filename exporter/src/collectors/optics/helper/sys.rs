//! signal(2) for signals that are ignored, and _exit(2): no crate that is used here offers them.

#![expect(unsafe_code, reason = "calls into the C library")]

/// From now on this signal does nothing.
pub(super) fn ignore(signal: libc::c_int) {
    // SAFETY: with SIG_IGN nothing of this process is ever called. It fails for numbers that are no
    // signal, which changes nothing.
    unsafe {
        libc::signal(signal, libc::SIG_IGN);
    }
}

/// Ends the process without the usual tidying up, which makes system calls that the filter forbids.
pub(super) fn exit(status: i32) -> ! {
    // SAFETY: it has no preconditions, and does not return.
    unsafe { libc::_exit(status) }
}
