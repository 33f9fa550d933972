//! Modules of each kind, read through the kernel: what is served is what their memory means, and what ethtool(8) prints.

use std::collections::BTreeMap;

use netdrop_exporter::collectors::optics::module::{
    HalfPage, Level, Module, Pages, Reading, decode,
};
use netdrop_tests::testport::{TestPort, TestPorts, run};
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Metrics, Room, wait_until};
use serde_json::Value;

use super::value;

const OPTICS: [&str; 2] = ["--no-collector.drops", "--collector.optics"];

macro_rules! dump {
    ($name:literal) => {
        include_str!(concat!(
            "../../../../exporter/tests/fixtures/modules/",
            $name,
            ".json"
        ))
    };
}

/// One of each kind: calibrated by itself and from outside, lit, dark, with more slots than lanes, of copper, flat.
const DUMPS: [(&str, &str); 7] = [
    ("sff8472-1", dump!("sff8472-1")),
    ("sff8472-8", dump!("sff8472-8")),
    ("sff8636-5", dump!("sff8636-5")),
    ("sff8636-7", dump!("sff8636-7")),
    ("cmis-2", dump!("cmis-2")),
    ("cmis-6", dump!("cmis-6")),
    ("cmis-9", dump!("cmis-9")),
];

/// Puts a module into a port, and returns what can be read of it.
fn plug(port: &TestPort, dump: &str) -> Pages {
    let dump: Value = serde_json::from_str(dump).unwrap();
    let mut pages = Pages::new();
    for (name, half) in [
        ("a0", HalfPage::Lower),
        ("a2", HalfPage::Diagnostics),
        ("lower", HalfPage::Lower),
        ("page00", HalfPage::Page00),
        ("page01", HalfPage::Page01),
        ("page02", HalfPage::Page02),
        ("page03", HalfPage::Page03),
        ("page11", HalfPage::Page11),
    ] {
        let Some(text) = dump["bytes"][name].as_str() else {
            continue;
        };
        let digits: Vec<_> = text.bytes().collect();
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        let place = half.place();
        let page = usize::from(place.page) + usize::from(place.offset / 128);
        let first = usize::from(place.address - 0x50) * 4 * 257 + page;
        port.write_eeprom(first, &bytes);
        pages.set(half, bytes[..128].to_vec());
    }
    port.set("module/present", 1);
    pages
}

/// All numbers of a module, by what they are called in the exposition.
fn numbers(module: &Module) -> BTreeMap<String, f64> {
    let measured = module.measured.iter().map(|it| {
        let lane = it.lane.map_or(String::new(), |lane| format!(" {lane}"));
        (format!("{}{lane}", it.reading.label()), it.value)
    });
    let limits = module.thresholds.iter();
    let limits = limits
        .map(|(reading, level, limit)| (format!("{} {}", reading.label(), level.label()), *limit));
    measured.chain(limits).collect()
}

fn served(metrics: &Metrics, port: &TestPort) -> BTreeMap<String, f64> {
    let device = [("device", port.name.as_str())];
    let mut served = BTreeMap::new();
    for (reading, name) in [
        (Reading::Temperature, "netdrop_module_temperature_celsius"),
        (Reading::Supply, "netdrop_module_supply_volts"),
        (Reading::RxPower, "netdrop_module_rx_power_watts"),
        (Reading::TxPower, "netdrop_module_tx_power_watts"),
        (Reading::Bias, "netdrop_module_bias_amperes"),
    ] {
        for it in metrics.series(name, &device) {
            let lane = it.labels.get("lane");
            let lane = lane.map_or(String::new(), |lane| format!(" {lane}"));
            served.insert(format!("{}{lane}", reading.label()), it.value);
        }
    }
    for it in metrics.series("netdrop_module_threshold", &device) {
        let name = format!("{} {}", it.labels["reading"], it.labels["level"]);
        served.insert(name, it.value);
    }
    served
}

/// The numbers that ethtool prints of a module, in our units, and how exact they are.
fn printed(port: &TestPort) -> BTreeMap<String, (f64, f64)> {
    let text = run("ethtool", &["-m", &port.name]);
    let lines = text.lines().filter_map(|line| line.split_once(" : "));
    lines
        .filter_map(|(name, value)| {
            let (number, unit) = value.trim().split_once(' ')?;
            let number: f64 = number.parse().ok()?;
            let unit = unit.split(' ').next()?;
            let reading = match () {
                () if name.contains("bias") => Reading::Bias,
                () if name.contains("rx power") => Reading::RxPower,
                () if name.contains("Rcvr") || name.contains("Receiver") => Reading::RxPower,
                () if name.contains("output power") => Reading::TxPower,
                () if name.contains("Transmit") => Reading::TxPower,
                () if name.contains("temperature") => Reading::Temperature,
                () if name.contains("voltage") => Reading::Supply,
                () => return None,
            };
            let (scale, exact) = match unit {
                "mA" => (1e3, 0.001),
                "mW" => (1e3, 0.0001),
                "degrees" => (1.0, 0.01),
                "V" => (1.0, 0.0001),
                _ => return None,
            };
            let level = Level::ALL.into_iter().find(|level| {
                let words = level.label().replace('_', " ");
                name.contains(&format!("{words} threshold"))
            });
            let lane = name.split_once("(Channel ").map(|(_, rest)| rest);
            let lane = lane.and_then(|rest| rest.split(')').next()).unwrap_or("1");
            let key = match (level, reading) {
                (Some(level), _) => format!("{} {}", reading.label(), level.label()),
                (None, Reading::Temperature | Reading::Supply) => reading.label().to_owned(),
                (None, _) => format!("{} {lane}", reading.label()),
            };
            Some((key, (number / scale, exact / scale)))
        })
        .collect()
}

/// Whether ethtool is known to be wrong: fixtures/modules/README.md.
fn is_known_error(dump: &str, name: &str) -> bool {
    match dump {
        // Mends external calibration only in part.
        "sff8472-8" => !name.starts_with("tx_power"),
        // Divides by the scale of the bias, which multiplies.
        "cmis-6" => name.starts_with("bias"),
        _ => false,
    }
}

fn ethtool_agrees(dump: &str, port: &TestPort, ours: &BTreeMap<String, f64>) {
    let printed = printed(port);
    let mut equal = 0;
    for (name, (theirs, exact)) in &printed {
        match ours.get(name) {
            // A slot without a lane, or a cable without a monitor.
            None => assert!(*theirs == 0.0, "{dump} {name}: {theirs}"),
            Some(_) if is_known_error(dump, name) => {}
            Some(ours) => {
                let off = (ours - theirs).abs();
                assert!(off <= exact * 0.501, "{dump} {name}: {ours} and {theirs}");
                equal += 1;
            }
        }
    }
    // Whatever ours has, it prints, but for nothing of flat memories.
    let missing: Vec<_> = ours
        .keys()
        .filter(|name| !printed.contains_key(*name))
        .collect();
    assert!(missing.is_empty(), "{dump}: ethtool lacks {missing:?}");
    println!("{dump}: {equal} numbers equal");
}

#[test]
#[ignore = "needs the test module: run by tests/kernels/run.sh"]
fn modules_of_each_kind_say_what_they_say_to_ethtool() {
    let _room = Room::enter();
    let ports = TestPorts::load(DUMPS.len() + 3);
    let plugged: Vec<_> = (0..)
        .zip(DUMPS)
        .map(|(number, (name, dump))| {
            let port = ports.port(number);
            let module = decode(&plug(&port, dump)).unwrap();
            (name, port, module)
        })
        .collect();
    let qsfp = DUMPS[2].1;
    // Its second half page is the last that it gives.
    let pulled = ports.port(DUMPS.len());
    plug(&pulled, qsfp);
    pulled.set("module/reads_left", 2);
    let broken = ports.port(DUMPS.len() + 1);
    plug(&broken, qsfp);
    broken.set("module/broken_page", 3);
    let empty = ports.port(DUMPS.len() + 2);

    let exporter = Exporter::start(&OPTICS);
    let has = |metrics: &Metrics, port: &TestPort| {
        value(metrics, "netdrop_module_info", port, &[]).is_some()
    };
    wait_until("all modules are read", SOON, || {
        let metrics = exporter.scrape();
        let mut all = plugged.iter().map(|(_, port, _)| port).chain([&broken]);
        all.all(|port| has(&metrics, port)) && pulled.get("module/present") == "0"
    });
    // So has what came before or after.
    let metrics = exporter.scrape();
    for (name, port, module) in &plugged {
        assert_eq!(served(&metrics, port), numbers(module), "{name}");
        ethtool_agrees(name, port, &numbers(module));
    }
    for port in [&pulled, &empty] {
        assert!(!has(&metrics, port));
        assert_eq!(served(&metrics, port), BTreeMap::new());
        let device = [("device", port.name.as_str())];
        let failures = metrics.series("netdrop_module_read_failures_total", &device);
        assert_eq!(failures.count(), 0, "an empty cage is no failure");
    }
    let whole = decode(&plug(&broken, qsfp)).unwrap();
    let mut expected = numbers(&whole);
    expected.retain(|name, _| !Level::ALL.iter().any(|level| name.ends_with(level.label())));
    assert_eq!(served(&metrics, &broken), expected);
    let failures = "netdrop_module_read_failures_total";
    assert_eq!(
        value(&metrics, failures, &broken, &[("cause", "io")]),
        Some(1.0)
    );
    wait_until("the log has it", SOON, || !exporter.complaints().is_empty());
    exporter.complained_once(&[&broken.name, "page 03h", "netdrop_testport"]);
}
