//! A drop is named after what its device was called when it happened, whatever became of the device since.

use std::cell::Cell;

use netdrop_tests::netns::{Veth, mortal_veth, rename};
use netdrop_tests::{Exporter, Flood, Metrics, Namespace, Room, Watched, Witness, send};

const DROPPED: &str = "netdrop_dropped_packets_total";

/// A host with an exporter, and the namespace that sends into it.
struct Scene {
    watched: Watched,
    peer: Namespace,
    witness: Witness,
    sent: Cell<u64>,
}

impl Scene {
    fn new(flags: &[&str]) -> Self {
        let launch = Exporter::launch().arguments(flags);
        Self {
            watched: Watched::launch(Namespace::new(), launch),
            peer: Namespace::new(),
            witness: Witness::of_protocol(send::ETHERTYPE),
            sent: Cell::new(0),
        }
    }

    /// A pair from `device` of the host to `far` of the peer; it ends with the namespaces.
    fn connect(&self, device: &str, far: &str) {
        mortal_veth(&self.watched.host, device, &self.peer, far);
    }

    fn rename(&self, device: &str, name: &str) {
        rename(&self.watched.host, device, name);
    }

    fn delete(&self, device: &str) {
        self.watched.host.ip(&["link", "del", "dev", device]);
    }

    /// Drops frames at the device whose far end is `far`, and waits until they are gone.
    fn drop_at_peer_of(&self, far: &str, frames: u64) {
        self.peer.enter(|| Flood::over(far, frames).send());
        self.sent.set(self.sent.get() + frames);
        self.witness.expect(self.sent.get());
    }

    /// Does something between two drains.
    fn between_drains(&self, work: impl FnOnce()) {
        let _paused = self.watched.exporter.pause();
        work();
    }

    /// Asserts that these devices have exactly these packets, and no other device has any.
    fn assert_counts(&self, expected: &[(&str, u64)]) -> Metrics {
        let metrics = self.watched.exporter.scrape();
        let reason = self.witness.only_kind().reason;
        let reason = ("reason", reason.as_str());
        for &(device, packets) in expected {
            let labels = [reason, ("device", device), ("netns", "host")];
            let counted = metrics.value(DROPPED, &labels);
            assert_eq!(counted, Some(packets as f64), "{device}");
        }
        let all: u64 = expected.iter().map(|(_, packets)| packets).sum();
        assert_eq!(all, self.sent.get(), "the test's own sum");
        let counted = metrics.sum(DROPPED, &[reason, ("netns", "host")]);
        assert_eq!(counted, all as f64);
        metrics
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_device_renamed_between_two_drains_has_its_own_under_each_name() {
    let _room = Room::enter();
    let scene = Scene::new(&[]);
    // As long as a name can be, and one that the other begins with.
    let names = ["port", "port-of-15-byte", "p"];
    scene.connect(names[0], "far");
    scene.between_drains(|| {
        scene.drop_at_peer_of("far", 110);
        scene.rename(names[0], names[1]);
        scene.drop_at_peer_of("far", 220);
        scene.rename(names[1], names[2]);
        scene.drop_at_peer_of("far", 330);
        // And back again, so that the name is not one that the kernel has just cleared the memory for.
        scene.rename(names[2], names[0]);
        scene.drop_at_peer_of("far", 440);
    });
    scene.assert_counts(&[(names[0], 550), (names[1], 220), (names[2], 330)]);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn two_devices_that_change_names_between_two_drains_are_not_mixed_up() {
    let _room = Room::enter();
    let scene = Scene::new(&[]);
    scene.connect("left", "far-left");
    scene.connect("right", "far-right");
    scene.between_drains(|| {
        scene.drop_at_peer_of("far-left", 100);
        scene.drop_at_peer_of("far-right", 20);
        scene.rename("left", "between");
        scene.rename("right", "left");
        scene.rename("between", "right");
        scene.drop_at_peer_of("far-left", 700);
        scene.drop_at_peer_of("far-right", 400);
    });
    scene.assert_counts(&[("left", 500), ("right", 720)]);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_device_deleted_and_created_again_goes_on_with_its_series() {
    let _room = Room::enter();
    let scene = Scene::new(&[]);
    scene.connect("phoenix", "far");
    scene.drop_at_peer_of("far", 70);
    scene.assert_counts(&[("phoenix", 70)]);

    scene.delete("phoenix");
    // Gone, but served: twice, for the first drain without the device is the one that begins its five minutes.
    scene.assert_counts(&[("phoenix", 70)]);
    scene.assert_counts(&[("phoenix", 70)]);

    scene.connect("phoenix", "far");
    scene.drop_at_peer_of("far", 8);
    scene.assert_counts(&[("phoenix", 78)]);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn devices_that_live_and_die_between_two_drains_are_named() {
    let _room = Room::enter();
    let scene = Scene::new(&[]);
    scene.between_drains(|| {
        // Another one takes its place, and its name's length.
        for (device, frames) in [("mayfly", 90), ("midget", 7)] {
            scene.connect(device, "far");
            scene.drop_at_peer_of("far", frames);
            scene.delete(device);
        }
        // And another one takes the other's number.
        for (device, frames) in [("first", 31), ("second", 17)] {
            let _veth = Veth::named(&scene.watched.host, device, &scene.peer, "far", Some(4099));
            scene.drop_at_peer_of("far", frames);
        }
    });
    scene.assert_counts(&[("mayfly", 90), ("midget", 7), ("first", 31), ("second", 17)]);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn devices_that_are_not_to_be_shown_are_counted_as_other() {
    let _room = Room::enter();
    for flag in [
        "--collector.link.device-include=seen.*",
        "--collector.link.device-exclude=hidden.*|unseen",
    ] {
        let scene = Scene::new(&[flag]);
        for (device, frames) in [
            ("seen0", 1),
            ("hidden0", 20),
            ("hidden1", 300),
            ("unseen", 400),
        ] {
            scene.connect(device, &format!("far-{device}"));
            scene.drop_at_peer_of(&format!("far-{device}"), frames);
        }
        // The filter asks for the name at the time of the drop.
        scene.rename("hidden1", "seen1");
        scene.drop_at_peer_of("far-hidden1", 500);

        let metrics = scene.assert_counts(&[("seen0", 1), ("other", 720), ("seen1", 500)]);
        assert_eq!(metrics.series(DROPPED, &[("device", "hidden0")]).count(), 0);
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn names_that_differ_only_in_bytes_that_are_not_utf8_stay_apart() {
    let _room = Room::enter();
    let scene = Scene::new(&[r"--collector.link.device-exclude=l2tp-\xbb.*"]);
    // In GBK, as printf(1) takes them.
    for (far, name, frames) in [
        ("far-a", r"l2tp-\271\372", 100),
        ("far-b", r"l2tp-\272\350", 20),
        ("far-c", r"l2tp-\273\350", 3),
    ] {
        scene.connect("port", far);
        let rename = r#"ip link set dev port name "$(printf "$1")""#;
        scene
            .watched
            .host
            .exec(&["sh", "-c", rename, "rename", name]);
        scene.drop_at_peer_of(far, frames);
    }
    let shown = [(r"l2tp-\xb9\xfa", 100), (r"l2tp-\xba\xe8", 20)];
    let metrics = scene.assert_counts(&[shown[0], shown[1], ("other", 3)]);
    for (device, _) in shown {
        let carrier = metrics.value("netdrop_link_carrier", &[("device", device)]);
        assert_eq!(carrier, Some(1.0), "{device}");
    }
}
