//! Proof of `copies.rs`: what came more often than it may.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.

use super::tale::{A, B, C, Q0, Q1, Q2, Tale};
use super::{fine, planted};
use crate::history::{AckKind, PublishSaw};
use crate::scenario::Qos;

fn published(tale: Tale, qos: Qos) -> Tale {
    tale.connects(A).connects(B).subscribes(B, "a/+", Q2).publishes(A, 1, "a/b", qos)
}

fn again(saw: &mut PublishSaw) {
    (saw.dup, saw.id) = (true, Some(1));
}

#[test]
fn a_message_comes_once_to_a_session() {
    let rules = [
        (Q0, "I4 qos0-delivered-twice"),
        (Q1, "I4 qos1-delivered-twice"),
        (Q2, "C2 qos2-delivered-twice"),
    ];
    for (qos, rule) in rules {
        fine(|tale| published(tale, qos).gets(B, 1, qos));
        planted(rule, |tale| published(tale, qos).gets(B, 1, qos).gets(B, 1, qos));
        let overlapping = |tale: Tale| {
            tale.connects(A)
                .connects(B)
                .subscribes(B, "a/+", qos)
                .subscribes(B, "a/b", qos)
                .publishes(A, 1, "a/b", qos)
                .gets(B, 1, qos)
        };
        fine(overlapping);
        planted(rule, |tale| overlapping(tale).gets(B, 1, qos));
    }
}

#[test]
fn what_its_publisher_sent_twice_may_come_twice_but_at_qos2() {
    let twice = |tale: Tale, qos| {
        tale.connects(A)
            .connects(B)
            .subscribes(B, "a/+", Q2)
            .sends(A, 1, "a/b", qos, |_| {})
            .loses_connection(A)
            .resumes(A)
            .publishes_with(A, 1, "a/b", qos, |it| it.dup = true)
            .gets(B, 1, qos)
    };
    fine(|tale| twice(tale, Q1).gets(B, 1, Q1));
    fine(|tale| twice(tale, Q2));
    planted("C2 qos2-delivered-twice", |tale| twice(tale, Q2).gets(B, 1, Q2));
}

#[test]
fn dup_is_for_what_comes_again_after_a_reconnect() {
    planted("I4 dup-at-qos0", |tale| {
        let tale = published(tale, Q0).loses_connection(B).resumes(B);
        tale.sees(B, 1, Q0, |saw| saw.dup = true)
    });
    planted("I4 dup-without-reconnect", |tale| published(tale, Q1).sees(B, 1, Q1, again));
    let seen = |tale: Tale| published(tale, Q1).sees(B, 1, Q1, |_| {});
    fine(|tale| seen(tale).loses_connection(B).resumes(B).sees(B, 1, Q1, again));
}

#[test]
fn what_was_acknowledged_does_not_come_again() {
    let acked = |tale: Tale| published(tale, Q1).gets(B, 1, Q1);
    // Whether that arrived is known only if something after it was answered.
    let heard = |tale: Tale| acked(tale).subscribes(B, "x", Q0).loses_connection(B).resumes(B);
    planted("I4 resent-after-acknowledgement", |tale| heard(tale).sees(B, 1, Q1, again));
    fine(|tale| acked(tale).loses_connection(B).resumes(B).sees(B, 1, Q1, again));
    let received = |tale: Tale| {
        let tale = published(tale, Q2).sees(B, 1, Q2, |_| {}).answers(B, AckKind::PubRec, 1);
        tale.subscribes(B, "x", Q0).loses_connection(B).resumes(B)
    };
    planted("I4 resent-after-acknowledgement", |tale| received(tale).sees(B, 1, Q2, again));
}

#[test]
fn one_member_of_a_group_gets_a_message() {
    let group = |tale: Tale| tale.with_group().publishes(A, 1, "a/b", Q1);
    fine(|tale| group(tale).gets(C, 1, Q1));
    planted("I4 shared-delivered-twice", |tale| group(tale).gets(B, 1, Q1).gets(C, 1, Q1));
    // A member whose session ended may not have acknowledged it.
    fine(|tale| {
        let tale = group(tale).sees(B, 1, Q1, |_| {}).loses_connection(B);
        tale.connects(B).gets(C, 1, Q1)
    });
}
