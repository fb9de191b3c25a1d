//! Proof of `logins.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.

use std::sync::Arc;

use super::tale::{A, B, C, Tale};
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
        let opinion = Opinion { user, after_ms: Some(0), is_proven: true, ..Opinion::default() };
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
fn who_guesses_a_name_that_others_have_guessed_is_judged_late() {
    let limited = |tale: Tale, free: u32| {
        limited(tale, 1).given(|it| {
            it.broker.failed_logins = None;
            it.broker.failed_logins_per_user = Some(free);
        })
    };
    let late = |tale: Tale, ms: u64| {
        let tale = tale.knocks(B, |_| {}).waits(ms).refused(B, 0x86);
        tale.loses_connection(B)
    };
    const TOO_SOON: &str = "I9 judged-too-soon";
    fine(|tale| fails(limited(tale, 1)));
    planted(TOO_SOON, |tale| fails(fails(limited(tale, 1))));
    planted(TOO_SOON, |tale| late(fails(limited(tale, 1)), 900));
    fine(|tale| late(fails(limited(tale, 1)), 1_000));
    planted(TOO_SOON, |tale| late(late(fails(limited(tale, 1)), 1_000), 1_900));
    fine(|tale| fails(fails(limited(tale, 2))));
    // Its user has logged in from there.
    fine(|tale| fails(fails(limited(tale, 1).connects(A).disconnects(A))));
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
        let opinion = Opinion { user, after_ms: Some(0), is_proven: true, ..Opinion::default() };
        waits(fails(other(tale).given(|it| it.broker.opinions.push(opinion.clone()))))
    });
}

/// Two users with the right password, and one who has not; of all together few logins may fail.
fn limited_together(tale: Tale, free: u32) -> Tale {
    tale.given(|it| {
        it.broker.failed_logins_per_address = Some(free);
        for (client, user) in ["u", "v", "w"].into_iter().enumerate() {
            let user: Arc<str> = Arc::from(user);
            it.clients[client].user = Some(Arc::clone(&user));
            let opinion =
                Opinion { user, after_ms: Some(0), is_proven: true, ..Opinion::default() };
            it.broker.opinions.push(opinion);
        }
        it.clients[B].is_mistaken = true;
    })
}

#[test]
fn who_comes_from_where_others_have_failed_waits() {
    fine(|tale| waits(fails(limited_together(tale, 1))));
    planted(FOR_NO_REASON, |tale| waits(limited_together(tale, 1)));
    planted(FOR_NO_REASON, |tale| waits(fails(limited_together(tale, 2))));
    planted(FOR_NO_REASON, |tale| waits(fails(limited_together(tale, 1)).waits(1_100)));
    // What happens elsewhere is no reason.
    planted(FOR_NO_REASON, |tale| {
        waits(fails(limited_together(tale, 1).given(|it| it.clients[B].zone = 1)))
    });
    // Nor is somebody who had to wait himself: nobody has looked at his password.
    planted(FOR_NO_REASON, |tale| {
        let tale = fails(limited_together(tale, 1)).waits(500).knocks(B, |_| {}).refused(B, 0x9F);
        waits(tale.loses_connection(B).waits(600))
    });
}

#[test]
fn who_has_logged_in_from_there_does_not_wait_for_others() {
    let is_known = |tale: Tale| limited_together(tale, 1).connects(A).disconnects(A);
    planted(FOR_NO_REASON, |tale| waits(fails(is_known(tale))));
    // The success of one user does not make up for what another one does.
    fine(|tale| {
        let tale = fails(is_known(tale)).knocks(C, |_| {}).refused(C, 0x9F);
        tale.loses_connection(C)
    });
    // Who is known elsewhere is a stranger here.
    fine(|tale| {
        let tale = limited_together(tale, 1).given(|it| {
            it.clients[C].user = Some("u".into());
            it.clients[C].zone = 1;
        });
        waits(fails(tale.connects(C).disconnects(C)))
    });
}

#[test]
fn no_more_passwords_of_strangers_are_looked_at_than_may_be_wrong() {
    let both = |tale: Tale, free| {
        limited_together(tale, free).given(|it| it.clients[C].is_mistaken = true)
    };
    let other_fails = |tale: Tale| {
        let tale = tale.knocks(C, |_| {}).refused(C, 0x86);
        tale.loses_connection(C)
    };
    planted(TOO_MANY, |tale| other_fails(fails(both(tale, 1))));
    planted(TOO_MANY, |tale| other_fails(fails(both(tale, 1)).waits(900)));
    fine(|tale| other_fails(fails(both(tale, 1)).waits(1_000)));
    fine(|tale| other_fails(fails(both(tale, 2))));
    planted(TOO_MANY, |tale| other_fails(other_fails(fails(both(tale, 2)))));
    fine(|tale| other_fails(fails(both(tale, 1).given(|it| it.clients[C].zone = 1))));
    // Whoever logs in makes up for no failure of others, known or not.
    planted(TOO_MANY, |tale| other_fails(fails(both(tale, 1)).connects(A).disconnects(A)));
    fine(|tale| other_fails(fails(both(tale, 1)).waits(1_000).connects(A).disconnects(A)));
    planted(TOO_MANY, |tale| {
        let tale = both(tale, 1).connects(A).disconnects(A);
        other_fails(fails(tale).connects(A).disconnects(A))
    });
    // Whose user has logged in from there may be wrong as often as he likes.
    fine(|tale| {
        let tale = limited_together(tale, 1).given(|it| it.clients[B].user = Some("u".into()));
        fails(fails(tale.connects(A).disconnects(A)))
    });
}
