//! Which losses of a carrier count, and whether one is lost now. Links settle for a minute.

use super::*;

/// What the kernel says of a port, in the words of `ip`.
#[derive(Clone)]
struct Port(Link);

impl Port {
    /// Set up, without a carrier, and so often it had one.
    fn new(ups: u32, downs: u32) -> Self {
        Self(Link {
            carrier: Carrier::Off,
            carrier_ups: ups,
            carrier_downs: downs,
            ..link(2, "eth0")
        })
    }

    fn carrier(&mut self, on: bool) {
        let is_on = self.0.carrier == Carrier::On;
        match (is_on, on) {
            (false, true) => self.0.carrier_ups += 1,
            (true, false) => self.0.carrier_downs += 1,
            _ => {}
        }
        self.0.carrier = if on { Carrier::On } else { Carrier::Off };
    }

    fn set(&mut self, up: bool) {
        self.0.admin = if up { Admin::Up } else { Admin::Down };
        if !up {
            self.carrier(false);
        }
    }

    /// Does one of `on off up down`, or a flap: `flap` (down and up) or `blink` (up and down).
    fn act(&mut self, word: &str) {
        match word {
            "on" => self.carrier(true),
            "off" => self.carrier(false),
            "up" => self.set(true),
            "down" => self.set(false),
            "flap" => [false, true].into_iter().for_each(|on| self.carrier(on)),
            "blink" => [true, false].into_iter().for_each(|on| self.carrier(on)),
            _ => unreachable!("{word}"),
        }
    }
}

/// Losses that count and whether the carrier is lost, after a story such as `0:on 20:off`, at some
/// second after its beginning.
fn told(first: Port, story: &str, until: u64) -> (u64, bool) {
    let mut port = first;
    let mut table = Table::new(DeviceFilter::All).settling(Duration::from_secs(60));
    apply(&mut table, &port.0, 0);
    for step in story.split_whitespace() {
        let (second, word) = step.split_once(':').expect("a time and what happens");
        let second = second.parse().expect("a time");
        table.expire(at(second).monotonic);
        port.act(word);
        apply(&mut table, &port.0, second);
    }
    table.expire(at(until).monotonic);
    let row = &table.rows()[0];
    (row.carrier_losses, row.carrier_lost)
}

#[test]
fn losses_that_count() {
    for (story, until, expected) in [
        // After it has settled, each one does.
        ("1:on 100:off", 100, (1, true)),
        ("1:on 100:off 101:on", 200, (1, false)),
        ("1:on 100:flap 101:flap", 200, (2, false)),
        ("1:on 100:off 110:blink", 200, (2, true)),
        // While it settles, the one that stays, at the end.
        ("1:on 20:off", 59, (0, true)),
        ("1:on 20:off", 60, (1, true)),
        ("1:on 20:off 22:on", 100, (0, false)),
        ("1:on 20:flap 30:off", 100, (1, true)),
        ("1:blink", 100, (1, true)),
        ("1:on 20:off 61:on 70:off", 100, (2, true)),
        // A port that somebody sets up settles again; a loss that has been counted is not again.
        ("1:on 100:down 101:up 105:on", 300, (0, false)),
        ("1:on 100:down 101:up", 160, (0, true)),
        ("1:on 100:down 101:up", 161, (1, true)),
        ("1:on 100:down 101:up 105:on 120:off", 300, (1, true)),
        ("1:on 100:off 101:down 102:up", 300, (1, true)),
        ("1:on 100:off 101:down 102:up 110:on", 300, (1, false)),
        (
            "1:on 100:off 101:down 102:up 110:on 120:off",
            300,
            (2, true),
        ),
        ("1:on 100:down 150:up 155:down 200:up", 259, (0, true)),
        ("1:on 100:down 150:up 155:down 200:up", 260, (1, true)),
        // What is set down has lost nothing.
        ("1:on 100:down", 300, (0, false)),
        ("1:on 20:off 30:down", 300, (0, false)),
        // Nobody ever plugged in a cable, or nobody saw that there was one.
        ("", 300, (0, false)),
        ("100:down 101:up", 300, (0, false)),
    ] {
        assert_eq!(told(Port::new(0, 1), story, until), expected, "{story}");
    }
}

#[test]
fn a_carrier_that_was_lost_before_the_exporter_looked_is_lost_but_no_loss() {
    for (story, until, expected) in [
        ("", 300, (0, true)),
        ("100:down", 300, (0, false)),
        ("100:down 101:up", 300, (0, true)),
        ("100:on", 300, (0, false)),
        ("100:on 101:off", 300, (1, true)),
    ] {
        assert_eq!(told(Port::new(1, 2), story, until), expected, "{story}");
    }
}

#[test]
fn a_driver_that_registers_with_a_carrier_counts_none_but_it_was_seen() {
    let mut with_carrier = Port::new(0, 0);
    with_carrier.0.carrier = Carrier::On;
    assert_eq!(told(with_carrier.clone(), "100:off", 200), (1, true));
    assert_eq!(
        told(with_carrier.clone(), "100:down 101:up", 120),
        (0, true)
    );
    // It takes the carrier back before anybody sets the device up: there never was a cable.
    with_carrier.0.admin = Admin::Down;
    assert_eq!(told(with_carrier, "1:off 2:up", 200), (0, false));
}

#[test]
fn losses_that_a_dump_finds_count_by_the_kernels_numbers() {
    let mut port = Port::new(1, 1);
    let mut table = Table::new(DeviceFilter::All).settling(Duration::from_secs(60));
    port.act("on");
    apply(&mut table, &port.0, 0);
    table.expire(at(100).monotonic);
    // None of these was heard of.
    for word in ["flap", "flap", "off"] {
        port.act(word);
    }
    table.begin_dump();
    apply(&mut table, &port.0, 200);
    table.end_dump(false, at(200));
    let row = &table.rows()[0];
    assert_eq!((row.carrier_losses, row.carrier_lost), (3, true));
}

#[test]
fn a_renamed_port_keeps_its_losses_and_a_new_one_has_none() {
    let mut port = Port::new(1, 1);
    let mut table = Table::new(DeviceFilter::All).settling(Duration::from_secs(60));
    port.act("on");
    apply(&mut table, &port.0, 0);
    port.act("off");
    apply(&mut table, &port.0, 100);
    port.0.name = "wan".into();
    apply(&mut table, &port.0, 101);
    assert_eq!(table.rows()[0].carrier_losses, 1);
    let version = table.version();
    table.apply(LinkMessage::Moved(port.0.index), None, at(102));
    apply(
        &mut table,
        &Link {
            index: IfIndex(9),
            ..port.0
        },
        103,
    );
    let row = &table.rows()[0];
    assert_eq!((row.carrier_losses, row.carrier_lost), (0, true));
    assert!(table.version() > version);
}

#[test]
fn the_table_wakes_up_only_while_a_loss_is_undecided() {
    let mut port = Port::new(0, 1);
    let mut table = Table::new(DeviceFilter::All).settling(Duration::from_secs(60));
    apply(&mut table, &port.0, 0);
    port.act("on");
    apply(&mut table, &port.0, 1);
    assert_eq!(table.deadline(), None);
    port.act("off");
    apply(&mut table, &port.0, 2);
    assert_eq!(table.deadline(), Some(at(60).monotonic));
    let version = table.version();
    table.expire(at(59).monotonic);
    assert_eq!(table.version(), version);
    table.expire(at(60).monotonic);
    assert!(table.version() > version);
    assert_eq!(table.deadline(), None);
    // A device that goes leaves nothing to decide.
    port.act("down");
    apply(&mut table, &port.0, 61);
    port.act("up");
    apply(&mut table, &port.0, 62);
    port.act("blink");
    apply(&mut table, &port.0, 63);
    assert_eq!(table.deadline(), Some(at(122).monotonic));
    table.apply(LinkMessage::Deleted(port.0.index), None, at(64));
    assert_eq!(table.deadline(), None);
}
