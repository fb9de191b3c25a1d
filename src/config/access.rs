//! The section `auth`, which says who may connect. `topics.rs` reads `topic-check`.
//!
//! Nothing is opened, no password file
//! read: `server/door.rs` does that.

use std::path::PathBuf;

use super::plugins::Plugins;
use super::problem::Report;
use super::section::{Entry, Section};
use super::{Authentication, Authorisation};
use super::{certified, http, jwt, topics};

/// The names of the plugin that lets anonymous clients in: amqtt's own, and the one in hbmqtt's
/// documentation, which never worked there.
pub(super) const ANONYMOUS_NAMES: &[&str] = &["auth_anonymous", "auth.anonymous"];

/// The names of the plugin that checks passwords.
const FILE_NAMES: &[&str] = &["auth_file", "auth.file"];

/// Plugins that `auth.plugins` may name, and that have no say in who may connect.
const BYSTANDERS: &[&str] =
    &["broker_sys", "event_logger_plugin", "packet_logger_plugin", "topic_acl", "topic_taboo"];

/// What is said of authentication.
pub(super) struct Auth {
    /// Whether there is a section `auth`.
    pub(super) is_given: bool,
    pub(super) plugins: Vec<Authentication>,
    /// Who is asked about topics.
    pub(super) topics: Vec<Authorisation>,
}

/// Reads both sections. `is_default`: no listeners are given either.
pub(super) fn read(
    top: &mut Section<'_>,
    plugins: &Plugins,
    is_default: bool,
    report: &mut Report,
) -> Auth {
    let auth = top.entry("auth", report);
    let topic_check = top.value("topic-check", report);
    let is_given = auth.is_some();
    if let Plugins::Classes { authentication, authorisation, .. } = plugins {
        for entry in [&auth, &topic_check].into_iter().flatten() {
            let message = "has no effect, as in amqtt: `plugins` names classes, and they decide";
            report.warn(entry.spot(), message);
        }
        let (plugins, topics) = (authentication.clone(), authorisation.clone());
        return Auth { is_given, plugins, topics };
    }
    let topics = topic_check.map_or_else(Vec::new, |entry| topics::read(&entry, report));
    let plugins = match &auth {
        Some(entry) => read_auth(entry, report),
        None if is_default => {
            let message = "not given: anybody may connect, with any user name and password";
            report.warn((None, "auth"), message);
            vec![Authentication::Anonymous { is_allowed: true }]
        }
        None => {
            let message = "not given: clients without a user name may connect, and those with one \
                           may not, as in amqtt; write `auth: {plugins: [auth_anonymous]}` to let \
                           everybody in";
            report.warn((None, "auth"), message);
            both(None)
        }
    };
    Auth { is_given, plugins, topics }
}

/// What amqtt does where no plugins are named.
fn both(path: Option<PathBuf>) -> Vec<Authentication> {
    vec![
        Authentication::Anonymous { is_allowed: true },
        Authentication::PasswordFile { path, is_required: false },
    ]
}

/// The keys of `auth` beside the plugins' names.
struct Keys<'n> {
    /// The sections of plugins that have one.
    sections: [(&'static str, Option<Entry<'n>>); 3],
    anonymous: Option<Entry<'n>>,
    is_allowed: bool,
    passwords: Option<Entry<'n>>,
    path: Option<PathBuf>,
}

fn read_auth(entry: &Entry<'_>, report: &mut Report) -> Vec<Authentication> {
    if entry.node.is_null() {
        let cause = "the section is empty, and amqtt would let nobody in";
        report.error(entry.spot(), cause, "write `allow-anonymous: true` in it, or remove it");
        return Vec::new();
    }
    let Some(mut section) = entry.section(report) else { return Vec::new() };
    let anonymous = section.guard("allow-anonymous", report);
    let passwords = section.value("password-file", report);
    let keys = Keys {
        is_allowed: anonymous.as_ref().is_none_or(|entry| entry.boolean(report) != Some(false)),
        path: passwords.as_ref().and_then(|entry| path_of(entry, report)),
        anonymous,
        passwords,
        sections: [
            (certified::NAME, section.value("certificate", report)),
            (http::NAME, section.value("http", report)),
            (jwt::NAME, section.value("jwt", report)),
        ],
    };
    let mut names = Vec::new();
    let plugins = match section.value("plugins", report) {
        Some(entry) => {
            let Some(items) = entry.list(report) else { return Vec::new() };
            names.extend(items.iter().filter_map(Entry::word));
            named(&entry, &items, &keys, report)
        }
        None => {
            if keys.passwords.is_none() {
                let message = "no `plugins` and no password-file are named here: every user name is \
                               refused, as in amqtt; write `plugins: [auth_anonymous]` to let \
                               everybody in";
                report.warn(entry.spot(), message);
            }
            let mut plugins = both(keys.path.clone());
            plugins[0] = Authentication::Anonymous { is_allowed: keys.is_allowed };
            plugins
        }
    };
    section.finish(report);
    refuse_idle_sections(&names, &keys, report);
    plugins
}

/// A section of options without its plugin is a slip that leaves the broker open.
fn refuse_idle_sections(names: &[&str], keys: &Keys<'_>, report: &mut Report) {
    for (name, entry) in &keys.sections {
        if let Some(entry) = entry.as_ref().filter(|_| !names.contains(name)) {
            let cause = format!("has no effect: {name} is not among the `plugins`");
            report.error(entry.spot(), cause, "add it there, or remove the section");
        }
    }
}

/// A path; one that is relative is so to the folder where the broker is started, as in amqtt.
pub(super) fn path_of(entry: &Entry<'_>, report: &mut Report) -> Option<PathBuf> {
    let word = entry.word().filter(|word| !word.is_empty());
    match word {
        _ if entry.is_placeholder() => entry.report_placeholder("write the path of a file", report),
        Some(word) => return Some(PathBuf::from(word)),
        None => entry.unexpected("the path of a file", "write one, or remove the key", report),
    }
    None
}

fn named(
    entry: &Entry<'_>,
    items: &[Entry<'_>],
    keys: &Keys<'_>,
    report: &mut Report,
) -> Vec<Authentication> {
    let errors = report.errors();
    let mut plugins = Vec::new();
    for item in items {
        let plugin = plugin_of(item, keys, report);
        plugins.extend(plugin.filter(|plugin| !plugins.contains(plugin)));
    }
    if plugins.is_empty() && report.errors() == errors {
        let cause = "none of these plugins would let a client in";
        report.error(entry.spot(), cause, "name auth_anonymous or auth_file");
    }
    warn_of_idle_keys(&plugins, keys, report);
    warn_of_pretenders(&plugins, entry, report);
    plugins
}

fn plugin_of(item: &Entry<'_>, keys: &Keys<'_>, report: &mut Report) -> Option<Authentication> {
    let name = item.word().unwrap_or_default();
    let is_anonymous = ANONYMOUS_NAMES.contains(&name);
    if (is_anonymous || FILE_NAMES.contains(&name)) && name.contains('.') {
        let read_as = name.replace('.', "_");
        report.warn(item.spot(), format!("read as {read_as}; amqtt knows no such plugin"));
    }
    if is_anonymous {
        return Some(Authentication::Anonymous { is_allowed: keys.is_allowed });
    }
    if FILE_NAMES.contains(&name) {
        if keys.passwords.is_none() {
            let cause = "auth_file needs a `password-file`, and none is given";
            report.error(item.spot(), cause, "write `password-file: PATH` in the section `auth`");
        }
        return Some(Authentication::PasswordFile { path: keys.path.clone(), is_required: true });
    }
    if let Some((_, section)) = keys.sections.iter().find(|(known, _)| *known == name) {
        return with_section(item, name, section.as_ref(), report);
    }
    if !BYSTANDERS.contains(&name) {
        refuse_auth_plugin(item, name, report);
    }
    None
}

/// A plugin whose options stand in a section of their own.
fn with_section(
    item: &Entry<'_>,
    name: &str,
    section: Option<&Entry<'_>>,
    report: &mut Report,
) -> Option<Authentication> {
    let Some(entry) = section else {
        let key = name.trim_start_matches("auth_");
        let cause = format!("{name} needs a section `{key}`, and none is given");
        report.error(item.spot(), cause, format!("write `{key}:` in the section `auth`"));
        return None;
    };
    let mut section = entry.section(report)?;
    let plugin = match name {
        certified::NAME => {
            certified::read(&mut section, entry, report).map(Authentication::Certificate)
        }
        http::NAME => http::read(&mut section, entry, report).map(Authentication::Http),
        _ => jwt::read(&mut section, entry, report).map(Authentication::Jwt),
    };
    section.finish_strictly(report);
    plugin
}

/// Says which keys have no effect, or one that is not expected.
fn warn_of_idle_keys(plugins: &[Authentication], keys: &Keys<'_>, report: &mut Report) {
    let is_file = |plugin: &Authentication| matches!(plugin, Authentication::PasswordFile { .. });
    let has_file = plugins.iter().any(is_file);
    let is_anonymous = |plugin: &Authentication| matches!(plugin, Authentication::Anonymous { .. });
    let has_anonymous = plugins.iter().any(is_anonymous);
    if let Some(entry) = keys.passwords.as_ref().filter(|_| !has_file && !plugins.is_empty()) {
        let message = "has no effect: auth_file is not among the `plugins`, so no password is \
                       looked at; add it there to have them checked";
        report.warn(entry.spot(), message);
    }
    let Some(entry) = &keys.anonymous else { return };
    if !has_anonymous && keys.is_allowed && !plugins.is_empty() {
        let message = "has no effect: auth_anonymous is not among the `plugins`, so clients without \
                       a user name are refused";
        report.warn(entry.spot(), message);
    }
    if plugins == [(Authentication::Anonymous { is_allowed: false })] {
        report.warn(entry.spot(), ANY_NAME);
    }
}

/// Warns where a certificate says who somebody is, and somebody without one may say it too.
pub(super) fn warn_of_pretenders(
    plugins: &[Authentication],
    place: &Entry<'_>,
    report: &mut Report,
) {
    let is_user = |plugin: &Authentication| {
        matches!(plugin, Authentication::Certificate(crate::access::Certified::User(_)))
    };
    let is_anonymous = |plugin: &Authentication| matches!(plugin, Authentication::Anonymous { .. });
    let has_others = plugins.iter().any(|plugin| !is_user(plugin) && !is_anonymous(plugin));
    if plugins.iter().any(is_user) && plugins.iter().any(is_anonymous) && !has_others {
        let message = "danger: a client without a certificate is let in under any user name, also \
                       one that is in somebody's certificate; leave auth_anonymous out";
        report.warn(place.spot(), message);
    }
}

/// What `allow-anonymous: false` means where no passwords are checked.
pub(super) const ANY_NAME: &str = "danger: every client that gives any user name is let in, with \
                                   any password, as in amqtt; to have passwords checked, add \
                                   auth_file and a password-file";

fn refuse_auth_plugin(item: &Entry<'_>, name: &str, report: &mut Report) {
    if item.is_placeholder() {
        return item.report_placeholder("write auth_anonymous", report);
    }
    let is_slip = |known: &&&str| strsim::damerau_levenshtein(name, known) <= 2;
    let known =
        [&ANONYMOUS_NAMES[..1], &FILE_NAMES[..1], &[certified::NAME, http::NAME, jwt::NAME]];
    let mend = known.concat().iter().find(is_slip).map_or(
        "remove it if the broker may do without; then check who may connect".to_owned(),
        |known| format!("the nearest known plugin is {known}"),
    );
    let cause = format!("{} is not a plugin that this broker has", item.node.describe());
    report.error(item.spot(), cause, mend);
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{assert_problems, load};

    const LISTENERS: &str = "listeners: {default: {bind: ':1883'}}\n";

    use crate::config::Authentication::{self, Anonymous, PasswordFile};

    fn file(path: &str) -> Authentication {
        PasswordFile { path: Some(path.into()), is_required: true }
    }

    #[test]
    fn plugins_are_read_in_every_spelling() {
        let open = Anonymous { is_allowed: true };
        for (auth, want) in [
            ("{plugins: [auth_anonymous]}", vec![open.clone()]),
            (
                "{plugins: [auth_anonymous], allow-anonymous: true, password-file: }",
                vec![open.clone()],
            ),
            ("{plugins: [auth_anonymous, broker_sys], allow_anonymous: 'yes'}", vec![open.clone()]),
            ("{plugins: [auth_anonymous, auth_anonymous]}", vec![open.clone()]),
            (
                "{plugins: [auth_anonymous]}\ntopic-check: {enabled: false, acl: {a: ...}}",
                vec![open.clone()],
            ),
            ("{plugins: [auth_anonymous]}\ntopic-check:", vec![open.clone()]),
            ("{plugins: [auth_file], password-file: p}", vec![file("p")]),
            (
                "{plugins: [auth_file, auth_anonymous], password_file: ./p q}",
                vec![file("./p q"), open.clone()],
            ),
            (
                "{plugins: [auth_anonymous, auth_file], password_file: 1, allow-anonymous: no}",
                vec![Anonymous { is_allowed: false }, file("1")],
            ),
            (
                "{password-file: p}",
                vec![open, PasswordFile { path: Some("p".into()), is_required: false }],
            ),
        ] {
            assert_eq!(load(&format!("{LISTENERS}auth: {auth}")).authentication, want, "{auth}");
        }
    }

    #[test]
    fn what_is_not_named_is_as_in_amqtt() {
        for (auth, is_allowed, want) in [
            ("", true, "warning 0: auth: not given: clients without a user name may connect"),
            ("auth: {}", true, "warning 2: auth: no `plugins` and no password-file"),
            ("auth: {plugins: }", true, "warning 2: auth: no `plugins` and no password-file"),
            ("auth: {allow-anonymous: no}", false, "warning 2: auth: no `plugins` and no password"),
        ] {
            let config = assert_problems(&format!("{LISTENERS}{auth}"), &[want]);
            let want = [Anonymous { is_allowed }, PasswordFile { path: None, is_required: false }];
            assert_eq!(config.expect("only a warning").authentication, want);
        }
    }

    #[test]
    fn what_is_odd_is_warned_of() {
        for (auth, want) in [
            ("{plugins: [auth.anonymous]}", "auth.plugins[0]: read as auth_anonymous; amqtt knows"),
            (
                "{plugins: [auth.file], password-file: p}",
                "auth.plugins[0]: read as auth_file; amqtt knows no such plugin",
            ),
            (
                "{plugins: [auth_anonymous], password-file: p}",
                "auth.password-file: has no effect: auth_file is not among the `plugins`",
            ),
            (
                "{plugins: [auth_file], password-file: p, allow-anonymous: true}",
                "auth.allow-anonymous: has no effect: auth_anonymous is not among",
            ),
            (
                "{plugins: [auth_anonymous], allow-anonymous: false}",
                "auth.allow-anonymous: danger: every client that gives any user name is let in",
            ),
            ("{plugins: [auth_anonymous], name: x}", "auth.name: the key is not known and has no"),
        ] {
            let want = format!("warning 2: {want}");
            assert!(assert_problems(&format!("{LISTENERS}auth: {auth}"), &[&want]).is_some());
        }
        assert_problems(
            &format!(
                "{LISTENERS}auth: {{plugins: [auth_anonymous]}}\ntopic-check: {{acl: {{a: [b]}}}}"
            ),
            &["warning 3: topic-check.acl: has no effect without `enabled: true`"],
        );
    }

    #[test]
    fn anything_that_keeps_somebody_out_and_is_not_understood_is_refused() {
        const OPEN: &str = "auth: {plugins: [auth_anonymous]}";
        for (auth, want) in [
            ("auth:", "error 2: auth: the section is empty"),
            ("auth: no", "error 2: auth: expected a section"),
            (
                "auth: {plugins: [auth_anonymous, auth_file], allow-anonymous: 1, password-file: p}",
                "error 2: auth.allow-anonymous: expected true or false",
            ),
            (
                "auth: {password-file: p, allow-anonymous: true / false}",
                "error 2: auth.allow-anonymous: `true / false` is the documentation's placeholder",
            ),
            (
                "auth: {plugins: [auth_anonymous, auth_file], password-file: p, allow-anonymous: }",
                "error 2: auth.allow-anonymous: nothing is given",
            ),
            (
                "auth: {password-file: []}",
                "error 2: auth.password-file: expected the path of a file",
            ),
            (
                "auth: {password-file: ...}",
                "error 2: auth.password-file: `...` is the documentation's",
            ),
            ("auth: {plugins: [auth_file]}", "error 2: auth.plugins[0]: auth_file needs a"),
            ("auth: {plugins: [auth_mine]}", "error 2: auth.plugins[0]: `auth_mine` is not a"),
            ("auth: {plugins: [auth_flie]}", "error 2: auth.plugins[0]: `auth_flie` is not a"),
            ("auth: {plugins: [...]}", "error 2: auth.plugins[0]: `...` is the documentation's"),
            ("auth: {plugins: [{}]}", "error 2: auth.plugins[0]: a section is not a plugin"),
            ("auth: {plugins: []}", "error 2: auth.plugins: none of these plugins would let"),
            ("auth: {plugins: [broker_sys]}", "error 2: auth.plugins: none of these plugins would"),
            ("auth: {plugins: auth_anonymous}", "error 2: auth.plugins: expected a list"),
            (
                "auth: {plugins: [auth_anonymous], alow-anonymous: false}",
                "error 2: auth.alow-anonymous: the key is not known here; it may be meant as \
                 `allow-anonymous`",
            ),
            (
                "auth: {plugins: [auth_anonymous], anonymous: false}",
                "error 2: auth.anonymous: the key is not known here; it may be meant as \
                 `allow-anonymous`",
            ),
            (
                "auth: {plugins: [auth_anonymous], passwd_file: p}",
                "error 2: auth.passwd_file: the key is not known here; it may be meant as \
                 `password-file`",
            ),
        ] {
            assert_problems(&format!("{LISTENERS}{auth}"), &[want]);
        }
        for (topics, want) in [
            (
                "topic_check: {enabled: maybe, plugins: [topic_taboo]}",
                "error 3: topic_check.enabled: expected true or",
            ),
            ("topic-check: [acl]", "error 3: topic-check: expected a section"),
            ("topic-chek: {enabled: true}", "error 3: topic-chek: the key is not known here"),
            ("password-file: x", "error 3: password-file: the key is not known here"),
        ] {
            assert_problems(&format!("{LISTENERS}{OPEN}\n{topics}"), &[want]);
        }
    }
}
