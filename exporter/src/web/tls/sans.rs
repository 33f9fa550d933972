//! The subject alternative names of a certificate (RFC 5280, section 4.2.1.6), as text.

use std::net::{Ipv4Addr, Ipv6Addr};

use x509_cert::Certificate;
use x509_cert::der::{self, Decode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// DNS names, e-mail addresses, URIs and IP addresses; other kinds have no text.
pub(super) fn of(certificate: &[u8]) -> der::Result<Vec<String>> {
    let certificate = Certificate::from_der(certificate)?;
    let names = certificate
        .tbs_certificate()
        .get_extension::<SubjectAltName>()?;
    let Some((_critical, SubjectAltName(names))) = names else {
        return Ok(Vec::new());
    };
    Ok(names.iter().filter_map(text).collect())
}

fn text(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(text) => Some(text.to_string()),
        GeneralName::Rfc822Name(text) => Some(text.to_string()),
        GeneralName::UniformResourceIdentifier(text) => Some(text.to_string()),
        GeneralName::IpAddress(bytes) => address(bytes.as_bytes()),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).to_string());
    }
    let bytes = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(bytes).to_canonical().to_string())
}
