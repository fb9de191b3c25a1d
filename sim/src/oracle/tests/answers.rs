//! Proof of `answers.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.

use super::tale::{A, B, Q0, Q1, Tale, will};
use super::{fine, planted, planted_with_arrivals};
use crate::access::Opinion;
use crate::history::{Ack, AckKind, Asked, Saw};
use crate::scenario::{Door, ProtocolVersion, Scenario};
use std::sync::Arc;

/// An acknowledgement that refuses.
pub(super) fn denied(kind: AckKind, id: u16, reason: u8) -> Saw {
    Saw::Ack(Ack { kind, id, reason })
}

#[test]
fn a_grant_is_what_was_asked_for() {
    let answered = |tale: Tale, reasons: &[u8]| {
        let tale = tale.connects(A).wants(A, "a/+", Q1, None, |_| {});
        tale.saw(A, Saw::SubAck { id: 1, reasons: reasons.to_vec() })
    };
    fine(|tale| answered(tale, &[1]));
    for reason in [0, 2, 0x80, 0x87] {
        planted("C11 wrong-grant", |tale| answered(tale, &[reason]));
    }
    for reasons in [&[][..], &[1, 1]] {
        planted("C11 wrong-number-of-reasons", |tale| answered(tale, reasons));
    }
    fine(|tale| answered(tale.given(|it| it.broker.max_qos = Some(Q0)), &[0]));
    fine(|tale| answered(tale.given(|it| it.broker.subscriptions = Some(1)), &[0x97]));
    // A group's name may be as long as a topic.
    let shared = |tale: Tale, bytes: usize, reason: u8| {
        let tale = tale.given(|it| it.broker.topic_bytes = Some(bytes));
        let tale = tale.connects(A).wants(A, "$share/group/a", Q1, None, |_| {});
        tale.saw(A, Saw::SubAck { id: 1, reasons: vec![reason] })
    };
    fine(|tale| shared(tale, 4, 0x8F));
    planted("C11 wrong-grant", |tale| shared(tale, 4, 1));
    planted("C11 wrong-grant", |tale| shared(tale, 5, 0x8F));
}

#[test]
fn only_limits_refuse() {
    let publish = |tale: Tale| {
        tale.connects(A).sends(A, 1, "a/b", Q1, |_| {}).saw(A, denied(AckKind::PubAck, 1, 0x97))
    };
    planted("C10 refused-for-no-reason", publish);
    fine(|tale| publish(tale.given(|it| it.broker.total_bytes = Some(1))));
    let connect = |tale: Tale| tale.knocks(A, |_| {}).refused(A, 0x97);
    planted("I9 refused-for-no-reason", connect);
    fine(|tale| connect(tale.given(|it| it.broker.connections = Some(1))));
    planted("C10 forbidden-publish-taken", |tale| tale.connects(A).publishes(A, 1, "$SYS/x", Q1));
}

#[test]
fn a_connect_that_is_too_large_lets_nobody_in() {
    let connects = |tale: Tale, max| {
        let tale = tale.given(|it| {
            it.broker.packet_bytes = Some(max);
            it.clients[A].version = ProtocolVersion::V311;
        });
        tale.connects_with(A, |connect| connect.will = Some(will(1, 0)))
    };
    fine(|tale| connects(tale, 200));
    planted("C11 let-in-by-too-much", |tale| connects(tale, 30));
}

#[test]
fn connections_are_limited() {
    let ping = |tale: Tale, client| tale.asks(client, Asked::Ping).saw(client, Saw::Pong);
    let both = |tale: Tale, max| {
        let tale = tale.given(|it| it.broker.connections = Some(max)).connects(A).connects(B);
        ping(ping(tale, B), A)
    };
    planted("I9 too-many-connections", |tale| both(tale, 1));
    fine(|tale| both(tale, 2));
    // Each has a listener of its own, with as many places; or they have one together.
    fine(|tale| both(tale.with_listeners(&[B]), 1));
    planted("I9 too-many-connections", |tale| both(tale.with_listeners(&[A, B]), 1));
    fine(|tale| {
        let tale = tale.given(|it| it.broker.connections = Some(1)).connects(A);
        ping(ping(tale, A).loses_connection(A).connects(B), B)
    });
    let of_one_address = |tale: Tale, connections| {
        let door = Door { connections, rate: 100, unauthenticated: 100 };
        let tale = tale.given(|it| {
            it.broker.door = Some(door);
            it.clients.iter_mut().for_each(|client| client.zone = 1);
        });
        ping(ping(tale.connects(A).connects(B), B), A)
    };
    planted("I9 too-many-of-one-address", |tale| of_one_address(tale, 1));
    fine(|tale| of_one_address(tale, 2));
    let hidden = |it: &mut Scenario| it.broker.is_behind_proxies = true;
    fine(|tale| of_one_address(tale.given(hidden), 1));
}

#[test]
fn so_many_come_a_second() {
    let come = |tale: Tale, rate, count| {
        let door = Door { connections: 100, rate, unauthenticated: 100 };
        let tale = tale.given(|it| it.broker.door = Some(door));
        (0..count).fold(tale, |tale, _| tale.knocks(A, |_| {}).refused(A, 0x87).loses_connection(A))
    };
    let strangers = |it: &mut Scenario| {
        let opinion = |user: &str| Opinion {
            user: Arc::from(user),
            after_ms: Some(0),
            is_proven: true,
            ..Opinion::default()
        };
        it.broker.opinions = vec![opinion("u"), opinion("v")];
        it.clients[A].user = Some(Arc::from("u"));
        it.clients[B].user = Some(Arc::from("v"));
        it.clients[B].client_id = Arc::clone(&it.clients[A].client_id);
    };
    planted("I9 too-many-a-second", |tale| come(tale.given(strangers), 1, 12));
    fine(|tale| come(tale.given(strangers), 1, 11));
    fine(|tale| come(tale.given(strangers), 2, 21));
}

#[test]
fn unsuback_says_whether_there_was_a_subscription() {
    let left = |tale: Tale, reason| {
        let filters: Arc<[Arc<str>]> = Arc::from([Arc::from("a/+")]);
        let tale = tale.exactly();
        tale.asks(A, Asked::Unsubscribe { id: 9, filters })
            .saw(A, Saw::UnsubAck { id: 9, reasons: vec![reason] })
    };
    fine(|tale| left(tale.connects(A), 0x11));
    fine(|tale| left(tale.connects(A).subscribes(A, "a/+", Q1), 0));
    planted_with_arrivals("C11 wrong-unsuback", |tale| left(tale.connects(A), 0));
    planted_with_arrivals("C11 wrong-unsuback", |tale| {
        left(tale.connects(A).subscribes(A, "a/+", Q1), 0x11)
    });
}
