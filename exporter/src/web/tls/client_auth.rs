//! What is asked of a client's certificate, as `client_auth_type` and `client_allowed_sans` say.

use std::sync::Arc;

use anyhow::Context;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::sans;
use crate::web::config::ClientAuth;

/// Verifies client certificates. All of them must prove that they have their key.
#[derive(Debug)]
pub(super) struct Verifier {
    auth: ClientAuth,
    /// Verifies that a certificate comes from one of the client CAs.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    allowed_sans: Option<Vec<String>>,
    /// The server's own certificate. Who has its key may always ask whether the server is healthy.
    own: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    pub(super) fn new(
        auth: ClientAuth,
        client_cas: Option<RootCertStore>,
        allowed_sans: Option<Vec<String>>,
        own: CertificateDer<'static>,
        provider: Arc<CryptoProvider>,
    ) -> anyhow::Result<Self> {
        let chain = client_cas.map(|cas| {
            WebPkiClientVerifier::builder_with_provider(Arc::new(cas), Arc::clone(&provider))
                .build()
        });
        Ok(Self {
            auth,
            chain: chain.transpose().context("client CA")?,
            allowed_sans,
            own,
            provider,
        })
    }

    /// Whether the certificate is the server's own, and would not be enough for a client.
    pub(super) fn is_probe(&self, chain: &[CertificateDer<'_>]) -> bool {
        let Some((end_entity, intermediates)) = chain.split_first() else {
            return false;
        };
        let is_client = self
            .verify(end_entity, intermediates, UnixTime::now())
            .is_ok();
        self.is_own(end_entity) && !is_client
    }

    fn is_own(&self, certificate: &CertificateDer<'_>) -> bool {
        **certificate == *self.own
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if let Some(chain) = &self.chain {
            chain.verify_client_cert(end_entity, intermediates, now)?;
        }
        let Some(allowed) = &self.allowed_sans else {
            return Ok(());
        };
        let has_allowed = sans::of(end_entity)
            .map_err(|_malformed| CertificateError::BadEncoding)?
            .iter()
            .any(|san| allowed.contains(san));
        if has_allowed {
            Ok(())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.auth.is_required()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain
            .as_ref()
            .map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verify(end_entity, intermediates, now);
        if !self.is_own(end_entity) {
            verified?;
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
