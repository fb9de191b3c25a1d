//! Proof of `queues.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use super::tale::{A, B, Q0, Q1, Tale, wordy};
use super::{fine, planted, planted_with_arrivals};
use crate::scenario::{Action, Broker, Op};

fn waiting(tale: Tale, limit: impl FnOnce(&mut Broker)) -> Tale {
    let tale = tale.exactly().given(|scenario| limit(&mut scenario.broker));
    let tale = tale.connects(A).connects(B).subscribes(B, "a/+", Q1).loses_connection(B);
    let tale = (1..=3)
        .fold(tale, |tale, number| tale.publishes_with(A, number, "a/b", Q1, |it| it.bytes = 97));
    (1..=3).fold(tale.resumes(B), |tale, number| tale.gets(B, number, Q1))
}

#[test]
fn no_more_wait_than_are_kept() {
    fine(|tale| waiting(tale, |broker| broker.queue_messages = Some(3)));
    planted_with_arrivals("C11 queue-too-long", |tale| {
        waiting(tale, |broker| broker.queue_messages = Some(2))
    });
}

#[test]
fn no_more_bytes_wait_than_are_kept() {
    fine(|tale| waiting(tale, |broker| broker.queue_bytes = Some(300)));
    planted_with_arrivals("C11 queue-too-long", |tale| {
        waiting(tale, |broker| broker.queue_bytes = Some(299))
    });
}

#[test]
fn whatever_a_message_says_takes_room() {
    let waits = |tale: Tale, limit: fn(&mut Broker)| {
        let tale = tale.exactly().given(|scenario| limit(&mut scenario.broker));
        let tale = tale.connects(A).connects(B).subscribes(B, "a/+", Q1).loses_connection(B);
        let tale = tale.publishes_with(A, 1, "a/b", Q1, |it| it.properties = Some(wordy()));
        tale.resumes(B).gets(B, 1, Q1)
    };
    fine(|tale| waits(tale, |broker| broker.queue_bytes = Some(1_100)));
    fine(|tale| waits(tale, |broker| broker.total_bytes = Some(1_100)));
    planted_with_arrivals("C11 queue-too-long", |tale| {
        waits(tale, |broker| broker.queue_bytes = Some(1_000))
    });
    planted_with_arrivals("C11 queue-too-long", |tale| {
        waits(tale, |broker| broker.total_bytes = Some(1_000))
    });
}

#[test]
fn no_more_wait_for_who_takes_nothing_than_are_kept_and_on_their_way() {
    let waits = |tale: Tale, count: u64| {
        let tale = tale.given(|it| {
            it.broker.queue_messages = Some(2);
            it.ops.push(Op { at_ms: 0, client: B, action: Action::Pause });
        });
        let tale = tale.connects(A).connects(B).subscribes(B, "a/+", Q0);
        let tale = (1..=count).fold(tale, |tale, number| {
            tale.publishes_with(A, number, "a/b", Q1, |it| it.bytes = 100_000)
        });
        (1..=count).fold(tale, |tale, number| tale.gets(B, number, Q0))
    };
    fine(|tale| waits(tale, 8));
    planted("C11 held-too-much", |tale| waits(tale, 9));
}
