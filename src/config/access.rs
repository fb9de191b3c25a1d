//! The sections `auth` and `topic-check`: this version serves open brokers only.
//!
//! Anything that would keep a client out, or from a topic, is refused; what amounts to "everybody
//! may" is accepted. Nothing is opened, no password file read.

use super::plugins::Plugins;
use super::problem::Report;
use super::section::{Entry, Section};
use super::yaml::Kind;

/// The names of the plugin that lets anonymous clients in: amqtt's own, and the one in hbmqtt's
/// documentation, which never worked there.
pub(super) const ANONYMOUS_NAMES: &[&str] = &["auth_anonymous", "auth.anonymous"];

/// The names of the plugin that checks passwords.
const FILE_NAMES: &[&str] = &["auth_file", "auth.file"];

/// Plugins that `auth.plugins` may name, and that have no say in who may connect.
const BYSTANDERS: &[&str] =
    &["broker_sys", "event_logger_plugin", "packet_logger_plugin", "topic_acl", "topic_taboo"];

/// Checks both sections. Says whether `auth` is given.
pub(super) fn check(top: &mut Section<'_>, plugins: &Plugins, report: &mut Report) -> bool {
    let auth = top.entry("auth", report);
    let topics = top.value("topic-check", report);
    if matches!(plugins, Plugins::Classes { .. }) {
        for entry in [&auth, &topics].into_iter().flatten() {
            let message = "has no effect, as in amqtt: `plugins` names classes, and they decide";
            report.warn(entry.spot(), message);
        }
        return auth.is_some();
    }
    match &auth {
        Some(entry) => check_auth(entry, report),
        None => {
            let message = "not given: anybody may connect, with any user name and password";
            report.warn((None, "auth"), message);
        }
    }
    if let Some(entry) = topics {
        check_topics(&entry, report);
    }
    auth.is_some()
}

/// Refuses `allow-anonymous` unless it is true. Says whether it is.
pub(super) fn require_anonymous(entry: &Entry<'_>, report: &mut Report) -> bool {
    let is_allowed = entry.boolean(report);
    if is_allowed == Some(false) {
        let cause = "clients must have a user name here, which this version does not serve yet";
        let mend = "set it to true if anybody may connect";
        report.error(entry.spot(), cause, mend);
    }
    is_allowed == Some(true)
}

fn check_auth(entry: &Entry<'_>, report: &mut Report) {
    if entry.node.is_null() {
        let cause = "the section is empty, and amqtt would let nobody in";
        report.error(entry.spot(), cause, "write `allow-anonymous: true` in it, or remove it");
        return;
    }
    let Some(mut section) = entry.section(report) else { return };
    let anonymous = section.value("allow-anonymous", report);
    let is_open = anonymous.is_none_or(|entry| require_anonymous(&entry, report));
    let passwords = section.value("password-file", report);
    if let Some(entry) = &passwords {
        let cause = "passwords are not served by this version yet";
        report.error(entry.spot(), cause, "remove the key if anybody may connect");
    }
    match section.value("plugins", report) {
        Some(entry) => check_auth_plugins(&entry, report),
        None if is_open && passwords.is_none() => {
            let message = "no `plugins` are named here: anybody may connect, with any user name \
                           and password; amqtt would let in only those without a user name, for \
                           its auth_file has no password-file";
            report.warn(entry.spot(), message);
        }
        None => {}
    }
    section.finish(report);
}

fn check_auth_plugins(entry: &Entry<'_>, report: &mut Report) {
    let Some(items) = entry.list(report) else { return };
    let mut lets_in = false;
    for item in items {
        let name = item.word().unwrap_or_default();
        if ANONYMOUS_NAMES.contains(&name) {
            lets_in = true;
            if name.contains('.') {
                report.warn(item.spot(), "read as auth_anonymous; amqtt knows no such plugin");
            }
        } else if !BYSTANDERS.contains(&name) {
            lets_in = true;
            refuse_auth_plugin(&item, name, report);
        }
    }
    if !lets_in {
        let cause = "none of these plugins would let a client in";
        report.error(entry.spot(), cause, "name auth_anonymous");
    }
}

fn refuse_auth_plugin(item: &Entry<'_>, name: &str, report: &mut Report) {
    if item.is_placeholder() {
        return item.report_placeholder("write auth_anonymous", report);
    }
    if FILE_NAMES.contains(&name) {
        let cause = "checking passwords (auth_file) is not served by this version yet";
        let mend = "leave auth_anonymous alone in the list if anybody may connect";
        return report.error(item.spot(), cause, mend);
    }
    let is_slip = |known: &&&str| strsim::damerau_levenshtein(name, known) <= 2;
    let mend = ANONYMOUS_NAMES.iter().chain(FILE_NAMES).find(is_slip).map_or(
        "remove it if the broker may do without; then check who may connect".to_owned(),
        |known| format!("the nearest known plugin is {known}"),
    );
    let cause = format!("{} is not a plugin that this broker has", item.node.describe());
    report.error(item.spot(), cause, mend);
}

fn check_topics(entry: &Entry<'_>, report: &mut Report) {
    let Some(mut section) = entry.section(report) else { return };
    let enabled = section.value("enabled", report);
    let is_enabled = enabled.as_ref().map(|entry| entry.boolean(report));
    if let Some(entry) = enabled.filter(|_| is_enabled == Some(Some(true))) {
        let cause = "limiting users to topics is not served by this version yet";
        let mend = "set it to false if anybody may use any topic";
        report.error(entry.spot(), cause, mend);
    }
    for name in ["plugins", "acl", "subscribe-acl", "publish-acl", "receive-acl"] {
        let Some(limit) = section.value(name, report) else { continue };
        match is_enabled {
            None => report.warn(limit.spot(), "has no effect without `enabled: true`, as in amqtt"),
            Some(Some(false)) => {}
            Some(_) => refuse_placeholders(&limit, report),
        }
    }
    section.finish(report);
}

/// Refuses the `...` that stands for lists of topics in the documentation.
fn refuse_placeholders(limit: &Entry<'_>, report: &mut Report) {
    let is_section = matches!(limit.node.kind, Kind::Map(_));
    let Some(section) = is_section.then(|| limit.section(report)).flatten() else { return };
    for (_, user) in section.all().filter(|(_, user)| user.is_placeholder()) {
        user.report_placeholder("write a list of topics", report);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{assert_problems, load};

    const LISTENERS: &str = "listeners: {default: {bind: ':1883'}}\n";

    #[test]
    fn open_access_is_accepted() {
        for auth in [
            "auth: {plugins: [auth_anonymous]}",
            "auth: {plugins: [auth_anonymous], allow-anonymous: true, password-file: }",
            "auth: {plugins: [auth_anonymous, broker_sys], allow_anonymous: 'yes'}",
            "auth: {plugins: [auth_anonymous]}\ntopic-check: {enabled: false, acl: {a: ...}}",
            "auth: {plugins: [auth_anonymous]}\ntopic-check:",
        ] {
            load(&format!("{LISTENERS}{auth}"));
        }
    }

    #[test]
    fn access_that_is_open_because_nothing_is_said_is_warned_of() {
        for (auth, want) in [
            ("", "warning 0: auth: not given: anybody may connect"),
            ("auth: {}", "warning 2: auth: no `plugins` are named here: anybody may connect"),
            ("auth: {allow-anonymous: true}", "warning 2: auth: no `plugins` are named here"),
            ("auth: {plugins: }", "warning 2: auth: no `plugins` are named here"),
            ("auth: {plugins: [auth.anonymous]}", "warning 2: auth.plugins[0]: read as auth_anon"),
            (
                "auth: {plugins: [auth_anonymous]}\ntopic-check: {acl: {a: [b]}}",
                "warning 3: topic-check.acl: has no effect without `enabled: true`",
            ),
            (
                "auth: {plugins: [auth_anonymous], name: x}",
                "warning 2: auth.name: the key is not known and has no effect",
            ),
        ] {
            assert!(assert_problems(&format!("{LISTENERS}{auth}"), &[want]).is_some());
        }
    }

    #[test]
    fn anything_that_keeps_somebody_out_is_refused() {
        const OPEN: &str = "auth: {plugins: [auth_anonymous]}";
        for (auth, want) in [
            ("auth:", "error 2: auth: the section is empty"),
            ("auth: no", "error 2: auth: expected a section"),
            ("auth: {allow-anonymous: false}", "error 2: auth.allow-anonymous: clients must"),
            (
                "auth: {plugins: [auth_anonymous], allow-anonymous: false}",
                "error 2: auth.allow-anonymous: clients must have a user name",
            ),
            ("auth: {allow-anonymous: 1}", "error 2: auth.allow-anonymous: expected true or false"),
            (
                "auth: {allow-anonymous: true / false}",
                "error 2: auth.allow-anonymous: `true / false` is the documentation's placeholder",
            ),
            ("auth: {password-file: p}", "error 2: auth.password-file: passwords are not served"),
            (
                "auth: {plugins: [auth_anonymous], password-file: p}",
                "error 2: auth.password-file: passwords are not served",
            ),
            ("auth: {plugins: [auth_file]}", "error 2: auth.plugins[0]: checking passwords"),
            ("auth: {plugins: [auth.file]}", "error 2: auth.plugins[0]: checking passwords"),
            (
                "auth: {plugins: [auth_anonymous, auth_file]}",
                "error 2: auth.plugins[1]: checking passwords (auth_file) is not served",
            ),
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
        ] {
            assert_problems(&format!("{LISTENERS}{auth}"), &[want]);
        }
        for (topics, want) in [
            ("topic-check: {enabled: true}", "error 3: topic-check.enabled: limiting users"),
            ("topic-check: {enabled: 'on'}", "error 3: topic-check.enabled: limiting users"),
            ("topic_check: {enabled: maybe}", "error 3: topic_check.enabled: expected true or"),
            ("topic-check: [acl]", "error 3: topic-check: expected a section"),
            ("topic-chek: {enabled: true}", "error 3: topic-chek: the key is not known here"),
            ("password-file: x", "error 3: password-file: the key is not known here"),
        ] {
            assert_problems(&format!("{LISTENERS}{OPEN}\n{topics}"), &[want]);
        }
    }

    #[test]
    fn the_placeholder_for_topics_is_refused() {
        assert_problems(
            &format!(
                "{LISTENERS}auth: {{plugins: [auth_anonymous]}}\n\
                      topic-check:\n  enabled: true\n  acl:\n    a: [b]\n    c: ...\n"
            ),
            &[
                "error 4: topic-check.enabled: limiting users",
                "error 7: topic-check.acl.c: `...` is the documentation's placeholder",
            ],
        );
    }
}
