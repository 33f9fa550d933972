//! What a line of the register is: a collector's name, its default, its help, and how it opens.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::{ArgAction, ArgMatches, Args, Command};
use once_cell::sync::OnceCell;

use crate::{
    collectors::optics::helper::Helper,
    devices::{DeviceFilter, Devices, IfIndex},
    kernel::{name::Name, netlink::ethtool::down_reason::DownReason},
    metrics::Collector,
    privileges::{Privileged, Unprivileged},
};

/// What every collector may use.
pub struct Common {
    /// Where proc(5) is mounted.
    pub procfs: PathBuf,
    /// Where sysfs(5) is mounted.
    pub sysfs: PathBuf,
    /// Which devices get series of their own.
    pub filter: DeviceFilter,
    /// The devices of the exporter's own network namespace.
    pub devices: Arc<Devices>,
    /// Set by the collector `drops`, asked by `link`.
    pub dropped_while_down: OnceCell<DroppedWhileDown>,
    /// Set by the collector `link`, asked by `port`.
    pub followed_links: OnceCell<Arc<dyn FollowedLinks>>,
    /// Set by the collector `port`, told and asked by `link`.
    pub port_watch: OnceCell<Arc<dyn PortWatch>>,
    /// Set by the collector `optics`, told by `link`.
    pub module_watch: OnceCell<Arc<dyn ModuleWatch>>,
    /// Started before anything is given up, taken by the collector `optics`.
    pub optics_helper: Mutex<Option<anyhow::Result<Helper>>>,
}

impl Common {
    /// What collectors may use that look at proc(5) and sysfs(5) there, and show these devices.
    pub fn new(procfs: &Path, sysfs: &Path, filter: DeviceFilter) -> Self {
        Self {
            procfs: procfs.to_owned(),
            sysfs: sysfs.to_owned(),
            filter,
            devices: Arc::new(Devices::open(procfs)),
            dropped_while_down: OnceCell::new(),
            followed_links: OnceCell::new(),
            port_watch: OnceCell::new(),
            module_watch: OnceCell::new(),
            optics_helper: Mutex::default(),
        }
    }
}

/// Tells how many packets were dropped so far while this device's link was down, if that is known.
pub type DroppedWhileDown = Arc<dyn Fn(&Name) -> Option<u64> + Send + Sync>;

/// What the collector `link` is to `port`.
pub trait FollowedLinks: Send + Sync {
    /// The links that can be ports, bonds and their members, as they are followed now. Only those that get
    /// series of their own.
    fn list(&self) -> Vec<FollowedLink>;

    /// Where sysfs shows a link, and not another device that is called like it.
    fn sysfs_directory(&self, link: IfIndex) -> Option<PathBuf>;

    /// [`PortWatch::speed`] or [`PortWatch::down_reason`] of this link has changed.
    fn driver_answered(&self, link: IfIndex);
}

/// A link, as far as the collector `port` has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedLink {
    /// Unique as long as the device is in this namespace.
    pub index: IfIndex,
    /// Another one for each device that the collector `link` came to know, also if two had one index
    /// after the other.
    pub serial: u64,
    /// What it is called now.
    pub name: Name,
    /// The driver of its bus device; empty without one.
    pub driver: Name,
    /// Whether it has a bus device.
    pub physical: bool,
    /// Whether it is a bond.
    pub is_bond: bool,
    /// The bond that it is a member of.
    pub bond: Option<Name>,
}

/// Asks drivers for the collector `link`, which must not wait for them. Nothing here does.
pub trait PortWatch: Send + Sync {
    /// Links came or went, or are called otherwise.
    fn links_changed(&self);

    /// The carrier of a link changed, or somebody set it up or down. What the driver said before is no
    /// answer any more.
    fn carrier_changed(&self, link: IfIndex);

    /// How fast a port runs now, in Mbit/s.
    fn speed(&self, port: IfIndex) -> Answer<u32>;

    /// Why the link of a port is down.
    fn down_reason(&self, port: IfIndex) -> Answer<DownReason>;
}

/// What a driver says since the carrier of its port changed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// It is still to be asked.
    Awaited,
    /// It does not say.
    Unknown,
    /// This.
    Known(T),
}

impl<T> Answer<T> {
    /// Of a driver that was asked.
    pub fn of(said: Option<T>) -> Self {
        said.map_or(Self::Unknown, Self::Known)
    }

    /// What it says, if it does.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(said) => Some(said),
            Self::Awaited | Self::Unknown => None,
        }
    }
}

/// What the collector `optics` is to `link`. Nothing here waits for a driver.
pub trait ModuleWatch: Send + Sync {
    /// Links came or went, or are called otherwise.
    fn links_changed(&self);

    /// The carrier of a link changed.
    fn carrier_changed(&self, link: IfIndex);
}

/// A collector that holds everything it needs privileges for, and has no thread yet.
pub trait Opened {
    /// Whether it can go on with the capabilities that this thread has now.
    fn works_now(&self) -> bool {
        true
    }

    /// What it will see, for the first line of the log: "sees drops without function names".
    fn sight(&self) -> Option<String> {
        None
    }

    /// Begins to collect. Called within the event loop.
    ///
    /// # Errors
    ///
    /// What is missing, and how to get it.
    fn start(
        self: Box<Self>,
        common: &Common,
        proof: &Unprivileged,
    ) -> anyhow::Result<Box<dyn Collector>>;
}

/// What opening a collector gives.
pub type Open = anyhow::Result<Box<dyn Opened>>;

/// For a collector without flags of its own.
#[derive(Args)]
#[group(skip)]
pub struct NoFlags {}

/// When a collector runs, and whether a flag `--[no-]collector.NAME` has a say in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Runs {
    /// Always; there is no flag.
    Always,
    /// Unless it is switched off.
    ByDefault,
    /// If it is switched on.
    OnRequest,
    /// Always, for the others need it; switched off, it is not shown. The text tells users why.
    AlwaysShownByDefault(&'static str),
}

/// A line of the register.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) runs: Runs,
    /// What it does, for the help: "count dropped packets".
    purpose: &'static str,
    add_flags: fn(Command) -> Command,
    parse: Parse,
}

type Parse = Box<dyn Fn(&ArgMatches) -> Result<OpenWithFlags, clap::Error>>;

type OpenWithFlags = Box<dyn FnOnce(&Common, &Privileged) -> Open>;

impl Entry {
    /// Enters the collector that `open` opens. Its own flags are `F`.
    pub(super) fn new<F: Args + 'static>(
        name: &'static str,
        runs: Runs,
        purpose: &'static str,
        open: fn(F, &Common, &Privileged) -> Open,
    ) -> Self {
        Self {
            name,
            runs,
            purpose,
            add_flags: F::augment_args,
            parse: Box::new(move |matches| {
                let flags = F::from_arg_matches(matches)?;
                Ok(Box::new(move |common, privileged| {
                    open(flags, common, privileged)
                }))
            }),
        }
    }

    /// Adds `--no-collector.NAME`, `--collector.NAME` and the collector's own flags.
    pub(super) fn augment(&self, command: Command) -> Command {
        let command = match self.runs {
            Runs::Always => command,
            Runs::ByDefault | Runs::OnRequest => command.args(self.switches("")),
            Runs::AlwaysShownByDefault(note) => command.args(self.switches(note)),
        };
        (self.add_flags)(command)
    }

    /// What the flags say about this collector.
    pub(super) fn choose(self, matches: &ArgMatches) -> Result<Chosen, clap::Error> {
        let open = (self.parse)(matches)?;
        let is_on = match self.runs {
            Runs::Always => true,
            Runs::OnRequest => matches.get_flag(&self.switch_on()),
            Runs::ByDefault | Runs::AlwaysShownByDefault(_) => {
                !matches.get_flag(&self.switch_off())
            }
        };
        Ok(Chosen {
            name: self.name,
            runs: self.runs,
            is_on,
            open,
        })
    }

    fn switch_on(&self) -> String {
        format!("collector.{}", self.name)
    }

    fn switch_off(&self) -> String {
        format!("no-collector.{}", self.name)
    }

    /// A pair of flags of which the last one wins.
    fn switches(&self, note: &str) -> [clap::Arg; 2] {
        let (on, off) = (self.switch_on(), self.switch_off());
        let mut does = self.purpose.to_owned();
        let mut does_not = format!("Do not {does}{note}");
        does[..1].make_ascii_uppercase();
        let default = match self.runs {
            Runs::OnRequest => &mut does_not,
            _ => &mut does,
        };
        default.push_str(" (the default)");
        [
            clap::Arg::new(off.clone())
                .long(off.clone())
                .action(ArgAction::SetTrue)
                .overrides_with(on.clone())
                .help(does_not),
            clap::Arg::new(on.clone())
                .long(on)
                .action(ArgAction::SetTrue)
                .overrides_with(off)
                .help(does),
        ]
    }
}

/// A collector as the command line wants it.
pub(super) struct Chosen {
    pub(super) name: &'static str,
    pub(super) runs: Runs,
    pub(super) is_on: bool,
    pub(super) open: OpenWithFlags,
}
