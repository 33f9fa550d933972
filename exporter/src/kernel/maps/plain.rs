//! Which types the kernel may read and write byte for byte.

#![expect(
    unsafe_code,
    reason = "a promise about types, on which the buffers of system calls rely"
)]

use crate::abi::{Cell, CgroupPath, DeviceName, DropCount, DropKey, FunctionName, NameKey};

/// Types that the kernel may read and write byte for byte.
///
/// # Safety
///
/// Every bit pattern must be a valid value, and the type must have no padding.
pub unsafe trait Plain: Copy + Default {}

// SAFETY: an integer.
unsafe impl Plain for u32 {}
// SAFETY: an integer.
unsafe impl Plain for u64 {}
// SAFETY: `repr(C)`, of integers, without padding: `sizes` below.
unsafe impl Plain for DropKey {}
// SAFETY: as above.
unsafe impl Plain for DropCount {}
// SAFETY: as above.
unsafe impl Plain for Cell {}
// SAFETY: as above.
unsafe impl Plain for NameKey {}
// SAFETY: as above.
unsafe impl Plain for CgroupPath {}
// SAFETY: an array of bytes in a `repr(C)` struct.
unsafe impl Plain for DeviceName {}
// SAFETY: as above.
unsafe impl Plain for FunctionName {}

/// A type without padding is as large as its fields together.
mod sizes {
    use super::*;
    use crate::abi::PATH_LEN;

    const _: () = assert!(size_of::<DropKey>() == 2 * 8 + 3 * 4 + 1 + 1 + 2);
    const _: () = assert!(size_of::<DropCount>() == 2 * 8);
    const _: () = assert!(size_of::<Cell>() == size_of::<DropKey>() + size_of::<DropCount>() + 8);
    const _: () = assert!(size_of::<NameKey>() == 3 * 4);
    const _: () = assert!(size_of::<CgroupPath>() == 2 * 4 + PATH_LEN);
}
