//! Proof of `endings.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use std::sync::Arc;

use super::tale::{A, B, C, Q0, Q1, Tale, ack, publish};
use super::{fine, planted, planted_with_arrivals};
use crate::history::{AckKind, Asked, ClosedBy, Saw, What};
use crate::scenario::{Action, Op, ProtocolVersion};

fn away(tale: Tale, reason: u8) -> Tale {
    tale.saw(A, Saw::Disconnect { reason }).closed(A, ClosedBy::Broker)
}

#[test]
fn a_connection_is_closed_for_a_reason() {
    let rules = [
        (0x81, "I16 closed-for-no-reason"),
        (0x82, "I16 closed-for-no-reason"),
        (0x8B, "I16 closed-for-no-reason"),
        (0x8D, "I13 closed-for-no-reason"),
        (0x8E, "I8 closed-for-no-reason"),
        (0x93, "I16 closed-for-no-reason"),
        (0x95, "I16 closed-for-no-reason"),
        (0x97, "I16 closed-for-no-reason"),
    ];
    for (reason, rule) in rules {
        planted(rule, |tale| away(tale.connects(A), reason));
    }
    let broken = |tale: Tale, reason: Option<u8>| tale.connects(A).asks(A, Asked::garbage(reason));
    fine(|tale| away(broken(tale, None), 0x81));
    fine(|tale| away(broken(tale, None), 0x82));
    fine(|tale| away(broken(tale, Some(0x94)), 0x94));
    planted("I16 closed-for-no-reason", |tale| away(broken(tale, Some(0x94)), 0x82));
    planted("I16 closed-for-no-reason", |tale| away(broken(tale, None), 0x94));
    planted("I16 closed-for-no-reason", |tale| {
        away(tale.connects(A).asks(A, Asked::Harmless), 0x82)
    });
    fine(|tale| away(tale.connects(A).happens(None, What::BrokerStopped), 0x8B));
    planted_with_arrivals("I16 closed-without-reason", |tale| {
        tale.connects(A).closed(A, ClosedBy::Broker)
    });
    planted("I16 disconnect-to-3.1.1", |tale| {
        away(tale.given(|it| it.clients[A].version = ProtocolVersion::V311).connects(A), 0x81)
    });
}

#[test]
fn who_cannot_be_told_the_reason_is_closed_for_one() {
    let old =
        |tale: Tale| tale.given(|it| it.clients[A].version = ProtocolVersion::V311).connects(A);
    let closed = |tale: Tale| tale.closed(A, ClosedBy::Broker);
    planted("I16 closed-for-no-reason", |tale| closed(old(tale)));
    fine(|tale| closed(old(tale).asks(A, Asked::garbage(None))));
    fine(|tale| closed(old(tale).happens(None, What::BrokerStopped)));
    // Whoever takes nothing is given up, and not soon.
    let slow = |tale: Tale, ms| {
        let tale = tale.given(|scenario| {
            scenario.ops.push(Op { at_ms: 0, client: A, action: Action::Pause });
        });
        tale.connects(A).waits(ms).given_up(A)
    };
    fine(|tale| slow(tale, 31_000));
    planted_with_arrivals("I16 closed-for-no-reason", |tale| slow(tale, 20_000));
    // What is refused has no other answer.
    fine(|tale| closed(old(tale).sends(A, 1, "$SYS/a", Q1, |_| {})));
    planted("I16 closed-for-no-reason", |tale| closed(old(tale).sends(A, 1, "a", Q1, |_| {})));
}

#[test]
fn a_broker_that_stops_says_so() {
    let stops = |tale: Tale| tale.exactly().connects(A).happens(None, What::BrokerStopped);
    fine(|tale| away(stops(tale), 0x8B));
    planted_with_arrivals("I16 stopped-without-a-word", |tale| {
        stops(tale).closed(A, ClosedBy::Network)
    });
}

#[test]
fn silence_ends_a_connection_after_its_keep_alive() {
    let silent = |tale: Tale, ms| tale.connects_with(A, |it| it.keep_alive_s = 2).waits(ms);
    fine(|tale| away(silent(tale, 3_000), 0x8D));
    planted("I13 closed-for-no-reason", |tale| away(silent(tale, 2_500), 0x8D));
    planted("I13 keep-alive-not-enforced", |tale| silent(tale, 9_000).connects(B));
    fine(|tale| {
        silent(tale, 2_500).asks(A, Asked::Ping).saw(A, Saw::Pong).waits(2_500).connects(B)
    });
    // Unless the broker was told to bear less, or more.
    let told = |tale: Tale, secs, ms| {
        silent(tale.given(|scenario| scenario.broker.disconnect_delay_s = Some(secs)), ms)
    };
    fine(|tale| away(told(tale, 0, 2_500), 0x8D));
    planted("I13 closed-for-no-reason", |tale| away(told(tale, 60, 2_500), 0x8D));
    planted("I13 keep-alive-not-enforced", |tale| told(tale, 60, 9_000).connects(B));
}

#[test]
fn who_is_not_read_is_not_silent() {
    let unread = |tale: Tale, after_ms| {
        let tale = tale.exactly().connects_with(A, |it| it.keep_alive_s = 2).waits(after_ms);
        let asked = tale.count();
        let tale = tale.loses(A, Asked::Publish(publish(1))).waits(3_000 - after_ms);
        away(tale.happens_with_arrivals(What::Unread { asked, connection: 0 }), 0x8D)
    };
    planted("I13 closed-for-no-reason", |tale| unread(tale, 1_500));
    fine(|tale| unread(tale, 3_000));
}

#[test]
fn garbage_ends_a_connection() {
    let broken = |tale: Tale| tale.connects(A).asks(A, Asked::garbage(None));
    planted("I16 garbage-tolerated", |tale| broken(tale).waits(5_000).connects(B));
    fine(|tale| broken(tale).connects(B));
    // One who pauses may not have seen it yet.
    fine(|tale| {
        let tale = tale.given(|scenario| scenario.clients[A].manners.ack_delay_ms = 10);
        broken(tale).waits(5_000).connects(B)
    });
}

#[test]
fn a_broken_frame_ends_a_connection_below_mqtt() {
    let broken = |tale: Tale| tale.connects(A).loses(A, Asked::BrokenFrame);
    planted("I16 garbage-tolerated", |tale| broken(tale).waits(5_000).connects(B));
    let old = |tale: Tale| tale.given(|it| it.clients[A].version = ProtocolVersion::V311);
    fine(|tale| broken(tale).closed(A, ClosedBy::Broker));
    fine(|tale| broken(old(tale)).closed(A, ClosedBy::Broker));
    planted("I16 closed-for-no-reason", |tale| away(broken(tale), 0x81));
}

#[test]
fn a_packet_that_is_too_large_ends_a_connection() {
    let sends = |tale: Tale, qos, bytes| {
        let tale = tale.given(|scenario| scenario.broker.packet_bytes = Some(100)).connects(A);
        tale.sends(A, 1, "a", qos, |asked| asked.packet_bytes = bytes)
    };
    fine(|tale| away(sends(tale, Q1, 101), 0x95));
    planted("I16 closed-for-no-reason", |tale| away(sends(tale, Q1, 100), 0x95));
    planted("C11 too-large-tolerated", |tale| sends(tale, Q0, 101).waits(5_000).connects(B));
    planted("C11 too-large-answered", |tale| sends(tale, Q1, 101).saw(A, ack(AckKind::PubAck, 1)));
    planted("C11 too-large-delivered", |tale| {
        let tale = tale.given(|scenario| scenario.broker.packet_bytes = Some(100)).connects(B);
        let tale = tale.subscribes(B, "a/b", Q1).connects(A);
        tale.publishes_with(A, 1, "a/b", Q0, |asked| asked.packet_bytes = 101).gets(B, 1, Q0)
    });
}

#[test]
fn who_answers_what_came_to_another_may_be_sent_away() {
    let answers = |tale: Tale| tale.connects(A).answers(A, AckKind::PubAck, 7);
    planted("I16 closed-for-no-reason", |tale| away(answers(tale), 0x82));
    fine(|tale| {
        away(answers(tale.given(|scenario| scenario.clients[B].client_id = Arc::from("a"))), 0x82)
    });
}

fn taken_over(tale: Tale) -> Tale {
    let tale = tale.given(|scenario| scenario.clients[B].client_id = Arc::from("a"));
    tale.connects(C).connects(A).subscribes(A, "a/+", Q1).resumes(B)
}

#[test]
fn a_takeover_ends_the_older_connection() {
    fine(|tale| away(taken_over(tale), 0x8E).waits(5_000).connects(C));
    planted("C8 taken-over-left-open", |tale| taken_over(tale).waits(5_000).connects(C));
    let published = |tale| taken_over(tale).publishes(C, 1, "a/b", Q1);
    fine(|tale| published(tale).gets(B, 1, Q1));
    planted("C8 delivered-to-old-connection", |tale| published(tale).gets(A, 1, Q1));
    // Whom it took over itself does not take it over.
    planted("I8 closed-for-no-reason", |tale| {
        let tale = tale.given(|scenario| scenario.clients[B].client_id = Arc::from("a"));
        let tale = tale.connects(A).resumes(B).saw(A, Saw::Disconnect { reason: 0x8E });
        let tale = tale.closed(A, ClosedBy::Broker).waits(5_000);
        tale.saw(B, Saw::Disconnect { reason: 0x8E }).closed(B, ClosedBy::Broker)
    });
    // Published before: it may have been under way.
    fine(|tale| {
        let tale = tale.given(|scenario| scenario.clients[B].client_id = Arc::from("a"));
        let tale = tale.connects(C).connects(A).subscribes(A, "a/+", Q1);
        tale.publishes(C, 1, "a/b", Q1).resumes(B).sees(A, 1, Q1, |_| {})
    });
}

#[test]
fn a_silent_connection_is_closed_on_time() {
    let silent = |tale: Tale, ms| {
        let tale = tale.exactly().connects_with(A, |it| it.keep_alive_s = 2).waits(ms);
        tale.closed(A, ClosedBy::Network).ends()
    };
    fine(|tale| silent(tale, 2_990));
    planted_with_arrivals("I13 keep-alive-not-enforced", |tale| silent(tale, 3_900));
}
