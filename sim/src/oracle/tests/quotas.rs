//! Proof of `quotas.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use std::sync::Arc;

use super::tale::{A, Q1, Q2, Tale};
use super::{fine, planted_with_arrivals};
use crate::history::{Ack, AckKind, ClosedBy, Granted, Outcome, Saw, What};
use crate::scenario::{Action, Op, Publish};

const NOBODY_SUBSCRIBED: u8 = 0x10;

/// A client of a broker that takes so many messages of QoS 2 at once.
fn narrow(tale: Tale, max: u16) -> Tale {
    let tale = tale.exactly().given(|scenario| scenario.broker.inflight = Some(max));
    let granted = Box::new(Granted { receive_maximum: Some(max), ..Granted::default() });
    tale.knocks(A, |_| {}).saw(A, Saw::ConnAck { reason: 0, session_present: false, granted })
}

fn answered(tale: Tale, kind: AckKind, id: u16, reason: u8) -> Tale {
    tale.saw(A, Saw::Ack(Ack { kind, id, reason }))
}

/// The broker takes the message of that id.
fn taken(tale: Tale, id: u16) -> Tale {
    let tale = tale.sends(A, id.into(), "a", Q2, |_| {});
    answered(tale, AckKind::PubRec, id, NOBODY_SUBSCRIBED)
}

fn released(tale: Tale, id: u16) -> Tale {
    answered(tale.answers(A, AckKind::PubRel, id), AckKind::PubComp, id, 0)
}

#[test]
fn no_more_is_taken_at_once_than_announced() {
    fine(|tale| taken(taken(narrow(tale, 2), 1), 2));
    fine(|tale| taken(released(taken(narrow(tale, 1), 1), 1), 2));
    planted_with_arrivals("I6 quota-not-held", |tale| taken(taken(narrow(tale, 1), 1), 2));
}

#[test]
fn who_keeps_to_the_quota_is_not_sent_away_for_it() {
    let away =
        |tale: Tale| tale.saw(A, Saw::Disconnect { reason: 0x93 }).closed(A, ClosedBy::Broker);
    let twice = |tale| taken(released(taken(narrow(tale, 1), 1), 1), 2);
    fine(|tale| away(twice(tale).sends(A, 3, "a", Q2, |_| {})));
    planted_with_arrivals("I6 closed-within-quota", |tale| away(twice(tale)));
}

#[test]
fn as_many_are_retained_as_allowed() {
    // The broker's version is one of them.
    let kept = |tale: Tale, max, reason| {
        let retains =
            |topic: &str| Publish { topic: Arc::from(topic), retain: true, ..Publish::default() };
        let op = |topic| Op { at_ms: 0, client: A, action: Action::Publish(retains(topic)) };
        let tale = tale.exactly().given(|scenario| {
            scenario.broker.retained_messages = Some(max);
            scenario.ops = ["a", "b", "c", "d"].map(op).to_vec();
        });
        let tale = tale.connects(A).sends(A, 1, "a", Q1, |publish| publish.retain = true);
        let outcome = Outcome::Acked { reason: NOBODY_SUBSCRIBED };
        let tale = answered(tale, AckKind::PubAck, 1, NOBODY_SUBSCRIBED)
            .happens(Some(A), What::Published { message: 1, outcome })
            .sends(A, 2, "b", Q1, |publish| publish.retain = true);
        let outcome = match reason {
            0x80.. => Outcome::Denied { reason },
            _ => Outcome::Acked { reason },
        };
        answered(tale, AckKind::PubAck, 2, reason)
            .happens(Some(A), What::Published { message: 2, outcome })
    };
    fine(|tale| kept(tale, 2, 0x97));
    fine(|tale| kept(tale, 3, NOBODY_SUBSCRIBED));
    planted_with_arrivals("C11 wrong-retained-limit", |tale| kept(tale, 2, NOBODY_SUBSCRIBED));
    planted_with_arrivals("C11 wrong-retained-limit", |tale| kept(tale, 3, 0x97));
}
