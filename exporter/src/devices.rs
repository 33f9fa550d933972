//! Which network devices exist in the exporter's own namespace, and which of them are shown.
//!
//! Nothing here takes the RTNL lock. No device is asked for by its name: for one that has gone,
//! `SIOCGIFINDEX` makes the kernel look for a module of that name (`dev_load`,
//! `net/core/dev_ioctl.c`).

use std::{
    borrow::Cow,
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use netdrop_ebpf::DeviceName;
use regex::bytes::{Regex, RegexBuilder};
use rustix::{
    fd::OwnedFd,
    net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with},
};

/// The index of a device, unique within its network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IfIndex(pub u32);

/// Looks up the devices of the exporter's own network namespace.
pub struct Devices {
    list: PathBuf,
    socket: OwnedFd,
}

impl Devices {
    /// Prepares to look in the procfs mounted at `procfs`, and opens a socket to ask with, which
    /// belongs to the caller's network namespace.
    ///
    /// # Errors
    ///
    /// No socket can be had.
    pub fn open(procfs: &Path) -> anyhow::Result<Self> {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .context("open a socket to look up network devices")?;
        let list = procfs.join("self/net/dev");
        Ok(Self { list, socket })
    }

    /// The names of all devices that exist now, as [`device_name`] gives them.
    ///
    /// # Errors
    ///
    /// The list cannot be read; that says nothing about any device.
    pub fn names(&self) -> io::Result<HashSet<String>> {
        fs::read(&self.list).map(|list| parse_list(&list))
    }

    /// What the device with this index is called now, if there is one.
    pub fn name(&self, index: IfIndex) -> Option<String> {
        netdevice::index_to_name(&self.socket, index.0).ok()
    }
}

/// The names in `/proc/net/dev` (`net/core/net-procfs.c`): two lines of headings, then lines such
/// as `  eth0: 1296 18 0`. A name has neither a colon nor white space in it (`dev_valid_name`).
fn parse_list(list: &[u8]) -> HashSet<String> {
    list.split(|&byte| byte == b'\n')
        .skip(2)
        .filter_map(|line| {
            let line = line.trim_ascii_start();
            let end = line.iter().position(|&byte| byte == b':')?;
            Some(String::from_utf8_lossy(&line[..end]).into_owned())
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
    /// Whether the device is shown under its own name.
    pub fn shows(&self, device: &str) -> bool {
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

/// The name before its NUL. Names are bytes to the kernel; what is not UTF-8 is replaced, because
/// labels must be.
pub fn device_name(name: &DeviceName) -> Cow<'_, str> {
    let end = name
        .0
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(name.0.len());
    String::from_utf8_lossy(&name.0[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_at_its_nul_and_survives_odd_bytes() {
        let name = |bytes: &[u8]| {
            let mut name = DeviceName::default();
            name.0[..bytes.len()].copy_from_slice(bytes);
            device_name(&name).into_owned()
        };
        assert_eq!(name(b"eth0\0left over"), "eth0");
        assert_eq!(name(b"a\"b\\c"), "a\"b\\c");
        assert_eq!(name(b"sixteen bytes ok"), "sixteen bytes ok");
        assert_eq!(name(b"bad\xff"), "bad\u{fffd}");
        assert_eq!(name(b""), "");
    }

    #[test]
    fn the_loopback_device_exists_and_another_does_not() {
        let devices = Devices::open("/proc".as_ref()).unwrap();
        let names = devices.names().unwrap();
        assert!(names.contains("lo"));
        assert!(!names.contains("no-such-device"));
        assert_eq!(devices.name(IfIndex(1)).as_deref(), Some("lo"));
        assert_eq!(devices.name(IfIndex(u32::MAX >> 1)), None);
    }

    #[test]
    fn odd_names_and_odd_lines_are_read() {
        let list =
            b"Inter-|   Receive\n face |bytes\n  eth0: 1 2\na\"b\\c:0\nbad\xff: 1\nno colon\n\n";
        let names: HashSet<_> = ["eth0", "a\"b\\c", "bad\u{fffd}"].map(String::from).into();
        assert_eq!(parse_list(list), names);
        assert_eq!(parse_list(b""), HashSet::new());
    }

    #[test]
    fn a_filter_includes_or_excludes() {
        let veth = DevicePattern::new("veth.*").unwrap();
        assert!(DeviceFilter::All.shows("eth0"));
        assert!(DeviceFilter::Include(veth.clone()).shows("veth1"));
        assert!(!DeviceFilter::Include(veth.clone()).shows("eth0"));
        assert!(!DeviceFilter::Exclude(veth.clone()).shows("veth1"));
        assert!(DeviceFilter::Exclude(veth).shows("eth0"));
    }
}
