//! Which path gives what.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use super::encoding::Coding;
use super::landing;
use super::scrape::Scraper;

/// Liveness: the process answers.
pub const HEALTHY_PATH: &str = "/-/healthy";
/// Readiness: metrics are served, even if a collector failed.
pub const READY_PATH: &str = "/-/ready";

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that can be requested.
pub(super) struct Site {
    telemetry_path: String,
    landing: Bytes,
    scraper: Scraper,
}

impl Site {
    pub(super) fn new(telemetry_path: String, scraper: Scraper) -> Self {
        Self {
            landing: landing::page(&telemetry_path).into(),
            telemetry_path,
            scraper,
        }
    }

    /// The answer to a request. That to HEAD has a body too; hyper sends only its length.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let is_metrics = path == self.telemetry_path;
        let known = is_metrics || matches!(path, "/" | HEALTHY_PATH | READY_PATH);
        if !known {
            return response(StatusCode::NOT_FOUND, TEXT, "there is no such page\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return method_not_allowed();
        }
        match path {
            // First, so that the metrics replace the landing page where the operator wants them at `/`.
            _ if is_metrics => self.metrics(request.headers()).await,
            HEALTHY_PATH => response(StatusCode::OK, TEXT, "netdrop-exporter is healthy\n"),
            READY_PATH => response(StatusCode::OK, TEXT, "netdrop-exporter is ready\n"),
            _ => response(StatusCode::OK, HTML, self.landing.clone()),
        }
    }

    async fn metrics(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let coding = Coding::accepted_by(headers);
        let Some(body) = self.scraper.scrape(coding).await else {
            return response(
                StatusCode::INTERNAL_SERVER_ERROR,
                TEXT,
                "the scrape failed: the log of netdrop-exporter says why\n",
            );
        };
        let mut response = response(StatusCode::OK, METRICS, body);
        let headers = response.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if coding == Coding::Gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

fn method_not_allowed() -> Response<Full<Bytes>> {
    let mut response = response(
        StatusCode::METHOD_NOT_ALLOWED,
        TEXT,
        "only GET and HEAD are answered here\n",
    );
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
