//! Who gets in without a proof of anything, and what a file that is read again must not open.
//!
//! A file may be cut short, or be read while it is written. What it no longer says would take
//! passwords and rules away from a broker that has listeners for everybody: that is no reload's to
//! do.

use super::{Authentication, Config, Listener};
use crate::access::Certified;

/// Clients whom a configuration lets in though nothing shows who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unproven {
    /// Those without a user name.
    pub(super) nameless: bool,
    /// Those with one, whatever it is.
    pub(super) named: bool,
}

impl Unproven {
    pub(super) fn by(config: &Config) -> Unproven {
        let plugins = &config.authentication;
        let lets_in = |plugin: &Authentication| matches!(plugin, Authentication::Anonymous { .. });
        let is_let_in = plugins.iter().any(lets_in);
        Unproven {
            nameless: is_let_in && plugins.iter().all(lets_nameless),
            named: is_let_in && !is_judged(config),
        }
    }
}

/// Whether somebody looks at who a client is.
pub(super) fn is_judged(config: &Config) -> bool {
    let judges = |plugin: &Authentication| !matches!(plugin, Authentication::Anonymous { .. });
    config.authentication.iter().any(judges)
}

/// Whether the plugin leaves a client alone that gives no user name and shows nothing.
fn lets_nameless(plugin: &Authentication) -> bool {
    match plugin {
        Authentication::Anonymous { is_allowed } => *is_allowed,
        Authentication::PasswordFile { .. }
        | Authentication::Certificate(Certified::User(_))
        | Authentication::Named(_) => true,
        Authentication::Certificate(Certified::Device { .. })
        | Authentication::Http(_)
        | Authentication::Jwt(_) => false,
    }
}

impl Config {
    /// What another configuration lets everybody do that this one does not, in words; none:
    /// nothing. Where a broker runs, a file that is read again may be cut short, or be wrong.
    pub fn opened_by(&self, to: &Config) -> Option<&'static str> {
        let (before, after) = (Unproven::by(self), Unproven::by(to));
        if after.named && !before.named {
            return Some("it would let in clients with any user name and no password");
        }
        if after.nameless && !before.nameless {
            return Some("it would let in clients without a user name and a password");
        }
        let lets_some_in = after.named || after.nameless;
        if lets_some_in && self.listeners.iter().any(|listener| listener.asks_more_than_in(to)) {
            return Some("it would let in clients without a certificate");
        }
        (self.is_limited() && !to.is_limited())
            .then_some("nothing in it says who may use which topics, and everybody could use all")
    }

    /// Whether anybody is ever denied anything.
    fn is_limited(&self) -> bool {
        self.policy().into_authoriser().is_some()
    }
}

impl Listener {
    /// Whether clients must show a certificate.
    pub(super) fn asks_for_certificate(&self) -> bool {
        self.certificates.as_ref().is_some_and(|files| files.is_required)
    }

    /// Whether they must here, and need not there.
    fn asks_more_than_in(&self, to: &Config) -> bool {
        let there = to.listeners.iter().find(|listener| listener.name == self.name);
        self.asks_for_certificate() && there.is_some_and(|there| !there.asks_for_certificate())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let loaded = Config::from_yaml(text, "b").unwrap_or_else(|errors| panic!("{errors}"));
        loaded.config
    }

    #[test]
    fn a_file_that_is_cut_short_anywhere_opens_nothing() {
        const WHOLE: [&str; 3] = [
            "listeners: {a: {bind: ':1883'}}\n",
            "auth: {plugins: [auth_file], password-file: p}\n",
            "rules: [{allow: all, user: ann}]\n",
        ];
        let before = config(&WHOLE.concat());
        for lines in 0..WHOLE.len() {
            let cut = config(&WHOLE[..lines].concat());
            assert!(before.opened_by(&cut).is_some(), "{lines} lines are left");
        }
        assert_eq!(before.opened_by(&before), None);
    }

    #[test]
    fn what_opens_more_than_before_is_told_from_what_does_not() {
        const ANYBODY: &str = "plugins: [auth_anonymous]";
        const NAMED: &str = "plugins: [auth_anonymous], allow-anonymous: no";
        const NAMELESS: &str = "password-file: p";
        const NOBODY: &str = "plugins: [auth_file], password-file: p";
        const TOKENS: &str = "plugins: [auth_anonymous, auth_jwt], jwt: {secret-key-file: k}";
        for (before, after, is_opened) in [
            (ANYBODY, NAMED, false),
            (ANYBODY, NOBODY, false),
            (ANYBODY, ANYBODY, false),
            (NAMED, ANYBODY, true),
            (NAMED, NAMELESS, true),
            (NAMELESS, NAMED, true),
            (NAMELESS, NOBODY, false),
            (NOBODY, NAMELESS, true),
            (NOBODY, NAMED, true),
            (NOBODY, TOKENS, false),
            (TOKENS, NAMELESS, true),
        ] {
            let with = |auth: &str| config(&format!("auth: {{{auth}}}"));
            let opened = with(before).opened_by(&with(after));
            assert_eq!(opened.is_some(), is_opened, "{before} -> {after}: {opened:?}");
        }
    }

    #[test]
    fn certificates_that_nobody_must_show_any_more_and_tokens_that_limit_nothing_open_too() {
        let listener = |certificate: &str, auth: &str| {
            config(&format!(
                "listeners: {{a: {{bind: ':1', ssl: on, certfile: c, keyfile: k, cafile: f, \
                 require-certificate: {certificate}}}}}\nauth: {{{auth}}}"
            ))
        };
        const OPEN: &str = "plugins: [auth_anonymous]";
        const CLOSED: &str = "plugins: [auth_file], password-file: p";
        for (auth, before, after, is_opened) in [
            (OPEN, "on", "off", true),
            (OPEN, "on", "on", false),
            (OPEN, "off", "on", false),
            (CLOSED, "on", "off", false),
        ] {
            let opened = listener(before, auth).opened_by(&listener(after, auth));
            assert_eq!(opened.is_some(), is_opened, "{auth}: {before} -> {after}");
        }
        let tokens = |claims: &str, rules: &str| {
            config(&format!(
                "auth: {{plugins: [auth_jwt], jwt: {{secret-key-file: k{claims}}}}}\n{rules}"
            ))
        };
        let (claims, rules) = (", publish-claim: p", "rules: [{allow: all, user: ann}]");
        assert!(tokens(claims, "").opened_by(&tokens("", "")).is_some());
        assert_eq!(tokens("", rules).opened_by(&tokens(claims, "")), None);
    }
}
