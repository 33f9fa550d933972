//! What is served at which path.

use std::io::Read;

use flate2::read::GzDecoder;
use prometheus::proto::MetricType;

use super::*;

#[tokio::test]
async fn metrics_are_served_as_text() {
    let server = Running::plain().await;
    let reply = server.request("GET /metrics?x=1", &[]).await;
    assert_eq!(reply.status, 200);
    assert!(
        reply.has("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{:?}",
        reply.headers
    );
    assert!(!reply.has("content-encoding: gzip"));
    let text = reply.text();
    assert!(text.contains("fake_total{n=\"000002\"} 2\n"), "{text}");
    assert!(text.contains("netdrop_exporter_build_info{"), "{text}");
}

#[tokio::test]
async fn metrics_are_compressed_for_those_who_accept_it() {
    let server = Running::plain().await;
    let headers = ["Accept-Encoding: br", "Accept-Encoding: gzip;q=0.5"];
    let reply = server.request("GET /metrics", &headers).await;
    assert!(reply.has("content-encoding: gzip"), "{:?}", reply.headers);
    assert!(reply.has("vary: accept-encoding"), "{:?}", reply.headers);
    let mut text = String::new();
    GzDecoder::new(&reply.body[..])
        .read_to_string(&mut text)
        .expect("gzip");
    assert!(text.contains("fake_total{n=\"000002\"} 2\n"), "{text}");
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let server = Running::plain().await;
    for path in ["/", "/-/healthy", "/-/ready", "/nowhere"] {
        let get = server.request(&format!("GET {path}"), &[]).await;
        let head = server.request(&format!("HEAD {path}"), &[]).await;
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.headers, get.headers, "{path}");
        assert!(head.body.is_empty(), "{path}");
        assert!(get.has(&format!("content-length: {}", get.body.len())));
    }
    // The length of the metrics differs from scrape to scrape.
    let head = server.request("HEAD /metrics", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(
        head.headers
            .iter()
            .any(|h| h.starts_with("content-length: "))
    );
}

#[tokio::test]
async fn health_and_landing_page_are_served() {
    let server = Running::plain().await;
    for path in ["/-/healthy", "/-/ready"] {
        assert_eq!(
            server.request(&format!("GET {path}"), &[]).await.status,
            200
        );
    }
    let landing = server.request("GET /", &[]).await;
    assert!(landing.has("content-type: text/html; charset=utf-8"));
    assert!(landing.text().contains("href=\"/metrics\""));
}

#[tokio::test]
async fn the_metrics_can_replace_the_landing_page() {
    let server = Running::start("/", Fake::default(), LIMITS).await;
    let reply = server.request("GET /", &[]).await;
    assert!(reply.text().contains("fake_total"));
    assert_eq!(server.request("GET /metrics", &[]).await.status, 404);
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let server = Running::plain().await;
    for path in ["/metrics", "/", "/-/ready"] {
        let reply = server
            .request(&format!("POST {path}"), &["Content-Length: 0"])
            .await;
        assert_eq!(reply.status, 405, "{path}");
        assert!(reply.has("allow: get, head"), "{:?}", reply.headers);
    }
    for line in ["GET /metrics/x", "GET /favicon.ico", "POST /nowhere"] {
        assert_eq!(server.request(line, &[]).await.status, 404, "{line}");
    }
}

#[tokio::test]
async fn a_scrape_that_panics_is_a_server_error() {
    // The encoder of the prometheus crate panics on this type.
    let fake = Fake {
        series: 1,
        kind: MetricType::UNTYPED,
    };
    let server = Running::start("/metrics", fake, LIMITS).await;
    let reply = server.request("GET /metrics", &[]).await;
    assert_eq!(reply.status, 500);
    assert_eq!(reply.text().lines().count(), 1);
    assert_eq!(server.request("GET /-/healthy", &[]).await.status, 200);
}

#[tokio::test]
async fn a_path_may_be_spelt_with_percent_encodings() {
    let server = Running::plain().await;
    for path in [
        "/%6detrics",
        "/%6D%65trics?x=%6d",
        "/%2d/ready",
        "/-/%68ealthy",
    ] {
        let reply = server.request(&format!("GET {path}"), &[]).await;
        assert_eq!(reply.status, 200, "{path}");
    }
    for path in ["/%6Detrics%2f", "/%256detrics", "/%metrics", "/Metrics"] {
        let reply = server.request(&format!("GET {path}"), &[]).await;
        assert_eq!(reply.status, 404, "{path}");
    }
    let server = Running::start("/%6d%c3%a4", Fake::default(), LIMITS).await;
    for path in ["/m%C3%A4", "/m%c3%a4", "/%6D%c3%A4"] {
        let reply = server.request(&format!("GET {path}"), &[]).await;
        assert_eq!(reply.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_slash_too_many_or_too_few_is_redirected() {
    let plain = Running::plain().await;
    let slashed = Running::start("/a/metrics/", Fake::default(), LIMITS).await;
    for (server, asked, location) in [
        (&plain, "/metrics/", "/metrics"),
        (&plain, "/metrics/?a=1&b=%20/", "/metrics?a=1&b=%20/"),
        (&plain, "/%6detrics/", "/metrics"),
        (&plain, "/-/healthy/", "/-/healthy"),
        (&plain, "/-/ready/", "/-/ready"),
        (&slashed, "/a/metrics", "/a/metrics/"),
        (&slashed, "/a/metrics?a", "/a/metrics/?a"),
    ] {
        for method in ["GET", "HEAD"] {
            let reply = server.request(&format!("{method} {asked}"), &[]).await;
            assert_eq!(reply.status, 301, "{method} {asked}");
            let header = format!("location: {location}");
            assert!(reply.has(&header), "{asked}: {:?}", reply.headers);
        }
        let reply = server.request(&format!("GET {location}"), &[]).await;
        assert_eq!(reply.status, 200, "{location}");
        let reply = server.request(&format!("POST {asked}"), &[]).await;
        assert_eq!(reply.status, 405, "{asked}");
    }
    for path in ["//", "/metrics//", "//metrics", "//example.org/metrics/"] {
        let reply = plain.request(&format!("GET {path}"), &[]).await;
        assert_eq!(reply.status, 404, "{path}");
    }
}

#[tokio::test]
async fn collectors_can_be_selected() {
    let server = Running::plain().await;
    for (query, status, text) in [
        ("?collect[]=fake", 200, "fake_total{"),
        ("?collect%5B%5D=fake&collect[]=fake", 200, "fake_total{"),
        ("?exclude[]=fake", 200, "netdrop_exporter_build_info{"),
        (
            "?collect[]=other",
            400,
            "there is no collector \"other\" here; there are: fake\n",
        ),
        ("?exclude[]=", 400, "there is no collector \"\" here"),
        ("?collect[]=fake&exclude[]=fake", 400, "exclude each other"),
    ] {
        let reply = server.request(&format!("GET /metrics{query}"), &[]).await;
        assert_eq!(reply.status, status, "{query}");
        let body = reply.text();
        assert!(body.contains(text), "{query}: {body}");
        assert_eq!(
            body.contains("fake_total{"),
            text == "fake_total{",
            "{query}"
        );
    }
}
