//! The root key `plugins`: short names, as up to amqtt 0.11.1, or Python classes, as from 0.11.2.
//!
//! Nothing is loaded. The classes whose work the broker does itself are accepted; any other is
//! refused, for it may be what keeps clients out. The older section `auth` is in `access.rs`.

use super::SYS_INTERVAL;
use super::access::{ANONYMOUS_NAMES, ANY_NAME, path_of, warn_of_pretenders};
use super::problem::Report;
use super::section::{Entry, Section, nearest};
use super::topics::{self, Style};
use super::yaml::Kind;
use super::{Authentication, Authorisation};
use super::{certified, http, jwt};
use crate::access::TopicAcl;

/// What the key says.
pub(super) enum Plugins {
    /// No classes: the sections `auth` and `topic-check` decide.
    Unnamed,
    /// Classes, which replace those sections.
    Classes {
        /// Seconds between two publications of `$SYS`, if the class for it is among them; none
        /// within: never.
        sys_interval: Option<Option<u64>>,
        /// Who is asked before a client is let in.
        authentication: Vec<Authentication>,
        /// Who is asked about topics.
        authorisation: Vec<Authorisation>,
    },
}

/// What becomes of a class.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Treatment {
    /// Lets anonymous clients in.
    Anonymous,
    /// Checks passwords.
    PasswordFile,
    /// Limits users to topics.
    Acl,
    /// Forbids topics.
    Taboo,
    /// Publishes `$SYS`.
    Sys,
    /// Logs what the broker logs anyway.
    Logger,
    /// Does nothing, in amqtt too.
    Idle,
    /// Checks certificates.
    Certificate,
    /// Asks a web server.
    Http,
    /// Checks tokens.
    Jwt,
    /// Limits users to the topics of their tokens.
    JwtTopics,
    /// Never: every message would wait for somebody else's answer.
    Waiting,
    /// Never: the broker keeps what it has to without a plugin.
    Kept,
    /// Never: it needs Python.
    Python,
}

/// The classes that come with amqtt, and what they do there.
const CLASSES: &[(&str, Treatment, &str)] = &[
    ("amqtt.plugins.authentication.AnonymousAuthPlugin", Treatment::Anonymous, "lets clients in"),
    ("amqtt.plugins.sys.broker.BrokerSysPlugin", Treatment::Sys, "publishes $SYS"),
    ("amqtt.plugins.logging_amqtt.EventLoggerPlugin", Treatment::Logger, "logs"),
    ("amqtt.plugins.logging_amqtt.PacketLoggerPlugin", Treatment::Logger, "logs"),
    ("amqtt.plugins.persistence.SQLitePlugin", Treatment::Idle, "does nothing"),
    ("amqtt.plugins.authentication.FileAuthPlugin", Treatment::PasswordFile, "checks passwords"),
    (
        "amqtt.plugins.topic_checking.TopicAccessControlListPlugin",
        Treatment::Acl,
        "limits users to topics",
    ),
    ("amqtt.plugins.topic_checking.TopicTabooPlugin", Treatment::Taboo, "forbids topics"),
    ("amqtt.contrib.persistence.SessionDBPlugin", Treatment::Kept, "keeps sessions on disk"),
    ("amqtt.contrib.http.UserAuthHttpPlugin", Treatment::Http, "asks a server for users"),
    ("amqtt.contrib.http.TopicAuthHttpPlugin", Treatment::Waiting, "asks a server for topics"),
    ("amqtt.contrib.jwt.UserAuthJwtPlugin", Treatment::Jwt, "checks tokens"),
    ("amqtt.contrib.jwt.TopicAuthJwtPlugin", Treatment::JwtTopics, "limits tokens to topics"),
    ("amqtt.contrib.cert.UserAuthCertPlugin", Treatment::Certificate, "checks certificates"),
    ("amqtt.contrib.auth_db.UserAuthDBPlugin", Treatment::Python, "looks users up in SQL"),
    ("amqtt.contrib.auth_db.TopicAuthDBPlugin", Treatment::Python, "looks topics up in SQL"),
    ("amqtt.contrib.ldap.UserAuthLdapPlugin", Treatment::Python, "asks LDAP for users"),
    ("amqtt.contrib.ldap.TopicAuthLdapPlugin", Treatment::Python, "asks LDAP for topics"),
    ("amqtt.contrib.shadows.ShadowPlugin", Treatment::Python, "keeps device shadows"),
    ("amqtt.contrib.shadows.ShadowTopicAuthPlugin", Treatment::Python, "guards device shadows"),
    ("amqtt.contrib.django.plugins.DjangoAuthPlugin", Treatment::Python, "asks Django for users"),
    (
        "amqtt.contrib.django.plugins.UserTopicACLPlugin",
        Treatment::Python,
        "asks Django for topics",
    ),
];

/// A class in the file, with its options if it has any.
struct Plugin<'n> {
    class: &'n str,
    entry: Entry<'n>,
    options: Option<Entry<'n>>,
}

/// Reads the key.
pub(super) fn read(top: &mut Section<'_>, report: &mut Report) -> Plugins {
    let Some(entry) = top.value("plugins", report) else { return Plugins::Unnamed };
    let Some(plugins) = plugins_of(&entry, report) else {
        return Plugins::none(); // refused already
    };
    let is_short = |plugin: &Plugin<'_>| {
        plugin.options.is_none()
            && (!plugin.class.contains('.') || ANONYMOUS_NAMES.contains(&plugin.class))
    };
    if matches!(entry.node.kind, Kind::List(_))
        && !plugins.is_empty()
        && plugins.iter().all(is_short)
    {
        let message = "the list has no effect, as in hbmqtt and amqtt up to 0.11.1: it does not \
                       choose who may connect; `auth.plugins` does";
        report.warn(entry.spot(), message);
        return Plugins::Unnamed;
    }
    let errors = report.errors();
    let mut found = Found::default();
    for (place, plugin) in plugins.iter().enumerate() {
        if plugins[..place].iter().any(|other| other.class == plugin.class) {
            let cause = "the class is named before";
            report.error(plugin.entry.spot(), cause, "name it once, with all its options");
        }
        found.add(plugin, report);
    }
    found.join_topics(report);
    let Found { sys_interval, authentication, authorisation, .. } = found;
    warn_of_any_name(&plugins, &authentication, report);
    warn_of_pretenders(&authentication, &entry, report);
    if authentication.is_empty() && report.errors() == errors {
        let mend = "add amqtt.plugins.authentication.AnonymousAuthPlugin, or remove `plugins`";
        report.error(entry.spot(), "none of these plugins would let a client in", mend);
    }
    Plugins::Classes { sys_interval, authentication, authorisation }
}

/// What the classes come to.
#[derive(Default)]
struct Found<'n> {
    sys_interval: Option<Option<u64>>,
    authentication: Vec<Authentication>,
    authorisation: Vec<Authorisation>,
    /// What tokens say about topics, and where that is written.
    topics: Option<(Entry<'n>, jwt::Topics)>,
}

impl<'n> Found<'n> {
    fn add(&mut self, plugin: &Plugin<'n>, report: &mut Report) {
        match plugin.treatment(report) {
            Some(Treatment::Anonymous) => self.authentication.push(plugin.anonymous(report)),
            Some(Treatment::PasswordFile) => self.authentication.push(plugin.passwords(report)),
            Some(Treatment::Certificate) => {
                let read = plugin.strictly(certified::read, report);
                self.authentication.extend(read.map(Authentication::Certificate));
            }
            Some(Treatment::Http) => {
                let read = plugin.strictly(http::read, report);
                self.authentication.extend(read.map(Authentication::Http));
            }
            Some(Treatment::Jwt) => {
                let read = plugin.strictly(jwt::read, report);
                self.authentication.extend(read.map(Authentication::Jwt));
            }
            Some(Treatment::JwtTopics) => {
                let read = plugin.strictly(jwt::read_topics, report);
                self.topics = read.map(|topics| (plugin.entry.clone(), topics));
            }
            Some(Treatment::Acl) => self.authorisation.push(Authorisation::Acl(plugin.acl(report))),
            Some(Treatment::Taboo) => {
                self.authorisation.push(Authorisation::Taboo);
                plugin.finish_options(report);
            }
            Some(Treatment::Sys) => self.sys_interval = Some(plugin.sys_interval(report)),
            Some(_) => plugin.finish_options(report),
            None => {}
        }
    }

    /// Tokens are checked once, when a client connects: both classes must want the same ones.
    fn join_topics(&mut self, report: &mut Report) {
        let Some((entry, topics)) = self.topics.take() else { return };
        let settings = self.authentication.iter_mut().find_map(|plugin| match plugin {
            Authentication::Jwt(settings) => Some(settings),
            _ => None,
        });
        let Some(settings) = settings else {
            let cause = "tokens are checked by UserAuthJwtPlugin, which is not among the plugins";
            report.error(entry.spot(), cause, "add amqtt.contrib.jwt.UserAuthJwtPlugin");
            return;
        };
        let is_same = topics.key.as_ref().is_none_or(|key| *key == settings.key)
            && topics.algorithm == settings.algorithm;
        if !is_same {
            let cause = "UserAuthJwtPlugin has another key or algorithm: no token has both";
            report.error(entry.spot(), cause, "write the same in both");
        }
        settings.topics = topics.claims;
    }
}

impl Plugins {
    /// No class at all.
    fn none() -> Plugins {
        let (authentication, authorisation) = (Vec::new(), Vec::new());
        Plugins::Classes { sys_interval: None, authentication, authorisation }
    }
}

/// Warns where only user names are asked for, and none is checked.
fn warn_of_any_name(
    plugins: &[Plugin<'_>],
    authentication: &[Authentication],
    report: &mut Report,
) {
    if authentication != [(Authentication::Anonymous { is_allowed: false })] {
        return;
    }
    if let Some(plugin) = plugins.iter().find(|plugin| plugin.class.contains("Anonymous")) {
        report.warn(plugin.entry.spot(), ANY_NAME);
    }
}

/// The plugins of a list or of a section.
fn plugins_of<'n>(entry: &Entry<'n>, report: &mut Report) -> Option<Vec<Plugin<'n>>> {
    let from_section = |section: Section<'n>| {
        let plugin = |(class, entry): (&'n str, Entry<'n>)| {
            let options = Some(entry.clone()).filter(|entry| !entry.node.is_null());
            Plugin { class, entry, options }
        };
        section.all().map(plugin).collect::<Vec<_>>()
    };
    if matches!(entry.node.kind, Kind::Map(_)) {
        return entry.section(report).map(from_section);
    }
    let mut plugins = Vec::new();
    for item in entry.list(report)? {
        match (item.word(), &item.node.kind) {
            (Some(class), _) => plugins.push(Plugin { class, entry: item, options: None }),
            (None, Kind::Map(_)) => plugins.extend(item.section(report).map(from_section)?),
            _ => item.unexpected("the name of a plugin", "write its name or remove it", report),
        }
    }
    Some(plugins)
}

impl<'n> Plugin<'n> {
    /// What becomes of it; none if it was refused.
    fn treatment(&self, report: &mut Report) -> Option<Treatment> {
        let known = CLASSES.iter().find(|(class, ..)| *class == self.class);
        let (cause, mend) = match known {
            Some((_, Treatment::Waiting, work)) => (
                format!("the plugin {work}, for which every message would have to wait"),
                "write the section `rules`, which can say who may use which topics, or let tokens \
                 say it (TopicAuthJwtPlugin)"
                    .to_owned(),
            ),
            Some((_, Treatment::Kept, work)) => (
                format!("the plugin {work}, which this broker does without a plugin"),
                "remove it, and write `data-dir: DIRECTORY` at the top of the file".to_owned(),
            ),
            Some((_, Treatment::Python, work)) => (
                format!("the plugin {work} in Python, which this broker does not run"),
                "remove it if the broker may do without; then check who may connect".to_owned(),
            ),
            Some((_, treatment, _)) => return Some(*treatment),
            None => (
                "not a plugin of amqtt; a Python class of one's own cannot be run, nor passed \
                 over: it may be what keeps clients out"
                    .to_owned(),
                nearest(self.class, CLASSES.iter().map(|(class, ..)| *class)).map_or_else(
                    || "remove it if the broker may do without".to_owned(),
                    |name| format!("the nearest known class is {name}"),
                ),
            ),
        };
        report.error(self.entry.spot(), cause, mend);
        None
    }

    fn options(&self, report: &mut Report) -> Option<Section<'n>> {
        self.options.as_ref().and_then(|options| options.section(report))
    }

    /// What a class's options say, if it knows all of them.
    fn strictly<T>(
        &self,
        read: impl FnOnce(&mut Section<'n>, &Entry<'n>, &mut Report) -> Option<T>,
        report: &mut Report,
    ) -> Option<T> {
        let mut section = match &self.options {
            Some(options) => options.section(report)?,
            None => self.entry.no_keys(),
        };
        let read = read(&mut section, self.options.as_ref().unwrap_or(&self.entry), report);
        section.finish_strictly(report);
        read
    }

    /// A class without options of its own.
    fn finish_options(&self, report: &mut Report) {
        if let Some(section) = self.options(report) {
            section.finish(report);
        }
    }

    fn anonymous(&self, report: &mut Report) -> Authentication {
        let mut is_allowed = true;
        if let Some(mut section) = self.options(report) {
            if let Some(entry) = section.guard("allow-anonymous", report) {
                is_allowed = entry.boolean(report) == Some(true);
            }
            section.finish(report);
        }
        Authentication::Anonymous { is_allowed }
    }

    fn acl(&self, report: &mut Report) -> TopicAcl {
        // Without options it still means something: nobody may subscribe.
        let section = match &self.options {
            Some(options) => options.section(report),
            None => Some(self.entry.no_keys()),
        };
        let Some(mut section) = section else { return TopicAcl::default() };
        let acl = topics::acl(&mut section, &self.entry, Style::Class, report);
        section.finish(report);
        acl
    }

    fn passwords(&self, report: &mut Report) -> Authentication {
        let mut path = None;
        if let Some(mut section) = self.options(report) {
            let entry = section.value("password-file", report);
            path = entry.and_then(|entry| path_of(&entry, report));
            section.finish(report);
        }
        if path.is_none() {
            let message = "no `password-file` is given: every user name is refused, as in amqtt";
            report.warn(self.entry.spot(), message);
        }
        Authentication::PasswordFile { is_required: path.is_some(), path }
    }

    /// Seconds between two publications of `$SYS`; none: never.
    fn sys_interval(&self, report: &mut Report) -> Option<u64> {
        let Some(mut section) = self.options(report) else { return Some(SYS_INTERVAL) };
        let interval = section
            .value("sys-interval", report)
            .map_or(Some(SYS_INTERVAL), |entry| super::file::interval(&entry, report));
        section.finish(report);
        interval
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Authentication;
    use crate::config::tests::{assert_problems, load};

    const LISTENERS: &str = "listeners: {default: {bind: ':1883'}}\n";
    const ANONYMOUS: &str = "amqtt.plugins.authentication.AnonymousAuthPlugin";
    const FILE: &str = "amqtt.plugins.authentication.FileAuthPlugin";
    const SYS: &str = "amqtt.plugins.sys.broker.BrokerSysPlugin";

    fn yaml(plugins: &str) -> String {
        let plugins =
            plugins.replace("ANONYMOUS", ANONYMOUS).replace("FILE", FILE).replace("SYS", SYS);
        format!("{LISTENERS}plugins: {plugins}\n")
    }

    #[test]
    fn classes_say_how_often_sys_is_published() {
        for (plugins, want) in [
            ("{ANONYMOUS: }", None),
            ("{ANONYMOUS: , SYS: }", Some(20)),
            ("{ANONYMOUS: {allow_anonymous: true}, SYS: {sys_interval: 5}}", Some(5)),
            ("{ANONYMOUS: {allow-anonymous: on}, SYS: {sys-interval: 5}}", Some(5)),
            ("{ANONYMOUS: {}, SYS: {sys_interval: 0}}", None),
            ("[ANONYMOUS, SYS]", Some(20)),
            ("[ANONYMOUS: {allow_anonymous: true}, SYS: {sys_interval: 5}]", Some(5)),
            ("{ANONYMOUS: , amqtt.plugins.logging_amqtt.EventLoggerPlugin: }", None),
            ("[ANONYMOUS, amqtt.plugins.logging_amqtt.PacketLoggerPlugin]", None),
            ("[ANONYMOUS, amqtt.plugins.persistence.SQLitePlugin]", None),
            ("{ANONYMOUS: }\nsys_interval: 7", Some(7)),
        ] {
            assert_eq!(load(&yaml(plugins)).sys_interval, want, "{plugins}");
        }
    }

    #[test]
    fn classes_decide_and_older_sections_do_not() {
        let plugins = "{ANONYMOUS: , SYS: }\nauth: {allow-anonymous: false}\n\
                       topic-check: {enabled: true}\nsys_interval: 7";
        let config = assert_problems(
            &yaml(plugins),
            &[
                "warning 3: auth: has no effect, as in amqtt",
                "warning 4: topic-check: has no effect, as in amqtt",
                "warning 5: sys_interval: has no effect: BrokerSysPlugin",
            ],
        );
        assert_eq!(config.expect("only warnings").sys_interval, Some(20));
    }

    #[test]
    fn a_list_of_short_names_never_chooses_who_may_connect() {
        let list = "[auth_anonymous, auth.anonymous, mine]\n";
        let no_effect = "warning 2: plugins: the list has no effect";
        let open = "auth: {plugins: [auth_anonymous]}";
        assert!(assert_problems(&yaml(&format!("{list}{open}")), &[no_effect]).is_some());
        let closed = "auth: {allow-anonymous: false, password-file: p}";
        let config = assert_problems(&yaml(&format!("{list}{closed}")), &[no_effect]);
        assert_eq!(
            config.expect("only a warning").authentication,
            [
                Authentication::Anonymous { is_allowed: false },
                Authentication::PasswordFile { path: Some("p".into()), is_required: false }
            ]
        );
    }

    #[test]
    fn classes_say_who_may_connect() {
        let file = |path: Option<&str>| Authentication::PasswordFile {
            path: path.map(Into::into),
            is_required: path.is_some(),
        };
        let anonymous = |is_allowed| Authentication::Anonymous { is_allowed };
        let none_given = "warning 2: plugins[0]: no `password-file` is given: every user name";
        let any_name =
            "warning 2: plugins.amqtt.plugins.authentication.AnonymousAuthPlugin: danger";
        for (plugins, want, warnings) in [
            ("[FILE: {password_file: p}]", vec![file(Some("p"))], &[][..]),
            ("[FILE: {password-file: p}, ANONYMOUS]", vec![file(Some("p")), anonymous(true)], &[]),
            (
                "{ANONYMOUS: {allow_anonymous: false}, FILE: {password-file: p}}",
                vec![anonymous(false), file(Some("p"))],
                &[],
            ),
            ("[FILE]", vec![file(None)], &[none_given]),
            ("{ANONYMOUS: {allow_anonymous: false}}", vec![anonymous(false)], &[any_name]),
        ] {
            let config = assert_problems(&yaml(plugins), warnings);
            assert_eq!(config.expect("only warnings").authentication, want, "{plugins}");
        }
    }

    #[test]
    fn plugins_that_may_keep_clients_out_are_refused() {
        let cause = "error 2: plugins";
        for (plugins, want) in [
            ("{}", ": none of these plugins would let a client in"),
            ("[]", ": none of these plugins would let a client in"),
            ("[SYS]", ": none of these plugins would let a client in"),
            ("5", ": expected a list, found `5`"),
            ("auth_anonymous", ": expected a list, found `auth_anonymous`"),
            ("[ANONYMOUS, []]", "[1]: expected the name of a plugin, found a list"),
            ("[ANONYMOUS, auth_file]", "[1]: not a plugin of amqtt"),
            ("{auth_anonymous: }", ".auth_anonymous: not a plugin of amqtt"),
            ("{mine.Auth: {}}", ".mine.Auth: not a plugin of amqtt"),
            (
                "[ANONYMOUS, amqtt.contrib.http.TopicAuthHttpPlugin]",
                "[1]: the plugin asks a server for topics, for which every message would have to \
                 wait; write the section `rules`",
            ),
            ("[ANONYMOUS, ANONYMOUS]", "[1]: the class is named before; name it once"),
            (
                "[amqtt.contrib.ldap.UserAuthLdapPlugin]",
                "[0]: the plugin asks LDAP for users in Python, which this broker does not run",
            ),
            (
                "{ANONYMOUS: {alow_anonymous: false}}",
                ".amqtt.plugins.authentication.AnonymousAuthPlugin.alow_anonymous: the key is not \
                 known here",
            ),
            (
                "{ANONYMOUS: no}",
                ".amqtt.plugins.authentication.AnonymousAuthPlugin: expected a section",
            ),
        ] {
            assert_problems(&yaml(plugins), &[&format!("{cause}{want}")]);
        }
    }
}
