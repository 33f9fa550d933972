//! Which links wake somebody up when they lose their carrier. Pure.
//!
//! It follows from what a device is and which device it is a member of, never from what state
//! anything is in: an alert must not become another one while the outage lasts.

use super::{
    message::Link,
    sysfs::{Facts, Role, is_physical},
};
use crate::kernel::name::Name;

/// What to do when a link loses its carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Wake somebody up.
    Page,
    /// Somebody looks at it in the morning.
    Ticket,
    /// Nothing.
    None,
}

impl Watch {
    /// The value of the label `watch`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
            Self::None => "none",
        }
    }
}

/// What the device that a link is a member of (IFLA_MASTER) makes of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Master {
    /// A bond or a team: its members carry the same traffic.
    Aggregate,
    /// The datapath of Open vSwitch, which has bonds that the kernel does not know of.
    OpenVSwitch,
    /// A port: that of a virtual machine, over the virtual function that it hands its traffic to.
    Port,
    /// A bridge, a VRF: each member is a port of its own.
    Other,
}

impl Master {
    /// What this device is to its members.
    pub fn of(link: &Link, facts: Option<&Facts>) -> Self {
        if is_aggregate(link) {
            Self::Aggregate
        } else if link.kind == "openvswitch" {
            Self::OpenVSwitch
        } else if is_physical(link, facts) {
            Self::Port
        } else {
            Self::Other
        }
    }
}

/// Drivers of ports that a hypervisor makes. They lose their carrier for a moment when the machine
/// moves to another host.
const PARAVIRTUAL: [&str; 8] = [
    "virtio_net",
    "hv_netvsc",
    "vmxnet3",
    "ena",
    "gve",
    "gvnic",
    // Xen (`drivers/net/xen-netfront.c`).
    "vif",
    "ibmveth",
];

/// Drivers of the network over USB that a BMC offers to its host. It comes and goes as the BMC likes.
const BMC: [&str; 3] = ["cdc_ether", "rndis_host", "cdc_eem"];

/// Whether several ports are joined to this link: a bond or a team.
pub fn is_aggregate(link: &Link) -> bool {
    link.kind == "bond" || link.kind == "team"
}

/// Whether this link is a port of its own. A device with a bus device that sits on another one is
/// not (a partition of InfiniBand), unless that one is the way to its switch (DSA).
pub fn is_own_port(link: &Link, facts: Option<&Facts>) -> bool {
    is_aggregate(link) || is_physical(link, facts) && (link.lower.is_none() || link.kind == "dsa")
}

/// Whether this is the name of a port that stands for a function of the card, and not for a plug:
/// `pf0vf3`, `c1pf0`, `pf0sf88` (`__devlink_port_phys_port_name_get` in `net/devlink/port.c`).
pub fn is_representor(phys_port_name: &Name) -> bool {
    let name = phys_port_name.as_bytes();
    let name = name.strip_prefix(b"c").map_or(name, |controller| {
        without_digits(controller).unwrap_or(name)
    });
    let Some(function) = name.strip_prefix(b"pf").and_then(without_digits) else {
        return false;
    };
    let of_it = function
        .strip_prefix(b"vf")
        .or_else(|| function.strip_prefix(b"sf"));
    function.is_empty() || of_it.and_then(without_digits) == Some(b"")
}

/// What follows after one digit or more.
fn without_digits(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    let rest = text.get(end.unwrap_or(text.len())..)?;
    (rest.len() < text.len()).then_some(rest)
}

/// How a link is watched that is a member of `master`. `representor` says whether it ever was one:
/// a card that is reset does not tell. A link that may not page has a ticket; but a paravirtual port
/// has one already, and pages if it stays down, so nothing is left for it.
pub fn watch(
    link: &Link,
    facts: Option<&Facts>,
    representor: bool,
    master: Option<Master>,
    may_page: bool,
) -> Watch {
    let role = facts.map_or(Role::Port, |facts| facts.role);
    if representor || role != Role::Port || link.kind == "wwan" {
        return Watch::None;
    }
    match master {
        Some(Master::Aggregate) => return Watch::Ticket,
        Some(Master::Port) => return Watch::None,
        Some(Master::OpenVSwitch | Master::Other) | None => {}
    }
    if !is_own_port(link, facts) {
        return Watch::None;
    }
    let is_driver = |drivers: &[&str]| {
        facts.is_some_and(|facts| drivers.iter().any(|driver| facts.driver == **driver))
    };
    let is_single = !is_aggregate(link);
    let is_in_openvswitch = is_single && master == Some(Master::OpenVSwitch);
    if is_in_openvswitch || is_single && is_driver(&BMC) {
        Watch::Ticket
    } else if is_single && is_driver(&PARAVIRTUAL) {
        if may_page { Watch::Ticket } else { Watch::None }
    } else if may_page {
        Watch::Page
    } else {
        Watch::Ticket
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        collectors::link::{message::Parent, testing::link},
        devices::IfIndex,
    };

    fn virtual_(kind: &str) -> Link {
        Link {
            kind: kind.into(),
            parent: Parent::None,
            ..link(2, "eth0")
        }
    }

    fn port(kind: &str) -> Link {
        Link {
            kind: kind.into(),
            parent: Parent::Device {
                bus: "pci".into(),
                name: "0000:3b:00.0".into(),
            },
            ..link(2, "eth0")
        }
    }

    fn facts(driver: &str, role: Role) -> Facts {
        Facts {
            driver: driver.into(),
            physical: true,
            role,
            ..Facts::default()
        }
    }

    #[test]
    fn a_driver_decides_how_a_lone_port_is_watched() {
        for (driver, expected) in [
            ("mlx5_core", Watch::Page),
            ("ixgbe", Watch::Page),
            ("e1000e", Watch::Page),
            ("r8152", Watch::Page),
            ("", Watch::Page),
            ("virtio_net", Watch::Ticket),
            ("hv_netvsc", Watch::Ticket),
            ("vmxnet3", Watch::Ticket),
            ("ena", Watch::Ticket),
            ("gve", Watch::Ticket),
            ("gvnic", Watch::Ticket),
            ("vif", Watch::Ticket),
            ("ibmveth", Watch::Ticket),
            ("cdc_ether", Watch::Ticket),
            ("rndis_host", Watch::Ticket),
            ("cdc_eem", Watch::Ticket),
            // Not because their names begin like those.
            ("enic", Watch::Page),
            ("vif2", Watch::Page),
        ] {
            let facts = facts(driver, Role::Port);
            let as_of = |master| watch(&port(""), Some(&facts), false, master, true);
            assert_eq!(as_of(None), expected, "{driver}");
            assert_eq!(as_of(Some(Master::Other)), expected, "{driver} in a bridge");
            for master in [Master::Aggregate, Master::OpenVSwitch] {
                assert_eq!(as_of(Some(master)), Watch::Ticket, "{driver}, {master:?}");
            }
            assert_eq!(as_of(Some(Master::Port)), Watch::None, "{driver}");
        }
        // Known by netlink alone, as where sysfs is another namespace's.
        assert_eq!(watch(&port(""), None, false, None, true), Watch::Page);
    }

    #[test]
    fn what_is_no_plug_of_this_machine_is_not_watched_whatever_it_is_joined_to() {
        let masters = [
            None,
            Some(Master::Aggregate),
            Some(Master::OpenVSwitch),
            Some(Master::Port),
            Some(Master::Other),
        ];
        for master in masters {
            for role in [Role::Wireless, Role::VirtualFunction] {
                let facts = facts("ath11k_pci", role);
                assert_eq!(
                    watch(&port(""), Some(&facts), false, master, true),
                    Watch::None
                );
            }
            let card = facts("mlx5_core", Role::Port);
            assert_eq!(
                watch(&port(""), Some(&card), true, master, true),
                Watch::None
            );
            assert_eq!(
                watch(&port("wwan"), Some(&card), false, master, true),
                Watch::None
            );
        }
    }

    #[test]
    fn a_kind_decides_how_a_virtual_link_is_watched() {
        let table = [
            // Alone, in a bond, in Open vSwitch.
            ("bond", [Watch::Page, Watch::Ticket, Watch::Page]),
            ("team", [Watch::Page, Watch::Ticket, Watch::Page]),
            ("veth", [Watch::None, Watch::Ticket, Watch::None]),
            ("vlan", [Watch::None, Watch::Ticket, Watch::None]),
            ("bridge", [Watch::None, Watch::Ticket, Watch::None]),
            ("tun", [Watch::None, Watch::Ticket, Watch::None]),
            ("vxlan", [Watch::None, Watch::Ticket, Watch::None]),
            ("openvswitch", [Watch::None, Watch::Ticket, Watch::None]),
            ("", [Watch::None, Watch::Ticket, Watch::None]),
        ];
        for (kind, expected) in table {
            let masters = [None, Some(Master::Aggregate), Some(Master::OpenVSwitch)];
            let link = virtual_(kind);
            let watched = masters.map(|master| watch(&link, None, false, master, true));
            assert_eq!(watched, expected, "{kind}");
        }
    }

    #[test]
    fn a_link_that_may_not_page_has_a_ticket_at_most() {
        let master = None;
        for (link, driver, expected) in [
            (port(""), "ixgbe", Watch::Ticket),
            (virtual_("bond"), "", Watch::Ticket),
            (port(""), "cdc_ether", Watch::Ticket),
            // It would page after a while.
            (port(""), "virtio_net", Watch::None),
            (virtual_("veth"), "", Watch::None),
        ] {
            let facts = facts(driver, Role::Port);
            let watched = watch(&link, Some(&facts), false, master, false);
            assert_eq!(watched, expected, "{driver}, {link:?}");
        }
        let facts = facts("virtio_net", Role::Port);
        let member = watch(
            &port(""),
            Some(&facts),
            false,
            Some(Master::Aggregate),
            false,
        );
        assert_eq!(member, Watch::Ticket);
    }

    #[test]
    fn a_device_that_sits_on_a_port_is_none_unless_its_switch_is_below() {
        let sits = |kind| Link {
            lower: Some(IfIndex(3)),
            ..port(kind)
        };
        let facts = facts("mlx5_core", Role::Port);
        assert_eq!(
            watch(&sits("ipoib"), Some(&facts), false, None, true),
            Watch::None
        );
        assert_eq!(
            watch(&sits("dsa"), Some(&facts), false, None, true),
            Watch::Page
        );
    }

    #[test]
    fn a_representor_is_known_by_the_name_of_its_port() {
        for name in ["pf0vf3", "pf1vf127", "c1pf0vf0", "pf0sf88", "pf0", "c1pf0"] {
            assert!(is_representor(&name.into()), "{name}");
        }
        for name in [
            "", "p0", "p1s2", "pf", "pf0vf", "pfvf3", "pf0vf3x", "c1", "cpf0", "c1p0", "n0", "3",
        ] {
            assert!(!is_representor(&name.into()), "{name}");
        }
    }

    #[test]
    fn a_master_is_known_by_what_it_is() {
        for (link, expected) in [
            (virtual_("bond"), Master::Aggregate),
            (virtual_("team"), Master::Aggregate),
            (virtual_("openvswitch"), Master::OpenVSwitch),
            (virtual_("bridge"), Master::Other),
            (virtual_("vrf"), Master::Other),
            (port(""), Master::Port),
        ] {
            assert_eq!(Master::of(&link, None), expected, "{link:?}");
        }
    }
}
