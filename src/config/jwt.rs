//! The options of `auth_jwt`, and of amqtt's two classes for tokens.
//!
//! Keys are not looked at: they are when the broker starts.

use serde_yaml::Mapping;

use super::access::path_of;
use super::effective::{mapping, text};
use super::problem::Report;
use super::section::{Entry, Section};
use crate::access::{JwtAlgorithm, JwtKey, JwtSettings, Secret, TopicClaims};

/// The plugin's name.
pub(super) const NAME: &str = "auth_jwt";

/// The options for topics, which amqtt has in a class of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topics {
    /// If one is given.
    pub(super) key: Option<JwtKey>,
    pub(super) algorithm: JwtAlgorithm,
    pub(super) claims: TopicClaims,
}

/// Reads the options for users; in the section `auth` those for topics too.
pub(super) fn read(
    section: &mut Section<'_>,
    whole: &Entry<'_>,
    report: &mut Report,
) -> Option<JwtSettings> {
    let algorithm = algorithm(section, report);
    let key = key(section, algorithm, report);
    if key == Some(None) {
        let mend = match algorithm.secret_bytes_min() {
            Some(_) => "write `secret-key: SECRET`, or `secret-key-file: PATH`",
            None => "write `public-key-file: PATH`",
        };
        report.error(whole.spot(), "no key is given to check tokens with", mend);
    }
    let mut word = |name, kind| {
        let entry = section.guard(name, report)?;
        Some(entry.text(kind, report).unwrap_or_default().to_owned())
    };
    let user_claim = word("user-claim", "the name of a claim").unwrap_or("sub".to_owned());
    let audience = word("audience", "whom tokens are for");
    let issuer = word("issuer", "who makes tokens");
    let topics = claims(section, report);
    Some(JwtSettings { algorithm, key: key??, user_claim, audience, issuer, topics })
}

/// Where a key may stand.
const KEYS: [&str; 3] = ["secret-key", "secret-key-file", "public-key-file"];

/// Reads the options of the class for topics.
pub(super) fn read_topics(
    section: &mut Section<'_>,
    whole: &Entry<'_>,
    report: &mut Report,
) -> Option<Topics> {
    let algorithm = algorithm(section, report);
    let key = key(section, algorithm, report)?;
    let claims = claims(section, report);
    if claims.publish.is_none() || claims.subscribe.is_none() || claims.receive.is_none() {
        let cause = "the claims that list topics are not all named";
        let mend = "write `publish_claim`, `subscribe_claim` and `receive_claim`";
        report.error(whole.spot(), cause, mend);
        return None;
    }
    Some(Topics { key, algorithm, claims })
}

fn algorithm(section: &mut Section<'_>, report: &mut Report) -> JwtAlgorithm {
    let Some(entry) = section.value("algorithm", report) else { return JwtAlgorithm::DEFAULT };
    let found = entry.word().and_then(JwtAlgorithm::named);
    if found.is_none() {
        let names: Vec<&str> = JwtAlgorithm::names().collect();
        let expected = format!("one of {}", names.join(", "));
        entry.unexpected(&expected, "write the one that tokens are signed with", report);
    }
    found.unwrap_or(JwtAlgorithm::DEFAULT)
}

/// The key; within, none: none is given. None: what is given is wrong, and reported.
fn key(
    section: &mut Section<'_>,
    algorithm: JwtAlgorithm,
    report: &mut Report,
) -> Option<Option<JwtKey>> {
    let [here, secret_file, public_file] = KEYS.map(|name| section.value(name, report));
    let given: Vec<&Entry<'_>> =
        [&here, &secret_file, &public_file].into_iter().flatten().collect();
    if let [_, second, ..] = given[..] {
        report.error(second.spot(), "another key is given too", "remove one of the two");
        return None;
    }
    let takes_secret = algorithm.secret_bytes_min().is_some();
    let unfit = if takes_secret { &public_file } else { &secret_file };
    if let Some(entry) = unfit {
        let (name, right) = match takes_secret {
            true => (algorithm.name(), "takes a secret: write `secret-key-file`, or name another"),
            false => (algorithm.name(), "takes a public key: write `public-key-file`"),
        };
        report.error(entry.spot(), format!("{name} {right}"), "mend the key or the `algorithm`");
        return None;
    }
    if let Some(entry) = secret_file.or(public_file) {
        return path_of(&entry, report).map(|path| Some(JwtKey::File(path)));
    }
    let Some(entry) = here else { return Some(None) };
    // Not `unexpected`, which would show it.
    let Some(text) = entry.word().filter(|word| !word.is_empty() && !entry.is_placeholder()) else {
        let cause = "expected a secret";
        report.error(entry.spot(), cause, "write it, in quotes, or name its file");
        return None;
    };
    let bytes_min = algorithm.secret_bytes_min().unwrap_or(0);
    if text.len() < bytes_min {
        let message = format!(
            "the secret has {} bytes: with fewer than {bytes_min}, whoever has a token can search \
             for it",
            text.len()
        );
        report.warn(entry.spot(), message);
    }
    Some(Some(JwtKey::Here(Secret::new(text))))
}

fn claims(section: &mut Section<'_>, report: &mut Report) -> TopicClaims {
    let [publish, subscribe, receive] =
        ["publish-claim", "subscribe-claim", "receive-claim"].map(|name| {
            let entry = section.guard(name, report)?;
            entry.text("the name of a claim", report).map(str::to_owned)
        });
    TopicClaims { publish, subscribe, receive }
}

/// The options as they are read, but for the secret.
pub(super) fn written(settings: &JwtSettings) -> Mapping {
    let file_key = match settings.algorithm.secret_bytes_min() {
        Some(_) => "secret-key-file",
        None => "public-key-file",
    };
    let (key, shown) = match &settings.key {
        JwtKey::Here(_) => ("secret-key", "...".to_owned()),
        JwtKey::File(path) => (file_key, path.display().to_string()),
    };
    mapping([
        ("algorithm", settings.algorithm.name().into()),
        (key, shown.into()),
        ("user-claim", settings.user_claim.as_str().into()),
        ("audience", text(settings.audience.as_deref())),
        ("issuer", text(settings.issuer.as_deref())),
        ("publish-claim", text(settings.topics.publish.as_deref())),
        ("subscribe-claim", text(settings.topics.subscribe.as_deref())),
        ("receive-claim", text(settings.topics.receive.as_deref())),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::assert_problems;
    use crate::config::{Authentication, Config};

    const HEAD: &str = "listeners: {default: {bind: ':1883'}}\n";
    const USER: &str = "amqtt.contrib.jwt.UserAuthJwtPlugin";
    const TOPIC: &str = "amqtt.contrib.jwt.TopicAuthJwtPlugin";
    const SECRET: &str = "a secret of two and thirty bytes";

    fn settings(config: &Config) -> &JwtSettings {
        match &config.authentication[..] {
            [Authentication::Jwt(settings)] => settings,
            other => panic!("{other:?}"),
        }
    }

    fn here(text: &str) -> JwtKey {
        JwtKey::Here(Secret::new(text))
    }

    #[test]
    fn tokens_are_configured_in_both_styles() {
        let options = format!("secret_key: {SECRET}, user_claim: name");
        let topics = "publish_claim: p, subscribe_claim: s, receive_claim: r";
        let claim = |text: &str| Some(text.to_owned());
        let claims =
            TopicClaims { publish: claim("p"), subscribe: claim("s"), receive: claim("r") };
        for (text, want) in [
            (format!("auth: {{plugins: [auth_jwt], jwt: {{{options}}}}}"), TopicClaims::default()),
            (format!("plugins: {{{USER}: {{{options}}}}}"), TopicClaims::default()),
            (
                format!("auth: {{plugins: [auth_jwt], jwt: {{{options}, {topics}}}}}"),
                claims.clone(),
            ),
            (format!("plugins: {{{TOPIC}: {{{topics}}}, {USER}: {{{options}}}}}"), claims.clone()),
            (
                format!(
                    "plugins: [{USER}: {{{options}}}, {TOPIC}: {{secret_key: {SECRET}, {topics}}}]"
                ),
                claims,
            ),
        ] {
            let config = assert_problems(&format!("{HEAD}{text}"), &[]).expect("no problems");
            let want = JwtSettings {
                algorithm: JwtAlgorithm::DEFAULT,
                key: here(SECRET),
                user_claim: "name".to_owned(),
                audience: None,
                issuer: None,
                topics: want,
            };
            assert_eq!(*settings(&config), want, "{text}");
            let shown = config.to_yaml();
            assert!(!shown.contains(SECRET) && !format!("{config:?}").contains(SECRET), "{shown}");
            let error = Config::from_yaml(&shown, "again").expect_err("a secret is missing");
            assert!(error.to_string().contains("secret-key: expected a secret"), "{error}");
        }
    }

    #[test]
    fn a_key_in_a_file_is_written_and_read_again() {
        for (options, algorithm) in [
            ("public-key-file: k.pem, algorithm: RS256, audience: us, issuer: them", "RS256"),
            ("secret-key-file: k.pem, algorithm: hs512", "HS512"),
        ] {
            let text = format!("{HEAD}auth: {{plugins: [auth_jwt], jwt: {{{options}}}}}");
            let config = assert_problems(&text, &[]).expect("no problems");
            let found = settings(&config);
            assert_eq!((found.algorithm.name(), found.user_claim.as_str()), (algorithm, "sub"));
            assert_eq!(found.key, JwtKey::File("k.pem".into()));
            let again = assert_problems(&config.to_yaml(), &[]).expect("what is written is read");
            assert_eq!(again, config);
        }
    }

    #[test]
    fn what_would_check_less_than_is_meant_is_refused() {
        for (options, want) in [
            ("", "error 2: auth.jwt: no key is given to check tokens with; write `secret-key"),
            (
                "algorithm: ES256",
                "error 2: auth.jwt: no key is given to check tokens with; write `p",
            ),
            (
                "secret-key-file: x, algorithm: none",
                "error 2: auth.jwt.algorithm: expected one of HS256",
            ),
            (
                "secret-key-file: x, algorithm: ES512",
                "error 2: auth.jwt.algorithm: expected one of HS2",
            ),
            ("secret-key: ''", "error 2: auth.jwt.secret-key: expected a secret; write it"),
            ("secret-key: [x]", "error 2: auth.jwt.secret-key: expected a secret; write it"),
            (
                "secret-key: x, secret-key-file: y",
                "error 2: auth.jwt.secret-key-file: another key is given too",
            ),
            ("public-key-file: x", "error 2: auth.jwt.public-key-file: HS256 takes a secret"),
            (
                "secret-key-file: x, algorithm: EdDSA",
                "error 2: auth.jwt.secret-key-file: EdDSA takes a public key",
            ),
            ("secret-key-file: x, isuer: y", "error 2: auth.jwt.isuer: the key is not known here"),
            ("secret-key-file: x, user-claim: ''", "error 2: auth.jwt.user-claim: expected the n"),
            ("secret-key-file: x, issuer: ", "error 2: auth.jwt.issuer: nothing is given"),
            ("secret-key-file: x, publish-claim: ", "error 2: auth.jwt.publish-claim: nothing"),
            ("secret-key: short", "warning 2: auth.jwt.secret-key: the secret has 5 bytes"),
        ] {
            let text = format!("{HEAD}auth: {{plugins: [auth_jwt], jwt: {{{options}}}}}");
            assert_problems(&text, &[want]);
        }
        let user = format!("{USER}: {{secret_key: {SECRET}, user_claim: name}}");
        let topics = "publish_claim: p, subscribe_claim: s";
        for (plugins, want) in [
            (format!("{user}, {TOPIC}: {{{topics}}}"), "the claims that list topics are not all"),
            (
                format!("{user}, {TOPIC}: {{{topics}, receive_claim: r, secret_key: {SECRET}!}}"),
                "UserAuthJwtPlugin has another key or algorithm",
            ),
            (
                format!("{user}, {TOPIC}: {{{topics}, receive_claim: r, algorithm: HS512}}"),
                "UserAuthJwtPlugin has another key or algorithm",
            ),
            (
                format!(
                    "amqtt.plugins.authentication.AnonymousAuthPlugin: , {TOPIC}: {{{topics}, \
                     receive_claim: r}}"
                ),
                "tokens are checked by UserAuthJwtPlugin, which is not among the plugins",
            ),
        ] {
            let want = format!("error 2: plugins.{TOPIC}: {want}");
            assert_problems(&format!("{HEAD}plugins: {{{plugins}}}"), &[&want]);
        }
        for (auth, want) in [
            ("{plugins: [auth_jwt]}", "error 2: auth.plugins[0]: auth_jwt needs a section `jwt`"),
            (
                "{plugins: [auth_anonymous], jwt: {secret-key-file: x}}",
                "error 2: auth.jwt: has no effect: auth_jwt is not among the `plugins`",
            ),
            ("{plugins: [auth_jtw]}", "error 2: auth.plugins[0]: `auth_jtw` is not a plugin"),
        ] {
            assert_problems(&format!("{HEAD}auth: {auth}"), &[want]);
        }
    }
}
