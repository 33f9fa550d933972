//! Prints the metrics that a module would have: `cargo run --example decode-module -- FILE.json`.
//!
//! The file is as those in `tests/fixtures/modules`, of which only `bytes` is looked at. What is doubtful
//! about the module goes to standard error.

use std::{env, fs, path::PathBuf};

use anyhow::Context;
use netdrop_exporter::{
    collectors::optics::{
        families::{self, Serials, Shown},
        module::{Module, decode},
    },
    metrics::{Collector, Exposition},
};
use prometheus::proto::MetricFamily;

mod dump;

fn main() -> anyhow::Result<()> {
    let path: PathBuf = env::args_os().nth(1).context("no file")?.into();
    let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let pages = dump::pages(&text).with_context(|| format!("read {}", path.display()))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let module = match decode(&pages) {
        Ok(module) => module,
        Err(why) => {
            eprintln!("{name}: no metrics: {why}");
            return Ok(());
        }
    };
    for doubt in &module.doubts {
        eprintln!("{name}: {doubt}");
    }
    let mut exposition = Exposition::new();
    exposition.add(Box::new(Dump {
        name: name.into_owned(),
        module,
    }));
    // Without what the exporter says of itself.
    let text = exposition.scrape();
    let of_modules = text.lines().filter(|it| it.contains("netdrop_module_"));
    of_modules.for_each(|line| println!("{line}"));
    Ok(())
}

/// Serves one module.
struct Dump {
    name: String,
    module: Module,
}

impl Collector for Dump {
    fn name(&self) -> &'static str {
        "optics"
    }

    fn collect(&self, families: &mut Vec<MetricFamily>) -> anyhow::Result<()> {
        let shown = Shown {
            device: &self.name,
            module: &self.module,
            flags: &self.module.flags,
        };
        families::append(&[shown], Serials::Hidden, families);
        Ok(())
    }
}
