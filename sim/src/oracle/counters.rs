//! I14: what the broker counts of itself, as it says below `$SYS`: it never goes down within one life
//! of the broker, and is no less than what its clients had seen of it by then.
//!
//! When it was said is not known, only when it came. But it is said once in each interval: who has
//! begun to listen hears the second one no less than an interval after that, whatever keeps it from
//! coming. Only those are judged who found no session, in which something older could wait.

use std::collections::BTreeMap;

use super::answers::BAD_CREDENTIALS;
use super::facts::{Connection, Facts, Ordinal, Request, SLACK_MS, Wish};
use super::{Case, Wrong, topic};
use crate::access;
use crate::history::{PublishSaw, Saw, What};
use crate::scenario::Qos;
use crate::verdict::Promise;

/// Below `$SYS/broker/`: what only goes up while the broker lives.
const COUNTERS: [&str; 13] = [
    "uptime",
    REFUSED,
    "clients/shed",
    FAILED_LOGINS,
    "clients/maximum",
    BYTES_RECEIVED,
    BYTES_SENT,
    RECEIVED,
    SENT,
    PUBLISHES_RECEIVED,
    PUBLISHES_SENT,
    "messages/dropped",
    MESSAGES_REFUSED,
];
/// Those that are the sums of the ones below them.
const SUMS: [&str; 2] = ["clients/shed", "messages/dropped"];
const REFUSED: &str = "clients/refused";
const FAILED_LOGINS: &str = "clients/failed-logins";
const BYTES_RECEIVED: &str = "load/bytes/received";
const BYTES_SENT: &str = "load/bytes/sent";
const RECEIVED: &str = "messages/received";
const SENT: &str = "messages/sent";
const PUBLISHES_RECEIVED: &str = "messages/publish/received";
const PUBLISHES_SENT: &str = "messages/publish/sent";
const MESSAGES_REFUSED: &str = "messages/refused";

/// Those that are the shell's, which may go by what it has measured.
const OF_SHELL: [&str; 4] = [REFUSED, FAILED_LOGINS, BYTES_RECEIVED, BYTES_SENT];

/// Not Authorized, Quota Exceeded.
const REFUSALS: [u8; 2] = [0x87, 0x97];

/// Bytes of a CONNECT, at least.
const CONNECT_BYTES: u64 = 14;

/// Milliseconds for which a broker may go by what it has measured.
const MEASURED_MS: u64 = 500;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    let facts = &case.facts;
    let Some(interval_s) = facts.scenario.broker.sys_interval_s else { return };
    let mut lives: BTreeMap<usize, Counts> = BTreeMap::new();
    for connection in &facts.connections {
        let (Some(life), Some(from)) = (connection.life, listens_from(connection)) else {
            continue;
        };
        let reports = reports(connection, interval_s);
        if reports.is_empty() || is_shared(facts) {
            continue;
        }
        let counts = lives.entry(life).or_insert_with(|| Counts::of(facts, life));
        let listener = Listener { facts, connection, from, interval_s, counts };
        let mut heard: BTreeMap<&str, Vec<(Ordinal, u64)>> = BTreeMap::new();
        for report in &reports {
            SUMS.into_iter().for_each(|sum| listener.add_up(sum, report, wrong));
            report.iter().for_each(|(topic, said)| heard.entry(topic).or_default().push(*said));
        }
        heard.iter().for_each(|(topic, said)| listener.judge(topic, said, wrong));
    }
}

/// Who hears what the broker counts.
#[derive(Debug)]
struct Listener<'c, 'a> {
    facts: &'c Facts<'a>,
    connection: &'c Connection<'a>,
    /// When it first asked for anything.
    from: Ordinal,
    interval_s: u64,
    counts: &'c Counts,
}

impl Listener<'_, '_> {
    /// All that came of one topic, in order.
    fn judge(&self, topic: &str, said: &[(Ordinal, u64)], wrong: &mut Wrong) {
        let client = self.connection.client;
        for pair in said.windows(2) {
            let [(before, from), (at, to)] = *pair else { continue };
            if to < from {
                let words = format!("{topic} was {from} and is {to}");
                wrong.add(Promise::I14, "count-went-down", client, words, &[before, at]);
            }
        }
        for (place, &(at, count)) in said.iter().enumerate() {
            let said_ms = self.facts.ms(self.from) + place as u64 * self.interval_s * 1_000;
            let Some(by_ms) = said_ms.checked_sub(SLACK_MS) else { continue };
            let Some(least) = self.least(topic, by_ms) else { continue };
            if count < least {
                let words = format!("{topic} is {count}, and it was {least} by {by_ms} ms");
                return wrong.add(Promise::I14, "count-too-low", client, words, &[self.from, at]);
            }
        }
    }

    /// Whether the parts of a sum that came with it are more than it.
    fn add_up(&self, sum: &str, report: &Report<'_>, wrong: &mut Wrong) {
        let Some(&(at, count)) = report.get(sum) else { return };
        let is_part =
            |topic: &str| topic.strip_prefix(sum).is_some_and(|rest| rest.starts_with('/'));
        let parts = report.iter().filter(|(topic, _)| is_part(topic));
        let all: u64 = parts.map(|(_, (_, count))| count).sum();
        if all > count {
            let words = format!("{sum} is {count}, and those below it are {all}");
            wrong.add(Promise::I14, "sum-too-low", self.connection.client, words, &[at]);
        }
    }

    /// What it must have come to by then; none: nobody knows.
    fn least(&self, topic: &str, by_ms: u64) -> Option<u64> {
        let seen = self.counts.0.get(topic)?;
        if !OF_SHELL.contains(&topic) {
            return Some(seen.by(by_ms));
        }
        // The machine level has none of these.
        let by_ms = by_ms.checked_sub(MEASURED_MS).filter(|_| !self.facts.is_exact)?;
        Some(seen.by(by_ms))
    }
}

/// What the clients of one life saw of each counter.
#[derive(Debug, Default)]
struct Counts(BTreeMap<&'static str, Seen>);

impl Counts {
    fn of(facts: &Facts<'_>, life: usize) -> Counts {
        let mut counts = Counts::default();
        for (place, connection) in facts.connections.iter().enumerate() {
            if connection.life != Some(life) {
                continue;
            }
            for event in &connection.events {
                let What::Saw { packet } = &event.what else { continue };
                let is_publish = matches!(packet, Saw::Publish(_));
                counts.note(BYTES_SENT, event.at_ms, least_bytes(packet));
                counts.note(SENT, event.at_ms, u64::from(!is_no_packet(packet)));
                counts.note(PUBLISHES_SENT, event.at_ms, u64::from(is_publish));
            }
            let Some(answer) = connection.answer else { continue };
            if answer.reason != 0 {
                counts.note(REFUSED, facts.ms(answer.at), 1);
                let is_login = answer.reason == BAD_CREDENTIALS;
                counts.note(FAILED_LOGINS, facts.ms(answer.at), u64::from(is_login));
                continue;
            }
            counts.note(RECEIVED, facts.ms(answer.at), 1);
            counts.note(BYTES_RECEIVED, facts.ms(answer.at), CONNECT_BYTES);
            for request in &connection.requests {
                let is_publish = matches!(request.wish, Wish::Publish(_));
                if let Some((at, _)) = request.answer {
                    counts.note(RECEIVED, facts.ms(at), 1);
                    counts.note(BYTES_RECEIVED, facts.ms(at), asked_bytes(request.wish));
                    counts.note(PUBLISHES_RECEIVED, facts.ms(at), u64::from(is_publish));
                }
                if let Some(ms) = denied_ms(facts, place, request) {
                    counts.note(MESSAGES_REFUSED, ms, 1);
                }
            }
        }
        counts.0.values_mut().for_each(Seen::add_up);
        counts
    }

    fn note(&mut self, topic: &'static str, ms: u64, count: u64) {
        self.0.entry(topic).or_default().0.push((ms, count));
    }
}

/// By when a message was refused: its client was told so, or surely had no right to publish it.
fn denied_ms(facts: &Facts<'_>, place: usize, request: &Request<'_>) -> Option<u64> {
    let Wish::Publish(publish) = request.wish else { return None };
    if let Some((at, _)) = request.answer.filter(|(_, reason)| REFUSALS.contains(reason)) {
        return Some(facts.ms(at));
    }
    // What comes again may have been taken when that was not denied yet.
    let span = request.span.filter(|span| span.is_sure && !publish.dup)?;
    let is_denied = facts.may(place, access::Wish::Publish, &publish.topic, span) == Some(false);
    is_denied.then(|| facts.ms(span.to))
}

/// How much was seen, and by when: in order, all together, once it is added up.
#[derive(Debug, Default)]
struct Seen(Vec<(u64, u64)>);

impl Seen {
    fn add_up(&mut self) {
        self.0.sort_unstable();
        let mut sum = 0;
        for (_, count) in &mut self.0 {
            sum += *count;
            *count = sum;
        }
    }

    fn by(&self, ms: u64) -> u64 {
        let place = self.0.partition_point(|(at_ms, _)| *at_ms <= ms);
        place.checked_sub(1).map_or(0, |last| self.0[last].1)
    }
}

/// What was said of each counter at one time, as far as it came: and when it did.
type Report<'a> = BTreeMap<&'a str, (Ordinal, u64)>;

/// From when a connection listens whose client found no session.
fn listens_from(connection: &Connection<'_>) -> Option<Ordinal> {
    if !connection.is_accepted() || connection.may_have_found_session() {
        return None;
    }
    let is_subscribe = |wish: &Wish<'_>| matches!(wish, Wish::Subscribe { .. });
    let first = connection.requests.iter().find(|request| is_subscribe(&request.wish));
    first.map(|request| request.asked)
}

/// All that a connection heard, in order: what came with one QoS, for what comes with another one
/// has an order of its own. Some may be lost, so one report ends with what was said before in it,
/// or when half an interval has gone by.
fn reports<'a>(connection: &Connection<'a>, interval_s: u64) -> Vec<Report<'a>> {
    let mut reports: Vec<Report<'a>> = Vec::new();
    let (mut qos, mut begun_ms): (Option<Qos>, u64) = (None, 0);
    for event in &connection.events {
        let What::Saw { packet: Saw::Publish(saw) } = &event.what else { continue };
        let Some((counter, count)) = counter(saw) else { continue };
        if *qos.get_or_insert(saw.qos) != saw.qos {
            continue;
        }
        let is_late = event.at_ms - begun_ms >= interval_s * 500;
        match reports.last_mut().filter(|last| !is_late && !last.contains_key(counter)) {
            Some(last) => _ = last.insert(counter, (event.ordinal, count)),
            None => {
                begun_ms = event.at_ms;
                reports.push(Report::from([(counter, (event.ordinal, count))]));
            }
        }
    }
    reports
}

fn counter(saw: &PublishSaw) -> Option<(&str, u64)> {
    let count = saw.count.filter(|_| !saw.dup && !saw.retain)?;
    let topic = saw.topic.as_deref()?.strip_prefix("$SYS/broker/")?;
    let is_part = topic.starts_with("messages/dropped/") || topic.starts_with("clients/shed/");
    (is_part || COUNTERS.contains(&topic)).then_some((topic, count))
}

/// Whether anybody shares what the broker says of itself: what one member leaves the next gets late.
fn is_shared(facts: &Facts<'_>) -> bool {
    let mut requests = facts.connections.iter().flat_map(|connection| &connection.requests);
    requests.any(|request| match request.wish {
        Wish::Subscribe { filters, .. } => filters
            .iter()
            .any(|it| topic::shared(&it.filter).is_some() && it.filter.contains("$SYS")),
        _ => false,
    })
}

fn is_no_packet(packet: &Saw) -> bool {
    matches!(packet, Saw::Oversized { .. } | Saw::Nonsense { .. })
}

/// Bytes of what a client asked, at least.
fn asked_bytes(wish: Wish<'_>) -> u64 {
    match wish {
        Wish::Publish(publish) => publish.packet_bytes as u64,
        _ => 2,
    }
}

/// Bytes of a packet, at least.
fn least_bytes(packet: &Saw) -> u64 {
    match packet {
        Saw::Publish(saw) => saw.packet_bytes as u64,
        Saw::ConnAck { .. } | Saw::Ack(_) | Saw::UnsubAck { .. } => 4,
        Saw::SubAck { .. } => 5,
        Saw::Pong | Saw::Disconnect { .. } => 2,
        Saw::Oversized { .. } | Saw::Nonsense { .. } => 0,
    }
}
