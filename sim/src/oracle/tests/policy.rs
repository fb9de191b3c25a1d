//! Proof of `policy.rs`, and of what `answers.rs` says of rights.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.

use super::answers::denied;
use super::tale::{A, B, C, Q0, Q1, Tale};
use super::{fine, planted};
use crate::access::{Grant, Opinion, Rule, Wish};
use crate::history::{AckKind, Saw, What};
use crate::scenario::FaultKind;
use std::sync::Arc;

pub(super) fn rule(is_allowed: bool, wish: Wish, user: &str, filter: &str) -> Rule {
    let list = |text: &str| match text {
        "" => Vec::new(),
        text => vec![Arc::from(text)],
    };
    let (users, filters) = (list(user), list(filter));
    Rule { is_allowed, wishes: vec![wish], users, filters, ..Rule::default() }
}

pub(super) fn allow_all() -> Rule {
    Rule { wishes: Wish::ALL.to_vec(), ..rule(true, Wish::Publish, "", "") }
}

/// A broker with this rule before one that allows everything; without it, once it reloads.
fn given(tale: Tale, rule: Rule) -> Tale {
    tale.given(|it| {
        it.clients[0].user = Some(Arc::from("u"));
        it.broker.policies = vec![vec![rule, allow_all()], vec![allow_all()]];
    })
}

pub(super) fn reloads(tale: Tale, policy: usize) -> Tale {
    tale.happens(None, What::Fault { kind: FaultKind::Reload { policy } })
}

fn subscribed(tale: Tale, granted: u8) -> Tale {
    let tale = tale.connects(A).wants(A, "a/+", Q1, None, |_| {});
    tale.saw(A, Saw::SubAck { id: 1, reasons: vec![granted] })
}

#[test]
fn a_token_grants_what_it_lists_and_nothing_else() {
    let tell = |tale: Tale, token: Option<&[&str]>, reason| {
        let grant = |filter: &&str| Grant { wish: Wish::Subscribe, filter: Arc::from(*filter) };
        let other = Grant { wish: Wish::Receive, filter: Arc::from("#") };
        let grants = token.map(|filters| filters.iter().map(grant).chain([other]).collect());
        let tale = tale.given(|it| {
            let user: Arc<str> = Arc::from("u");
            it.clients[0].user = Some(Arc::clone(&user));
            it.broker.held_to_tokens = vec![Wish::Subscribe];
            it.broker.opinions = vec![Opinion {
                user,
                after_ms: Some(0),
                is_proven: true,
                grants,
                ..Opinion::default()
            }];
        });
        subscribed(tale, reason)
    };
    for token in [None, Some(&[][..]), Some(&["a/b", "+"]), Some(&["b/#"])] {
        planted("C10 forbidden-filter-granted", |tale| tell(tale, token, 1));
        fine(|tale| tell(tale, token, 0x87));
    }
    for token in [Some(&["b", "a/+"][..]), Some(&["#"])] {
        planted("C11 wrong-grant", |tale| tell(tale, token, 0x87));
        fine(|tale| tell(tale, token, 1));
    }
}

#[test]
fn a_filter_is_granted_to_whom_it_may_be() {
    let denies = |user, filter| rule(false, Wish::Subscribe, user, filter);
    for (user, filter) in [("u", "a/+"), ("", "a/b"), ("", "#"), ("", "+/#"), ("", "a/%u")] {
        let tell = |tale, reason| subscribed(given(tale, denies(user, filter)), reason);
        planted("C10 forbidden-filter-granted", |tale| tell(tale, 1));
        planted("C11 wrong-grant", |tale| tell(tale, 0x80));
        fine(|tale| tell(tale, 0x87));
    }
    for (user, filter) in [("v", "a/+"), ("", "a"), ("", "b/+"), ("", "$a/#")] {
        let tell = |tale, reason| subscribed(given(tale, denies(user, filter)), reason);
        planted("C11 wrong-grant", |tale| tell(tale, 0x87));
        fine(|tale| tell(tale, 1));
    }
    // Either is right while rules change.
    for reason in [1, 0x87] {
        fine(|tale| {
            let tale = given(tale, denies("", "")).connects(A);
            let tale = reloads(tale.wants(A, "a/+", Q1, None, |_| {}), 1);
            let is_known = tale.words().contains("Arrived") && reason == 1;
            let reason = if is_known { 0x87 } else { reason };
            tale.saw(A, Saw::SubAck { id: 1, reasons: vec![reason] })
        });
    }
}

#[test]
fn a_rule_that_names_a_client_id_means_no_other_client() {
    let tell = |tale: Tale, client: usize, reason: u8| {
        let tale = given(tale, rule(false, Wish::Subscribe, "", "a/+")).given(|it| {
            let id = Arc::clone(&it.clients[client].client_id);
            it.broker.policies[0][0].client_ids = vec![id];
        });
        subscribed(tale, reason)
    };
    planted("C10 forbidden-filter-granted", |tale| tell(tale, A, 1));
    fine(|tale| tell(tale, A, 0x87));
    planted("C11 wrong-grant", |tale| tell(tale, B, 0x87));
    fine(|tale| tell(tale, B, 1));
}

#[test]
fn a_message_is_taken_from_whom_it_may_be() {
    let publish = |tale, user, filter, reason| {
        let tale = given(tale, rule(false, Wish::Publish, user, filter)).connects(A);
        let tale = tale.sends(A, 1, "a/b", Q1, |_| {});
        tale.saw(A, denied(AckKind::PubAck, 1, reason))
    };
    planted("C10 forbidden-publish-granted", |tale| publish(tale, "u", "a/#", 0));
    fine(|tale| publish(tale, "u", "a/#", 0x87));
    planted("C10 refused-for-no-reason", |tale| publish(tale, "v", "a/#", 0x87));
    planted("C10 refused-for-no-reason", |tale| publish(tale, "u", "a", 0x87));
    fine(|tale| publish(tale, "v", "a/#", 0));
}

#[test]
fn what_may_not_be_published_goes_to_nobody() {
    let tell = |tale, filter| {
        let tale = given(tale, rule(false, Wish::Publish, "u", filter)).connects(A).connects(B);
        tale.subscribes(B, "#", Q0).publishes(A, 1, "a", Q0).gets(B, 1, Q0)
    };
    planted("C10 forbidden-message-delivered", |tale| tell(tale, "+"));
    fine(|tale| tell(tale, "b"));
}

#[test]
fn what_may_not_be_received_does_not_come() {
    let tell = |tale, user, filter| {
        let tale = given(tale, rule(false, Wish::Receive, user, filter)).connects(A).connects(C);
        tale.subscribes(A, "#", Q0).publishes(C, 1, "a", Q0).gets(A, 1, Q0)
    };
    planted("C10 forbidden-topic-received", |tale| tell(tale, "u", "a"));
    fine(|tale| tell(tale, "v", "a"));
    fine(|tale| tell(tale, "u", "%u"));
}

#[test]
fn new_rules_are_for_who_is_subscribed_already() {
    let tell = |tale, waits: u64| {
        let tale = given(tale, rule(false, Wish::Subscribe, "u", "a")).connects(C);
        let tale = reloads(tale, 1).connects(A).subscribes(A, "a", Q1).waits(10);
        let tale = reloads(tale.publishes(C, 1, "a", Q1), 0).waits(waits);
        let tale = tale.publishes(C, 2, "a", Q1);
        if waits > 0 { tale.gets(A, 2, Q1) } else { tale.gets(A, 1, Q1) }
    };
    planted("C10 forbidden-subscription-served", |tale| tell(tale, 10));
    fine(|tale| tell(tale, 0)); // it may have been on its way
}

#[test]
fn names_are_never_wildcards() {
    planted("C10 forbidden-filter-granted", |tale| {
        let tale = tale.given(|it| {
            it.clients[0].user = Some(Arc::from("+"));
            let own = rule(true, Wish::Subscribe, "", "a/%u");
            it.broker.policies = vec![vec![own]];
        });
        subscribed(tale, 1)
    });
}

#[test]
fn what_one_member_of_a_group_may_not_have_goes_to_another() {
    let group = |tale: Tale, user| {
        let denies = rule(false, Wish::Receive, user, "a/b");
        let tale = given(tale, denies).connects(A).connects(B).connects(C);
        let tale = tale.subscribes(A, "$share/g/a/+", Q1).subscribes(B, "$share/g/a/+", Q1);
        tale.publishes(C, 1, "a/b", Q1).calms_down(&[A, B, C])
    };
    planted("C1 shared-lost", |tale| group(tale, "u").ends());
    fine(|tale| group(tale, "u").gets(B, 1, Q1).ends());
    fine(|tale| group(tale, "").ends());
}
