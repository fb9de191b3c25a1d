//! Proof of `group_losses.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.

use super::tale::{A, B, C, Q0, Q1, Tale};
use super::{fine, planted, planted_with_arrivals};

#[test]
fn some_member_of_a_group_gets_a_message() {
    let group = |tale: Tale| tale.with_group().publishes(A, 1, "a/b", Q1);
    fine(|tale| group(tale).calms_down(&[A, B, C]).gets(C, 1, Q1).ends());
    planted("C1 shared-lost", |tale| group(tale).calms_down(&[A, B, C]).ends());
    fine(|tale| group(tale).calms_down(&[A, B]).ends());
}

#[test]
fn a_group_gives_a_message_to_a_member_that_has_room() {
    let group = |tale: Tale, max| {
        let tale = tale.given(|scenario| scenario.broker.queue_messages = Some(max));
        let tale = tale.exactly().connects(A).connects(B).connects(C);
        tale.subscribes(B, "$share/g/a/+", Q1).publishes(A, 1, "a/b", Q1)
    };
    let twice = |tale: Tale, max| group(tale, max).publishes(A, 2, "a/b", Q1);
    let ends = |tale: Tale| tale.calms_down(&[A, B, C]).ends();
    planted_with_arrivals("C1 shared-lost", |tale| ends(group(tale, 1)));
    planted_with_arrivals("C1 shared-lost", |tale| ends(twice(tale, 2).gets(B, 1, Q1)));
    fine(|tale| ends(twice(tale, 1).gets(B, 1, Q1)));
}

#[test]
fn a_group_does_not_give_a_message_to_who_is_away_and_keeps_nothing() {
    let group = |tale: Tale, qos| {
        let tale = tale.exactly().with_group().subscribes(C, "$share/g/a/+", qos);
        tale.loses_connection(B).loses_connection(C).waits(2_000).publishes(A, 1, "a/b", Q1)
    };
    let back = |tale: Tale| tale.calms_down(&[A, B, C]);
    fine(|tale| back(group(tale, Q0)).gets(B, 1, Q1).ends());
    planted_with_arrivals("C1 shared-lost", |tale| back(group(tale, Q0)).ends());
    planted("C1 shared-lost", |tale| back(group(tale, Q1)).ends());
}

#[test]
fn what_came_to_others_came_to_no_member() {
    let group = |tale: Tale, filter| {
        let tale = tale.connects(A).connects(B).connects(C);
        let tale = tale.subscribes(B, "$share/g/a/+", Q1).subscribes(C, filter, Q1);
        tale.publishes(A, 1, "a/b", Q1).calms_down(&[A, B, C]).gets(C, 1, Q1)
    };
    for filter in ["a/+", "$share/h/a/+", "$share/g/a/b"] {
        fine(|tale| group(tale, filter).gets(B, 1, Q1).ends());
        planted("C1 shared-lost", |tale| group(tale, filter).ends());
    }
}
