//! A [`Config`] as the YAML that means it, every key written out.
//!
//! Reading it back gives the same configuration, without a warning.

use std::path::PathBuf;

use serde::Serialize;
use serde_yaml::{Mapping, Value};

use super::limits::NEVER_MILLIS;
use super::{Authentication, Certificates, Config, Listener, Subnet};
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
    auth: Auth,
    limits: LimitKeys,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Auth {
    plugins: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allow_anonymous: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_file: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ListenerKeys {
    bind: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    max_connections: usize,
    #[serde(flatten)]
    certificates: Option<CertificateKeys>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    proxy_protocol: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trusted_proxies: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct CertificateKeys {
    ssl: bool,
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
}

/// The configuration as YAML.
pub(super) fn to_yaml(config: &Config) -> String {
    let file = File {
        listeners: config.listeners.iter().map(listener_entry).collect(),
        disconnect_delay: config.disconnect_delay,
        sys_interval: config.sys_interval.unwrap_or(0),
        session_expiry: config.session_expiry,
        max_qos: config.max_qos.number(),
        auth: auth_keys(&config.authentication),
        limits: limit_keys(&config.limits),
    };
    serde_yaml::to_string(&file).expect("words and numbers under words can always be written")
}

fn auth_keys(authentication: &[Authentication]) -> Auth {
    let mut auth = Auth { plugins: Vec::new(), allow_anonymous: None, password_file: None };
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
            Authentication::Named(name) => name,
        };
        auth.plugins.push(name.to_owned());
    }
    auth
}

fn listener_entry(listener: &Listener) -> (Value, Value) {
    let keys = ListenerKeys {
        bind: listener.bind.to_string(),
        transport: listener.is_websocket.then_some("ws"),
        max_connections: or_zero(listener.connections_max, usize::MAX),
        certificates: listener.certificates.as_ref().map(certificate_keys),
        proxy_protocol: listener.is_proxied,
        trusted_proxies: listener.trusted_proxies.iter().map(Subnet::to_string).collect(),
    };
    let keys = serde_yaml::to_value(keys).expect("a word and a number can always be written");
    (Value::String(listener.name.clone()), keys)
}

fn certificate_keys(files: &Certificates) -> CertificateKeys {
    let text = |path: &PathBuf| path.display().to_string();
    CertificateKeys {
        ssl: true,
        certfile: text(&files.certfile),
        keyfile: text(&files.keyfile),
        cafile: files.cafile.as_ref().map(text),
        capath: files.capath.as_ref().map(text),
        cadata: files.cadata.clone(),
        require_certificate: files.is_required,
    }
}

fn limit_keys(limits: &Limits) -> LimitKeys {
    let size = |number: usize| or_zero(number, usize::MAX);
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
        session_expiry_max: or_zero(limits.session_expiry_max, u32::MAX),
    }
}

/// The highest number is written as 0: no limit.
fn or_zero<N: PartialEq + Default>(number: N, highest: N) -> N {
    if number == highest { N::default() } else { number }
}
