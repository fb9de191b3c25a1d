//! Proof of `held_back.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use super::tale::{A, B, Q1, Tale};
use super::{fine, planted_with_arrivals};

/// Two messages for one who takes one at a time; the second comes so long after that.
fn one_at_a_time(tale: Tale, ms: u64) -> Tale {
    let tale = tale.exactly().connects(A);
    let tale = tale.connects_with(B, |connect| connect.receive_maximum = Some(1));
    let tale = tale.subscribes(B, "a", Q1).publishes(A, 1, "a", Q1).publishes(A, 2, "a", Q1);
    tale.gets(B, 1, Q1).waits(ms).gets(B, 2, Q1)
}

#[test]
fn who_has_room_for_one_gets_the_next_at_once() {
    fine(|tale| one_at_a_time(tale, 100));
    planted_with_arrivals("C13 held-back", |tale| one_at_a_time(tale, 5_000));
}
