//! Proof of `prompt.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use super::tale::{A, B, Q0, Q1, Q2, Tale, ack};
use super::{fine, planted, planted_with_arrivals};
use crate::history::{AckKind, Asked, Saw, What};
use crate::scenario::{AckPolicy, FaultKind};
use crate::survival::Trouble;

#[test]
fn what_is_asked_is_answered_at_once() {
    let answered =
        |tale: Tale, ms| tale.connects(A).asks(A, Asked::Ping).waits(ms).saw(A, Saw::Pong);
    fine(|tale| answered(tale, 100));
    planted("C13 answered-late", |tale| answered(tale, 3_000));
    // Whoever is slow itself may have kept the network busy.
    fine(|tale| {
        let slow =
            |tale: Tale| tale.given(|scenario| scenario.clients[A].manners.acks = AckPolicy::Never);
        answered(slow(tale), 3_000)
    });
}

#[test]
fn what_is_asked_twice_is_answered_twice() {
    let receives = |tale: Tale, releases: usize| {
        let tale = tale.connects(A).connects(B).subscribes(B, "a", Q2).publishes(A, 1, "a", Q2);
        let tale = tale.sees(B, 1, Q2, |_| {});
        let tale = tale.answers(B, AckKind::PubRec, 1).answers(B, AckKind::PubRec, 1);
        (0..releases).fold(tale, |tale, _| tale.saw(B, ack(AckKind::PubRel, 1)))
    };
    let goes_on = |tale: Tale| tale.waits(3_000).happens(None, What::Healed { zone: 0 });
    fine(|tale| goes_on(receives(tale, 2)));
    planted("C13 left-unanswered", |tale| goes_on(receives(tale, 1)));
    // What was asked is lost with its connection.
    fine(|tale| goes_on(receives(tale, 1).loses_connection(B)));
}

#[test]
fn who_needs_nothing_kept_is_served_whatever_the_disk_does() {
    let stalled = |tale: Tale, expiry_s| {
        let kind = FaultKind::Disk { trouble: Trouble::Stalled, for_ms: 20_000 };
        let tale = tale.with_store().happens(None, What::Fault { kind });
        tale.connects_with(A, |connect| connect.expiry_s = expiry_s)
    };
    let answered = |tale: Tale| {
        let tale = tale.wants(A, "a", Q1, None, |_| {}).waits(15_000);
        tale.saw(A, Saw::SubAck { id: 1, reasons: vec![1] })
    };
    planted("C13 answered-late", |tale| answered(stalled(tale, None)));
    fine(|tale| answered(stalled(tale, Some(60))));
    // What comes to it may wait for others, and its answer behind that.
    fine(|tale| {
        let tale = stalled(tale, None).wants(A, "a", Q1, None, |_| {}).publishes(A, 1, "a", Q0);
        let tale = tale.waits(15_000).saw(A, Saw::SubAck { id: 1, reasons: vec![1] });
        tale.gets(A, 1, Q0)
    });
}

#[test]
fn what_is_published_is_delivered_at_once() {
    let came = |tale: Tale, ms| {
        let tale = tale.connects(A).connects(B).subscribes(B, "a", Q0);
        tale.publishes(A, 1, "a", Q0).waits(ms).gets(B, 1, Q0)
    };
    fine(|tale| came(tale, 100));
    planted_with_arrivals("C13 delivered-late", |tale| came(tale, 3_000));
    // It was not there, and not all that waited may be on its way at once.
    let back = |tale: Tale| {
        let tale = tale.connects(A).connects(B).subscribes(B, "a", Q1).loses_connection(B);
        tale.publishes(A, 1, "a", Q1).waits(3_000).resumes(B)
    };
    fine(|tale| back(tale).gets(B, 1, Q1));
}
