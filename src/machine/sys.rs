//! `$SYS/broker/...`: what the broker says of itself, under the names that amqtt uses.
//!
//! Plain decimal text, not retained but for the version. What the machine cannot know (bytes on
//! the wire, memory, processor time) the shell hands in as [`Readings`].

use std::collections::VecDeque;

use bytes::Bytes;

use super::deadlines::Due;
use super::route::Origin;
use super::{DropReason, Machine, Shed, Sheds, Timestamp};
use crate::mqtt::message::{Holders, Message};
use crate::mqtt::topic::TopicName;
use crate::mqtt::types::QoS;

/// What the shell measures for `$SYS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// Bytes read from connections since the start.
    pub bytes_received: u64,
    /// Bytes written to connections since the start.
    pub bytes_sent: u64,
    /// Bytes of memory that the process uses.
    pub memory_bytes: u64,
    /// Milliseconds of processor time that the process has used.
    pub cpu_millis: u64,
    /// Who was turned away at the door.
    pub sheds: Sheds,
    /// Logins that failed.
    pub failed_logins: u64,
    /// CONNACKs that said no.
    pub refused: u64,
}

/// What is remembered from one publication to the next.
#[derive(Debug, Default)]
pub(super) struct Sys {
    pub(super) readings: Readings,
    started: Timestamp,
    last: Timestamp,
    last_cpu_millis: u64,
    cpu_percent_max: f64,
    memory_bytes_max: u64,
    /// Topics and values of one moment that are still to be published, and when the next ones are due.
    left: VecDeque<(String, String)>,
    next: Timestamp,
}

impl Sys {
    pub(super) fn new(now: Timestamp) -> Sys {
        Sys { started: now, last: now, ..Sys::default() }
    }

    /// Percent of one core since the last publication.
    fn cpu_percent(&mut self, now: Timestamp) -> f64 {
        let elapsed = now.millis_since(self.last).max(1);
        let used = self.readings.cpu_millis.saturating_sub(self.last_cpu_millis);
        self.last = now;
        self.last_cpu_millis = self.readings.cpu_millis;
        let percent = used as f64 * 100.0 / elapsed as f64;
        self.cpu_percent_max = self.cpu_percent_max.max(percent);
        percent
    }
}

impl Machine {
    /// Publishes the version, for good, and arms the first publication of the rest.
    pub(super) fn start_sys(&mut self, now: Timestamp) {
        let version = concat!("Stormpetrel version ", env!("CARGO_PKG_VERSION"));
        self.publish_sys("version", version.to_owned(), true, now);
        if let Some(interval) = self.sys_interval() {
            self.deadlines.arm(now.after_secs(interval), Due::Sys);
        }
    }

    fn sys_interval(&self) -> Option<u64> {
        self.settings.sys_interval.filter(|interval| *interval > 0)
    }

    /// The interval is over, or not all of it is published: the next message is. Each may be for very
    /// many, and others have their turn between two.
    pub(super) fn handle_sys_due(&mut self, now: Timestamp) {
        let Some(interval) = self.sys_interval() else { return };
        if self.sys.left.is_empty() {
            self.sys.left = self.sys_of_now(now);
            self.sys.next = now.after_secs(interval);
        }
        if let Some((topic, value)) = self.sys.left.pop_front() {
            self.publish_sys(&topic, value, false, now);
        }
        let is_done = self.sys.left.is_empty();
        self.deadlines.arm(if is_done { self.sys.next } else { now }, Due::Sys);
    }

    /// All of one moment: what is published may be dropped itself.
    fn sys_of_now(&mut self, now: Timestamp) -> VecDeque<(String, String)> {
        let of_store = self.journal.readings();
        let values = self.sys_values(now).into_iter().chain(of_store);
        let mut all: VecDeque<_> = values.map(|(topic, value)| (topic.to_owned(), value)).collect();
        all.extend(DropReason::ALL.map(|reason| {
            let value = self.ledger.drops.get(reason).to_string();
            (format!("messages/dropped/{}", reason.name()), value)
        }));
        all.extend(Shed::ALL.map(|reason| {
            let value = self.sys.readings.sheds.get(reason).to_string();
            (format!("clients/shed/{}", reason.name()), value)
        }));
        all
    }

    fn sys_values(&mut self, now: Timestamp) -> Vec<(&'static str, String)> {
        const MEGABYTE: f64 = 1024.0 * 1024.0;
        let cpu = self.sys.cpu_percent(now);
        let readings = self.sys.readings;
        self.sys.memory_bytes_max = self.sys.memory_bytes_max.max(readings.memory_bytes);
        let uptime = now.millis_since(self.sys.started);
        let (ledger, clients) = (&self.ledger, &self.clients);
        vec![
            ("load/bytes/received", readings.bytes_received.to_string()),
            ("load/bytes/sent", readings.bytes_sent.to_string()),
            ("messages/received", ledger.packets_received.to_string()),
            ("messages/sent", ledger.packets_sent.to_string()),
            ("time", (self.wall_time(now).0 / 1_000).to_string()),
            ("uptime", (uptime / 1_000).to_string()),
            // amqtt 0.10 spells it so, and means how long; later ones mean since when.
            ("uptime/formated", format_uptime(uptime)),
            ("uptime/formatted", format_date(self.wall_time(self.sys.started))),
            ("clients/connected", clients.connected.to_string()),
            ("clients/disconnected", (clients.len() - clients.connected).to_string()),
            ("clients/maximum", clients.connected_max.to_string()),
            ("clients/total", clients.len().to_string()),
            ("clients/refused", readings.refused.to_string()),
            ("clients/shed", readings.sheds.total().to_string()),
            ("clients/failed-logins", readings.failed_logins.to_string()),
            ("messages/inflight", (ledger.inflight_in + ledger.inflight_out).to_string()),
            ("messages/inflight/in", ledger.inflight_in.to_string()),
            ("messages/inflight/out", ledger.inflight_out.to_string()),
            ("messages/inflight/stored", ledger.waiting.to_string()),
            ("messages/publish/received", ledger.publishes_received.to_string()),
            ("messages/publish/sent", ledger.publishes_sent.to_string()),
            ("messages/retained/count", self.retained.len().to_string()),
            ("messages/subscriptions/count", self.subscriptions.len().to_string()),
            ("messages/dropped", ledger.drops.total().to_string()),
            ("messages/refused", ledger.refused.to_string()),
            ("messages/held/bytes", ledger.held_bytes().to_string()),
            ("heap/size", format!("{:.3}", readings.memory_bytes as f64 / MEGABYTE)),
            ("heap/maximum", format!("{:.3}", self.sys.memory_bytes_max as f64 / MEGABYTE)),
            ("cpu/percent", format!("{cpu:.3}")),
            ("cpu/maximum", format!("{:.3}", self.sys.cpu_percent_max)),
        ]
    }

    fn publish_sys(&mut self, topic: &str, value: String, retain: bool, now: Timestamp) {
        let topic = TopicName::try_from(format!("$SYS/broker/{topic}").as_str());
        let message = Message {
            topic: topic.expect("our own topics are valid"),
            payload: Bytes::from(value),
            qos: QoS::AtLeastOnce,
            retain,
            properties: None,
            holders: Holders::default(),
        };
        if self.publish(message, Origin::default(), now).is_err() {
            self.ledger.refused += 1;
        }
    }
}

/// Days, hours, minutes and seconds.
fn format_uptime(millis: u64) -> String {
    let secs = millis / 1_000;
    let (days, hours) = (secs / 86_400, secs / 3_600 % 24);
    let clock = format!("{}:{:02}:{:02}", hours, secs / 60 % 60, secs % 60);
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        days => format!("{days} days, {clock}"),
    }
}

/// A time in UTC, to the second, as Python writes it.
fn format_date(time: Timestamp) -> String {
    let secs = time.0 / 1_000;
    let (year, month, day) = civil_from_days(secs / 86_400);
    let (hour, minute, second) = (secs / 3_600 % 24, secs / 60 % 60, secs % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}+00:00")
}

/// The year, month and day of a day since the Unix epoch: Howard Hinnant's `civil_from_days`
/// ("chrono-Compatible Low-Level Date Algorithms"). Years begin in March there, so that the day
/// that some do not have is their last; 400 of them, an era, are always as long.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_ERA: u64 = 146_097;
    let since_march_of_year_0 = days + 719_468;
    let (era, day) = (since_march_of_year_0 / DAYS_OF_ERA, since_march_of_year_0 % DAYS_OF_ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // 0 is March
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_reads_like_a_clock() {
        assert_eq!(format_uptime(2_940), "0:00:02");
        assert_eq!(format_uptime(3_661_000), "1:01:01");
        assert_eq!(format_uptime(90_061_000), "1 day, 1:01:01");
        assert_eq!(format_uptime(180_000_000), "2 days, 2:00:00");
    }

    /// What `date -u -d @SECS '+%F %T+00:00'` says.
    #[test]
    fn a_start_is_a_date_in_utc() {
        for (secs, want) in [
            (0, "1970-01-01 00:00:00+00:00"),
            (951_782_399, "2000-02-28 23:59:59+00:00"),
            (951_782_400, "2000-02-29 00:00:00+00:00"),
            (951_868_800, "2000-03-01 00:00:00+00:00"),
            (1_709_164_800, "2024-02-29 00:00:00+00:00"),
            (1_767_225_599, "2025-12-31 23:59:59+00:00"),
            (1_795_828_659, "2026-11-28 01:17:39+00:00"),
            (4_107_542_399, "2100-02-28 23:59:59+00:00"),
            (4_107_542_400, "2100-03-01 00:00:00+00:00"),
        ] {
            assert_eq!(format_date(Timestamp(secs * 1_000 + 999)), want, "{secs}");
        }
    }
}
