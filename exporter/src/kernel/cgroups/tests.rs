//! Paths as real systems have them, and paths that nobody should have.

use super::*;

const ID: &str = "3f4d0c6bd7a1c4d8e6c1b0f2a9e8d7c6b5a4938271605f4e3d2c1b0a99887766";
const UID: &str = "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0";

/// `ID`, `UID` and `U_I_D` stand for an id, a pod's uid, and that with underscores.
fn of(path: &str) -> Option<Workload> {
    let path = path
        .replace("U_I_D", &UID.replace('-', "_"))
        .replace("UID", UID)
        .replace("ID", ID);
    Workload::of_cgroup(path.as_bytes())
}

#[test]
fn a_systemd_unit_is_a_service() {
    for (path, unit) in [
        ("/system.slice/nginx.service", "nginx.service"),
        (
            "/system.slice/system-getty.slice/getty@tty1.service",
            "getty@tty1.service",
        ),
        (
            "/system.slice/system-postgresql.slice/postgresql@15-main.service",
            "postgresql@15-main.service",
        ),
        // A socket of a unit that is started by it.
        ("/system.slice/sshd.socket", "sshd.socket"),
        ("/init.scope", "init.scope"),
        (
            "/user.slice/user-1000.slice/session-3.scope",
            "session-3.scope",
        ),
        (
            "/user.slice/user-0.slice/session-c1.scope",
            "session-c1.scope",
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/init.scope",
            "user@1000.service",
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-42.scope",
            "user@1000.service",
        ),
        // Cgroups of the unit's own.
        (
            "/system.slice/systemd-udevd.service/udev",
            "systemd-udevd.service",
        ),
        ("/system.slice/docker.service/a/b.service", "docker.service"),
        (
            "/system.slice/dev-disk-by\\x2duuid-1.swap",
            "dev-disk-by\\x2duuid-1.swap",
        ),
        (
            "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator",
            "machine-qemu\\x2d1\\x2dvm.scope",
        ),
        // What only watches containers.
        (
            "/machine.slice/libpod-conmon-x.scope",
            "libpod-conmon-x.scope",
        ),
        // Processes that sit in a slice.
        ("/system.slice", "system.slice"),
        ("/user.slice/user-1000.slice", "user-1000.slice"),
    ] {
        let found = of(path).expect(path);
        let expected = Workload {
            kind: Kind::Service,
            name: unit.to_owned(),
            unit: unit.to_owned(),
            ..Workload::other_texts()
        };
        assert_eq!(found, expected, "{path}");
    }
}

#[test]
fn a_container_is_called_by_twelve_digits_and_knows_its_runtime() {
    let scope = |prefix: &str| format!("{prefix}-{ID}.scope");
    for (path, runtime, unit) in [
        // Docker, with the cgroupfs and with the systemd driver.
        ("/docker/ID", "docker", String::new()),
        ("/system.slice/docker-ID.scope", "docker", scope("docker")),
        (
            "/batch.slice/batch-night.slice/docker-ID.scope",
            "docker",
            scope("docker"),
        ),
        // Cgroups below its own, also of a systemd and of a Docker in it.
        ("/docker/ID/init.scope", "docker", "init.scope".to_owned()),
        (
            "/system.slice/docker-ID.scope/system.slice/nginx.service",
            "docker",
            scope("docker"),
        ),
        (
            "/docker/ID/docker/ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "docker",
            String::new(),
        ),
        (
            "/ecs/0123456789abcdef0123456789abcdef/ID",
            "",
            String::new(),
        ),
        // containerd's own tools.
        ("/default/ID", "containerd", String::new()),
        (
            "/system.slice/nerdctl-ID.scope",
            "containerd",
            scope("nerdctl"),
        ),
        // Podman: root, in a pod, rootless, cgroupfs, in a unit of its own (Quadlet).
        (
            "/machine.slice/libpod-ID.scope/container",
            "podman",
            scope("libpod"),
        ),
        (
            "/machine.slice/machine-libpod_pod_ID.slice/libpod-ID.scope",
            "podman",
            scope("libpod"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
            "podman",
            "user@1000.service".to_owned(),
        ),
        ("/libpod_parent/libpod-ID", "podman", String::new()),
        (
            "/system.slice/web.service/libpod-payload-ID",
            "podman",
            "web.service".to_owned(),
        ),
    ] {
        let found = of(path).expect(path);
        let shown = if runtime.is_empty() {
            ID.to_owned()
        } else {
            format!("{runtime}://{ID}")
        };
        let expected = Workload {
            kind: Kind::Container,
            name: ID[..12].to_owned(),
            unit: shortened(unit),
            container_id: shown,
            runtime,
            ..Workload::other_texts()
        };
        assert_eq!(found, expected, "{path}");
    }
}

#[test]
fn a_container_of_a_pod_has_both_ids_as_kube_state_metrics_writes_them() {
    for (path, runtime) in [
        // The systemd driver: guaranteed, burstable, best effort.
        (
            "/kubepods.slice/kubepods-podU_I_D.slice/cri-containerd-ID.scope",
            "containerd",
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_I_D.slice/cri-containerd-ID.scope",
            "containerd",
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_I_D.slice/crio-ID.scope",
            "cri-o",
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_I_D.slice/docker-ID.scope",
            "docker",
        ),
        // The cgroupfs driver.
        ("/kubepods/podUID/ID", "containerd"),
        ("/kubepods/burstable/podUID/ID", "containerd"),
        ("/kubepods/besteffort/podUID/crio-ID", "cri-o"),
        // Below a root of its own (--cgroup-root), and in a container (kind).
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_I_D.slice/cri-containerd-ID.scope",
            "containerd",
        ),
        (
            "/system.slice/docker-ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff.scope/kubelet.slice/\
             kubelet-kubepods.slice/kubelet-kubepods-podU_I_D.slice/cri-containerd-ID.scope",
            "containerd",
        ),
        // containerd with a driver that is not the kubelet's.
        (
            "/system.slice/containerd.service/kubepods-burstable-podU_I_D.slice:cri-containerd:ID",
            "containerd",
        ),
        (
            "/kubepods-besteffort-podU_I_D.slice:cri-containerd:ID",
            "containerd",
        ),
        // A cgroup below, and a Docker in a pod.
        ("/kubepods/burstable/podUID/ID/app/worker", "containerd"),
        (
            "/kubepods/podUID/ID/docker/ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "containerd",
        ),
    ] {
        let found = of(path).expect(path);
        assert_eq!(
            (found.kind, &*found.name),
            (Kind::Container, &ID[..12]),
            "{path}"
        );
        assert_eq!(found.container_id, format!("{runtime}://{ID}"), "{path}");
        assert_eq!((&*found.pod_uid, found.runtime), (UID, runtime), "{path}");
        let pod = found.without_container();
        assert_eq!(
            (pod.kind, &*pod.name, &*pod.container_id),
            (Kind::Pod, UID, ""),
            "{path}"
        );
    }
}

#[test]
fn a_pod_without_a_known_container_is_the_pod() {
    const STATIC: &str = "/kubepods/burstable/pod0123456789abcdef0123456789abcdef";
    for path in [
        "/kubepods.slice/kubepods-podU_I_D.slice",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_I_D.slice/crio-conmon-ID.scope",
        "/kubepods/podUID/kata_overhead",
    ] {
        let found = of(path).expect(path);
        assert_eq!(
            (found.kind, &*found.name, &*found.pod_uid),
            (Kind::Pod, UID, UID),
            "{path}"
        );
        assert_eq!(found.container_id, "", "{path}");
    }
    assert_eq!(
        of(STATIC).expect("a static pod").name,
        "0123456789abcdef0123456789abcdef"
    );
    // No pod: not below kubepods, or no uid.
    assert_eq!(of("/podUID").expect("a path").kind, Kind::Other);
    assert_eq!(of("/kubepods/podium").expect("a path").kind, Kind::Other);
    assert_eq!(of("/kubepods.slice").expect("a path").kind, Kind::Service);
}

#[test]
fn machines_and_tasks_are_called_by_their_names() {
    for (path, name, runtime, id) in [
        (
            "/lxc.payload.web/system.slice/nginx.service",
            "web",
            "lxc",
            "lxc://web",
        ),
        ("/lxc.payload/web", "web", "lxc", "lxc://web"),
        ("/lxc/101/ns/init.scope", "101", "lxc", "lxc://101"),
        (
            "/machine.slice/systemd-nspawn@build.service/payload",
            "build",
            "nspawn",
            "nspawn://build",
        ),
        (
            "/machine.slice/machine-a\\x2db.scope/payload",
            "a-b",
            "nspawn",
            "nspawn://a-b",
        ),
        (
            "/nomad.slice/share.slice/UID.web.scope",
            "0b1c2d3e.web",
            "nomad",
            "nomad://0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0.web",
        ),
        (
            "/nomad.slice/UID.a.b.scope",
            "0b1c2d3e.a.b",
            "nomad",
            "nomad://0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0.a.b",
        ),
    ] {
        let found = of(path).expect(path);
        assert_eq!(
            (found.kind, &*found.name),
            (Kind::Container, name),
            "{path}"
        );
        assert_eq!(
            (found.runtime, &*found.container_id),
            (runtime, id),
            "{path}"
        );
    }
    assert_eq!(of("/lxc.monitor.web").expect("a path").kind, Kind::Other);
}

#[test]
fn anything_else_is_called_by_its_last_part() {
    for (path, name) in [
        ("/worker", "worker"),
        ("/a/b/c", "c"),
        ("a/b", "b"),
        ("//a///b//", "b"),
        ("/a b\"c\\d\ne", "a b\"c\\d\ne"),
        ("/docker", "docker"),
        ("/docker/ID0", &*format!("{ID}0")),
        ("/a/other", "/other"),
        // Deeper than what was read of it.
        ("…/y/z", "…/z"),
        ("…", "…"),
    ] {
        let found = of(path).expect(path);
        assert_eq!(
            (found.kind, &*found.name, &*found.unit),
            (Kind::Other, name, ""),
            "{path}"
        );
    }
    let bytes = Workload::of_cgroup(b"/a/\xb9\xfa\\").expect("a path");
    assert_eq!(bytes.name, r"\xb9\xfa\x5c");
    for root in ["", "/", "//"] {
        assert_eq!(of(root), None, "{root:?}");
    }
}

#[test]
fn what_was_cut_off_at_the_front_hides_no_container() {
    let found = of("…/d/e/docker-ID.scope/f").expect("a path");
    assert_eq!((found.kind, &*found.name), (Kind::Container, &ID[..12]));
}

#[test]
fn a_name_is_bounded_and_stays_text() {
    for long in [
        "x".repeat(255),
        "ü".repeat(120),
        format!("{}.service", "s".repeat(200)),
    ] {
        for path in [
            format!("/{long}"),
            format!("/lxc/{long}"),
            format!("/lxc.payload.{long}"),
        ] {
            let found = of(&path).expect("a path");
            for text in [&found.name, &found.unit, &found.container_id] {
                assert!(text.len() <= MAX_NAME + "lxc://".len(), "{text}");
            }
            assert!(found.name.ends_with('…'), "{}", found.name);
        }
    }
    let invalid = [b"/".as_slice(), &[0xff; 255]].concat();
    assert!(Workload::of_cgroup(&invalid).expect("a path").name.len() <= MAX_NAME);
}
