//! A veth end that stands in for a network card: a sysfs tree for `--path.sysfs` in which it has a bus device.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use crate::netns::Namespace;

/// The driver of the stand-ins, and their speed in Mbit/s.
pub const DRIVER: &str = "stand_in";
/// See [`DRIVER`].
pub const SPEED: u32 = 10_000;

/// Such a tree; deleted on drop.
#[derive(Debug)]
pub struct Hardware {
    root: TempDir,
}

impl Hardware {
    /// A tree with these devices of the namespace (`Documentation/ABI/testing/sysfs-class-net`), and the
    /// kernel's own BTF.
    pub fn of(namespace: &Namespace, devices: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("kernel")).unwrap();
        symlink("/sys/kernel/btf", at("kernel/btf")).unwrap();
        fs::create_dir_all(at("bus/drivers").join(DRIVER)).unwrap();
        for device in devices {
            let bus_device = at("class/net").join(device).join("device");
            fs::create_dir_all(&bus_device).unwrap();
            symlink(at("bus/drivers").join(DRIVER), bus_device.join("driver")).unwrap();
            let index = namespace.exec(&["cat", &format!("/sys/class/net/{device}/ifindex")]);
            fs::write(at("class/net").join(device).join("ifindex"), index).unwrap();
            fs::write(
                at("class/net").join(device).join("speed"),
                format!("{SPEED}\n"),
            )
            .unwrap();
        }
        Self { root }
    }

    /// What to mount-point `--path.sysfs` at.
    pub fn sysfs(&self) -> &Path {
        self.root.path()
    }
}
