//! What sysfs says about a link and netlink does not (`Documentation/ABI/testing/sysfs-class-net`).
//!
//! `class/net` shows the network namespace of whoever mounted sysfs, which in a container need not
//! be the exporter's. So what stands there is believed only if it is about the same device. What
//! stands below `bus` is the same in all namespaces.

use std::{
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

use super::message::{Link, Parent};
use crate::kernel::name::Name;

/// What does not change for as long as a device exists; by default that of a virtual one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The driver of the bus device; empty without one.
    pub driver: Name,
    /// What the bus device is called on its bus, such as `0000:3b:00.0`; empty without one.
    pub bus_address: Name,
    /// Whether there is a bus device (PCI, USB, virtio, ...) at all; see [`is_physical`].
    pub physical: bool,
    /// What the device is, where netlink gives no kind.
    pub role: Role,
}

/// Whether a link has a bus device: netlink says so, or sysfs where the kernel is too old for that.
pub fn is_physical(link: &Link, facts: Option<&Facts>) -> bool {
    match link.parent {
        Parent::Device { .. } => true,
        Parent::None => false,
        Parent::Unknown => facts.is_some_and(|facts| facts.physical),
    }
}

/// What the bus device of a link is called on its bus.
pub fn bus_address<'a>(link: &'a Link, facts: Option<&'a Facts>) -> Option<&'a Name> {
    match &link.parent {
        Parent::Device { name, .. } => Some(name),
        Parent::None => None,
        Parent::Unknown => facts.map(|facts| &facts.bus_address),
    }
}

/// What kind of port a device is that rtnetlink has no kind for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Nothing special.
    #[default]
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

    /// By the bus device, and by `class/net` where that shows the link: drivers without cfg80211
    /// have only `wireless`.
    fn of(bus_device: &Path, directory: Option<&Path>) -> Self {
        let is_wireless = |directory: &Path| {
            directory.join("phy80211").exists() || directory.join("wireless").exists()
        };
        if bus_device.join("ieee80211").exists() || directory.is_some_and(is_wireless) {
            Self::Wireless
        } else if bus_device.join("physfn").exists() {
            Self::VirtualFunction
        } else {
            Self::Port
        }
    }
}

/// The tree of devices.
#[derive(Clone, Debug)]
pub struct Sysfs {
    root: PathBuf,
}

impl Sysfs {
    /// Reads below `root`, where sysfs is mounted.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The facts of a link. `None` if sysfs does not show it: it was renamed or has gone, or sysfs
    /// shows another namespace. Takes no RTNL lock.
    pub fn facts(&self, link: &Link) -> Option<Facts> {
        if link.parent == Parent::None {
            return Some(Facts::default());
        }
        let directory = self.directory(link);
        let bus_device = match &link.parent {
            Parent::Device { bus, name } if !bus.is_empty() => {
                let devices = self.root.join("bus").join(bus.as_os_str()).join("devices");
                devices.join(name.as_os_str())
            }
            _ => directory.as_ref()?.join("device"),
        };
        if !bus_device.exists() {
            // The link is virtual, or it is being removed and its bus device has gone already.
            return (link.parent == Parent::Unknown).then(Facts::default);
        }
        Some(Facts {
            driver: last_part(fs::read_link(bus_device.join("driver"))),
            bus_address: last_part(fs::canonicalize(&bus_device)),
            physical: true,
            role: Role::of(&bus_device, directory.as_deref()),
        })
    }

    /// The speed in Mbit/s, if the driver knows it. **Takes the RTNL lock** (`speed_show` in
    /// `net/core/net-sysfs.c`), so never call it in a scrape.
    pub fn speed(&self, link: &Link) -> Option<u32> {
        let speed = read_number(&self.directory(link)?.join("speed"))?;
        // SPEED_UNKNOWN is -1; some drivers say 0.
        u32::try_from(speed).ok().filter(|&speed| speed > 0)
    }

    /// Where `class/net` shows this link, and not another one of the same name: several namespaces
    /// have an `eth0`, often with the same index, and a macvlan can have the address of its port.
    pub fn directory(&self, link: &Link) -> Option<PathBuf> {
        let directory = self.root.join("class/net").join(link.name.as_os_str());
        let address = fs::read_to_string(directory.join("address")).ok()?;
        let bus_device = fs::read_link(directory.join("device")).ok();
        let bus_device = bus_device.as_deref().and_then(Path::file_name);
        let has_its_parent = match &link.parent {
            Parent::Unknown => true,
            Parent::None => bus_device.is_none(),
            Parent::Device { name, .. } => bus_device == Some(name.as_os_str()),
        };
        let is_it = read_number(&directory.join("ifindex")) == Some(i64::from(link.index.0))
            && address.trim() == colons(&link.address)
            && has_its_parent;
        is_it.then_some(directory)
    }
}

/// What the file is called that a link leads to; empty if it cannot be read.
fn last_part(target: io::Result<PathBuf>) -> Name {
    let target = target.unwrap_or_default();
    target.file_name().unwrap_or_default().into()
}

/// `52:54:00:12:34:56`, as sysfs writes an address (`address_show` in `net/core/net-sysfs.c`).
fn colons(address: &[u8]) -> String {
    let mut text = String::new();
    for (at, byte) in address.iter().enumerate() {
        let colon = if at > 0 { ":" } else { "" };
        // Writing to a string cannot fail.
        write!(text, "{colon}{byte:02x}").ok();
    }
    text
}

fn read_number(path: &Path) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::collectors::link::testing::link;

    const ADDRESS: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

    /// A sysfs with `eth0`, index 2: virtio2 on its bus, 1000 Mbit/s.
    fn tree() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("class/net/eth0")).unwrap();
        fs::create_dir_all(at("devices/pci0/virtio2")).unwrap();
        fs::create_dir_all(at("bus/virtio/devices")).unwrap();
        for (file, text) in [
            ("ifindex", "2\n"),
            ("address", "52:54:00:12:34:56\n"),
            ("speed", "1000\n"),
        ] {
            fs::write(at("class/net/eth0").join(file), text).unwrap();
        }
        for (target, path) in [
            ("../../../devices/pci0/virtio2", "class/net/eth0/device"),
            (
                "../../../devices/pci0/virtio2",
                "bus/virtio/devices/virtio2",
            ),
            (
                "../../../bus/virtio/drivers/virtio_net",
                "devices/pci0/virtio2/driver",
            ),
        ] {
            symlink(target, at(path)).unwrap();
        }
        root
    }

    /// The link of [`tree`], as a kernel tells it that says this of parents.
    fn eth0(parent: Parent) -> Link {
        Link {
            address: ADDRESS.into(),
            parent,
            ..link(2, "eth0")
        }
    }

    fn parent(bus: &str, name: &str) -> Parent {
        Parent::Device {
            bus: bus.into(),
            name: name.into(),
        }
    }

    fn port(role: Role) -> Option<Facts> {
        Some(Facts {
            driver: "virtio_net".into(),
            bus_address: "virtio2".into(),
            physical: true,
            role,
        })
    }

    #[test]
    fn a_port_has_a_driver_and_a_speed_whatever_the_kernel_says_of_parents() {
        let root = tree();
        let sysfs = Sysfs::new(root.path());
        for of in [
            parent("virtio", "virtio2"),
            parent("", "virtio2"),
            Parent::Unknown,
        ] {
            let link = eth0(of);
            let facts = sysfs.facts(&link);
            assert_eq!(facts, port(Role::Port), "{link:?}");
            assert!(is_physical(&link, facts.as_ref()));
            assert_eq!(bus_address(&link, facts.as_ref()), Some(&"virtio2".into()));
            assert_eq!(sysfs.speed(&link), Some(1000), "{link:?}");
        }
    }

    #[test]
    fn what_is_said_of_another_namespaces_device_is_not_believed() {
        let root = tree();
        let sysfs = Sysfs::new(root.path());
        let unknown = eth0(Parent::Unknown);
        let others = [
            // Another index, another name, another address or none, and none of them but no parent:
            // a macvlan of a container.
            Link {
                index: crate::devices::IfIndex(3),
                ..unknown.clone()
            },
            Link {
                name: "eth1".into(),
                ..unknown.clone()
            },
            Link {
                address: [2; 6].into(),
                ..unknown.clone()
            },
            Link {
                address: [].into(),
                ..unknown
            },
            eth0(Parent::None),
        ];
        for link in others {
            let facts = sysfs.facts(&link);
            assert!(!is_physical(&link, facts.as_ref()), "{link:?}");
            assert_eq!(facts.unwrap_or_default(), Facts::default(), "{link:?}");
            assert_eq!(sysfs.speed(&link), None, "{link:?}");
        }
        // A virtual function that was given to a container has a bus device of its own.
        let function = eth0(parent("pci", "0000:3b:02.1"));
        assert_eq!(
            (sysfs.facts(&function), sysfs.speed(&function)),
            (None, None)
        );
        assert!(is_physical(&function, None));
    }

    #[test]
    fn a_port_of_another_namespace_is_known_by_its_bus_device() {
        let root = tree();
        let sysfs = Sysfs::new(root.path());
        let moved = Link {
            name: "net1".into(),
            ..eth0(parent("virtio", "virtio2"))
        };
        let device = root.path().join("devices/pci0/virtio2");
        assert_eq!(sysfs.facts(&moved), port(Role::Port));
        fs::create_dir(device.join("physfn")).unwrap();
        assert_eq!(sysfs.facts(&moved), port(Role::VirtualFunction));
        fs::create_dir(device.join("ieee80211")).unwrap();
        assert_eq!(sysfs.facts(&moved), port(Role::Wireless));
        assert_eq!(sysfs.speed(&moved), None);
    }

    #[test]
    fn a_wireless_link_is_known_by_its_own_directory_too() {
        let root = tree();
        let sysfs = Sysfs::new(root.path());
        fs::create_dir(root.path().join("class/net/eth0/wireless")).unwrap();
        for of in [parent("virtio", "virtio2"), Parent::Unknown] {
            assert_eq!(sysfs.facts(&eth0(of)), port(Role::Wireless));
        }
        let virtual_ = Link {
            index: crate::devices::IfIndex(3),
            ..eth0(Parent::None)
        };
        assert_eq!(sysfs.facts(&virtual_), Some(Facts::default()));
    }

    #[test]
    fn a_device_is_asked_for_by_the_bytes_of_its_name() {
        let root = tree();
        for (index, name) in [(5, b"l2tp-\xb9\xfa"), (6, b"l2tp-\xba\xe8")] {
            let name = Name::from(name.as_slice());
            let directory = root.path().join("class/net").join(name.as_os_str());
            fs::create_dir(&directory).unwrap();
            for (file, text) in [
                ("ifindex", index.to_string()),
                ("speed", (100 * index).to_string()),
                ("address", "\n".to_owned()),
            ] {
                fs::write(directory.join(file), text).unwrap();
            }
            let link = Link {
                name,
                address: [].into(),
                ..link(index, "")
            };
            let sysfs = Sysfs::new(root.path());
            assert_eq!(sysfs.facts(&link), Some(Facts::default()));
            assert_eq!(sysfs.speed(&link), Some(100 * index));
        }
    }

    #[test]
    fn an_unknown_speed_is_none() {
        let root = tree();
        let sysfs = Sysfs::new(root.path());
        for (text, speed) in [("1000\n", Some(1000)), ("-1\n", None), ("0\n", None)] {
            fs::write(root.path().join("class/net/eth0/speed"), text).unwrap();
            assert_eq!(sysfs.speed(&eth0(Parent::Unknown)), speed, "{text}");
        }
    }
}
