//! What the program is measured against: nothing at all, and the least that any counter by key
//! needs. Built by the benchmark, never shipped.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        unsafe_code,
        reason = "a BPF program is raw map values; the verifier proves each access"
    )
)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        macros::{btf_tracepoint, map},
        maps::PerCpuHashMap,
        programs::BtfTracePointContext,
    };
    use netdrop_ebpf::{DropCount, DropKey};

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    #[map]
    static COUNTS: PerCpuHashMap<DropKey, DropCount> = PerCpuHashMap::with_max_entries(4096, 0);

    /// The price of being called.
    #[btf_tracepoint(function = "kfree_skb")]
    fn empty(_ctx: BtfTracePointContext) {}

    /// The price of one per-CPU hash update with a key of the same type.
    #[btf_tracepoint(function = "kfree_skb")]
    fn bare_update(ctx: BtfTracePointContext) {
        let key = DropKey {
            location: ctx.arg(1),
            ..DropKey::default()
        };
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

    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}
