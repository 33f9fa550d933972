//! What is known of the module in each port, and what of it is served. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant, SystemTime},
};

use super::module::{Doubt, Flag, HalfPage, Lane, Module, Pages, Unreadable};
use crate::{collectors::FollowedLink, devices::IfIndex, kernel::name::Name};

/// How long a flag counts as set after it was last read so. Reading it clears most of them, for everybody
/// who reads, so it may have been set for one reading only.
const FLAG_LASTS: Duration = Duration::from_secs(600);

/// Why a reading tells less than it should: the label of the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The module does not answer its driver (EIO, ETIMEDOUT and the like).
    Io,
    /// Somebody else talks to the module.
    Busy,
    /// The driver cannot read what it was asked for.
    Refused,
    /// The helper does not answer: a driver hangs, or somebody stopped it.
    Silent,
    /// The memory is blank.
    Blank,
    /// Nobody here knows how the memory is laid out, or it contradicts itself about that.
    UnknownType,
    /// A checksum is wrong, in one reading or for good.
    Checksum,
    /// A page that the module should have is missing.
    MissingPage,
    /// The module says that it is not ready.
    NotReady,
}

impl Cause {
    /// Its label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::Blank => "blank",
            Self::UnknownType => "unknown_type",
            Self::Checksum => "checksum",
            Self::MissingPage => "missing_page",
            Self::NotReady => "not_ready",
        }
    }
}

impl From<Unreadable> for Cause {
    fn from(why: Unreadable) -> Self {
        match why {
            Unreadable::Blank => Self::Blank,
            Unreadable::UnknownType(_)
            | Unreadable::TwoTypes(..)
            | Unreadable::WrongRevision(..) => Self::UnknownType,
            Unreadable::Corrupt => Self::Checksum,
        }
    }
}

impl From<Doubt> for Cause {
    fn from(doubt: Doubt) -> Self {
        match doubt {
            Doubt::Checksum(_) => Self::Checksum,
            Doubt::Missing(_) => Self::MissingPage,
            Doubt::NotReady => Self::NotReady,
        }
    }
}

/// All ports that can have a module.
#[derive(Debug, Default)]
pub struct Table {
    ports: HashMap<IfIndex, Port>,
    version: u64,
}

/// What is known of one.
#[derive(Clone, Debug)]
pub struct Port {
    /// What it is called now.
    pub name: Name,
    /// Another device with the same index has another one.
    serial: u64,
    /// The driver of its bus device, for the log.
    pub driver: Name,
    /// What the module said last, if the last reading was any good.
    pub module: Option<Module>,
    /// Its flags, and whether they count as set.
    pub flags: Vec<(Flag, Lane, bool)>,
    /// When it was last read.
    pub read_at: Option<SystemTime>,
    /// Readings that told less than they should.
    pub failures: BTreeMap<Cause, u64>,
    /// What was read last, for what does not change.
    pub pages: Pages,
    /// When what does not change was read.
    pub static_at: Option<Instant>,
    /// When flags were last read as set.
    set_at: HashMap<(Flag, Lane), Instant>,
}

impl Port {
    fn new(link: &FollowedLink) -> Self {
        Self {
            name: link.name.clone(),
            serial: link.serial,
            driver: link.driver.clone(),
            module: None,
            flags: Vec::new(),
            read_at: None,
            failures: BTreeMap::new(),
            pages: Pages::new(),
            static_at: None,
            set_at: HashMap::new(),
        }
    }

    /// The module was read.
    pub fn read(&mut self, module: Module, pages: Pages, at: SystemTime, now: Instant) {
        let before = self.module.as_ref().map(|module| &module.identity);
        if before.is_some_and(|before| *before != module.identity) {
            self.set_at.clear();
        }
        let set = module.flags.iter().filter(|(.., set)| *set);
        self.set_at
            .extend(set.map(|&(flag, lane, _)| ((flag, lane), now)));
        self.set_at
            .retain(|_, at| now.saturating_duration_since(*at) < FLAG_LASTS);
        let flags = module.flags.iter().map(|&(flag, lane, _)| {
            let counts = self.set_at.contains_key(&(flag, lane));
            (flag, lane, counts)
        });
        self.flags = flags.collect();
        self.read_at = Some(at);
        self.module = Some(module);
        self.pages = pages;
    }

    /// The reading failed: nothing that was known still holds.
    pub fn failed(&mut self, cause: Cause) {
        self.count(cause);
        self.module = None;
        self.flags.clear();
        self.pages = Pages::new();
    }

    /// A reading told less than it should.
    pub fn count(&mut self, cause: Cause) {
        *self.failures.entry(cause).or_default() += 1;
    }

    /// There is no module.
    pub fn empty(&mut self) {
        self.module = None;
        self.flags.clear();
        self.set_at.clear();
        self.read_at = None;
        self.pages = Pages::new();
    }

    /// Whether half a page need not be read again: the module is the same, and its maker wrote it.
    pub fn knows(&self, half: HalfPage, pages: &Pages) -> bool {
        let identity = HalfPage::Page00;
        half.is_static()
            && !self.pages.raw(half).is_empty()
            && !pages.raw(identity).is_empty()
            && self.pages.raw(identity) == pages.raw(identity)
    }
}

impl Table {
    /// Another number as soon as anything else would be served.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// These are the links whose modules are read; others have gone. A device that was renamed is the
    /// same.
    pub fn set_links(&mut self, links: &[FollowedLink]) {
        self.version += 1;
        let mut known = std::mem::take(&mut self.ports);
        for link in links {
            let same = known.remove(&link.index);
            let same = same.filter(|port| port.serial == link.serial);
            let mut port = same.unwrap_or_else(|| Port::new(link));
            port.name = link.name.clone();
            self.ports.insert(link.index, port);
        }
    }

    /// Nothing can be read any more.
    pub fn clear(&mut self) {
        self.version += 1;
        self.ports.clear();
    }

    /// Changes what is known of a port, if it is still there.
    pub fn update(&mut self, index: IfIndex, change: impl FnOnce(&mut Port)) {
        if let Some(port) = self.ports.get_mut(&index) {
            self.version += 1;
            change(port);
        }
    }

    /// What is known of a port.
    pub fn get(&self, index: IfIndex) -> Option<&Port> {
        self.ports.get(&index)
    }

    /// Those that have something to show, sorted by name.
    pub fn shown(&self) -> Vec<&Port> {
        let mut ports: Vec<_> = self.ports.values().collect();
        ports.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        ports
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectors::optics::{module::Identity, testing::link};

    fn port() -> Port {
        Port::new(&link(2, "eth0"))
    }

    fn module(serial: &str, lost: bool) -> Module {
        Module {
            identity: Identity {
                serial: serial.to_owned(),
                ..Identity::default()
            },
            flags: vec![(Flag::RxLossOfSignal, Some(1), lost)],
            ..Module::default()
        }
    }

    #[test]
    fn a_flag_counts_as_set_for_ten_minutes_unless_the_module_is_another_one() {
        let start = Instant::now();
        let mut port = port();
        let mut read = |serial, lost, seconds| {
            let now = start + Duration::from_secs(seconds);
            port.read(module(serial, lost), Pages::new(), SystemTime::now(), now);
            port.flags[0].2
        };
        assert!(!read("A", false, 0));
        assert!(read("A", true, 60));
        assert!(read("A", false, 120));
        assert!(read("A", false, 659));
        assert!(!read("A", false, 660));
        assert!(read("A", true, 720));
        assert!(!read("B", false, 780));
    }

    #[test]
    fn only_what_its_maker_wrote_is_not_read_again_and_only_of_the_same_module() {
        let (mut pages, mut port) = (Pages::new(), port());
        let halves = [
            HalfPage::Lower,
            HalfPage::Page00,
            HalfPage::Page01,
            HalfPage::Page11,
        ];
        for half in halves {
            pages.set(half, vec![half as u8 + 1; 128]);
        }
        port.read(
            module("A", false),
            pages.clone(),
            SystemTime::now(),
            Instant::now(),
        );
        let known = halves.map(|half| port.knows(half, &pages));
        assert_eq!(known, [false, false, true, false]);
        pages.set(HalfPage::Page00, vec![9; 128]);
        assert!(!port.knows(HalfPage::Page01, &pages));
        port.failed(Cause::Io);
        assert!(!port.knows(HalfPage::Page01, &pages));
        assert_eq!(port.failures[&Cause::Io], 1);
    }
}
