//! Proof of `liveness.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use super::tale::{A, B, Q1, Tale};
use super::{fine, planted};
use crate::history::{Asked, What};

#[test]
fn all_is_quiet_in_the_end() {
    let ended = |tale: Tale, is_quiet| tale.connects(A).happens(None, What::Ended { is_quiet });
    fine(|tale| ended(tale, true));
    planted("C13 never-quiet", |tale| ended(tale, false));
    // Who has no room for the sessions of all refuses one of them for good.
    let roomy =
        |tale: Tale, bytes| tale.given(|it| it.broker.total_bytes = Some(bytes * it.clients.len()));
    fine(|tale| ended(roomy(tale, 1_200), false));
    planted("C13 never-quiet", |tale| ended(roomy(tale, 1_400), false));
}

#[test]
fn every_request_is_answered() {
    let back = |tale: Tale| tale.connects(A).connects(B).calms_down(&[A, B]);
    fine(|tale| back(tale).publishes(A, 1, "a", Q1).ends());
    planted("C13 never-answered", |tale| back(tale).sends(A, 1, "a", Q1, |_| {}).ends());
    planted("C13 never-answered", |tale| back(tale).wants(A, "a", Q1, None, |_| {}).ends());
    planted("C13 never-answered", |tale| back(tale).asks(A, Asked::Ping).ends());
    // What went with its connection need not be.
    fine(|tale| back(tale).sends(A, 1, "a", Q1, |_| {}).loses_connection(A).ends());
}
