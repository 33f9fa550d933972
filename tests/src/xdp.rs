//! An XDP program that drops everything, without a compiler (bpf(2), `include/uapi/linux/bpf.h`). Linux 5.9
//! and later.
#![expect(unsafe_code, reason = "bpf(2) is in no crate that the tests use")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::netns::Namespace;
use crate::send::name_to_index_here;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
/// The attach type `BPF_XDP`.
const BPF_XDP: u32 = 37;
/// Generic mode: after the kernel has made an skb of the frame.
const XDP_FLAGS_SKB_MODE: u32 = 2;

/// `r0 = XDP_DROP; exit`, as `struct bpf_insn`: opcode, registers, offset, immediate.
const DROP_ALL: [u64; 2] = [
    u64::from_ne_bytes([0xb7, 0, 0, 0, 1, 0, 0, 0]),
    u64::from_ne_bytes([0x95, 0, 0, 0, 0, 0, 0, 0]),
];

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

/// While this lives, a device drops all that it receives, by generic XDP.
#[derive(Debug)]
pub struct XdpDrop {
    // Closing the link detaches the program.
    _link: OwnedFd,
}

impl XdpDrop {
    /// Attaches the program.
    pub fn on(namespace: &Namespace, device: &str) -> Self {
        let program = bpf(
            BPF_PROG_LOAD,
            &ProgLoad {
                prog_type: BPF_PROG_TYPE_XDP,
                insn_cnt: DROP_ALL.len() as u32,
                insns: DROP_ALL.as_ptr() as u64,
                license: c"GPL".as_ptr() as u64,
            },
        )
        .unwrap_or_else(|error| panic!("cannot load an XDP program: {error}"));
        // The kernel looks the device up in the namespace of the calling thread.
        let link = namespace.enter(|| {
            bpf(
                BPF_LINK_CREATE,
                &LinkCreate {
                    prog_fd: program.as_raw_fd() as u32,
                    target_ifindex: name_to_index_here(device),
                    attach_type: BPF_XDP,
                    flags: XDP_FLAGS_SKB_MODE,
                },
            )
        });
        let link = link.unwrap_or_else(|error| panic!("cannot attach XDP to {device}: {error}"));
        Self { _link: link }
    }
}

/// A command of bpf(2) that gives a descriptor.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a struct that lives through the call and takes all
    // beyond for zero; what the struct points to is static.
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
