//! What the BPF program and user space must agree on: map names, keys, values and constants.
//!
//! Keys are compared by their bytes in the kernel, so every type here is `repr(C)`, has no implicit
//! padding, and its size is asserted.
//!
//! The BPF program has this file as its library, the exporter as the module `abi`, through a link.

#![cfg_attr(target_arch = "bpf", no_std)]

/// One of the two maps of drops; `PERCPU_HASH`, [`DropKey`] to [`DropCount`].
pub const DROPS_A: &str = "DROPS_A";
/// The other one: the program writes one while user space empties the other.
pub const DROPS_B: &str = "DROPS_B";
/// `PERCPU_ARRAY` of [`Cell`], one for each map of drops.
pub const CELLS: &str = "CELLS";
/// `HASH`, [`NameKey`] to [`DeviceName`]: what the devices of the drops were called.
pub const NAMES: &str = "NAMES";
/// `HASH`, [`DropKey::location`] to [`FunctionName`]: which functions the drops were in.
pub const FUNCTIONS: &str = "FUNCTIONS";
/// `HASH`, cgroup ids ([`DropKey::cgroup`]) to [`CgroupPath`]: where the cgroups of the drops are.
pub const CGROUPS: &str = "CGROUPS";
/// `PERCPU_ARRAY` of `u64` packets, indexed by [`Unattributed`].
pub const UNATTRIBUTED: &str = "UNATTRIBUTED";
/// The section that holds the index of the map being written, a `u64` that is 0 or 1.
pub const ACTIVE_SECTION: &str = ".bss";
/// The tracepoint, as BTF and the kernel name it.
pub const TRACEPOINT: &str = "kfree_skb";

/// The program for kernels whose `rx_sk` must not or cannot be read.
pub const PROGRAM: &str = "kfree_skb";
/// The program that takes the socket from `rx_sk` where there is one.
pub const PROGRAM_RX_SK: &str = "kfree_skb_rx_sk";
/// Never attached. It reads `rx_sk` unchecked: a kernel that accepts it does not know that the
/// pointer may be NULL (CVE-2025-21852), and there [`PROGRAM_RX_SK`] must not run.
pub const PROBE_RX_SK: &str = "probe_rx_sk";

/// `IFNAMSIZ`, the size of a device name with its NUL (`include/uapi/linux/if.h`).
pub const NAME_LEN: usize = 16;
/// The size of a function name with its NUL. The longest of a 6.18 kernel has 62 bytes, without what
/// compilers append.
pub const FUNCTION_NAME_LEN: usize = 64;

/// What drops are counted by in the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DropKey {
    /// Kernel address at which the skb was freed.
    pub location: u64,
    /// Id of the cgroup (v2) that the packet's socket was created in; 0 without a socket, or where it is not
    /// looked at.
    pub cgroup: u64,
    /// Inode of the network namespace, as `stat -L /proc/PID/ns/net` shows it; 0 when unknown.
    pub netns: u32,
    /// Index of the device within that namespace; 0 when unknown.
    pub ifindex: u32,
    /// `enum skb_drop_reason` of the running kernel; 0 where the tracepoint has no such argument.
    pub reason: u32,
    /// TCP state (`include/net/tcp_states.h`); 0 without a TCP socket.
    pub state: u8,
    /// A [`Link`] as a number.
    pub link: u8,
    /// Tells the names apart that one ifindex had between two drains, so that a renamed device's
    /// drops are never mixed up. 0 without a device.
    pub name_tag: u16,
}

/// What is counted for each [`DropKey`], on each CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCount {
    /// Socket buffers; a GSO skb is one.
    pub packets: u64,
    /// Their `skb->len`.
    pub bytes: u64,
}

/// What one CPU counts in front of the hash map: the drops of one key, which is in that map, too.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// All zeros until a key has taken the cell over.
    pub key: DropKey,
    /// Counted here, and not in the map.
    pub count: DropCount,
    /// 1 if the key was hit since it was last missed.
    pub was_hit: u64,
}

/// Which device name is meant: of which namespace, ifindex and [`DropKey::name_tag`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NameKey {
    /// As [`DropKey::netns`].
    pub netns: u32,
    /// As [`DropKey::ifindex`].
    pub ifindex: u32,
    /// [`DropKey::name_tag`], widened so that the key has no padding.
    pub name_tag: u32,
}

/// `net_device.name`: NUL-terminated, but what follows the NUL is not defined.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceName(pub [u8; NAME_LEN]);

/// What the kernel prints for `%ps` (`Documentation/core-api/printk-formats.rst`): the symbol of the
/// address, for one in a module followed by ` [module]`. NUL-terminated, and cut to fit. An address
/// without a symbol is printed as a number, `0x...`.
///
/// Aligned, so that the program clears it by words.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionName(pub [u8; FUNCTION_NAME_LEN]);

impl Default for FunctionName {
    fn default() -> Self {
        Self([0; FUNCTION_NAME_LEN])
    }
}

/// How many bytes of names a [`CgroupPath`] holds: some 15 names of systemd's, or 5 of containers.
pub const PATH_LEN: usize = 504;

/// Names of a cgroup and of those that it is in, from the kernel's tree.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupPath {
    /// How many bytes of `names` hold names; what follows is not defined.
    pub len: u32,
    /// 1 if the names go up to below the root; 0 if there are more.
    pub is_whole: u32,
    /// The cgroup's own name first, each followed by a NUL.
    pub names: [u8; PATH_LEN],
}

impl Default for CgroupPath {
    fn default() -> Self {
        Self {
            len: 0,
            is_whole: 0,
            names: [0; PATH_LEN],
        }
    }
}

const _: () = assert!(size_of::<CgroupPath>() == 8 + PATH_LEN);
const _: () = assert!(size_of::<DropKey>() == 32 && align_of::<DropKey>() == 8);
const _: () = assert!(size_of::<DropCount>() == 16);
const _: () = assert!(size_of::<Cell>() == size_of::<DropKey>() + size_of::<DropCount>() + 8);
const _: () = assert!(size_of::<NameKey>() == 12);
const _: () = assert!(size_of::<DeviceName>() == NAME_LEN);
const _: () = assert!(size_of::<FunctionName>() == FUNCTION_NAME_LEN);

/// The state of the device's link at the moment of the drop.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Link {
    /// Administratively up, with carrier.
    Up = 0,
    /// Administratively up, without carrier.
    NoCarrier = 1,
    /// `IFF_UP` is clear.
    AdminDown = 2,
    /// No device is known.
    Unknown = 3,
}

impl Link {
    /// The variant with this number; [`Link::Unknown`] for any that is not one.
    pub const fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Up,
            1 => Self::NoCarrier,
            2 => Self::AdminDown,
            _ => Self::Unknown,
        }
    }
}

/// Why a drop that was seen has no key; the index into [`UNATTRIBUTED`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unattributed {
    /// The map had no free element.
    MapFull = 0,
    /// The kernel refused the insert because the same CPU was inside the map already.
    Nested = 1,
}

impl Unattributed {
    /// How many there are, and so the size of [`UNATTRIBUTED`].
    pub const COUNT: u32 = 2;
}
