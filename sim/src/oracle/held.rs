//! C11, C12: no more bytes of messages are held than the broker is told to hold: what is retained
//! is within `retained-bytes`, and within `total-bytes`.
//!
//! What a message takes beside what its publisher said is the broker's affair: it is counted as
//! nothing here. What waits in a session is `queues.rs`'s.

use super::retained::{Retaining, retained_at};
use super::{Case, Wrong, topic};
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
            if let Some(retaining @ Retaining { reason: 0..0x80, .. }) = Retaining::of(request)
                && !topic::is_the_brokers(&retaining.publish.topic)
            {
                check_retained(case, connection.client, retaining, max, wrong);
            }
        }
    }
}

/// What is surely retained with a message that was taken.
fn check_retained(
    case: &Case<'_>,
    client: ClientIndex,
    Retaining { asked, publish, span, .. }: Retaining<'_>,
    max: usize,
    wrong: &mut Wrong,
) {
    let Some(own) = case.messages.find(publish.message).map(|place| &case.messages.all[place])
    else {
        return;
    };
    let others = (0..case.messages.topics.len()).filter(|topic| *topic != own.topic_place);
    let others = others.filter_map(|topic| retained_at(case, topic, span, span.to).flatten());
    let mut events = vec![asked];
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
