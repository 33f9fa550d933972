//! What the program is measured against: nothing at all, the least that any counter by key needs,
//! and programs that do not count but tell user space of each drop. Built by the benchmark, never
//! shipped.

#![no_std]
#![no_main]
#![expect(
    unsafe_code,
    reason = "a BPF program is raw map values; the verifier proves each access"
)]

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    macros::{btf_tracepoint, map},
    maps::{PerCpuHashMap, PerfEventArray, RingBuf},
    programs::BtfTracePointContext,
};
use netdrop_ebpf::{DropCount, DropKey};

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[map]
static COUNTS: PerCpuHashMap<DropKey, DropCount> = PerCpuHashMap::with_max_entries(4096, 0);
/// 8 MiB: room for 262,144 events, which is more than come between two looks.
#[map]
static RING: RingBuf = RingBuf::with_byte_size(8 << 20, 0);
/// Each CPU's buffer gets its size from the reader.
#[map]
static PERF: PerfEventArray<DropKey> = PerfEventArray::new(0);

/// The price of being called.
#[btf_tracepoint(function = "kfree_skb")]
fn empty(_ctx: BtfTracePointContext) {}

/// The price of one per-CPU hash update with a key of the same type.
#[btf_tracepoint(function = "kfree_skb")]
fn bare_update(ctx: BtfTracePointContext) {
    let key = location_only(&ctx);
    if let Some(count) = COUNTS.get_ptr_mut(key) {
        // SAFETY: this CPU's value of a preallocated element.
        unsafe {
            (*count).packets += 1;
            (*count).bytes += 1;
        }
    } else {
        _ = COUNTS.insert(
            key,
            DropCount {
                packets: 1,
                bytes: 1,
            },
            0,
        );
    }
}

/// The price of telling user space of each drop through the ring buffer that all CPUs share.
#[btf_tracepoint(function = "kfree_skb")]
fn ring_event(ctx: BtfTracePointContext) {
    if let Some(mut event) = RING.reserve::<DropKey>(0) {
        event.write(location_only(&ctx));
        event.submit(0);
    }
}

/// The same, but nobody is woken: user space looks by itself every now and then.
#[btf_tracepoint(function = "kfree_skb")]
fn ring_silent(ctx: BtfTracePointContext) {
    if let Some(mut event) = RING.reserve::<DropKey>(0) {
        event.write(location_only(&ctx));
        event.submit(BPF_RB_NO_WAKEUP.into());
    }
}

/// The price of telling user space of each drop through this CPU's perf buffer.
#[btf_tracepoint(function = "kfree_skb")]
fn perf_event(ctx: BtfTracePointContext) {
    PERF.output(&ctx, location_only(&ctx), 0);
}

/// As little as a key or an event can say.
#[inline(always)]
fn location_only(ctx: &BtfTracePointContext) -> DropKey {
    DropKey {
        location: ctx.arg(1),
        ..DropKey::default()
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
