//! Proof of `groups.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use super::tale::{A, B, C, Q1, Tale};
use super::{fine, planted_with_arrivals};

#[test]
fn a_group_does_not_wait_for_a_member_that_is_away() {
    let group = |tale: Tale| {
        let tale = tale.exactly().with_group();
        tale.loses_connection(B).publishes(A, 1, "a/b", Q1)
    };
    fine(|tale| group(tale).gets(C, 1, Q1).resumes(B));
    planted_with_arrivals("C13 shared-with-absent", |tale| group(tale).resumes(B).gets(B, 1, Q1));
}

#[test]
fn what_a_member_leaves_unsent_goes_to_one_that_is_there() {
    let leaves = |tale: Tale| {
        let tale = tale.exactly().with_group();
        tale.publishes(A, 1, "a/b", Q1).loses_connection(B).waits(2_000)
    };
    fine(|tale| leaves(tale).gets(C, 1, Q1).resumes(B));
    planted_with_arrivals("C13 shared-with-absent", |tale| leaves(tale).resumes(B).gets(B, 1, Q1));
    // It may have come to its host.
    fine(|tale| leaves(tale).resumes(B).gets_with(B, 1, Q1, |saw| saw.dup = true));
}
