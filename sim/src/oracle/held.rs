//! C11, C12: no more bytes of messages are held than the broker is told to hold: what is retained
//! is within `retained-bytes`, and within `total-bytes`.
//!
//! What a message takes beside what its publisher said is the broker's affair: it is counted as
//! nothing here. What waits in a session is `queues.rs`'s.

use super::facts::{Request, Span, Wish};
use super::retained::retained_at;
use super::{Case, Wrong, topic};
use crate::history::PublishAsked;
use crate::scenario::ClientIndex;
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    let broker = &case.facts.scenario.broker;
    let limits = [broker.retained_bytes, broker.total_bytes];
    let Some(max) = limits.into_iter().flatten().min().filter(|_| case.facts.is_exact) else {
        return;
    };
    for connection in &case.facts.connections {
        for request in &connection.requests {
            if let (Wish::Publish(publish), Some(span)) = (request.wish, request.span)
                && let Some((_, 0..0x80)) = request.answer
                && publish.retain
                && publish.message != 0
                && !publish.dup
                && !topic::is_the_brokers(&publish.topic)
            {
                check_retained(case, connection.client, request, publish, span, max, wrong);
            }
        }
    }
}

/// What is surely retained with a message that was taken.
fn check_retained(
    case: &Case<'_>,
    client: ClientIndex,
    request: &Request<'_>,
    publish: &PublishAsked,
    span: Span,
    max: usize,
    wrong: &mut Wrong,
) {
    let Some(own) = case.messages.find(publish.message).map(|place| &case.messages.all[place])
    else {
        return;
    };
    let others = (0..case.messages.topics.len()).filter(|topic| *topic != own.topic_place);
    let others = others.filter_map(|topic| retained_at(case, topic, span, span.to).flatten());
    let mut events = vec![request.asked];
    let mut bytes = own.bytes_min();
    for other in others {
        events.push(other.asked);
        bytes += other.bytes_min();
    }
    // In 3.1.1 what is forbidden is acknowledged, too.
    if bytes > max && own.is_acked() {
        let words = format!("{bytes} bytes are retained, of {max}");
        wrong.add(Promise::C12, "too-much-retained", client, words, &events);
    }
}
