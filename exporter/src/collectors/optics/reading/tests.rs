use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use super::*;
use crate::{
    collectors::optics::{table::Table, testing::link},
    devices::IfIndex,
};

/// A QSFP module: page 00h with right checksums, light in four lanes, limits in page 03h.
fn qsfp() -> HashMap<HalfPage, Vec<u8>> {
    let mut lower = vec![0; 128];
    lower[0] = 0x11;
    lower[26] = 0x80;
    lower[34] = 0x20;
    let mut page00 = vec![0; 128];
    page00[0] = 0x11;
    page00[20..28].copy_from_slice(b"NETDROP ");
    add_up(&mut page00);
    let page03 = (0..128).collect();
    [
        (HalfPage::Lower, lower),
        (HalfPage::Page00, page00),
        (HalfPage::Page03, page03),
    ]
    .into()
}

fn add_up(page00: &mut [u8]) {
    for (first, sum) in [(0, 63), (64, 95)] {
        page00[sum] = page00[first..sum]
            .iter()
            .fold(0, |sum: u8, &byte| sum.wrapping_add(byte));
    }
}

/// What reading half a page gives.
type Slice = Result<Vec<u8>, Errno>;

/// Halves of pages as they are read one after the other.
struct Script {
    memory: HashMap<HalfPage, Vec<u8>>,
    /// What happens to these instead, once each.
    next: HashMap<HalfPage, VecDeque<Slice>>,
    read: Vec<HalfPage>,
}

impl Script {
    fn new(next: &[(HalfPage, &[Slice])]) -> Self {
        let next = next
            .iter()
            .map(|(half, reads)| (*half, reads.iter().cloned().collect()));
        Self {
            memory: qsfp(),
            next: next.collect(),
            read: Vec::new(),
        }
    }
}

impl Slices for Script {
    fn read(&mut self, half: HalfPage) -> Result<Vec<u8>, SliceError> {
        self.read.push(half);
        let next = self.next.get_mut(&half).and_then(VecDeque::pop_front);
        let read = next.unwrap_or_else(|| self.memory.get(&half).cloned().ok_or(Errno::IO));
        read.map_err(|errno| SliceError::Read(ReadError::Refused(errno)))
    }
}

fn port() -> Port {
    let mut table = Table::default();
    table.set_links(&[link(2, "eth0")]);
    table.get(IfIndex(2)).cloned().unwrap()
}

fn was_read(outcome: Outcome) -> Read {
    match outcome {
        Outcome::Read(read) => *read,
        other => unreachable!("{other:?}"),
    }
}

fn causes(read: &Read) -> Vec<Cause> {
    read.troubles.iter().map(|(cause, _)| *cause).collect()
}

use HalfPage::{Lower, Page00, Page03};

#[test]
fn what_a_maker_wrote_is_read_again_after_ten_minutes_or_with_another_module() {
    let (mut known, now) = (port(), Instant::now());
    let mut script = Script::new(&[]);
    let first = was_read(read(&mut script, &known, now));
    assert_eq!(script.read, [Lower, Page00, Page03]);
    assert!(first.is_whole && first.troubles.is_empty());
    known.read(first.module.clone(), first.pages, SystemTime::now(), now);
    known.static_at = Some(now);

    for (later, another, halves) in [
        (STATIC_LASTS / 2, false, &[Lower, Page00][..]),
        (STATIC_LASTS, false, &[Lower, Page00, Page03]),
        (STATIC_LASTS / 2, true, &[Lower, Page00, Page03]),
    ] {
        let mut script = Script::new(&[]);
        if another {
            let page00 = script.memory.get_mut(&Page00).unwrap();
            page00[70] = b'2';
            add_up(page00);
        }
        let again = was_read(read(&mut script, &known, now + later));
        assert_eq!(script.read, halves);
        assert_eq!(again.module.thresholds, first.module.thresholds);
    }
}

#[test]
fn a_busy_module_is_asked_again_but_not_for_ever() {
    let busy = [const { Err(Errno::BUSY) }; 3];
    let mut script = Script::new(&[(Lower, &busy[..2])]);
    assert!(was_read(read(&mut script, &port(), Instant::now())).is_whole);
    assert_eq!(script.read[..3], [Lower; 3]);

    let mut script = Script::new(&[(Lower, &busy)]);
    let outcome = read(&mut script, &port(), Instant::now());
    assert!(
        matches!(outcome, Outcome::Failed(Cause::Busy, _)),
        "{outcome:?}"
    );
}

#[test]
fn a_module_that_is_pulled_between_two_pages_leaves_nothing() {
    for half in [Lower, Page00, Page03] {
        let mut script = Script::new(&[(half, &[Err(Errno::NODEV)])]);
        let outcome = read(&mut script, &port(), Instant::now());
        assert!(matches!(outcome, Outcome::Empty), "{outcome:?}");
    }
}

#[test]
fn an_error_in_the_middle_costs_what_stands_there() {
    let mut script = Script::new(&[(Page03, &[Err(Errno::IO)])]);
    let read_without = was_read(read(&mut script, &port(), Instant::now()));
    assert!(read_without.module.thresholds.is_empty());
    assert!(!read_without.module.measured.is_empty());
    assert_eq!(causes(&read_without), [Cause::Io]);
    for half in [Lower, Page00] {
        let mut script = Script::new(&[(half, &[Err(Errno::IO)])]);
        let outcome = read(&mut script, &port(), Instant::now());
        assert!(
            matches!(outcome, Outcome::Failed(Cause::Io, _)),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_wrong_checksum_counts_if_it_is_there_twice_and_else_the_reading_does_not() {
    let mut wrong = qsfp()[&Page00].clone();
    wrong[63] ^= 1;
    let mut script = Script::new(&[(Page00, &[Ok(wrong.clone())])]);
    let outcome = read(&mut script, &port(), Instant::now());
    assert!(
        matches!(outcome, Outcome::Failed(Cause::Checksum, _)),
        "{outcome:?}"
    );

    let mut script = Script::new(&[]);
    script.memory.insert(Page00, wrong.clone());
    let (mut known, now) = (port(), Instant::now());
    let first = was_read(read(&mut script, &known, now));
    assert_eq!(script.read, [Lower, Page00, Page03, Page00]);
    assert_eq!(first.module.identity.vendor, "NETDROP");
    assert_eq!(causes(&first), [Cause::Checksum]);
    known.read(first.module, first.pages, SystemTime::now(), now);

    let mut script = Script::new(&[]);
    script.memory.insert(Page00, wrong);
    was_read(read(&mut script, &known, now));
    assert_eq!(script.read, [Lower, Page00, Page03], "it is known");
}
