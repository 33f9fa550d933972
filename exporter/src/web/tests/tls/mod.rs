//! The server over TLS, and with all that a web configuration file asks for.

use std::fs;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedCipherSuite, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificates::{Authority, Leaf};
use super::*;

mod handshakes;
mod hostile;
mod requests;

/// A server, the files of its configuration, and who vouches for it.
struct Scene {
    server: Running,
    files: TempDir,
    authority: Authority,
    own: Leaf,
}

/// What clients vary.
struct Wants<'a> {
    leaf: Option<&'a Leaf>,
    versions: &'a [&'static SupportedProtocolVersion],
    suites: &'a [SupportedCipherSuite],
    curves: &'a [&'static dyn SupportedKxGroup],
}

impl Default for Wants<'_> {
    fn default() -> Self {
        Self {
            leaf: None,
            versions: rustls::ALL_VERSIONS,
            suites: ring::ALL_CIPHER_SUITES,
            curves: ring::ALL_KX_GROUPS,
        }
    }
}

impl Scene {
    /// A server with a certificate, and these lines below `tls_server_config` and after it.
    async fn new(tls: &[&str], rest: &str) -> Self {
        Self::within(LIMITS, Fake::default(), tls, rest).await
    }

    async fn within(limits: Limits, fake: Fake, tls: &[&str], rest: &str) -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let authority = Authority::new();
        let own = authority.leaf(&["localhost"]);
        let write = |name, text: &str| {
            fs::write(files.path().join(name), text).expect("a file");
        };
        write("cert.pem", &own.cert);
        write("key.pem", &own.key);
        write("ca.pem", &authority.cert());
        write("web.yml", &text(tls, rest));
        let config = WebConfig::load(Some(&files.path().join("web.yml"))).expect("good files");
        let server = Running::configured("/metrics", fake, limits, config).await;
        Self {
            server,
            files,
            authority,
            own,
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.files.path().join(name), text).expect("a file");
    }

    fn reload(&self) {
        assert!(self.server.config.reload());
    }

    async fn connect(&self, wants: &Wants<'_>) -> io::Result<TlsStream<TcpStream>> {
        let stream = self.server.connect().await;
        let mut roots = RootCertStore::empty();
        let cert = CertificateDer::from_pem_slice(self.authority.cert().as_bytes());
        roots.add(cert.expect("PEM")).expect("a CA");
        let provider = Arc::new(CryptoProvider {
            cipher_suites: wants.suites.to_vec(),
            kx_groups: wants.curves.to_vec(),
            ..ring::default_provider()
        });
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .expect("a verifier");
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(wants.versions)
            .expect("versions")
            .with_webpki_verifier(verifier);
        let config = match wants.leaf {
            None => builder.with_no_client_auth(),
            Some(Leaf { cert, key }) => {
                let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).expect("PEM")];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        };
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// The status of a page, or the error that the client met.
    async fn status(&self, wants: &Wants<'_>, path: &str) -> Result<u16, String> {
        self.get(wants, path, "").await.map(|reply| reply.status)
    }

    async fn get(&self, wants: &Wants<'_>, path: &str, headers: &str) -> Result<Reply, String> {
        let text = |e: io::Error| e.to_string();
        let mut stream = self.connect(wants).await.map_err(text)?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.map_err(text)?;
        let mut bytes = Vec::new();
        let read = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await;
        read.expect("an end in time").map_err(text)?;
        Ok(Reply::parse(&bytes))
    }
}

fn text(tls: &[&str], rest: &str) -> String {
    let tls = tls.join("\n  ");
    format!("tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n  {tls}\n{rest}\n")
}
