use crate::kernel::reasons;
use crate::metrics::{counter, gauge, sample};

use super::*;

fn one(name: &str, labels: &[(&str, &str)], value: f64) -> MetricFamily {
    gauge(name, "", [sample(labels, value)])
}

/// A link in some state.
fn link(
    device: &str,
    admin_up: f64,
    carrier: f64,
    losses: f64,
    physical: &str,
) -> Vec<MetricFamily> {
    let of = [("device", device)];
    let carrier_down = [("device", device), ("transition", "carrier_down")];
    let info = [
        ("device", device),
        ("kind", ""),
        ("driver", "drv"),
        ("physical", physical),
    ];
    vec![
        one("netdrop_link_info", &info, 1.0),
        one("netdrop_link_admin_up", &of, admin_up),
        one("netdrop_link_carrier", &of, carrier),
        one("netdrop_link_transitions_total", &carrier_down, losses),
    ]
}

fn drops(reason: &str, device: &str, packets: f64) -> MetricFamily {
    let labels = [
        ("reason", reason),
        ("device", device),
        ("state", ""),
        ("function", "f"),
    ];
    counter(
        "netdrop_dropped_packets_total",
        "",
        [sample(&labels, packets)],
    )
}

fn position(page: &str, text: &str) -> usize {
    page.find(text)
        .unwrap_or_else(|| panic!("no {text:?} in {page}"))
}

#[test]
fn links_that_are_down_or_flapped_come_first_and_say_why_and_what_was_lost() {
    let mut families = [
        link("good0", 1.0, 1.0, 0.0, "true"),
        link("flap0", 1.0, 1.0, 2.0, "true"),
        link("off0", 0.0, 0.0, 0.0, "true"),
        link("cut-veth", 1.0, 0.0, 1.0, ""),
        link("cut0", 1.0, 0.0, 1.0, "true"),
    ]
    .concat();
    let of = [("device", "cut0"), ("reason", "no_cable"), ("detail", "")];
    families.push(one("netdrop_link_down_reason_info", &of, 1.0));
    let lost = ["no_carrier", "admin_down"]
        .map(|link| sample(&[("device", "cut0"), ("link", link)], 600.0));
    families.push(counter("netdrop_link_down_dropped_packets_total", "", lost));
    // A device of another namespace is no link of ours.
    families.push(one(
        "netdrop_link_down_dropped_packets_total",
        &[("device", "foreign")],
        1.0,
    ));
    let page = Page::new("/metrics").render(&families);
    let order = ["cut0", "cut-veth", "flap0", "<details>", "off0", "good0"];
    let positions = order.map(|text| position(&page, text));
    assert!(positions.is_sorted(), "{positions:?}");
    for text in [
        "no carrier: no_cable",
        "1\u{2009}200 packets",
        "2 times",
        "2 other links",
    ] {
        position(&page, text);
    }
    assert!(!page.contains("foreign"));
}

#[test]
fn a_queue_is_not_blamed_for_what_died_of_the_link() {
    let labels = |state| {
        [
            ("reason", "QDISC_DROP"),
            ("device", "eth0"),
            ("state", state),
            ("function", "f"),
            ("netns", "host"),
        ]
    };
    let while_down = |state| [("device", "eth0"), ("link", "no_carrier"), ("state", state)];
    let families = [
        counter(
            "netdrop_dropped_packets_total",
            "",
            [
                sample(&labels("SYN_SENT"), 3.0),
                sample(&labels("ESTABLISHED"), 5.0),
            ],
        ),
        // Two of the five died before the link did.
        counter(
            "netdrop_link_down_dropped_packets_total",
            "",
            [
                sample(&while_down("SYN_SENT"), 3.0),
                sample(&while_down("ESTABLISHED"), 3.0),
            ],
        ),
    ];
    let view = View::of(&families);
    let categories: Vec<_> = view
        .drops
        .iter()
        .map(|d| (d.label("state"), d.category))
        .collect();
    assert_eq!(
        categories,
        [("SYN_SENT", "link"), ("ESTABLISHED", "congestion")]
    );
    let page = Page::new("/metrics").render(&families);
    position(&page, "the link was down");
}

#[test]
fn drops_have_their_meaning_and_rates_since_the_last_look() {
    let page = Page::new("/metrics");
    let first = page.render(&[
        drops("NO_SOCKET", "eth0", 1000.0),
        drops("QDISC_DROP", "eth1", 5.0),
    ]);
    assert!(position(&first, "NO_SOCKET") < position(&first, "QDISC_DROP"));
    position(&first, "1\u{2009}000");
    position(&first, "Look again for rates");
    assert!(!first.contains(" /s"), "{first}");
    let meaning = reasons::meaning("QDISC_DROP");
    assert!(!meaning.is_empty());
    position(&first, &Text(meaning).to_string());
    position(&first, "congestion");
    let second = page.render(&[
        drops("NO_SOCKET", "eth0", 1000.0),
        drops("QDISC_DROP", "eth1", 6.0),
    ]);
    assert!(position(&second, "QDISC_DROP") < position(&second, "NO_SOCKET"));
    position(&second, "0 /s");
    position(&second, "Rates are since the last look");
}

#[test]
fn names_are_never_markup_and_nothing_is_loaded() {
    let evil = "<script>alert(1)</script>\"'&\u{202e}";
    let mut families = link(evil, 1.0, 0.0, 1.0, "true");
    let info = [
        ("device", evil),
        ("kind", evil),
        ("driver", evil),
        ("physical", "true"),
    ];
    families.push(one("netdrop_link_info", &info, 1.0));
    let why = [("device", evil), ("reason", evil), ("detail", evil)];
    families.push(one("netdrop_link_down_reason_info", &why, 1.0));
    let labels =
        ["reason", "device", "state", "function", "netns", "workload"].map(|name| (name, evil));
    families.push(counter(
        "netdrop_dropped_packets_total",
        "",
        [sample(&labels, 1.0)],
    ));
    families.push(one(
        "netdrop_collector_success",
        &[("collector", evil)],
        0.0,
    ));
    let page = Page::new("/\"><script>").render(&families);
    assert!(
        !page.contains("<script") && !page.contains('\u{202e}'),
        "{page}"
    );
    assert_eq!(page.matches("&lt;script&gt;").count(), 13, "{page}");
    for tag in ["<link", "<img", "src=", " style=", "@import", "url("] {
        assert!(!page.contains(tag), "{tag}");
    }
    assert_eq!(page.matches("http").count(), page.matches(SOURCE).count());
}

#[test]
fn what_fails_or_is_absent_is_said() {
    let page = Page::new("/metrics");
    let text = page.render(&[one(
        "netdrop_collector_success",
        &[("collector", "drops")],
        0.0,
    )]);
    position(&text, "These collectors fail: drops.");
    position(&text, "The states of links are not known.");
    position(
        &text,
        "No packet has been dropped, or drops are not counted.",
    );
    let text = page.render(&link("eth0", 1.0, 1.0, 0.0, "true"));
    position(&text, "All collectors work.");
    position(&text, "No link has lost its carrier.");
    position(&text, "<summary>1 link</summary>");
    let many: Vec<_> = (0..100)
        .map(|n| drops(&format!("R{n}"), "eth0", f64::from(n)))
        .collect();
    let text = page.render(&many);
    position(&text, "25 of 100 series");
    assert!(text.contains("R75") && !text.contains("R74"), "{text}");
}
