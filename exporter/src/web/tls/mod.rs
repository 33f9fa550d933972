//! TLS for the server, by rustls with ring: RFC 5246 and RFC 8446.

mod client_auth;
mod names;
mod probe;
mod sans;

use std::io;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;

use super::config::{ClientAuth, TlsSettings};
use client_auth::Verifier;
use names::Allowed;
pub(super) use probe::probe;

/// What rustls may hold for a client that does not read, beside the response: one record. Its own
/// bound is 64 KiB, 16 MiB for all connections.
const SEND_BUFFER_BYTES: usize = 16 * 1024;

/// The PEM text that the settings name, read.
pub(super) struct Pems {
    pub(super) cert: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) client_ca: Option<Vec<u8>>,
}

/// Shakes hands with clients.
pub(super) struct Tls {
    acceptor: tokio_rustls::TlsAcceptor,
    verifier: Option<Arc<Verifier>>,
}

impl Tls {
    /// TLS as the settings want it, and what they want in vain, a line each.
    pub(super) fn new(settings: &TlsSettings, pems: &Pems) -> anyhow::Result<(Self, Vec<String>)> {
        let allowed = Allowed::by(settings)?;
        let provider = Arc::new(CryptoProvider {
            cipher_suites: allowed.suites,
            kx_groups: allowed.curves,
            ..ring::default_provider()
        });
        let chain = certificates(&pems.cert).context("cert")?;
        let key = PrivateKeyDer::from_pem_slice(&pems.key).context("key: no private key in PEM")?;
        let verifier = verifier(settings, pems, &chain, &provider)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&allowed.versions)?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier) as _),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .context("certificate and key")?;
        config.ignore_client_order = settings.prefer_server_suites;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Scrapers keep their connections. So each certificate is verified when it is shown, and no
        // memory goes to clients that may never come back.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let tls = Self {
            acceptor: Arc::new(config).into(),
            verifier,
        };
        Ok((tls, allowed.warnings))
    }

    /// Completes when the client has shaken hands, or has been told by an alert why it may not.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<TlsStream<S>, (io::Error, S)> {
        let limit = |connection: &mut ServerConnection| {
            connection.set_buffer_limit(Some(SEND_BUFFER_BYTES));
        };
        let accept = self.acceptor.accept_with(stream, limit);
        accept.into_fallible().await
    }

    /// Whether the client is let in for no more than probes.
    pub(super) fn is_probe<S>(&self, stream: &TlsStream<S>) -> bool {
        let chain = stream.get_ref().1.peer_certificates();
        match (&self.verifier, chain) {
            (Some(verifier), Some(chain)) => verifier.is_probe(chain),
            _ => false,
        }
    }
}

fn verifier(
    settings: &TlsSettings,
    pems: &Pems,
    chain: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> anyhow::Result<Option<Arc<Verifier>>> {
    if settings.client_auth == ClientAuth::None {
        return Ok(None);
    }
    let own = chain.first().context("cert: no certificate")?.clone();
    let client_cas = pems.client_ca.as_deref().map(roots).transpose()?;
    let verifier = Verifier::new(
        settings.client_auth,
        client_cas,
        settings.client_allowed_sans.clone(),
        own,
        Arc::clone(provider),
    )?;
    Ok(Some(Arc::new(verifier)))
}

fn certificates(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .context("not PEM")?;
    ensure!(!chain.is_empty(), "no certificate in PEM");
    Ok(chain)
}

fn roots(pem: &[u8]) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem).context("client CA")? {
        if let Err(e) = roots.add(certificate) {
            bail!("client CA: not a CA certificate: {e}");
        }
    }
    Ok(roots)
}
