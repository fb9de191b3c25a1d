//! The file as people write it: its top level, in every dialect of amqtt.
//!
//! The sections are read by `listeners.rs`, `limits.rs`, `access.rs` and `plugins.rs`; what comes
//! out is a [`Config`], with everything that is wrong in the report.

use std::num::NonZeroU16;

use super::plugins::Plugins;
use super::problem::Report;
use super::section::{Entry, Section};
use super::yaml::Node;
use super::{
    Authentication, Config, Listener, LogSizes, SYS_INTERVAL, access, durability, limits,
    listeners, plugins, rules,
};
use crate::machine::EFFORT_MAX;
use crate::mqtt::types::QoS;

/// Threads that serve connections: more than any machine has cores.
const THREADS_MAX: i64 = 1_024;

/// Keys that no release of amqtt obeyed.
const IDLE: &[&str] = &["persistence", "publish-retry-delay", "bind-address", "bind-port"];

/// What the whole file says. It is worth something only if the report holds no error.
pub(super) fn read(root: &Node, report: &mut Report) -> Config {
    let Some(mut top) = Entry::root(root).section(report) else { return Config::default() };
    let listeners = listeners::read(&mut top, report);
    let plugins = plugins::read(&mut top, report);
    let auth = access::read(&mut top, &plugins, listeners.is_none(), report);
    let listeners = listeners.unwrap_or_else(|| vec![Listener::loopback()]);
    let (limits, admission) = limits::read(&mut top, report);
    let (data_dir, durability) = durability::read(&mut top, report);
    let config = Config {
        listeners,
        sys_interval: sys_interval(&mut top, &plugins, auth.is_given, report),
        session_expiry: session_expiry(&mut top, report),
        disconnect_delay: disconnect_delay(&mut top, report),
        max_qos: max_qos(&mut top, report),
        data_dir,
        durability,
        threads: threads(&mut top, report),
        effort_max: EFFORT_MAX,
        log_sizes: LogSizes::default(),
        limits,
        admission,
        authentication: auth.plugins,
        authorisation: auth.topics.into_iter().chain(rules::read(&mut top, report)).collect(),
    };
    warn_of_no_certificates(&config, report);
    for name in IDLE {
        if let Some(entry) = top.value(name, report) {
            let mend = match *name {
                "persistence" => "; to keep sessions and messages, write `data-dir: DIRECTORY`",
                _ => "",
            };
            report.warn(entry.spot(), format!("has no effect, as in every release of amqtt{mend}"));
        }
    }
    top.finish(report);
    config
}

/// Warns where certificates say who clients are, and none is ever asked for one.
fn warn_of_no_certificates(config: &Config, report: &mut Report) {
    let is_asked = |listener: &Listener| {
        listener.certificates.as_ref().is_some_and(|files| {
            files.cafile.is_some() || files.capath.is_some() || files.cadata.is_some()
        })
    };
    let is_certified = |plugin: &Authentication| matches!(plugin, Authentication::Certificate(_));
    let is_wanted = config.authentication.iter().any(is_certified);
    if is_wanted && !config.listeners.iter().any(is_asked) {
        let message = "clients are to show certificates, and no listener takes any: give one \
                       `ssl: on` and a `cafile`";
        report.warn((None, "listeners"), message);
    }
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
        (entry, Plugins::Classes { sys_interval: Some(by_class), .. }) => {
            if let Some(entry) = entry {
                report.warn(entry.spot(), "has no effect: BrokerSysPlugin in `plugins` decides");
            }
            *by_class
        }
        (Some(entry), _) => interval(&entry, report),
        (None, Plugins::Classes { sys_interval: None, .. }) => None,
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

fn threads(top: &mut Section<'_>, report: &mut Report) -> Option<NonZeroU16> {
    let threads = top.value("threads", report)?.integer(1..=THREADS_MAX, report)?;
    u16::try_from(threads).ok().and_then(NonZeroU16::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{assert_problems, load};

    const LISTENERS: &str = "listeners: {default: {bind: ':1883'}}\n";
    const OPEN: &str = "auth: {plugins: [auth_anonymous]}\n";

    #[test]
    fn keys_of_the_top_level_are_read_in_both_spellings() {
        let read = |keys: &str| load(&format!("{LISTENERS}{OPEN}{keys}\n"));
        assert_eq!(read("timeout-disconnect-delay: 2").disconnect_delay, Some(2));
        assert_eq!(read("timeout_disconnect_delay: 2").disconnect_delay, Some(2));
        assert_eq!(read("timeout_disconnect_delay:").disconnect_delay, None);
        assert_eq!(read("sys_interval: 2").sys_interval, Some(2));
        assert_eq!(read("sys-interval: '2'").sys_interval, Some(2));
        assert_eq!(read("sys_interval: 0").sys_interval, None);
        assert_eq!(read("").sys_interval, None);
        assert_eq!(read("session_expiry_interval: 60").session_expiry, Some(60));
        assert_eq!(read("session-expiry-interval: 0x3c").session_expiry, Some(60));
        assert_eq!(read("session-expiry-interval: ~").session_expiry, None);
        assert_eq!(read("max-qos: 1").max_qos, QoS::AtLeastOnce);
        assert_eq!(read("threads: 3").threads, NonZeroU16::new(3));
        assert_eq!(read("").threads, None);
        assert_eq!(read("max_qos: 0").max_qos, QoS::AtMostOnce);
        assert_eq!(read("").max_qos, QoS::ExactlyOnce);
    }

    #[test]
    fn without_auth_and_classes_sys_is_published_as_in_the_newest_amqtt() {
        let config = assert_problems(LISTENERS, &["warning 0: auth: not given"]);
        assert_eq!(config.expect("only a warning").sys_interval, Some(20));
    }

    #[test]
    fn what_has_no_effect_is_warned_of() {
        for (keys, want) in [
            ("timeout-disconnect-delay: 0", "timeout-disconnect-delay: a client is closed as soon"),
            (
                "persistence: {file: x.db}",
                "persistence: has no effect, as in every release of amqtt; to keep sessions and messages, write `data-dir",
            ),
            ("bind-address: x", "bind-address: has no effect, as in every release"),
            ("amqtt_db: {a: 1}", "amqtt_db: the key is not known and has no effect"),
            (
                "sys_intreval: 5",
                "sys_intreval: the key is not known and has no effect; the nearest",
            ),
        ] {
            let want = format!("warning 3: {want}");
            assert!(assert_problems(&format!("{LISTENERS}{OPEN}{keys}\n"), &[&want]).is_some());
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for (keys, want) in [
            ("timeout-disconnect-delay: -1", "timeout-disconnect-delay: expected a whole number"),
            ("sys_interval: often", "sys_interval: expected a whole number"),
            (
                "sys_interval: 2.5",
                "sys_interval: expected a whole number from 0 to 4294967295, found a",
            ),
            ("sys_interval: on", "sys_interval: expected a whole number"),
            ("session_expiry_interval: 4294967296", "session_expiry_interval: expected a whole"),
            ("max-qos: 3", "max-qos: expected a whole number from 0 to 2, found `3`"),
            ("limits: 5", "limits: expected a section, found `5`"),
        ] {
            assert_problems(&format!("{LISTENERS}{OPEN}{keys}\n"), &[&format!("error 3: {want}")]);
        }
        let spellings = "sys_interval: 5\nsys-interval: 6";
        let want = "error 4: sys-interval: line 3 gives this key another value";
        assert_problems(&format!("{LISTENERS}{OPEN}{spellings}"), &[want]);
    }

    #[test]
    fn every_problem_is_named_at_once() {
        assert_problems(
            "listeners:\n  a: {bind: x:y}\n  b: {ssl: maybe, bind: z}\nmax-qos: 9\nauth: {plugins: 5}",
            &[
                "error 2: listeners.a.bind: `x:y`: the port",
                "error 3: listeners.b.ssl: expected true or false",
                "error 4: max-qos: ",
                "error 5: auth.plugins: expected a list",
            ],
        );
    }

    #[test]
    fn a_file_that_is_no_section_is_refused() {
        assert_problems("- a", &["error 1: : expected a section, found a list"]);
        assert_problems("words", &["error 1: : expected a section, found `words`"]);
    }
}
