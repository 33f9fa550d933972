//! Certificates for tests.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

/// A CA.
pub(in crate::web) struct Authority(Issuer<'static, KeyPair>, String);

/// A certificate and its key, in PEM.
pub(in crate::web) struct Leaf {
    pub(in crate::web) cert: String,
    pub(in crate::web) key: String,
}

impl Authority {
    pub(in crate::web) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).expect("a CA").pem();
        Self(Issuer::new(params, key), cert)
    }

    pub(in crate::web) fn cert(&self) -> String {
        self.1.clone()
    }

    /// A certificate for DNS names and addresses.
    pub(in crate::web) fn leaf(&self, names: &[&str]) -> Leaf {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        self.leaf_with(CertificateParams::new(names).expect("names"))
    }

    /// A certificate with these names only.
    pub(in crate::web) fn leaf_named(&self, names: Vec<SanType>) -> Leaf {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        self.leaf_with(params)
    }

    fn leaf_with(&self, params: CertificateParams) -> Leaf {
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.0).expect("a certificate");
        Leaf {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }
}
