//! The BPF program: counts every skb that the kernel frees as dropped, by [`DropKey`].
//!
//! It runs on the BTF tracepoint `kfree_skb` (`include/trace/events/skb.h`, Linux 5.5 and later)
//! for each drop, on the CPU and in the context of the drop, so it takes no lock and sends nothing
//! to user space on the way.
//!
//! Kernel structures are read by plain loads from the pointers that the tracepoint gives. The
//! verifier types those pointers and the kernel handles a fault in them by reading 0, which makes
//! them both safe and four times cheaper than `bpf_probe_read_kernel`. No offset is compiled in:
//! user space fills each [`Global`] from the running kernel's BTF before the program is loaded.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod cell;
mod cgroup;
mod program;
