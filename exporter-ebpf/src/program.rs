//! The program itself.

#![expect(
    unsafe_code,
    reason = "a BPF program is raw loads and map values; the kernel's verifier proves each access"
)]

use core::{arch::asm, mem::MaybeUninit};

use crate::cgroup;
use aya_ebpf::{
    Global,
    bindings::BPF_NOEXIST,
    helpers::generated::bpf_snprintf,
    macros::{btf_tracepoint, map},
    maps::{HashMap, PerCpuArray, PerCpuHashMap},
    programs::BtfTracePointContext,
};
use netdrop_ebpf::{
    Cell, DeviceName, DropCount, DropKey, FUNCTION_NAME_LEN, FunctionName, Link, NameKey,
    Unattributed,
};

use crate::cell;

/// GPL-compatible, as the kernel asks of programs that read its memory.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

// Sizes are set by user space before the maps are created.
#[map]
static DROPS_A: PerCpuHashMap<DropKey, DropCount> = PerCpuHashMap::with_max_entries(1, 0);
#[map]
static DROPS_B: PerCpuHashMap<DropKey, DropCount> = PerCpuHashMap::with_max_entries(1, 0);
#[map]
static NAMES: HashMap<NameKey, DeviceName> = HashMap::with_max_entries(1, 0);
#[map]
static FUNCTIONS: HashMap<u64, FunctionName> = HashMap::with_max_entries(1, 0);
#[map]
static UNATTRIBUTED: PerCpuArray<u64> = PerCpuArray::with_max_entries(Unattributed::COUNT, 0);

/// Which map is written: 0 for `DROPS_A`, 1 for `DROPS_B`. Alone in .bss; user space flips it.
#[unsafe(no_mangle)]
static mut ACTIVE: u64 = 0;

/// Declares constants that user space sets before the program is loaded; the verifier sees them as
/// known numbers and removes the branches that they rule out.
macro_rules! globals {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            pub(crate) static $name: aya_ebpf::Global<u32> = aya_ebpf::Global::new(0);
        )*
    };
}
pub(crate) use globals;

globals! {
    // 1 where the tracepoint has the argument `reason` (5.17 and later).
    HAS_REASON
    // 1 where the kernel has the helper bpf_snprintf (5.13 and later).
    HAS_SNPRINTF
    // 1 where the kernel does not run the program within itself on one CPU (6.1 and later).
    NEVER_NESTED
    // Offsets in bytes; the fields are in exporter/src/kernel/btf/mod.rs.
    SKB_DEV SKB_SK SKB_IIF SKB_LEN
    DEV_IFINDEX DEV_NAME DEV_NET DEV_STATE DEV_FLAGS DEV_REG_STATE DEV_TX
    TXQ_DEV NET_INUM
    SK_FAMILY SK_STATE SK_NET SK_TYPE SK_PROTOCOL
}

/// Prints an address as the function that it is in.
#[unsafe(no_mangle)]
static FUNCTION_FORMAT: [u8; 4] = *b"%ps\0";

/// `IFF_UP` (`include/uapi/linux/if.h`).
const IFF_UP: u32 = 1;
/// Bit of `__LINK_STATE_NOCARRIER` (`include/linux/netdevice.h`, `enum netdev_state_t`).
const NO_CARRIER: u64 = 1 << 2;
/// `NETREG_REGISTERED` to `NETREG_UNREGISTERED` (`include/linux/netdevice.h`): a device with a name.
const REGISTERED: core::ops::RangeInclusive<u8> = 1..=3;
/// `AF_INET` and `AF_INET6` (`include/linux/socket.h`).
const INET_FAMILIES: [u16; 2] = [2, 10];
/// `SOCK_STREAM` (`include/linux/net.h`).
const SOCK_STREAM: u16 = 1;
/// `IPPROTO_TCP` (`include/uapi/linux/in.h`).
const IPPROTO_TCP: u16 = 6;
/// `TCP_TIME_WAIT` and `TCP_NEW_SYN_RECV` (`include/net/tcp_states.h`), the states of mini-sockets.
pub(crate) const MINI_SOCKETS: [u8; 2] = [6, 12];
/// `TCP_BOUND_INACTIVE`, the highest state so far (`include/net/tcp_states.h`, v6.8).
const LAST_STATE: u8 = 13;
/// `EEXIST` and `E2BIG` (`include/uapi/asm-generic/errno-base.h`), as helpers return them.
const EEXIST: i32 = -17;
const E2BIG: i32 = -7;

/// Counts one drop; for kernels without an `rx_sk` argument, or without one that may be read.
#[btf_tracepoint(function = "kfree_skb")]
fn kfree_skb(ctx: BtfTracePointContext) {
    count(&ctx, core::ptr::null());
}

/// Counts one drop; `rx_sk` is the receiving socket where the caller knew one (6.11 and later).
#[btf_tracepoint(function = "kfree_skb")]
fn kfree_skb_rx_sk(ctx: BtfTracePointContext) {
    count(&ctx, ctx.arg(3));
}

/// Loaded as a test and never attached: it reads `rx_sk` unchecked. A verifier that accepts it
/// takes the pointer for non-NULL and would remove the check in [`socket`], too.
#[btf_tracepoint(function = "kfree_skb")]
fn probe_rx_sk(ctx: BtfTracePointContext) -> i32 {
    let rx_sk: *const u8 = ctx.arg(3);
    read::<u8>(rx_sk, &SK_STATE).into()
}

/// Reads a field of a kernel structure.
#[inline(always)]
pub(crate) fn read<T: Copy>(base: *const u8, offset: &Global<u32>) -> T {
    // SAFETY: `base` comes from the tracepoint's arguments or from a pointer read from them. The
    // verifier checks the access against the type of `base`, and a bad address reads as 0.
    unsafe { base.add(offset.load() as usize).cast::<T>().read_volatile() }
}

#[inline(always)]
fn count(ctx: &BtfTracePointContext, rx_sk: *const u8) {
    let skb: *const u8 = ctx.arg(0);
    let location: u64 = ctx.arg(1);
    let reason = if HAS_REASON.load() != 0 {
        ctx.arg(2)
    } else {
        0
    };

    let bytes = u64::from(read::<u32>(skb, &SKB_LEN));
    let sk: *const u8 = if rx_sk.is_null() {
        read(skb, &SKB_SK)
    } else {
        rx_sk
    };
    let dev = device(skb);
    let (mut state, mut cgroup) = (0, 0);
    let (mut netns, mut ifindex, mut link) = (0, 0, Link::Unknown);
    let (mut name, mut name_tag) = (None, 0);

    if !sk.is_null() {
        let sk_state = read::<u8>(sk, &SK_STATE);
        state = tcp_state(sk, sk_state);
        if !MINI_SOCKETS.contains(&sk_state) {
            cgroup = cgroup::id_of_socket(sk);
        }
    }
    if !dev.is_null() {
        ifindex = read(dev, &DEV_IFINDEX);
        netns = inum(read(dev, &DEV_NET));
        link = link_of(dev);
        // Read once, so that the name that is stored is the one that the tag is of.
        let words = read_name(dev);
        name_tag = tag_of(words);
        name = Some(words);
    } else if !sk.is_null() {
        // The socket layer has reused skb->dev; where the packet came in is still known.
        ifindex = read(skb, &SKB_IIF);
        netns = inum(read(sk, &SK_NET));
    }
    // In one go: clearing it first would be a call of memset, which takes 25 ns.
    let key = DropKey {
        location,
        cgroup,
        netns,
        ifindex,
        reason,
        state,
        link: link as u8,
        name_tag,
    };

    // Two calls rather than one with a chosen map: the verifier can inline a look-up only where
    // the map is known.
    // SAFETY: the program never writes it; user space does, by one store, so a volatile load reads
    // the old or the new value.
    let active = unsafe { (&raw const ACTIVE).read_volatile() };
    let cell = cell::beside(active);
    if cell::count(cell, &key, bytes) {
        return;
    }
    if active == 0 {
        add(&DROPS_A, &key, bytes, name, sk, cell);
    } else {
        add(&DROPS_B, &key, bytes, name, sk, cell);
    }
}

/// `skb->dev`, or null where that pointer is something else: it shares a union with `dev_scratch`
/// and with the red-black tree node of TCP's out-of-order queue (`include/linux/skbuff.h`).
///
/// A device proves itself by its first transmit queue, which points back to it from allocation to
/// free (`netdev_init_one_queue`, `net/core/dev.c`), also while the device is being unregistered.
#[inline(always)]
fn device(skb: *const u8) -> *const u8 {
    let dev: *const u8 = read(skb, &SKB_DEV);
    if dev.is_null() || !REGISTERED.contains(&read::<u8>(dev, &DEV_REG_STATE)) {
        return core::ptr::null();
    }
    let queue: *const u8 = read(dev, &DEV_TX);
    if queue.is_null() || read::<u64>(queue, &TXQ_DEV) != dev as u64 {
        return core::ptr::null();
    }
    dev
}

#[inline(always)]
fn inum(net: *const u8) -> u32 {
    if net.is_null() {
        0
    } else {
        read(net, &NET_INUM)
    }
}

#[inline(always)]
fn link_of(dev: *const u8) -> Link {
    if read::<u32>(dev, &DEV_FLAGS) & IFF_UP == 0 {
        Link::AdminDown
    } else if read::<u64>(dev, &DEV_STATE) & NO_CARRIER != 0 {
        Link::NoCarrier
    } else {
        Link::Up
    }
}

/// The TCP state of the socket, 0 if it is not a TCP socket.
///
/// Mini-sockets have nothing beyond `sock_common`, so only their state may be read. A raw socket
/// for protocol TCP is told apart by its type.
#[inline(always)]
fn tcp_state(sk: *const u8, state: u8) -> u8 {
    let family = read::<u16>(sk, &SK_FAMILY);
    if state > LAST_STATE || !(family == INET_FAMILIES[0] || family == INET_FAMILIES[1]) {
        return 0;
    }
    if MINI_SOCKETS.contains(&state) {
        return state;
    }
    let tcp =
        read::<u16>(sk, &SK_PROTOCOL) == IPPROTO_TCP && read::<u16>(sk, &SK_TYPE) == SOCK_STREAM;
    if tcp { state } else { 0 }
}

/// The device's name as two words.
#[inline(always)]
fn read_name(dev: *const u8) -> [u64; 2] {
    // SAFETY: as in `read`; a name is 16 bytes.
    let name = unsafe { dev.add(DEV_NAME.load() as usize) }.cast::<u64>();
    // SAFETY: as above.
    unsafe { [name.read_volatile(), name.add(1).read_volatile()] }
}

/// A 16 bit hash of the name: multiplicative, by two odd constants, of which the high bits are
/// the well-mixed ones.
#[inline(always)]
fn tag_of(name: [u64; 2]) -> u16 {
    let hash =
        name[0].wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ name[1].wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    (hash >> 48) as u16
}

#[inline(always)]
fn add(
    map: &PerCpuHashMap<DropKey, DropCount>,
    key: &DropKey,
    bytes: u64,
    name: Option<[u64; 2]>,
    sk: *const u8,
    cell: *mut Cell,
) {
    if add_to_existing(map, key, bytes) || insert(map, key, bytes, name, sk) {
        cell::take_over(cell, map, key);
    }
}

/// The hot path: false if the map does not have the key.
#[inline(always)]
fn add_to_existing(map: &PerCpuHashMap<DropKey, DropCount>, key: &DropKey, bytes: u64) -> bool {
    let Some(count) = map.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: `count` is this CPU's value of the element, aligned to 8 and alive for as long as
    // the program runs: elements are preallocated.
    unsafe {
        atomic_add(&raw mut (*count).packets, 1);
        atomic_add(&raw mut (*count).bytes, bytes);
    }
    true
}

/// Adds by one instruction. Before 6.1 an interrupt's drop can run the program within the program,
/// on the same CPU and so on the same value.
///
/// Rust offers no atomic addition for this target (it has no compare-and-swap before 5.12), hence
/// the assembly.
///
/// # Safety
///
/// `counter` must be aligned to 8 and lie in a map value.
#[inline(always)]
unsafe fn atomic_add(counter: *mut u64, value: u64) {
    // SAFETY: the caller's promise; the instruction touches nothing else.
    unsafe {
        asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) value, options(nostack));
    }
}

/// Off the hot path: the first drop of this key since the maps were swapped. False if the map did not take it.
#[inline(always)]
fn insert(
    map: &PerCpuHashMap<DropKey, DropCount>,
    key: &DropKey,
    bytes: u64,
    name: Option<[u64; 2]>,
    sk: *const u8,
) -> bool {
    if key.cgroup != 0 {
        cgroup::tell_path(key.cgroup, sk);
    }
    if let Some(words) = name {
        let name_key = NameKey {
            netns: key.netns,
            ifindex: key.ifindex,
            name_tag: key.name_tag.into(),
        };
        let [low, high] = words.map(u64::to_ne_bytes);
        let mut name = DeviceName::default();
        name.0[..8].copy_from_slice(&low);
        name.0[8..].copy_from_slice(&high);
        // A name that does not fit is looked up by ifindex in user space.
        _ = NAMES.insert(name_key, name, 0);
    }
    let cause = match map.insert(key, DropCount { packets: 1, bytes }, BPF_NOEXIST.into()) {
        Ok(()) => {
            name_function(key.location);
            return true;
        }
        // Another CPU was faster.
        Err(EEXIST) if add_to_existing(map, key, bytes) => return true,
        Err(E2BIG) => Unattributed::MapFull,
        Err(_) => Unattributed::Nested,
    };
    if let Some(packets) = UNATTRIBUTED.get_ptr_mut(cause as u32) {
        // SAFETY: as in `add_to_existing`.
        unsafe { atomic_add(packets, 1) };
    }
    false
}

/// Has the kernel write down which function this place is in, unless it has done so since the names
/// were read. A name that does not fit into the map is missing until the next read.
///
/// Called after the key is in its map, so there are never more names than keys.
#[inline(always)]
fn name_function(location: u64) {
    if HAS_SNPRINTF.load() == 0 || FUNCTIONS.get_ptr(location).is_some() {
        return;
    }
    let mut name = MaybeUninit::<FunctionName>::uninit();
    for word in 0..FUNCTION_NAME_LEN / size_of::<u64>() {
        // Volatile, or the compiler makes it a call of memset: a loop over bytes.
        // SAFETY: within the name, which is aligned to words.
        unsafe { name.as_mut_ptr().cast::<u64>().add(word).write_volatile(0) };
    }
    let mut arguments = [location];
    // SAFETY: name and arguments are as long as is said, and the format ends with a NUL.
    let length = unsafe {
        bpf_snprintf(
            name.as_mut_ptr().cast(),
            FUNCTION_NAME_LEN as u32,
            FUNCTION_FORMAT.as_ptr().cast(),
            arguments.as_mut_ptr(),
            size_of_val(&arguments) as u32,
        )
    };
    // Negative where the kernel had no buffer to print into.
    if length > 0 {
        // SAFETY: written above, and any bytes are a name.
        _ = FUNCTIONS.insert(location, unsafe { name.assume_init_ref() }, 0);
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
