use super::*;

const GONE: fn(&Name) -> bool = |_| false;

fn drops(reason: &str, device: &str, netns: &str, packets: u64) -> Drops {
    Drops {
        labels: Labels {
            reason: reason.into(),
            function: "__dev_queue_xmit".into(),
            state: "SYN_SENT",
            device: device.into(),
            netns: netns.into(),
        },
        workload: None,
        category: Category::Congestion,
        link: Link::Up,
        packets,
        bytes: packets * 60,
    }
}

fn of(series: &Series, device: &str, netns: &str) -> Option<Tally> {
    series
        .drops()
        .find(|(l, _)| l.device == device && l.netns == netns)
        .map(|(_, tally)| tally)
}

fn total(series: &Series, category: Category) -> u64 {
    series
        .categories()
        .filter(|(c, _)| *c == category)
        .map(|(_, n)| n)
        .sum()
}

#[test]
fn every_category_is_born_at_zero() {
    let series = Series::new(10, 10);
    let born: Vec<_> = series.categories().collect();
    assert_eq!(born, Category::ALL.map(|c| (c, 0)));
}

#[test]
fn drops_while_the_link_is_down_count_as_link_but_their_reason_keeps_its_category() {
    let mut series = Series::new(10, 10);
    for (link, packets) in [
        (Link::NoCarrier, 5),
        (Link::AdminDown, 7),
        (Link::Unknown, 1),
    ] {
        let mut drops = drops("QDISC_DROP", "eth0", HOST, packets);
        drops.link = link;
        series.add(drops);
    }

    assert_eq!(total(&series, Category::Link), 12);
    assert_eq!(total(&series, Category::Congestion), 1);
    assert_eq!(series.reasons()["QDISC_DROP"], Category::Congestion);
    let mut down: Vec<_> = series.link_down().map(|(l, n)| (l.link, n)).collect();
    down.sort_unstable();
    assert_eq!(down, [("admin_down", 7), ("no_carrier", 5)]);
}

#[test]
fn link_down_series_are_of_the_host_only() {
    let mut series = Series::new(10, 10);
    let mut drops = drops("QDISC_DROP", "eth0", "blue", 5);
    drops.link = Link::NoCarrier;
    series.add(drops);
    assert_eq!(series.link_down().len(), 0);
    assert_eq!(total(&series, Category::Link), 5);
}

#[test]
fn beyond_the_cap_new_series_fold_into_other_and_old_ones_go_on() {
    let mut series = Series::new(1, 1);
    series.add(drops("QDISC_DROP", "eth0", HOST, 1));
    series.add(drops("QDISC_DROP", "eth1", HOST, 2));
    series.add(drops("QDISC_DROP", "eth1", "blue", 4));
    series.add(drops("QDISC_DROP", "eth0", HOST, 8));

    assert_eq!(of(&series, "eth0", HOST).unwrap().packets, 9);
    assert_eq!(of(&series, OTHER, HOST).unwrap().packets, 2);
    assert_eq!(of(&series, OTHER, OTHER).unwrap().packets, 4);
    assert_eq!(series.drops().len(), 3);
}

#[test]
fn a_vanished_device_is_served_for_five_minutes_and_then_frees_its_place() {
    let start = Instant::now();
    let mut series = Series::new(1, 1);
    series.add(drops("QDISC_DROP", "veth0", HOST, 1));
    series.retire(start, GONE);
    series.retire(start + RETIREMENT - Duration::from_secs(1), GONE);
    assert!(of(&series, "veth0", HOST).is_some());

    series.retire(start + RETIREMENT, GONE);
    assert!(of(&series, "veth0", HOST).is_none());
    assert_eq!(total(&series, Category::Congestion), 1);

    series.add(drops("QDISC_DROP", "veth1", HOST, 1));
    assert!(of(&series, "veth1", HOST).is_some());
}

#[test]
fn a_device_that_comes_back_in_time_goes_on_with_its_series() {
    let start = Instant::now();
    let mut series = Series::new(10, 10);
    series.add(drops("QDISC_DROP", "veth0", HOST, 1));
    series.retire(start, GONE);
    series.retire(start + RETIREMENT / 2, |device| *device == "veth0");
    series.retire(start + RETIREMENT, GONE);
    series.add(drops("QDISC_DROP", "veth0", HOST, 2));
    assert_eq!(of(&series, "veth0", HOST).unwrap().packets, 3);
}

#[test]
fn a_count_stops_at_its_maximum_rather_than_go_backwards() {
    let mut series = Series::new(10, 10);
    let mut huge = drops("QDISC_DROP", "eth0", HOST, 1);
    (huge.packets, huge.bytes) = (u64::MAX, u64::MAX);
    series.add(huge);
    series.add(drops("QDISC_DROP", "eth0", HOST, 1));
    assert_eq!(of(&series, "eth0", HOST).unwrap().packets, u64::MAX);
    assert_eq!(of(&series, "eth0", HOST).unwrap().bytes, u64::MAX);
    assert_eq!(total(&series, Category::Congestion), u64::MAX);
}
