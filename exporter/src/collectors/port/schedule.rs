//! When each port is read. Pure.
//!
//! A reading holds the RTNL lock for as long as the driver takes, and stops whoever configures the
//! network meanwhile. So ports are read one at a time, and one whose driver is slow is read less often.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use crate::devices::IfIndex;

/// How often all of a port is read. Prometheus mostly scrapes as often.
const INTERVAL: Duration = Duration::from_secs(15);

/// When the state of a link is read after its carrier changed: many drivers know the reason only when
/// they have given up negotiating. With the last of them comes everything else, unless the driver is
/// slow.
const AFTER_EVENT: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), LAST_AFTER_EVENT];
const LAST_AFTER_EVENT: Duration = Duration::from_secs(5);

/// A whole reading takes at most one part in so many of a port's time, and the readings after events
/// together one in [`EVENT_SHARE`]. Those are one question, and what a pager waits for.
const SHARE: u32 = 20;
const EVENT_SHARE: u32 = 4;

/// After a whole reading nothing else is read for as long as it took, but no longer than this: ports
/// together take at most half of the time, however many there are.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// What to read of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Why its link is down, and how it runs.
    State,
    /// Everything.
    All,
}

/// The readings to come.
#[derive(Debug, Default)]
pub struct Schedule {
    ports: HashMap<IfIndex, Plan>,
    /// Before that nothing is read as a whole.
    rests_until: Option<Instant>,
    /// Changes of the carriers of links that were not yet known as ports.
    early: HashMap<IfIndex, Instant>,
}

#[derive(Debug)]
struct Plan {
    all: Instant,
    /// After events; sorted, at most [`AFTER_EVENT`] of them.
    states: Vec<Instant>,
    /// Before that no state is read.
    state_rests_until: Instant,
    /// Whether its last whole reading took so long that it is read less often.
    is_slow: bool,
    /// Whether the log was told so.
    is_told: bool,
}

impl Schedule {
    /// These are the ports that there are. Those that are `new` are due at once, also if another one
    /// had their index.
    pub fn set_ports(&mut self, ports: &[IfIndex], new: &[IfIndex], now: Instant) {
        let ports: HashSet<_> = ports.iter().copied().collect();
        self.ports.retain(|port, _| ports.contains(port));
        for port in new {
            self.ports.remove(port);
        }
        for port in ports {
            self.ports.entry(port).or_insert_with(|| Plan {
                all: now,
                states: Vec::new(),
                state_rests_until: now,
                is_slow: false,
                is_told: false,
            });
        }
        for (port, at) in std::mem::take(&mut self.early) {
            if self.ports.contains_key(&port) {
                self.carrier_changed(port, at);
            }
        }
    }

    /// The carrier of a port changed. What was still to be read after an earlier change is forgotten.
    pub fn carrier_changed(&mut self, port: IfIndex, now: Instant) {
        if let Some(plan) = self.ports.get_mut(&port) {
            plan.states = AFTER_EVENT.map(|after| now + after).to_vec();
            if !plan.is_slow {
                plan.all = plan.all.min(now + LAST_AFTER_EVENT);
            }
        } else {
            self.early.insert(port, now);
        }
    }

    /// What to read now. States come before everything else.
    pub fn due(&self, now: Instant) -> Option<(IfIndex, Scope)> {
        self.earliest_state()
            .filter(|&(at, _)| at <= now)
            .map(|(_, port)| (port, Scope::State))
            .or_else(|| {
                let (at, port) = self.earliest_all()?;
                (at <= now).then_some((port, Scope::All))
            })
    }

    /// Whether a state waits to be read.
    pub fn is_urgent(&self, now: Instant) -> bool {
        self.earliest_state().is_some_and(|(at, _)| at <= now)
    }

    /// When there is something to read.
    pub fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.earliest_state(), self.earliest_all()];
        deadlines.into_iter().flatten().map(|(at, _)| at).min()
    }

    /// A port was read, which took so long. Returns how often it is read from now on if that is less
    /// often than others, and news.
    pub fn done(
        &mut self,
        port: IfIndex,
        scope: Scope,
        took: Duration,
        now: Instant,
    ) -> Option<Duration> {
        let plan = self.ports.get_mut(&port)?;
        match scope {
            Scope::State => {
                // Not of a carrier that changed meanwhile.
                plan.states.retain(|&at| at + took > now);
                plan.state_rests_until = now + took * (EVENT_SHARE - 1);
                None
            }
            Scope::All => {
                self.rests_until = Some(now + took.min(LONGEST_REST));
                let pause = INTERVAL.max(took * (SHARE - 1));
                plan.all = now + pause;
                plan.is_slow = pause > INTERVAL;
                let is_news = plan.is_slow && !plan.is_told;
                plan.is_told |= plan.is_slow;
                is_news.then_some(pause)
            }
        }
    }

    fn earliest_state(&self) -> Option<(Instant, IfIndex)> {
        let states = self.ports.iter().filter_map(|(&port, plan)| {
            let first = plan.states.first()?;
            Some(((*first).max(plan.state_rests_until), port))
        });
        states.min()
    }

    fn earliest_all(&self) -> Option<(Instant, IfIndex)> {
        let all = self.ports.iter().map(|(&port, plan)| (plan.all, port));
        let (at, port) = all.min()?;
        Some((self.rests_until.map_or(at, |rest| rest.max(at)), port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: IfIndex = IfIndex(2);
    const OTHER: IfIndex = IfIndex(3);
    const FAST: Duration = Duration::from_millis(1);

    fn schedule(now: Instant) -> Schedule {
        let mut schedule = Schedule::default();
        schedule.set_ports(&[PORT, OTHER], &[], now);
        for port in [PORT, OTHER] {
            assert_eq!(schedule.done(port, Scope::All, FAST, now), None);
        }
        schedule
    }

    /// When something is read from `start` on, in seconds, if each reading takes so long.
    fn readings(schedule: &mut Schedule, start: Instant, took: Duration) -> Vec<(u64, Scope)> {
        let mut now = start;
        let mut readings = Vec::new();
        while now < start + Duration::from_secs(40) {
            match schedule.due(now) {
                Some((port, scope)) => {
                    readings.push(((now - start).as_secs(), scope));
                    now += took;
                    schedule.done(port, scope, took, now);
                }
                None => now = schedule.deadline().unwrap(),
            }
        }
        readings
    }

    #[test]
    fn all_is_read_every_15_seconds_and_more_often_after_an_event() {
        let now = Instant::now();
        let mut schedule = schedule(now);
        schedule.set_ports(&[PORT], &[], now);
        schedule.carrier_changed(PORT, now);
        assert!(schedule.is_urgent(now));
        let expected = [
            (0, Scope::State),
            (1, Scope::State),
            (5, Scope::State),
            (5, Scope::All),
            (20, Scope::All),
            (35, Scope::All),
        ];
        assert_eq!(readings(&mut schedule, now, FAST), expected);
    }

    #[test]
    fn a_carrier_that_changes_while_the_state_is_read_is_read_again_at_once() {
        let now = Instant::now();
        let mut schedule = schedule(now);
        schedule.carrier_changed(PORT, now);
        schedule.carrier_changed(PORT, now + FAST / 2);
        schedule.done(PORT, Scope::State, FAST, now + FAST);
        let rest = FAST * (EVENT_SHARE - 1);
        assert_eq!(schedule.due(now + FAST + rest), Some((PORT, Scope::State)));
    }

    #[test]
    fn a_port_that_changes_before_it_is_known_is_read_as_often() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.carrier_changed(PORT, now);
        schedule.carrier_changed(OTHER, now);
        schedule.set_ports(&[PORT], &[PORT], now);
        let states = readings(&mut schedule, now, FAST).into_iter();
        let states: Vec<_> = states.filter(|&(_, it)| it == Scope::State).collect();
        assert_eq!(states.len(), 3, "{states:?}");
        assert!(schedule.early.is_empty());
    }

    #[test]
    fn a_new_port_with_the_index_of_another_is_due_at_once() {
        let now = Instant::now();
        let mut schedule = schedule(now);
        assert_eq!(schedule.due(now + FAST), None);
        schedule.set_ports(&[PORT, OTHER], &[OTHER], now);
        assert_eq!(schedule.due(now + FAST), Some((OTHER, Scope::All)));
    }

    #[test]
    fn many_ports_take_half_of_the_time_at_most() {
        let now = Instant::now();
        let ports: Vec<_> = (1..=64).map(IfIndex).collect();
        let mut schedule = Schedule::default();
        schedule.set_ports(&ports, &[], now);
        let took = Duration::from_millis(200);
        let read = readings(&mut schedule, now, took);
        // All 64 are read once before one is read again, and 40 s have room for 100 pairs of a reading
        // and a rest.
        assert_eq!(read.len(), 100);
        assert_eq!(read[63].0, 25);
    }

    #[test]
    fn a_slow_driver_is_read_less_often_and_the_log_told_once() {
        let now = Instant::now();
        let mut schedule = schedule(now);
        let (took, pause) = (Duration::from_secs(2), Duration::from_secs(38));
        assert_eq!(schedule.done(PORT, Scope::All, took, now), Some(pause));
        assert_eq!(schedule.done(PORT, Scope::All, FAST, now), None);
        assert_eq!(schedule.done(PORT, Scope::All, took, now), None);
        schedule.set_ports(&[PORT], &[], now);
        assert_eq!(schedule.deadline(), Some(now + pause));
        schedule.carrier_changed(PORT, now);
        schedule.done(PORT, Scope::State, FAST, now + LAST_AFTER_EVENT + FAST);
        assert_eq!(schedule.deadline(), Some(now + pause));
    }

    #[test]
    fn events_without_end_take_a_bounded_share_of_the_time() {
        let start = Instant::now();
        let mut schedule = schedule(start);
        schedule.set_ports(&[PORT], &[], start);
        let (mut now, mut spent) = (start, Duration::ZERO);
        let took = Duration::from_secs(2);
        while now < start + Duration::from_secs(200) {
            schedule.carrier_changed(PORT, now);
            match schedule.due(now) {
                Some((port, scope)) => {
                    now += took;
                    schedule.done(port, scope, took, now);
                    spent += took;
                }
                None => now += Duration::from_millis(100),
            }
        }
        let share = spent.as_secs_f64() / 200.0;
        assert!((0.2..0.32).contains(&share), "{share}");
    }

    #[test]
    fn a_state_goes_before_everything_and_other_ports_do_not_wait_for_a_slow_one() {
        let now = Instant::now();
        let mut schedule = schedule(now);
        let later = now + INTERVAL;
        assert!(matches!(schedule.due(later), Some((_, Scope::All))));
        schedule.carrier_changed(OTHER, later);
        assert_eq!(schedule.due(later), Some((OTHER, Scope::State)));
        schedule.set_ports(&[PORT], &[], later);
        assert_eq!(schedule.due(later), Some((PORT, Scope::All)));
        schedule.carrier_changed(OTHER, later);
        assert!(!schedule.is_urgent(later), "it has gone");
    }
}
