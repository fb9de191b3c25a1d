//! Proof of `disk.rs` and `facts/troubles.rs`: what a disk in trouble excuses, and what not.
use std::sync::Arc;

use super::judge;
use super::tale::{A, B, FOR_EVER, Q0, Q1, Q2, Tale};
use crate::access::Opinion;
use crate::history::{Ack, AckKind, Asked, ClosedBy, Saw, What};
use crate::scenario::{Client, FaultKind};
use crate::survival::{Durability, Health, Store, Trouble};

fn fine(tell: impl Fn(Tale) -> Tale) {
    judge(&[], &[true], |tale| tell(tale.with_store()));
}

fn planted(class: &str, tell: impl Fn(Tale) -> Tale) {
    judge(&[class], &[true], |tale| tell(tale.with_store()));
}

/// The broker knows at once.
fn full(tale: Tale, for_ms: u64) -> Tale {
    let kind = FaultKind::Disk { trouble: Trouble::Full, for_ms };
    let tale = tale.happens(None, What::Fault { kind });
    tale.happens(None, What::Health { health: Health::Full })
}

/// The broker knows that nothing can be written.
fn failing(tale: Tale) -> Tale {
    let kind = FaultKind::Disk { trouble: Trouble::Failing, for_ms: 20_000 };
    let tale = tale.happens(None, What::Fault { kind });
    tale.happens(None, What::Health { health: Health::Failing })
}

fn lasts(tale: Tale) -> Tale {
    tale.knocks(A, |connect| connect.expiry_s = Some(FOR_EVER))
}

fn refused(tale: Tale) -> Tale {
    let saw = Saw::Ack(Ack { kind: AckKind::PubAck, id: 1, reason: 0x97 });
    tale.sends(A, 1, "a", Q1, |asked| asked.retain = true).saw(A, saw)
}

#[test]
fn a_session_that_lasts_does_not_begin_on_a_full_disk() {
    fine(|tale| lasts(full(tale, 5_000)).refused(A, 0x88));
    fine(|tale| full(tale, 5_000).connects_with(A, |connect| connect.expiry_s = None));
    planted("C5 let-in-in-trouble", |tale| lasts(full(tale, 5_000)).let_in(A, false));
    planted("I9 refused-for-no-reason", |tale| {
        full(tale, 5_000).knocks(A, |connect| connect.expiry_s = None).refused(A, 0x88)
    });
    planted("I9 refused-for-no-reason", |tale| {
        lasts(full(tale, 1_000).waits(5_000)).refused(A, 0x88)
    });
}

#[test]
fn who_comes_back_to_what_is_kept_is_let_in_on_a_full_disk() {
    let back = |tale: Tale, clean_start| {
        let tale = lasts(tale.exactly()).let_in(A, false).waits(500).loses_connection(A);
        full(tale, 5_000).knocks(A, |connect| {
            connect.clean_start = clean_start;
            connect.expiry_s = Some(FOR_EVER);
        })
    };
    fine(|tale| back(tale, false).let_in(A, true));
    fine(|tale| back(tale, true).refused(A, 0x88));
    planted("C5 refused-its-own-session", |tale| back(tale, false).refused(A, 0x88));
    // Another came to it, and of this one nobody can be asked.
    let unknown = |tale: Tale| {
        let tale = tale.given(|it| {
            let user: Arc<str> = Arc::from("unknown");
            it.clients[B] = Client { user: Some(Arc::clone(&user)), ..it.clients[A].clone() };
            it.broker.opinions = vec![Opinion { user, is_unavailable: true, ..Opinion::default() }];
        });
        let tale = lasts(tale.exactly()).let_in(A, false).waits(500).loses_connection(A);
        full(tale, 5_000).knocks(B, |connect| connect.clean_start = false)
    };
    fine(|tale| unknown(tale).refused(B, 0x88));
}

#[test]
fn what_must_be_kept_is_refused_while_it_cannot_be() {
    fine(|tale| refused(full(tale.connects(A), 5_000)));
    planted("C10 refused-for-no-reason", |tale| {
        refused(full(tale.connects(A), 1_000).waits(5_000))
    });
    planted("C5 taken-in-trouble", |tale| {
        let tale = full(tale.connects(A), 5_000);
        tale.sends(A, 1, "a", Q1, |asked| asked.retain = true)
            .saw(A, Saw::Ack(Ack { kind: AckKind::PubAck, id: 1, reason: 0x10 }))
    });
    planted("C5 taken-in-trouble", |tale| {
        let tale = full(tale.connects_with(A, |connect| connect.expiry_s = Some(FOR_EVER)), 5_000);
        let tale = tale.sends(A, 1, "a", Q2, |_| {});
        tale.saw(A, Saw::Ack(Ack { kind: AckKind::PubRec, id: 1, reason: 0x10 }))
    });
}

#[test]
fn what_nobody_keeps_is_taken_all_the_same() {
    planted("C11 refused-though-nothing-to-keep", |tale| {
        let saw = Saw::Ack(Ack { kind: AckKind::PubAck, id: 1, reason: 0x97 });
        full(tale.connects(A), 5_000).sends(A, 1, "a", Q1, |_| {}).saw(A, saw)
    });
    let talk = |tale: Tale| {
        let tale = tale.connects_with(A, |connect| connect.expiry_s = None);
        let tale = tale.connects_with(B, |connect| connect.expiry_s = None);
        full(tale.subscribes(B, "a", Q0), 5_000).publishes(A, 1, "a", Q0)
    };
    let later = |tale: Tale| tale.waits(6_000).publishes(A, 2, "a", Q0).gets(B, 2, Q0);
    fine(|tale| later(talk(tale).gets(B, 1, Q0)));
    planted("C4 qos0-lost", |tale| later(talk(tale)));
}

#[test]
fn a_full_disk_keeps_nobody_waiting_where_something_was_kept_free() {
    // On a network, where it takes an unknown time to find out.
    let store = Store { durability: Durability::Sync, sync_ms_max: 40 };
    let judge = |classes: &[&str], tell: &dyn Fn(Tale) -> Tale| {
        judge(classes, &[true], |tale| tell(tale.given(|it| it.broker.store = Some(store))));
    };
    let asked = |tale: Tale, has_reserve: bool| {
        let kind = FaultKind::Disk { trouble: Trouble::Full, for_ms: 20_000 };
        let tale = tale.connects(A).waits(500).happens(None, What::Fault { kind });
        let tale = if has_reserve { tale.happens(None, What::HasReserve) } else { tale };
        tale.asks(A, Asked::Ping)
    };
    let answered = |tale: Tale, ms| tale.waits(ms).saw(A, Saw::Pong);
    judge(&[], &|tale| answered(asked(tale, true), 100));
    judge(&["C13 answered-late"], &|tale| answered(asked(tale, true), 5_000));
    judge(&[], &|tale| answered(asked(tale, false), 5_000));
    // The next one may find it used up.
    judge(&[], &|tale| {
        let tale = asked(tale, true).happens(None, What::BrokerCrashed).loses_connection(A);
        let tale = tale.happens(None, What::BrokerStarted).resumes(A).asks(A, Asked::Ping);
        answered(tale, 5_000)
    });
}

#[test]
fn what_was_not_acknowledged_while_the_disk_failed_may_be_lost() {
    let asked = |tale: Tale, for_ms| {
        let kind = FaultKind::Disk { trouble: Trouble::Failing, for_ms };
        let tale = tale.connects(A).connects(B).waits(500).happens(None, What::Fault { kind });
        let tale = tale.waits(1_500).wants(B, "a", Q1, None, |_| {}).waits(500);
        let tale = tale.happens(None, What::BrokerCrashed);
        let tale = tale.loses_connection(A).loses_connection(B);
        let tale = tale.happens(None, What::BrokerStarted).resumes(A).publishes(A, 1, "a", Q1);
        tale.calms_down(&[A, B])
    };
    fine(|tale| asked(tale, 3_000).ends());
    fine(|tale| asked(tale, 3_000).gets(B, 1, Q1).ends());
    planted("C1 qos1-lost", |tale| asked(tale, 100).ends());
}

#[test]
fn what_is_handled_in_time_survives_also_where_nobody_waits_for_the_disk() {
    let store = Store { durability: Durability::Async, sync_ms_max: 40 };
    let judge = |classes: &[&str], tell: &dyn Fn(Tale) -> Tale| {
        judge(classes, &[true], |tale| tell(tale.given(|it| it.broker.store = Some(store))));
    };
    let back = |tale: Tale| {
        let tale = tale.happens(None, What::BrokerCrashed).loses_connection(A).loses_connection(B);
        tale.happens(None, What::BrokerStarted)
    };
    let forgotten = |tale: Tale| {
        let tale = back(tale.connects(A).connects(B).subscribes(B, "a", Q1));
        tale.resumes(A).publishes(A, 1, "a", Q1).calms_down(&[A, B])
    };
    judge(&[], &|tale| forgotten(tale).gets(B, 1, Q1).ends());
    judge(&["C1 qos1-lost"], &|tale| forgotten(tale).ends());
    // Nobody knows what became of that, so short before.
    let asked = |tale: Tale| {
        let tale = tale.connects(A).connects(B).waits(500).wants(B, "a", Q1, None, |_| {});
        back(tale).resumes(A).publishes(A, 1, "a", Q1).calms_down(&[A, B])
    };
    judge(&[], &|tale| asked(tale).ends());
    judge(&[], &|tale| asked(tale).gets(B, 1, Q1).ends());
}

#[test]
fn an_end_that_a_crash_undid_was_an_end_until_then() {
    let away = |tale: Tale, for_ms| {
        let kind = FaultKind::Disk { trouble: Trouble::Failing, for_ms };
        let tale = tale.connects(A).connects(B).subscribes(B, "a", Q1).waits(500);
        let tale = tale.happens(None, What::Fault { kind });
        let goodbye = Asked::Disconnect { reason: 0, expiry_s: Some(0) };
        let tale = tale.asks(B, goodbye).closed(B, ClosedBy::Client);
        let tale = tale.publishes(A, 1, "a", Q1).waits(100);
        let tale = tale.happens(None, What::BrokerCrashed).loses_connection(A);
        tale.happens(None, What::BrokerStarted).calms_down(&[A, B]).ends()
    };
    fine(|tale| away(tale, 3_000));
}

#[test]
fn who_knows_that_nothing_can_be_kept_says_so_at_once() {
    let comes = |tale: Tale| tale.connects_with(A, |connect| connect.expiry_s = None);
    let asks = |tale: Tale| tale.sends(A, 1, "a", Q1, |asked| asked.retain = true);
    let saw = || Saw::Ack(Ack { kind: AckKind::PubAck, id: 1, reason: 0x97 });
    let ends = |tale: Tale| tale.waits(9_000).happens(Some(B), What::HalfOpened);
    fine(|tale| ends(refused(failing(comes(tale)))));
    planted("C5 unanswered-in-trouble", |tale| ends(asks(failing(comes(tale)))));
    planted("C5 unanswered-in-trouble", |tale| ends(asks(failing(comes(tale)))).saw(A, saw()));
    // What is recorded before it comes first.
    fine(|tale| ends(asks(failing(asks(comes(tale))))));
    fine(|tale| ends(asks(failing(tale.connects(A)))));
}
