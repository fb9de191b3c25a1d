//! The sections `auth` and `topic-check`: this version serves open brokers only.
//!
//! Anything that would keep a client out, or from a topic, is refused; what amounts to "everybody
//! may" is accepted. Nothing is opened, no password file read.

use super::plugins::Plugins;
use super::problem::Report;
use super::section::{Entry, Section, is_placeholder};
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
    let shown = item.node.describe();
    let (cause, mend) = if FILE_NAMES.contains(&name) {
        (
            "checking passwords (auth_file) is not served by this version yet".to_owned(),
            "leave auth_anonymous alone in the list if anybody may connect".to_owned(),
        )
    } else if is_placeholder(Some(name)) {
        let cause = format!("{shown} is the documentation's placeholder, not a value");
        (cause, "write auth_anonymous".to_owned())
    } else {
        let is_slip = |known: &&str| strsim::damerau_levenshtein(name, known) <= 2;
        let mend = ANONYMOUS_NAMES.iter().chain(FILE_NAMES).find(|known| is_slip(known)).map_or(
            "remove it if the broker may do without; then check who may connect".to_owned(),
            |known| format!("the nearest known plugin is {known}"),
        );
        (format!("{shown} is not a plugin that this broker has"), mend)
    };
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
    for (_, user) in section.all().filter(|(_, user)| is_placeholder(user.word())) {
        let cause = "`...` is the documentation's placeholder, not a value";
        report.error(user.spot(), cause, "write a list of topics");
    }
}
