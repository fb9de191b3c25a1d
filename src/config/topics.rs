//! What `topic-check` and the class of the same work say: who may use which topics.
//!
//! Only reading: `access/topic_acl.rs` is what lists mean. Where one of amqtt's releases differs
//! from its documentation, a warning says which of the two it is.

use super::Authorisation;
use super::problem::Report;
use super::section::{Entry, Section, nearest};
use super::yaml::Kind;
use crate::access::{AccessList, Origin, Pattern, TopicAcl};

/// The lists, as keys.
const LISTS: [&str; 4] = ["acl", "subscribe-acl", "publish-acl", "receive-acl"];

/// The plugins, each by its name and by the one in hbmqtt's documentation.
const ACL_NAMES: &[&str] = &["topic_acl", "topic.acl"];
const TABOO_NAMES: &[&str] = &["topic_taboo", "topic.taboo"];

/// What decides about topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plugin {
    /// The lists.
    Acl,
    /// The three topics that only `admin` may use.
    Taboo,
}

/// Plugins that `topic-check.plugins` may name, and that have no say in topics.
const BYSTANDERS: &[&str] =
    &["auth_anonymous", "auth_file", "broker_sys", "event_logger_plugin", "packet_logger_plugin"];

/// The dialects differ in what a list that is not given means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// The section `topic-check`: what no list is given for is not limited.
    Section,
    /// The class: without `acl`, nobody may subscribe.
    Class,
}

/// Reads `topic-check`.
pub(super) fn read(entry: &Entry<'_>, report: &mut Report) -> Vec<Authorisation> {
    let Some(mut section) = entry.section(report) else { return Vec::new() };
    let enabled = section.value("enabled", report);
    match enabled.as_ref().map(|entry| entry.boolean(report)) {
        Some(Some(true) | None) => {} // what is wrong with the lists is said in any case
        Some(Some(false)) => {
            skip_keys(&mut section, report, |_, _| {});
            return finished(section, Vec::new(), report);
        }
        None => {
            skip_keys(&mut section, report, |key, report| {
                report.warn(key.spot(), "has no effect without `enabled: true`, as in amqtt");
            });
            return finished(section, Vec::new(), report);
        }
    }
    let mut checks = Vec::new();
    for plugin in plugins(&mut section, entry, report) {
        checks.push(match plugin {
            Plugin::Acl => Authorisation::Acl(acl(&mut section, entry, Style::Section, report)),
            Plugin::Taboo => Authorisation::Taboo,
        });
    }
    if !checks.iter().any(|check| matches!(check, Authorisation::Acl(_))) {
        skip_keys(&mut section, report, |key, report| {
            report.warn(key.spot(), "has no effect: topic_acl is not among the `plugins`");
        });
    }
    finished(section, checks, report)
}

fn finished(
    section: Section<'_>,
    checks: Vec<Authorisation>,
    report: &mut Report,
) -> Vec<Authorisation> {
    section.finish(report);
    checks
}

/// Passes over keys that have no effect.
fn skip_keys(
    section: &mut Section<'_>,
    report: &mut Report,
    say: impl Fn(&Entry<'_>, &mut Report),
) {
    for name in ["plugins", "acl-publish"].into_iter().chain(LISTS) {
        if let Some(key) = section.value(name, report).filter(|_| name != "plugins") {
            say(&key, report);
        }
    }
}

/// Which of `topic_acl` and `topic_taboo` are asked, in their order.
fn plugins(section: &mut Section<'_>, entry: &Entry<'_>, report: &mut Report) -> Vec<Plugin> {
    let Some(named) = section.value("plugins", report) else {
        let message = "no `plugins` are named: topic_acl and topic_taboo decide, as in amqtt; \
                       name the one that is meant";
        report.warn(entry.spot(), message);
        return vec![Plugin::Acl, Plugin::Taboo];
    };
    let Some(items) = named.list(report) else { return Vec::new() };
    let (mut plugins, mut has_refused) = (Vec::new(), false);
    for item in &items {
        let name = item.word().unwrap_or_default();
        let plugin = match name {
            _ if ACL_NAMES.contains(&name) => Plugin::Acl,
            _ if TABOO_NAMES.contains(&name) => Plugin::Taboo,
            _ if BYSTANDERS.contains(&name) => continue,
            _ => {
                refuse_plugin(item, name, report);
                has_refused = true;
                continue;
            }
        };
        if name.contains('.') {
            let read_as = name.replace('.', "_");
            report.warn(item.spot(), format!("read as {read_as}; amqtt knows no such plugin"));
        }
        if !plugins.contains(&plugin) {
            plugins.push(plugin);
        }
    }
    if plugins.is_empty() && !has_refused {
        report.warn(named.spot(), "no plugin here limits topics: anybody may use any topic");
    }
    plugins
}

fn refuse_plugin(item: &Entry<'_>, name: &str, report: &mut Report) {
    if item.is_placeholder() {
        return item.report_placeholder("write topic_acl", report);
    }
    let known = ACL_NAMES.iter().chain(TABOO_NAMES).copied();
    let mend = nearest(name, known).map_or(
        "remove it if the broker may do without; then check who may use which topics".to_owned(),
        |known| format!("the nearest known plugin is {known}"),
    );
    let cause = format!("{} is not a plugin that this broker has", item.node.describe());
    report.error(item.spot(), cause, mend);
}

/// Reads the lists, from the section or from the class's options.
pub(super) fn acl(
    section: &mut Section<'_>,
    whole: &Entry<'_>,
    style: Style,
    report: &mut Report,
) -> TopicAcl {
    let [acl, subscribe, publish, receive] = LISTS.map(|name| match name {
        // Where nobody is listed, nobody may subscribe: nothing opens.
        "acl" | "subscribe-acl" => section.value(name, report),
        _ => section.guard(name, report),
    });
    let may_publish = may_publish(section, report);
    if let (Some(acl), Some(subscribe)) = (&acl, &subscribe) {
        let cause = format!("line {} gives `acl`, which says the same", acl.at.line);
        report.error(subscribe.spot(), cause, "remove one of the two");
    }
    if acl.is_none() && subscribe.is_none() {
        warn_of_no_list(whole, style, publish.is_some() || receive.is_some(), report);
    }
    let acl_list = acl.as_ref().and_then(|entry| list(entry, report));
    let subscribe_list = subscribe.as_ref().and_then(|entry| list(entry, report));
    let mut publish_list = publish.as_ref().and_then(|entry| list(entry, report));
    if let (Some(entry), true) =
        (&publish, publish_list.as_ref().is_some_and(|list| list.users().next().is_none()))
    {
        let message = "nobody is listed: everybody may publish everywhere, as in amqtt";
        report.warn(entry.spot(), message);
        publish_list = None;
    }
    if let (Some(entry), None) = (&acl, &publish) {
        if may_publish.is_none() {
            let message = "limits publishing too, as amqtt's documentation says and its releases \
                           do not; write `acl-publish: allow` beside it to let everybody publish, \
                           `acl-publish: limit` to be told no more, or a list `publish-acl`";
            report.warn(entry.spot(), message);
        }
        if may_publish != Some(true) {
            publish_list.clone_from(&acl_list);
        }
    }
    let nobody = || AccessList::new(origin(whole, "nobody may subscribe without `acl`", report));
    let subscribe_list = acl_list.or(subscribe_list);
    TopicAcl {
        publish: publish_list,
        subscribe: match (style, acl.is_none() && subscribe.is_none()) {
            (Style::Class, true) => Some(nobody()),
            _ => subscribe_list,
        },
        receive: receive.as_ref().and_then(|entry| list(entry, report)),
    }
}

/// Whether `acl` leaves publishing alone, if that is said.
fn may_publish(section: &mut Section<'_>, report: &mut Report) -> Option<bool> {
    let entry = section.value("acl-publish", report)?;
    match entry.word() {
        Some("allow") => return Some(true),
        Some("limit") => {}
        _ => entry.unexpected("allow or limit", "write one of the two", report),
    }
    Some(false)
}

fn warn_of_no_list(whole: &Entry<'_>, style: Style, has_others: bool, report: &mut Report) {
    let message = match (style, has_others) {
        (Style::Class, _) => {
            "no `acl` is given: nobody may subscribe to anything, as in amqtt; its documentation \
             says that everybody may"
        }
        (Style::Section, true) => {
            "neither `acl` nor `subscribe-acl` is given: everybody may subscribe to everything"
        }
        (Style::Section, false) => {
            "topic_acl has no list: everybody may use every topic; write `acl` to limit users"
        }
    };
    report.warn(whole.spot(), message);
}

fn origin(entry: &Entry<'_>, words: &str, report: &Report) -> Origin {
    let path = super::problem::printable(&entry.path);
    Origin::at(&report.source(), entry.at.line, format!("{path}: {words}"))
}

/// A list: `user: [filters]` for each user, or a list of such sections.
fn list(entry: &Entry<'_>, report: &mut Report) -> Option<AccessList> {
    let mut list = AccessList::new(origin(entry, "no entry for this user", report));
    let sections = match &entry.node.kind {
        Kind::List(_) => {
            let message = "read as one section with all its users; amqtt would fail on the list";
            report.warn(entry.spot(), message);
            entry.list(report)?
        }
        _ => vec![entry.clone()],
    };
    for section in sections {
        if !matches!(section.node.kind, Kind::Map(_)) {
            section.unexpected(
                "users with their topics",
                "write `user: [filter, filter]` for each",
                report,
            );
            return None;
        }
        for (user, filters) in section.section(report)?.all() {
            let patterns = patterns(&filters, report);
            let end = origin(&filters, "no filter for this topic", report);
            list.insert(user, patterns, end);
        }
    }
    Some(list)
}

fn patterns(entry: &Entry<'_>, report: &mut Report) -> Vec<(Pattern, Origin)> {
    if entry.is_placeholder() {
        entry.report_placeholder("write a list of topics", report);
        return Vec::new();
    }
    if entry.node.is_null() {
        report
            .warn(entry.spot(), "nothing is listed: the user may use no topic; write [] to say so");
        return Vec::new();
    }
    let items = match (&entry.node.kind, entry.word()) {
        (Kind::List(_), _) => entry.list(report).unwrap_or_default(),
        (_, Some(_)) => {
            let message = "read as a list of one filter; amqtt would take each character for one";
            report.warn(entry.spot(), message);
            vec![entry.clone()]
        }
        _ => {
            entry.unexpected("a list of topic filters", "write `[filter, filter]`", report);
            Vec::new()
        }
    };
    let read = |item: &Entry<'_>| {
        let pattern = filter(item, Pattern::literal, report)?;
        let origin = origin(item, pattern.as_str(), report);
        Some((pattern, origin))
    };
    items.iter().filter_map(read).collect()
}

/// A topic filter of a rule or a list.
pub(super) fn filter(
    item: &Entry<'_>,
    parse: fn(&str) -> Result<Pattern, crate::access::PatternError>,
    report: &mut Report,
) -> Option<Pattern> {
    if item.is_placeholder() {
        item.report_placeholder("write a topic filter", report);
        return None;
    }
    let Some(word) = item.word() else {
        let mend = "write it in quotes: `#` begins a comment without them, and words such as `on` \
                    are no text";
        item.unexpected("a topic filter", mend, report);
        return None;
    };
    match parse(word) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let cause = format!("{} is no topic filter: {error}", item.node.describe());
            report.error(item.spot(), cause, "mend the filter, or remove it");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::access::{Action, Authorise, Identity, Question};
    use crate::config::tests::{assert_problems, load};
    use crate::config::{Config, Loaded};

    const HEAD: &str =
        "listeners: {default: {bind: ':1883'}}\nauth: {plugins: [auth_anonymous]}\ntopic-check:";

    fn may(config: &Config, user: Option<&str>, action: Action, topic: &str) -> (bool, String) {
        let identity = Identity { user: user.map(Into::into), ..Identity::default() };
        let question = Question { identity: &identity, client_id: "c", action, topic };
        let policy = config.policy();
        let decision = policy.decide(&question);
        (decision.is_allowed, decision.rule.to_string())
    }

    #[test]
    fn what_decided_is_known_by_its_line() {
        use Action::{Publish, Receive, Subscribe};
        let yaml = format!(
            "{HEAD}\n  enabled: true\n  plugins: [topic_acl, topic_taboo]\n  subscribe-acl:\n    \
             alice: ['a/#', b]\n    007:\n      - agents/+\n  receive_acl:\n    alice: [a/b]\n"
        );
        let config = load(&yaml);
        for (user, action, topic, want) in [
            (Some("alice"), Subscribe, "a/+", (true, "topic_taboo: no taboo")),
            (Some("007"), Subscribe, "agents/+", (true, "topic_taboo: no taboo")),
            (
                Some("alice"),
                Subscribe,
                "c",
                (false, "broker.yaml:7: topic-check.subscribe-acl.alice: no filter for this topic"),
            ),
            (
                None,
                Subscribe,
                "a",
                (false, "broker.yaml:6: topic-check.subscribe-acl: no entry for this user"),
            ),
            (
                Some("alice"),
                Receive,
                "a/c",
                (false, "broker.yaml:11: topic-check.receive_acl.alice: no filter for this topic"),
            ),
            (None, Publish, "a", (true, "topic_taboo: no taboo")),
            (
                None,
                Publish,
                "prohibited",
                (false, "topic_taboo: a taboo for everybody but the user admin"),
            ),
        ] {
            let got = may(&config, user, action, topic);
            assert_eq!((got.0, got.1.as_str()), want, "{user:?} {action} {topic}");
        }
    }

    #[test]
    fn acl_limits_publishing_unless_it_is_told_otherwise() {
        use Action::{Publish, Receive, Subscribe};
        let table = [
            (
                "acl: {a: [t]}",
                &["warning 4: topic-check.acl: limits publishing too"][..],
                [false; 2],
            ),
            ("acl: {a: [t]}, acl-publish: limit", &[], [false; 2]),
            ("acl: {a: [t]}, acl-publish: allow", &[], [true, false]),
            ("acl: {a: [t]}, publish-acl: {a: [p]}", &[], [false; 2]),
            (
                "acl: {a: [t]}, publish_acl: {}",
                &["warning 4: topic-check.publish_acl: nobody is listed: everybody may publish"],
                [true, false],
            ),
            ("subscribe-acl: {a: [t]}", &[], [true, false]),
            (
                "publish-acl: {a: [p]}",
                &["warning 3: topic-check: neither `acl` nor `subscribe-acl` is given"],
                [false, true],
            ),
            ("", &["warning 3: topic-check: topic_acl has no list"], [true; 2]),
        ];
        for (keys, warnings, want) in table {
            let yaml = format!("{HEAD}\n  {{enabled: true, plugins: [topic_acl], {keys}}}\n");
            let config = assert_problems(&yaml, warnings).expect("only warnings");
            let got = [Publish, Subscribe].map(|action| may(&config, Some("a"), action, "x").0);
            assert_eq!(got, want, "{keys}");
            assert!(may(&config, None, Receive, "x").0, "{keys}");
            let Loaded { config: again, warnings } =
                Config::from_yaml(&config.to_yaml(), "again").expect("what is written is read");
            assert_eq!(again.to_yaml(), config.to_yaml());
            assert!(keys.is_empty() || warnings.len() < 2, "{warnings:?}");
            for action in Action::ALL {
                for topic in ["x", "t", "p"] {
                    let both =
                        [&config, &again].map(|config| may(config, Some("a"), action, topic).0);
                    assert_eq!(both[0], both[1], "{keys} {action} {topic}");
                }
            }
        }
    }

    #[test]
    fn what_is_odd_is_warned_of_and_what_is_not_understood_refused() {
        for (keys, want) in [
            ("acl: {a: t}", "warning 4: topic-check.acl.a: read as a list of one filter"),
            ("acl: {a: }", "warning 4: topic-check.acl.a: nothing is listed"),
            (
                "acl: {a: [t]}, publish-acl: ",
                "error 4: topic-check.publish-acl: nothing is given, and that would keep nobody out",
            ),
            (
                "acl: {a: [t]}, receive_acl: ~",
                "error 4: topic-check.receive_acl: nothing is given, and that would keep nobody out",
            ),
            ("acl: [{a: [t]}, {b: [t]}]", "warning 4: topic-check.acl: read as one section"),
            ("acl: {a: ...}", "error 4: topic-check.acl.a: `...` is the documentation's"),
            ("acl: {a: [...]}", "error 4: topic-check.acl.a[0]: `...` is the documentation's"),
            ("acl: {a: [t#]}", "error 4: topic-check.acl.a[0]: `t#` is no topic filter: '#' must"),
            (
                "acl: {a: ['']}",
                "error 4: topic-check.acl.a[0]: `` is no topic filter: the filter is",
            ),
            (
                "acl: {a: [~]}",
                "error 4: topic-check.acl.a[0]: expected a topic filter, found nothing",
            ),
            (
                "acl: {a: [on]}",
                "error 4: topic-check.acl.a[0]: expected a topic filter, found `on`",
            ),
            ("acl: {a: {t: t}}", "error 4: topic-check.acl.a: expected a list of topic filters"),
            ("acl: t", "error 4: topic-check.acl: expected users with their topics"),
            ("acl: [t]", "error 4: topic-check.acl[0]: expected users with their topics"),
            (
                "acl: {}, subscribe_acl: {}",
                "error 4: topic-check.subscribe_acl: line 4 gives `acl`",
            ),
            ("acl: {}, acl-publish: yes", "error 4: topic-check.acl-publish: expected allow or"),
            ("acll: {}", "error 4: topic-check.acll: the key is not known here"),
            (
                "alc: {}",
                "error 4: topic-check.alc: the key is not known here; it may be meant as `acl`",
            ),
            (
                "pub-acl: {}",
                "error 4: topic-check.pub-acl: the key is not known here; it may be meant as `publish-acl`",
            ),
            (
                "write_acl: {}",
                "error 4: topic-check.write_acl: the key is not known here; it may be meant as `publish-acl`",
            ),
            (
                "Enabled: true",
                "error 4: topic-check.Enabled: the key is not known here; it may be meant as `enabled`",
            ),
        ] {
            let yaml = format!("{HEAD}\n  {{enabled: true, plugins: [topic_acl], {keys}}}\n");
            let is_about = |text: &&String| text.starts_with(want);
            let (_, problems) = crate::config::tests::read(&yaml);
            assert!(problems.iter().any(|text| is_about(&text)), "{keys}: {problems:#?}");
        }
        for key in ["enable", "Enabled", "enabld", "active"] {
            let want = format!(
                "error 3: topic-check.{key}: the key is not known here; it may be meant as `enabled`"
            );
            assert_problems(&format!("{HEAD} {{{key}: true}}"), &[&want]);
        }
        for (plugins, want) in [
            ("[topic_filter]", "error 4: topic-check.plugins[0]: `topic_filter` is not a plugin"),
            ("[auth_acl]", "error 4: topic-check.plugins[0]: `auth_acl` is not a plugin"),
            ("[topic.taboo]", "warning 4: topic-check.plugins[0]: read as topic_taboo"),
            ("[]", "warning 4: topic-check.plugins: no plugin here limits topics"),
            ("[auth_file]", "warning 4: topic-check.plugins: no plugin here limits topics"),
            ("topic_acl", "error 4: topic-check.plugins: expected a list"),
        ] {
            assert_problems(&format!("{HEAD}\n  {{enabled: on, plugins: {plugins}}}\n"), &[want]);
        }
        assert_problems(
            &format!("{HEAD} {{enabled: true, acl: {{a: [b]}}, acl-publish: limit}}"),
            &["warning 3: topic-check: no `plugins` are named: topic_acl and topic_taboo decide"],
        );
    }
}
