//! BPF programs that drop everything, without a compiler (bpf(2), `include/uapi/linux/bpf.h`, socket(7)).
//! Linux 6.6 and later for tc's hooks, 5.9 for XDP.
#![expect(
    unsafe_code,
    reason = "bpf(2) and SO_ATTACH_FILTER are in no crate that the tests use"
)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use crate::netns::Namespace;
use crate::send::name_to_index_here;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;

/// Where a device's packets pass a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// XDP in generic mode: after the kernel has made an skb of the frame.
    GenericXdp,
    /// tc, on the way in.
    TcIngress,
    /// tc, on the way out.
    TcEgress,
}

/// What the kernel calls a hook, and what a program says there to drop a packet.
struct Terms {
    program_type: u32,
    attach_type: u32,
    flags: u32,
    verdict: u8,
}

impl Hook {
    fn terms(self) -> Terms {
        // BPF_PROG_TYPE_XDP, BPF_XDP, XDP_FLAGS_SKB_MODE and XDP_DROP; then BPF_PROG_TYPE_SCHED_CLS,
        // BPF_TCX_INGRESS or BPF_TCX_EGRESS and TC_ACT_SHOT.
        let (program_type, attach_type, flags, verdict) = match self {
            Self::GenericXdp => (6, 37, 2, 1),
            Self::TcIngress => (3, 46, 0, 2),
            Self::TcEgress => (3, 47, 0, 2),
        };
        Terms {
            program_type,
            attach_type,
            flags,
            verdict,
        }
    }
}

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

/// The beginning of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// While this lives, a device drops all that passes a hook.
#[derive(Debug)]
pub struct DropAll {
    // Closing the link detaches the program.
    _link: OwnedFd,
}

impl DropAll {
    /// Attaches a program.
    pub fn at(hook: Hook, namespace: &Namespace, device: &str) -> Self {
        let terms = hook.terms();
        // `r0 = verdict; exit`, as `struct bpf_insn`: opcode, registers, offset, immediate.
        let instructions: [[u8; 8]; 2] = [
            [0xb7, 0, 0, 0, terms.verdict, 0, 0, 0],
            [0x95, 0, 0, 0, 0, 0, 0, 0],
        ];
        let load = ProgLoad {
            prog_type: terms.program_type,
            insn_cnt: instructions.len() as u32,
            insns: instructions.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
        };
        let program = bpf(BPF_PROG_LOAD, &load)
            .unwrap_or_else(|error| panic!("cannot load a program for {hook:?}: {error}"));
        // The kernel looks the device up in the namespace of the calling thread.
        let link = namespace.enter(|| {
            let create = LinkCreate {
                prog_fd: program.as_raw_fd() as u32,
                target_ifindex: name_to_index_here(device),
                attach_type: terms.attach_type,
                flags: terms.flags,
            };
            bpf(BPF_LINK_CREATE, &create)
        });
        let link = link.unwrap_or_else(|error| panic!("cannot attach to {device}: {error}"));
        Self { _link: link }
    }
}

/// Makes a socket refuse all that it receives from now on.
pub fn refuse_all(socket: impl AsFd) {
    // The classic BPF instruction that lets 0 bytes pass.
    let mut nothing = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let filter = libc::sock_fprog {
        len: 1,
        filter: &raw mut nothing,
    };
    // SAFETY: the pointers are to a whole sock_fprog and its one instruction, which live through the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    let error = io::Error::last_os_error();
    assert_eq!(result, 0, "cannot attach a socket filter: {error}");
}

/// A command of bpf(2) that gives a descriptor.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a struct that lives through the call and takes all
    // beyond for zero; what the struct points to lives as long.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    match libc::c_int::try_from(result) {
        // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
        Ok(fd @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
