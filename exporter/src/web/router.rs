//! Which path gives what.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
    LOCATION, REFERRER_POLICY, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::encoding::Coding;
use super::path::{TelemetryPath, normalize};
use super::scrape::{NoPage, Output, Scraper, Wanted};
use super::{page, query};
use crate::metrics::{Exposition, Selection, SelectionError};

/// Liveness: the process answers.
pub(super) const HEALTHY_PATH: &str = "/-/healthy";
/// Readiness: metrics are served, even if a collector failed.
pub(super) const READY_PATH: &str = "/-/ready";

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// When it is worth to try again where nobody knows: a scrape or a bcrypt takes less.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// Everything that can be requested.
pub(super) struct Router {
    telemetry_path: String,
    policy: HeaderValue,
    exposition: Arc<Exposition>,
    scraper: Scraper,
    /// One for each request for metrics that may be under way.
    permits: Semaphore,
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
    /// Of `max_requests` for metrics at a time the others are refused; 0 refuses none. Must be called
    /// within the event loop.
    pub(super) fn new(
        telemetry_path: &TelemetryPath,
        exposition: Arc<Exposition>,
        max_requests: u32,
    ) -> Self {
        let telemetry_path = telemetry_path.as_str().to_owned();
        let permits = match max_requests {
            0 => Semaphore::MAX_PERMITS,
            some => some as usize,
        };
        let page = page::Page::new(&telemetry_path);
        // Base64 and words.
        let policy = HeaderValue::try_from(page::policy());
        Self {
            policy: policy.unwrap_or(HeaderValue::from_static("default-src 'none'")),
            telemetry_path,
            scraper: Scraper::start(Arc::clone(&exposition), page),
            exposition,
            permits: Semaphore::new(permits),
        }
    }

    /// The answer to a request. That to HEAD has a body too; hyper sends only its length.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Bytes> {
        let route = self.route(&normalize(request.uri().path()));
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match route {
            Route::Unknown => response(StatusCode::NOT_FOUND, TEXT, "there is no such page\n"),
            _ if !is_read => method_not_allowed(),
            Route::Metrics => self.metrics(&request).await,
            Route::Healthy => response(StatusCode::OK, TEXT, "netdrop-exporter is healthy\n"),
            Route::Ready => response(StatusCode::OK, TEXT, "netdrop-exporter is ready\n"),
            Route::Landing => self.page(&request).await,
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

    async fn metrics<B>(&self, request: &Request<B>) -> Response<Bytes> {
        match self.selection(request) {
            Ok(selection) => {
                self.scraped(Output::Metrics(selection), METRICS, request)
                    .await
            }
            Err(e) => response(StatusCode::BAD_REQUEST, TEXT, format!("{e}\n")),
        }
    }

    async fn page<B>(&self, request: &Request<B>) -> Response<Bytes> {
        let mut response = self.scraped(Output::People, HTML, request).await;
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        for (name, value) in [
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (CACHE_CONTROL, "no-store"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    async fn scraped<B>(
        &self,
        output: Output,
        content_type: &'static str,
        request: &Request<B>,
    ) -> Response<Bytes> {
        let coding = Coding::accepted_by(request.headers());
        let timeout = query::scrape_timeout(request.headers());
        let wanted = Wanted {
            output,
            coding,
            deadline: timeout.map(|timeout| Instant::now() + timeout),
        };
        let Ok(_permit) = self.permits.try_acquire() else {
            let why = "too many requests at a time: see --web.max-requests\n";
            return later(StatusCode::SERVICE_UNAVAILABLE, why, SOON);
        };
        let body = match self.scraper.scrape(wanted).await {
            Ok(body) => body,
            Err(NoPage::TooLate) => {
                let why = "the page would come after the scrape timeout\n";
                return response(StatusCode::SERVICE_UNAVAILABLE, TEXT, why);
            }
            Err(NoPage::Failed) => {
                let why = "the scrape failed: the log of netdrop-exporter says why\n";
                return response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, why);
            }
        };
        let mut response = response(StatusCode::OK, content_type, body);
        let headers = response.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if coding == Coding::Gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    fn selection<B>(&self, request: &Request<B>) -> Result<Selection, SelectionError> {
        let values = |name| query::values(request.uri().query(), name);
        Selection::new(&self.exposition, &values("collect[]"), &values("exclude[]"))
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

/// A refusal that ends after a while.
pub(super) fn later(status: StatusCode, why: &'static str, wait: Duration) -> Response<Bytes> {
    let mut response = response(status, TEXT, why);
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn beyond_max_requests_metrics_are_refused_and_nothing_else() {
        let path = "/metrics".parse().expect("a path");
        let router = Router::new(&path, Arc::new(Exposition::new()), 1);
        let get = |path| router.answer(Request::get(path).body(()).expect("a request"));
        let (first, second, ready) =
            tokio::join!(get("/metrics"), get("/metrics"), get("/-/ready"));
        let statuses = [&first, &second, &ready].map(|response| response.status().as_u16());
        assert_eq!(statuses, [200, 503, 200]);
        assert_eq!(second.headers()[RETRY_AFTER], "1");
        assert_eq!(get("/metrics").await.status(), StatusCode::OK);
    }
}
