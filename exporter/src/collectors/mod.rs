//! The collectors: which there are, which of them run, and what one asks of another.
//!
//! To add a collector, make a folder with an `open` function, declare it as a module, and give it a
//! line in [`register`].

use std::sync::Arc;
use std::time::Duration;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use tokio::time::MissedTickBehavior;

use crate::{
    error::one_line,
    metrics::{Collector, Exposition},
    privileges::{Privileged, Unprivileged},
    service,
};

pub mod conntrack;
pub mod drops;
pub mod link;
pub mod optics;
pub mod port;
pub mod process;
mod register;

pub use register::{
    Answer, Common, DroppedWhileDown, FollowedLink, FollowedLinks, ModuleWatch, NoFlags, Open,
    Opened, PortWatch,
};
use register::{Chosen, Entry, Runs};

/// How often collectors work between scrapes. The kernel's maps of drops must not fill up, and a
/// host makes some hundreds of keys a minute, not thousands.
const WORK_INTERVAL: Duration = Duration::from_secs(5);

/// Every collector: its name, when it runs, what it does, and how it opens.
fn register() -> [Entry; 6] {
    use Runs::{Always, AlwaysShownByDefault, ByDefault, OnRequest};
    let followed = ". They are followed all the same, for the names of devices";
    [
        Entry::new(
            "conntrack",
            ByDefault,
            "serve how full the connection tracking table is",
            conntrack::open,
        ),
        Entry::new("drops", ByDefault, "count dropped packets", drops::open),
        Entry::new(
            "link",
            AlwaysShownByDefault(followed),
            "serve the state of links",
            link::open,
        ),
        Entry::new(
            optics::NAME,
            OnRequest,
            "read transceiver modules, through a helper process that keeps CAP_NET_ADMIN",
            optics::open,
        ),
        Entry::new("port", ByDefault, "read what network cards say", port::open),
        Entry::new("process", Always, "serve what this costs", process::open),
    ]
}

/// The flags of all collectors.
pub struct Flags {
    chosen: Vec<Chosen>,
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        register()
            .iter()
            .fold(command, |command, entry| entry.augment(command))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let chosen = register().into_iter().map(|entry| entry.choose(matches));
        Ok(Self {
            chosen: chosen.collect::<Result<_, _>>()?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Flags {
    /// The collectors that the flags switch on.
    pub fn switched_on(&self) -> Vec<&'static str> {
        let on = self.chosen.iter().filter(|chosen| chosen.is_on);
        on.map(|chosen| chosen.name).collect()
    }

    /// Starts the processes that the collectors need, before this thread is confined.
    pub fn start_helpers(&self, common: &Common, privileged: &Privileged) {
        if self.switched_on().contains(&optics::NAME) {
            optics::start_helper(common, privileged);
        }
    }

    /// Opens the collectors that are to run: takes what needs privileges.
    pub fn open(self, common: Common, privileged: &Privileged) -> OpenedCollectors {
        let runs = |chosen: &Chosen| {
            chosen.is_on || !matches!(chosen.runs, Runs::ByDefault | Runs::OnRequest)
        };
        let opened = self
            .chosen
            .into_iter()
            .filter(runs)
            .map(|chosen| Candidate {
                name: chosen.name,
                shown: chosen.is_on,
                opened: (chosen.open)(&common, privileged),
            });
        OpenedCollectors {
            opened: opened.collect(),
            common,
        }
    }
}

/// A collector between its two phases.
struct Candidate {
    name: &'static str,
    shown: bool,
    opened: Open,
}

/// The collectors with all they need privileges for.
pub struct OpenedCollectors {
    opened: Vec<Candidate>,
    common: Common,
}

impl OpenedCollectors {
    /// Whether all that opened can go on with the capabilities that this thread has now.
    pub fn work_now(&self) -> bool {
        let mut opened = self.opened.iter().filter_map(|c| c.opened.as_ref().ok());
        opened.all(|opened| opened.works_now())
    }

    /// What they will see, for the first line of the log.
    pub fn sight(&self) -> String {
        let opened = self.opened.iter().filter_map(|c| c.opened.as_ref().ok());
        let sights: Vec<_> = opened.filter_map(|opened| opened.sight()).collect();
        if sights.is_empty() {
            return "sees no drops".to_owned();
        }
        sights.join(", ")
    }

    /// Starts them. A collector that cannot start says why in one log line, and every scrape shows
    /// it as failed; the others go on. Must be called within the event loop.
    pub fn start(self, proof: &Unprivileged) -> Collectors {
        let mut exposition = Exposition::new();
        let mut hidden = Vec::new();
        for Candidate {
            name,
            shown,
            opened,
        } in self.opened
        {
            match opened.and_then(|opened| opened.start(&self.common, proof)) {
                Ok(collector) if shown => exposition.add(collector),
                Ok(collector) => hidden.push(collector),
                Err(e) => {
                    log::error!("{}", one_line(&e));
                    if shown {
                        exposition.add_failed(name);
                    }
                }
            }
        }
        let exposition = Arc::new(exposition);
        tokio::spawn(work_regularly(Arc::clone(&exposition)));
        Collectors {
            exposition,
            _hidden: hidden,
        }
    }
}

/// The collectors that could start.
pub struct Collectors {
    /// What they say.
    pub exposition: Arc<Exposition>,
    /// What runs for the others, and is not shown.
    _hidden: Vec<Box<dyn Collector>>,
}

impl Collectors {
    /// One line for `systemctl status`.
    pub fn status(&self) -> String {
        match self.exposition.failed() {
            [] => "all collectors run".to_owned(),
            failed => format!("without {}: see the log", failed.join(" and ")),
        }
    }
}

/// Works between scrapes. After each round the service manager hears that the event loop turns and
/// that the thread that works and scrapes is not stuck.
async fn work_regularly(exposition: Arc<Exposition>) {
    let mut interval = tokio::time::interval(WORK_INTERVAL);
    // After a stall (SIGSTOP, a frozen cgroup) one round does the work of all that were missed.
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let exposition = Arc::clone(&exposition);
        match tokio::task::spawn_blocking(move || exposition.work()).await {
            Ok(()) => service::alive(),
            Err(e) => log::error!("a collector panicked between scrapes: {e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use prometheus::proto::MetricFamily;
    use tokio::time::{advance, sleep};

    use super::*;

    /// Counts how often it works.
    struct Worker(Arc<AtomicUsize>);

    impl Collector for Worker {
        fn name(&self) -> &'static str {
            "worker"
        }

        fn collect(&self, _: &mut Vec<MetricFamily>) -> anyhow::Result<()> {
            Ok(())
        }

        fn work(&self) -> anyhow::Result<()> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_costs_one_round_of_work_not_one_for_each_that_it_missed() {
        let rounds = Arc::new(AtomicUsize::new(0));
        let mut exposition = Exposition::new();
        exposition.add(Box::new(Worker(Arc::clone(&rounds))));
        tokio::spawn(work_regularly(Arc::new(exposition)));
        let second = Duration::from_secs(1);
        sleep(second).await;
        assert_eq!(rounds.load(Ordering::Relaxed), 1);

        // The clock goes on while the event loop stands still, as it does for a stopped process.
        advance(12 * WORK_INTERVAL).await;
        sleep(second).await;
        assert_eq!(rounds.load(Ordering::Relaxed), 2);
        sleep(WORK_INTERVAL).await;
        assert_eq!(rounds.load(Ordering::Relaxed), 3);
    }

    /// What runs with these flags, and is shown.
    fn shown(flags: &[&str]) -> Vec<&'static str> {
        let words = ["netdrop-exporter"].iter().chain(flags);
        let command = Flags::augment_args(Command::new("netdrop-exporter"));
        let matches = command.try_get_matches_from(words).expect("good flags");
        Flags::from_arg_matches(&matches)
            .expect("good flags")
            .switched_on()
    }

    #[test]
    fn the_last_of_a_collectors_switches_wins() {
        let all = ["conntrack", "drops", "link", "port", "process"];
        assert_eq!(shown(&[]), all);
        assert_eq!(
            shown(&["--no-collector.drops"]),
            ["conntrack", "link", "port", "process"]
        );
        assert_eq!(shown(&["--collector.drops"]), all);
        assert_eq!(shown(&["--no-collector.drops", "--collector.drops"]), all);
        assert_eq!(
            shown(&["--collector.link", "--no-collector.link"]),
            ["conntrack", "drops", "port", "process"]
        );
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = register().iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), register().len());
    }
}
