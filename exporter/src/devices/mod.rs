//! Which network devices exist in the exporter's own namespace, and which of them are shown.
//!
//! The link collector writes here what it learns from netlink. While it does not, the kernel is
//! asked; nothing here takes the RTNL lock. No device is ever asked for by its name: for one that
//! has gone, `SIOCGIFINDEX` makes the kernel look for a module of that name (`dev_load`,
//! `net/core/dev_ioctl.c`).

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use anyhow::ensure;
use regex::bytes::{Regex, RegexBuilder};
use rustix::{
    fd::OwnedFd,
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
};

use crate::kernel::name::Name;

mod sys;

/// The index of a device, unique within its network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IfIndex(pub u32);

/// Looks up the devices of the exporter's own network namespace.
pub struct Devices {
    followed: RwLock<Followed>,
    list: PathBuf,
    /// To ask with; it belongs to the network namespace of who opened it.
    socket: rustix::io::Result<OwnedFd>,
}

/// The devices as the link collector knows them. It writes each as it comes and goes, so there are
/// never more than the namespace has.
#[derive(Default)]
struct Followed {
    /// Whether all devices are here; before that nothing is concluded from a device that is not.
    complete: bool,
    names: HashMap<IfIndex, Name>,
}

impl Devices {
    /// The devices of the caller's network namespace; nobody follows them yet. Until somebody does,
    /// they are looked up in the procfs mounted at `procfs`.
    pub fn open(procfs: &Path) -> Self {
        Self {
            followed: RwLock::default(),
            list: procfs.join("self/net/dev"),
            socket: socket_with(
                AddressFamily::UNIX,
                SocketType::DGRAM,
                SocketFlags::CLOEXEC,
                None,
            ),
        }
    }

    /// The names of all devices that exist now, or did some milliseconds ago.
    ///
    /// # Errors
    ///
    /// Nobody follows the devices, and the list cannot be read; that says nothing about any device.
    pub fn names(&self) -> io::Result<HashSet<Name>> {
        let followed = self.read();
        if followed.complete {
            return Ok(followed.names.values().cloned().collect());
        }
        drop(followed);
        fs::read(&self.list).map(|list| parse_list(&list))
    }

    /// What the device with this index is called now, if there is one.
    pub fn name(&self, index: IfIndex) -> Option<Name> {
        if let Some(name) = self.read().names.get(&index) {
            return Some(name.clone());
        }
        // It may be younger than the last notification.
        let socket = self.socket.as_ref().ok()?;
        sys::name(socket, index).ok()
    }

    /// Tells what a device is called from now on.
    pub fn set_name(&self, index: IfIndex, name: Name) {
        self.write().names.insert(index, name);
    }

    /// Tells that a device has gone.
    pub fn remove(&self, index: IfIndex) {
        self.write().names.remove(&index);
    }

    /// Tells what all devices are called, and that changes will follow.
    pub fn follow(&self, names: HashMap<IfIndex, Name>) {
        let complete = true;
        *self.write() = Followed { complete, names };
    }

    /// Tells that no more changes will follow.
    pub fn unfollow(&self) {
        *self.write() = Followed::default();
    }

    fn read(&self) -> RwLockReadGuard<'_, Followed> {
        self.followed.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Followed> {
        self.followed
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names in `/proc/net/dev` (`net/core/net-procfs.c`): two lines of headings, then lines such
/// as `  eth0: 1296 18 0`. A name has neither a colon nor white space in it (`dev_valid_name`).
pub fn parse_list(list: &[u8]) -> HashSet<Name> {
    list.split(|&byte| byte == b'\n')
        .skip(2)
        .filter_map(|line| {
            let line = line.trim_ascii_start();
            let end = line.iter().position(|&byte| byte == b':')?;
            Some(line[..end].into())
        })
        .collect()
}

/// Which devices get series of their own: all, those that match, or those that do not.
#[derive(Clone, Debug, Default)]
pub enum DeviceFilter {
    /// No filter.
    #[default]
    All,
    /// Names that match.
    Include(DevicePattern),
    /// Names that do not.
    Exclude(DevicePattern),
}

impl DeviceFilter {
    /// That of a pair of flags, of which at most one is set.
    pub fn new(include: Option<&DevicePattern>, exclude: Option<&DevicePattern>) -> Self {
        match (include, exclude) {
            (Some(include), _) => Self::Include(include.clone()),
            (None, Some(exclude)) => Self::Exclude(exclude.clone()),
            (None, None) => Self::All,
        }
    }

    /// Whether the device is shown under its own name.
    pub fn shows(&self, device: &Name) -> bool {
        match self {
            Self::All => true,
            Self::Include(include) => include.matches(device),
            Self::Exclude(exclude) => !exclude.matches(device),
        }
    }
}

/// A regular expression for whole device names.
///
/// It works on bytes and knows ASCII classes only, for a device name is any bytes but `/`, `:` and
/// white space (`dev_valid_name` in `net/core/dev.c`).
#[derive(Clone, Debug)]
pub struct DevicePattern(Regex);

impl DevicePattern {
    /// Compiles an expression and anchors it at both ends.
    ///
    /// # Errors
    ///
    /// What is wrong with the expression, in one line; an empty one too, as it matches no device.
    pub fn new(expression: &str) -> anyhow::Result<Self> {
        ensure!(
            !expression.is_empty(),
            "an empty expression matches no device: leave the flag out to match all"
        );
        // Alone first: `a)|(b` is not valid, but would be between the anchors.
        compile(expression)?;
        compile(&format!(r"\A(?:{expression})\z")).map(Self)
    }

    /// Whether the whole name matches.
    pub fn matches(&self, device: impl AsRef<[u8]>) -> bool {
        self.0.is_match(device.as_ref())
    }
}

fn compile(expression: &str) -> anyhow::Result<Regex> {
    let compiled = RegexBuilder::new(expression).unicode(false).build();
    compiled.map_err(|error| {
        // The text of a syntax error is a drawing of several lines; the last one says what is wrong.
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default();
        anyhow::Error::msg(reason.trim_start_matches("error: ").to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_exists_and_another_does_not() {
        let devices = Devices::open("/proc".as_ref());
        let names = devices.names().unwrap();
        assert!(names.contains(b"lo".as_slice()));
        assert!(!names.contains(b"no-such-device".as_slice()));
        assert_eq!(devices.name(IfIndex(1)), Some("lo".into()));
        assert_eq!(devices.name(IfIndex(u32::MAX >> 1)), None);
    }

    #[test]
    fn followed_devices_are_not_asked_for() {
        let devices = Devices::open("/proc".as_ref());
        let index = IfIndex(u32::MAX >> 1);
        devices.set_name(index, "eth9".into());
        let names = devices.names().unwrap();
        assert!(!names.contains(b"eth9".as_slice()), "not all are named yet");
        devices.follow([(index, "eth9".into())].into());
        assert_eq!(devices.names().unwrap(), ["eth9".into()].into());
        assert_eq!(devices.name(index), Some("eth9".into()));
        devices.unfollow();
        assert!(devices.names().unwrap().contains(b"lo".as_slice()));
    }

    #[test]
    fn devices_that_swap_names_keep_them() {
        let (a, b) = (IfIndex(u32::MAX >> 1), IfIndex(u32::MAX >> 2));
        let devices = Devices::open("/proc".as_ref());
        devices.follow(HashMap::new());
        for (index, name) in [(a, "x"), (b, "y"), (a, "y"), (b, "x")] {
            devices.set_name(index, name.into());
        }
        assert_eq!(devices.names().unwrap(), ["x".into(), "y".into()].into());
        devices.remove(a);
        assert_eq!(devices.names().unwrap(), ["x".into()].into());
    }

    #[test]
    fn odd_names_and_odd_lines_are_read() {
        let list =
            b"Inter-|   Receive\n face |bytes\n  eth0: 1 2\na\"b\\c:0\nbad\xff: 1\nno colon\n\n";
        let names: [&[u8]; 3] = [b"eth0", b"a\"b\\c", b"bad\xff"];
        let names: HashSet<_> = names.map(Name::from).into();
        assert_eq!(parse_list(list), names);
        assert_eq!(parse_list(b""), HashSet::new());
    }

    #[test]
    fn a_filter_includes_or_excludes() {
        let veth = DevicePattern::new("veth.*").unwrap();
        let (eth0, veth1) = ("eth0".into(), "veth1".into());
        assert!(DeviceFilter::All.shows(&eth0));
        assert!(DeviceFilter::Include(veth.clone()).shows(&veth1));
        assert!(!DeviceFilter::Include(veth.clone()).shows(&eth0));
        assert!(!DeviceFilter::Exclude(veth.clone()).shows(&veth1));
        assert!(DeviceFilter::Exclude(veth).shows(&eth0));
    }

    #[test]
    fn a_pattern_matches_the_bytes_of_a_name_and_takes_its_label_as_it_is() {
        let names: [&[u8]; 5] = [
            b"l2tp-\xb9\xfa",
            b"m\xfcnchen",
            "münchen".as_bytes(),
            br"a\b",
            br"l2tp-\xb9\xfa",
        ];
        for name in names.map(Name::from) {
            let pattern = DevicePattern::new(&name.label()).unwrap();
            for other in names.map(Name::from) {
                assert_eq!(pattern.matches(&other), other == name, "{name} on {other}");
            }
        }
        // Any byte.
        assert!(DevicePattern::new("l2tp-..").unwrap().matches(names[0]));
    }
}
