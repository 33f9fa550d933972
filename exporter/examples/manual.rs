//! Writes the man page and the shell completions, from the same flags that the exporter parses:
//! `cargo run --example manual -- DIRECTORY`. For packages; they are not in the repository.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap_complete::Shell;
use clap_mangen::{Man, roff::Roff};
use netdrop_exporter::{cli, metrics::VERSION};

const NAME: &str = "netdrop-exporter";

/// What the flags do not tell, as (heading, text).
const SECTIONS: [(&str, &str); 4] = [
    (
        "SIGNALS",
        "SIGTERM and SIGINT end it, after responses that are under way.",
    ),
    (
        "EXIT STATUS",
        "0 after SIGTERM or SIGINT, 1 if it cannot serve, 2 for a flag that it does not understand.",
    ),
    (
        "FILES",
        "/etc/default/netdrop-exporter: the flags of the service. \
         /usr/share/netdrop-exporter: alert rules, runbooks and dashboards.",
    ),
    (
        "SEE ALSO",
        "systemctl(1), capabilities(7), https://github.com/netdrop-exporter/netdrop-exporter",
    ),
];

fn main() -> anyhow::Result<()> {
    let directory: PathBuf = env::args_os().nth(1).context("no directory")?.into();
    // The revision is no part of a manual.
    let command = cli::command().name(NAME).version(VERSION);
    write_man_page(&command, NAME, &directory)?;
    for other in command
        .get_subcommands()
        .filter(|it| !it.is_hide_set())
        .filter(|c| c.get_name() != "serve")
    {
        let name = format!("{NAME}-{}", other.get_name());
        let words = format!("{NAME} {}", other.get_name());
        let other = other.clone().version(VERSION);
        let other = other.display_name(name.clone()).bin_name(words);
        write_man_page(&other, &name, &directory)?;
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command.clone(), NAME, &directory)
            .with_context(|| format!("write the completions for {shell}"))?;
    }
    Ok(())
}

fn write_man_page(command: &clap::Command, name: &str, directory: &Path) -> anyhow::Result<()> {
    let man = Man::new(command.clone())
        .section("1")
        .manual("Prometheus exporters");
    let mut page = Vec::new();
    man.render(&mut page)?;
    let sections = if name == NAME { &SECTIONS[..] } else { &[] };
    for (heading, text) in sections {
        let mut section = Roff::new();
        section.control("SH", [*heading]);
        section.text([(*text).into()]);
        section.to_writer(&mut page)?;
    }
    let path = directory.join(format!("{name}.1"));
    fs::write(&path, page).with_context(|| format!("write {}", path.display()))
}
