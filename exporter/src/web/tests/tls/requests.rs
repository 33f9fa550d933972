//! What is asked of requests, and what new files change.

use std::sync::OnceLock;

use super::*;

/// `secret`, by the cheapest bcrypt.
fn hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| bcrypt::hash("secret", 4).expect("a hash"))
}

const ALICE: &str = "Authorization: Basic YWxpY2U6c2VjcmV0\r\n";

#[tokio::test]
async fn passwords_headers_and_the_rate_limit_hold_for_all_but_probes() {
    let rest = format!(
        "basic_auth_users:\n  alice: {}\nrate_limit: {{interval: 1h, burst: 4}}\n\
         http_server_config:\n  headers:\n    X-Frame-Options: deny\n",
        hash()
    );
    let scene = Scene::new(&[], &rest).await;
    let wants = Wants::default();
    let get = async |path, headers| scene.get(&wants, path, headers).await.expect("an answer");
    let reply = get("/metrics", "").await;
    assert_eq!(reply.status, 401);
    let challenge = "www-authenticate: basic realm=\"netdrop-exporter\", charset=\"utf-8\"";
    assert!(reply.has(challenge), "{:?}", reply.headers);
    assert!(reply.has("x-frame-options: deny"));
    let wrong = "Authorization: Basic YWxpY2U6d3Jvbmc=\r\n";
    assert_eq!(get("/", wrong).await.status, 401);
    let reply = get("/metrics", ALICE).await;
    assert_eq!(reply.status, 200);
    assert!(reply.has("x-frame-options: deny"));
    // Also what does not exist is told only to users.
    assert_eq!(get("/nowhere", "").await.status, 401);
    let reply = get("/metrics", ALICE).await;
    assert_eq!(reply.status, 429);
    let retry = reply
        .headers
        .iter()
        .find_map(|h| h.strip_prefix("retry-after: "));
    assert!((3500..=3600).contains(&retry.expect("a time").parse().expect("seconds")));
    for path in ["/-/healthy", "/-/ready", "/%2d/ready"] {
        let reply = get(path, "").await;
        assert_eq!(reply.status, 200, "{path}");
        assert!(reply.has("x-frame-options: deny"));
    }
}

#[tokio::test]
async fn new_files_hold_for_new_connections_and_end_old_ones_after_a_request() {
    let scene = Scene::new(&[], "").await;
    let mut old = scene.connect(&Wants::default()).await.expect("a handshake");
    let next = Authority::new().leaf(&["localhost"]);
    scene.write("cert.pem", &next.cert);
    scene.write("key.pem", "broken");
    scene.reload();
    assert_eq!(scene.status(&Wants::default(), "/metrics").await, Ok(200));
    scene.write("key.pem", &next.key);
    scene.reload();
    let error = scene.status(&Wants::default(), "/metrics").await;
    assert!(
        error
            .expect_err("another CA")
            .contains("invalid peer certificate")
    );
    let request = b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n";
    old.write_all(request).await.expect("it is still open");
    let mut bytes = Vec::new();
    let read = timeout(DEADLINE, old.read_to_end(&mut bytes)).await;
    read.expect("an end in time").expect("a reply");
    let reply = Reply::parse(&bytes);
    assert_eq!(reply.status, 200);
    assert!(reply.has("connection: close"), "{:?}", reply.headers);
}

#[tokio::test]
async fn the_health_check_needs_no_client_certificate_of_its_own() {
    let healthcheck = super::super::local::healthcheck;
    let ca = "client_ca_file: ca.pem";
    for (auth, extra) in [
        ("NoClientCert", ""),
        ("RequestClientCert", ""),
        ("RequireAnyClientCert", "client_allowed_sans: [scraper]"),
        ("VerifyClientCertIfGiven", ca),
        ("RequireAndVerifyClientCert", ca),
        (
            "RequireAndVerifyClientCert",
            "client_ca_file: ca.pem\n  max_version: TLS12",
        ),
    ] {
        let users = format!("basic_auth_users: {{alice: {}}}", hash());
        let auth = format!("client_auth_type: {auth}");
        let scene = Scene::new(&[&auth, extra], &users).await;
        let address = scene.server.address.to_string();
        let config = scene.files.path().join("web.yml");
        assert_eq!(
            healthcheck(&address, Some(&config)).await,
            Ok(()),
            "{auth} {extra}"
        );
        // In the middle of a rotation the exporter goes on with what it has read.
        scene.write("key.pem", "broken");
        assert_eq!(
            healthcheck(&address, Some(&config)).await,
            Ok(()),
            "{auth} {extra}"
        );
        scene.server.stop().await;
        assert!(healthcheck(&address, Some(&config)).await.is_err());
    }
    let plain = Running::plain().await;
    let scene = Scene::new(&[], "").await;
    let config = scene.files.path().join("web.yml");
    let error = healthcheck(&plain.address.to_string(), Some(&config)).await;
    error.expect_err("a server without TLS is another one");
    let error = healthcheck(&scene.server.address.to_string(), None).await;
    assert!(error.expect_err("it wants TLS").contains("HTTP/1.1 400"));
}
