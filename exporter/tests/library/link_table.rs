//! What holds for the table of links after any sequence of messages of which any were lost.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use netdrop_exporter::{
    collectors::link::{
        message::{Admin, Carrier, Link, LinkMessage, OperState, Parent},
        table::{Moment, Row, Table},
        transitions::{PerTransition, Transition},
    },
    devices::{DeviceFilter, IfIndex},
    kernel::name::Name,
};
use proptest::prelude::*;

use crate::damage::cases;

/// After so long it is decided whether a device that was closed stays.
const DECIDED: Duration = Duration::from_secs(10);

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

#[derive(Clone, Debug)]
enum Action {
    Create(u32, usize, u32),
    Delete(u32),
    Move(u32),
    /// The kernel sets it down by itself, and it stays.
    Close(u32),
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
        1 => index().prop_map(Action::Move),
        1 => index().prop_map(Action::Close),
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
    /// How often a port of a name was removed.
    removed: BTreeMap<Name, u64>,
}

impl Kernel {
    /// Does it if it can be done, and tells.
    fn act(&mut self, action: &Action) -> Vec<LinkMessage> {
        match *action {
            Action::Delete(index) => {
                let told = self.close(index);
                let gone = self.links.remove(&index).map(|(link, _)| {
                    if is_port(&link) {
                        *self.removed.entry(link.name).or_default() += 1;
                    }
                    LinkMessage::Deleted(IfIndex(index))
                });
                told.into_iter().chain(gone).collect()
            }
            Action::Move(index) => {
                let told = self.close(index);
                let gone = self.links.remove(&index);
                let gone = gone.map(|_| LinkMessage::Moved(IfIndex(index)));
                told.into_iter().chain(gone).collect()
            }
            Action::Close(index) => {
                let told = self.close(index);
                if told.is_some() {
                    let (_, happened) = self.links.get_mut(&index).expect("it stays");
                    *happened.get_mut(Transition::AdminDown) += 1;
                }
                told.into_iter().collect()
            }
            _ => self.change(action).into_iter().collect(),
        }
    }

    /// Sets a link down for its own reasons, if it is up.
    fn close(&mut self, index: u32) -> Option<LinkMessage> {
        let (link, _) = self.links.get_mut(&index)?;
        if link.admin == Admin::Down {
            return None;
        }
        set_down(link);
        Some(LinkMessage::Closed(link.clone()))
    }

    fn change(&mut self, action: &Action) -> Option<LinkMessage> {
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
                    // Some are ports, some are not.
                    kind: if index % 2 == 0 { "bond" } else { "" }.into(),
                    lower: None,
                    master: None,
                    address: [2, 0, 0, 0, 0, 1].into(),
                    parent: Parent::None,
                    is_representor: false,
                };
                self.links.insert(index, (link, PerTransition::default()));
                self.tell(index)
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
                    set_down(link);
                    *happened.get_mut(Transition::AdminDown) += 1;
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
            Action::Delete(_) | Action::Move(_) | Action::Close(_) => None,
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
        table.end_dump(false, now());
    }

    fn by_name(&self) -> Vec<&(Link, PerTransition<u64>)> {
        let mut links: Vec<_> = self.links.values().collect();
        links.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        links
    }
}

fn is_port(link: &Link) -> bool {
    link.kind == "bond"
}

fn set_down(link: &mut Link) {
    link.admin = Admin::Down;
    if link.carrier == Carrier::On {
        link.carrier = Carrier::Off;
        link.carrier_downs = link.carrier_downs.wrapping_add(1);
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
            for message in kernel.act(action) {
                table.apply(message, None, now());
            }
            table.expire(Instant::now() + DECIDED);
            let rows = table.rows();
            let links = kernel.by_name();
            prop_assert_eq!(rows.len(), links.len());
            let removed = |name| kernel.removed.get(name).copied().unwrap_or(0);
            for (row, (link, happened)) in rows.iter().zip(&links) {
                prop_assert_eq!(&row.link, link);
                let mut happened = *happened;
                if is_port(link) {
                    *happened.get_mut(Transition::Removed) = removed(&link.name);
                }
                prop_assert_eq!(row.transitions, happened);
                prop_assert!(times_fit(row));
            }
            // Each removal is served once: of its port if there is one again, else by itself.
            let mut gone = kernel.removed.clone();
            gone.retain(|name, _| !links.iter().any(|(l, _)| is_port(l) && l.name == *name));
            let served = table.removed().into_iter();
            let served: BTreeMap<_, _> = served.map(|gone| (gone.name, gone.times)).collect();
            prop_assert_eq!(served, gone);
        }
    }

    #[test]
    fn after_any_loss_a_dump_gives_the_kernels_state(
        actions in prop::collection::vec((arb_action(), any::<bool>()), 0..60),
        dumps in prop::collection::vec(0..60_usize, 0..3),
    ) {
        let mut kernel = Kernel::default();
        let mut table = Table::new(DeviceFilter::All);
        let mut served = (table.version(), table.rows(), table.removed());
        for (at, (action, is_lost)) in actions.iter().enumerate() {
            for message in kernel.act(action) {
                if !is_lost {
                    table.apply(message, None, now());
                }
            }
            table.expire(Instant::now() + DECIDED);
            if dumps.contains(&at) {
                kernel.dump(&mut table);
            }
            // Names stay unique, whatever was lost.
            let rows = table.rows();
            prop_assert!(rows.is_sorted_by(|a, b| a.link.name < b.link.name));
            // What was encoded for a version is served as long as that stays.
            let same = (rows == served.1) && (table.removed() == served.2);
            prop_assert!(same || table.version() > served.0);
            served = (table.version(), rows, table.removed());
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
            for message in kernel.act(&Action::Flap(1, times)) {
                if !is_lost {
                    table.apply(message, None, now());
                }
            }
        }
        kernel.dump(&mut table);
        let mut really = kernel.links[&1].1;
        // It was set up before it was first seen.
        *really.get_mut(Transition::AdminUp) = 0;
        prop_assert_eq!(table.rows()[0].transitions, really);
    }
}
