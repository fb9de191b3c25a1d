//! Proof of `retained.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use super::tale::{A, B, Q0, Q1, Tale};
use super::{fine, planted};
use crate::history::PublishSaw;

fn retains(tale: Tale, message: u64, expiry_s: Option<u32>) -> Tale {
    tale.publishes_with(A, message, "a/b", Q1, |it| {
        (it.retain, it.expiry_s) = (true, expiry_s);
    })
}

fn retained(saw: &mut PublishSaw) {
    saw.retain = true;
}

#[test]
fn the_last_retained_message_comes() {
    let two = |tale: Tale| {
        let tale = retains(retains(tale.connects(A), 1, None), 2, None);
        tale.connects(B).subscribes(B, "a/+", Q1)
    };
    fine(|tale| two(tale).gets_with(B, 2, Q1, retained));
    planted("C6 stale-retained", |tale| two(tale).gets_with(B, 1, Q1, retained));
    // The second was never answered: perhaps it was never retained.
    fine(|tale| {
        let tale = retains(tale.connects(A), 1, None);
        let tale = tale.sends(A, 2, "a/b", Q1, |it| it.retain = true).connects(B);
        tale.subscribes(B, "a/+", Q1).gets_with(B, 1, Q1, retained)
    });
    // Both at once: either may be the last when it subscribes.
    fine(|tale| {
        let tale = retains(tale.connects(A).connects(B), 1, None);
        let tale = tale.wants(B, "a/+", Q1, None, |_| {}).sees(B, 1, Q1, retained);
        retains(tale, 2, None)
    });
}

#[test]
fn an_empty_message_clears() {
    let cleared = |tale: Tale| {
        let tale = retains(tale.connects(A), 1, None);
        let tale = tale.publishes_with(A, 0, "a/b", Q1, |it| (it.retain, it.bytes) = (true, 0));
        tale.connects(B).subscribes(B, "a/+", Q1)
    };
    fine(cleared);
    planted("C6 stale-retained", |tale| cleared(tale).gets_with(B, 1, Q1, retained));
}

#[test]
fn what_had_expired_does_not_come() {
    // A client that answers late may be sent it late: only the subscription tells.
    let expired = |tale: Tale, after_ms| {
        let tale = tale.given(|scenario| scenario.clients[B].manners.ack_delay_ms = 10);
        let tale = retains(tale.connects(A), 1, Some(2)).waits(after_ms).connects(B);
        tale.subscribes(B, "a/+", Q1).gets_with(B, 1, Q1, |saw| {
            (saw.retain, saw.expiry_s) = (true, Some(1));
        })
    };
    fine(|tale| expired(tale, 500));
    planted("C6 expired-retained", |tale| expired(tale, 5_000));
}

#[test]
fn a_retained_message_is_owed_to_a_new_subscription() {
    let asked = |tale: Tale, handling| {
        let tale = retains(tale.connects(A).connects(B), 1, None).calms_down(&[A, B]);
        tale.subscribes_with(B, "a/+", Q1, None, move |it| it.retain_handling = handling)
    };
    for handling in [0, 1] {
        fine(|tale| asked(tale, handling).gets_with(B, 1, Q1, retained).ends());
        planted("C6 retained-lost", |tale| asked(tale, handling).ends());
    }
    fine(|tale| asked(tale, 2).ends());
}

#[test]
fn a_retained_message_is_owed_to_the_session_in_the_end() {
    let left = |tale: Tale, qos| {
        let tale = tale.connects(A).connects(B).subscribes(A, "a/b", Q0);
        let tale = retains(tale, 1, None).gets(A, 1, Q0);
        let tale = tale.subscribes(B, "a/+", qos).loses_connection(B);
        tale.resumes(B).subscribes_with(B, "a/+", qos, None, |it| it.retain_handling = 2)
    };
    fine(|tale| left(tale, Q1).calms_down(&[A, B]).gets_with(B, 1, Q1, retained).ends());
    planted("C6 retained-lost", |tale| left(tale, Q1).calms_down(&[A, B]).ends());
    // At QoS 0 it may have been lost with the connection.
    fine(|tale| left(tale, Q0).calms_down(&[A, B]).ends());
    fine(|tale| left(tale, Q1).subscribes(B, "a/+", Q0).calms_down(&[A, B]).ends());
    fine(|tale| left(tale, Q1).unsubscribes(B, "a/+").calms_down(&[A, B]).ends());
}

#[test]
fn a_retained_message_comes_as_the_last_subscription_says() {
    let asked = |tale: Tale| {
        let tale = retains(tale.connects(A).connects(B), 1, None).calms_down(&[A, B]);
        let tale = tale.subscribes_with(B, "a/+", Q1, Some(1), |_| {});
        tale.subscribes_with(B, "a/+", Q1, Some(2), |_| {})
    };
    let with =
        |id| move |saw: &mut PublishSaw| (saw.retain, saw.subscription_ids) = (true, vec![id]);
    fine(|tale| asked(tale).gets_with(B, 1, Q1, with(1)).gets_with(B, 1, Q1, with(2)).ends());
    fine(|tale| asked(tale).gets_with(B, 1, Q1, with(2)).ends());
    planted("C6 retained-lost", |tale| asked(tale).gets_with(B, 1, Q1, with(1)).ends());
}
