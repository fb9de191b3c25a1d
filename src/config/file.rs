//! The file as people write it: its top level, in every dialect of amqtt.
//!
//! The sections are read by `listeners.rs`, `limits.rs`, `access.rs` and `plugins.rs`; what comes
//! out is a [`Config`], with everything that is wrong in the report.

use super::plugins::Plugins;
use super::problem::Report;
use super::section::{Entry, Section};
use super::yaml::Node;
use super::{Config, SYS_INTERVAL, access, limits, listeners, plugins};
use crate::mqtt::types::QoS;

/// Keys that no release of amqtt obeyed.
const IDLE: &[&str] = &["persistence", "publish-retry-delay", "bind-address", "bind-port"];

/// What the whole file says. It is worth something only if the report holds no error.
pub(super) fn read(root: &Node, report: &mut Report) -> Config {
    let Some(mut top) = Entry::root(root).section(report) else { return Config::default() };
    let listeners = listeners::read(&mut top, report);
    let plugins = plugins::read(&mut top, report);
    let has_auth = access::check(&mut top, &plugins, report);
    let config = Config {
        listeners,
        sys_interval: sys_interval(&mut top, &plugins, has_auth, report),
        session_expiry: session_expiry(&mut top, report),
        disconnect_delay: disconnect_delay(&mut top, report),
        max_qos: max_qos(&mut top, report),
        limits: limits::read(&mut top, report),
    };
    for name in IDLE {
        if let Some(entry) = top.value(name, report) {
            report.warn(entry.spot(), "has no effect, as in every release of amqtt");
        }
    }
    top.finish(report);
    config
}

/// Seconds, 0 being never.
pub(super) fn interval(entry: &Entry<'_>, report: &mut Report) -> Option<u64> {
    let secs = entry.integer(0..=i64::from(u32::MAX), report)?;
    u64::try_from(secs).ok().filter(|secs| *secs > 0)
}

/// Where nothing is said: 20 seconds as in the newest amqtt, which publishes nothing if `auth`
/// is given (so did all older ones) or if other classes are.
fn sys_interval(
    top: &mut Section<'_>,
    plugins: &Plugins,
    has_auth: bool,
    report: &mut Report,
) -> Option<u64> {
    let entry = top.value("sys_interval", report);
    match (entry, plugins) {
        (entry, Plugins::Classes { sys_interval: Some(by_class) }) => {
            if let Some(entry) = entry {
                report.warn(entry.spot(), "has no effect: BrokerSysPlugin in `plugins` decides");
            }
            *by_class
        }
        (Some(entry), _) => interval(&entry, report),
        (None, Plugins::Classes { sys_interval: None }) => None,
        (None, Plugins::Unnamed) => (!has_auth).then_some(SYS_INTERVAL),
    }
}

fn session_expiry(top: &mut Section<'_>, report: &mut Report) -> Option<u32> {
    let entry = top.value("session_expiry_interval", report)?;
    u32::try_from(entry.integer(0..=i64::from(u32::MAX), report)?).ok()
}

fn disconnect_delay(top: &mut Section<'_>, report: &mut Report) -> Option<u64> {
    let entry = top.value("timeout-disconnect-delay", report)?;
    let delay = entry.integer(0..=i64::from(u32::MAX), report)?;
    if delay == 0 {
        let message = "a client is closed as soon as its keep alive is over, however little it \
                       is late; without the key it may be late by half of it";
        report.warn(entry.spot(), message);
    }
    u64::try_from(delay).ok()
}

fn max_qos(top: &mut Section<'_>, report: &mut Report) -> QoS {
    top.value("max-qos", report)
        .and_then(|entry| entry.integer(0..=2, report))
        .and_then(|number| u8::try_from(number).ok().and_then(QoS::from_number))
        .unwrap_or(QoS::ExactlyOnce)
}
