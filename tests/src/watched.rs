//! A namespace with an exporter that watches its links.

use rustix::process::{Pid, Signal, kill_process};

use crate::launch::Launch;
use crate::links::{self, Link, Links, Transitions};
use crate::netns::Namespace;
use crate::wait::{SOON, try_poll, wait_until};
use crate::{Exporter, Metrics};

/// A namespace and an exporter inside.
#[derive(Debug)]
pub struct Watched {
    /// The namespace.
    pub host: Namespace,
    /// The exporter.
    pub exporter: Exporter,
}

impl Watched {
    /// A namespace with nothing but `lo`.
    pub fn new() -> Self {
        Self::over(Namespace::new())
    }

    /// Starts an exporter in a namespace.
    pub fn over(host: Namespace) -> Self {
        Self::launch(host, Exporter::launch())
    }

    /// Starts an exporter in a namespace so.
    pub fn launch(host: Namespace, launch: Launch) -> Self {
        let exporter = launch.namespace(&host).start();
        Self { host, exporter }
    }

    /// `ip link set dev ...`.
    pub fn set(&self, device: &str, what: &[&str]) {
        self.host
            .ip(&[&["link", "set", "dev", device], what].concat());
    }

    /// Waits until the kernel has brought `device` into this state, and returns it once the exporter
    /// serves all links as the kernel has them.
    pub fn settled(&self, device: &str, operstate: &str, admin_up: bool, carrier: bool) -> Link {
        let state = format!("{device} is {operstate}, up {admin_up}, carrier {carrier}");
        wait_until(&state, SOON, || {
            let link = &links::kernel(&self.host)[device];
            link.operstate == operstate && link.admin_up == admin_up && link.carrier == carrier
        });
        self.same()[device].clone()
    }

    /// Waits until the exporter says of every link what the kernel says.
    pub fn same(&self) -> Links {
        let (links, _) = self.same_with_scrape();
        links
    }

    /// As [`Watched::same`], with the scrape that said so.
    pub fn same_with_scrape(&self) -> (Links, Metrics) {
        let mut last = (Links::new(), Links::new());
        let found = try_poll(SOON, || {
            let kernel = links::kernel(&self.host);
            let metrics = self.exporter.scrape();
            let served = links::served(&metrics);
            let devices = links::devices_with_series(&metrics);
            assert!(devices.iter().eq(served.keys()), "series without info");
            last = (kernel, served);
            (last.0 == last.1).then_some(metrics)
        });
        match found {
            Some(metrics) => (last.0, metrics),
            None => panic!(
                "the kernel says {:#?}\nand the exporter {:#?}",
                last.0, last.1
            ),
        }
    }

    /// A counter of the exporter's own.
    pub fn counter(&self, name: &str) -> f64 {
        self.exporter.scrape().value(name, &[]).unwrap()
    }

    /// The transitions of a device once the exporter knows all that the kernel knows.
    pub fn transitions(&self, device: &str) -> Transitions {
        let (_, metrics) = self.same_with_scrape();
        links::transitions(&metrics, device)
    }

    /// Lets the exporter sleep during `work` and on, until the kernel has refused messages to it.
    ///
    /// `spare` is a device whose changes fill the exporter's socket. What happens in `work` is partly or
    /// wholly lost to it.
    pub fn overrun(&self, spare: &str, work: impl Fn()) {
        /// Bounds the filling at half a million changes.
        const ATTEMPTS: usize = 500;
        let pid = i32::try_from(self.exporter.pid()).unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        work();
        let filling: String = (0..1000)
            .map(|turn| format!("link set dev {spare} mtu {}\n", 1400 + turn % 2))
            .collect();
        let full = (0..ATTEMPTS).any(|_| {
            self.host.ip_batch(&filling);
            links::lost_messages(&self.host, self.exporter.pid()) > 0
        });
        assert!(full, "the exporter's socket does not fill");
        work();
        kill_process(pid, Signal::CONT).unwrap();
    }
}

impl Default for Watched {
    fn default() -> Self {
        Self::new()
    }
}
