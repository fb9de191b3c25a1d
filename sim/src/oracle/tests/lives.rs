//! Proof of `facts/lives.rs`: what a broker with a store still knows after its end.
//! The histories are told by `tale.rs`.
use super::judge;
use super::tale::{A, B, Q1, Q2, Tale, ack, will};
use crate::history::{AckKind, What};

fn kept(tell: impl Fn(Tale) -> Tale) {
    judge(&[], &[true], |tale| tell(tale.with_store()));
}

fn planted(class: &str, tell: impl Fn(Tale) -> Tale) {
    judge(&[class], &[true], |tale| tell(tale.with_store()));
}

/// Whoever is connected loses that, and the broker is back after a while.
fn crashes(tale: Tale, down_ms: u64) -> Tale {
    tale.happens(None, What::BrokerCrashed).waits(down_ms).happens(None, What::BrokerStarted)
}

fn knocks_again(tale: Tale) -> Tale {
    tale.knocks(B, |connect| connect.clean_start = false)
}

#[test]
fn a_session_that_was_acknowledged_outlives_the_broker() {
    let back = |tale: Tale| knocks_again(crashes(tale.connects(B).loses_connection(B), 100));
    kept(|tale| back(tale).let_in(B, true));
    planted("C7 session-lost", |tale| back(tale).let_in(B, false));
    let ends = |tale: Tale| tale.connects_with(B, |connect| connect.expiry_s = Some(0));
    let gone = |tale: Tale| knocks_again(crashes(ends(tale).loses_connection(B), 100));
    kept(|tale| gone(tale).let_in(B, false));
    planted("C7 session-invented", |tale| gone(tale).let_in(B, true));
}

#[test]
fn who_was_connected_at_the_end_is_without_connection_from_the_start_on() {
    let back = |tale: Tale, down_ms, after_ms| {
        let tale = tale.connects_with(B, |connect| connect.expiry_s = Some(3)).waits(500);
        let tale = tale.happens(None, What::BrokerCrashed).loses_connection(B).waits(down_ms);
        knocks_again(tale.happens(None, What::BrokerStarted).waits(after_ms))
    };
    kept(|tale| back(tale, 10_000, 1_000).let_in(B, true));
    kept(|tale| back(tale, 10_000, 5_000).let_in(B, false));
    planted("C7 session-invented", |tale| back(tale, 10_000, 5_000).let_in(B, true));
    planted("C7 session-lost", |tale| back(tale, 1_000, 1_000).let_in(B, false));
}

#[test]
fn who_was_away_goes_on_to_be_away_since_then() {
    let back = |tale: Tale, down_ms| {
        let tale = tale.connects_with(B, |connect| connect.expiry_s = Some(3));
        let tale = tale.loses_connection(B).waits(500);
        knocks_again(crashes(tale, down_ms).waits(200))
    };
    kept(|tale| back(tale, 1_000).let_in(B, true));
    kept(|tale| back(tale, 4_000).let_in(B, false));
    planted("C7 session-invented", |tale| back(tale, 4_000).let_in(B, true));
}

#[test]
fn a_clock_that_was_set_back_meanwhile_hides_no_more_than_the_time_since_the_last_record() {
    // B has gone for two seconds when A goes, and the broker soon after.
    let back = |tale: Tale, down_ms, after_ms| {
        let [go, later] = [B, A].map(|client| {
            move |tale: Tale| {
                tale.connects_with(client, |connect| connect.expiry_s = Some(5))
                    .loses_connection(client)
            }
        });
        let tale = later(go(tale).waits(2_000)).waits(500).happens(None, What::BrokerCrashed);
        let tale = tale.waits(down_ms).sets_clock(-60_000).waits(100);
        knocks_again(tale.happens(None, What::BrokerStarted).waits(after_ms))
    };
    kept(|tale| back(tale, 10_000, 1_000).let_in(B, true));
    kept(|tale| back(tale, 10_000, 1_000).let_in(B, false));
    planted("C7 session-invented", |tale| back(tale, 10_000, 4_000).let_in(B, true));
    planted("C7 session-lost", |tale| back(tale, 1_000, 500).let_in(B, false));
}

#[test]
fn what_was_acknowledged_is_not_lost() {
    let published = |tale: Tale, qos| {
        let tale = tale.connects(A).connects(B).subscribes(B, "a/b", Q2).loses_connection(B);
        crashes(tale.publishes(A, 1, "a/b", qos), 100).closed(A, crate::history::ClosedBy::Network)
    };
    kept(|tale| published(tale, Q1).calms_down(&[A, B]).gets(B, 1, Q1).ends());
    planted("C1 qos1-lost", |tale| published(tale, Q1).calms_down(&[A, B]).ends());
    planted("C2 qos2-lost", |tale| published(tale, Q2).calms_down(&[A, B]).ends());
}

#[test]
fn what_was_not_acknowledged_may_have_come_or_not() {
    let sent = |tale: Tale| {
        let tale = tale.connects(A).connects(B).subscribes(B, "a/b", Q2).loses_connection(B);
        let tale = crashes(tale.sends(A, 1, "a/b", Q2, |_| {}), 100);
        tale.closed(A, crate::history::ClosedBy::Network).calms_down(&[A, B])
    };
    kept(|tale| sent(tale).ends());
    kept(|tale| sent(tale).gets(B, 1, Q2).ends());
    planted("C2 qos2-delivered-twice", |tale| sent(tale).gets(B, 1, Q2).gets(B, 1, Q2).ends());
}

#[test]
fn a_subscription_that_was_acknowledged_goes_on() {
    let subscribed = |tale: Tale| {
        let tale = tale.connects(A).connects(B).subscribes(B, "a/b", Q1).waits(500);
        let tale = tale.happens(None, What::BrokerCrashed);
        let tale = tale.loses_connection(A).loses_connection(B);
        tale.happens(None, What::BrokerStarted).resumes(A).publishes(A, 1, "a/b", Q1)
    };
    kept(|tale| subscribed(tale).calms_down(&[A, B]).gets(B, 1, Q1).ends());
    planted("C1 qos1-lost", |tale| subscribed(tale).calms_down(&[A, B]).ends());
}

#[test]
fn a_receipt_that_was_answered_is_known() {
    let received = |tale: Tale| {
        let tale = tale.connects(A).connects(B).subscribes(B, "a/b", Q2);
        let tale = tale.publishes(A, 1, "a/b", Q2).sees(B, 1, Q2, |_| {});
        tale.answers(B, AckKind::PubRec, 1)
    };
    let again = |tale: Tale| {
        let tale = crashes(tale.waits(500).closed(B, crate::history::ClosedBy::Network), 100);
        tale.resumes(B).sees(B, 1, Q2, |saw| (saw.dup, saw.id) = (true, Some(1)))
    };
    planted("I4 resent-after-acknowledgement", |tale| again(received(tale)));
    let undone = |tale: Tale| {
        let tale = crashes(tale, 100).closed(B, crate::history::ClosedBy::Network);
        tale.resumes(B).sees(B, 1, Q2, |saw| (saw.dup, saw.id) = (true, Some(1)))
    };
    kept(|tale| undone(received(tale)));
    kept(|tale| received(tale).saw(B, ack(AckKind::PubRel, 1)));
}

#[test]
fn a_will_that_was_left_comes_after_the_end_too() {
    let left = |tale: Tale| {
        let tale = tale.connects(A).subscribes(A, "will", Q1);
        let tale = tale.connects_with(B, |connect| connect.will = Some(will(1, 0))).waits(500);
        let tale = tale.happens(None, What::BrokerCrashed);
        let tale = tale.loses_connection(A).loses_connection(B);
        tale.happens(None, What::BrokerStarted).waits(1_000)
    };
    kept(|tale| left(tale).calms_down(&[A]).gets(A, 1, Q1).ends());
    planted("C1 qos1-lost", |tale| left(tale).calms_down(&[A]).ends());
    planted("I4 qos1-delivered-twice", |tale| {
        left(tale).calms_down(&[A]).gets(A, 1, Q1).gets(A, 1, Q1).ends()
    });
}
