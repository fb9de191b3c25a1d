//! Proof of `turns.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use super::tale::{A, B, C, Q1, Tale};
use super::{fine, planted_with_arrivals};

/// So many messages of A's, of which that member gets every so many.
fn given(tale: Tale, every: u64) -> Tale {
    let tale = (1..=12).fold(tale.exactly().with_group(), |tale, message| {
        let to = if message % every == 0 { B } else { C };
        tale.publishes(A, message, "a/b", Q1).gets(to, message, Q1)
    });
    tale.waits(5_000)
}

#[test]
fn each_member_that_is_there_gets_its_turn() {
    fine(|tale| given(tale, 2));
    fine(|tale| given(tale, 6));
    planted_with_arrivals("C13 turn-never-came", |tale| given(tale, 100));
}

#[test]
fn who_has_been_away_has_no_turn_to_ask_for() {
    fine(|tale| {
        let tale = tale.exactly().with_group();
        let tale = (1..=12).fold(tale.loses_connection(B), |tale, message| {
            tale.publishes(A, message, "a/b", Q1).gets(C, message, Q1)
        });
        tale.resumes(B).waits(5_000)
    });
}
