//! Proof of `greeting.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use std::sync::Arc;

use super::tale::{A, B, C, Tale};
use super::{fine, planted, planted_with_arrivals};
use crate::access::Opinion;
use crate::history::{Asked, ClosedBy, Granted, Saw};
use crate::scenario::{Broker, Connect, ProtocolVersion, Qos};

fn greeted(
    tale: Tale,
    broker: Broker,
    connect: impl FnOnce(&mut Connect),
    granted: Granted,
) -> Tale {
    let tale = tale.given(|scenario| scenario.broker = broker).knocks(A, connect);
    tale.saw(A, Saw::ConnAck { reason: 0, session_present: false, granted: Box::new(granted) })
}

/// What is granted, and what must be said of it.
#[test]
fn connack_says_what_is_granted() {
    let broker = || Broker {
        keep_alive_max_s: Some(10),
        session_expiry_max_s: Some(60),
        inflight: Some(5),
        packet_bytes: Some(200),
        max_qos: Some(Qos::AtLeastOnce), // of subscriptions
        ..Broker::default()
    };
    let right = || Granted {
        keep_alive_s: Some(10),
        expiry_s: Some(60),
        receive_maximum: Some(5),
        packet_bytes_max: Some(200),
        ..Granted::default()
    };
    fine(|tale| greeted(tale, broker(), |_| {}, right()));
    let other = [
        ("C11 wrong-keep-alive", Granted { keep_alive_s: Some(20), ..right() }),
        ("C11 wrong-session-expiry", Granted { expiry_s: None, ..right() }),
        ("C11 wrong-receive-maximum", Granted { receive_maximum: Some(6), ..right() }),
        ("C11 wrong-maximum-packet-size", Granted { packet_bytes_max: None, ..right() }),
        ("C11 less-than-mqtt", Granted { max_qos: Some(1), ..right() }),
        ("C11 less-than-mqtt", Granted { lacks_something: true, ..right() }),
        ("C11 wrong-assigned-id", Granted { client_id: Some(Arc::from("x")), ..right() }),
    ];
    for (class, granted) in other {
        planted(class, |tale| greeted(tale, broker(), |_| {}, granted.clone()));
    }
}

#[test]
fn before_5_0_nothing_is_granted() {
    let old = |tale: Tale, granted| {
        let tale = tale.given(|scenario| scenario.clients[A].version = ProtocolVersion::V311);
        let tale = tale.knocks(A, |_| {});
        tale.saw(A, Saw::ConnAck { reason: 0, session_present: false, granted: Box::new(granted) })
    };
    fine(|tale| old(tale, Granted::default()));
    planted("C11 properties-before-5.0", |tale| {
        old(tale, Granted { receive_maximum: Some(7), ..Granted::default() })
    });
}

#[test]
fn assigned_ids_differ() {
    let nameless = |tale: Tale, ids: [&str; 2]| {
        let tale = tale.given(|scenario| {
            [A, B].iter().for_each(|&it| scenario.clients[it].client_id = Arc::from(""));
        });
        [A, B].into_iter().zip(ids).fold(tale, |tale, (client, id)| {
            let granted = Granted { client_id: Some(Arc::from(id)), ..Granted::default() };
            let granted = Box::new(granted);
            let answer = Saw::ConnAck { reason: 0, session_present: false, granted };
            tale.knocks(client, |_| {}).saw(client, answer)
        })
    };
    fine(|tale| nameless(tale, ["x", "y"]));
    planted("C8 assigned-id-twice", |tale| nameless(tale, ["x", "x"]));
}

#[test]
fn who_must_be_refused_is() {
    let old = |tale: Tale| {
        tale.given(|scenario| {
            scenario.broker.keep_alive_max_s = Some(10);
            scenario.clients[A].version = ProtocolVersion::V311;
        })
    };
    fine(|tale| old(tale).connects_with(A, |connect| connect.keep_alive_s = 10));
    planted("C11 let-in-against-the-rules", |tale| {
        old(tale).connects_with(A, |connect| connect.keep_alive_s = 11)
    });
}

#[test]
fn users_come_in_whom_the_plugin_knows() {
    let user = |tale: Tale, user: &'static str| {
        tale.given(|scenario| {
            let opinion = |user: &str, after_ms, is_proven| Opinion {
                user: Arc::from(user),
                after_ms,
                is_proven,
                ..Opinion::default()
            };
            scenario.broker.opinions = vec![
                opinion("good", Some(3), true),
                opinion("bad", Some(3), false),
                opinion("late", Some(10_000), true),
                opinion("never", None, true),
                Opinion { is_unavailable: true, ..opinion("unknown", Some(3), true) },
            ];
            scenario.clients[A].user = Some(Arc::from(user));
            scenario.clients[B].client_id = scenario.clients[A].client_id.clone();
        })
    };
    fine(|tale| user(tale, "good").connects(A));
    fine(|tale| user(tale, "bad").knocks(A, |_| {}).refused(A, 0x86));
    fine(|tale| user(tale, "unknown").knocks(A, |_| {}).refused(A, 0x88));
    for (name, reason) in [("unknown", 0x86), ("bad", 0x88)] {
        planted("I9 refused-for-no-reason", |tale| {
            user(tale, name).knocks(A, |_| {}).refused(A, reason)
        });
    }
    for name in ["bad", "late", "never", "unknown"] {
        planted("C11 let-in-against-the-rules", |tale| user(tale, name).connects(A));
    }
    planted("I9 refused-for-no-reason", |tale| {
        user(tale, "good").knocks(A, |_| {}).refused(A, 0x86)
    });
    // Whoever gives the client id of somebody that is proven may be refused, and nobody else.
    fine(|tale| user(tale, "good").knocks(B, |_| {}).refused(B, 0x87));
    planted("I9 refused-for-no-reason", |tale| {
        user(tale, "bad").knocks(B, |_| {}).refused(B, 0x87)
    });
}

#[test]
fn who_is_refused_for_room_finds_none() {
    let full = |tale: Tale, places| {
        let tale = tale.exactly().given(|scenario| scenario.broker.connections = Some(places));
        tale.connects(A).connects(B).knocks(C, |_| {}).refused(C, 0x97)
    };
    fine(|tale| full(tale, 2));
    planted_with_arrivals("I9 refused-though-room", |tale| full(tale, 3));
    // Those of another listener have no place of this one.
    fine(|tale| full(tale.with_listeners(&[A, B, C]), 2));
    fine(|tale| full(tale.with_listeners(&[A]), 1));
    planted_with_arrivals("I9 refused-though-room", |tale| full(tale.with_listeners(&[A]), 2));
    // Those who say nothing, and who were refused, have no place.
    let beside = |tale: Tale, other: fn(Tale) -> Tale| {
        let tale = tale.exactly().given(|scenario| scenario.broker.connections = Some(2));
        other(tale.connects(A)).knocks(C, |_| {}).refused(C, 0x97)
    };
    planted_with_arrivals("I9 refused-though-room", |tale| beside(tale, |tale| tale.opens(B)));
    planted_with_arrivals("I9 refused-though-room", |tale| {
        beside(tale, |tale| tale.knocks(B, |_| {}).refused(B, 0x97))
    });
    fine(|tale| beside(tale, |tale| tale.knocks(B, |_| {})));
}

#[test]
fn who_says_nothing_is_closed() {
    let silent = |tale: Tale, ms, by| tale.exactly().opens(A).waits(ms).closed(A, by).connects(B);
    fine(|tale| silent(tale, 9_000, ClosedBy::Network));
    fine(|tale| silent(tale, 20_000, ClosedBy::Unreachable));
    planted("I9 silent-connection-kept", |tale| silent(tale, 20_000, ClosedBy::Network));
    let closed = |tale: Tale, ms| tale.opens(A).waits(ms).closed(A, ClosedBy::Broker);
    fine(|tale| closed(tale, 10_000));
    planted("I9 closed-too-early", |tale| closed(tale, 5_000));
    planted("I9 closed-too-early", |tale| {
        closed(tale.given(|scenario| scenario.broker.connections = Some(1)).connects(B), 0)
    });
}

#[test]
fn who_asks_to_be_let_in_is_answered() {
    let closed = |tale: Tale, by| tale.exactly().knocks(A, |_| {}).waits(100).closed(A, by);
    fine(|tale| closed(tale, ClosedBy::Network).connects(B));
    planted("I7 connect-unanswered", |tale| closed(tale, ClosedBy::Broker).connects(B));
    planted("I7 connect-unanswered", |tale| {
        tale.exactly().knocks(A, |_| {}).waits(9_000).connects(B)
    });
    // Its end may come before what the answer waits for.
    fine(|tale| {
        let tale = tale.exactly().knocks(A, |_| {}).asks(A, Asked::garbage(None));
        tale.closed(A, ClosedBy::Broker)
    });
    // Another came with its client id meanwhile.
    fine(|tale| {
        let tale = tale.given(|scenario| scenario.clients[B].client_id = "a".into());
        let tale = tale.given(|scenario| scenario.clients[A].client_id = "a".into());
        tale.exactly().knocks(A, |_| {}).connects(B).closed(A, ClosedBy::Broker)
    });
    // 3.1.1 has no words for some reasons.
    let nameless = |tale: Tale, version, clean_start| {
        let tale = tale.given(|scenario| {
            scenario.clients[A].version = version;
            scenario.clients[A].client_id = "".into();
            scenario.broker.keep_alive_max_s = Some(10);
        });
        let tale = tale.exactly().knocks(A, |connect| connect.clean_start = clean_start);
        tale.closed(A, ClosedBy::Broker)
    };
    fine(|tale| nameless(tale, ProtocolVersion::V311, false));
    planted("I7 connect-unanswered", |tale| nameless(tale, ProtocolVersion::V5, true));
}
