//! The heap of glibc, malloc_trim(3).

#![expect(unsafe_code, reason = "a call into the C library")]

/// Gives memory that was freed back to the system: parsing BTF takes tens of megabytes, once.
pub fn trim() {
    // SAFETY: glibc's malloc_trim has no preconditions; it takes the allocator's own locks.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
