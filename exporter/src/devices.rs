//! Which network devices exist in the exporter's own namespace, and which of them are shown.
//!
//! Names and indices are asked for one by one with the ioctls of netdevice(7), which take no RTNL
//! lock.

use std::{borrow::Cow, io};

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

/// Looks devices up by name and by index.
pub struct Devices {
    socket: OwnedFd,
}

impl Devices {
    /// Opens the socket to ask with. It belongs to the caller's network namespace.
    ///
    /// # Errors
    ///
    /// No socket can be had.
    pub fn open() -> anyhow::Result<Self> {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .context("open a socket to look up network devices")?;
        Ok(Self { socket })
    }

    /// Whether a device of this name exists now.
    ///
    /// # Errors
    ///
    /// The kernel does not answer; that says nothing about the device.
    pub fn exists(&self, name: &str) -> io::Result<bool> {
        match netdevice::name_to_index(&self.socket, name) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::NODEV) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// What the device with this index is called now, if there is one.
    pub fn name(&self, index: IfIndex) -> Option<String> {
        netdevice::index_to_name(&self.socket, index.0).ok()
    }
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
        let devices = Devices::open().unwrap();
        assert!(devices.exists("lo").unwrap());
        assert!(!devices.exists("no-such-device").unwrap());
        assert_eq!(devices.name(IfIndex(1)).as_deref(), Some("lo"));
        assert_eq!(devices.name(IfIndex(u32::MAX >> 1)), None);
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
