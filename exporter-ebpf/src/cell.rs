//! One counter of each CPU in front of the hash maps: most floods repeat one key.
//!
//! A drop whose key is in the cell is counted there and is done. Any other is counted in the hash map, as it
//! would be without a cell, and may then take the cell over. So a key in a cell is in the map of the same
//! generation, too, with its names written, and user space adds what both have counted.

#![expect(
    unsafe_code,
    reason = "the cells are raw map values; the kernel's verifier proves each access"
)]

use aya_ebpf::{
    macros::map,
    maps::{PerCpuArray, PerCpuHashMap},
};
use netdrop_ebpf::{Cell, DropCount, DropKey};

use crate::program::NEVER_NESTED;

/// One for each map of drops.
#[map]
static CELLS: PerCpuArray<Cell> = PerCpuArray::with_max_entries(2, 0);

/// As a key is compared.
const WORDS: usize = size_of::<DropKey>() / size_of::<u64>();
type Words = [u64; WORDS];

/// This CPU's cell beside that map; null where there is none.
///
/// Where the kernel runs a program within itself, an interrupt's drop could change the cell between two
/// instructions. There nobody gets one.
#[inline(always)]
pub(crate) fn beside(active: u64) -> *mut Cell {
    if NEVER_NESTED.load() == 0 {
        return core::ptr::null_mut();
    }
    CELLS
        .get_ptr_mut((active & 1) as u32)
        .unwrap_or(core::ptr::null_mut())
}

/// Counts the drop if the cell has its key.
#[inline(always)]
pub(crate) fn count(cell: *mut Cell, key: &DropKey, bytes: u64) -> bool {
    if cell.is_null() {
        return false;
    }
    // SAFETY: a map value, this CPU's own, and nothing runs between these instructions that uses it. A key is
    // as many words, without padding.
    unsafe {
        let held = (&raw const (*cell).key).cast::<Words>();
        let key = (&raw const *key).cast::<Words>();
        // Word by word: to compare arrays is a call of memcmp, a loop over bytes.
        for word in 0..WORDS {
            if (*held)[word] != (*key)[word] {
                return false;
            }
        }
        (*cell).count.packets += 1;
        (*cell).count.bytes += bytes;
        (*cell).was_hit = 1;
    }
    true
}

/// Gives the cell to a key that is in the map, unless it was hit since it was last missed: two keys in turns
/// do not take it from each other, which would cost a look-up each time.
#[inline(always)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value, the key would be copied to the stack"
)]
pub(crate) fn take_over(cell: *mut Cell, map: &PerCpuHashMap<DropKey, DropCount>, key: &DropKey) {
    if cell.is_null() {
        return;
    }
    // SAFETY: as in `count`; the count in the map is this CPU's, too.
    unsafe {
        if (*cell).was_hit != 0 {
            (*cell).was_hit = 0;
            return;
        }
        if (*cell).count.packets != 0 {
            // The key got the cell after it was in the map, and nobody deletes from a map that is written. If
            // it were not there, it would keep the cell.
            let Some(counted) = map.get_ptr_mut(&(*cell).key) else {
                return;
            };
            (*counted).packets += (*cell).count.packets;
            (*counted).bytes += (*cell).count.bytes;
            // Volatile, or the compiler makes it a call of memset.
            (&raw mut (*cell).count.packets).write_volatile(0);
            (&raw mut (*cell).count.bytes).write_volatile(0);
        }
        (*cell).key = *key;
    }
}
