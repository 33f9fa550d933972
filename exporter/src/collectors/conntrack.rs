//! How full the connection tracking table is: netfilter drops new connections when it is full, and
//! the kernel gives them the reason of a filter's drops (`NETFILTER_DROP`).
//!
//! From `/proc/sys/net/netfilter` (`net/netfilter/nf_conntrack_standalone.c`), which is of the network
//! namespace of its reader. Without the module `nf_conntrack` there are no such files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use prometheus::proto::MetricFamily;

use crate::{
    collectors::{Common, NoFlags, Open, Opened},
    metrics::{Collector, gauge, sample},
    privileges::{Privileged, Unprivileged},
};

/// Needs no privilege, and always opens.
pub fn open(_: NoFlags, common: &Common, _: &Privileged) -> Open {
    Ok(Box::new(ConntrackCollector::new(&common.procfs)))
}

/// Reads two small files at each scrape.
pub struct ConntrackCollector {
    directory: PathBuf,
}

impl ConntrackCollector {
    /// A collector over the procfs that is mounted at `procfs`.
    pub fn new(procfs: &Path) -> Self {
        Self {
            directory: procfs.join("sys/net/netfilter"),
        }
    }

    /// The number in one of the files; `None` if connections are not tracked.
    fn read(&self, file: &str) -> anyhow::Result<Option<u64>> {
        let path = self.directory.join(file);
        let read = match fs::read_to_string(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(anyhow::Error::from),
        };
        let number = read.and_then(|text| Ok(text.trim().parse()?));
        let number = number.with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Some(number))
    }
}

impl Opened for ConntrackCollector {
    fn start(self: Box<Self>, _: &Common, _: &Unprivileged) -> anyhow::Result<Box<dyn Collector>> {
        Ok(self)
    }
}

impl Collector for ConntrackCollector {
    fn name(&self) -> &'static str {
        "conntrack"
    }

    fn collect(&self, families: &mut Vec<MetricFamily>) -> anyhow::Result<()> {
        for (file, name, help) in [
            (
                "nf_conntrack_count",
                "netdrop_conntrack_entries",
                "Connections in netfilter's tracking table (nf_conntrack_count); absent where nothing tracks connections.",
            ),
            (
                "nf_conntrack_max",
                "netdrop_conntrack_entries_limit",
                "Connections the tracking table can hold (nf_conntrack_max). When it is full, the kernel drops new ones as NETFILTER_DROP, as a rule would.",
            ),
        ] {
            let value = self.read(file)?.map(|number| sample(&[], number as f64));
            families.push(gauge(name, help, value));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::testing::assert_golden;

    fn collect(root: &Path) -> (Vec<MetricFamily>, anyhow::Result<()>) {
        let mut families = Vec::new();
        let outcome = ConntrackCollector::new(root).collect(&mut families);
        (families, outcome)
    }

    #[test]
    fn the_table_is_served_where_connections_are_tracked() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let (families, outcome) = collect(root.path());
        outcome.expect("no conntrack is no failure");
        assert!(families.iter().all(|family| family.get_metric().is_empty()));

        let directory = root.path().join("sys/net/netfilter");
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("nf_conntrack_count"), "262143\n").expect("a file");
        fs::write(directory.join("nf_conntrack_max"), "262144\n").expect("a file");
        let (families, outcome) = collect(root.path());
        outcome.expect("both files");
        assert_golden("conntrack", families);
    }

    #[test]
    fn a_file_that_has_no_number_is_named() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let directory = root.path().join("sys/net/netfilter");
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("nf_conntrack_count"), "many\n").expect("a file");
        let error = format!("{:#}", collect(root.path()).1.expect_err("no number"));
        assert!(error.contains("netfilter/nf_conntrack_count"), "{error}");
    }
}
