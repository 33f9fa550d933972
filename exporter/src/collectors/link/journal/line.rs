//! The words of a line of the log. Pure.

use std::time::Duration;

use log::Level;

use crate::{
    collectors::link::{
        message::{Admin, Carrier},
        sysfs::bus_address,
        table::{Change, Departure},
        transitions::{Transition, works},
    },
    kernel::{name::Name, netlink::ethtool::down_reason::DownReason},
};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How urgent it is.
    pub level: Level,
    /// What it says.
    pub text: String,
}

pub(super) fn level(transition: Transition, physical: bool) -> Level {
    match (physical, transition) {
        (false, _) => Level::Debug,
        (true, Transition::CarrierDown | Transition::Removed) => Level::Warn,
        (true, Transition::AdminDown | Transition::AdminUp | Transition::CarrierUp) => Level::Info,
    }
}

/// The transitions in the order in which they must have happened; how it went is told last.
pub(super) fn order(change: &Change) -> &'static [Transition; 4] {
    use Transition::{AdminDown, AdminUp, CarrierDown, CarrierUp};
    match change.link.carrier {
        Carrier::On => &[AdminUp, CarrierDown, CarrierUp, AdminDown],
        Carrier::Off => &[AdminUp, CarrierUp, CarrierDown, AdminDown],
    }
}

/// Whether the link has lost its carrier and is still without, though it is set up.
pub(super) fn is_lost(change: &Change) -> bool {
    let state = (change.link.admin, change.link.carrier);
    change.happened.get(Transition::CarrierDown) > 0 && state == (Admin::Up, Carrier::Off)
}

/// Whether the link has got its carrier and still has it.
pub(super) fn is_back(change: &Change) -> bool {
    change.happened.get(Transition::CarrierUp) > 0 && change.link.carrier == Carrier::On
}

/// Whether this is what made the link work again.
pub(super) fn ends_an_outage(change: &Change, transition: Transition) -> bool {
    let last = match transition {
        Transition::CarrierUp => true,
        Transition::AdminUp => change.happened.get(Transition::CarrierUp) == 0,
        Transition::AdminDown | Transition::CarrierDown | Transition::Removed => false,
    };
    last && works(&change.link)
}

/// `eth0: carrier down: no cable (driver mlx5_core, 25000 Mbit/s)`
pub(super) fn line(change: &Change, what: &str, speed: Option<u32>) -> String {
    let (name, speed) = (&change.link.name, self::speed(speed));
    format!("{name}: {what} (driver {}, {speed})", driver(change))
}

fn speed(mbit: Option<u32>) -> String {
    mbit.map_or_else(
        || "speed unknown".to_owned(),
        |mbit| format!("{mbit} Mbit/s"),
    )
}

/// `eth0: removed (driver mlx5_core, 0000:3b:00.0, 25000 Mbit/s)`: the kernel's log calls the card by its
/// address.
pub(super) fn gone(change: &Change, how: Departure) -> String {
    let address = bus_address(&change.link, change.facts.as_ref());
    let address = address.filter(|address| !address.is_empty());
    let address = address.map_or_else(String::new, |address| format!("{address}, "));
    let (name, speed) = (&change.link.name, speed(change.speed));
    let what = left(how);
    format!(
        "{name}: {what} (driver {}, {address}{speed})",
        driver(change)
    )
}

/// `eth0: link is down: no cable (driver mlx5_core)`
pub(super) fn late(name: &Name, change: &Change, reason: DownReason) -> String {
    format!("{name}: link is down: {reason} (driver {})", driver(change))
}

/// The driver of the bus device, or what rtnetlink calls a link without one.
fn driver(change: &Change) -> String {
    let driver = change.facts.as_ref().map(|facts| &facts.driver);
    [driver, Some(&change.link.kind)]
        .into_iter()
        .flatten()
        .find(|name| !name.is_empty())
        .map_or_else(|| "unknown".to_owned(), Name::to_string)
}

pub(super) fn what(transition: Transition, times: u32, reason: Option<DownReason>) -> String {
    // Written out, so that who greps the sources for a line of the log finds it.
    let mut what = match transition {
        Transition::AdminDown => "admin down",
        Transition::AdminUp => "admin up",
        Transition::CarrierDown => "carrier down",
        Transition::CarrierUp => "carrier up",
        Transition::Removed => "removed",
    }
    .to_owned();
    if times > 1 {
        what.push_str(&format!(" {times} times"));
    }
    if let Some(reason) = reason {
        what.push_str(&format!(": {reason}"));
    }
    what
}

fn left(how: Departure) -> &'static str {
    match how {
        Departure::Removed => "removed",
        Departure::Moved => "moved to another network namespace",
        Departure::Missing => "gone while notifications were lost",
    }
}

/// `, after 3.200 s, 8 packets dropped`
pub(super) fn cost(outage: Option<Duration>, dropped: Option<u64>) -> String {
    let mut text = outage.map_or_else(String::new, |outage| {
        format!(", after {:.3} s", outage.as_secs_f64())
    });
    if let Some(dropped) = dropped {
        let packets = if dropped == 1 { "packet" } else { "packets" };
        text.push_str(&format!(", {dropped} {packets} dropped"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectors::link::{
        message::Link,
        testing::{change, link},
    };

    #[test]
    fn a_line_tells_device_transition_driver_and_the_speed_it_had() {
        let up = link(2, "eth0");
        let down = Link {
            carrier: Carrier::Off,
            carrier_downs: up.carrier_downs + 3,
            carrier_ups: up.carrier_ups + 2,
            ..up.clone()
        };
        let change = change(&up, down);
        let no_cable = Some(DownReason {
            state: 4,
            substate: None,
        });
        let down = |times, reason| {
            let what = what(Transition::CarrierDown, times, reason);
            line(&change, &what, change.speed)
        };
        assert_eq!(
            down(3, None),
            "eth0: carrier down 3 times (driver virtio_net, 1000 Mbit/s)"
        );
        assert_eq!(
            down(1, no_cable),
            "eth0: carrier down: no cable (driver virtio_net, 1000 Mbit/s)"
        );
        assert_eq!(
            line(&change, &what(Transition::CarrierUp, 1, None), None),
            "eth0: carrier up (driver virtio_net, speed unknown)"
        );
        assert_eq!(order(&change)[2], Transition::CarrierDown);
        assert_eq!(
            gone(&change, Departure::Removed),
            "eth0: removed (driver virtio_net, virtio2, 1000 Mbit/s)"
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
        let both = change(&down, up.clone());
        assert!(ends_an_outage(&both, Transition::CarrierUp));
        assert!(!ends_an_outage(&both, Transition::AdminUp));
        let admin_only = change(
            &Link {
                admin: Admin::Down,
                ..up.clone()
            },
            up,
        );
        assert!(ends_an_outage(&admin_only, Transition::AdminUp));
    }
}
