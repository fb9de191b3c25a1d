//! The plugins that take a client's certificate as the proof of who it is: amqtt's, for the client
//! id, and one for the user name.
//!
//! TLS has checked the certificate before. What stands in one is read by `certificate.rs`.

use std::sync::Arc;

use super::{Authenticate, ConnectRequest, PeerCertificate, Proof, Refusal, Verdict};

/// What of a certificate proves what of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certified {
    /// One of its names is the user name. A client without a certificate is others' to judge.
    User(CertificateName),
    /// Its first alternative name of the kind `URI` is `spiffe://DOMAIN/device/` and then the
    /// client id, as in amqtt. A client without such a certificate is refused.
    Device {
        /// The domain.
        domain: String,
    },
}

/// A name in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The common name of its subject.
    CommonName,
    /// Its only alternative name of the kind `URI`.
    Uri,
    /// Its only alternative name of the kind `DNS`.
    Dns,
    /// Its only alternative name of the kind `email`.
    Email,
}

impl CertificateName {
    /// Each with the word for it.
    pub const ALL: [(&str, CertificateName); 4] = [
        ("common-name", CertificateName::CommonName),
        ("uri", CertificateName::Uri),
        ("dns", CertificateName::Dns),
        ("email", CertificateName::Email),
    ];

    /// The name, if the certificate has exactly one of the kind and it can be a user's.
    fn of(self, certificate: &PeerCertificate) -> Option<&str> {
        let name = match self {
            CertificateName::CommonName => certificate.common_name.as_deref(),
            CertificateName::Uri => the_only(&certificate.uris),
            CertificateName::Dns => the_only(&certificate.dns_names),
            CertificateName::Email => the_only(&certificate.emails),
        };
        name.filter(|name| !name.is_empty() && !name.contains('\0'))
    }
}

fn the_only(names: &[String]) -> Option<&str> {
    match names {
        [name] => Some(name),
        _ => None,
    }
}

/// Whether the certificate was made for the device with this client id.
fn is_of_device(certificate: &PeerCertificate, domain: &str, client_id: &str) -> bool {
    let device = certificate.uris.first().and_then(|uri| {
        uri.strip_prefix("spiffe://")?.strip_prefix(domain)?.strip_prefix("/device/")
    });
    device.is_some_and(|device| !device.is_empty() && !device.contains('/') && device == client_id)
}

impl Authenticate for Certified {
    async fn authenticate(&self, request: &ConnectRequest) -> Verdict {
        let certificate = request.certificate.as_deref();
        match (self, certificate) {
            (Certified::User(_), None) => Verdict::Abstains,
            (Certified::User(kind), Some(certificate)) => {
                let given = request.username.as_deref().filter(|given| !given.is_empty());
                match kind.of(certificate) {
                    Some(name) if given.is_none_or(|given| given == name) => {
                        Verdict::Identified(Proof { user: Arc::from(name), grants: None })
                    }
                    _ => Verdict::Refused(Refusal::NotAuthorized),
                }
            }
            (Certified::Device { domain }, Some(certificate))
                if is_of_device(certificate, domain, &request.client_id) =>
            {
                // The user name, if there is one, is what the client says.
                Verdict::Admitted
            }
            (Certified::Device { .. }, _) => Verdict::Refused(Refusal::NotAuthorized),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::authenticate::tests::{now, request};
    use super::super::{Door, Judgement, PasswordFile, Passwords};
    use super::*;
    use crate::mqtt::types::Text;

    fn certificate() -> PeerCertificate {
        PeerCertificate {
            common_name: Some("ann".to_owned()),
            uris: vec!["spiffe://example.com/device/d1".to_owned()],
            dns_names: vec!["one".to_owned(), "two".to_owned()],
            ..PeerCertificate::default()
        }
    }

    fn ask(plugin: &Certified, user: Option<&str>, shows: Option<PeerCertificate>) -> Verdict {
        let mut request = request(user, None);
        request.client_id = Text::try_from("d1").expect("text");
        request.certificate = shows.map(Arc::new);
        now(plugin.authenticate(&request))
    }

    #[test]
    fn a_name_in_the_certificate_is_the_user() {
        let is = |user: &str| Verdict::Identified(Proof { user: Arc::from(user), grants: None });
        let refused = Verdict::Refused(Refusal::NotAuthorized);
        use CertificateName::{CommonName, Dns, Email, Uri};
        for (kind, user, want) in [
            (CommonName, None, is("ann")),
            (CommonName, Some("ann"), is("ann")),
            (CommonName, Some(""), is("ann")),
            (CommonName, Some("bob"), refused.clone()),
            (Uri, None, is("spiffe://example.com/device/d1")),
            (Dns, None, refused.clone()),
            (Email, None, refused),
        ] {
            let plugin = Certified::User(kind);
            assert_eq!(ask(&plugin, user, Some(certificate())), want, "{kind:?} {user:?}");
            assert_eq!(ask(&plugin, user, None), Verdict::Abstains);
        }
    }

    #[test]
    fn a_name_that_no_user_can_have_is_refused() {
        for name in ["", "a\0b"] {
            let shown = PeerCertificate {
                common_name: Some(name.to_owned()),
                ..PeerCertificate::default()
            };
            let verdict = ask(&Certified::User(CertificateName::CommonName), None, Some(shown));
            assert_eq!(verdict, Verdict::Refused(Refusal::NotAuthorized), "{name:?}");
        }
    }

    /// Beside a password file that does not know her, with and without a name and a password.
    #[test]
    fn a_user_name_beside_a_certificate_needs_no_password() {
        let mut door = Door::default();
        door.add(Certified::User(CertificateName::CommonName));
        door.add(PasswordFile::new(Passwords::default()));
        for (user, password, is_shown, want) in [
            (None, None, true, Ok(Some("ann"))),
            (Some("ann"), None, true, Ok(Some("ann"))),
            (Some("ann"), Some("guess"), true, Err(Refusal::BadCredentials)),
            (Some("bob"), None, true, Err(Refusal::NotAuthorized)),
            (Some("ann"), None, false, Err(Refusal::BadCredentials)),
        ] {
            let mut request = request(user, password);
            request.certificate = is_shown.then(|| Arc::new(certificate()));
            let judgement = now(door.judge(&request));
            let got = match &judgement {
                Judgement::Accepted(identity) => Ok(identity.user.as_deref()),
                Judgement::Refused(refusal) => Err(*refusal),
            };
            assert_eq!(got, want, "{user:?} {password:?} {is_shown}");
        }
    }

    #[test]
    fn a_device_has_the_client_id_in_its_certificate() {
        let device = |uris: &[&str]| {
            let uris = uris.iter().map(|uri| (*uri).to_owned()).collect();
            Some(PeerCertificate { uris, ..PeerCertificate::default() })
        };
        let plugin = Certified::Device { domain: "example.com".to_owned() };
        let refused = Verdict::Refused(Refusal::NotAuthorized);
        for (uris, is_let_in) in [
            (&["spiffe://example.com/device/d1"][..], true),
            (&["spiffe://example.com/device/d1", "spiffe://example.com/device/d2"], true),
            (&["spiffe://example.com/device/d2", "spiffe://example.com/device/d1"], false),
            (&["spiffe://example.com/device/d1/x"], false),
            (&["spiffe://example.com/device/"], false),
            (&["spiffe://example.org/device/d1"], false),
            (&["spiffe://example.com.evil/device/d1"], false),
            (&["https://example.com/device/d1"], false),
            (&[], false),
        ] {
            let want = if is_let_in { Verdict::Admitted } else { refused.clone() };
            assert_eq!(ask(&plugin, Some("any"), device(uris)), want, "{uris:?}");
        }
        assert_eq!(ask(&plugin, None, None), refused);
    }
}
