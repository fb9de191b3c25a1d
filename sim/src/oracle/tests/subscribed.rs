//! Proof of `subscribed.rs`: what came without a subscription, or not as that says.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.

use super::tale::{A, B, C, Q0, Q1, Q2, Tale};
use super::{fine, planted};
use crate::history::AckKind;
use crate::survival::{Durability, Store};

fn published(tale: Tale) -> Tale {
    tale.connects(A).connects(B).subscribes(B, "a/+", Q1).publishes(A, 1, "a/b", Q1)
}

#[test]
fn what_was_subscribed_to_may_come() {
    fine(|tale| published(tale).gets(B, 1, Q1));
    fine(|tale| {
        tale.connects(A)
            .connects(B)
            .subscribes_with(B, "a/+", Q2, Some(7), |it| it.retain_as_published = true)
            .publishes_with(A, 1, "a/b", Q1, |it| it.retain = true)
            .gets_with(B, 1, Q1, |saw| (saw.subscription_ids, saw.retain) = (vec![7], true))
    });
}

#[test]
fn a_message_comes_as_its_subscription_says() {
    planted("I3 wrong-qos", |tale| published(tale).gets(B, 1, Q2));
    planted("I3 wrong-qos", |tale| published(tale).gets(B, 1, Q0));
    planted("I3 wrong-retain", |tale| published(tale).gets_with(B, 1, Q1, |saw| saw.retain = true));
    planted("I3 wrong-subscription-ids", |tale| {
        published(tale).gets_with(B, 1, Q1, |saw| saw.subscription_ids = vec![1])
    });
}

#[test]
fn what_nobody_subscribed_to_does_not_come() {
    planted("I2 not-subscribed", |tale| published(tale).connects(C).gets(C, 1, Q1));
    planted("I2 not-subscribed", |tale| {
        tale.connects(A)
            .connects(B)
            .publishes(A, 1, "a/b", Q1)
            .subscribes(B, "#", Q1)
            .gets(B, 1, Q1)
    });
    let cleared = |tale: Tale| {
        published(tale).gets(B, 1, Q1).connects(C).publishes_with(A, 0, "a/b", Q0, |p| p.bytes = 0)
    };
    fine(|tale| cleared(tale).gets(B, 0, Q0));
    planted("I2 not-subscribed", |tale| cleared(tale).gets(C, 0, Q0));
}

#[test]
fn an_end_of_a_subscription_is_effective() {
    let ended = |tale: Tale| tale.connects(A).connects(B).subscribes(B, "a/+", Q1);
    planted("C5 received-after-unsubscribing", |tale| {
        ended(tale).unsubscribes(B, "a/+").publishes(A, 1, "a/b", Q1).gets(B, 1, Q1)
    });
    // Published before that: it may have been under way.
    fine(|tale| ended(tale).publishes(A, 1, "a/b", Q1).unsubscribes(B, "a/+").gets(B, 1, Q1));
}

/// What is retained comes to those who are subscribed when it is sent: B is sent some of it, and then
/// nothing that had not its packet id before.
#[test]
fn what_is_retained_ends_with_its_subscription() {
    let kept = |tale: Tale, qos| {
        let tale = tale.connects(A).publishes_with(A, 1, "a/b", qos, |it| it.retain = true);
        tale.connects_with(B, |connect| connect.receive_maximum = Some(1))
    };
    let gets = |tale: Tale, qos| tale.gets_with(B, 1, qos, |saw| saw.retain = true);
    let ended = |tale: Tale, qos| kept(tale, qos).subscribes(B, "a/+", Q2).unsubscribes(B, "a/+");
    for qos in [Q0, Q1, Q2] {
        fine(|tale| gets(kept(tale, qos).subscribes(B, "a/+", Q2), qos).unsubscribes(B, "a/+"));
        planted("C5 retained-after-unsubscribing", |tale| gets(ended(tale, qos), qos));
        // For another subscription, or a later one.
        fine(|tale| {
            gets(
                kept(tale, qos)
                    .subscribes(B, "a/b", Q2)
                    .subscribes(B, "a/+", Q2)
                    .unsubscribes(B, "a/+"),
                qos,
            )
        });
        fine(|tale| gets(ended(tale, qos).subscribes(B, "a/+", Q2), qos));
    }
    let keeping = |tale: Tale| {
        let store = Store { durability: Durability::Sync, sync_ms_max: 40 };
        tale.given(|scenario| scenario.broker.store = Some(store))
    };
    // It may have had its packet id, and waited for the disk.
    fine(|tale| gets(ended(keeping(tale), Q1), Q1));
    planted("C5 retained-after-unsubscribing", |tale| gets(ended(keeping(tale), Q0), Q0));
    planted("C5 retained-after-unsubscribing", |tale| {
        let tale = keeping(tale).connects(C).publishes_with(C, 2, "a/c", Q1, |it| it.retain = true);
        let tale = ended(tale, Q1).subscribes(B, "a/c", Q1);
        gets(tale.gets_with(B, 2, Q1, |saw| saw.retain = true), Q1)
    });
}

#[test]
fn no_local_keeps_a_clients_own_from_it() {
    let own = |tale: Tale, no_local| {
        tale.connects(A)
            .subscribes_with(A, "a/+", Q1, None, |it| it.no_local = no_local)
            .publishes(A, 1, "a/b", Q1)
            .gets(A, 1, Q1)
    };
    planted("I3 no-local", |tale| own(tale, true));
    fine(|tale| own(tale, false));
}

#[test]
fn what_the_broker_did_not_take_does_not_come() {
    let denied = |tale: Tale| {
        let tale = tale.given(|scenario| scenario.broker.topic_levels = Some(1));
        tale.connects(A)
            .connects(B)
            .subscribes(B, "#", Q1)
            .sends(A, 1, "a/b", Q1, |_| {})
            .saw(A, super::answers::denied(AckKind::PubAck, 1, 0x90))
    };
    fine(denied);
    planted("I1 delivered-though-not-taken", |tale| denied(tale).gets(B, 1, Q1));
}

#[test]
fn what_comes_again_is_the_same() {
    let resent = |tale: Tale, retain| {
        published(tale).sees(B, 1, Q1, |_| {}).loses_connection(B).resumes(B).sees(
            B,
            1,
            Q1,
            move |saw| {
                (saw.dup, saw.id, saw.retain) = (true, Some(1), retain);
            },
        )
    };
    fine(|tale| resent(tale, false));
    planted("I3 resent-differently", |tale| resent(tale, true));
}

#[test]
fn an_empty_message_comes_as_any_other() {
    let cleared = |tale: Tale, retain| {
        let tale = tale.connects(A).connects(B).subscribes(B, "a/+", Q1);
        let tale = tale.sends(A, 0, "a/b", Q1, |it| (it.retain, it.bytes) = (true, 0));
        tale.gets_with(B, 0, Q1, move |saw| saw.retain = retain)
    };
    fine(|tale| cleared(tale, false));
    planted("I3 wrong-empty-message", |tale| cleared(tale, true));
}

#[test]
fn a_refusal_has_its_reason() {
    planted("C10 refused-for-other-reason", |tale| {
        let tale = tale.given(|scenario| scenario.broker.topic_levels = Some(1));
        let tale = tale.connects(A).sends(A, 1, "a/b", Q1, |_| {});
        tale.saw(A, super::answers::denied(AckKind::PubAck, 1, 0x87))
    });
}
