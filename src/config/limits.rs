//! The section `limits`, which is our own: 0 is "no limit".
//!
//! What the limits mean is in `machine/limits.rs` and in `admission.rs`.

use std::ops::RangeInclusive;

use super::Admission;
use super::admission::read_exempt;
use super::problem::Report;
use super::section::Section;
use crate::machine::Limits;

/// The largest packet that MQTT can express: five bytes of fixed header, and the rest.
const PACKET_BYTES_MAX: i64 = 268_435_460;

/// Below this not even a CONNECT with names of usual length fits.
const BYTES_MIN: i64 = 1 << 10;

/// More than any machine holds; small enough to be added up without care.
const COUNT_MAX: i64 = 1 << 40;

/// A hundred years: never, and still safe to add to any clock's time.
pub(super) const NEVER_MILLIS: u64 = 100 * 365 * 24 * 3_600 * 1_000;

/// Reads the section, each key with its default.
pub(super) fn read(top: &mut Section<'_>, report: &mut Report) -> (Limits, Admission) {
    let Some(section) = top.value("limits", report).and_then(|entry| entry.section(report)) else {
        return (Limits::default(), Admission::default());
    };
    let mut keys = Keys { section, report };
    let (limits, admission) = (keys.limits(), keys.admission());
    keys.section.finish(keys.report);
    (limits, admission)
}

/// Reads keys; 0 comes out as `u64::MAX`.
struct Keys<'n, 'r> {
    section: Section<'n>,
    report: &'r mut Report,
}

impl Keys<'_, '_> {
    fn limits(&mut self) -> Limits {
        let (keys, defaults) = (self, Limits::default());
        Limits {
            connections: keys.count("connections", defaults.connections),
            packet_bytes: keys
                .bytes("packet-bytes", BYTES_MIN..=PACKET_BYTES_MAX)
                .map_or(defaults.packet_bytes, to_u32),
            connect_timeout: keys
                .number("connect-timeout", 1..=86_400)
                .map_or(defaults.connect_timeout, to_millis),
            keep_alive_max: keys
                .number("keep-alive-max", 1..=i64::from(u16::MAX))
                .map_or(defaults.keep_alive_max, to_u16),
            inflight: keys
                .number("inflight", 1..=i64::from(u16::MAX))
                .map_or(defaults.inflight, to_u16),
            queue_messages: keys.count("queue-messages", defaults.queue_messages),
            queue_bytes: keys.total("queue-bytes", defaults.queue_bytes),
            total_bytes: keys.total("total-bytes", defaults.total_bytes),
            subscriptions: keys.count("subscriptions", defaults.subscriptions),
            topic_levels: keys.count("topic-levels", defaults.topic_levels),
            topic_bytes: keys
                .bytes("topic-bytes", 1..=i64::from(u16::MAX))
                .map_or(defaults.topic_bytes, to_usize),
            retained_messages: keys.count("retained-messages", defaults.retained_messages),
            retained_bytes: keys.total("retained-bytes", defaults.retained_bytes),
            session_expiry_max: keys
                .number("session-expiry-max", 1..=i64::from(u32::MAX))
                .map_or(defaults.session_expiry_max, to_u32),
        }
    }

    fn admission(&mut self) -> Admission {
        let (keys, defaults) = (self, Admission::default());
        let exempt = read_exempt(&mut keys.section, keys.report);
        Admission {
            connections_per_address: keys
                .count("connections-per-address", defaults.connections_per_address),
            connection_rate_per_address: keys
                .few("connection-rate-per-address", defaults.connection_rate_per_address),
            unauthenticated: keys.count("unauthenticated", defaults.unauthenticated),
            unauthenticated_per_address: keys
                .count("unauthenticated-per-address", defaults.unauthenticated_per_address),
            failed_logins: keys.few("failed-logins", defaults.failed_logins),
            failed_logins_per_address: keys
                .few("failed-logins-per-address", defaults.failed_logins_per_address),
            failed_logins_per_user: keys
                .few("failed-logins-per-user", defaults.failed_logins_per_user),
            exempt_addresses: exempt.unwrap_or(defaults.exempt_addresses),
        }
    }

    fn number(&mut self, name: &'static str, range: RangeInclusive<i64>) -> Option<u64> {
        let entry = self.section.value(name, self.report)?;
        if entry.is_zero() {
            return Some(u64::MAX);
        }
        entry.limit(range, self.report).map(i64::unsigned_abs)
    }

    fn bytes(&mut self, name: &'static str, range: RangeInclusive<i64>) -> Option<u64> {
        let entry = self.section.value(name, self.report)?;
        if entry.is_zero() {
            return Some(u64::MAX);
        }
        entry.bytes(range, self.report).map(i64::unsigned_abs)
    }

    fn count(&mut self, name: &'static str, default: usize) -> usize {
        self.number(name, 1..=COUNT_MAX).map_or(default, to_usize)
    }

    fn few(&mut self, name: &'static str, default: u32) -> u32 {
        self.number(name, 1..=i64::from(u32::MAX)).map_or(default, to_u32)
    }

    fn total(&mut self, name: &'static str, default: usize) -> usize {
        self.bytes(name, BYTES_MIN..=COUNT_MAX).map_or(default, to_usize)
    }
}

fn to_millis(secs: u64) -> u64 {
    secs.saturating_mul(1_000).min(NEVER_MILLIS)
}

fn to_u16(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn to_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{assert_problems, load};

    const OPEN: &str = "listeners: {default: {bind: ':1883'}}\nauth: {plugins: [auth_anonymous]}\n";

    fn limits(keys: &str) -> Limits {
        load(&format!("{OPEN}limits: {{{keys}}}\n")).limits
    }

    #[test]
    fn limits_are_read_in_every_spelling() {
        let default = Limits::default();
        assert_eq!(limits(""), default);
        let bytes = |packet_bytes| Limits { packet_bytes, ..default.clone() };
        assert_eq!(limits("packet-bytes: 65536"), bytes(65_536));
        assert_eq!(limits("packet_bytes: 65_536"), bytes(65_536));
        assert_eq!(limits("packet-bytes: '65_536'"), bytes(65_536));
        assert_eq!(limits("packet-bytes: 64KiB"), bytes(65_536));
        assert_eq!(limits("packet-bytes: 64 kib"), bytes(65_536));
        assert_eq!(limits("packet-bytes: 64 KB"), bytes(64_000));
        assert_eq!(limits("packet-bytes: 1 MiB"), bytes(1 << 20));
        assert_eq!(limits("packet-bytes: 1MB"), bytes(1_000_000));
        assert_eq!(limits("packet-bytes: 268_435_460"), bytes(268_435_460));
        assert_eq!(limits("packet-bytes: 1024"), bytes(1_024));
        assert_eq!(limits("total-bytes: 3GiB").total_bytes, 3 << 30);
        assert_eq!(limits("total-bytes: 3 GB").total_bytes, 3_000_000_000);
        assert_eq!(limits("connect-timeout: 3").connect_timeout, 3_000);
        assert_eq!(limits("keep-alive-max: 600").keep_alive_max, 600);
        assert_eq!(limits("session-expiry-max: 4_000_000_000").session_expiry_max, 4_000_000_000);
    }

    #[test]
    fn limits_of_admission_are_read() {
        let admission = |keys: &str| load(&format!("{OPEN}limits: {{{keys}}}\n")).admission;
        assert_eq!(admission(""), Admission::default());
        let read = admission(
            "connections-per-address: 1, connection-rate-per-address: 2, unauthenticated: 3, \
             unauthenticated-per-address: 4, failed-logins: 5, failed_logins_per_address: 6, \
             failed-logins-per-user: 7, exempt-addresses: 10.0.0.0/8",
        );
        let want = Admission {
            connections_per_address: 1,
            connection_rate_per_address: 2,
            unauthenticated: 3,
            unauthenticated_per_address: 4,
            failed_logins: 5,
            failed_logins_per_address: 6,
            failed_logins_per_user: 7,
            exempt_addresses: vec!["10.0.0.0/8".parse().expect("a subnet")],
        };
        assert_eq!(read, want);
        let unlimited = admission(
            "connections-per-address: 0, connection-rate-per-address: 0, unauthenticated: 0, \
             unauthenticated-per-address: 0, failed-logins: 0, failed-logins-per-address: 0, \
             failed-logins-per-user: 0, exempt-addresses: []",
        );
        assert_eq!(unlimited, Admission::unlimited());
        let yaml = format!("{OPEN}limits: {{exempt-addresses: [loopback]}}\n");
        let want = "error 3: limits.exempt-addresses[0]: `loopback`: it is neither an IP address";
        assert_problems(&yaml, &[want]);
    }

    #[test]
    fn nought_is_no_limit() {
        let nought = limits(
            "connections: 0, packet-bytes: 0, connect-timeout: 0, keep-alive-max: 0, inflight: 0, \
             queue-messages: 0, queue-bytes: 0, total-bytes: 0, subscriptions: 0, \
             topic-levels: 0, topic-bytes: 0, retained-messages: 0, retained-bytes: 0, \
             session-expiry-max: 0",
        );
        let most = Limits {
            connections: usize::MAX,
            packet_bytes: u32::MAX,
            connect_timeout: NEVER_MILLIS,
            keep_alive_max: u16::MAX,
            inflight: u16::MAX,
            queue_messages: usize::MAX,
            queue_bytes: usize::MAX,
            total_bytes: usize::MAX,
            subscriptions: usize::MAX,
            topic_levels: usize::MAX,
            topic_bytes: usize::MAX,
            retained_messages: usize::MAX,
            retained_bytes: usize::MAX,
            session_expiry_max: u32::MAX,
        };
        assert_eq!(nought, most);
    }

    #[test]
    fn a_limit_out_of_its_range_is_refused() {
        for (keys, want) in [
            (
                "packet-bytes: 1023",
                "packet-bytes: expected a number of bytes from 1024 to 268435460",
            ),
            ("packet-bytes: 268435461", "packet-bytes: expected a number of bytes"),
            ("packet-bytes: -1", "packet-bytes: expected a number of bytes"),
            ("packet-bytes: 1.5 MiB", "packet-bytes: expected a number of bytes"),
            ("packet-bytes: 1 PiB", "packet-bytes: expected a number of bytes"),
            ("packet-bytes: MiB", "packet-bytes: expected a number of bytes"),
            ("queue-bytes: 99999999999999999 GiB", "queue-bytes: expected a number of bytes"),
            ("connections: -1", "connections: expected a whole number from 1 to"),
            ("connections: many", "connections: expected a whole number"),
            ("connections: 64 KiB", "connections: expected a whole number"),
            (
                "connections: [1]",
                "connections: expected a whole number from 1 to 1099511627776, found a",
            ),
            (
                "connect-timeout: 1.5",
                "connect-timeout: expected a whole number from 1 to 86400, found a",
            ),
            ("keep-alive-max: 65536", "keep-alive-max: expected a whole number from 1 to 65535"),
            ("inflight: 65536", "inflight: expected a whole number from 1 to 65535"),
            ("session-expiry-max: 4294967296", "session-expiry-max: expected a whole number"),
            ("topic-bytes: 65536", "topic-bytes: expected a number of bytes from 1 to 65535"),
        ] {
            let yaml = format!("{OPEN}limits:\n  {keys}\n");
            assert_problems(&yaml, &[&format!("error 4: limits.{want}")]);
        }
    }

    #[test]
    fn an_unknown_limit_is_warned_of_with_the_nearest() {
        let yaml = format!("{OPEN}limits: {{paket-bytes: 5000}}\n");
        let want = "warning 3: limits.paket-bytes: the key is not known and has no effect; the \
                    nearest known key is `packet-bytes`";
        assert!(assert_problems(&yaml, &[want]).is_some());
    }
}
