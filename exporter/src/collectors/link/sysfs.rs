//! What sysfs says about a link and netlink does not (`Documentation/ABI/testing/sysfs-class-net`).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{devices::IfIndex, kernel::name::Name};

/// What does not change for as long as a device exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The driver of the bus device; empty without one.
    pub driver: Name,
    /// Whether there is a bus device (PCI, USB, virtio, ...) at all.
    pub physical: bool,
    /// What the device is, where netlink gives no kind.
    pub role: Role,
}

/// What kind of port a device is that rtnetlink has no kind for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing special.
    Port,
    /// A wireless interface.
    Wireless,
    /// A virtual function of an SR-IOV card.
    VirtualFunction,
}

impl Role {
    /// The value of the label `kind`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Port => "",
            Self::Wireless => "wlan",
            Self::VirtualFunction => "vf",
        }
    }
}

/// The directory of network devices.
#[derive(Clone, Debug)]
pub struct Sysfs {
    class_net: PathBuf,
}

impl Sysfs {
    /// Reads below `root`, where sysfs is mounted.
    pub fn new(root: &Path) -> Self {
        Self {
            class_net: root.join("class/net"),
        }
    }

    /// The facts of a device. `None` if it is not there under this name and index: it was renamed or
    /// has gone, or sysfs shows another namespace. Takes no RTNL lock.
    pub fn facts(&self, name: &Name, index: IfIndex) -> Option<Facts> {
        let device = self.class_net.join(name.as_os_str());
        let is_it = read_number(&device.join("ifindex")) == Some(i64::from(index.0));
        is_it.then(|| Facts {
            driver: driver(&device).unwrap_or_default(),
            physical: device.join("device").exists(),
            role: role(&device),
        })
    }

    /// The speed in Mbit/s, if the driver knows it. **Takes the RTNL lock** (`speed_show` in
    /// `net/core/net-sysfs.c`), so never call it in a scrape.
    pub fn speed(&self, name: &Name) -> Option<u32> {
        let speed = read_number(&self.class_net.join(name.as_os_str()).join("speed"))?;
        // SPEED_UNKNOWN is -1; some drivers say 0.
        u32::try_from(speed).ok().filter(|&speed| speed > 0)
    }
}

fn driver(device: &Path) -> io::Result<Name> {
    let driver = fs::read_link(device.join("device/driver"))?;
    let name = driver.file_name().unwrap_or_default();
    Ok(name.into())
}

fn role(device: &Path) -> Role {
    // `wireless` is what drivers without cfg80211 have.
    if device.join("phy80211").exists() || device.join("wireless").exists() {
        Role::Wireless
    } else if device.join("device/physfn").exists() {
        Role::VirtualFunction
    } else {
        Role::Port
    }
}

fn read_number(path: &Path) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory of devices: `eth0` is a virtual function with a driver, `wlan0` wireless without
    /// one, `veth0` virtual.
    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let net = root.path().join("class/net");
        for directory in [
            "eth0/device/physfn",
            "wlan0/device",
            "wlan0/phy80211",
            "veth0",
        ] {
            fs::create_dir_all(net.join(directory)).unwrap();
        }
        for (index, name) in [(2, "eth0"), (3, "wlan0"), (4, "veth0")] {
            fs::write(net.join(name).join("ifindex"), format!("{index}\n")).unwrap();
        }
        symlink(
            "../../../bus/virtio/drivers/virtio_net",
            net.join("eth0/device/driver"),
        )
        .unwrap();
        root
    }

    fn fact(driver: &str, physical: bool, role: Role) -> Option<Facts> {
        Some(Facts {
            driver: driver.into(),
            physical,
            role,
        })
    }

    #[test]
    fn ports_are_told_from_virtual_links() {
        let root = tree();
        let sysfs = Sysfs::new(root.path());
        assert_eq!(
            sysfs.facts(&"eth0".into(), IfIndex(2)),
            fact("virtio_net", true, Role::VirtualFunction)
        );
        assert_eq!(
            sysfs.facts(&"wlan0".into(), IfIndex(3)),
            fact("", true, Role::Wireless)
        );
        assert_eq!(
            sysfs.facts(&"veth0".into(), IfIndex(4)),
            fact("", false, Role::Port)
        );
    }

    #[test]
    fn another_device_of_that_name_is_not_it() {
        let root = tree();
        let sysfs = Sysfs::new(root.path());
        assert_eq!(sysfs.facts(&"eth0".into(), IfIndex(3)), None);
        assert_eq!(sysfs.facts(&"eth1".into(), IfIndex(2)), None);
    }

    #[test]
    fn a_device_is_asked_for_by_the_bytes_of_its_name() {
        let root = tree();
        let net = root.path().join("class/net");
        for (index, name) in [(5, b"l2tp-\xb9\xfa"), (6, b"l2tp-\xba\xe8")] {
            let name = Name::from(name.as_slice());
            fs::create_dir(net.join(name.as_os_str())).unwrap();
            for (file, text) in [("ifindex", index), ("speed", 100 * index)] {
                fs::write(net.join(name.as_os_str()).join(file), text.to_string()).unwrap();
            }
            let sysfs = Sysfs::new(root.path());
            assert_eq!(
                sysfs.facts(&name, IfIndex(index)),
                fact("", false, Role::Port)
            );
            assert_eq!(sysfs.speed(&name), Some(100 * index));
        }
    }

    #[test]
    fn an_unknown_speed_is_none() {
        let root = tree();
        let sysfs = Sysfs::new(root.path());
        for (text, speed) in [("1000\n", Some(1000)), ("-1\n", None), ("0\n", None)] {
            fs::write(root.path().join("class/net/eth0/speed"), text).unwrap();
            assert_eq!(sysfs.speed(&"eth0".into()), speed, "{text}");
        }
        assert_eq!(sysfs.speed(&"veth0".into()), None);
    }
}
