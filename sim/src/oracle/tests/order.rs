//! Proof of `order.rs`: what came in another order than it was published or first sent.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.

use super::tale::{A, B, C, Q0, Q1, Q2, Tale};
use super::{fine, planted};
use crate::history::PublishSaw;
use crate::scenario::Qos;

fn published(tale: Tale, qos: Qos) -> Tale {
    let tale = tale.connects(A).connects(B).connects(C).subscribes(B, "#", qos);
    tale.publishes(A, 1, "a/b", qos).publishes(A, 2, "a/b", qos)
}

#[test]
fn first_deliveries_come_as_published() {
    for qos in [Q0, Q1, Q2] {
        fine(|tale| published(tale, qos).gets(B, 1, qos).gets(B, 2, qos));
        planted("C3 out-of-order", |tale| published(tale, qos).gets(B, 2, qos).gets(B, 1, qos));
    }
}

#[test]
fn other_topics_qos_and_publishers_have_an_order_of_their_own() {
    let two = |tale: Tale, second: (usize, &'static str, Qos)| {
        tale.connects(A)
            .connects(B)
            .connects(C)
            .subscribes(B, "#", Q2)
            .publishes(A, 1, "a/b", Q1)
            .publishes(second.0, 2, second.1, second.2)
            .gets(B, 2, second.2)
            .gets(B, 1, Q1)
    };
    for second in [(A, "a/c", Q1), (A, "a/b", Q2), (C, "a/b", Q1)] {
        fine(|tale| two(tale, second));
    }
    planted("C3 out-of-order", |tale| two(tale, (A, "a/b", Q1)));
}

#[test]
fn what_comes_again_comes_as_it_first_came() {
    let resent = |tale: Tale, ids: [u16; 2]| {
        let tale = published(tale, Q1).sees(B, 1, Q1, |_| {}).sees(B, 2, Q1, |_| {});
        ids.into_iter().fold(tale.loses_connection(B).resumes(B), |tale, id| {
            let again = move |saw: &mut PublishSaw| (saw.dup, saw.id) = (true, Some(id));
            tale.sees(B, u64::from(id), Q1, again)
        })
    };
    fine(|tale| resent(tale, [1, 2]));
    planted("C3 resent-out-of-order", |tale| resent(tale, [2, 1]));
}
