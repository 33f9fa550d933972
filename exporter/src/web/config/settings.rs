//! What the file may say: <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>.
//!
//! Where that format is lenient, this is not: what would have no effect is refused.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bcrypt::HashParts;
use hyper::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};

use super::yaml::{Fields, Node};

/// Everything in the file; no other file has been read for it.
#[derive(Default)]
pub(in crate::web) struct Settings {
    pub(in crate::web) tls: Option<TlsSettings>,
    /// The line of `http2`, if it is there.
    pub(in crate::web) http2: Option<usize>,
    pub(in crate::web) headers: Vec<(HeaderName, HeaderValue)>,
    pub(in crate::web) rate_limit: Option<RateLimit>,
    /// Names and bcrypt hashes.
    pub(in crate::web) users: Vec<(String, String)>,
}

/// `tls_server_config`
pub(in crate::web) struct TlsSettings {
    pub(in crate::web) cert: Pem,
    pub(in crate::web) key: Pem,
    pub(in crate::web) client_auth: ClientAuth,
    pub(in crate::web) client_ca: Option<Pem>,
    pub(in crate::web) client_allowed_sans: Option<Vec<String>>,
    pub(in crate::web) min_version: Option<Named>,
    pub(in crate::web) max_version: Option<Named>,
    pub(in crate::web) cipher_suites: Vec<Named>,
    pub(in crate::web) curves: Vec<Named>,
    pub(in crate::web) prefer_server_suites: bool,
}

/// Where PEM text is.
pub(in crate::web) enum Pem {
    /// In the file itself.
    Inline(String),
    File {
        key: &'static str,
        path: PathBuf,
    },
}

/// Something that is named after a constant of Go, and the line where it is.
#[derive(Debug)]
pub(in crate::web) struct Named {
    pub(in crate::web) line: usize,
    pub(in crate::web) name: String,
}

/// What is asked of clients, as Go's `tls.ClientAuthType` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum ClientAuth {
    None,
    Request,
    RequireAny,
    VerifyIfGiven,
    RequireAndVerify,
}

/// A token bucket for requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) struct RateLimit {
    pub(in crate::web) interval: Duration,
    pub(in crate::web) burst: u32,
}

impl Settings {
    /// The settings in `text`; relative paths are below `directory`.
    pub(in crate::web) fn parse(text: &str, directory: &Path) -> anyhow::Result<Self> {
        let mut root = Node::parse(text)?.fields(&[
            "tls_server_config",
            "http_server_config",
            "rate_limit",
            "basic_auth_users",
        ])?;
        let mut settings = Self::default();
        if let Some(node) = root.take("tls_server_config") {
            settings.tls = tls(node, directory)?;
        }
        if let Some(node) = root.take("http_server_config") {
            let mut http = node.fields(&["http2", "headers"])?;
            if let Some(node) = http.take("http2") {
                settings.http2 = Some(node.line);
                node.boolean()?;
            }
            if let Some(node) = http.take("headers") {
                settings.headers = headers(node)?;
            }
        }
        if let Some(node) = root.take("rate_limit") {
            settings.rate_limit = rate_limit(node)?;
        }
        if let Some(node) = root.take("basic_auth_users") {
            settings.users = users(node)?;
        }
        Ok(settings)
    }

    /// The files that are named.
    pub(in crate::web) fn files(&self) -> impl Iterator<Item = &Path> {
        let tls = self.tls.iter();
        let pems = tls.flat_map(|tls| [Some(&tls.cert), Some(&tls.key), tls.client_ca.as_ref()]);
        pems.flatten().filter_map(|pem| match pem {
            Pem::File { path, .. } => Some(path.as_path()),
            Pem::Inline(_) => None,
        })
    }
}

fn tls(node: Node, directory: &Path) -> anyhow::Result<Option<TlsSettings>> {
    let line = node.line;
    let entries = node.entries()?;
    if entries.is_empty() {
        return Ok(None);
    }
    let mut fields = Fields::known(
        entries,
        &[
            "cert",
            "key",
            "client_ca",
            "cert_file",
            "key_file",
            "client_auth_type",
            "client_ca_file",
            "client_allowed_sans",
            "min_version",
            "max_version",
            "cipher_suites",
            "prefer_server_cipher_suites",
            "curve_preferences",
        ],
    )?;
    let cert = pem(&mut fields, directory, ["cert", "cert_file"])?
        .with_context(|| format!("line {line}: missing one of cert or cert_file"))?;
    let key = pem(&mut fields, directory, ["key", "key_file"])?
        .with_context(|| format!("line {line}: missing one of key or key_file"))?;
    let client_ca = pem(&mut fields, directory, ["client_ca", "client_ca_file"])?;
    let client_auth = client_auth(&mut fields)?;
    check_client_ca(line, client_auth, client_ca.is_some())?;
    let client_allowed_sans = fields.take("client_allowed_sans").map(sans).transpose()?;
    if client_allowed_sans.is_some() && !client_auth.is_required() {
        bail!(
            "line {line}: client_allowed_sans needs client_auth_type RequireAnyClientCert or \
             RequireAndVerifyClientCert"
        );
    }
    let prefers = fields.take("prefer_server_cipher_suites");
    Ok(Some(TlsSettings {
        cert,
        key,
        client_auth,
        client_ca,
        client_allowed_sans,
        min_version: fields.take("min_version").map(named).transpose()?,
        max_version: fields.take("max_version").map(named).transpose()?,
        cipher_suites: list(&mut fields, "cipher_suites")?,
        curves: list(&mut fields, "curve_preferences")?,
        prefer_server_suites: prefers.map_or(Ok(true), Node::boolean)?,
    }))
}

fn pem(
    fields: &mut Fields,
    directory: &Path,
    [inline, file]: [&'static str; 2],
) -> anyhow::Result<Option<Pem>> {
    // An empty value is as good as none.
    let mut take = |key| -> anyhow::Result<Option<(usize, String)>> {
        let Some(node) = fields.take(key) else {
            return Ok(None);
        };
        let line = node.line;
        Ok(Some((line, node.text()?)).filter(|(_, text)| !text.is_empty()))
    };
    match (take(inline)?, take(file)?) {
        (Some(_), Some((line, _))) => {
            bail!("line {line}: {inline} and {file} exclude each other: remove one of them")
        }
        (Some((_, text)), None) => Ok(Some(Pem::Inline(text))),
        (None, Some((_, path))) => Ok(Some(Pem::File {
            key: file,
            path: directory.join(path),
        })),
        (None, None) => Ok(None),
    }
}

fn client_auth(fields: &mut Fields) -> anyhow::Result<ClientAuth> {
    let Some(node) = fields.take("client_auth_type") else {
        return Ok(ClientAuth::None);
    };
    let line = node.line;
    Ok(match node.text()?.as_str() {
        "" | "NoClientCert" => ClientAuth::None,
        "RequestClientCert" => ClientAuth::Request,
        // The second is an old name that exporter-toolkit still takes.
        "RequireAnyClientCert" | "RequireClientCert" => ClientAuth::RequireAny,
        "VerifyClientCertIfGiven" => ClientAuth::VerifyIfGiven,
        "RequireAndVerifyClientCert" => ClientAuth::RequireAndVerify,
        other => bail!(
            "line {line}: invalid client_auth_type {other:?} (NoClientCert, RequestClientCert, \
             RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert)"
        ),
    })
}

impl ClientAuth {
    pub(in crate::web) fn is_required(self) -> bool {
        matches!(self, Self::RequireAny | Self::RequireAndVerify)
    }

    pub(in crate::web) fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }
}

/// Go falls back to the host's CAs where none is given: any public CA could let clients in.
fn check_client_ca(line: usize, auth: ClientAuth, has_ca: bool) -> anyhow::Result<()> {
    match (auth.verifies(), has_ca) {
        (true, false) => bail!(
            "line {line}: client certificates cannot be verified: missing one of client_ca or client_ca_file"
        ),
        (false, true) if auth == ClientAuth::None => bail!(
            "line {line}: a client CA without client_auth_type: set it to RequireAndVerifyClientCert"
        ),
        (false, true) => bail!(
            "line {line}: a client CA that this client_auth_type does not use: set it to \
             RequireAndVerifyClientCert"
        ),
        (true, true) | (false, false) => Ok(()),
    }
}

fn sans(node: Node) -> anyhow::Result<Vec<String>> {
    let line = node.line;
    let items = node.items()?.into_iter().map(Node::text);
    let sans: Vec<String> = items.collect::<anyhow::Result<_>>()?;
    ensure!(
        !sans.is_empty(),
        "line {line}: client_allowed_sans is empty: no client could connect"
    );
    Ok(sans)
}

fn named(node: Node) -> anyhow::Result<Named> {
    let line = node.line;
    let name = node.text()?;
    Ok(Named { line, name })
}

fn list(fields: &mut Fields, key: &str) -> anyhow::Result<Vec<Named>> {
    let items = fields.take(key).map_or(Ok(Vec::new()), Node::items)?;
    items.into_iter().map(named).collect()
}

fn headers(node: Node) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
    let mut headers = Vec::new();
    for (key, node) in node.entries()? {
        let (header, values): (_, &[&str]) = match key.name.as_str() {
            "Content-Security-Policy" => (CONTENT_SECURITY_POLICY, &[]),
            "Strict-Transport-Security" => (STRICT_TRANSPORT_SECURITY, &[]),
            "X-Content-Type-Options" => (X_CONTENT_TYPE_OPTIONS, &["nosniff"]),
            "X-Frame-Options" => (X_FRAME_OPTIONS, &["deny", "sameorigin"]),
            "X-XSS-Protection" => (X_XSS_PROTECTION, &[]),
            other => bail!(
                "line {}: HTTP header {other:?} cannot be configured",
                key.line
            ),
        };
        let text = node.text()?;
        if text.is_empty() {
            continue;
        }
        if !values.is_empty() && !values.contains(&text.as_str()) {
            let values = values.join(" or ");
            bail!(
                "line {}: invalid value for {}: {text:?} is not {values}",
                key.line,
                key.name
            );
        }
        let value = HeaderValue::try_from(text)
            .with_context(|| format!("line {}: invalid value for {}", key.line, key.name))?;
        headers.push((header, value));
    }
    Ok(headers)
}

fn rate_limit(node: Node) -> anyhow::Result<Option<RateLimit>> {
    let line = node.line;
    let mut fields = node.fields(&["interval", "burst"])?;
    let interval = fields.take("interval").map(duration).transpose()?;
    let burst = fields.take("burst").map(|node| {
        let line = node.line;
        let text = node.text()?;
        let burst = text.parse::<u32>();
        burst.with_context(|| format!("line {line}: burst {text:?} is not a number of requests"))
    });
    let burst = burst.transpose()?.unwrap_or(0);
    let interval = interval.unwrap_or_default();
    if interval.is_zero() {
        ensure!(
            burst == 0,
            "line {line}: burst needs an interval, such as 1s"
        );
        return Ok(None);
    }
    ensure!(
        burst > 0,
        "line {line}: without a burst of at least 1 all requests would be refused"
    );
    Ok(Some(RateLimit { interval, burst }))
}

/// A duration as Go writes it: `1s`, `1m30s`, `1.5h`.
fn duration(node: Node) -> anyhow::Result<Duration> {
    let line = node.line;
    let text = node.text()?;
    parse_duration(&text).with_context(|| {
        format!("line {line}: {text:?} is not a duration such as 100ms, 1s or 1m30s")
    })
}

fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, after) = rest.split_at(end.unwrap_or(rest.len()));
        seconds += number
            * match unit {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = after;
    }
    (!text.is_empty()).then_some(())?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn users(node: Node) -> anyhow::Result<Vec<(String, String)>> {
    let mut users = Vec::new();
    for (key, node) in node.entries()? {
        let (line, name) = (key.line, key.name);
        // RFC 7617, section 2: the first colon ends the name.
        ensure!(
            !name.contains(':'),
            "line {line}: the user name {name:?} has a colon: no client could send it"
        );
        let hash = node.text()?;
        ensure!(
            HashParts::from_str(&hash).is_ok(),
            "line {line}: the password of {name:?} is not a bcrypt hash: make one with htpasswd -nBC 10 ''"
        );
        users.push((name, hash));
    }
    Ok(users)
}
