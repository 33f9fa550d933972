//! What the drops of a piece of work are in the metrics, held against the kernel's own trace of them.

use std::collections::BTreeMap;

use crate::exporter::Exporter;
use crate::metrics::Metrics;
use crate::tracefs::{Drop, Witness};
use crate::wait::{SOON, try_poll};

const DROPPED: &str = "netdrop_dropped_packets_total";

/// How much one series has grown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dropped {
    /// The labels `reason` and `function`.
    pub kind: Drop,
    /// The label `state`.
    pub state: String,
    /// The label `device`.
    pub device: String,
    /// Packets.
    pub packets: u64,
    /// Whether the kernel's trace names the socket that was to receive them (`rx_sk`).
    pub has_receiver: bool,
}

/// Does work that drops packets before it returns, and tells which series of a namespace have grown by it.
///
/// # Panics
/// As [`hold_against`].
pub fn drops<T>(
    exporter: &Exporter,
    netns: &str,
    witness: &Witness,
    work: impl FnOnce() -> T,
) -> Vec<Dropped> {
    assert_ne!(netns, "", "there the whole machine's drops are");
    drops_where(|_| true, exporter, netns, witness, work)
}

/// As [`drops`], of those kinds only that this work alone can cause: what has no namespace, netns `""`, can come from
/// anywhere on the machine.
pub fn drops_where<T>(
    is_ours: impl Fn(&Drop) -> bool,
    exporter: &Exporter,
    netns: &str,
    witness: &Witness,
    work: impl FnOnce() -> T,
) -> Vec<Dropped> {
    let before = exporter.scrape();
    witness.forget();
    work();
    let mut dropped = grown(&before, &exporter.scrape(), netns);
    dropped.retain(|drop| is_ours(&drop.kind));
    hold_against(&mut dropped, witness);
    dropped
}

/// Which series of a namespace have grown from a scrape to a later one. `lo`, over which the exporter is asked, is
/// left out.
pub fn grown(before: &Metrics, after: &Metrics, netns: &str) -> Vec<Dropped> {
    let series = |metrics: &Metrics| -> BTreeMap<BTreeMap<String, String>, u64> {
        metrics
            .series(DROPPED, &[("netns", netns)])
            .filter(|sample| sample.labels["device"] != "lo")
            .map(|sample| (sample.labels.clone(), sample.value as u64))
            .collect()
    };
    let before = series(before);
    let grown = series(after).into_iter().map(|(labels, packets)| {
        let packets = packets - before.get(&labels).unwrap_or(&0);
        let label = |name: &str| labels[name].clone();
        Dropped {
            kind: Drop {
                reason: label("reason"),
                function: label("function"),
            },
            state: label("state"),
            device: label("device"),
            packets,
            has_receiver: false,
        }
    });
    grown.filter(|dropped| dropped.packets > 0).collect()
}

/// Fills in whether there was a receiver, as the kernel's trace says.
///
/// # Panics
/// When that trace does not have each kind of drop, by reason and function, as often. It knows neither states nor
/// devices nor namespaces, and so can have more of a kind: others on the machine drop packets, too.
pub fn hold_against(dropped: &mut [Dropped], witness: &Witness) {
    let mut counted = BTreeMap::new();
    for drop in &*dropped {
        *counted.entry(drop.kind.clone()).or_default() += drop.packets;
    }
    // The text of the trace can be behind for a moment; a real difference shows below.
    let agrees = |traced: &BTreeMap<_, u64>| {
        let mut counted = counted.iter();
        counted.all(|(kind, packets)| traced.get(kind).is_some_and(|seen| seen >= packets))
    };
    let traced = try_poll(SOON, || Some(witness.kinds()).filter(agrees));
    assert!(
        traced.is_some(),
        "{dropped:?} in the metrics, and {:?} in the kernel's trace",
        witness.kinds()
    );
    for (kind, packets) in counted {
        let (with, without) = witness.by_receiver(&kind);
        assert_ne!(
            with >= packets,
            without >= packets,
            "{packets} {kind:?}: {with} with a receiving socket, and {without} without"
        );
        for drop in dropped.iter_mut().filter(|drop| drop.kind == kind) {
            drop.has_receiver = with >= packets;
        }
    }
}

/// The packets by state.
pub fn by_state(dropped: &[Dropped]) -> BTreeMap<&str, u64> {
    let mut states = BTreeMap::new();
    for drop in dropped {
        *states.entry(drop.state.as_str()).or_default() += drop.packets;
    }
    states
}

/// Asserts that all is in one series, with these labels and this number.
pub fn assert_one(
    dropped: &[Dropped],
    state: &str,
    device: &str,
    packets: u64,
    has_receiver: bool,
) {
    let [one] = dropped else {
        panic!("expected one series, not {dropped:?}");
    };
    assert_eq!(
        (&*one.state, &*one.device, one.packets, one.has_receiver),
        (state, device, packets, has_receiver),
        "{one:?}"
    );
}
