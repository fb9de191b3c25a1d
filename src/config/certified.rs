//! The options of `auth_certificate`, and of amqtt's class for certificates.

use serde_yaml::Mapping;

use super::effective::mapping;
use super::problem::Report;
use super::section::{Entry, Section};
use crate::access::{CertificateName, Certified};

/// The plugin's name.
pub(super) const NAME: &str = "auth_certificate";

/// Reads the options: `user` or amqtt's `uri-domain`.
pub(super) fn read(
    section: &mut Section<'_>,
    whole: &Entry<'_>,
    report: &mut Report,
) -> Option<Certified> {
    let user = section.value("user", report);
    let domain = section.value("uri-domain", report);
    match (user, domain) {
        (Some(user), None) => user.choice(&CertificateName::ALL, report).map(Certified::User),
        (None, Some(domain)) => {
            let text = domain.text("a domain", report)?;
            if text.contains('/') {
                domain.unexpected("a domain", "write it without `spiffe://` and path", report);
                return None;
            }
            let message = "the certificate proves the client id; a user name is still what the \
                           client says, as in amqtt: limit topics by client id, or take the user \
                           name from the certificate, with `user` in its place";
            report.warn(domain.spot(), message);
            Some(Certified::Device { domain: text.to_owned() })
        }
        (Some(user), Some(_)) => {
            report.error(user.spot(), "`uri-domain` is given too", "remove one of the two");
            None
        }
        (None, None) => {
            let mend = "write `user: common-name`, or `uri-domain: DOMAIN` as in amqtt";
            report.error(whole.spot(), "it is not said what the certificate proves", mend);
            None
        }
    }
}

/// The options as they are read.
pub(super) fn written(certified: &Certified) -> Mapping {
    match certified {
        Certified::User(kind) => {
            let name = CertificateName::ALL.iter().find(|(_, known)| known == kind);
            mapping([("user", name.map_or("common-name", |(name, _)| *name).into())])
        }
        Certified::Device { domain } => mapping([("uri-domain", domain.as_str().into())]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Authentication;
    use crate::config::tests::assert_problems;

    #[test]
    fn what_a_certificate_proves_must_be_said() {
        let device = Certified::Device { domain: "a.lan".to_owned() };
        for (options, want, problem) in [
            ("user: common-name", Some(Certified::User(CertificateName::CommonName)), None),
            ("user: DNS", Some(Certified::User(CertificateName::Dns)), None),
            (
                "uri_domain: a.lan",
                Some(device),
                Some("warning 3: OPTIONS.uri_domain: the certificate proves the client id"),
            ),
            (
                "uri_domain: spiffe://a",
                None,
                Some("error 3: OPTIONS.uri_domain: expected a domain"),
            ),
            ("user: name", None, Some("error 3: OPTIONS.user: expected one of common-name, uri")),
            (
                "user: uri, uri-domain: a",
                None,
                Some("error 3: OPTIONS.user: `uri-domain` is given"),
            ),
            ("", None, Some("error 3: OPTIONS: it is not said what the certificate proves")),
            (
                "user: uri, issuer: x",
                None,
                Some("error 3: OPTIONS.issuer: the key is not known here"),
            ),
        ] {
            for is_class in [false, true] {
                let class = "amqtt.contrib.cert.UserAuthCertPlugin";
                let (yaml, path) = match is_class {
                    false => (
                        format!(
                            "auth: {{plugins: [auth_certificate], certificate: {{{options}}}}}"
                        ),
                        "auth.certificate".to_owned(),
                    ),
                    true => {
                        (format!("plugins: {{{class}: {{{options}}}}}"), format!("plugins.{class}"))
                    }
                };
                let listener = "bind: ':1', ssl: on, certfile: c, keyfile: k, cafile: a";
                let yaml = format!("listeners:\n  x: {{{listener}}}\n{yaml}");
                let problem = problem.map(|problem| problem.replace("OPTIONS", &path));
                let problems: Vec<&str> = problem.as_deref().into_iter().collect();
                let config = assert_problems(&yaml, &problems);
                let got = config.map(|config| config.authentication);
                let want =
                    want.clone().map(|certified| vec![Authentication::Certificate(certified)]);
                assert_eq!(got, want, "{yaml}");
            }
        }
    }

    #[test]
    fn certificates_that_prove_nothing_are_warned_of() {
        let auth = "{plugins: [auth_certificate, auth_anonymous], certificate: {user: uri}}";
        let yaml = format!("listeners: {{x: {{bind: ':1'}}}}\nauth: {auth}");
        let want = [
            "warning 0: listeners: clients are to show certificates, and no listener takes any",
            "warning 2: auth.plugins: danger: a client without a certificate is let in under any",
        ];
        assert!(assert_problems(&yaml, &want).is_some());
    }
}
