//! A network card that goes: what the exporter says of a virtio port of the machine, which is in the machine's own
//! namespace.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use netdrop_tests::netns::run;
use netdrop_tests::wait::{SOON, poll_for};
use netdrop_tests::{Exporter, Metrics, Namespace, Room, links, wait_until};

const DRIVER: &str = "/sys/bus/virtio/drivers/virtio_net";
const TRANSITIONS: &str = "netdrop_link_transitions_total";

/// A port, set up, and an exporter that watches it.
pub(crate) struct Watch {
    pub(crate) port: String,
    pub(crate) exporter: Exporter,
}

impl Watch {
    pub(crate) fn begin() -> Self {
        run(&["modprobe", "virtio_net"]);
        let port = port();
        let exporter = Exporter::start(&[]);
        let watch = Self { port, exporter };
        watch.set_up();
        watch
    }

    fn set_up(&self) {
        run(&["ip", "link", "set", &self.port, "up"]);
        wait_until("the port is up", SOON, || {
            let up = [("device", self.port.as_str())];
            self.exporter.scrape().value("netdrop_link_admin_up", &up) == Some(1.0)
        });
    }

    /// Waits until the port was removed so often, and returns the scrape that said so.
    fn removed(&self, times: f64) -> Metrics {
        poll_for("the removal is served", SOON, || {
            let metrics = self.exporter.scrape();
            let removed = count(&metrics, &self.port, "removed");
            (removed == Some(times)).then_some(metrics)
        })
    }

    /// The lines of the log about the port, without their time.
    fn told(&self) -> Vec<String> {
        let log = self.exporter.log();
        let about = format!("{}: ", self.port);
        let lines = log.lines().filter_map(|line| line.split_once(&about));
        lines.map(|(_, text)| text.to_owned()).collect()
    }

    /// The same, once the log has told of so many removals: the page may have them first.
    fn told_of_removals(&self, times: usize) -> Vec<String> {
        let removed = |line: &&String| line.starts_with("removed (driver virtio_net, ");
        let removals = |told: &[String]| told.iter().filter(removed).count();
        let told = poll_for("the log tells of the removals", SOON, || {
            Some(self.told()).filter(|told| removals(told) >= times)
        });
        assert_eq!(removals(&told), times, "{told:?}");
        told
    }
}

impl Drop for Watch {
    /// So that it is silent in other tests.
    fn drop(&mut self) {
        let down = ["link", "set", &self.port, "down"];
        Command::new("ip").args(down).status().ok();
    }
}

/// The virtio device, such as `virtio0`, and the name of the port, once this namespace has it.
fn find() -> (String, String) {
    poll_for("there is a virtio port", SOON, || {
        let devices = fs::read_dir(DRIVER)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut ports = devices.filter_map(|device| {
            let mut names = fs::read_dir(device.join("net")).ok()?;
            let name = names.next()?.ok()?.file_name().into_string().ok()?;
            Some((device.file_name()?.to_str()?.to_owned(), name))
        });
        ports.next()
    })
}

fn port() -> String {
    find().1
}

fn bus_device() -> String {
    find().0
}

fn count(metrics: &Metrics, device: &str, transition: &str) -> Option<f64> {
    metrics.value(
        TRANSITIONS,
        &[("device", device), ("transition", transition)],
    )
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

#[test]
#[ignore = "needs root and modules: run by tests/run.sh kernels"]
fn a_port_whose_driver_goes_was_removed_and_not_set_down() {
    let _room = Room::enter();
    let watch = Watch::begin();
    let metrics = watch.exporter.scrape();
    assert_eq!(
        count(&metrics, &watch.port, "removed"),
        Some(0.0),
        "born at 0"
    );
    assert_eq!(count(&metrics, "lo", "removed"), None, "no port");

    let begin = now();
    run(&["modprobe", "--remove", "virtio_net"]);
    let gone = watch.removed(1.0);
    // Nothing else is left of it, so nothing says that an admin did it.
    let of_port = |name: &str| gone.series(name, &[("device", &watch.port)]).count();
    assert_eq!((of_port(TRANSITIONS), of_port("netdrop_link_info")), (1, 0));
    let at = links::last_transition(&gone, &watch.port, "removed").unwrap();
    assert!((begin..=now()).contains(&at), "{at}");

    run(&["modprobe", "virtio_net"]);
    assert_eq!(port(), watch.port, "it comes back under its name");
    watch.set_up();
    let back = watch.removed(1.0);
    assert_eq!(count(&back, &watch.port, "admin_down"), Some(0.0));
    assert_eq!(
        links::last_transition(&back, &watch.port, "removed"),
        Some(at)
    );

    let device = bus_device();
    fs::write(format!("{DRIVER}/unbind"), &device).unwrap();
    watch.removed(2.0);
    fs::write(format!("{DRIVER}/bind"), &device).unwrap();
    assert_eq!(port(), watch.port);
    watch.set_up();

    // So fast that no scrape sees it gone.
    fs::write(format!("{DRIVER}/unbind"), &device).unwrap();
    fs::write(format!("{DRIVER}/bind"), &device).unwrap();
    watch.removed(3.0);

    let told = watch.told_of_removals(3);
    let admin_down = |line: &&String| line.starts_with("admin down");
    assert_eq!(told.iter().filter(admin_down).count(), 0, "{told:?}");
}

#[test]
#[ignore = "needs root and modules: run by tests/run.sh kernels"]
fn a_port_that_moves_or_is_set_down_is_not_called_removed() {
    let _room = Room::enter();
    let watch = Watch::begin();
    let container = Namespace::new();
    run(&["ip", "link", "set", &watch.port, "netns", container.name()]);
    let moved = "moved to another network namespace (driver virtio_net, ";
    wait_until("the move is told", SOON, || {
        watch.told().iter().any(|line| line.starts_with(moved))
    });
    let metrics = watch.exporter.scrape();
    assert_eq!(
        count(&metrics, &watch.port, "removed"),
        None,
        "nothing to say"
    );
    // A port returns when its namespace is deleted.
    drop(container);
    assert_eq!(port(), watch.port);
    watch.set_up();
    let metrics = watch.removed(0.0);
    assert_eq!(count(&metrics, &watch.port, "admin_down"), Some(0.0));

    run(&["ip", "link", "set", &watch.port, "down"]);
    let is_down = |metrics: &Metrics| count(metrics, &watch.port, "admin_down") == Some(1.0);
    wait_until("it was set down", SOON, || {
        is_down(&watch.exporter.scrape())
    });
    std::thread::sleep(Duration::from_secs(1));
    let device = bus_device();
    fs::write(format!("{DRIVER}/unbind"), &device).unwrap();
    watch.removed(1.0);
    fs::write(format!("{DRIVER}/bind"), &device).unwrap();
    let told = watch.told_of_removals(1);
    let lines = told.iter().filter_map(|line| line.split_once(" ("));
    let lines: Vec<_> = lines
        .map(|(what, _)| what)
        .filter(|what| !what.contains("up"))
        .collect();
    assert_eq!(
        lines,
        [
            "moved to another network namespace",
            "admin down",
            "removed"
        ],
        "{told:?}"
    );
}

#[test]
#[ignore = "needs root and modules: run by tests/run.sh kernels"]
fn a_member_that_its_bond_releases_was_set_down_and_a_bond_that_is_deleted_removed() {
    let _room = Room::enter();
    let watch = Watch::begin();
    let link =
        |words: &str| run(&[&["ip", "link"], &words.split(' ').collect::<Vec<_>>()[..]].concat());
    let port = &watch.port;
    link("add bond7 type bond mode active-backup miimon 20");
    link(&format!("set {port} down"));
    link(&format!("set {port} master bond7"));
    link("set bond7 up");
    // The bond closes it, and nothing follows.
    link(&format!("set {port} nomaster"));
    wait_until("it was set down twice", SOON, || {
        count(&watch.exporter.scrape(), port, "admin_down") == Some(2.0)
    });
    assert_eq!(
        count(&watch.exporter.scrape(), "bond7", "removed"),
        Some(0.0)
    );
    link("del bond7");
    wait_until("the bond was removed", SOON, || {
        count(&watch.exporter.scrape(), "bond7", "removed") == Some(1.0)
    });
    assert_eq!(count(&watch.exporter.scrape(), port, "removed"), Some(0.0));
}
