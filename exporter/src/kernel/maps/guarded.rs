//! A buffer that nobody can write past.

#![expect(
    unsafe_code,
    reason = "memory whose protection is changed comes from mmap(2)"
)]

use std::{io, ptr, slice};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::PossibleCpus;

/// Of the buffer, in bytes: a word for each CPU that there can be.
const SIZE: usize = PossibleCpus::MAX * size_of::<u64>();

/// The buffer and as much again that is not accessible, so that the end of the buffer is one of a
/// page whatever the size of pages is.
const MAPPED: usize = 2 * SIZE;

/// 64-bit words before memory that is not accessible: a system call that would write more fails
/// with `EFAULT`.
pub(super) struct Guarded {
    /// Of [`MAPPED`] bytes.
    start: *mut u64,
}

impl Guarded {
    /// A buffer of zeros.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: a new mapping at a place that the kernel chooses.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                MAPPED,
                ProtFlags::empty(),
                MapFlags::PRIVATE,
            )
        }?;
        let guarded = Self {
            start: start.cast(),
        };
        // SAFETY: the first half of that mapping, which nobody uses yet.
        unsafe { mprotect(start, SIZE, MprotectFlags::READ | MprotectFlags::WRITE) }?;
        Ok(guarded)
    }

    /// The buffer.
    pub(super) fn words(&mut self) -> &mut [u64] {
        // SAFETY: the first `SIZE` bytes are readable and writable for as long as this lives, begin
        // at a page, and are borrowed from `self`. Any bits are a `u64`.
        unsafe { slice::from_raw_parts_mut(self.start, SIZE / size_of::<u64>()) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's alone, and slices of it are borrowed from it.
        if let Err(e) = unsafe { munmap(self.start.cast(), MAPPED) } {
            log::debug!("cannot unmap a buffer: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn the_kernel_writes_as_much_as_the_buffer_holds_and_no_more() {
        let mut buffer = Guarded::new().expect("memory");
        assert_eq!(buffer.words().len(), PossibleCpus::MAX);
        let zeros = File::open("/dev/zero").expect("/dev/zero");
        buffer.words().fill(u64::MAX);
        for (size, fits) in [(SIZE, true), (SIZE + 1, false)] {
            let start = buffer.words().as_mut_ptr();
            // SAFETY: the kernel writes into the buffer, or fails at what lies behind it.
            let read = unsafe { libc::read(zeros.as_raw_fd(), start.cast(), size) };
            assert_eq!(usize::try_from(read).is_ok_and(|read| read == size), fits);
        }
        assert!(buffer.words().iter().all(|word| *word == 0));
    }
}
