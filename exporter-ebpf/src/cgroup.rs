//! Whose a socket is: its cgroup, and where that is in the kernel's tree.
//!
//! The cgroup is that of the unified hierarchy (v2) in which the socket was created; an accepted one has its
//! listener's (`cgroup_sk_alloc` and `cgroup_sk_clone`, `kernel/cgroup/cgroup.c`). A socket keeps its cgroup in
//! memory, and a cgroup those that it is in, also when their directories are gone.

#![expect(
    unsafe_code,
    reason = "kernel memory is read at addresses that the verifier does not know"
)]

use aya_ebpf::{
    Global,
    helpers::{bpf_probe_read_kernel, generated::bpf_probe_read_kernel_str},
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use netdrop_ebpf::{CgroupPath, PATH_LEN};

use crate::program::{globals, read};

/// Its size is set by user space.
#[map]
static CGROUPS: HashMap<u64, CgroupPath> = HashMap::with_max_entries(1, 0);
/// Where a path is put together: too large for the stack.
#[map]
static PATH: PerCpuArray<Draft> = PerCpuArray::with_max_entries(1, 0);

globals! {
    // `NONE`, `POINTER` or `TAGGED`: how a socket refers to its cgroup.
    SK_CGROUP_KIND
    SK_CGROUP CGROUP_KN KN_ID KN_NAME KN_PARENT
}

/// The kernel does not say, or nobody asks.
const NONE: u32 = 0;
/// `sock_cgroup_data.cgroup`, since 5.15.
const POINTER: u32 = 1;
// Otherwise it is tagged: `sock_cgroup_data.val`.

/// The lowest bits of a tagged word. If one is set, the rest is no pointer: the word holds a class and
/// a priority of v1, or belongs to the root (`include/linux/cgroup-defs.h`, v5.10).
const TAGS: u64 = 3;

/// How many names are read of a path: twice as many as Kubernetes within a container has.
const DEPTH: usize = 16;
/// `NAME_MAX`, and the NUL.
const NAME_SIZE: usize = 256;

/// A path in the making.
#[repr(C)]
struct Draft {
    path: CgroupPath,
    /// A name may begin at the last byte of the path, and is then too long for it.
    beyond: [u8; NAME_SIZE],
    /// Before 6.1 an interrupt's drop can run the program within the program, on the same CPU and so
    /// on the same draft.
    is_taken: u64,
}

/// The id of the socket's cgroup; 0 if there is none.
#[inline(always)]
pub(crate) fn id_of_socket(sk: *const u8) -> u64 {
    match SK_CGROUP_KIND.load() {
        NONE => 0,
        POINTER => {
            let node = node(sk);
            if node.is_null() {
                0
            } else {
                read(node, &KN_ID)
            }
        }
        _ => untyped(node(sk) as u64, &KN_ID).unwrap_or(0),
    }
}

/// Writes the path of the socket's cgroup into `CGROUPS`. A path that does not fit, or that an interrupt keeps
/// from being put together, is missing there.
#[inline(never)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value, the path would be copied to the stack, which has no room for it"
)]
pub(crate) fn tell_path(id: u64, sk: *const u8) {
    // A cgroup has a socket. The verifier does not know that.
    if sk.is_null() || CGROUPS.get_ptr(&id).is_some() {
        return;
    }
    let Some(draft) = PATH.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: a map value, which is this CPU's own. Who interrupts leaves it alone when it is taken, and gives
    // it back before it ends.
    unsafe {
        if (&raw const (*draft).is_taken).read_volatile() != 0 {
            return;
        }
        (&raw mut (*draft).is_taken).write_volatile(1);
        put_together(draft, node(sk));
        // A full map has its limit from the same flag as the exporter's own table.
        _ = CGROUPS.insert(id, &(*draft).path, 0);
        (&raw mut (*draft).is_taken).write_volatile(0);
    }
}

/// The socket's cgroup as a node of kernfs.
#[inline(always)]
fn node(sk: *const u8) -> *const u8 {
    if SK_CGROUP_KIND.load() == POINTER {
        let cgroup: *const u8 = read(sk, &SK_CGROUP);
        if cgroup.is_null() {
            return cgroup;
        }
        return read(cgroup, &CGROUP_KN);
    }
    let word: u64 = read(sk, &SK_CGROUP);
    if word & TAGS != 0 {
        return core::ptr::null();
    }
    untyped(word, &CGROUP_KN).unwrap_or(0) as *const u8
}

/// # Safety
///
/// `draft` must be a map value.
#[inline(always)]
unsafe fn put_together(draft: *mut Draft, node: *const u8) {
    let mut node = node as u64;
    let mut len = 0;
    let mut is_whole = 0;
    // SAFETY: the caller's promise.
    let names = unsafe { &raw mut (*draft).path.names }.cast::<u8>();
    for _ in 0..DEPTH {
        let Ok(parent) = untyped(node, &KN_PARENT) else {
            break;
        };
        if parent == 0 {
            // The root, whose name is empty.
            is_whole = 1;
            break;
        }
        let Ok(name) = untyped(node, &KN_NAME) else {
            break;
        };
        // SAFETY: a name begins within the names and ends before the end of the draft.
        let read = unsafe {
            bpf_probe_read_kernel_str(names.add(len).cast(), NAME_SIZE as u32, name as *const _)
        };
        if read <= 0 {
            break;
        }
        let end = len + read as usize;
        if end >= PATH_LEN {
            break;
        }
        len = end;
        node = parent;
    }
    // SAFETY: the caller's promise.
    unsafe {
        (*draft).path.len = len as u32;
        (*draft).path.is_whole = is_whole;
    }
}

/// Reads a word of a kernel structure that the verifier does not know the type of.
#[inline(always)]
fn untyped(base: u64, offset: &Global<u32>) -> Result<u64, i32> {
    let field = base.wrapping_add(offset.load().into());
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(field as *const u64) }
}
