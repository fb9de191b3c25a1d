//! Proof of `logins.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.

use std::sync::Arc;

use super::tale::{A, B, Tale};
use super::{fine, planted};
use crate::access::Opinion;
use crate::history::What;

/// The first has the right password, the second has not, and few logins may fail.
fn limited(tale: Tale, free: u32) -> Tale {
    tale.given(|it| {
        let user: Arc<str> = Arc::from("u");
        it.broker.failed_logins = Some(free);
        it.clients[A].user = Some(Arc::clone(&user));
        it.clients[B].user = Some(Arc::clone(&user));
        it.clients[B].is_mistaken = true;
        let opinion = Opinion { user, after_ms: Some(0), is_proven: true, grants: None };
        it.broker.opinions = vec![opinion];
    })
}

fn fails(tale: Tale) -> Tale {
    let tale = tale.knocks(B, |_| {}).refused(B, 0x86);
    tale.loses_connection(B)
}

fn waits(tale: Tale) -> Tale {
    tale.knocks(A, |_| {}).refused(A, 0x9F)
}

const TOO_MANY: &str = "I9 too-many-passwords";
const FOR_NO_REASON: &str = "I9 refused-for-no-reason";

#[test]
fn who_has_not_failed_need_not_wait() {
    planted(FOR_NO_REASON, |tale| waits(limited(tale, 1)));
    fine(|tale| waits(fails(limited(tale, 1))));
    planted(FOR_NO_REASON, |tale| waits(fails(limited(tale, 2))));
    fine(|tale| waits(fails(fails(limited(tale, 2)))));
}

#[test]
fn a_success_makes_up_for_failures() {
    let succeeds = |tale: Tale| fails(limited(tale, 1)).waits(2_000).connects(A).disconnects(A);
    planted(FOR_NO_REASON, |tale| waits(succeeds(tale)));
    fine(|tale| waits(fails(succeeds(tale))));
}

#[test]
fn nobody_waits_longer_than_that_many_failures_ask_for() {
    fine(|tale| waits(fails(limited(tale, 1)).waits(900)));
    planted(FOR_NO_REASON, |tale| waits(fails(limited(tale, 1)).waits(1_100)));
    fine(|tale| waits(fails(fails(limited(tale, 1)).waits(1_000)).waits(1_900)));
}

#[test]
fn no_more_passwords_are_looked_at_than_may_be_wrong() {
    planted(TOO_MANY, |tale| fails(fails(limited(tale, 1))));
    planted(TOO_MANY, |tale| fails(fails(limited(tale, 1)).waits(900)));
    fine(|tale| fails(fails(limited(tale, 1)).waits(1_000)));
    fine(|tale| fails(fails(limited(tale, 2))));
    planted(TOO_MANY, |tale| fails(fails(fails(limited(tale, 2)))));
    planted(TOO_MANY, |tale| fails(fails(fails(limited(tale, 1)).waits(1_000)).waits(1_000)));
    fine(|tale| fails(fails(fails(limited(tale, 1)).waits(1_000)).waits(2_000)));
    // A success in between makes up for those before.
    fine(|tale| fails(fails(limited(tale, 1)).connects(A).disconnects(A)));
    fine(|tale| {
        let tale = fails(limited(tale, 1)).happens(None, What::BrokerCrashed);
        fails(tale.happens(None, What::BrokerStarted))
    });
}

#[test]
fn what_another_broker_or_user_has_seen_does_not_count() {
    planted(FOR_NO_REASON, |tale| {
        let tale = fails(limited(tale, 1)).happens(None, What::BrokerCrashed);
        waits(tale.happens(None, What::BrokerStarted))
    });
    let other = |tale: Tale| limited(tale, 1).given(|it| it.clients[B].user = Some("v".into()));
    planted(FOR_NO_REASON, |tale| {
        let user = Arc::from("v");
        let opinion = Opinion { user, after_ms: Some(0), is_proven: true, grants: None };
        waits(fails(other(tale).given(|it| it.broker.opinions.push(opinion.clone()))))
    });
}
