//! Proof of `session_present.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use std::sync::Arc;

use super::tale::{A, B, Q1, Tale};
use super::{fine, planted, planted_with_arrivals};
use crate::access::Opinion;
use crate::history::{Asked, ClosedBy, Granted, Saw, What};

fn published(tale: Tale) -> Tale {
    tale.connects(A).connects(B).subscribes(B, "a/+", Q1).publishes(A, 1, "a/b", Q1)
}

fn knocks_again(tale: Tale) -> Tale {
    tale.knocks(B, |connect| connect.clean_start = false)
}

#[test]
fn connack_comes_first_and_once() {
    let back = |tale| knocks_again(published(tale).loses_connection(B));
    fine(|tale| back(tale).let_in(B, true).gets(B, 1, Q1));
    planted("I7 packet-before-connack", |tale| back(tale).sees(B, 1, Q1, |_| {}).let_in(B, true));
    planted("I7 second-connack", |tale| tale.connects(A).let_in(A, false));
    let full = |tale: Tale| {
        tale.given(|scenario| scenario.broker.connections = Some(1)).connects(A).knocks(B, |_| {})
    };
    fine(|tale| full(tale).refused(B, 0x97));
    planted("I7 packet-after-refusal", |tale| full(tale).refused(B, 0x97).sees(B, 1, Q1, |_| {}));
    planted("I7 refused-with-session", |tale| {
        let granted = Box::new(Granted::default());
        full(tale).saw(B, Saw::ConnAck { reason: 0x97, session_present: true, granted })
    });
}

#[test]
fn nobody_is_let_in_with_anything_but_a_connect() {
    let greets = |tale: Tale| tale.opens(A).asks(A, Asked::garbage(None));
    fine(|tale| greets(tale).closed(A, ClosedBy::Broker));
    planted("I7 let-in-without-connect", |tale| {
        greets(tale).let_in(A, false).closed(A, ClosedBy::Network)
    });
}

#[test]
fn nothing_comes_after_disconnect() {
    let stopped = |tale| {
        let tale = published(tale).happens(None, What::BrokerStopped);
        tale.saw(B, Saw::Disconnect { reason: 0x8B })
    };
    fine(stopped);
    planted("I7 packet-after-disconnect", |tale| stopped(tale).sees(B, 1, Q1, |_| {}));
}

#[test]
fn session_present_tells_the_truth() {
    let back = |tale: Tale| knocks_again(tale.connects(B).loses_connection(B));
    fine(|tale| back(tale).let_in(B, true));
    planted("C7 session-lost", |tale| back(tale).let_in(B, false));
    fine(|tale| knocks_again(tale).let_in(B, false));
    planted("C7 session-invented", |tale| knocks_again(tale).let_in(B, true));
    planted("C7 session-present-on-clean-start", |tale| tale.knocks(B, |_| {}).let_in(B, true));
}

#[test]
fn a_proven_users_session_is_nobody_elses() {
    let left = |tale: Tale| {
        let tale = tale.given(|scenario| {
            scenario.broker.opinions = vec![Opinion {
                user: Arc::from("owner"),
                after_ms: Some(3),
                is_proven: true,
                ..Opinion::default()
            }];
            scenario.clients[B].user = Some(Arc::from("owner"));
            scenario.clients[A].client_id = scenario.clients[B].client_id.clone();
        });
        tale.connects(B).loses_connection(B)
    };
    let comes = |tale: Tale, clean_start| {
        tale.knocks(A, |connect| connect.clean_start = clean_start).let_in(A, !clean_start)
    };
    for clean_start in [false, true] {
        planted("C7 let-in-to-a-strangers-session", |tale| comes(left(tale), clean_start));
    }
    fine(|tale| knocks_again(left(tale)).let_in(B, true));
    fine(|tale| {
        let nobody_judged = |tale: Tale| tale.given(|s| s.broker.opinions.clear());
        comes(nobody_judged(left(tale)), false)
    });
}

#[test]
fn session_present_may_say_either_after_a_connect_without_answer() {
    for session_present in [false, true] {
        fine(|tale| {
            let tale = tale.connects(B).loses_connection(B).knocks(B, |_| {}).loses_connection(B);
            knocks_again(tale).let_in(B, session_present)
        });
    }
}

#[test]
fn a_session_lasts_as_long_as_it_was_asked_to() {
    let back = |tale: Tale, after_ms| {
        let tale = tale.connects_with(B, |connect| connect.expiry_s = Some(2));
        knocks_again(tale.loses_connection(B).waits(after_ms))
    };
    fine(|tale| back(tale, 1_000).let_in(B, true));
    planted("C7 session-lost", |tale| back(tale, 1_000).let_in(B, false));
    fine(|tale| back(tale, 5_000).let_in(B, false));
    planted_with_arrivals("C7 session-invented", |tale| back(tale, 5_000).let_in(B, true));
}

#[test]
fn a_crash_ends_every_session() {
    let crashed = |tale: Tale| {
        let tale = tale.connects(B).loses_connection(B).happens(None, What::BrokerCrashed);
        knocks_again(tale.happens(None, What::BrokerStarted))
    };
    fine(|tale| crashed(tale).let_in(B, false));
    planted("C7 session-invented", |tale| crashed(tale).let_in(B, true));
}
