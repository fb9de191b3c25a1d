//! I10: whoever comes through TLS is shown the certificate that is in force: the other one from the
//! moment on in which the broker has taken it up, and never again the one before.
//!
//! A handshake during which that changes may have been begun with either.

use super::facts::Ordinal;
use super::{Case, Wrong};
use crate::history::What;
use crate::scenario::FaultKind;
use crate::transport::Certificate;
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    if case.facts.is_exact {
        return; // there is no TLS
    }
    let mut changes: Vec<Ordinal> = Vec::new();
    // By client: where its connection was opened, and how many changes there were by then.
    let mut opened = vec![(0, 0); case.facts.scenario.clients.len()];
    for event in case.facts.events {
        let at = event.ordinal;
        match (&event.what, event.client) {
            (What::Fault { kind: FaultKind::Certificate }, _) => changes.push(at),
            (What::Opened { .. }, Some(client)) => opened[client] = (at, changes.len()),
            (What::ShookHands { certificate }, Some(client)) => {
                let (from, before) = opened[client];
                let mut in_force = (before..=changes.len()).map(Certificate::after);
                if !in_force.any(|it| it == *certificate) {
                    let words = format!("was shown the certificate {certificate:?}");
                    let last = changes.last().copied().into_iter();
                    let events: Vec<Ordinal> = last.chain([from, at]).collect();
                    wrong.add(Promise::I10, "other-certificate", client, words, &events);
                }
            }
            _ => {}
        }
    }
}
