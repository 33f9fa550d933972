//! Which lines there are, and when, depending on what drivers answer.

use std::sync::Mutex;

use super::*;
use crate::collectors::link::{
    message::{Admin, Carrier},
    testing::{change, link},
};

const PORT: IfIndex = IfIndex(2);

const NO_CABLE: DownReason = DownReason {
    state: 4,
    substate: None,
};
const NO_PARTNER: DownReason = DownReason {
    state: 0,
    substate: Some(1),
};

/// What the drivers have answered.
struct Drivers(Mutex<(Answer<u32>, Answer<DownReason>)>);

impl PortWatch for Drivers {
    fn links_changed(&self) {}

    fn carrier_changed(&self, _: IfIndex) {}

    fn speed(&self, _: IfIndex) -> Answer<u32> {
        self.0.lock().unwrap().0
    }

    fn down_reason(&self, _: IfIndex) -> Answer<DownReason> {
        self.0.lock().unwrap().1
    }
}

/// A port, a journal, and its clock.
struct Story {
    drivers: Arc<Drivers>,
    journal: Journal,
    link: Link,
    now: Instant,
}

impl Story {
    fn begin() -> Self {
        let drivers = Arc::new(Drivers(Mutex::new((Answer::Awaited, Answer::Awaited))));
        let ports: Arc<dyn PortWatch> = Arc::clone(&drivers) as _;
        Self {
            journal: Journal::new(LevelFilter::Info, ports, None),
            drivers,
            link: link(2, "eth0"),
            now: Instant::now(),
        }
    }

    fn change(&mut self, to: Link) -> Vec<String> {
        let change = change(&self.link, to.clone());
        self.link = to;
        texts(self.journal.changed(change, self.now))
    }

    fn lose(&mut self) -> Vec<String> {
        self.change(Link {
            carrier: Carrier::Off,
            carrier_downs: self.link.carrier_downs + 1,
            ..self.link.clone()
        })
    }

    fn regain(&mut self) -> Vec<String> {
        self.change(Link {
            carrier: Carrier::On,
            carrier_ups: self.link.carrier_ups + 1,
            ..self.link.clone()
        })
    }

    fn say(&mut self, speed: Answer<u32>, reason: Answer<DownReason>) -> Vec<String> {
        *self.drivers.0.lock().unwrap() = (speed, reason);
        texts(self.journal.answered(&self.link, self.now))
    }

    fn say_why(&mut self, reason: Option<DownReason>) -> Vec<String> {
        self.say(Answer::Unknown, Answer::of(reason))
    }

    fn after(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        texts(self.journal.due(self.now))
    }
}

fn texts(lines: Vec<Line>) -> Vec<String> {
    lines.into_iter().map(|line| line.text).collect()
}

const NOTHING: [&str; 0] = [];
const DOWN: &str = "eth0: carrier down (driver virtio_net, 1000 Mbit/s)";
const DOWN_NO_CABLE: &str = "eth0: carrier down: no cable (driver virtio_net, 1000 Mbit/s)";

#[test]
fn a_loss_is_told_with_its_reason_as_soon_as_that_is_known() {
    let mut story = Story::begin();
    assert_eq!(story.lose(), NOTHING);
    assert_eq!(story.journal.deadline(), Some(story.now + PATIENCE));
    assert_eq!(story.say_why(Some(NO_CABLE)), [DOWN_NO_CABLE]);
    assert_eq!(story.journal.deadline(), None);
    // It is told once.
    assert_eq!(story.say_why(Some(NO_CABLE)), NOTHING);
    // Where it is known before the loss is told, nothing waits.
    let mut story = Story::begin();
    story.say_why(Some(NO_CABLE));
    assert_eq!(story.lose(), [DOWN_NO_CABLE]);
}

#[test]
fn a_driver_that_gives_no_reason_is_not_waited_for_and_none_is_claimed() {
    let mut story = Story::begin();
    story.lose();
    assert_eq!(story.say_why(None), [DOWN]);
    assert_eq!(story.after(PATIENCE), NOTHING);
    assert_eq!(story.journal.deadline(), None);
}

#[test]
fn a_driver_that_does_not_answer_holds_up_a_line_for_two_seconds() {
    let mut story = Story::begin();
    story.lose();
    assert_eq!(story.after(PATIENCE - Duration::from_millis(1)), NOTHING);
    assert_eq!(story.after(Duration::from_millis(1)), [DOWN]);
    assert_eq!(story.say_why(None), NOTHING);
}

#[test]
fn a_reason_that_comes_late_has_a_line_of_its_own_once() {
    let late = ["eth0: link is down: no cable (driver virtio_net)"];
    let mut story = Story::begin();
    story.lose();
    story.say_why(None);
    assert_eq!(story.say_why(Some(NO_CABLE)), late);
    assert_eq!(story.say_why(None), NOTHING);
    assert_eq!(story.say_why(Some(NO_PARTNER)), NOTHING);

    // Also if it is another one than the first.
    let mut story = Story::begin();
    story.lose();
    story.say_why(Some(NO_PARTNER));
    assert_eq!(story.say_why(Some(NO_CABLE)), late);

    // The link is called otherwise by then.
    let mut story = Story::begin();
    story.lose();
    story.say_why(None);
    story.link.name = "up0".into();
    let renamed = ["up0: link is down: no cable (driver virtio_net)"];
    assert_eq!(story.say_why(Some(NO_CABLE)), renamed);
}

#[test]
fn lines_of_a_device_keep_their_order_and_an_old_loss_has_no_late_reason() {
    let mut story = Story::begin();
    assert_eq!(story.lose(), NOTHING);
    story.drivers.0.lock().unwrap().1 = Answer::Unknown;
    assert_eq!(story.regain(), [DOWN], "before the speed is known");
    let up = ["eth0: carrier up (driver virtio_net, 25000 Mbit/s)"];
    assert_eq!(story.say(Answer::Known(25_000), Answer::Unknown), up);
    assert_eq!(story.say_why(Some(NO_CABLE)), NOTHING);

    // A port that is removed before its driver answers, and one that is set down.
    let mut story = Story::begin();
    story.lose();
    let mut gone = change(&story.link, story.link.clone());
    gone.left = Some(Departure::Removed);
    let removed = "eth0: removed (driver virtio_net, virtio2, 1000 Mbit/s)";
    let lines = story.journal.changed(gone, story.now);
    assert_eq!(texts(lines), [DOWN, removed]);
    assert_eq!(story.say_why(Some(NO_CABLE)), NOTHING);

    let mut story = Story::begin();
    story.lose();
    let set_down = Link {
        admin: Admin::Down,
        ..story.link.clone()
    };
    let admin_down = "eth0: admin down (driver virtio_net, 1000 Mbit/s)";
    assert_eq!(story.change(set_down), [DOWN, admin_down]);
    assert_eq!(story.say_why(Some(NO_CABLE)), NOTHING);
}

#[test]
fn what_waits_is_written_when_nothing_more_can_be_heard() {
    let mut story = Story::begin();
    story.lose();
    let lines = story.journal.flush(story.now);
    assert_eq!(texts(lines), [DOWN]);
    assert_eq!(story.after(PATIENCE), NOTHING);
    // Or the device has gone, and nothing is said of that.
    story.regain();
    let lines = story.journal.forget(PORT, story.now);
    assert_eq!(
        texts(lines),
        ["eth0: carrier up (driver virtio_net, speed unknown)"]
    );
}

#[test]
fn lines_that_waited_are_bounded_as_others_are() {
    let mut story = Story::begin();
    let mut lines = Vec::new();
    for _ in 0..20 {
        lines.extend(story.lose());
        lines.extend(story.regain());
    }
    lines.extend(story.say(Answer::Known(1000), Answer::Unknown));
    assert_eq!(lines.len(), 30, "{lines:?}");
    // A loss that was held back has no late reason either.
    story.lose();
    assert_eq!(story.say_why(None), NOTHING);
    assert_eq!(story.say_why(Some(NO_CABLE)), NOTHING);
    assert_eq!(
        story.after(Duration::from_secs(10)),
        ["held back 11 more lines about transitions of physical links"]
    );
}

#[test]
fn virtual_links_have_no_driver_to_wait_for() {
    let mut story = Story::begin();
    story.journal.max_level = LevelFilter::Debug;
    let without = |mut change: Change| {
        change.facts = None;
        change.link.kind = "veth".into();
        change.speed = None;
        change
    };
    let lost = Link {
        carrier: Carrier::Off,
        carrier_downs: story.link.carrier_downs + 1,
        ..story.link.clone()
    };
    let lines = story
        .journal
        .changed(without(change(&story.link, lost)), story.now);
    assert_eq!(
        texts(lines),
        ["eth0: carrier down (driver veth, speed unknown)"]
    );
}
