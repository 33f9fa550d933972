//! What modules say (`fixtures/modules`), whole and damaged, against what is known of them.

use std::{collections::BTreeSet, fs, path::Path};

use netdrop_exporter::collectors::optics::module::{
    Doubt, Flag, HALF, HalfPage, Lane, Level, Module, Pages, Reading, Unreadable, decode, next,
};
use serde_json::Value;

#[path = "../../examples/decode-module/dump.rs"]
mod dump;

/// All files, by their names.
pub(crate) fn dumps() -> Vec<(String, Value, Pages)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/modules");
    let files = fs::read_dir(directory).expect("the directory");
    let mut dumps: Vec<_> = files
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|it| it == "json"))
        .map(|path| {
            let text = fs::read(&path).expect("the file");
            let name = path.file_stem().expect("a name").to_string_lossy();
            let facts = serde_json::from_slice(&text).expect("JSON");
            (name.into_owned(), facts, dump::pages(&text).expect("bytes"))
        })
        .collect();
    dumps.sort_by(|a, b| a.0.cmp(&b.0));
    dumps
}

fn dump(name: &str) -> Pages {
    let found = dumps().into_iter().find(|(it, ..)| it == name);
    found.expect("the file").2
}

/// What a module said of one reading, in the unit of the files.
fn value(module: &Module, reading: Reading, lane: Lane) -> Option<f64> {
    let mut found = module.measured.iter();
    let found = found.find(|it| it.reading == reading && it.lane == lane)?;
    Some(found.value * scale(reading))
}

fn limit(module: &Module, reading: Reading, level: Level) -> Option<f64> {
    let mut found = module.thresholds.iter();
    let (.., value) = found.find(|it| (it.0, it.1) == (reading, level))?;
    Some(value * scale(reading))
}

/// The files have mW and mA.
fn scale(reading: Reading) -> f64 {
    match reading {
        Reading::Temperature | Reading::Supply => 1.0,
        Reading::RxPower | Reading::TxPower | Reading::Bias => 1e3,
    }
}

fn unit(reading: Reading) -> &'static str {
    match reading {
        Reading::Temperature => "c",
        Reading::Supply => "v",
        Reading::Bias => "ma",
        Reading::RxPower | Reading::TxPower => "mw",
    }
}

/// The files round to 5 digits behind the point.
fn agrees(ours: Option<f64>, theirs: Option<f64>) -> bool {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => (ours - theirs).abs() < 0.5001e-5,
        (ours, theirs) => ours == theirs,
    }
}

/// How many slots of these modules have a lane behind them. The specification gives the others a 0,
/// which is no reading.
fn lanes_of(name: &str, slots: usize) -> usize {
    match name {
        "cmis-1" | "cmis-7" => 4,
        "cmis-6" => 1,
        _ => slots,
    }
}

#[test]
fn every_module_means_what_its_specification_says() {
    let mut computed = 0;
    for (name, facts, pages) in dumps() {
        let told = &facts["expected_computed"];
        if told.is_null() {
            continue;
        }
        computed += 1;
        let module = decode(&pages).expect("a module that can be read");
        assert_eq!(module.identity.vendor, told["vendor"], "{name}");
        assert_eq!(module.identity.part, told["part"], "{name}");
        for (reading, key) in [
            (Reading::Temperature, "temperature_c"),
            (Reading::Supply, "supply_v"),
        ] {
            // CMIS: 0 V is a supply that is not measured.
            let theirs = told[key]
                .as_f64()
                .filter(|&it| key != "supply_v" || it > 0.0);
            let ours = value(&module, reading, None);
            assert!(agrees(ours, theirs), "{name} {key}: {ours:?} {theirs:?}");
        }
        lanes_agree(&name, &module, told["lanes"].as_array().expect("lanes"));
        for reading in Reading::ALL {
            for level in Level::ALL {
                let (label, of) = (reading.label(), level.label());
                let theirs = told["thresholds"][format!("{label}_{of}_{}", unit(reading))].as_f64();
                let ours = limit(&module, reading, level);
                assert!(
                    agrees(ours, theirs),
                    "{name} {label} {of}: {ours:?} {theirs:?}"
                );
            }
        }
        flags_agree(&name, &module, &told["alarms"]);
        checksums_agree(&name, &module, told);
    }
    assert_eq!(computed, 31, "as many modules as there are");
}

fn lanes_agree(name: &str, module: &Module, slots: &[Value]) {
    let lanes = lanes_of(name, slots.len());
    for (lane, slot) in (1..).zip(slots) {
        for (reading, key) in [
            (Reading::RxPower, "rx_power_mw"),
            (Reading::TxPower, "tx_power_mw"),
            (Reading::Bias, "bias_ma"),
        ] {
            let (ours, mut theirs) = (value(module, reading, Some(lane)), slot[key].as_f64());
            if usize::from(lane) > lanes {
                assert_eq!(theirs.take(), Some(0.0), "{name} lane {lane} is no lane");
            }
            assert!(
                agrees(ours, theirs),
                "{name} {lane} {key}: {ours:?} {theirs:?}"
            );
        }
    }
    let last = module.measured.iter().filter_map(|it| it.lane).max();
    assert!(
        last.is_none_or(|last| usize::from(last) <= lanes),
        "{name}: {last:?}"
    );
}

fn flags_agree(name: &str, module: &Module, told: &Value) {
    let set = module.flags.iter().filter(|(.., set)| *set);
    let ours: BTreeSet<_> = set
        .filter_map(|&(flag, lane, _)| match flag {
            Flag::Beyond(reading, level) => {
                let at = lane.map_or(String::new(), |lane| format!("lane{lane}."));
                Some(format!("{at}{}_{}", reading.label(), level.label()))
            }
            // SFF-8472 is not asked for these in the files.
            _ if name.starts_with("sff8472") => None,
            Flag::RxLossOfSignal => lane.map(|lane| format!("lane{lane}.rx_los")),
            Flag::TxFault => lane.map(|lane| format!("lane{lane}.tx_fault")),
        })
        .collect();
    let theirs = told.as_array().into_iter().flatten();
    let theirs = theirs.map(|it| it.as_str().expect("a name").to_owned());
    let theirs: BTreeSet<_> = theirs
        // Not served: the electrical side, and clocks.
        .filter(|it| {
            !["_lol", "tx_los", "_eq_fail"]
                .iter()
                .any(|end| it.ends_with(end))
        })
        // SFF-8472 has no lanes.
        .map(|it| match it.split_once('_') {
            Some(("temperature" | "supply", _)) => it,
            _ if name.starts_with("sff8472") => format!("lane1.{it}"),
            _ => it,
        })
        .collect();
    assert_eq!(ours, theirs, "{name}");
}

fn checksums_agree(name: &str, module: &Module, told: &Value) {
    let wrong = |half| module.doubts.contains(&Doubt::Checksum(half));
    let is_false = |value: &Value| value.as_bool() == Some(false);
    let sums = &told["checksums_ok"];
    for (half, theirs) in [
        (HalfPage::Page01, is_false(&sums["page01"])),
        (HalfPage::Page02, is_false(&sums["page02"])),
        (
            HalfPage::Lower,
            is_false(&told["a0_cc_base_ok"]) || is_false(&told["a0_cc_ext_ok"]),
        ),
        (HalfPage::Diagnostics, is_false(&told["a2_cc_dmi_ok"])),
        (
            HalfPage::Page00,
            is_false(&sums["page00"])
                || is_false(&told["cc_base_ok"])
                || is_false(&told["cc_ext_ok"]),
        ),
    ] {
        assert_eq!(wrong(half), theirs, "{name} {half}");
    }
}

/// What other programs printed of the same bytes, with their digits.
#[test]
fn every_module_means_what_its_source_says() {
    let mut checked = 0;
    for (name, facts, pages) in dumps() {
        let told = &facts["expected"];
        if told.is_null() {
            continue;
        }
        let module = decode(&pages).expect("a module that can be read");
        let identity = &module.identity;
        for (ours, key) in [(&identity.vendor, "vendor"), (&identity.part, "part")] {
            if let Some(theirs) = told[key].as_str() {
                assert_eq!(ours, theirs, "{name}");
                checked += 1;
            }
        }
        if let Some(nm) = told["wavelength_nm"].as_f64().filter(|&nm| nm > 0.0) {
            assert_eq!(identity.wavelength, nm.to_string(), "{name}");
            checked += 1;
        }
        let truncates = told["precision"] == "integer";
        let mut told_of = vec![
            (
                Reading::Temperature,
                None,
                &told["temperature_c"],
                truncates,
            ),
            (Reading::Supply, None, &told["supply_v"], false),
        ];
        for (lane, values) in (1..).zip(told["lanes"].as_array().into_iter().flatten()) {
            let lane = Some(lane);
            told_of.extend([
                (Reading::Bias, lane, &values["bias_ma"], truncates),
                (Reading::RxPower, lane, &values["rx_power_mw"], false),
                (Reading::TxPower, lane, &values["tx_power_mw"], false),
            ]);
            for (reading, theirs) in [
                (Reading::RxPower, &values["rx_power_dbm"]),
                (Reading::TxPower, &values["tx_power_dbm"]),
            ] {
                let Some(theirs) = theirs.as_f64() else {
                    continue;
                };
                let ours = value(&module, reading, lane).expect("a reading");
                let ours = 10.0 * ours.log10();
                // Cut off behind the third digit.
                assert!(
                    (ours - theirs).abs() < 1e-3,
                    "{name} {reading:?}: {ours} {theirs}"
                );
                checked += 1;
            }
        }
        for (reading, lane, theirs, truncates) in told_of {
            let Some(theirs) = theirs.as_f64() else {
                continue;
            };
            let ours = value(&module, reading, lane);
            let ours = if truncates {
                ours.map(f64::trunc)
            } else {
                ours
            };
            assert!(
                agrees(ours, Some(theirs)),
                "{name} {reading:?}: {ours:?} {theirs}"
            );
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked} statements");
}

#[test]
fn what_cannot_be_believed_has_no_numbers() {
    for (name, why) in [
        ("cmis-hostile-3", Unreadable::Blank),
        ("sff8636-hostile-1", Unreadable::Blank),
        ("sff8472-hostile-1", Unreadable::Corrupt),
    ] {
        assert_eq!(decode(&dump(name)), Err(why), "{name}");
    }
    let mut two = dump("sff8636-5");
    let mut page00 = two.raw(HalfPage::Page00).to_vec();
    page00[0] = 0x18;
    two.set(HalfPage::Page00, page00);
    assert_eq!(decode(&two), Err(Unreadable::TwoTypes(0x11, 0x18)));
    // A module that says it is of another specification, with the memory of its own.
    for (name, lie, why) in [
        ("cmis-2", 0x11, Unreadable::WrongRevision(0x11, 0x51)),
        ("sff8636-5", 0x18, Unreadable::WrongRevision(0x18, 7)),
        ("cmis-2", 0x03, Unreadable::Corrupt),
        ("sff8636-5", 0x03, Unreadable::Corrupt),
        ("sff8472-1", 0x11, Unreadable::Corrupt),
    ] {
        let mut lying = dump(name);
        for half in [HalfPage::Lower, HalfPage::Page00] {
            let mut bytes = lying.raw(half).to_vec();
            if bytes.is_empty() {
                // A0h 128-255, of which anything can be.
                bytes = vec![1; HALF];
            }
            bytes[0] = lie;
            lying.set(half, bytes);
        }
        assert_eq!(decode(&lying), Err(why), "{name} as {lie:#04x}");
    }
    let mut unknown = Pages::new();
    unknown.set(HalfPage::Lower, vec![0x06; HALF]);
    assert_eq!(decode(&unknown), Err(Unreadable::UnknownType(6)));
    assert_eq!(next(&unknown), None);
}

#[test]
fn a_page_that_is_the_identity_once_more_has_no_limits() {
    let module = decode(&dump("sff8636-hostile-3")).expect("a module");
    assert_eq!(module.doubts, [Doubt::Missing(HalfPage::Page03)]);
    assert!(module.thresholds.is_empty());
    let light = value(&module, Reading::RxPower, Some(1));
    assert_eq!(light, Some(0.0099), "-20 dBm");
}

#[test]
fn what_is_cut_off_is_absent_and_what_is_left_is_calibrated() {
    let module = decode(&dump("sff8472-hostile-3")).expect("a module");
    let whole = decode(&dump("sff8472-9")).expect("the same, whole");
    let readings = [Reading::Temperature, Reading::Supply];
    for reading in Reading::ALL {
        let lane = (!readings.contains(&reading)).then_some(1);
        let expected = value(&whole, reading, lane).filter(|_| lane.is_none());
        assert_eq!(value(&module, reading, lane), expected, "{reading:?}");
    }
    assert_eq!(module.thresholds, whole.thresholds);
    assert!(module.flags.is_empty());
    assert_eq!(module.identity, whole.identity);
}

#[test]
fn a_lying_module_has_at_most_the_lanes_of_the_bank_that_is_there() {
    let module = decode(&dump("cmis-hostile-1")).expect("a module");
    for lane in 1..=8 {
        assert!(value(&module, Reading::RxPower, Some(lane)).is_some());
        assert!(value(&module, Reading::TxPower, Some(lane)).is_some());
    }
    // Nobody knows its scale.
    assert!(
        module
            .measured
            .iter()
            .all(|it| it.reading != Reading::Bias && it.lane <= Some(8))
    );
    assert_eq!(limit(&module, Reading::Bias, Level::HighAlarm), None);
}

#[test]
fn what_is_not_available_is_absent() {
    let module = decode(&dump("cmis-hostile-5")).expect("a module");
    assert_eq!(value(&module, Reading::Temperature, None), None);
    assert_eq!(value(&module, Reading::Supply, None), None);
    // -40 dBm, which means dark.
    let light = value(&module, Reading::RxPower, Some(1));
    assert!(agrees(light, Some(0.0001)), "{light:?}");
}

#[test]
fn a_module_is_read_page_by_page_and_no_page_that_it_does_not_have() {
    use HalfPage::{
        Diagnostics, Lower, Page00, Page01, Page02, Page03, Page11, Page11Bank1, Page11Bank2,
        Page11Bank3,
    };
    for (name, halves) in [
        ("sff8472-1", &[Lower, Diagnostics][..]),
        ("sff8472-15", &[Lower]),
        ("sff8636-5", &[Lower, Page00, Page03]),
        ("sff8636-7", &[Lower, Page00]),
        ("cmis-2", &[Lower, Page00, Page01, Page02, Page11]),
        ("cmis-3", &[Lower, Page00, Page01, Page02, Page11]),
        ("cmis-9", &[Lower, Page00]),
        (
            "cmis-15",
            &[
                Lower,
                Page00,
                Page01,
                Page02,
                Page11,
                Page11Bank1,
                Page11Bank2,
                Page11Bank3,
            ],
        ),
        ("cmis-hostile-3", &[Lower]),
    ] {
        let (all, mut pages, mut read) = (dump(name), Pages::new(), Vec::new());
        while let Some(half) = next(&pages) {
            pages.set(half, all.raw(half).to_vec());
            read.push(half);
        }
        assert_eq!(read, halves, "{name}");
        assert_eq!(decode(&pages), decode(&all), "{name}");
    }
}
