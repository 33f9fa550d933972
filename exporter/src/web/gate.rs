//! What stands before the pages: `http_server_config`, `rate_limit`, `basic_auth_users`, and what only
//! probes may ask for.

use std::sync::Arc;

use hyper::body::Bytes;
use hyper::header::{CONNECTION, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};

use super::auth::Verdict;
use super::config::{Active, WebConfig};
use super::connections::Peer;
use super::router::{Router, SOON, TEXT, later, response};

/// Lets requests through to the router.
pub(super) struct Gate {
    pub(super) config: Arc<WebConfig>,
    router: Router,
}

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) peer: Peer,
    pub(super) access: Access,
    /// The version of the configuration that its connection began with.
    pub(super) generation: u64,
}

/// What a connection may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything, with a password where one is required.
    All,
    /// Probes only: the client has shown the server's own certificate, and no better one.
    Probes,
    /// Nothing: it does not speak TLS.
    None,
}

impl Gate {
    pub(super) fn new(config: Arc<WebConfig>, router: Router) -> Self {
        Self { config, router }
    }

    /// The answer to a request.
    pub(super) async fn answer<B>(&self, client: Client, request: Request<B>) -> Response<Bytes> {
        let active = self.config.current();
        let mut response = match refusal(&active, client, &request, &self.router).await {
            Some(refusal) => refusal,
            None => self.router.answer(request).await,
        };
        let headers = response.headers_mut();
        for (name, value) in &active.headers {
            headers.insert(name, value.clone());
        }
        if client.generation != active.generation {
            // Its certificate was verified by what is no longer in force.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// What is answered instead of the page. Probes get theirs always: who has no password and no client
/// certificate, and who must not restart the exporter because others ask too often.
async fn refusal<B>(
    active: &Active,
    client: Client,
    request: &Request<B>,
    router: &Router,
) -> Option<Response<Bytes>> {
    let is_probe = router.is_probe(request.uri().path());
    match client.access {
        Access::None => {
            let why = "this port speaks TLS: use https\n";
            return Some(response(StatusCode::BAD_REQUEST, TEXT, why));
        }
        Access::All | Access::Probes if is_probe => return None,
        Access::Probes => {
            let why = "the server's own certificate is for /-/healthy and /-/ready only\n";
            return Some(response(StatusCode::FORBIDDEN, TEXT, why));
        }
        Access::All => {}
    }
    if let Some(Err(wait)) = active.limit.as_ref().map(|bucket| bucket.take()) {
        let why = "too many requests: see rate_limit\n";
        return Some(later(StatusCode::TOO_MANY_REQUESTS, why, wait));
    }
    match active
        .users
        .as_ref()?
        .check(request.headers(), client.peer)
        .await
    {
        Verdict::Allowed => None,
        Verdict::Refused => Some(unauthorized()),
        Verdict::Busy => {
            let why = "too many passwords wait to be checked\n";
            Some(later(StatusCode::SERVICE_UNAVAILABLE, why, SOON))
        }
    }
}

fn unauthorized() -> Response<Bytes> {
    let mut response = response(
        StatusCode::UNAUTHORIZED,
        TEXT,
        "a user name and its password are required\n",
    );
    let challenge = HeaderValue::from_static("Basic realm=\"netdrop-exporter\", charset=\"UTF-8\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}
