//! The certificate that a client showed, as far as it says who the client is.
//!
//! It was checked before: TLS lets nobody in whose certificate does not lead to an authority.

use std::net::IpAddr;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Who a client's certificate says that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The common name of its subject, if there is exactly one.
    pub common_name: Option<String>,
    /// Its alternative names of the kind `URI`.
    pub uris: Vec<String>,
    /// Its alternative names of the kind `DNS`.
    pub dns_names: Vec<String>,
    /// Its alternative names of the kind `email`.
    pub emails: Vec<String>,
    /// Its alternative names of the kind `IP`.
    pub addresses: Vec<IpAddr>,
}

impl PeerCertificate {
    /// Reads a certificate in DER. None: it is not one.
    pub(crate) fn from_der(der: &[u8]) -> Option<PeerCertificate> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut names = certificate.subject().iter_common_name();
        let common_name = match (names.next(), names.next()) {
            (Some(name), None) => name.as_str().ok().map(str::to_owned),
            _ => None,
        };
        let mut read = PeerCertificate { common_name, ..PeerCertificate::default() };
        if let Ok(Some(names)) = certificate.subject_alternative_name() {
            names.value.general_names.iter().for_each(|name| read.add(name));
        }
        Some(read)
    }

    fn add(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(email) => self.emails.push((*email).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
                self.addresses.extend(address);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    /// A certificate whose subject has these common names.
    fn certificate(common_names: &[&str]) -> PeerCertificate {
        let mut params = CertificateParams::new(vec!["device.lan".to_owned()]).expect("a name");
        params.distinguished_name = rcgen::DistinguishedName::new();
        for name in common_names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        let uri = "spiffe://example.com/device/c1".try_into().expect("ASCII");
        params.subject_alt_names.push(SanType::URI(uri));
        params.subject_alt_names.push(SanType::IpAddress("10.0.0.1".parse().expect("one")));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        PeerCertificate::from_der(certificate.der()).expect("it can be read")
    }

    #[test]
    fn the_names_of_a_certificate_are_read() {
        let got = certificate(&["c1"]);
        assert_eq!(got.common_name.as_deref(), Some("c1"));
        assert_eq!(got.uris, ["spiffe://example.com/device/c1"]);
        assert_eq!(got.dns_names, ["device.lan"]);
        assert_eq!(got.addresses, ["10.0.0.1".parse::<IpAddr>().expect("one")]);
        assert_eq!(certificate(&[]).common_name, None);
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        for der in [&b""[..], b"\x30", b"\x30\x82\xFF\xFF", &[0xFF; 64]] {
            assert_eq!(PeerCertificate::from_der(der), None, "{der:?}");
        }
    }
}
