//! `--web.config.file`: what is in force, and what becomes of it when files change.
//!
//! All files are read by the unprivileged exporter, below directories that Landlock knows from the
//! start ([`directories`]), so that what could be read once can be read again. A file that cannot be
//! used changes nothing: what is in force goes on. Nor may it take away TLS or passwords, since an
//! editor or a full disk can leave an empty file, which is a valid one.

mod files;
mod settings;
mod yaml;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use hyper::header::{HeaderName, HeaderValue};
use log::{info, warn};
use tokio::time::Instant;

pub(super) use settings::{ClientAuth, Named, TlsSettings};
use settings::{Pem, RateLimit, Settings};

use super::auth::Users;
use super::rate_limit::Bucket;
use super::tls::{Pems, Tls};
use crate::error::one_line;
use files::Print;

/// Between two looks at whether the files have changed, of which a client is the occasion.
const LOOK: Duration = Duration::from_secs(1);

/// The file, and what it says. Without a file: plain HTTP for everyone.
pub struct WebConfig {
    path: Option<PathBuf>,
    state: Mutex<State>,
}

struct State {
    current: Arc<Active>,
    looked: Instant,
    /// The files as they were when they were last read, in vain or not.
    prints: Vec<Print>,
}

/// One version of what is in force.
#[derive(Default)]
pub(super) struct Active {
    pub(super) generation: u64,
    pub(super) tls: Option<Tls>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) limit: Option<Bucket>,
    pub(super) users: Option<Users>,
}

/// The directories that the files are in, and those that they are in once links are followed. For a
/// file that cannot be read these are fewer; [`WebConfig::load`] says why.
pub fn directories(path: &Path) -> Vec<PathBuf> {
    let settings = files::read_text(path).and_then(|text| Settings::parse(&text, parent(path)));
    let mut files = vec![path.to_owned()];
    if let Ok(settings) = settings {
        files.extend(settings.files().map(Path::to_owned));
    }
    let resolved: Vec<_> = files.iter().filter_map(|f| f.canonicalize().ok()).collect();
    let all = files.iter().chain(&resolved);
    all.map(|file| parent(file).to_owned()).collect()
}

/// What the file says of TLS.
pub(super) fn tls_settings(path: &Path) -> anyhow::Result<Option<TlsSettings>> {
    let settings = files::read_text(path).and_then(|text| Settings::parse(&text, parent(path)));
    Ok(settings.with_context(|| context(path))?.tls)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

impl WebConfig {
    /// Reads the file and those that it names.
    ///
    /// # Errors
    ///
    /// One of them cannot be used, and which line is wrong.
    pub fn load(path: Option<&Path>) -> anyhow::Result<Self> {
        let mut prints = Vec::new();
        let current = match path {
            None => Active::default(),
            Some(path) => {
                let read = Read::new(path, &mut prints).and_then(|read| read.activate(0));
                read.with_context(|| context(path))?
            }
        };
        Ok(Self {
            path: path.map(Path::to_owned),
            state: Mutex::new(State {
                current: Arc::new(current),
                looked: Instant::now(),
                prints,
            }),
        })
    }

    /// What is in force now; the files are read again if they have changed.
    pub(super) fn current(&self) -> Arc<Active> {
        let mut state = self.lock();
        if let Some(path) = &self.path
            && state.looked.elapsed() >= LOOK
        {
            state.looked = Instant::now();
            if state.prints.iter().any(Print::has_changed) {
                state.reload(path);
            }
        }
        Arc::clone(&state.current)
    }

    /// Reads the files again, changed or not. `false`: there are none.
    pub fn reload(&self) -> bool {
        if let Some(path) = &self.path {
            self.lock().reload(path);
        }
        self.path.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn reload(&mut self, path: &Path) {
        let mut prints = Vec::new();
        let next = self.next(path, &mut prints);
        // Of a file that does not even name others: those that were known go on being watched.
        if prints.len() == 1 {
            prints.extend(self.prints.iter().skip(1).map(Print::again));
        }
        self.prints = prints;
        match next.with_context(|| context(path)) {
            Ok(next) => self.current = Arc::new(next),
            Err(e) => warn!("{}: what was read before stays in force", one_line(&e)),
        }
    }

    fn next(&self, path: &Path, prints: &mut Vec<Print>) -> anyhow::Result<Active> {
        let read = Read::new(path, prints).map_err(explain_denied)?;
        ensure!(
            read.settings.tls.is_some() || self.current.tls.is_none(),
            "it has no tls_server_config any more: restart the exporter to serve without TLS"
        );
        ensure!(
            !read.settings.users.is_empty() || self.current.users.is_none(),
            "it has no basic_auth_users any more: restart the exporter to serve without passwords"
        );
        read.activate(self.current.generation + 1)
    }
}

fn context(path: &Path) -> String {
    format!("web configuration {}", path.display())
}

fn explain_denied(error: anyhow::Error) -> anyhow::Error {
    let io = error
        .chain()
        .find_map(|e| e.downcast_ref::<std::io::Error>());
    match io.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::PermissionDenied) => error.context(
            "let the exporter's user read it, or restart the exporter if it is in a directory that was \
             not named at the start",
        ),
        _ => error,
    }
}

/// All files, read.
struct Read {
    settings: Settings,
    pems: Option<Pems>,
}

impl Read {
    /// Notes each file before it is read, so that no later change is missed.
    fn new(path: &Path, prints: &mut Vec<Print>) -> anyhow::Result<Self> {
        prints.push(Print::of(path));
        let settings = Settings::parse(&files::read_text(path)?, parent(path))?;
        prints.extend(settings.files().map(Print::of));
        let pems = settings.tls.as_ref().map(read_pems).transpose()?;
        Ok(Self { settings, pems })
    }

    /// Puts it in force, and says so in the log.
    fn activate(self, generation: u64) -> anyhow::Result<Active> {
        let Settings {
            tls: tls_settings,
            http2,
            headers,
            rate_limit,
            users,
        } = self.settings;
        let tls = match (&tls_settings, &self.pems) {
            (Some(settings), Some(pems)) => Some(Tls::new(settings, pems)?),
            _ => None,
        };
        let (tls, warnings) = tls.unzip();
        let auth = tls_settings.map(|settings| settings.client_auth);
        let summary = summary(auth, users.len(), rate_limit);
        let users = Users::new(users)?;
        info!("{summary}");
        if let Some(line) = http2 {
            info!("line {line}: http2 has no effect: HTTP/1.1 is served");
        }
        for warning in warnings.into_iter().flatten() {
            warn!("{warning}");
        }
        Ok(Active {
            generation,
            tls,
            headers,
            limit: rate_limit.map(|RateLimit { interval, burst }| Bucket::new(interval, burst)),
            users,
        })
    }
}

/// Reads the files of the settings.
pub(super) fn read_pems(tls: &TlsSettings) -> anyhow::Result<Pems> {
    Ok(Pems {
        cert: read_pem(&tls.cert)?,
        key: read_pem(&tls.key)?,
        client_ca: tls.client_ca.as_ref().map(read_pem).transpose()?,
    })
}

fn read_pem(pem: &Pem) -> anyhow::Result<Vec<u8>> {
    match pem {
        Pem::Inline(text) => Ok(text.clone().into_bytes()),
        Pem::File { key, path } => {
            files::read(path).with_context(|| format!("{key} {}", path.display()))
        }
    }
}

fn summary(auth: Option<ClientAuth>, users: usize, limit: Option<RateLimit>) -> String {
    let tls = match auth {
        None => "TLS is off",
        Some(ClientAuth::None) => "TLS is on",
        Some(ClientAuth::Request | ClientAuth::RequireAny) => {
            "TLS is on; client certificates are not verified"
        }
        Some(ClientAuth::VerifyIfGiven) => "TLS is on; client certificates are verified if given",
        Some(ClientAuth::RequireAndVerify) => "TLS is on; client certificates are required",
    };
    let users = match users {
        0 => "no password is required".to_owned(),
        1 => "1 user has a password".to_owned(),
        users => format!("{users} users have passwords"),
    };
    let limit = limit.map_or_else(String::new, |RateLimit { interval, burst }| {
        format!("; one request in {interval:?}, and {burst} at once")
    });
    format!("web configuration: {tls}; {users}{limit}")
}

#[cfg(test)]
mod tests;
