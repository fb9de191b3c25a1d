//! Proof of `finished.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use super::policy::{allow_all, reloads, rule};
use super::tale::{A, B, Q1, Q2, Tale, ack};
use super::{fine, planted, planted_with_arrivals};
use crate::access::Wish;
use crate::history::{AckKind, Asked, ClosedBy, Saw};

#[test]
fn no_answer_is_left_out() {
    let left_out = |tale: Tale| tale.exactly().connects(A).sends(A, 1, "a/b", Q1, |_| {});
    fine(left_out);
    planted_with_arrivals("I6 answer-left-out", |tale| {
        left_out(tale).subscribes(A, "else/where", Q1)
    });
}

#[test]
fn what_comes_before_garbage_is_answered_before_the_rebuke() {
    let rebuked = |tale: Tale| {
        let tale = tale.asks(A, Asked::garbage(None));
        tale.saw(A, Saw::Disconnect { reason: 0x81 }).closed(A, ClosedBy::Broker)
    };
    fine(|tale| rebuked(tale.connects(A).publishes(A, 1, "a/b", Q1)));
    planted("I6 answer-left-out", |tale| rebuked(tale.connects(A).sends(A, 1, "a/b", Q1, |_| {})));
}

#[test]
fn every_receipt_is_answered_however_often_it_comes() {
    let received = |tale: Tale, releases: usize| {
        let tale = tale.exactly().connects(A).connects(B).subscribes(B, "a/+", Q2);
        let tale = tale.publishes(A, 1, "a/b", Q2).sees(B, 1, Q2, |_| {});
        let tale = tale.answers(B, AckKind::PubRec, 1).answers(B, AckKind::PubRec, 1);
        let tale = (0..releases).fold(tale, |tale, _| tale.saw(B, ack(AckKind::PubRel, 1)));
        tale.subscribes(B, "else/where", Q1)
    };
    fine(|tale| received(tale, 2));
    planted_with_arrivals("I6 answer-left-out", |tale| received(tale, 1));
}

#[test]
fn what_was_not_acknowledged_is_sent_again() {
    let sent = |tale: Tale| {
        let tale = tale.exactly().connects(A).connects(B).subscribes(B, "a/+", Q1);
        tale.publishes(A, 1, "a/b", Q1).sees(B, 1, Q1, |_| {}).calms_down(&[A, B])
    };
    planted_with_arrivals("C13 never-sent-again", |tale| sent(tale).ends());
    fine(|tale| {
        let again = sent(tale).gets_with(B, 1, Q1, |saw| (saw.dup, saw.id) = (true, Some(1)));
        again.answers(B, AckKind::PubAck, 1).ends()
    });
}

#[test]
fn what_was_received_is_released_when_its_client_is_back() {
    let back = |tale: Tale| {
        let tale = tale.connects(A).connects(B).subscribes(B, "a/+", Q2);
        let tale = tale.publishes(A, 1, "a/b", Q2).sees(B, 1, Q2, |_| {});
        let tale = tale.answers(B, AckKind::PubRec, 1).saw(B, ack(AckKind::PubRel, 1));
        let tale = tale.loses_connection(B).knocks(B, |connect| connect.clean_start = false);
        tale.let_in(B, true)
    };
    let released = |tale: Tale| tale.saw(B, ack(AckKind::PubRel, 1));
    let asks = |tale: Tale| tale.waits(60_000).subscribes(B, "else/where", Q1);
    planted("C13 release-held-back", |tale| asks(back(tale)));
    fine(|tale| asks(released(back(tale))));
    // Who comes back once more speaks of what the broker may have forgotten.
    let again = |tale: Tale| {
        let tale = released(back(tale)).answers(B, AckKind::PubRec, 1).loses_connection(B);
        tale.knocks(B, |connect| connect.clean_start = false).let_in(B, true)
    };
    fine(|tale| asks(again(tale)));
    // What is asked at once may be answered before.
    fine(|tale| back(tale).subscribes(B, "else/where", Q1));
}

/// What may be seen again when its client is back, whatever was forbidden meanwhile.
#[test]
fn what_may_be_seen_is_sent_again() {
    let sent = |tale: Tale, policies: &[usize]| {
        let tale = tale.exactly().given(|it| {
            let forbids = rule(false, Wish::Receive, "", "a/#");
            it.broker.policies = vec![vec![allow_all()], vec![forbids, allow_all()]];
        });
        let tale = tale.connects(A).connects(B).subscribes(B, "a/+", Q1);
        let tale = tale.publishes(A, 1, "a/b", Q1).sees(B, 1, Q1, |_| {});
        let tale = policies.iter().fold(tale, |tale, policy| reloads(tale, *policy));
        tale.calms_down(&[A, B]).ends()
    };
    planted_with_arrivals("C13 never-sent-again", |tale| sent(tale, &[1, 0]));
    fine(|tale| sent(tale, &[1]));
}
