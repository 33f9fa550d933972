//! The incident, and a flap of 50 ms: one page, for the right link, in time, and nothing else.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use netdrop_tests::uplink::without_goodbye;
use netdrop_tests::wait::SOON;
use netdrop_tests::webhook::Notification;
use netdrop_tests::{poll_for, wait_until};

use crate::chain::{CARD, Chain, Pace, is_the_page};

/// Two intervals between scrapes and two between evaluations.
const INTERVALS: u32 = 4;
/// How long Alertmanager waits, and what a busy machine may add to all that.
const ALLOWANCE: Duration = Duration::from_secs(35);
/// The page stays for 5 minutes after the last loss, and 7 more (`keep_firing_for`); both at [`Pace::Fast`].
const RESOLVED: Duration = Duration::from_secs(12 * 60 / Pace::FACTOR as u64 + 60);

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn page_comes_once_for_the_incident_and_resolves() {
    let chain = Chain::start(5, Pace::Fast);
    let (client, _accepted) = chain.uplink.connect();
    let mut client = without_goodbye(client);

    let pulled = Instant::now();
    chain.uplink.pull();
    client.write_all(b"are you there?").unwrap();
    let connects = thread::spawn({
        let (host, server) = (chain.uplink.host.handle(), chain.uplink.server);
        move || {
            host.enter(|| {
                for _ in 0..10 {
                    let connect = TcpStream::connect_timeout(&server, Duration::from_millis(1500));
                    assert!(connect.is_err(), "the cable is not in");
                }
            });
        }
    });
    let page = first_page(&chain);
    report("incident", 5, pulled, &page);
    assert_in_time(5, pulled, &page);
    let annotations = &page.alerts[0].annotations;
    assert!(annotations["summary"].contains(CARD), "{annotations:?}");
    assert!(
        annotations["description"].contains("and has none now"),
        "{annotations:?}"
    );

    // Its consequence is seen, and held back.
    connects.join().unwrap();
    wait_until("the drops are an alert, and inhibited", SOON, || {
        let mut alerts = chain.alertmanager.alerts().into_iter();
        alerts.any(|alert| alert.inhibited && alert.labels["alertname"] == "DropsWhileLinkDown")
    });
    chain.uplink.plug();
    assert_one_page_that_resolves(&chain);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn page_comes_once_for_a_flap_between_two_scrapes_at_5_s_and_resolves() {
    assert_one_page_that_resolves(&page_for_a_flap(5, Pace::Fast));
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn page_comes_for_a_flap_between_two_scrapes_at_15_s() {
    page_for_a_flap(15, Pace::AsShipped);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn page_comes_for_a_flap_between_two_scrapes_at_30_s() {
    page_for_a_flap(30, Pace::AsShipped);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn page_comes_for_a_flap_between_two_scrapes_at_60_s() {
    page_for_a_flap(60, Pace::AsShipped);
}

/// A loss of 50 ms. Linkwatch may take a second to tell it (`net/core/link_watch.c`); the kernel counts it all the same.
fn page_for_a_flap(interval: u32, pace: Pace) -> Chain {
    let chain = Chain::start(interval, pace);
    let before = chain.losses();
    let pulled = Instant::now();
    chain.uplink.pull();
    thread::sleep(Duration::from_millis(50));
    chain.uplink.plug();
    wait_until("the exporter has heard of it", SOON, || {
        chain.losses() == before + 1.0
    });
    let page = first_page_within(&chain, Duration::from_secs((INTERVALS * interval).into()));
    report("flap of 50 ms", interval, pulled, &page);
    assert_in_time(interval, pulled, &page);
    let description = &page.alerts[0].annotations["description"];
    assert!(description.contains("and has it again"), "{description}");
    chain
}

pub(crate) fn first_page(chain: &Chain) -> Notification {
    first_page_within(chain, Duration::from_secs(20))
}

fn first_page_within(chain: &Chain, time: Duration) -> Notification {
    poll_for("a page comes", time + SOON, || {
        chain.sent_to("page").into_iter().next()
    })
}

/// So that a log of a run has the figures.
fn report(what: &str, interval: u32, pulled: Instant, page: &Notification) {
    let seconds = page.at.duration_since(pulled).as_secs_f64();
    println!("{what}, intervals of {interval} s: the page came after {seconds:.1} s");
    print_texts(what, std::slice::from_ref(page));
}

/// So that somebody can read what the pager gets.
pub(crate) fn print_texts(what: &str, notifications: &[Notification]) {
    for alert in notifications.iter().flat_map(|one| &one.alerts) {
        let text = |name: &str| &alert.annotations[name];
        println!(
            "[{what}] {} {}",
            alert.status.to_uppercase(),
            text("summary")
        );
        println!("[{what}] {}", text("description"));
    }
}

fn assert_in_time(interval: u32, pulled: Instant, page: &Notification) {
    let limit = Duration::from_secs((INTERVALS * interval).into()) + ALLOWANCE;
    let took = page.at.duration_since(pulled);
    assert!(
        took <= limit,
        "the page came after {took:?}, not within {limit:?}"
    );
    assert_eq!(page.alerts.len(), 1, "{page:?}");
    assert!(is_the_page(&page.alerts[0], "firing"), "{page:?}");
}

/// Until the page is resolved nothing else was sent to anybody but an information.
fn assert_one_page_that_resolves(chain: &Chain) {
    wait_until("the page is resolved", RESOLVED, || {
        chain.sent_to("page").len() >= 2
    });
    let pages = chain.sent_to("page");
    assert_eq!(pages.len(), 2, "{pages:?}");
    assert!(is_the_page(&pages[0].alerts[0], "firing"), "{pages:?}");
    assert!(is_the_page(&pages[1].alerts[0], "resolved"), "{pages:?}");
    let text = &pages[1].alerts[0].annotations["description"];
    assert!(text.contains("and has it again"), "a RESOLVED says {text}");
    let tickets = chain.sent_to("ticket");
    assert!(tickets.is_empty(), "{tickets:?}");
}
