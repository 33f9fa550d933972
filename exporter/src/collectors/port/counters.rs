//! What is counted of a port, and which of the kernel's counters that comes from. Pure.

use std::collections::BTreeMap;

use super::drivers::{Habit, habit};
use crate::kernel::netlink::{
    ethtool::{fec::Fec, groups::Groups, link_state::LinkState, pause::Pause},
    netdev::QStats,
    stats64::Stats64,
};

/// One counter of a port, with the values of its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// How often the card saw the link go down.
    DownEvents,
    /// Blocks that forward error correction mended.
    FecCorrected,
    /// Blocks that it could not mend.
    FecUncorrectable,
    /// Frames that went wrong, by how.
    Error(&'static str),
    /// Pause frames.
    Pause(Direction),
    /// Packets that the card or its driver lost, by cause.
    Lost(Direction, &'static str),
    /// How often a transmit queue hung.
    TxTimeouts(u16),
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the network.
    Receive,
    /// To the network.
    Transmit,
}

impl Direction {
    /// The value of the label `direction`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Transmit => "transmit",
        }
    }
}

/// What one reading of a port gave. `None` is what could not be read this time; what the driver does not
/// tell is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// LINKSTATE
    pub link_state: Option<LinkState>,
    /// FEC
    pub fec: Option<Fec>,
    /// STATS
    pub groups: Option<Groups>,
    /// PAUSE
    pub pause: Option<Pause>,
    /// QSTATS
    pub qstats: Option<QStats>,
    /// RTM_GETSTATS
    pub stats64: Option<Stats64>,
    /// sysfs: the transmit queues that ever hung, and how often.
    pub tx_timeouts: Vec<(u16, u64)>,
}

/// Where a driver counts, as far as it has shown. Some stop to tell while they reset their card; that
/// does not make the old counters those of the new place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// It has the standard groups.
    groups: bool,
    /// It has queue statistics of what it received.
    qstats: bool,
}

impl Sources {
    /// Takes in what a reading shows.
    pub fn learn(&mut self, readings: &Readings) {
        let groups = readings.groups.is_some_and(|it| it.iter().next().is_some());
        self.groups |= groups;
        self.qstats |= readings.qstats.is_some_and(|q| !received(&q).is_empty());
    }

    /// Whether a counter comes from elsewhere since these were known.
    pub fn differ_for(self, counter: Counter, before: Self) -> bool {
        match counter {
            Counter::Error(_) => self.groups != before.groups,
            Counter::Lost(Direction::Receive, _) => self.qstats != before.qstats,
            _ => false,
        }
    }
}

/// All counters of a reading.
pub fn counters(readings: &Readings, sources: Sources, driver: &str) -> BTreeMap<Counter, u64> {
    let mut counters = BTreeMap::new();
    let mut add = |counter, count: Option<u64>| {
        if let Some(count) = count {
            counters.insert(counter, count);
        }
    };
    let down_events = readings.link_state.and_then(|state| state.down_events);
    add(Counter::DownEvents, down_events.map(u64::from));
    let fec = readings.fec.unwrap_or_default();
    add(Counter::FecCorrected, fec.corrected_blocks);
    add(Counter::FecUncorrectable, fec.uncorrectable_blocks);
    let pause = readings.pause.unwrap_or_default();
    add(Counter::Pause(Direction::Receive), pause.received);
    add(Counter::Pause(Direction::Transmit), pause.sent);
    for &(queue, times) in &readings.tx_timeouts {
        add(Counter::TxTimeouts(queue), Some(times));
    }
    for (error, count) in errors(readings, sources) {
        add(Counter::Error(error), Some(count));
    }
    for (direction, cause, count) in lost(readings, sources, habit(driver)) {
        add(Counter::Lost(direction, cause), Some(count));
    }
    counters
}

/// The standard groups if the driver ever counted any of them, else the old counters: never both, and
/// none while it is not known which.
fn errors(readings: &Readings, sources: Sources) -> Vec<(&'static str, u64)> {
    let Some(groups) = readings.groups else {
        return Vec::new();
    };
    let Some(old) = readings.stats64.filter(|_| !sources.groups) else {
        return groups.iter().collect();
    };
    vec![
        ("aborted", old.tx_aborted),
        ("alignment", old.rx_frame),
        ("carrier", old.tx_carrier),
        ("fcs", old.rx_crc),
        ("heartbeat", old.tx_heartbeat),
        ("late_collision", old.tx_window),
        ("length", old.rx_length),
        ("underrun", old.tx_fifo),
    ]
}

/// What the hardware lost, from queue statistics if the driver has them for this direction, else from
/// the old counters; and what the driver or the stack counts as dropped.
fn lost(
    readings: &Readings,
    sources: Sources,
    habit: Habit,
) -> Vec<(Direction, &'static str, u64)> {
    use Direction::{Receive, Transmit};
    let q = readings.qstats.unwrap_or_default();
    let received = received(&q);
    let sent = parts(
        q.tx_drops,
        [("error", q.tx_errors), ("rate_limit", q.tx_rate_limits)],
    );
    let mut lost: Vec<_> = received
        .iter()
        .map(|&(cause, n)| (Receive, cause, n))
        .collect();
    lost.extend(sent.iter().map(|&(cause, n)| (Transmit, cause, n)));
    let Some(old) = readings.stats64 else {
        return lost;
    };
    let overrun = match habit {
        Habit::Missed | Habit::DroppedWithMissed => None,
        Habit::Fifo => Some(old.rx_fifo),
        Habit::Over => Some(old.rx_over),
        Habit::FifoAndOver => Some(old.rx_fifo.saturating_add(old.rx_over)),
        Habit::FifoWithMissed => Some(old.rx_fifo.saturating_sub(old.rx_missed)),
    };
    let dropped = match habit {
        Habit::DroppedWithMissed => old.rx_dropped.saturating_sub(old.rx_missed),
        _ => old.rx_dropped,
    };
    if !sources.qstats && readings.qstats.is_some() {
        lost.push((Receive, "missed", old.rx_missed));
        lost.extend(overrun.map(|overrun| (Receive, "overrun", overrun)));
    }
    lost.push((Receive, "driver", dropped));
    lost.push((Transmit, "driver", old.tx_dropped));
    lost
}

fn received(q: &QStats) -> Vec<(&'static str, u64)> {
    parts(
        q.rx_drops,
        [("overrun", q.rx_overruns), ("rate_limit", q.rx_rate_limits)],
    )
}

/// Closer causes, and what is left of the whole for the cause `hardware`.
fn parts(whole: Option<u64>, causes: [(&'static str, Option<u64>); 2]) -> Vec<(&'static str, u64)> {
    let mut parts: Vec<_> = causes
        .into_iter()
        .filter_map(|(cause, count)| Some((cause, count?)))
        .collect();
    if let Some(whole) = whole {
        let told: u64 = parts
            .iter()
            .map(|(_, count)| count)
            .fold(0, |a, b| a.saturating_add(*b));
        parts.push(("hardware", whole.saturating_sub(told)));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost_of(readings: &Readings, driver: &str) -> Vec<(&'static str, &'static str, u64)> {
        let mut sources = Sources::default();
        sources.learn(readings);
        let all = counters(readings, sources, driver);
        all.into_iter()
            .filter_map(|(counter, count)| match counter {
                Counter::Lost(direction, cause) => Some((direction.label(), cause, count)),
                _ => None,
            })
            .collect()
    }

    fn old() -> Stats64 {
        Stats64 {
            rx_missed: 10,
            rx_dropped: 25,
            rx_fifo: 17,
            rx_over: 3,
            tx_dropped: 4,
            ..Stats64::default()
        }
    }

    #[test]
    fn each_drivers_losses_are_counted_once() {
        let readings = Readings {
            stats64: Some(old()),
            qstats: Some(QStats::default()),
            ..Readings::default()
        };
        let cases = [
            ("ixgbe", 10, None, 25),
            ("bnxt_en", 10, None, 25),
            ("igb", 10, Some(7), 25),
            ("sfc", 10, Some(17), 25),
            ("ionic", 10, Some(3), 25),
            ("bnx2x", 10, Some(20), 25),
            ("amd8111e", 10, None, 15),
        ];
        for (driver, missed, overrun, dropped) in cases {
            let mut expected = vec![
                ("receive", "driver", dropped),
                ("receive", "missed", missed),
            ];
            expected.extend(overrun.map(|overrun| ("receive", "overrun", overrun)));
            expected.push(("transmit", "driver", 4));
            assert_eq!(lost_of(&readings, driver), expected, "{driver}");
        }
    }

    #[test]
    fn queue_statistics_stand_in_for_the_old_counters_of_their_direction() {
        let qstats = QStats {
            rx_drops: Some(100),
            rx_overruns: Some(70),
            rx_rate_limits: Some(20),
            ..QStats::default()
        };
        let readings = Readings {
            stats64: Some(old()),
            qstats: Some(qstats),
            ..Readings::default()
        };
        let expected = [
            ("receive", "driver", 25),
            ("receive", "hardware", 10),
            ("receive", "overrun", 70),
            ("receive", "rate_limit", 20),
            ("transmit", "driver", 4),
        ];
        assert_eq!(lost_of(&readings, "igb"), expected);
        // Virtio's devices say nothing of drops.
        let silent = Readings {
            qstats: Some(QStats::default()),
            ..readings
        };
        assert_eq!(lost_of(&silent, "virtio_net")[1], ("receive", "missed", 10));
        let unknown = Readings {
            qstats: None,
            ..silent
        };
        assert_eq!(
            lost_of(&unknown, "igb").len(),
            2,
            "only what both may count"
        );
    }

    #[test]
    fn errors_come_from_the_standard_groups_or_from_the_old_counters() {
        let stats64 = Some(Stats64 {
            rx_crc: 5,
            ..Stats64::default()
        });
        let fcs = |groups| {
            let readings = Readings {
                groups,
                stats64,
                ..Readings::default()
            };
            let mut sources = Sources::default();
            sources.learn(&readings);
            let all = counters(&readings, sources, "");
            let errors = all.keys().filter(|key| matches!(key, Counter::Error(_)));
            (all.get(&Counter::Error("fcs")).copied(), errors.count())
        };
        assert_eq!(fcs(Some(Groups::default())), (Some(5), 8));
        assert_eq!(fcs(None), (None, 0));
        let standard = Groups {
            fcs: Some(7),
            symbol: Some(1),
            ..Groups::default()
        };
        assert_eq!(fcs(Some(standard)), (Some(7), 2));
    }
}
