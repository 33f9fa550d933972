//! Whom and what handshakes let in.

use rcgen::SanType;
use rustls::{NamedGroup, ProtocolVersion};

use super::*;

/// As [`Wants::default`], with a certificate.
fn showing(leaf: &Leaf) -> Wants<'_> {
    Wants {
        leaf: Some(leaf),
        ..Wants::default()
    }
}

#[tokio::test]
async fn each_client_auth_type_lets_in_whom_it_should() {
    let good = "none, one of the CA, one of another, the server's own";
    for (auth, lets_in) in [
        ("NoClientCert", [true, true, true, true]),
        ("RequestClientCert", [true, true, true, true]),
        ("RequireAnyClientCert", [false, true, true, true]),
        ("VerifyClientCertIfGiven", [true, true, false, true]),
        ("RequireAndVerifyClientCert", [false, true, false, true]),
    ] {
        let clients = Authority::new();
        let ca = if auth.contains("Verify") {
            "client_ca_file: clients.pem"
        } else {
            ""
        };
        let scene = Scene::new(&[], "").await;
        scene.write("clients.pem", &clients.cert());
        scene.write(
            "web.yml",
            &text(&[&format!("client_auth_type: {auth}"), ca], ""),
        );
        scene.reload();
        let leaf = clients.leaf(&["prometheus"]);
        let stranger = Authority::new().leaf(&["prometheus"]);
        let leaves = [None, Some(&leaf), Some(&stranger), Some(&scene.own)];
        for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
            for (index, leaf) in leaves.into_iter().enumerate() {
                let wants = Wants {
                    leaf,
                    versions,
                    ..Wants::default()
                };
                let status = scene.status(&wants, "/metrics").await;
                let what = format!("{auth}, {versions:?}, {index} of {good}: {status:?}");
                // The server's own key opens no more than the probes where certificates are verified.
                let is_probe = index == 3 && auth.contains("Verify");
                let expected = if is_probe { 403 } else { 200 };
                assert_eq!(status.ok(), lets_in[index].then_some(expected), "{what}");
                if is_probe {
                    for path in ["/-/healthy", "/-/ready"] {
                        assert_eq!(scene.status(&wants, path).await, Ok(200), "{what}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn only_clients_with_an_allowed_name_are_let_in() {
    let allowed = [
        "client_auth_type: RequireAndVerifyClientCert",
        "client_ca_file: ca.pem",
        "client_allowed_sans: [scraper.example, 192.0.2.1, '2001:db8::1', a@example.org, 'spiffe://x/y']",
    ];
    let scene = Scene::new(&allowed, "").await;
    let text = |text: &str| text.try_into().expect("an IA5 string");
    for (names, is_allowed) in [
        (vec![SanType::DnsName(text("scraper.example"))], true),
        (vec![SanType::IpAddress([192, 0, 2, 1].into())], true),
        (
            vec![SanType::IpAddress("2001:db8::1".parse().expect("IPv6"))],
            true,
        ),
        (vec![SanType::Rfc822Name(text("a@example.org"))], true),
        (vec![SanType::URI(text("spiffe://x/y"))], true),
        (
            vec![
                SanType::DnsName(text("other")),
                SanType::URI(text("spiffe://x/y")),
            ],
            true,
        ),
        (vec![SanType::DnsName(text("other.scraper.example"))], false),
        (vec![SanType::DnsName(text("192.0.2.1"))], true),
        (vec![SanType::URI(text("spiffe://x/y/z"))], false),
        (vec![SanType::IpAddress([192, 0, 2, 2].into())], false),
        (vec![], false),
    ] {
        let leaf = scene.authority.leaf_named(names.clone());
        let status = scene.status(&showing(&leaf), "/metrics").await;
        assert_eq!(status.is_ok(), is_allowed, "{names:?}: {status:?}");
    }
}

#[tokio::test]
async fn versions_suites_and_curves_are_those_of_the_file() {
    use rustls::crypto::ring::cipher_suite::*;
    use rustls::crypto::ring::kx_group::*;
    use rustls::version::{TLS12, TLS13};

    let [small, large] = [
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ];
    let both = "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, \
                TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]";
    let twelve = Wants {
        versions: &[&TLS12],
        ..Wants::default()
    };
    let large_first = Wants {
        versions: &[&TLS12],
        suites: &[large, small],
        ..Wants::default()
    };
    let chacha = Wants {
        versions: &[&TLS12],
        suites: &[TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256],
        ..Wants::default()
    };
    let thirteen = Wants {
        versions: &[&TLS13],
        curves: &[SECP384R1, SECP256R1],
        ..Wants::default()
    };
    let v12 = ProtocolVersion::TLSv1_2;
    let v13 = ProtocolVersion::TLSv1_3;
    type Outcome = Option<(
        ProtocolVersion,
        Option<SupportedCipherSuite>,
        Option<NamedGroup>,
    )>;
    let cases: [(&[&str], &Wants, Outcome); 13] = [
        (&[], &Wants::default(), Some((v13, None, None))),
        (&[], &twelve, Some((v12, None, None))),
        (
            &["max_version: TLS12"],
            &Wants::default(),
            Some((v12, None, None)),
        ),
        (&["max_version: TLS12"], &thirteen, None),
        (&["min_version: TLS13"], &twelve, None),
        (&["min_version: TLS10"], &twelve, Some((v12, None, None))),
        (&[both], &large_first, Some((v12, Some(small), None))),
        (
            &[both, "prefer_server_cipher_suites: false"],
            &large_first,
            Some((v12, Some(large), None)),
        ),
        (&[both], &chacha, None),
        (&[both], &thirteen, Some((v13, None, None))),
        (
            &["cipher_suites: [TLS_CHACHA20_POLY1305_SHA256]"],
            &Wants::default(),
            Some((v13, Some(TLS13_CHACHA20_POLY1305_SHA256), None)),
        ),
        (
            &["cipher_suites: [TLS_CHACHA20_POLY1305_SHA256]"],
            &twelve,
            None,
        ),
        (
            &["curve_preferences: [CurveP521, CurveP256]"],
            &thirteen,
            Some((v13, None, Some(NamedGroup::secp256r1))),
        ),
    ];
    for (tls, wants, outcome) in cases {
        let scene = Scene::new(tls, "").await;
        let stream = scene.connect(wants).await;
        let connection = stream.as_ref().ok().map(|stream| stream.get_ref().1);
        let version = connection.and_then(|c| c.protocol_version());
        assert_eq!(version, outcome.map(|(version, ..)| version), "{tls:?}");
        let Some((_, suite, curve)) = outcome else {
            continue;
        };
        let connection = connection.expect("a connection");
        if suite.is_some() {
            assert_eq!(connection.negotiated_cipher_suite(), suite, "{tls:?}");
        }
        let group = connection.negotiated_key_exchange_group().map(|g| g.name());
        assert!(curve.is_none() || group == curve, "{tls:?}: {group:?}");
    }
    let scene = Scene::new(&["curve_preferences: [X25519]"], "").await;
    assert!(scene.connect(&thirteen).await.is_err());
}
