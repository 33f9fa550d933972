//! A rack of simulated hosts that lose their carriers together.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netdrop_tests::alertmanager::Alertmanager;
use netdrop_tests::prometheus::{Prometheus, Setup};
use netdrop_tests::wait::{SOON, StopOnDrop};
use netdrop_tests::wait_until;
use netdrop_tests::webhook::Webhook;

use crate::chain::{Pace, routes, rules};
use crate::incident::print_texts;

const HOSTS: usize = 40;
const LOST: usize = 31;

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn page_is_one_for_a_rack_of_40_hosts_31_of_which_lose_carrier() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (lost, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let webhook = Webhook::start(None);
    let alertmanager = Alertmanager::start(&routes(webhook.address(), Pace::Fast), None);
    let rules = rules(Pace::Fast);
    let mut more_scrapes = "- job_name: netdrop\n  static_configs:\n".to_owned();
    for host in 0..HOSTS {
        writeln!(
            more_scrapes,
            "  - {{targets: ['{address}'], labels: {{instance: 'r12-{host}:10095', __metrics_path__: '/{host}'}}}}"
        )
        .unwrap();
    }
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| serve(&listener, &lost, &stop));
        let prometheus = Prometheus::start(&Setup {
            scrape_interval: 5,
            evaluation_interval: 5,
            rules: vec![rules.path()],
            alertmanager: Some(alertmanager.address()),
            more_scrapes,
            ..Setup::default()
        });
        wait_until("all hosts are watched", SOON, || {
            prometheus.value("count(instance_device:netdrop_link_info:watched)") == Some(40.0)
        });
        lost.store(true, Ordering::Relaxed);
        let sent = |name: &str| {
            let all = webhook.notifications().into_iter();
            let pages = all.filter(|one| one.path == "/page");
            let of_it = pages.filter(|one| one.alerts[0].labels["alertname"] == name);
            of_it.collect::<Vec<_>>()
        };
        let text = "31 of 40 hosts of netdrop lost carrier together";
        wait_until("the page about the rack comes", SOON, || {
            !sent("NetdropFleetCarrierLost").is_empty()
        });
        wait_until("its alert counts all hosts", SOON, || {
            let alerts = prometheus.alerts().into_iter();
            alerts
                .filter_map(|alert| alert.annotations.get("summary").cloned())
                .any(|summary| summary == text)
        });
        // Longer than Alertmanager takes to send what is not held back.
        thread::sleep(Duration::from_secs(30));
        let (fleet, single) = (sent("NetdropFleetCarrierLost"), sent("LinkCarrierDown"));
        print_texts("rack of 40 hosts", &fleet);
        println!(
            "{} pages about the rack, {} about single hosts",
            fleet.len(),
            single.len()
        );
        assert_eq!(fleet.len(), 1, "{fleet:?}");
        // Those that were sent before so many were lost that it is an incident.
        assert!(single.len() < HOSTS / 5, "{} single pages", single.len());
        let held = alertmanager
            .alerts()
            .into_iter()
            .filter(|alert| alert.inhibited)
            .count();
        assert_eq!(held, LOST, "all single pages are held back now");
    });
}

/// Answers a scrape of each host: the exporter's series about its only port.
fn serve(listener: &TcpListener, lost: &AtomicBool, stop: &AtomicBool) {
    listener.set_nonblocking(true).unwrap();
    while !stop.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        stream.set_nonblocking(false).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let path = line
            .split(' ')
            .nth(1)
            .unwrap_or_default()
            .trim_start_matches('/');
        let host: usize = path.parse().unwrap_or_default();
        while line.trim() != "" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        let is_lost = u8::from(lost.load(Ordering::Relaxed) && host < LOST);
        let body = format!(
            "netdrop_link_info{{device=\"eth0\",driver=\"ice\",physical=\"true\",port=\"eth0\",watch=\"page\"}} 1\n\
             netdrop_link_admin_up{{device=\"eth0\"}} 1\n\
             netdrop_link_carrier{{device=\"eth0\"}} {}\n\
             netdrop_link_carrier_lost{{device=\"eth0\"}} {is_lost}\n\
             netdrop_link_carrier_losses_total{{device=\"eth0\"}} {is_lost}\n",
            1 - is_lost
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        // Prometheus may have given up.
        let _unheard = reader.get_mut().write_all((head + &body).as_bytes());
    }
}
