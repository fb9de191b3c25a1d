//! What is dangerous about a configuration, though it means just what it says.
//!
//! Judged by what a whole configuration comes to, whoever wrote it and in which dialect; so a
//! message names keys, not lines. Opens nothing: what is dangerous about files is in `files.rs`, and
//! who can read a password file is said when it is read.

use std::net::IpAddr;

use super::opening::{Unproven, is_judged};
use super::problem::{Place, Warning, printable};
use super::{Authentication, Authorisation, Config, Endpoint, Listener};
use crate::access::{Pattern, Rule, Who};

/// The dangers, in the order of the configuration; `source` is what messages call it.
pub(super) fn of(config: &Config, source: &str) -> Vec<Warning> {
    let mut found = Vec::new();
    let public = config.listeners.iter().filter(|listener| is_public(&listener.bind));
    for listener in public {
        let key = format!("listeners.{}", listener.name);
        found.extend(open(config, listener).map(|message| (key.clone(), message)));
        found.extend(readable(config, listener).map(|message| (key, message)));
    }
    found.extend(config.authorisation.iter().filter_map(|plugin| unproven(config, plugin)));
    found.dedup(); // two plugins of one section
    let warning = |(key, message): (String, String)| {
        let place = Place { source: source.to_owned(), position: None, key: printable(&key) };
        Warning { place, message: format!("danger: {message}") }
    };
    found.into_iter().map(warning).collect()
}

/// Whether others than programs on this machine may reach it. A name is taken for public, but
/// for one that never is.
fn is_public(endpoint: &Endpoint) -> bool {
    let Endpoint::Tcp(bind) = endpoint else { return false };
    match bind.host.as_deref() {
        None => true,
        Some(host) => match host.parse::<IpAddr>() {
            Ok(address) => !address.to_canonical().is_loopback(),
            Err(_) => !host.eq_ignore_ascii_case("localhost"),
        },
    }
}

/// Who gets in without a proof of anything.
fn open(config: &Config, listener: &Listener) -> Option<String> {
    let bind = printable(&listener.bind.to_string());
    let who = match Unproven::by(config) {
        _ if listener.asks_for_certificate() => return None,
        Unproven { nameless: false, named: false } => return None,
        Unproven { nameless: true, named: false } => {
            return Some(format!(
                "anybody who reaches {bind} and gives no user name is let in; write \
                 `allow-anonymous: false`, or bind 127.0.0.1"
            ));
        }
        Unproven { nameless: true, named: true } => "anybody",
        Unproven { nameless: false, named: true } => "anybody who gives any user name",
    };
    Some(format!(
        "{who} who reaches {bind} is let in, without a password; have passwords checked by \
         auth_file, or bind 127.0.0.1"
    ))
}

/// Passwords that others can read on their way. Behind a proxy, it is the proxy that encrypts;
/// one that is trusted where it can say nothing is none.
fn readable(config: &Config, listener: &Listener) -> Option<String> {
    let is_forwarded = listener.is_websocket && !listener.trusted_proxies.is_empty();
    let is_behind_proxy = listener.is_proxied || is_forwarded;
    let has_passwords = config.authentication.iter().any(|plugin| match plugin {
        Authentication::Anonymous { .. } | Authentication::Certificate(_) => false,
        Authentication::PasswordFile { path, .. } => path.is_some(),
        Authentication::Http(_) | Authentication::Jwt(_) | Authentication::Named(_) => true,
    });
    let is_readable = has_passwords && listener.certificates.is_none() && !is_behind_proxy;
    is_readable.then(|| {
        "passwords cross the network as they are; write `ssl: on` with `certfile` and `keyfile`, \
         or bind 127.0.0.1 and let a proxy encrypt"
            .to_owned()
    })
}

/// Rules that go by names which nobody has proven.
fn unproven(config: &Config, plugin: &Authorisation) -> Option<(String, String)> {
    let (key, goes_by_names) = match plugin {
        Authorisation::Acl(_) | Authorisation::Taboo => ("topic-check", true),
        Authorisation::Rules(rules) => ("rules", rules.rules.iter().any(goes_by_name)),
    };
    (goes_by_names && !is_judged(config)).then(|| {
        let message = "these rules go by user names, and a client has whatever name it gives: no \
                       password is looked at; have passwords checked by auth_file";
        (key.to_owned(), message.to_owned())
    })
}

/// Whether a client comes by more with a name than without one, or with another one.
fn goes_by_name(rule: &Rule) -> bool {
    let is_named = match rule.users {
        Who::Users(_) | Who::Named => true,
        Who::Anonymous => !rule.is_allowed,
        Who::Everybody => false,
    };
    is_named || rule.filters.iter().flatten().any(Pattern::names_user)
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    /// The dangers in short: each key, and the beginning of its message.
    fn dangers(yaml: &str) -> Vec<String> {
        let loaded = Config::from_yaml(yaml, "b").unwrap_or_else(|errors| panic!("{errors}"));
        let dangers = loaded.config.dangers("b");
        let short = |text: &str| text.split(';').next().unwrap_or_default().to_owned();
        dangers.iter().map(|danger| short(&danger.to_string())).collect()
    }

    #[test]
    fn a_public_listener_without_passwords_is_dangerous() {
        let anybody = |bind: &str| {
            vec![format!(
                "b: listeners.a: danger: anybody who reaches {bind} is let in, without a password"
            )]
        };
        for (bind, want) in [
            (":1883", anybody("*:1883")),
            ("0.0.0.0", anybody("0.0.0.0:1883")),
            ("192.168.1.1", anybody("192.168.1.1:1883")),
            ("[::]:1", anybody("[::]:1")),
            ("broker.example", anybody("broker.example:1883")),
            ("127.0.0.1", vec![]),
            ("127.9.9.9:1", vec![]),
            ("localhost", vec![]),
            ("[::1]", vec![]),
            ("unix:/x", vec![]),
        ] {
            let yaml = format!(
                "listeners: {{a: {{bind: '{bind}'}}}}\nauth: {{plugins: [auth_anonymous]}}"
            );
            assert_eq!(dangers(&yaml), want, "{bind}");
        }
    }

    #[test]
    fn what_is_dangerous_depends_on_plugins_and_on_what_connections_travel_in() {
        const OPEN: &str = "b: listeners.a: danger: anybody who reaches *:1883 is let in, without a \
                            password";
        const NAMED: &str = "b: listeners.a: danger: anybody who gives any user name who reaches \
                             *:1883 is let in, without a password";
        const NAMELESS: &str = "b: listeners.a: danger: anybody who reaches *:1883 and gives no \
                                user name is let in";
        const READABLE: &str = "b: listeners.a: danger: passwords cross the network as they are";
        let tls = "ssl: on, certfile: c, keyfile: k";
        let required = format!("{tls}, require-certificate: on");
        for (keys, auth, want) in [
            ("", "plugins: [auth_anonymous]", &[OPEN][..]),
            (tls, "plugins: [auth_anonymous]", &[OPEN]),
            (&required, "plugins: [auth_anonymous]", &[]),
            ("", "plugins: [auth_anonymous], allow-anonymous: no", &[NAMED]),
            ("", "password-file: p", &[NAMELESS, READABLE]),
            (tls, "password-file: p", &[NAMELESS]),
            (tls, "password-file: p, allow-anonymous: no", &[]),
            (tls, "plugins: [auth_anonymous, auth_jwt], jwt: {secret-key-file: k}", &[]),
            ("", "plugins: [auth_file], password-file: p", &[READABLE]),
            ("type: ws", "plugins: [auth_file], password-file: p", &[READABLE]),
            ("trusted-proxies: 10.0.0.1", "plugins: [auth_file], password-file: p", &[READABLE]),
            ("type: ws, trusted-proxies: 10.0.0.1", "plugins: [auth_file], password-file: p", &[]),
            (
                "proxy-protocol: on, trusted-proxies: 10.0.0.1",
                "plugins: [auth_file], password-file: p",
                &[],
            ),
        ] {
            let yaml = format!("listeners: {{a: {{bind: ':1883', {keys}}}}}\nauth: {{{auth}}}");
            assert_eq!(dangers(&yaml), want, "{yaml}");
        }
    }

    #[test]
    fn rules_that_go_by_names_which_nobody_proves_are_dangerous() {
        const WANT: &str = "danger: these rules go by user names, and a client has whatever name it \
                            gives: no password is looked at";
        for (rules, key) in [
            (
                "topic-check: {enabled: on, plugins: [topic_acl], publish-acl: {a: [b]}, acl: {a: [b]}}",
                "topic-check",
            ),
            ("topic-check: {enabled: on, plugins: [topic_taboo]}", "topic-check"),
            ("topic-check: {enabled: off, acl: {a: [b]}}", ""),
            ("rules: [{allow: all, user: a}]", "rules"),
            ("rules: [{allow: all, anonymous: false}]", "rules"),
            ("rules: [{deny: publish, anonymous: true}, {allow: all}]", "rules"),
            ("rules: [{allow: all, anonymous: true}]", ""),
            ("rules: [{allow: all, filters: 'u/%u/#'}]", "rules"),
            ("rules: [{allow: all, filters: 'u/%c/#'}]", ""),
            ("rules: [{allow: all, address: 10.0.0.1}]", ""),
        ] {
            for (auth, is_dangerous) in [
                ("plugins: [auth_anonymous]", true),
                ("plugins: [auth_anonymous], allow-anonymous: no", true),
                ("plugins: [auth_anonymous, auth_file], password-file: p", false),
            ] {
                let yaml =
                    format!("listeners: {{a: {{bind: localhost}}}}\nauth: {{{auth}}}\n{rules}");
                let want = is_dangerous && !key.is_empty();
                let want: Vec<String> =
                    want.then(|| format!("b: {key}: {WANT}")).into_iter().collect();
                assert_eq!(dangers(&yaml), want, "{yaml}");
            }
        }
    }

    #[test]
    fn nothing_is_dangerous_about_the_default() {
        assert_eq!(Config::default().dangers("b"), []);
    }
}
