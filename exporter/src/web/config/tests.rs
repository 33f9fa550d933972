//! Which files are taken, and what becomes of those that change.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;
use tokio::time::advance;

use super::super::tests::certificates::{Authority, Leaf};
use super::*;

/// A directory with a certificate, its key and a CA.
struct Files {
    directory: TempDir,
    leaf: Leaf,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::new();
        let leaf = authority.leaf(&["localhost"]);
        let files = Self { directory, leaf };
        files.write("cert.pem", &files.leaf.cert);
        files.write("key.pem", &files.leaf.key);
        files.write("ca.pem", &authority.cert());
        files.write("junk.pem", "junk");
        files
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn load(&self, text: &str) -> anyhow::Result<WebConfig> {
        self.write("web.yml", text);
        WebConfig::load(Some(&self.path("web.yml")))
    }

    fn refused(&self, text: &str) -> String {
        let error = self.load(text).err();
        one_line(&error.unwrap_or_else(|| panic!("it is taken: {text}")))
    }
}

/// TLS with these lines, each below `tls_server_config`.
fn tls(lines: &str) -> String {
    let lines = lines.replace('\n', "\n  ");
    format!("tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n  {lines}\n")
}

const HASH: &str = "$2y$04$7EqJtq98hPqEX7fNZaFWoOhi5uQGcgC5pcRSx9N6ZOZ4HXL/9Bs3u";

#[test]
fn what_the_format_allows_is_taken() {
    let files = Files::new();
    let inline = |key: &str, text: &str| {
        format!(
            "  {key}: |\n    {}\n",
            text.trim_end().replace('\n', "\n    ")
        )
    };
    let inline = format!(
        "tls_server_config:\n{}{}",
        inline("cert", &files.leaf.cert),
        inline("key", &files.leaf.key)
    );
    let ca = "client_ca_file: ca.pem\nclient_auth_type:";
    for text in [
        "",
        "# nothing\n",
        "tls_server_config:\nhttp_server_config:\nrate_limit:\nbasic_auth_users:\n",
        "tls_server_config: {}\nbasic_auth_users: {}\n",
        &inline,
        &tls(""),
        &tls("client_auth_type: NoClientCert"),
        &tls("client_auth_type: RequestClientCert"),
        &tls("client_auth_type: RequireAnyClientCert"),
        &tls("client_auth_type: RequireClientCert"),
        &tls(&format!("{ca} VerifyClientCertIfGiven")),
        &tls(&format!("{ca} RequireAndVerifyClientCert")),
        &tls("client_auth_type: RequireAnyClientCert\nclient_allowed_sans: [a, 192.0.2.1]"),
        &tls("min_version: TLS10\nmax_version: TLS12"),
        &tls("min_version: TLS13\nmax_version: TLS13"),
        &tls(
            "cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]",
        ),
        &tls("cipher_suites: [TLS_AES_128_GCM_SHA256]\nprefer_server_cipher_suites: false"),
        &tls("cipher_suites: []\ncurve_preferences: []"),
        &tls("curve_preferences: [CurveP521, X25519MLKEM768, CurveP256, CurveP384, X25519]"),
        "http_server_config:\n  http2: false\n",
        "http_server_config:\n  http2: true\n  headers:\n    X-Frame-Options: deny\n    \
         X-Content-Type-Options: nosniff\n    X-XSS-Protection: '1'\n    Strict-Transport-Security: \
         max-age=1\n    Content-Security-Policy: ''\n",
        "rate_limit: {interval: 0, burst: 0}\n",
        "rate_limit: {interval: 1m30.5s, burst: 3}\n",
        "rate_limit: {interval: 100ms, burst: 1}\n",
        &format!(
            "basic_auth_users:\n  alice: {HASH}\n  bob: {}\n",
            HASH.replace("2y", "2b")
        ),
    ] {
        if let Err(e) = files.load(text) {
            panic!("{}: {text}", one_line(&e));
        }
    }
}

#[test]
fn what_would_have_no_effect_or_a_wrong_one_is_refused_with_its_line() {
    let files = Files::new();
    let path = files.path("web.yml");
    for (text, why) in [
        ("junk", "line 1: keys with values are expected here"),
        ("tls_server_config: [", "line 2: "),
        (
            "tls_server_confg: {}\n",
            "line 1: unknown key \"tls_server_confg\"",
        ),
        (&tls("cert_fil: x"), "line 4: unknown key \"cert_fil\""),
        (
            &tls("key_file: key.pem"),
            "line 4: \"key_file\" is already on line 3",
        ),
        (
            "tls_server_config:\n  key_file: x\n",
            "line 2: missing one of cert or cert_file",
        ),
        (
            "tls_server_config:\n  cert_file: ''\n  key_file: x\n",
            "line 2: missing one of cert",
        ),
        (
            "tls_server_config:\n  cert_file: x\n",
            "line 2: missing one of key or key_file",
        ),
        (
            "tls_server_config:\n  min_version: TLS12\n",
            "line 2: missing one of cert or cert_file",
        ),
        (
            &tls("cert: x"),
            "line 2: cert and cert_file exclude each other",
        ),
        (
            &tls("key: x"),
            "line 3: key and key_file exclude each other",
        ),
        (
            &tls("client_auth_type: Sometimes"),
            "line 4: invalid client_auth_type \"Sometimes\"",
        ),
        (
            &tls("client_ca_file: ca.pem"),
            "line 2: a client CA without client_auth_type",
        ),
        (
            &tls("client_ca_file: ca.pem\nclient_auth_type: RequireAnyClientCert"),
            "line 2: a client CA that this client_auth_type does not use",
        ),
        (
            &tls("client_auth_type: RequireAndVerifyClientCert"),
            "line 2: client certificates cannot be verified: missing one of client_ca",
        ),
        (
            &tls("client_ca_file: junk.pem\nclient_auth_type: RequireAndVerifyClientCert"),
            "client CA: no certificate in PEM",
        ),
        (
            &tls("client_ca_file: none.pem\nclient_auth_type: RequireAndVerifyClientCert"),
            "none.pem: No such file",
        ),
        (
            &tls(
                "client_auth_type: VerifyClientCertIfGiven\nclient_ca_file: ca.pem\nclient_allowed_sans: [a]",
            ),
            "line 2: client_allowed_sans needs client_auth_type",
        ),
        (
            &tls("client_allowed_sans: []"),
            "line 4: client_allowed_sans is empty",
        ),
        (
            &tls("min_version: TLS14"),
            "line 4: unknown TLS version \"TLS14\"",
        ),
        (
            &tls("max_version: TLS11"),
            "line 4: min_version and max_version leave no version",
        ),
        (
            &tls("min_version: TLS13\nmax_version: TLS12"),
            "line 5: min_version and max_version leave no version",
        ),
        (
            &tls("cipher_suites: [TLS_FANCY]"),
            "line 4: unknown cipher suite \"TLS_FANCY\"",
        ),
        (
            &tls("cipher_suites:\n- TLS_RSA_WITH_AES_128_CBC_SHA"),
            "line 5: none of the cipher_suites is supported",
        ),
        (
            &tls("max_version: TLS12\ncipher_suites: [TLS_AES_128_GCM_SHA256]"),
            "cipher_suites: none of them is for a version",
        ),
        (
            &tls("curve_preferences: [CurveP25]"),
            "line 4: unknown curve \"CurveP25\"",
        ),
        (
            &tls("curve_preferences: [CurveP521]"),
            "line 4: none of the curve_preferences",
        ),
        (
            &tls("prefer_server_cipher_suites: maybe"),
            "line 4: \"maybe\" is neither",
        ),
        (
            &tls("cipher_suites: TLS_AES_128_GCM_SHA256"),
            "line 4: a list is expected here",
        ),
        (
            "tls_server_config:\n  cert_file: x\n  key_file: key.pem\n",
            "cert_file",
        ),
        (
            "tls_server_config:\n  cert_file: cert.pem\n  key_file: x\n",
            "No such file",
        ),
        (
            "tls_server_config:\n  cert_file: .\n  key_file: key.pem\n",
            "not a file",
        ),
        (
            "tls_server_config:\n  cert_file: junk.pem\n  key_file: key.pem\n",
            "no certificate",
        ),
        (
            "tls_server_config:\n  cert_file: cert.pem\n  key_file: junk.pem\n",
            "no private key",
        ),
        (
            "http_server_config:\n  http2: 2\n",
            "line 2: \"2\" is neither true nor false",
        ),
        (
            "http_server_config:\n  http3: true\n",
            "line 2: unknown key \"http3\"",
        ),
        (
            "http_server_config:\n  headers:\n    X-Other: a\n",
            "line 3: HTTP header \"X-Other\" cannot be configured",
        ),
        (
            "http_server_config:\n  headers:\n    X-Frame-Options: allow\n",
            "line 3: invalid value for X-Frame-Options",
        ),
        (
            "http_server_config:\n  headers:\n    X-XSS-Protection: \"a\\nb\"\n",
            "line 3: invalid value for X-XSS-Protection",
        ),
        (
            "rate_limit:\n  interval: 1\n  burst: 1\n",
            "line 2: \"1\" is not a duration",
        ),
        (
            "rate_limit:\n  interval: -1s\n",
            "line 2: \"-1s\" is not a duration",
        ),
        ("rate_limit:\n  interval: 1s\n", "line 2: without a burst"),
        (
            "rate_limit:\n  burst: 1\n",
            "line 2: burst needs an interval",
        ),
        (
            "rate_limit:\n  interval: 1s\n  burst: -1\n",
            "line 3: burst \"-1\"",
        ),
        (
            "basic_auth_users:\n  alice: secret\n",
            "line 2: the password of \"alice\"",
        ),
        (
            "basic_auth_users:\n  alice:\n",
            "line 2: the password of \"alice\"",
        ),
        (
            "basic_auth_users:\n  'a:b': x\n",
            "line 2: the user name \"a:b\" has a colon",
        ),
        (
            "basic_auth_users: [alice]\n",
            "line 1: keys with values are expected here",
        ),
    ] {
        let error = files.refused(text);
        let begin = format!("web configuration {}: ", path.display());
        assert!(
            error.starts_with(&begin) && error.contains(why),
            "{error}\nof {text}"
        );
        assert!(!error.contains("secret"), "{error}");
    }
    let absent = WebConfig::load(Some(&files.path("absent.yml")))
        .err()
        .expect("an error");
    assert!(one_line(&absent).contains("No such file"));
}

#[tokio::test(start_paused = true)]
async fn files_are_read_again_when_they_have_changed_and_broken_ones_change_nothing() {
    let files = Files::new();
    let config = files.load(&tls("")).expect("good files");
    let generation = || config.current().generation;
    advance(LOOK).await;
    assert_eq!(generation(), 0);

    // A key that does not fit, and then the certificate that it belongs to.
    let other = Authority::new().leaf(&["localhost"]);
    files.write("key.pem", &other.key);
    assert_eq!(generation(), 0, "it looks once a second at most");
    advance(LOOK).await;
    assert_eq!(generation(), 0, "the old one stays in force");
    files.write("cert.pem", &other.cert);
    advance(LOOK).await;
    assert_eq!(generation(), 1);

    // Nothing else may take TLS away.
    for broken in ["", "junk", "tls_server_config:\n", &tls("cert_fil: x")] {
        files.write("web.yml", broken);
        advance(LOOK).await;
        assert!(config.current().tls.is_some(), "{broken}");
        assert_eq!(generation(), 1, "{broken}");
    }
    // The files that a broken one does not name are watched on, and what it names when it is mended.
    files.write(
        "web.yml",
        &format!("{}basic_auth_users: {{a: {HASH}}}\n", tls("")),
    );
    advance(LOOK).await;
    assert_eq!(generation(), 2);
    assert!(config.current().users.is_some());
    files.write("web.yml", &tls(""));
    advance(LOOK).await;
    assert_eq!(generation(), 2, "passwords stay required");
    assert!(config.reload());
    assert_eq!(generation(), 2);
    files.write(
        "web.yml",
        &format!("{}basic_auth_users: {{b: {HASH}}}\n", tls("")),
    );
    assert!(config.reload());
    assert_eq!(generation(), 3, "without a look");
    assert!(!WebConfig::load(None).expect("no file").reload());
}

#[tokio::test(start_paused = true)]
async fn broken_files_are_read_once_until_they_change() {
    let files = Files::new();
    let config = files.load(&tls("")).expect("good files");
    let is_due = || config.lock().prints.iter().any(Print::has_changed);
    assert!(!is_due());
    // All at once, as a mounted secret changes.
    for broken in ["junk", &tls("cert_fil: x"), &tls("max_version: TLS11")] {
        files.write("cert.pem", "junk");
        files.write("web.yml", broken);
        assert!(is_due(), "{broken}");
        advance(LOOK).await;
        assert_eq!(config.current().generation, 0);
        assert!(!is_due(), "{broken}");
        files.write("cert.pem", &files.leaf.cert);
        assert!(is_due(), "{broken}");
    }
}

#[test]
fn directories_are_those_named_and_those_behind_links() {
    let files = Files::new();
    // As certbot has it.
    let [live, archive] = ["live", "archive"].map(|name| files.path(name));
    for directory in [&live, &archive] {
        fs::create_dir(directory).expect("a directory");
    }
    fs::rename(files.path("cert.pem"), archive.join("cert1.pem")).expect("a file");
    symlink("../archive/cert1.pem", live.join("cert.pem")).expect("a link");
    let text = "tls_server_config:\n  cert_file: live/cert.pem\n  key_file: key.pem\n";
    files.write("web.yml", text);
    let own = files.directory.path();
    let mut directories = directories(&files.path("web.yml"));
    directories.sort();
    directories.dedup();
    assert_eq!(directories, [own, &archive, &live]);
    assert_eq!(super::directories(Path::new("web.yml")), [Path::new(".")]);
    let broken = super::directories(&files.path("key.pem"));
    assert!(
        broken.iter().all(|directory| directory == own),
        "{broken:?}"
    );
}
