//! The options of `auth_http`, and of amqtt's class of the same work.

use std::net::IpAddr;

use serde_yaml::Mapping;

use super::access::path_of;
use super::effective::{mapping, text};
use super::problem::Report;
use super::section::{Entry, Section};
use crate::access::{HttpParams, HttpResponse, HttpSettings, Method};

/// The plugin's name.
pub(super) const NAME: &str = "auth_http";

const METHODS: [(&str, Method); 3] =
    [("get", Method::Get), ("post", Method::Post), ("put", Method::Put)];
const PARAMS: [(&str, HttpParams); 2] = [("json", HttpParams::Json), ("form", HttpParams::Form)];
const RESPONSES: [(&str, HttpResponse); 3] =
    [("status", HttpResponse::Status), ("json", HttpResponse::Json), ("text", HttpResponse::Text)];

/// The longest time that an answer may take, and that a client is remembered, in seconds.
const TIMEOUT_MAX: i64 = 300;
const REMEMBER_MAX: i64 = 86_400;

/// Reads the options.
pub(super) fn read(
    section: &mut Section<'_>,
    whole: &Entry<'_>,
    report: &mut Report,
) -> Option<HttpSettings> {
    let host = section.value("host", report);
    let port = section.value("port", report);
    if host.is_none() || port.is_none() {
        let mend = "write `host: NAME` and `port: NUMBER`";
        report.error(whole.spot(), "a server needs a `host` and a `port`", mend);
    }
    let (host, port) = (host.as_ref().and_then(|entry| host_of(entry, report)), port);
    let port = port.and_then(|entry| entry.integer(1..=65_535, report));
    let port = port.and_then(|port| u16::try_from(port).ok());
    let mut settings = HttpSettings::new(host.unwrap_or_default(), port.unwrap_or_default());
    read_question(section, &mut settings, report);
    if let Some(entry) = section.value("timeout", report) {
        settings.timeout = seconds(&entry, 1..=TIMEOUT_MAX, settings.timeout, report);
    }
    if let Some(entry) = section.value("cache-seconds", report) {
        settings.remember = seconds(&entry, 0..=REMEMBER_MAX, settings.remember, report);
    }
    // For another plugin, whose options amqtt reads here too.
    section.value("topic-uri", report);
    section.value("acl-uri", report);
    if let Some(entry) = section.value("superuser-uri", report) {
        report.warn(entry.spot(), "has no effect, as in amqtt");
    }
    read_trust(section, whole, &mut settings, report);
    (host.is_some() && port.is_some()).then_some(settings)
}

fn host_of<'n>(entry: &Entry<'n>, report: &mut Report) -> Option<&'n str> {
    let host = entry.text("the name or the address of a server", report)?;
    if HttpSettings::is_host(host) {
        return Some(host);
    }
    let mend = "write the name alone, without `http://` and port";
    entry.unexpected("the name or the address of a server", mend, report);
    None
}

fn seconds(
    entry: &Entry<'_>,
    range: std::ops::RangeInclusive<i64>,
    default: u64,
    report: &mut Report,
) -> u64 {
    let read = entry.integer(range, report);
    read.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(default)
}

fn read_question(section: &mut Section<'_>, settings: &mut HttpSettings, report: &mut Report) {
    if let Some(entry) = section.value("user-uri", report) {
        match entry.word().filter(|word| HttpSettings::is_uri(word)) {
            Some(uri) => settings.uri = uri.to_owned(),
            None => entry.unexpected("a path like /user", "begin it with `/`", report),
        }
    }
    if let Some(entry) = section.value("request-method", report) {
        settings.method = entry.choice(&METHODS, report).unwrap_or(settings.method);
    }
    if let Some(entry) = section.value("params-mode", report) {
        settings.params = entry.choice(&PARAMS, report).unwrap_or(settings.params);
    }
    if let Some(entry) = section.value("response-mode", report) {
        settings.response = entry.choice(&RESPONSES, report).unwrap_or(settings.response);
    }
    if let Some(entry) = section.value("user-agent", report) {
        let is_fine = |word: &&str| word.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        match entry.text("a word or two", report).filter(is_fine) {
            Some(agent) => settings.user_agent = agent.to_owned(),
            None => entry.unexpected("a word or two", "write ASCII alone", report),
        }
    }
}

/// Over TLS or not, and whom to trust.
fn read_trust(
    section: &mut Section<'_>,
    whole: &Entry<'_>,
    settings: &mut HttpSettings,
    report: &mut Report,
) {
    if let Some(entry) = section.value("with-tls", report) {
        settings.is_tls = entry.switch(report) == Some(true);
    }
    let cafile = section.value("cafile", report);
    settings.cafile = cafile.as_ref().and_then(|entry| path_of(entry, report));
    if let Some(entry) = cafile.filter(|_| !settings.is_tls) {
        report.warn(entry.spot(), "has no effect without `with-tls: true`");
        settings.cafile = None;
    }
    let host = settings.host.as_str();
    let is_here = host.parse().map_or(host == "localhost", |ip: IpAddr| ip.is_loopback());
    if !settings.is_tls && !is_here && !host.is_empty() {
        let message = "passwords cross the network to that server as they are; `with-tls: true` \
                       encrypts them";
        report.warn(whole.spot(), message);
    }
}

/// The options as they are read.
pub(super) fn written(settings: &HttpSettings) -> Mapping {
    fn name<T: PartialEq>(choices: &[(&'static str, T)], choice: &T) -> serde_yaml::Value {
        let found = choices.iter().find(|(_, known)| known == choice);
        text(found.map(|(name, _)| *name))
    }
    mapping([
        ("host", settings.host.as_str().into()),
        ("port", settings.port.into()),
        ("user-uri", settings.uri.as_str().into()),
        ("request-method", name(&METHODS, &settings.method)),
        ("params-mode", name(&PARAMS, &settings.params)),
        ("response-mode", name(&RESPONSES, &settings.response)),
        ("with-tls", settings.is_tls.into()),
        (
            "cafile",
            text(settings.cafile.as_ref().map(|path| path.display().to_string()).as_deref()),
        ),
        ("user-agent", settings.user_agent.as_str().into()),
        ("timeout", settings.timeout.into()),
        ("cache-seconds", settings.remember.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Authentication;
    use crate::config::tests::assert_problems;

    const CLASS: &str = "amqtt.contrib.http.UserAuthHttpPlugin";

    fn both(options: &str) -> [(String, String); 2] {
        let head = "listeners: {default: {bind: ':1883'}}\n";
        [
            (
                format!("{head}auth: {{plugins: [auth_http], http: {{{options}}}}}"),
                "auth.http".to_owned(),
            ),
            (format!("{head}plugins: {{{CLASS}: {{{options}}}}}"), format!("plugins.{CLASS}")),
        ]
    }

    fn read(options: &str) -> HttpSettings {
        let [one, two] = both(options).map(|(yaml, _)| {
            let config = assert_problems(&yaml, &[]).expect("no problems");
            match &config.authentication[..] {
                [Authentication::Http(settings)] => settings.clone(),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(one, two);
        one
    }

    #[test]
    fn options_are_read_as_amqtt_documents_them() {
        let defaults = HttpSettings::new("localhost", 80);
        assert_eq!(read("host: localhost, port: 80"), defaults);
        assert_eq!(
            read(
                "host: '::1', port: '8080', user_uri: /a?b=c, request_method: POST, \
                 params_mode: form, response_mode: status, with_tls: true, user_agent: me too, \
                 timeout: 9, topic_uri: /acl, cafile: ca.pem, cache_seconds: 0"
            ),
            HttpSettings {
                host: "::1".to_owned(),
                port: 8080,
                uri: "/a?b=c".to_owned(),
                method: Method::Post,
                params: HttpParams::Form,
                response: HttpResponse::Status,
                is_tls: true,
                cafile: Some("ca.pem".into()),
                user_agent: "me too".to_owned(),
                timeout: 9,
                remember: 0,
            }
        );
    }

    #[test]
    fn what_is_wrong_is_refused_and_what_is_odd_warned_of() {
        for (options, want) in [
            ("host: localhost", "error 2: PATH: a server needs a `host` and a `port`"),
            ("host: 'http://a', port: 1", "error 2: PATH.host: expected the name or"),
            ("host: localhost, port: 0", "error 2: PATH.port: expected a whole number"),
            ("HERE, user_uri: user", "error 2: PATH.user_uri: expected a path like /user"),
            ("HERE, user_uri: '/a b'", "error 2: PATH.user_uri: expected a path like /user"),
            ("HERE, request_method: patch", "error 2: PATH.request_method: expected one of get,"),
            ("HERE, params_mode: xml", "error 2: PATH.params_mode: expected one of json, form"),
            ("HERE, response_mode: on", "error 2: PATH.response_mode: expected one of status,"),
            ("HERE, timeout: 0", "error 2: PATH.timeout: expected a whole number from 1 to 300"),
            ("HERE, with_tls: maybe", "error 2: PATH.with_tls: expected true or false"),
            ("HERE, pasword: x", "error 2: PATH.pasword: the key is not known here"),
            ("HERE, superuser_uri: /s", "warning 2: PATH.superuser_uri: has no effect"),
            ("HERE, cafile: a", "warning 2: PATH.cafile: has no effect without `with-tls"),
            ("host: auth.lan, port: 80", "warning 2: PATH: passwords cross the network"),
        ] {
            for (yaml, path) in both(&options.replace("HERE", "host: localhost, port: 80")) {
                assert_problems(&yaml, &[&want.replace("PATH", &path)]);
            }
        }
    }
}
