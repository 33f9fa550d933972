//! One log line per transition, so that who greps the journal finds the incident.
//!
//! Physical links are told at info and warn, virtual ones at debug.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use log::Level;

use super::{
    message::Carrier,
    sysfs::is_physical,
    table::{Change, Departure},
    transitions::{Transition, works},
};
use crate::{collectors::DroppedWhileDown, devices::IfIndex, kernel::name::Name};

/// Lines in each [`WINDOW`], for physical and for virtual links each. A cable that is pulled and put
/// back makes two lines; a loose one would make thousands.
const MOST_LINES: u32 = 30;

/// The time for which lines are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Writes the log of links.
pub struct Journal {
    /// None where drops are not counted.
    dropped: Option<DroppedWhileDown>,
    /// What `dropped` said when it was told last. Of devices with a bus device, unless debug lines
    /// are logged; emptied when they go.
    reported: HashMap<IfIndex, u64>,
    physical: Throttle,
    virtual_: Throttle,
}

impl Journal {
    /// Nothing told yet.
    pub fn new(dropped: Option<DroppedWhileDown>) -> Self {
        Self {
            dropped,
            reported: HashMap::new(),
            physical: Throttle::default(),
            virtual_: Throttle::default(),
        }
    }

    /// Writes what happened to a link. `speed` is the one it has now.
    pub fn write(&mut self, change: &Change, speed: Option<u32>, now: Instant) {
        let physical = is_physical(&change.link, change.facts.as_ref());
        let throttle = if physical {
            &mut self.physical
        } else {
            &mut self.virtual_
        };
        let happened = change.happened;
        for &transition in order(change) {
            let times = happened.get(transition);
            let level = level(transition, physical);
            if times == 0 || !log::log_enabled!(level) || !throttle.admits(now) {
                continue;
            }
            let mut line = line(
                change,
                &what(transition, times),
                speed_of(transition, change, speed),
            );
            if ends_an_outage(change, transition) {
                let so_far = self.dropped.as_ref().and_then(|ask| ask(&change.link.name));
                let dropped = so_far.map(|so_far| {
                    let before = self.reported.insert(change.link.index, so_far);
                    so_far.saturating_sub(before.unwrap_or(0))
                });
                line.push_str(&cost(change.outage, dropped));
            }
            log::log!(level, "{line}");
        }
        if let Some(how) = change.left {
            let level = match (physical, how) {
                (false, _) => Level::Debug,
                (true, Departure::Removed) => Level::Warn,
                (true, Departure::Moved | Departure::Missing) => Level::Info,
            };
            if log::log_enabled!(level) && throttle.admits(now) {
                log::log!(level, "{}", line(change, left(how), change.speed));
            }
        }
    }

    /// A device has gone, and what was told of it is of no more use.
    pub fn forget(&mut self, index: IfIndex) {
        self.reported.remove(&index);
    }

    /// Writes how many lines were held back, once a window is over.
    pub fn report_held_back(&mut self, now: Instant) {
        let of = [
            (&mut self.physical, Level::Warn, "physical"),
            (&mut self.virtual_, Level::Debug, "virtual"),
        ];
        for (throttle, level, links) in of {
            if let Some(held) = throttle.take_held_back(now) {
                log::log!(
                    level,
                    "held back {held} more lines about transitions of {links} links"
                );
            }
        }
    }

    /// When [`Journal::report_held_back`] has something to say.
    pub fn deadline(&self) -> Option<Instant> {
        let deadlines = [self.physical.deadline(), self.virtual_.deadline()];
        deadlines.into_iter().flatten().min()
    }
}

fn level(transition: Transition, physical: bool) -> Level {
    match (physical, transition) {
        (false, _) => Level::Debug,
        (true, Transition::CarrierDown | Transition::Removed) => Level::Warn,
        (true, Transition::AdminDown | Transition::AdminUp | Transition::CarrierUp) => Level::Info,
    }
}

/// The transitions in the order in which they must have happened; how it went is told last.
fn order(change: &Change) -> &'static [Transition; 4] {
    use Transition::{AdminDown, AdminUp, CarrierDown, CarrierUp};
    match change.link.carrier {
        Carrier::On => &[AdminUp, CarrierDown, CarrierUp, AdminDown],
        Carrier::Off => &[AdminUp, CarrierUp, CarrierDown, AdminDown],
    }
}

/// Whether this is what made the link work again.
fn ends_an_outage(change: &Change, transition: Transition) -> bool {
    let last = match transition {
        Transition::CarrierUp => true,
        Transition::AdminUp => change.happened.get(Transition::CarrierUp) == 0,
        Transition::AdminDown | Transition::CarrierDown | Transition::Removed => false,
    };
    last && works(&change.link)
}

/// `eth0: carrier down (driver virtio_net, 1000 Mbit/s)`
fn line(change: &Change, what: &str, speed: Option<u32>) -> String {
    let name = &change.link.name;
    let driver = change.facts.as_ref().map(|facts| &facts.driver);
    let driver = [driver, Some(&change.link.kind)]
        .into_iter()
        .flatten()
        .find(|name| !name.is_empty())
        .map_or_else(|| "unknown".to_owned(), Name::to_string);
    let speed = speed.map_or_else(
        || "speed unknown".to_owned(),
        |speed| format!("{speed} Mbit/s"),
    );
    format!("{name}: {what} (driver {driver}, {speed})")
}

fn what(transition: Transition, times: u32) -> String {
    // Written out, so that who greps the sources for a line of the log finds it.
    let what = match transition {
        Transition::AdminDown => "admin down",
        Transition::AdminUp => "admin up",
        Transition::CarrierDown => "carrier down",
        Transition::CarrierUp => "carrier up",
        Transition::Removed => "removed",
    };
    if times > 1 {
        format!("{what} {times} times")
    } else {
        what.to_owned()
    }
}

fn left(how: Departure) -> &'static str {
    match how {
        Departure::Removed => "removed",
        Departure::Moved => "moved to another network namespace",
        Departure::Missing => "gone while notifications were lost",
    }
}

/// A link that is down has no speed; it is asked what it had.
fn speed_of(transition: Transition, change: &Change, now: Option<u32>) -> Option<u32> {
    match transition {
        Transition::CarrierUp => now,
        _ => change.speed,
    }
}

/// `, after 3.200 s, 8 packets dropped`
fn cost(outage: Option<Duration>, dropped: Option<u64>) -> String {
    let mut text = outage.map_or_else(String::new, |outage| {
        format!(", after {:.3} s", outage.as_secs_f64())
    });
    if let Some(dropped) = dropped {
        let packets = if dropped == 1 { "packet" } else { "packets" };
        text.push_str(&format!(", {dropped} {packets} dropped"));
    }
    text
}

/// Bounds lines, and counts those that it holds back.
#[derive(Debug, Default)]
struct Throttle {
    began: Option<Instant>,
    lines: u32,
    held_back: u64,
}

impl Throttle {
    fn admits(&mut self, now: Instant) -> bool {
        let began = *self.began.get_or_insert(now);
        if now.saturating_duration_since(began) >= WINDOW && self.held_back == 0 {
            (self.began, self.lines) = (Some(now), 0);
        }
        if self.lines < MOST_LINES {
            self.lines += 1;
            true
        } else {
            self.held_back += 1;
            false
        }
    }

    fn take_held_back(&mut self, now: Instant) -> Option<u64> {
        if now < self.deadline()? {
            return None;
        }
        let held_back = self.held_back;
        *self = Self::default();
        Some(held_back)
    }

    fn deadline(&self) -> Option<Instant> {
        let began = self.began.filter(|_| self.held_back > 0)?;
        Some(began + WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectors::link::{
        message::{Admin, Link},
        sysfs::{Facts, Role},
        testing::link,
        transitions::between,
    };

    fn change(before: &Link, after: Link, outage: Option<Duration>) -> Change {
        Change {
            happened: between(before, &after),
            link: after,
            facts: Some(Facts {
                driver: "virtio_net".into(),
                bus_address: "virtio2".into(),
                physical: true,
                role: Role::Port,
            }),
            speed: Some(1000),
            left: None,
            outage,
        }
    }

    #[test]
    fn a_line_tells_device_transition_driver_and_the_speed_it_had() {
        let up = link(2, "eth0");
        let down = Link {
            carrier: Carrier::Off,
            carrier_downs: up.carrier_downs + 3,
            carrier_ups: up.carrier_ups + 2,
            ..up.clone()
        };
        let change = change(&up, down, None);
        assert_eq!(
            line(&change, &what(Transition::CarrierDown, 3), change.speed),
            "eth0: carrier down 3 times (driver virtio_net, 1000 Mbit/s)"
        );
        assert_eq!(
            line(&change, &what(Transition::CarrierUp, 1), None),
            "eth0: carrier up (driver virtio_net, speed unknown)"
        );
        assert_eq!(order(&change)[2], Transition::CarrierDown);
        assert_eq!(
            line(&change, left(Departure::Removed), change.speed),
            "eth0: removed (driver virtio_net, 1000 Mbit/s)"
        );
    }

    #[test]
    fn the_line_that_says_up_again_tells_what_it_cost() {
        let outage = Some(Duration::from_millis(3200));
        assert_eq!(cost(outage, Some(8)), ", after 3.200 s, 8 packets dropped");
        assert_eq!(cost(None, Some(1)), ", 1 packet dropped");
        assert_eq!(cost(None, None), "");

        let down = Link {
            admin: Admin::Down,
            carrier: Carrier::Off,
            ..link(2, "eth0")
        };
        let up = Link {
            carrier_ups: down.carrier_ups + 1,
            ..link(2, "eth0")
        };
        let both = change(&down, up.clone(), outage);
        assert!(ends_an_outage(&both, Transition::CarrierUp));
        assert!(!ends_an_outage(&both, Transition::AdminUp));
        let admin_only = change(
            &Link {
                admin: Admin::Down,
                ..up.clone()
            },
            up,
            outage,
        );
        assert!(ends_an_outage(&admin_only, Transition::AdminUp));
    }

    #[test]
    fn lines_are_bounded_and_those_held_back_are_counted() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        let admitted = (0..100).filter(|_| throttle.admits(start)).count();
        assert_eq!(admitted, MOST_LINES as usize);
        assert_eq!(throttle.take_held_back(start), None);
        assert_eq!(throttle.deadline(), Some(start + WINDOW));
        assert_eq!(
            throttle.take_held_back(start + WINDOW),
            Some(100 - u64::from(MOST_LINES))
        );
        assert_eq!(throttle.deadline(), None);
        assert!(throttle.admits(start + WINDOW));
    }
}
