//! Real files of procfs, and what is left of them when bytes are wrong.

use std::{fs, os::unix::fs::symlink, path::Path};

use netdrop_exporter::{
    collectors::{drops::program::parse_fdinfo, process::ProcessCollector},
    devices::parse_list,
    metrics::Collector,
};
use proptest::prelude::*;

use crate::damage::{arb_damage, cases, cost_of, damaged, fixture};

/// What is read of a procfs, and the captures of it.
const FILES: [(&str, &str); 3] = [
    ("stat", "proc/stat"),
    ("7/stat", "proc/self_stat"),
    ("7/limits", "proc/limits"),
];

/// A procfs in which this process is 7.
fn procfs() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir_all(root.path().join("7/fd")).expect("fd");
    symlink("7", root.path().join("self")).expect("self");
    for (file, capture) in FILES {
        fs::write(root.path().join(file), fixture(capture)).expect(file);
    }
    root
}

fn collect(procfs: &Path) -> anyhow::Result<()> {
    ProcessCollector::new(procfs).collect(&mut Vec::new())
}

#[test]
fn whole_captures_are_read() {
    assert_eq!(parse_list(&fixture("proc/net_dev")).len(), 4);
    let fdinfo = String::from_utf8(fixture("proc/fdinfo")).expect("it is text");
    // The program had not run yet.
    assert_eq!(parse_fdinfo(&fdinfo).runs, 0);
    let ran = fdinfo.replace("run_cnt:\t0", "run_cnt:\t12");
    assert_eq!(parse_fdinfo(&ran).runs, 12);
    collect(procfs().path()).expect("the captures are whole");
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn damaged_fdinfo_is_some_numbers(damage in arb_damage()) {
        let text = damaged(fixture("proc/fdinfo"), &damage);
        parse_fdinfo(&String::from_utf8_lossy(&text));
    }

    #[test]
    fn a_damaged_list_of_devices_is_a_list(damage in arb_damage()) {
        let list = damaged(fixture("proc/net_dev"), &damage);
        let cost = cost_of(|| drop(parse_list(&list)));
        prop_assert!(cost.bytes_max < 1 << 20, "{cost:?}");
    }

    #[test]
    fn a_damaged_file_of_the_process_is_an_error_or_numbers(
        (file, capture) in prop::sample::select(&FILES[..]),
        damage in arb_damage(),
    ) {
        let root = procfs();
        fs::write(root.path().join(file), damaged(fixture(capture), &damage)).expect(file);
        let mut collected = Ok(());
        let cost = cost_of(|| collected = collect(root.path()));
        prop_assert!(cost.bytes_max < 4 << 20, "{cost:?}");
        if let Err(error) = collected {
            // It is the file's fault, not that of the crate that reads it.
            prop_assert!(!format!("{error:#}").contains("bug"), "{error:#}");
        }
    }
}
