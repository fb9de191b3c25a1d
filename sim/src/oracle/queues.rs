//! C11, C12, I17: no more messages wait in a session than the broker is told to keep.
//!
//! What waited is what was published while the session had no connection, and came on the next.

use super::facts::Ordinal;
use super::{Case, Wrong};
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    let Some(max) = case.facts.scenario.broker.queue_messages else { return };
    for session in &case.sessions.all {
        for pair in session.connections.windows(2) {
            let came = waited(case, pair[0], pair[1]);
            if came.len() > max {
                let words = format!("{} messages waited, and {max} are allowed", came.len());
                let client = case.client(pair[1]);
                wrong.add(Promise::C11, "queue-too-long", client, words, &came);
            }
        }
    }
}

/// What came on a connection that was published after the one before it had ended.
fn waited(case: &Case<'_>, before: usize, on: usize) -> Vec<Ordinal> {
    let connections = &case.facts.connections;
    let (since, Some(entry)) = (connections[before].end.to, connections[on].entry) else {
        return Vec::new();
    };
    let here = case.deliveries.all.iter().filter(|delivery| delivery.connection == on);
    let first = here.filter(|delivery| delivery.repeats.is_none() && !delivery.saw.dup);
    let waited = first.filter(|delivery| {
        let Some(message) = delivery.message.map(|place| &case.messages.all[place]) else {
            return false;
        };
        let is_between = |from: Ordinal, to: Ordinal| from > since && to < entry.from;
        let explanation = delivery.explanation;
        message.span().is_some_and(|span| is_between(span.from, span.to))
            && !explanation.retained
            && explanation.is_found()
    });
    waited.map(|delivery| delivery.at).collect()
}
