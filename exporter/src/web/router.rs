//! Which path gives what.

use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION, VARY};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use super::encoding::Coding;
use super::landing;
use super::path::{TelemetryPath, normalize};
use super::scrape::Scraper;

/// Liveness: the process answers.
pub(super) const HEALTHY_PATH: &str = "/-/healthy";
/// Readiness: metrics are served, even if a collector failed.
pub(super) const READY_PATH: &str = "/-/ready";

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that can be requested.
pub(super) struct Router {
    telemetry_path: String,
    landing: Bytes,
    scraper: Scraper,
}

/// What a path stands for.
enum Route<'a> {
    Metrics,
    Healthy,
    Ready,
    Landing,
    /// It is the other path, but for a slash at the end.
    Moved(&'a str),
    Unknown,
}

impl Router {
    pub(super) fn new(telemetry_path: &TelemetryPath, scraper: Scraper) -> Self {
        let telemetry_path = telemetry_path.as_str().to_owned();
        Self {
            landing: landing::page(&telemetry_path).into(),
            telemetry_path,
            scraper,
        }
    }

    /// The answer to a request. That to HEAD has a body too; hyper sends only its length.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Bytes> {
        let route = self.route(&normalize(request.uri().path()));
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match route {
            Route::Unknown => response(StatusCode::NOT_FOUND, TEXT, "there is no such page\n"),
            _ if !is_read => method_not_allowed(),
            Route::Metrics => self.metrics(request.headers()).await,
            Route::Healthy => response(StatusCode::OK, TEXT, "netdrop-exporter is healthy\n"),
            Route::Ready => response(StatusCode::OK, TEXT, "netdrop-exporter is ready\n"),
            Route::Landing => response(StatusCode::OK, HTML, self.landing.clone()),
            Route::Moved(path) => moved(path, request.uri().query()),
        }
    }

    /// Whether the path is for probes, which show no data.
    pub(super) fn is_probe(&self, path: &str) -> bool {
        matches!(self.route(&normalize(path)), Route::Healthy | Route::Ready)
    }

    fn route(&self, path: &str) -> Route<'_> {
        let pages = [self.telemetry_path.as_str(), HEALTHY_PATH, READY_PATH];
        let is_but_for_a_slash = |page: &&str| {
            path.strip_suffix('/') == Some(page) || page.strip_suffix('/') == Some(path)
        };
        match path {
            // First, so that the metrics replace the landing page where the operator wants them at `/`.
            _ if path == self.telemetry_path => Route::Metrics,
            HEALTHY_PATH => Route::Healthy,
            READY_PATH => Route::Ready,
            "/" => Route::Landing,
            _ => match pages.into_iter().find(is_but_for_a_slash) {
                Some(page) => Route::Moved(page),
                None => Route::Unknown,
            },
        }
    }

    async fn metrics(&self, headers: &HeaderMap) -> Response<Bytes> {
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

/// Sends the client to `path` on this host, with the query it had.
fn moved(path: &str, query: Option<&str>) -> Response<Bytes> {
    let location = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut response = response(
        StatusCode::MOVED_PERMANENTLY,
        TEXT,
        format!("the page is at {path}\n"),
    );
    // Whatever was in a request line can be in a header.
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn method_not_allowed() -> Response<Bytes> {
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

pub(super) fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
