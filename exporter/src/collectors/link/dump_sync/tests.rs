use super::*;
use crate::devices::IfIndex;

const PORT: u32 = 4711;
const MULTI: u16 = 2;
const MULTI_INTERRUPTED: u16 = 2 | 0x10;
const DELLINK: u16 = 17;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// A message of the kernel with 16 bytes: for RTM_DELLINK that is link 2, for the others their
/// number is `first`.
fn message(kind: u16, flags: u16, (port, seq): (u32, u32), first: i32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(32_u32.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(seq.to_ne_bytes());
    bytes.extend(port.to_ne_bytes());
    bytes.extend(first.to_ne_bytes());
    bytes.extend(2_i32.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes
}

fn asked(now: Instant) -> DumpSync {
    let mut dump_sync = DumpSync::new(PORT, now);
    assert_eq!(dump_sync.request(now), Some(1));
    dump_sync
}

fn gone() -> Step {
    Step::Link(LinkMessage::Deleted(IfIndex(2)))
}

#[test]
fn notifications_from_before_the_dump_are_not_of_it() {
    let now = Instant::now();
    let mut dump_sync = asked(now);
    let notification = message(DELLINK, 0, (0, 0), 0);
    let part = message(DELLINK, MULTI, (PORT, 1), 0);
    let end = message(DONE, MULTI, (PORT, 1), 0);
    assert_eq!(dump_sync.datagram(&notification, now), [gone()]);
    assert_eq!(
        dump_sync.datagram(&[part, notification].concat(), now),
        [Step::DumpBegins, gone(), gone()]
    );
    assert!(!dump_sync.is_synchronised());
    let end = dump_sync.datagram(&end, now);
    assert_eq!(end, [Step::DumpEnds { incomplete: false }]);
    assert!(dump_sync.is_synchronised());
}

#[test]
fn the_dump_of_another_process_is_not_ours() {
    let now = Instant::now();
    let mut dump_sync = asked(now);
    for of in [(PORT + 1, 1), (PORT, 7)] {
        assert_eq!(dump_sync.datagram(&message(DONE, MULTI, of, 0), now), []);
    }
    assert!(!dump_sync.is_synchronised());
}

#[test]
fn an_interrupted_dump_is_incomplete_and_asked_for_again() {
    let now = Instant::now();
    let mut dump_sync = asked(now);
    let part = message(DELLINK, MULTI_INTERRUPTED, (PORT, 1), 0);
    let steps = dump_sync.datagram(&part, now);
    assert!(matches!(
        steps[..],
        [_, Step::Lost(Loss::InterruptedDump, _), Step::Link(_)]
    ));
    // Every part says so from then on.
    assert_eq!(dump_sync.datagram(&part, now), [gone()]);
    let end = dump_sync.datagram(&message(DONE, MULTI, (PORT, 1), 0), now);
    assert_eq!(end, [Step::DumpEnds { incomplete: true }]);
    dump_sync.drained();
    assert_eq!(dump_sync.request(now), None);
    assert_eq!(dump_sync.request(now + SHORTEST_PAUSE), Some(2));
}

#[test]
fn a_refused_dump_is_asked_for_again() {
    let now = Instant::now();
    let mut dump_sync = asked(now);
    let busy = message(ERROR, 0, (PORT, 1), -16);
    let steps = dump_sync.datagram(&busy, now);
    assert!(matches!(&steps[1], Step::Lost(Loss::RefusedDump, why) if why.contains("busy")));
    assert_eq!(steps[2], Step::DumpEnds { incomplete: true });
    dump_sync.drained();
    assert_eq!(dump_sync.request(now + SHORTEST_PAUSE), Some(2));
}

#[test]
fn a_dump_waits_until_the_socket_was_read_empty() {
    let now = Instant::now();
    let mut dump_sync = asked(now);
    dump_sync.datagram(&message(DONE, MULTI, (PORT, 1), 0), now);
    dump_sync.lost(Loss::Overrun, now);
    let later = now + LONGEST_PAUSE;
    assert_eq!(dump_sync.request(later), None);
    dump_sync.datagram(&message(DELLINK, 0, (0, 0), 0), later);
    assert_eq!(dump_sync.request(later), None);
    dump_sync.drained();
    assert_eq!(dump_sync.request(later), Some(2));
    // A new socket is empty.
    dump_sync.lost(Loss::Overrun, later);
    dump_sync.reconnect(PORT);
    assert_eq!(dump_sync.request(later + LONGEST_PAUSE), Some(3));
}

#[test]
fn a_dump_in_which_something_was_lost_is_incomplete_and_asked_for_again() {
    let now = Instant::now();
    let mut dump_sync = asked(now);
    dump_sync.lost(Loss::Overrun, now);
    let end = dump_sync.datagram(&message(DONE, MULTI, (PORT, 1), 0), now);
    assert_eq!(end.last(), Some(&Step::DumpEnds { incomplete: true }));
    dump_sync.drained();
    assert_eq!(dump_sync.request(now + SHORTEST_PAUSE), Some(2));
}

#[test]
fn a_dump_with_a_part_that_cannot_be_read_is_incomplete_and_asked_for_again() {
    let now = Instant::now();
    let mut dump_sync = asked(now);
    let mut part = message(DELLINK, MULTI, (PORT, 1), 0);
    // No link has index 0.
    part[20..24].fill(0);
    let end = message(DONE, MULTI, (PORT, 1), 0);
    let steps = dump_sync.datagram(&[part, end].concat(), now);
    assert!(matches!(steps[0], Step::Lost(Loss::Malformed, _)));
    assert_eq!(steps.last(), Some(&Step::DumpEnds { incomplete: true }));
    dump_sync.drained();
    assert_eq!(dump_sync.request(now + SHORTEST_PAUSE), Some(2));
}

#[test]
fn pauses_grow_to_a_bound_and_shrink_when_all_was_well() {
    let mut now = Instant::now();
    let mut dump_sync = DumpSync::new(PORT, now);
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let seq = loop {
            match dump_sync.request(now) {
                Some(seq) => break seq,
                None => now = dump_sync.deadline(now).unwrap(),
            }
        };
        dump_sync.datagram(&message(DONE, MULTI, (PORT, seq), 0), now);
        dump_sync.lost(Loss::Overrun, now);
        dump_sync.lost(Loss::Overrun, now);
        dump_sync.drained();
        pauses.push(dump_sync.deadline(now).unwrap() - now);
    }
    assert_eq!(pauses[0], SHORTEST_PAUSE);
    assert!(pauses.is_sorted());
    assert_eq!(pauses[9], LONGEST_PAUSE);

    now += LONGEST_PAUSE;
    let seq = dump_sync.request(now).unwrap();
    dump_sync.datagram(&message(DONE, MULTI, (PORT, seq), 0), now);
    now += CALM;
    dump_sync.lost(Loss::Overrun, now);
    assert_eq!(dump_sync.deadline(now), Some(now + SHORTEST_PAUSE));
}

#[test]
fn a_dump_without_end_is_noticed() {
    let now = Instant::now();
    let mut dump_sync = asked(now);
    assert!(!dump_sync.is_stuck(now));
    assert!(dump_sync.is_stuck(now + PATIENCE));
    dump_sync.reconnect(PORT);
    assert!(!dump_sync.is_stuck(now + PATIENCE));
}

#[test]
fn changes_that_no_dump_makes_good_make_the_table_old_after_a_while() {
    let now = Instant::now();
    let mut dump_sync = asked(now);
    let later = now + MISSING;
    // Dumps that are interrupted or refused hide no change.
    dump_sync.lost(Loss::InterruptedDump, now);
    dump_sync.lost(Loss::RefusedDump, now);
    assert!(!dump_sync.is_outdated(later));

    dump_sync.lost(Loss::Overrun, now);
    assert!(!dump_sync.is_outdated(now));
    dump_sync.datagram(&message(DONE, MULTI, (PORT, 1), 0), now);
    dump_sync.drained();
    let seq = dump_sync.request(now + SHORTEST_PAUSE).unwrap();
    assert_eq!(dump_sync.deadline(now), Some(later), "the dump has longer");
    assert!(dump_sync.is_outdated(later));
    let end = message(DONE, MULTI, (PORT, seq), 0);
    let ended = dump_sync.datagram(&end, later);
    assert_eq!(ended.last(), Some(&Step::DumpEnds { incomplete: false }));
    assert!(!dump_sync.is_outdated(later));
}
