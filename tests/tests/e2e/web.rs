//! The web configuration as sites use it: curl, openssl and Prometheus, over mutual TLS, with files that rotate.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use netdrop_tests::pki::Authority;
use netdrop_tests::prometheus::{Prometheus, Setup, Target};
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Room, wait_until};
use tempfile::TempDir;

/// `secret`, by bcrypt with the usual cost.
const USERS: &str = "basic_auth_users:
  prometheus: $2b$10$m.hWtnjkm7GBluLKWEJZHu2TZW7EdW9dsljxtFDOrjOSultIcnSky\n";

const TLS: &str = "tls_server_config:
  cert_file: server.pem
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans: [prometheus.example]\n";

/// The bound on memory with TLS.
const LIMIT_KIB: u64 = 12 * 1024;

/// A directory as Kubernetes mounts a secret: each file is a link to `..data/FILE`, and `..data` one to a directory
/// that the next version replaces.
struct Mount {
    directory: TempDir,
    authority: Authority,
    version: u32,
}

impl Mount {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let mut mount = Self {
            directory,
            authority: Authority::new(),
            version: 0,
        };
        mount.publish(|_| {});
        let files = [
            "server.pem",
            "server.key",
            "client.pem",
            "client.key",
            "ca.pem",
            "web.yml",
        ];
        for file in files {
            symlink(Path::new("..data").join(file), mount.path(file)).unwrap();
        }
        mount
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes the next version, with new certificates, and puts it in place.
    fn publish(&mut self, change: impl FnOnce(&Path)) {
        self.version += 1;
        let name = format!("..{}", self.version);
        let next = self.path(&name);
        fs::create_dir(&next).unwrap();
        self.authority.issue(&next, "server", "localhost");
        self.authority.issue(&next, "client", "prometheus.example");
        fs::write(next.join("ca.pem"), &self.authority.pem).unwrap();
        fs::write(next.join("web.yml"), format!("{TLS}{USERS}")).unwrap();
        change(&next);
        symlink(&name, self.path("..data_tmp")).unwrap();
        fs::rename(self.path("..data_tmp"), self.path("..data")).unwrap();
    }

    /// curl(1) as a client with a certificate; what it prints is the status.
    fn curl(&self, exporter: &Exporter, path: &str, more: &[&str]) -> Output {
        let port = exporter.address().port();
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--output", "/dev/null"])
            .args([
                "--write-out",
                "%{http_code}\n",
                "--max-time",
                "60",
                "--cacert",
            ])
            .arg(self.path("ca.pem"))
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
            .args(more)
            .arg(format!("https://localhost:{port}{path}"));
        command.output().unwrap()
    }

    fn status(&self, exporter: &Exporter, path: &str, password: &str) -> String {
        let [cert, key] = ["client.pem", "client.key"].map(|f| self.path(f).display().to_string());
        let user = format!("prometheus:{password}");
        let output = self.curl(
            exporter,
            path,
            &["--cert", &cert, "--key", &key, "--user", &user],
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// What openssl(1) says of a handshake.
    fn s_client(&self, exporter: &Exporter, options: &[&str]) -> Output {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-connect", &exporter.address().to_string()])
            .args(["-verify_return_error", "-brief", "-CAfile"])
            .arg(self.path("ca.pem"))
            .arg("-cert")
            .arg(self.path("client.pem"))
            .arg("-key")
            .arg(self.path("client.key"))
            .args(options)
            .stdin(std::process::Stdio::null());
        command.output().unwrap()
    }
}

fn start(config: &Path) -> Exporter {
    Exporter::launch()
        .as_nobody_with(&["bpf", "perfmon", "syslog"])
        .arguments(&[&format!("--web.config.file={}", config.display())])
        .start()
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn prometheus_scrapes_over_mutual_tls_while_everything_rotates() {
    let _room = Room::enter();
    let mut mount = Mount::new();
    let exporter = start(&mount.path("web.yml"));
    // Who may, and who may not.
    assert_eq!(mount.status(&exporter, "/metrics", "secret"), "200");
    assert_eq!(mount.status(&exporter, "/metrics", "wrong"), "401");
    assert_eq!(mount.status(&exporter, "/-/ready", "wrong"), "200");
    let stranger = mount.curl(&exporter, "/-/ready", &[]);
    assert!(
        !stranger.status.success(),
        "without a certificate: {stranger:?}"
    );
    for (options, suite) in [
        (&["-tls1_3"][..], Some("TLS_")),
        (&["-tls1_2"], Some("ECDHE-ECDSA-AES")),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
            Some("CHACHA20"),
        ),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"], None),
        (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], None),
    ] {
        let output = mount.s_client(&exporter, options);
        let says = String::from_utf8_lossy(&output.stderr).into_owned();
        let has = |words: &str| says.contains(words);
        let agreed = has("CONNECTION ESTABLISHED") && suite.is_some_and(has);
        assert_eq!(agreed, suite.is_some(), "{options:?}: {says}");
    }
    // 100 scrapes by one connection, and as many by others.
    let scrapes = mount.status(&exporter, "/metrics?n=[1-100]", "secret");
    assert_eq!(
        scrapes.lines().filter(|&line| line == "200").count(),
        100,
        "{scrapes}"
    );
    let kib = exporter.resident_kib();
    println!(
        "{:.1} MiB resident after 100 scrapes over TLS",
        kib as f64 / 1024.0
    );
    assert!(kib < LIMIT_KIB, "{kib} KiB");

    let connect = format!(
        "  scheme: https\n  basic_auth: {{username: prometheus, password: secret}}\n  tls_config: {{ca_file: {}, \
         cert_file: {}, key_file: {}, server_name: localhost}}",
        mount.path("ca.pem").display(),
        mount.path("client.pem").display(),
        mount.path("client.key").display()
    );
    let prometheus = Prometheus::start(&Setup {
        targets: vec![Target {
            job: "netdrop",
            address: exporter.address(),
            instance: None,
        }],
        connect: Some(&connect),
        ..Setup::default()
    });
    let scrapes = || prometheus.value("sum_over_time(up[1h])").unwrap_or(0.0);
    let scrape_twice = || {
        let before = scrapes();
        wait_until("two more scrapes succeed", SOON, || {
            scrapes() >= before + 2.0
        });
    };
    scrape_twice();
    mount.publish(|_| {});
    scrape_twice();
    let good = format!("{TLS}{USERS}");
    mount.publish(|next| {
        fs::write(next.join("web.yml"), good.replace("cert_file", "cert_fil")).unwrap();
    });
    wait_until("the log says what is wrong", SOON, || {
        exporter.log().contains("line 2: unknown key \"cert_fil\"")
    });
    scrape_twice();
    mount.publish(|_| {});
    scrape_twice();
    // The certificate is the newest, for whoever trusts no other.
    let newest = mount.path("server.pem").display().to_string();
    wait_until("the newest certificate is served", SOON, || {
        let output = mount.s_client(&exporter, &["-CAfile", &newest, "-partial_chain"]);
        String::from_utf8_lossy(&output.stderr).contains("CONNECTION ESTABLISHED")
    });
    assert_eq!(prometheus.value("min_over_time(up[1h])"), Some(1.0));
    exporter.complained_once(&["web.yml", "cert_fil", "what was read before stays in force"]);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn files_outside_of_the_directories_of_the_start_are_refused() {
    let _room = Room::enter();
    let mount = Mount::new();
    let versions = tempfile::tempdir().unwrap();
    fs::set_permissions(versions.path(), Permissions::from_mode(0o755)).unwrap();
    let current = versions.path().join("current");
    for version in ["one", "two"] {
        let directory = versions.path().join(version);
        fs::create_dir(&directory).unwrap();
        mount.authority.issue(&directory, "server", "localhost");
    }
    let switch_to = |version: &str| {
        let next = versions.path().join("next");
        symlink(version, &next).unwrap();
        fs::rename(next, &current).unwrap();
    };
    switch_to("one");
    let config = mount.path("own.yml");
    let text = format!(
        "tls_server_config:\n  cert_file: {0}/server.pem\n  key_file: {0}/server.key\n",
        current.display()
    );
    fs::write(&config, text).unwrap();
    let exporter = start(&config);
    let is_confined = !exporter.log().contains("file accesses are not confined");
    let status = || {
        let output = mount.curl(&exporter, "/-/ready", &[]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(status(), "200");
    switch_to("two");
    wait_until("the exporter has seen the new directory", SOON, || {
        assert_eq!(status(), "200");
        exporter.log().contains("ermission denied") || !is_confined
    });
    if is_confined {
        exporter.complained_once(&["restart the exporter", "stays in force"]);
    }
    let ended = exporter.stop();
    assert_eq!(ended.code, Some(0));
}
