//! A [`Config`] as the YAML that means it, every key written out.
//!
//! Reading it back gives the same configuration, without a warning; but secrets are not written,
//! and what stands in their place is refused.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::PathBuf;

use serde::Serialize;
use serde_yaml::{Mapping, Value};

use super::limits::NEVER_MILLIS;
use super::{
    Admission, Authentication, Authorisation, Certificates, Config, Listener, Subnet, durability,
};
use super::{certified, http, jwt};
use crate::access::{AccessList, Action, Pattern, Rule, Who};
use crate::machine::Limits;

#[derive(Serialize)]
struct File {
    listeners: Mapping,
    #[serde(rename = "timeout-disconnect-delay", skip_serializing_if = "Option::is_none")]
    disconnect_delay: Option<u64>,
    sys_interval: u64,
    #[serde(rename = "session_expiry_interval", skip_serializing_if = "Option::is_none")]
    session_expiry: Option<u32>,
    #[serde(rename = "max-qos")]
    max_qos: u8,
    #[serde(rename = "data-dir", skip_serializing_if = "Option::is_none")]
    data_dir: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    durability: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<NonZeroU16>,
    auth: Auth,
    #[serde(rename = "topic-check", skip_serializing_if = "Option::is_none")]
    topic_check: Option<TopicCheck>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<Vec<RuleKeys>>,
    limits: LimitKeys,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Auth {
    /// None: those of amqtt, of which the password file may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    plugins: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allow_anonymous: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<Mapping>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<Mapping>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<Mapping>,
}

type Lists = BTreeMap<String, Vec<String>>;

#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct TopicCheck {
    enabled: bool,
    plugins: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscribe_acl: Option<Lists>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publish_acl: Option<Lists>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receive_acl: Option<Lists>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct RuleKeys {
    #[serde(skip_serializing_if = "Option::is_none")]
    allow: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deny: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anonymous: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filters: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ListenerKeys {
    bind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(rename = "type")]
    transport: &'static str,
    max_connections: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    durability: Option<&'static str>,
    ssl: bool,
    #[serde(flatten)]
    certificates: Option<CertificateKeys>,
    /// Of one without TLS: it would inherit another answer.
    #[serde(rename = "require-certificate", skip_serializing_if = "Option::is_none")]
    requires_none: Option<bool>,
    proxy_protocol: bool,
    /// Where a proxy is heard: elsewhere it would be warned of.
    #[serde(skip_serializing_if = "Option::is_none")]
    trusted_proxies: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct CertificateKeys {
    certfile: String,
    keyfile: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cafile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capath: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cadata: Option<String>,
    require_certificate: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct LimitKeys {
    connections: usize,
    packet_bytes: u32,
    connect_timeout: u64,
    keep_alive_max: u16,
    inflight: u16,
    queue_messages: usize,
    queue_bytes: usize,
    total_bytes: usize,
    subscriptions: usize,
    topic_levels: usize,
    topic_bytes: usize,
    retained_messages: usize,
    retained_bytes: usize,
    session_expiry_max: u32,
    connections_per_address: usize,
    connection_rate_per_address: u32,
    unauthenticated: usize,
    unauthenticated_per_address: usize,
    failed_logins: u32,
    failed_logins_per_address: u32,
    failed_logins_per_user: u32,
    exempt_addresses: Vec<String>,
}

/// A text, or nothing.
pub(super) fn text(text: Option<&str>) -> Value {
    text.map_or(Value::Null, Value::from)
}

/// Keys of a section and what is written under them.
pub(super) fn mapping<const N: usize>(keys: [(&str, Value); N]) -> Mapping {
    let is_given = |(_, value): &(&str, Value)| !value.is_null();
    keys.into_iter().filter(is_given).map(|(key, value)| (key.into(), value)).collect()
}

/// The configuration as YAML.
pub(super) fn to_yaml(config: &Config) -> String {
    let file = File {
        listeners: config.listeners.iter().map(|it| listener_entry(it, config)).collect(),
        disconnect_delay: config.disconnect_delay,
        sys_interval: config.sys_interval.unwrap_or(0),
        session_expiry: config.session_expiry,
        max_qos: config.max_qos.number(),
        data_dir: config.data_dir.clone(),
        durability: config.data_dir.as_ref().map(|_| durability::word(config.durability())),
        threads: config.threads,
        auth: auth_keys(&config.authentication),
        topic_check: topic_check(&config.authorisation),
        rules: rules(&config.authorisation),
        limits: limit_keys(&config.limits, &config.admission),
    };
    serde_yaml::to_string(&file).expect("words and numbers under words can always be written")
}

fn auth_keys(authentication: &[Authentication]) -> Auth {
    let (mut auth, mut names) = (Auth::default(), Vec::new());
    for plugin in authentication {
        let name = match plugin {
            Authentication::Anonymous { is_allowed } => {
                auth.allow_anonymous = Some(*is_allowed);
                "auth_anonymous"
            }
            Authentication::PasswordFile { path, .. } => {
                auth.password_file = path.as_ref().map(|path| path.display().to_string());
                "auth_file"
            }
            Authentication::Certificate(certified) => {
                auth.certificate = Some(certified::written(certified));
                certified::NAME
            }
            Authentication::Http(settings) => {
                auth.http = Some(http::written(settings));
                http::NAME
            }
            Authentication::Jwt(settings) => {
                auth.jwt = Some(jwt::written(settings));
                jwt::NAME
            }
            Authentication::Named(name) => name,
        };
        names.push(name.to_owned());
    }
    let is_implied = matches!(
        authentication,
        [Authentication::Anonymous { .. }, Authentication::PasswordFile { is_required: false, .. }]
    );
    auth.plugins = (!is_implied).then_some(names);
    auth
}

fn topic_check(authorisation: &[Authorisation]) -> Option<TopicCheck> {
    let mut keys = TopicCheck { enabled: true, ..TopicCheck::default() };
    for plugin in authorisation {
        match plugin {
            Authorisation::Acl(acl) => {
                keys.plugins.push("topic_acl");
                keys.subscribe_acl = acl.subscribe.as_ref().map(lists);
                keys.publish_acl = acl.publish.as_ref().map(lists);
                keys.receive_acl = acl.receive.as_ref().map(lists);
            }
            Authorisation::Taboo => keys.plugins.push("topic_taboo"),
            Authorisation::Rules(_) => {}
        }
    }
    (!keys.plugins.is_empty()).then_some(keys)
}

/// A list of nobody would be read as no list: it is written as one of somebody who may nothing.
fn lists(list: &AccessList) -> Lists {
    let text = |pattern: &Pattern| pattern.as_str().to_owned();
    let mut lists: Lists = list
        .users()
        .map(|(user, patterns)| (user.to_owned(), patterns.map(text).collect()))
        .collect();
    if lists.is_empty() {
        lists.insert("anonymous".to_owned(), Vec::new());
    }
    lists
}

fn rules(authorisation: &[Authorisation]) -> Option<Vec<RuleKeys>> {
    authorisation.iter().find_map(|plugin| match plugin {
        Authorisation::Rules(rules) => Some(rules.rules.iter().map(rule_keys).collect()),
        Authorisation::Acl(_) | Authorisation::Taboo => None,
    })
}

fn rule_keys(rule: &Rule) -> RuleKeys {
    fn texts<T: ToString>(items: &[T]) -> Vec<String> {
        items.iter().map(T::to_string).collect()
    }
    let mut keys = RuleKeys {
        client_id: rule.client_ids.as_deref().map(texts),
        address: rule.addresses.as_deref().map(texts),
        filters: rule.filters.as_deref().map(texts),
        ..RuleKeys::default()
    };
    let actions = Some(rule.actions.iter().map(|action| Action::name(*action)).collect());
    match rule.is_allowed {
        true => keys.allow = actions,
        false => keys.deny = actions,
    }
    match &rule.users {
        Who::Everybody => {}
        Who::Anonymous => keys.anonymous = Some(true),
        Who::Named => keys.anonymous = Some(false),
        Who::Users(users) => keys.user = Some(texts(users)),
    }
    keys
}

fn listener_entry(listener: &Listener, config: &Config) -> (Value, Value) {
    let is_required = |other: &Listener| {
        other.name == "default" && other.certificates.as_ref().is_some_and(|it| it.is_required)
    };
    let is_plain = listener.certificates.is_none();
    let hears_proxies = listener.is_proxied || listener.is_websocket;
    let keys = ListenerKeys {
        bind: listener.bind.to_string(),
        mode: listener.bind.unix().map(|socket| format!("0{:o}", socket.mode)),
        transport: if listener.is_websocket { "ws" } else { "tcp" },
        ssl: listener.certificates.is_some(),
        max_connections: or_zero(listener.connections_max, usize::MAX),
        durability: listener.durability.map(durability::word),
        certificates: listener.certificates.as_ref().map(certificate_keys),
        requires_none: (is_plain && config.listeners.iter().any(is_required)).then_some(false),
        proxy_protocol: listener.is_proxied,
        trusted_proxies: hears_proxies
            .then(|| listener.trusted_proxies.iter().map(Subnet::to_string).collect()),
    };
    let keys = serde_yaml::to_value(keys).expect("a word and a number can always be written");
    (Value::String(listener.name.clone()), keys)
}

fn certificate_keys(files: &Certificates) -> CertificateKeys {
    let text = |path: &PathBuf| path.display().to_string();
    CertificateKeys {
        certfile: text(&files.certfile),
        keyfile: text(&files.keyfile),
        cafile: files.cafile.as_ref().map(text),
        capath: files.capath.as_ref().map(text),
        cadata: files.cadata.clone(),
        require_certificate: files.is_required,
    }
}

fn limit_keys(limits: &Limits, admission: &Admission) -> LimitKeys {
    let size = |number: usize| or_zero(number, usize::MAX);
    let few = |number: u32| or_zero(number, u32::MAX);
    LimitKeys {
        connections: size(limits.connections),
        packet_bytes: or_zero(limits.packet_bytes, u32::MAX),
        connect_timeout: or_zero(limits.connect_timeout, NEVER_MILLIS) / 1_000,
        keep_alive_max: or_zero(limits.keep_alive_max, u16::MAX),
        inflight: or_zero(limits.inflight, u16::MAX),
        queue_messages: size(limits.queue_messages),
        queue_bytes: size(limits.queue_bytes),
        total_bytes: size(limits.total_bytes),
        subscriptions: size(limits.subscriptions),
        topic_levels: size(limits.topic_levels),
        topic_bytes: size(limits.topic_bytes),
        retained_messages: size(limits.retained_messages),
        retained_bytes: size(limits.retained_bytes),
        session_expiry_max: few(limits.session_expiry_max),
        connections_per_address: size(admission.connections_per_address),
        connection_rate_per_address: few(admission.connection_rate_per_address),
        unauthenticated: size(admission.unauthenticated),
        unauthenticated_per_address: size(admission.unauthenticated_per_address),
        failed_logins: few(admission.failed_logins),
        failed_logins_per_address: few(admission.failed_logins_per_address),
        failed_logins_per_user: few(admission.failed_logins_per_user),
        exempt_addresses: admission.exempt_addresses.iter().map(Subnet::to_string).collect(),
    }
}

/// The highest number is written as 0: no limit.
fn or_zero<N: PartialEq + Default>(number: N, highest: N) -> N {
    if number == highest { N::default() } else { number }
}
