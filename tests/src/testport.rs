//! Ports without hardware, of the kernel module in `tests/kernels/module`: what their driver tells is what a
//! test sets. Only kernels that the module is built for have it (`tests/kernels/run.sh`).

use std::fmt::Display;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

const MODULE: &str = "netdrop_testport";
const DEBUGFS: &str = "/sys/kernel/debug";

/// The module with its ports; unloaded on drop.
#[derive(Debug)]
pub struct TestPorts(());

impl TestPorts {
    /// Loads the module with so many ports, which are down.
    pub fn load(ports: usize) -> Self {
        run("modprobe", &[MODULE, &format!("ports={ports}")]);
        Self(())
    }

    /// One of its ports, from 0 on.
    pub fn port(&self, number: usize) -> TestPort {
        let address = format!("{MODULE}.{number}");
        let net = fs::read_dir(format!("/sys/bus/platform/devices/{address}/net")).unwrap();
        let name = net.map(|entry| entry.unwrap().file_name()).next().unwrap();
        TestPort {
            name: name.into_string().unwrap(),
            settings: PathBuf::from(format!("{DEBUGFS}/{MODULE}/{address}")),
            address,
        }
    }
}

impl Drop for TestPorts {
    fn drop(&mut self) {
        // A test may have unloaded it.
        let unloaded = Command::new("rmmod").arg(MODULE).output();
        unloaded.expect("rmmod runs");
    }
}

/// One port.
#[derive(Debug)]
pub struct TestPort {
    /// What the device is called.
    pub name: String,
    /// Where it is on its bus.
    pub address: String,
    settings: PathBuf,
}

impl TestPort {
    /// Sets what the driver tells: a file below the port's directory in debugfs.
    pub fn set(&self, setting: &str, value: impl Display) {
        let path = self.settings.join(setting);
        fs::write(&path, value.to_string()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// What the driver was set to, or has come to.
    pub fn get(&self, setting: &str) -> String {
        let path = self.settings.join(setting);
        fs::read_to_string(path).unwrap().trim().to_owned()
    }

    /// Writes halves of pages of the module's memory, from this one on (`eeprom_write` in
    /// `tests/kernels/module/settings.c` says how they are numbered).
    pub fn write_eeprom(&self, first: usize, bytes: &[u8]) {
        let mut path = self.settings.join("module");
        path.push("eeprom");
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(bytes, 128 * first as u64).unwrap();
    }

    /// Whether the module has this setting on this kernel.
    pub fn has(&self, setting: &str) -> bool {
        self.settings.join(setting).exists()
    }

    /// Sets the device up.
    pub fn up(&self) {
        run("ip", &["link", "set", "dev", &self.name, "up"]);
    }

    /// Gives every counter of a group a number of its own, from `first` on.
    pub fn count(&self, group: &str, first: u64) {
        let mut counters: Vec<_> = fs::read_dir(self.settings.join(group))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        counters.sort();
        for (number, counter) in (first..).zip(counters) {
            fs::write(counter, number.to_string()).unwrap();
        }
    }
}

/// What a program prints.
///
/// # Panics
/// When it fails, with what it said.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}
