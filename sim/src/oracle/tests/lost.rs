//! Proof of `lost.rs`: what should have come and did not.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.

use super::tale::{A, B, Q0, Q1, Q2, Tale};
use super::{fine, planted, planted_with_arrivals};
use crate::scenario::Qos;

fn subscribed(tale: Tale) -> Tale {
    tale.connects(A).connects(B).subscribes(B, "a/+", Q2)
}

fn overtaken(tale: Tale, qos: Qos) -> Tale {
    subscribed(tale).publishes(A, 1, "a/b", qos).publishes(A, 2, "a/b", qos)
}

#[test]
fn what_a_later_message_overtook_is_lost() {
    for (qos, rule) in [(Q1, "C1 qos1-lost"), (Q2, "C2 qos2-lost")] {
        fine(|tale| overtaken(tale, qos).gets(B, 1, qos).gets(B, 2, qos));
        fine(|tale| overtaken(tale, qos).gets(B, 1, qos));
        planted(rule, |tale| overtaken(tale, qos).gets(B, 2, qos));
    }
}

#[test]
fn what_never_came_though_all_was_quiet_is_lost() {
    for (qos, rule) in [(Q1, "C1 qos1-lost"), (Q2, "C2 qos2-lost")] {
        let away = |tale: Tale| subscribed(tale).loses_connection(B).publishes(A, 1, "a/b", qos);
        fine(|tale| away(tale).calms_down(&[A, B]).gets(B, 1, qos).ends());
        planted(rule, |tale| away(tale).calms_down(&[A, B]).ends());
        // It may still come: not drained.
        fine(|tale| away(tale).resumes(B));
        // It was never told that the broker took it, and may have been lost on its way.
        fine(|tale| {
            let tale = subscribed(tale).sends(A, 1, "a/b", qos, |_| {});
            tale.calms_down(&[A, B]).ends()
        });
    }
}

#[test]
fn at_qos0_only_arrivals_tell_what_was_lost() {
    // A publisher's PINGRESP says that all before it arrived.
    let heard = |tale: Tale| {
        overtaken(tale, Q0).asks(A, crate::history::Asked::Ping).saw(A, crate::history::Saw::Pong)
    };
    fine(|tale| heard(tale).gets(B, 1, Q0).gets(B, 2, Q0));
    planted_with_arrivals("C4 qos0-lost", |tale| heard(tale).gets(B, 2, Q0));
    // While it was away, QoS 0 need not wait for it.
    fine(|tale| {
        let tale = subscribed(tale).loses_connection(B).publishes(A, 1, "a/b", Q0);
        tale.resumes(B).publishes(A, 2, "a/b", Q0).gets(B, 2, Q0)
    });
}

#[test]
fn nothing_is_owed_where_it_may_be_dropped_or_is_not_wanted() {
    fine(|tale| {
        let tale = tale.given(|scenario| scenario.broker.queue_messages = Some(1));
        overtaken(tale, Q1).gets(B, 2, Q1)
    });
    // It takes 1,013 bytes at most, whatever the broker notes with it.
    let with_bytes = |tale: Tale, max| {
        let tale = tale.exactly().given(|scenario| scenario.broker.queue_bytes = Some(max));
        overtaken(tale, Q1).gets(B, 2, Q1)
    };
    fine(|tale| with_bytes(tale, 1_012));
    planted_with_arrivals("C1 qos1-lost", |tale| with_bytes(tale, 1_013));
    let small = |tale: Tale, max| {
        tale.connects(A)
            .connects_with(B, move |connect| connect.packet_bytes_max = max)
            .subscribes(B, "a/+", Q1)
            .publishes_with(A, 1, "a/b", Q1, |it| it.bytes = 90)
            .publishes(A, 2, "a/b", Q1)
            .gets(B, 2, Q1)
    };
    // Its packet has 100 bytes.
    fine(|tale| small(tale, Some(99)));
    planted("C1 qos1-lost", |tale| small(tale, Some(100)));
    planted("C1 qos1-lost", |tale| small(tale, None));
    let own = |tale: Tale, no_local| {
        tale.connects(A)
            .subscribes_with(A, "a/+", Q1, None, move |it| it.no_local = no_local)
            .publishes(A, 1, "a/b", Q1)
            .calms_down(&[A])
            .ends()
    };
    fine(|tale| own(tale, true));
    planted("C1 qos1-lost", |tale| own(tale, false));
    // A CONNECT that was never answered may have ended the session.
    fine(|tale| {
        let tale = subscribed(tale).publishes(A, 1, "a/b", Q1).loses_connection(B);
        let tale = tale.knocks(B, |_| {}).loses_connection(B);
        tale.calms_down(&[A, B]).ends()
    });
    // Whether it was still subscribed is not known.
    fine(|tale| {
        let filters = std::sync::Arc::from([std::sync::Arc::from("a/+")]);
        let unsubscribe = crate::history::Asked::Unsubscribe { id: 9, filters };
        let tale = subscribed(tale).asks(B, unsubscribe).publishes(A, 1, "a/b", Q1);
        tale.calms_down(&[A, B]).ends()
    });
    // A crash ends what is only in memory.
    fine(|tale| {
        use crate::history::What::{BrokerCrashed, BrokerStarted};
        let tale =
            subscribed(tale).publishes(A, 1, "a/b", Q1).loses_connection(A).loses_connection(B);
        let tale = tale.happens(None, BrokerCrashed).happens(None, BrokerStarted);
        tale.connects(B).ends()
    });
}

/// It has no number: one must have come after it.
#[test]
fn an_empty_message_comes_to_who_stays() {
    let published = |tale: Tale| {
        let tale = tale.exactly().connects(A).connects(B).subscribes(B, "a", Q1);
        tale.publishes_with(A, 0, "a", Q1, |publish| publish.retain = true)
    };
    fine(|tale| published(tale).gets(B, 0, Q1).waits(9_000).publishes(A, 1, "b", Q0));
    planted_with_arrivals("C4 empty-lost", |tale| {
        published(tale).waits(9_000).publishes(A, 1, "b", Q0)
    });
}

#[test]
fn what_has_expired_keeps_no_room() {
    let full = |tale: Tale, expiry_s| {
        let tale = tale.exactly().given(|scenario| scenario.broker.queue_messages = Some(1));
        let tale = subscribed(tale).loses_connection(B);
        let tale = tale.publishes_with(A, 1, "a/b", Q1, |it| it.expiry_s = Some(expiry_s));
        tale.waits(2_000).publishes(A, 2, "a/b", Q1).calms_down(&[A, B])
    };
    fine(|tale| full(tale, 60).gets_with(B, 1, Q1, |it| it.expiry_s = Some(58)).ends());
    fine(|tale| full(tale, 1).gets(B, 2, Q1).ends());
    planted_with_arrivals("C1 qos1-lost", |tale| full(tale, 1).ends());
}
