//! Which losses of a carrier count: the table decides as time goes by, the test afterwards, from the
//! whole story.

use std::time::{Duration, Instant, SystemTime};

use netdrop_exporter::{
    collectors::link::{
        message::{Admin, Carrier, Link, LinkMessage, OperState, Parent},
        table::{Moment, Table},
        transitions::Transition,
    },
    devices::{DeviceFilter, IfIndex},
};
use proptest::prelude::*;

use crate::damage::cases;

#[derive(Clone, Copy, Debug)]
enum Action {
    SetUp,
    SetDown,
    /// The carrier changes this often before the kernel tells.
    Flap(u32),
    /// The kernel tells again, with another name.
    Rename(u8),
}

fn arb_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => Just(Action::SetUp),
        2 => Just(Action::SetDown),
        5 => (1..5_u32).prop_map(Action::Flap),
        1 => any::<u8>().prop_map(Action::Rename),
    ]
}

/// One message: when, how the port is then, and what happened since the one before it.
#[derive(Clone, Copy, Debug)]
struct Told {
    second: u64,
    is_up: bool,
    has_carrier: bool,
    was_set_up: bool,
    /// While it was set up.
    losses: u64,
    worked: bool,
}

fn first(admin: Admin, ups: u32) -> Link {
    Link {
        index: IfIndex(2),
        name: "eth0".into(),
        admin,
        carrier: Carrier::Off,
        operstate: OperState(2),
        carrier_ups: ups,
        carrier_downs: ups,
        kind: "".into(),
        lower: None,
        master: None,
        address: [2, 0, 0, 0, 0, 1].into(),
        parent: Parent::None,
        is_representor: false,
    }
}

fn act(link: &mut Link, action: Action, second: u64) -> Told {
    let was_up = link.admin == Admin::Up;
    let (mut losses, mut worked) = (0, false);
    match action {
        Action::SetUp => link.admin = Admin::Up,
        Action::SetDown => {
            link.admin = Admin::Down;
            if link.carrier == Carrier::On {
                link.carrier = Carrier::Off;
                link.carrier_downs = link.carrier_downs.wrapping_add(1);
            }
        }
        Action::Flap(times) => {
            for _ in 0..times {
                if link.carrier == Carrier::On {
                    link.carrier = Carrier::Off;
                    link.carrier_downs = link.carrier_downs.wrapping_add(1);
                    losses += u64::from(was_up);
                } else {
                    link.carrier = Carrier::On;
                    link.carrier_ups = link.carrier_ups.wrapping_add(1);
                    worked |= was_up;
                }
            }
        }
        Action::Rename(name) => link.name = format!("eth{name}").as_str().into(),
    }
    let is_up = link.admin == Admin::Up;
    let has_carrier = link.carrier == Carrier::On;
    Told {
        second,
        is_up,
        has_carrier,
        was_set_up: is_up && !was_up,
        losses,
        worked: worked || is_up && has_carrier,
    }
}

/// Losses that count, by their definition.
fn losses(story: &[Told], settle: u64, end: u64) -> u64 {
    let set_up = story.iter().filter(|told| told.was_set_up);
    let starts: Vec<u64> = [0]
        .into_iter()
        .chain(set_up.map(|told| told.second))
        .collect();
    let settles = |second: u64| {
        let begun = starts.iter().filter(|&&start| start <= second);
        begun.max().is_some_and(|start| second < start + settle)
    };
    let mut counted = Vec::new();
    for told in story.iter().filter(|told| !settles(told.second)) {
        counted.extend((0..told.losses).map(|_| told.second));
    }
    for ends in starts.iter().map(|start| start + settle) {
        if ends > end || settles(ends) {
            continue;
        }
        let before = |told: &&Told| told.second < ends;
        let Some(state) = story.iter().rev().find(before) else {
            continue;
        };
        let worked = story.iter().rev().filter(before).find(|told| told.worked);
        let Some(worked) = worked.filter(|_| state.is_up && !state.has_carrier) else {
            continue;
        };
        // A message that tells of work and of losses after it counts them.
        let is_counted = |&second: &u64| worked.second <= second && second < ends;
        if !counted.iter().any(is_counted) {
            counted.push(ends - 1);
        }
    }
    counted.len() as u64
}

fn at(start: Instant, second: u64) -> Moment {
    // The wall clock runs backwards: nothing may depend on it.
    let hour = Duration::from_secs(1_000_000 - second);
    Moment {
        wall: SystemTime::UNIX_EPOCH + hour,
        monotonic: start + Duration::from_secs(second),
    }
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn losses_are_delayed_and_not_forgiven(
        actions in prop::collection::vec((arb_action(), 1..50_u64), 0..40),
        settle in 1..80_u64,
        is_up in any::<bool>(),
        ups in prop_oneof![Just(0), Just(7), Just(u32::MAX - 1)],
    ) {
        let start = Instant::now();
        let mut link = first(if is_up { Admin::Up } else { Admin::Down }, ups);
        let mut table = Table::new(DeviceFilter::All).settling(Duration::from_secs(settle));
        table.apply(LinkMessage::Present(link.clone()), None, at(start, 0));
        let mut story = Vec::new();
        let mut second = 0;
        for (action, pause) in actions {
            second += pause;
            table.expire(at(start, second).monotonic);
            story.push(act(&mut link, action, second));
            table.apply(LinkMessage::Present(link.clone()), None, at(start, second));
            let row = &table.rows()[0];
            prop_assert_eq!(row.carrier_losses, losses(&story, settle, second), "{:?}", story);
            let worked = story.iter().any(|told| told.worked) || link.carrier_ups > 0;
            let is_lost = link.admin == Admin::Up && link.carrier == Carrier::Off && worked;
            prop_assert_eq!(row.carrier_lost, is_lost);
        }
        // Whenever the table wants to be asked is early enough.
        let deadline = table.deadline();
        prop_assert_eq!(deadline.is_some(), losses(&story, settle, u64::MAX / 2) > losses(&story, settle, second));
        table.expire(deadline.unwrap_or(start));
        prop_assert_eq!(table.deadline(), None);
        prop_assert_eq!(table.rows()[0].carrier_losses, losses(&story, settle, u64::MAX / 2));
    }

    #[test]
    fn whatever_was_lost_the_kernels_counts_decide_where_nothing_settles(
        actions in prop::collection::vec((arb_action(), any::<bool>()), 0..40),
        ups in prop_oneof![Just(0), Just(u32::MAX - 1)],
    ) {
        let start = Instant::now();
        let mut link = first(Admin::Up, ups);
        let mut table = Table::new(DeviceFilter::All);
        table.apply(LinkMessage::Present(link.clone()), None, at(start, 0));
        for (second, (action, is_lost)) in (1..).zip(actions) {
            act(&mut link, action, second);
            if !is_lost {
                table.apply(LinkMessage::Present(link.clone()), None, at(start, second));
            }
        }
        table.begin_dump();
        table.apply(LinkMessage::Present(link), None, at(start, 100));
        table.end_dump(false, at(start, 100));
        let row = &table.rows()[0];
        prop_assert_eq!(row.carrier_losses, row.transitions.get(Transition::CarrierDown));
    }
}
