//! The section `limits`, which is our own: 0 is "no limit".
//!
//! What the limits mean is in `machine/limits.rs`.

use std::ops::RangeInclusive;

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
pub(super) fn read(top: &mut Section<'_>, report: &mut Report) -> Limits {
    let defaults = Limits::default();
    let Some(section) = top.value("limits", report).and_then(|entry| entry.section(report)) else {
        return defaults;
    };
    let mut keys = Keys { section, report };
    let limits = Limits {
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
    };
    keys.section.finish(keys.report);
    limits
}

/// Reads keys; 0 comes out as `u64::MAX`.
struct Keys<'n, 'r> {
    section: Section<'n>,
    report: &'r mut Report,
}

impl Keys<'_, '_> {
    fn number(&mut self, name: &'static str, range: RangeInclusive<i64>) -> Option<u64> {
        let entry = self.section.value(name, self.report)?;
        if entry.is_zero() {
            return Some(u64::MAX);
        }
        entry.integer(range, self.report).map(i64::unsigned_abs)
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
