//! Proof of `queues.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use super::tale::{A, B, Q1, Tale};
use super::{fine, planted_with_arrivals};

fn waiting(tale: Tale, max: usize) -> Tale {
    let tale = tale.exactly().given(|scenario| scenario.broker.queue_messages = Some(max));
    let tale = tale.connects(A).connects(B).subscribes(B, "a/+", Q1).loses_connection(B);
    let tale = (1..=3).fold(tale, |tale, number| tale.publishes(A, number, "a/b", Q1));
    (1..=3).fold(tale.resumes(B), |tale, number| tale.gets(B, number, Q1))
}

#[test]
fn no_more_wait_than_are_kept() {
    fine(|tale| waiting(tale, 3));
    planted_with_arrivals("C11 queue-too-long", |tale| waiting(tale, 2));
}
