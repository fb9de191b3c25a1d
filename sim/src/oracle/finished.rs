//! C13, I6: nothing is left half done. What was answered later was handled later, so what came
//! before was answered too; and once all was quiet, every delivery was finished: sent again and
//! acknowledged, or released and completed. [MQTT-4.4.0-1]
//!
//! What never came at all is `lost.rs`'s.

use super::answers::{MALFORMED_PACKET, PROTOCOL_ERROR};
use super::facts::{Connection, Ordinal, Request, Span, Wish};
use super::lost::is_drained;
use super::sizes::is_small;
use super::{Case, Wrong};
use crate::access;
use crate::history::{AckKind, Asked, Event, Saw, What};
use crate::scenario::Qos;
use crate::verdict::Promise;

/// Bytes of a SUBACK or UNSUBACK beside its reasons.
const ANSWER_BYTES: usize = 5;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    for place in 0..case.facts.connections.len() {
        check_answered(case, place, wrong);
    }
    for session in 0..case.sessions.all.len() {
        check_released(case, session, wrong);
    }
    if !case.facts.is_exact {
        return;
    }
    for session in 0..case.sessions.all.len() {
        check_finished(case, session, wrong);
    }
}

/// Whether a request has an answer that takes its turn among all others.
fn is_answered_in_turn(
    case: &Case<'_>,
    connection: &Connection<'_>,
    request: &Request<'_>,
) -> bool {
    match request.wish {
        // A sign of life does not wait for the disk.
        Wish::Ping if case.facts.is_durable() => false,
        Wish::Publish(publish) => publish.qos > Qos::AtMostOnce,
        Wish::Subscribe { .. } | Wish::Unsubscribe { .. } | Wish::Ping => true,
        Wish::Guess { .. } => true, // PUBREL, which says that the id is not in use
        // What a PUBREL answers is known if none of them was a guess.
        Wish::Ack(ack) if ack.kind == AckKind::PubRec => {
            ack.reason < 0x80 && !connection.has_guessed()
        }
        Wish::Ack(ack) => ack.kind == AckKind::PubRel,
        _ => false,
    }
}

fn is_receipt(request: &Request<'_>) -> bool {
    matches!(request.wish, Wish::Ack(ack) if ack.kind == AckKind::PubRec)
}

/// What broke the protocol first on this connection, and when the broker said so: the answers to
/// what came before came before that, unless they wait for the disk.
fn rebuked(case: &Case<'_>, connection: &Connection<'_>) -> Option<(Ordinal, Ordinal)> {
    let (at, reason) = connection.sent_away?;
    let garbage = connection.requests.iter().find(|request| request.is_garbage())?.asked;
    let is_rebuke = matches!(reason, MALFORMED_PACKET | PROTOCOL_ERROR) && at > garbage;
    let is_clear = !case.facts.is_durable() && !connection.has_guessed();
    (is_rebuke && is_clear).then_some((garbage, at))
}

/// Whether the answer may be larger than the client takes: a reason for each filter. Then it is left
/// out. [MQTT-3.1.2-24]
fn may_be_too_large(connection: &Connection<'_>, wish: &Wish<'_>) -> bool {
    let filters = match wish {
        Wish::Subscribe { filters, .. } => filters.len(),
        Wish::Unsubscribe { filters, .. } => filters.len(),
        _ => return false,
    };
    let max = connection.connect.and_then(|connect| connect.packet_bytes_max);
    max.is_some_and(|max| filters + ANSWER_BYTES > max as usize)
}

/// No answer is left out.
fn check_answered(case: &Case<'_>, place: usize, wrong: &mut Wrong) {
    let connection = &case.facts.connections[place];
    let rebuked = rebuked(case, connection);
    let mut later: Option<Ordinal> = None;
    for request in connection.requests.iter().rev() {
        if let Some((_, at)) = rebuked.filter(|(garbage, _)| *garbage == request.asked) {
            later = Some(at);
        }
        if !is_answered_in_turn(case, connection, request)
            || may_be_too_large(connection, &request.wish)
        {
            continue;
        }
        let is_exact = case.facts.is_exact;
        match (request.answer, later) {
            // PUBREL may be one that is sent again, ahead of the answers.
            (Some(_), _) if is_receipt(request) => {}
            (Some((at, _)), _) if is_exact => later = Some(at),
            (None, Some(at)) if !is_exact || request.arrived.is_some() => {
                let words = "a request was never answered, though a later one was".to_owned();
                let events = [request.asked, at];
                wrong.add(Promise::I6, "answer-left-out", connection.client, words, &events);
            }
            _ => {}
        }
    }
}

/// What was received on one connection is released on the next before what is asked there much later
/// is answered, whatever else the client leaves unanswered. [MQTT-3.3.4-10]
fn check_released(case: &Case<'_>, session: usize, wrong: &mut Wrong) {
    let known = &case.sessions.all[session];
    if !known.doubts.is_empty() || known.has_guessed {
        return;
    }
    for pair in known.connections.windows(2) {
        let [before, after] = [pair[0], pair[1]].map(|on| &case.facts.connections[on]);
        let answers = after.requests.iter().filter(|it| is_answered_much_later(case, after, it));
        let Some(answered) = answers.filter_map(|it| it.answer).map(|(at, _)| at).min() else {
            continue;
        };
        if before.life.is_none() || before.life != after.life {
            continue;
        }
        for (id, received) in received_last(before) {
            let mut earlier = after.events.iter().take_while(|event| event.ordinal < answered);
            if !earlier.any(|event| speaks_of(event, id) || is_completed(event, id)) {
                let words = format!(
                    "what was received as {id} was not released, though what was asked later was \
                     answered"
                );
                let events = [received, answered];
                wrong.add(Promise::C13, "release-held-back", after.client, words, &events);
            }
        }
    }
}

/// Whether this was asked so long after its client was let in that all that was to be sent at once
/// had been, and was answered.
fn is_answered_much_later(case: &Case<'_>, on: &Connection<'_>, request: &Request<'_>) -> bool {
    let Some(let_in) = on.answer.filter(|answer| answer.reason == 0) else { return false };
    let (facts, calm) = (&case.facts, &case.calm);
    let (from_ms, asked_ms) = (facts.ms(let_in.at), facts.ms(request.asked));
    !calm.may_miss_words(on.client)
        && asked_ms >= from_ms + calm.at_once_ms()
        && facts.is_disk_prompt(from_ms, asked_ms)
        && request.answer.is_some()
        && matches!(request.wish, Wish::Ping | Wish::Subscribe { .. })
}

/// The packet ids that came and were received on a connection, and not completed there, and when.
/// Who answers what came on an earlier one may speak of what the broker has forgotten.
fn received_last(on: &Connection<'_>) -> Vec<(u16, Ordinal)> {
    let mut received: Vec<(u16, Ordinal)> = Vec::new();
    for request in &on.requests {
        let (Wish::Ack(ack), Some(_)) = (request.wish, request.span) else { continue };
        received.retain(|(id, _)| *id != ack.id);
        let is_sure = request.span.is_some_and(|span| span.is_sure);
        let came = on.events.iter().any(|event| match &event.what {
            What::Saw { packet: Saw::Publish(saw) } => {
                event.ordinal < request.asked && saw.id == Some(ack.id)
            }
            _ => false,
        });
        if ack.kind == AckKind::PubRec && ack.reason < 0x80 && is_sure && came {
            received.push((ack.id, request.asked));
        }
    }
    received
}

/// Whether the client completes then what has this packet id: also if it was released on an earlier
/// connection.
fn is_completed(event: &Event, id: u16) -> bool {
    match &event.what {
        What::Asked { packet: Asked::Ack(ack) } => ack.kind == AckKind::PubComp && ack.id == id,
        _ => false,
    }
}

/// Whether the broker speaks of a packet id of its own then: it sends the message, or releases it.
pub(super) fn speaks_of(event: &Event, id: u16) -> bool {
    match &event.what {
        What::Saw { packet: Saw::Publish(saw) } => saw.id == Some(id),
        What::Saw { packet: Saw::Ack(ack) } => ack.kind == AckKind::PubRel && ack.id == id,
        _ => false,
    }
}

/// A delivery that is not finished.
#[derive(Clone, Copy, Debug)]
struct Open<'a> {
    id: u16,
    at: Ordinal,
    /// The connection that it came on.
    on: usize,
    topic: Option<&'a str>,
    /// PUBREC reached the broker.
    is_received: bool,
}

fn check_finished(case: &Case<'_>, session: usize, wrong: &mut Wrong) {
    let facts = &case.sessions.all[session];
    if !is_drained(case, session) || !facts.doubts.is_empty() || is_small(case, session) {
        return;
    }
    let mut open: Vec<Open<'_>> = Vec::new();
    for &on in &facts.connections {
        let connection = &case.facts.connections[on];
        let mut requests = connection.requests.iter();
        let mut finished: Vec<u16> = Vec::new();
        for event in &connection.events {
            match &event.what {
                What::Saw { packet: Saw::Publish(saw) } => {
                    let Some(id) = saw.id else { continue };
                    if saw.dup && finished.contains(&id) {
                        continue; // it was sent again before the broker heard of that
                    }
                    if !open.iter().any(|known| known.id == id) {
                        let (at, topic) = (event.ordinal, saw.topic.as_deref());
                        open.push(Open { id, at, on, topic, is_received: false });
                    }
                }
                // Requests are all that is asked but CONNECT.
                What::Asked { packet } if !matches!(packet, Asked::Connect { .. }) => {
                    if let Some(request) = requests.next() {
                        finished.extend(acknowledge(&mut open, request));
                    }
                }
                _ => {}
            }
        }
    }
    let client = facts.connections.last().map(|&on| case.client(on));
    for left in open.into_iter().filter(|left| !may_be_withdrawn(case, session, left)) {
        let (rule, words) = match left.is_received {
            true => ("never-released", "was received, and PUBREL never came to its end"),
            false => ("never-sent-again", "was not acknowledged, and never sent again"),
        };
        let words = format!("packet {} {words}, though all was quiet in the end", left.id);
        wrong.add(Promise::C13, rule, client, words, &[left.at]);
    }
}

/// Whether a session may not have been sent a message again on some connection: what its client
/// may no longer see goes then, if it has not come back before.
fn may_be_withdrawn(case: &Case<'_>, session: usize, left: &Open<'_>) -> bool {
    if case.facts.policies.is_none() {
        return false;
    }
    let name = left.topic.unwrap_or_default();
    let Some(topic) = case.messages.topic_place(name) else { return true };
    // Also one whose client never heard that it came back to its session.
    let identities = &case.sessions.identities;
    let since = case.facts.connections[left.on].entry.map_or(0, |entry| entry.from);
    let others = (0..case.facts.connections.len()).filter(|&on| on != left.on);
    let others = others.filter(|&on| identities[on] == identities[left.on]);
    let entries = others.map(|on| (on, case.facts.connections[on].entry));
    // They may have come to the broker in another order.
    let mut later = entries.filter(|(_, entry)| entry.is_none_or(|entry| entry.to > since));
    later.any(|(on, entry)| {
        let from = entry.map_or(left.at, |entry| entry.from);
        let during = Span { from, to: case.facts.connections[on].end.to, is_sure: true };
        let may = |wish, what| case.facts.may_whoever(on, wish, what, during) == Some(true);
        let mut filters = case.subscriptions.matching(session, topic);
        !may(access::Wish::Receive, name)
            || filters.any(|(it, _)| it.is_shared || !may(access::Wish::Subscribe, it.text))
    })
}

/// What the broker may have handled; the packet id of what that finishes, which it may be sending
/// again at that moment.
fn acknowledge(open: &mut Vec<Open<'_>>, request: &Request<'_>) -> Option<u16> {
    let (Wish::Ack(ack), Some(_)) = (request.wish, request.span) else { return None };
    let known = open.iter_mut().filter(|known| known.id == ack.id);
    match ack.kind {
        AckKind::PubRec if ack.reason < 0x80 => {
            known.for_each(|known| known.is_received = true);
            None
        }
        AckKind::PubAck | AckKind::PubRec | AckKind::PubComp => {
            open.retain(|known| known.id != ack.id);
            Some(ack.id)
        }
        AckKind::PubRel => None,
    }
}
