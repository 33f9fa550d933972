//! The tables of flags and metrics in `exporter/README.md` are those of the code.
//!
//! Flags come from the command line that the exporter parses, metrics from the golden pages: name, type, labels and
//! help are what a scrape says. `UPDATE_GOLDEN=1` rewrites the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use clap::{Arg, Command};
use netdrop_exporter::{
    cli,
    metrics::{Collector, Exposition},
};
use prometheus::proto::MetricFamily;

/// A collector of nothing: what the exporter adds for each collector is in a scrape all the same.
struct Nothing;

impl Collector for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn collect(&self, _: &mut Vec<MetricFamily>) -> anyhow::Result<()> {
        Ok(())
    }
}

#[test]
fn the_tables_of_the_reference_are_those_of_the_code() {
    let readme = crate_file("README.md");
    let text = fs::read_to_string(&readme).expect("exporter/README.md");
    let updated = replace(&text, "metrics", &metrics_table(&pages()));
    let updated = replace(&updated, "flags", &flags_tables(&cli::command()));
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&readme, updated).expect("exporter/README.md can be written");
        return;
    }
    let old: BTreeSet<_> = text.lines().collect();
    let new: BTreeSet<_> = updated.lines().collect();
    assert!(
        text == updated,
        "exporter/README.md is out of date: UPDATE_GOLDEN=1 cargo test -p netdrop-exporter --test reference\n\
         only in the file: {:#?}\nonly in the code: {:#?}",
        old.difference(&new),
        new.difference(&old)
    );
}

fn crate_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// `text` with `table` between the comments that mark where the table `name` begins and ends.
fn replace(text: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&begin).expect("where the table begins");
    let (_, after) = rest.split_once(&end).expect("where the table ends");
    format!("{before}{begin}\n{table}\n{end}{after}")
}

/// Every golden page, and what the exporter adds to each scrape.
fn pages() -> String {
    let mut exposition = Exposition::new();
    exposition.add(Box::new(Nothing));
    let mut pages = exposition.scrape();
    let mut golden: Vec<_> = fs::read_dir(crate_file("tests/golden"))
        .expect("the golden pages")
        .map(|entry| entry.expect("a golden page").path())
        .collect();
    golden.sort();
    for page in golden {
        pages += &fs::read_to_string(page).expect("a golden page");
    }
    pages
}

/// What a metric is, as the text format says.
#[derive(Default)]
struct Metric<'a> {
    help: &'a str,
    kind: &'a str,
    labels: BTreeSet<&'a str>,
}

fn metrics_table(pages: &str) -> String {
    let mut metrics: BTreeMap<&str, Metric> = BTreeMap::new();
    for line in pages.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            metrics.entry(name).or_default().help = help;
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            metrics.entry(name).or_default().kind = kind;
        } else if let Some((name, labels)) = line.split_once('{') {
            metrics
                .entry(name)
                .or_default()
                .labels
                .extend(label_names(labels));
        }
    }
    let mut table = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for (name, Metric { help, kind, labels }) in metrics {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        let help = help.replace('|', "\\|");
        writeln!(table, "| `{name}` | {kind} | {labels} | {help} |").expect("memory");
    }
    table
}

/// The names in `a="x",b="y"} 1`, in which values can hold anything.
fn label_names(mut labels: &str) -> Vec<&str> {
    let mut names = Vec::new();
    while let Some((name, rest)) = labels.split_once("=\"") {
        names.push(name);
        let mut escaped = false;
        let end = rest.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        labels = rest[end.expect("the end of a value") + 1..].trim_start_matches(',');
    }
    names
}

/// A table for the daemon, and one for each other command.
fn flags_tables(command: &Command) -> String {
    let mut tables = flags_table(command, &BTreeSet::new());
    let of_daemon = names(command);
    let mut others = command.get_subcommands().filter(|it| !it.is_hide_set());
    while let Some(other) = others.find(|other| other.get_name() != "serve") {
        let about = other.get_about().map(ToString::to_string);
        let own = flags_table(other, &of_daemon);
        // Every row of flags has a name; a command without any has no table.
        if !own.contains("| `--") {
            continue;
        }
        write!(
            tables,
            "\n`netdrop-exporter {}`: {}. Takes some of the flags above, and:\n\n{}",
            other.get_name(),
            about.unwrap_or_default(),
            own
        )
        .expect("memory");
    }
    tables
}

fn names(command: &Command) -> BTreeSet<&str> {
    command.get_arguments().filter_map(Arg::get_long).collect()
}

/// The flags of a command that are not in `elsewhere`.
fn flags_table(command: &Command, elsewhere: &BTreeSet<&str>) -> String {
    let mut table = "| flag | default | |\n|---|---|---|\n".to_owned();
    let names = names(command);
    for argument in command.get_arguments() {
        let Some(name) = argument.get_long() else {
            continue;
        };
        let of_a_pair = |name: &str| {
            name.strip_prefix("no-")
                .is_some_and(|on| names.contains(on))
        };
        if elsewhere.contains(name) || of_a_pair(name) {
            continue;
        }
        let no = if names.contains(&*format!("no-{name}")) {
            "[no-]"
        } else {
            ""
        };
        let value = match argument.get_value_names() {
            Some([value]) if argument.get_action().takes_values() => format!("={value}"),
            _ => String::new(),
        };
        let defaults = argument.get_default_values().iter();
        let defaults: Vec<_> = defaults
            .map(|value| format!("`{}`", value.to_string_lossy()))
            .collect();
        let help = argument.get_long_help().or(argument.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        let help = help.replace('\n', " ").replace('|', "\\|");
        let defaults = defaults.join(", ");
        writeln!(table, "| `--{no}{name}{value}` | {defaults} | {help} |").expect("memory");
    }
    table
}
