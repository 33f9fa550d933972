//! What holds for the table of links after any sequence of messages of which any were lost.

use std::{
    collections::BTreeMap,
    time::{Instant, SystemTime},
};

use netdrop_exporter::{
    collectors::link::{
        message::{Admin, Carrier, Link, LinkMessage, OperState, Parent},
        table::{Moment, Row, Table},
        transitions::{PerTransition, Transition},
    },
    devices::{DeviceFilter, IfIndex},
};
use proptest::prelude::*;

use damage::cases;

mod damage;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

#[derive(Clone, Debug)]
enum Action {
    Create(u32, usize, u32),
    Delete(u32),
    Rename(u32, usize),
    SetUp(u32),
    SetDown(u32),
    /// The carrier changes this often before the kernel tells.
    Flap(u32, u32),
}

fn arb_action() -> impl Strategy<Value = Action> {
    let index = || 1..5_u32;
    let name = || 0..NAMES.len();
    // So that counts wrap, too.
    let count = prop_oneof![Just(0), Just(u32::MAX - 1)];
    prop_oneof![
        3 => (index(), name(), count).prop_map(|(i, n, c)| Action::Create(i, n, c)),
        1 => index().prop_map(Action::Delete),
        2 => (index(), name()).prop_map(|(i, n)| Action::Rename(i, n)),
        2 => index().prop_map(Action::SetUp),
        2 => index().prop_map(Action::SetDown),
        4 => (index(), 1..5_u32).prop_map(|(i, n)| Action::Flap(i, n)),
    ]
}

/// The kernel, with a count of what really happened.
#[derive(Default)]
struct Kernel {
    links: BTreeMap<u32, (Link, PerTransition<u64>)>,
}

impl Kernel {
    /// Does it if it can be done, and tells.
    fn act(&mut self, action: &Action) -> Option<LinkMessage> {
        let name_is_free = |name: usize| {
            let mut links = self.links.values();
            links.all(|(link, _)| link.name != NAMES[name])
        };
        match *action {
            Action::Create(index, name, count) => {
                if self.links.contains_key(&index) || !name_is_free(name) {
                    return None;
                }
                let link = Link {
                    index: IfIndex(index),
                    name: NAMES[name].into(),
                    admin: Admin::Down,
                    carrier: Carrier::Off,
                    operstate: OperState(2),
                    carrier_ups: count,
                    carrier_downs: count,
                    kind: "".into(),
                    lower: None,
                    master: None,
                    address: [2, 0, 0, 0, 0, 1].into(),
                    parent: Parent::None,
                };
                self.links.insert(index, (link, PerTransition::default()));
                self.tell(index)
            }
            Action::Delete(index) => {
                self.links.remove(&index)?;
                Some(LinkMessage::Gone(IfIndex(index)))
            }
            Action::Rename(index, name) => {
                if !name_is_free(name) {
                    return None;
                }
                self.links.get_mut(&index)?.0.name = NAMES[name].into();
                self.tell(index)
            }
            Action::SetUp(index) => {
                let (link, happened) = self.links.get_mut(&index)?;
                if link.admin == Admin::Down {
                    link.admin = Admin::Up;
                    *happened.get_mut(Transition::AdminUp) += 1;
                }
                self.tell(index)
            }
            Action::SetDown(index) => {
                let (link, happened) = self.links.get_mut(&index)?;
                if link.admin == Admin::Up {
                    link.admin = Admin::Down;
                    *happened.get_mut(Transition::AdminDown) += 1;
                    if link.carrier == Carrier::On {
                        link.carrier = Carrier::Off;
                        link.carrier_downs = link.carrier_downs.wrapping_add(1);
                    }
                }
                self.tell(index)
            }
            Action::Flap(index, times) => {
                let (link, happened) = self.links.get_mut(&index)?;
                for _ in 0..times {
                    flap(link, happened);
                }
                self.tell(index)
            }
        }
    }

    fn tell(&self, index: u32) -> Option<LinkMessage> {
        let (link, _) = self.links.get(&index)?;
        Some(LinkMessage::Present(link.clone()))
    }

    fn dump(&self, table: &mut Table) {
        table.begin_dump();
        for (link, _) in self.links.values() {
            table.apply(LinkMessage::Present(link.clone()), None, now());
        }
        table.end_dump(false);
    }

    fn by_name(&self) -> Vec<&(Link, PerTransition<u64>)> {
        let mut links: Vec<_> = self.links.values().collect();
        links.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        links
    }
}

fn flap(link: &mut Link, happened: &mut PerTransition<u64>) {
    if link.carrier == Carrier::On {
        link.carrier = Carrier::Off;
        link.carrier_downs = link.carrier_downs.wrapping_add(1);
        if link.admin == Admin::Up {
            *happened.get_mut(Transition::CarrierDown) += 1;
        }
    } else {
        link.carrier = Carrier::On;
        link.carrier_ups = link.carrier_ups.wrapping_add(1);
        *happened.get_mut(Transition::CarrierUp) += 1;
    }
}

fn now() -> Moment {
    Moment {
        wall: SystemTime::now(),
        monotonic: Instant::now(),
    }
}

/// Each transition that was counted has a time, and no other has one.
fn times_fit(row: &Row) -> bool {
    let mut both = row.transitions.iter().zip(row.last.iter());
    both.all(|((_, times), (_, at))| (times > 0) == at.is_some())
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn without_loss_every_transition_is_counted(
        actions in prop::collection::vec(arb_action(), 0..60),
    ) {
        let mut kernel = Kernel::default();
        let mut table = Table::new(DeviceFilter::All);
        for action in &actions {
            if let Some(message) = kernel.act(action) {
                table.apply(message, None, now());
            }
            let rows = table.rows();
            let links = kernel.by_name();
            prop_assert_eq!(rows.len(), links.len());
            for (row, (link, happened)) in rows.iter().zip(links) {
                prop_assert_eq!(&row.link, link);
                prop_assert_eq!(&row.transitions, happened);
                prop_assert!(times_fit(row));
            }
        }
    }

    #[test]
    fn after_any_loss_a_dump_gives_the_kernels_state(
        actions in prop::collection::vec((arb_action(), any::<bool>()), 0..60),
        dumps in prop::collection::vec(0..60_usize, 0..3),
    ) {
        let mut kernel = Kernel::default();
        let mut table = Table::new(DeviceFilter::All);
        let mut served = (table.version(), table.rows());
        for (at, (action, is_lost)) in actions.iter().enumerate() {
            let message = kernel.act(action).filter(|_| !is_lost);
            if let Some(message) = message {
                table.apply(message, None, now());
            }
            if dumps.contains(&at) {
                kernel.dump(&mut table);
            }
            // Names stay unique, whatever was lost.
            let rows = table.rows();
            prop_assert!(rows.is_sorted_by(|a, b| a.link.name < b.link.name));
            // What was encoded for a version is served as long as that stays.
            prop_assert!(rows == served.1 || table.version() > served.0);
            served = (table.version(), rows);
        }
        kernel.dump(&mut table);
        let rows = table.rows();
        let links = kernel.by_name();
        prop_assert_eq!(rows.len(), links.len());
        for (row, (link, _)) in rows.iter().zip(links) {
            prop_assert_eq!(&row.link, link);
            prop_assert!(times_fit(row));
        }
    }

    #[test]
    fn a_link_that_stays_loses_no_transition_of_its_carrier(
        flaps in prop::collection::vec((1..1000_u32, any::<bool>()), 1..30),
        counts in any::<(u32, u32)>(),
    ) {
        let mut kernel = Kernel::default();
        let mut table = Table::new(DeviceFilter::All);
        kernel.act(&Action::Create(1, 0, 0));
        let (link, _) = kernel.links.get_mut(&1).unwrap();
        (link.carrier_ups, link.carrier_downs) = counts;
        kernel.act(&Action::SetUp(1));
        kernel.dump(&mut table);
        for (times, is_lost) in flaps {
            let message = kernel.act(&Action::Flap(1, times));
            if let Some(message) = message.filter(|_| !is_lost) {
                table.apply(message, None, now());
            }
        }
        kernel.dump(&mut table);
        let mut really = kernel.links[&1].1;
        // It was set up before it was first seen.
        *really.get_mut(Transition::AdminUp) = 0;
        prop_assert_eq!(table.rows()[0].transitions, really);
    }
}
