//! Versions, cipher suites and curves by the names of Go's constants, which the file uses.
//!
//! Those that Go knows and rustls with ring does not are left out with a warning, so that a file for
//! other exporters works here; one of which nothing is left is refused.

use anyhow::{bail, ensure};
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::ring::{ALL_CIPHER_SUITES, ALL_KX_GROUPS, cipher_suite, kx_group};
use rustls::version::{TLS12, TLS13};
use rustls::{ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion};

use crate::web::config::{Named, TlsSettings};

/// What a file may list and rustls never has: <https://pkg.go.dev/crypto/tls#pkg-constants>.
const OTHER_SUITES: [&str; 18] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_FALLBACK_SCSV",
];

/// P-521 and the hybrids with ML-KEM.
const OTHER_CURVES: [&str; 4] = [
    "CurveP521",
    "X25519MLKEM768",
    "SecP256r1MLKEM768",
    "SecP384r1MLKEM1024",
];

/// What handshakes may use, each in order of preference.
pub(super) struct Allowed {
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    pub(super) suites: Vec<SupportedCipherSuite>,
    pub(super) curves: Vec<&'static dyn SupportedKxGroup>,
    /// One line for each name that was left out, or that does not do all it says.
    pub(super) warnings: Vec<String>,
}

impl Allowed {
    pub(super) fn by(settings: &TlsSettings) -> anyhow::Result<Self> {
        let mut warnings = Vec::new();
        let versions = versions(settings, &mut warnings)?;
        let all_suites = cipher_suite_list(&settings.cipher_suites, &mut warnings)?;
        let suites: Vec<_> = all_suites
            .into_iter()
            .filter(|suite| versions.contains(&suite.version()))
            .collect();
        ensure!(
            !suites.is_empty(),
            "cipher_suites: none of them is for a version from min_version to max_version"
        );
        let curves = curves(&settings.curves, &mut warnings)?;
        let has_suite = |version: &&_| suites.iter().any(|suite| suite.version() == *version);
        Ok(Self {
            versions: versions.into_iter().filter(has_suite).collect(),
            suites,
            curves,
            warnings,
        })
    }
}

fn versions(
    settings: &TlsSettings,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Vec<&'static SupportedProtocolVersion>> {
    let min = settings.min_version.as_ref().map_or(Ok(12), version)?;
    let max = settings.max_version.as_ref().map_or(Ok(13), version)?;
    if let Some(Named { line, name }) = settings.min_version.as_ref()
        && min < 12
    {
        warnings.push(format!(
            "line {line}: min_version {name} is not supported: it is TLS12"
        ));
    }
    let versions: Vec<_> = [(13, &TLS13), (12, &TLS12)]
        .into_iter()
        .filter(|(number, _)| (min..=max).contains(number))
        .map(|(_, version)| version)
        .collect();
    let line = settings
        .max_version
        .as_ref()
        .or(settings.min_version.as_ref());
    let line = line.map_or(0, |named| named.line);
    ensure!(
        !versions.is_empty(),
        "line {line}: min_version and max_version leave no version: TLS12 and TLS13 are supported"
    );
    Ok(versions)
}

fn version(Named { line, name }: &Named) -> anyhow::Result<u8> {
    Ok(match name.as_str() {
        "TLS10" => 10,
        "TLS11" => 11,
        "TLS12" => 12,
        "TLS13" => 13,
        _ => bail!("line {line}: unknown TLS version {name:?} (TLS12 or TLS13)"),
    })
}

fn suite(name: &str) -> Option<SupportedCipherSuite> {
    Some(match name {
        "TLS_AES_128_GCM_SHA256" => cipher_suite::TLS13_AES_128_GCM_SHA256,
        "TLS_AES_256_GCM_SHA384" => cipher_suite::TLS13_AES_256_GCM_SHA384,
        "TLS_CHACHA20_POLY1305_SHA256" => cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => {
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        }
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => {
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        }
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
        | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => {
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => {
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        }
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => {
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
        }
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" | "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" => {
            cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
        _ => return None,
    })
}

/// The list is of suites up to TLS 1.2, as in Go; one that names suites of TLS 1.3 limits these, too.
fn cipher_suite_list(
    listed: &[Named],
    warnings: &mut Vec<String>,
) -> anyhow::Result<Vec<SupportedCipherSuite>> {
    let all = ALL_CIPHER_SUITES;
    let is_tls13 =
        |suite: &SupportedCipherSuite| suite.version().version == ProtocolVersion::TLSv1_3;
    let Some(first) = listed.first() else {
        return Ok(all.to_vec());
    };
    let mut suites = Vec::new();
    for Named { line, name } in listed {
        match suite(name) {
            Some(suite) if suites.contains(&suite) => {}
            Some(suite) => suites.push(suite),
            None if OTHER_SUITES.contains(&name.as_str()) => warnings.push(format!(
                "line {line}: cipher suite {name} is not supported: it is left out"
            )),
            None => bail!("line {line}: unknown cipher suite {name:?}"),
        }
    }
    ensure!(
        !suites.is_empty(),
        "line {}: none of the cipher_suites is supported",
        first.line
    );
    if !suites.iter().any(is_tls13) {
        suites.extend(all.iter().copied().filter(is_tls13));
    }
    Ok(suites)
}

fn curves(
    listed: &[Named],
    warnings: &mut Vec<String>,
) -> anyhow::Result<Vec<&'static dyn SupportedKxGroup>> {
    let Some(first) = listed.first() else {
        return Ok(ALL_KX_GROUPS.to_vec());
    };
    let mut curves: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    for Named { line, name } in listed {
        match name.as_str() {
            "X25519" => curves.push(kx_group::X25519),
            "CurveP256" => curves.push(kx_group::SECP256R1),
            "CurveP384" => curves.push(kx_group::SECP384R1),
            other if OTHER_CURVES.contains(&other) => warnings.push(format!(
                "line {line}: curve {name} is not supported: it is left out"
            )),
            _ => bail!("line {line}: unknown curve {name:?} (X25519, CurveP256 or CurveP384)"),
        }
    }
    ensure!(
        !curves.is_empty(),
        "line {}: none of the curve_preferences is supported",
        first.line
    );
    if curves.len() > 1 {
        warnings.push(format!(
            "line {}: curve_preferences allows these curves, but the client's order decides",
            first.line
        ));
    }
    Ok(curves)
}
