//! Proof of `held.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use super::tale::{A, B, Q0, Q1, Tale, wordy};
use super::{fine, planted_with_arrivals};
use crate::scenario::Broker;

/// Two messages of a thousand bytes each are retained.
fn retaining(tale: Tale, limit: impl FnOnce(&mut Broker)) -> Tale {
    let tale = tale.exactly().given(|scenario| limit(&mut scenario.broker));
    let tale = tale.connects(A).connects(B).subscribes(B, "+", Q0);
    [(1, "a"), (2, "b")].into_iter().fold(tale, |tale, (number, topic)| {
        let tale = tale.publishes_with(A, number, topic, Q1, |it| {
            it.retain = true;
            it.properties = Some(wordy());
        });
        tale.gets(B, number, Q0)
    })
}

#[test]
fn no_more_bytes_are_retained_than_are_kept() {
    fine(|tale| retaining(tale, |broker| broker.retained_bytes = Some(2_100)));
    fine(|tale| retaining(tale, |broker| broker.total_bytes = Some(2_100)));
    planted_with_arrivals("C12 too-much-retained", |tale| {
        retaining(tale, |broker| broker.retained_bytes = Some(2_000))
    });
    planted_with_arrivals("C12 too-much-retained", |tale| {
        retaining(tale, |broker| broker.total_bytes = Some(2_000))
    });
}
