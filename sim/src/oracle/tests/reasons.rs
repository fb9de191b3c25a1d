//! Proof of `reasons.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use super::tale::{A, B, Q1, Tale};
use super::{fine, planted_with_arrivals};
use crate::history::{Ack, AckKind, Saw};

#[test]
fn puback_says_whether_anybody_is_subscribed() {
    let published = |tale: Tale, filter: &str, reason| {
        let tale = tale.exactly().connects(A).connects(B).subscribes(B, filter, Q1);
        let ack = Ack { kind: AckKind::PubAck, id: 1, reason };
        tale.sends(A, 1, "a/b", Q1, |_| {}).saw(A, Saw::Ack(ack))
    };
    fine(|tale| published(tale, "a/+", 0));
    fine(|tale| published(tale, "else/where", 0x10));
    planted_with_arrivals("C11 says-nobody-subscribed", |tale| published(tale, "a/+", 0x10));
    planted_with_arrivals("C11 says-somebody-subscribed", |tale| published(tale, "b", 0));
    planted_with_arrivals("C11 unknown-reason", |tale| published(tale, "a/+", 0x11));
}

#[test]
fn no_more_subscriptions_than_allowed() {
    let subscribed = |tale: Tale, max, reason| {
        let tale = tale.exactly().given(|scenario| scenario.broker.subscriptions = Some(max));
        let tale = tale.connects(A).subscribes(A, "a", Q1).wants(A, "b", Q1, None, |_| {});
        tale.saw(A, Saw::SubAck { id: 2, reasons: vec![reason] })
    };
    fine(|tale| subscribed(tale, 2, 1));
    fine(|tale| subscribed(tale, 1, 0x97));
    planted_with_arrivals("C11 wrong-subscription-limit", |tale| subscribed(tale, 1, 1));
    planted_with_arrivals("C11 wrong-subscription-limit", |tale| subscribed(tale, 2, 0x97));
}

#[test]
fn pubcomp_says_whether_the_id_was_in_use() {
    let released = |tale: Tale, reason| {
        let tale = tale.exactly().connects(A).answers(A, AckKind::PubRel, 7);
        tale.saw(A, Saw::Ack(Ack { kind: AckKind::PubComp, id: 7, reason }))
    };
    fine(|tale| released(tale, 0x92));
    planted_with_arrivals("I6 wrong-pubcomp", |tale| released(tale, 0));
}
