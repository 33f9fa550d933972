//! Outages that go on, end and begin again: how many pages they are.

use std::thread;
use std::time::Duration;

use netdrop_tests::wait::SOON;
use netdrop_tests::wait_until;
use netdrop_tests::webhook::Notification;

use crate::chain::{Chain, Pace, is_the_page};
use crate::incident::{first_page, print_texts};

/// A page stays for 7 minutes after its link is back, 12 after a short loss.
const STAYS: Duration = Duration::from_secs(12 * 60 / Pace::FACTOR as u64);

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn page_stays_when_the_exporter_restarts_during_an_outage() {
    let mut chain = Chain::start(5, Pace::Fast);
    chain.uplink.pull();
    first_page(&chain);
    chain.restart_exporter();
    // Longer than the page would stay without its cause.
    thread::sleep(STAYS + Duration::from_secs(20));
    assert_eq!(statuses(&chain.sent_to("page")), ["firing"]);
    assert_eq!(chain.losses(), 0.0, "the new exporter has counted no loss");
    chain.uplink.plug();
    wait_until("the page is resolved", STAYS + SOON, || {
        chain.sent_to("page").len() >= 2
    });
    let pages = chain.sent_to("page");
    print_texts("restart during an outage", &pages);
    assert_eq!(statuses(&pages), ["firing", "resolved"]);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn page_is_one_for_two_outages_in_ten_minutes_and_another_one_after_it_resolved() {
    let chain = Chain::start(5, Pace::Fast);
    chain.uplink.pull();
    first_page(&chain);
    chain.uplink.plug();
    // Five minutes at this pace.
    thread::sleep(Duration::from_secs(5 * 60 / u64::from(Pace::FACTOR)));
    chain.uplink.pull();
    thread::sleep(Duration::from_secs(10));
    chain.uplink.plug();
    wait_until("the page is resolved", STAYS + SOON, || {
        statuses(&chain.sent_to("page")).contains(&"resolved")
    });
    assert_eq!(statuses(&chain.sent_to("page")), ["firing", "resolved"]);
    chain.uplink.pull();
    wait_until("another page comes", SOON, || {
        chain.sent_to("page").len() >= 3
    });
    let pages = chain.sent_to("page");
    print_texts("two outages, and a third", &pages);
    assert_eq!(statuses(&pages), ["firing", "resolved", "firing"]);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn page_comes_from_central_rules_behind_an_agent_with_its_external_labels() {
    let chain = Chain::start_behind_agent(5, Pace::Fast, "{cluster: eu, replica: a}");
    chain.uplink.pull();
    let page = first_page(&chain);
    print_texts("central rules", std::slice::from_ref(&page));
    assert_eq!(page.alerts.len(), 1, "{page:?}");
    assert!(is_the_page(&page.alerts[0], "firing"), "{page:?}");
    let labels = &page.alerts[0].labels;
    assert_eq!((&*labels["cluster"], &*labels["replica"]), ("eu", "a"));
    let text = &page.alerts[0].annotations["description"];
    assert!(text.contains("and has none now"), "{text}");
}

fn statuses(pages: &[Notification]) -> Vec<&str> {
    let alerts = pages.iter().flat_map(|page| &page.alerts);
    alerts.map(|alert| &*alert.status).collect()
}
