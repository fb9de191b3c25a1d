//! Proof of `packet_ids.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use super::tale::{A, B, Q0, Q1, Q2, Tale, ack};
use super::{fine, planted, planted_with_arrivals};
use crate::history::{AckKind, Asked, PublishSaw, Saw};
use crate::scenario::Connect;

fn published_to(tale: Tale, change: impl FnOnce(&mut Connect)) -> Tale {
    tale.connects(A)
        .connects_with(B, change)
        .subscribes(B, "a/+", Q1)
        .publishes(A, 1, "a/b", Q1)
        .publishes(A, 2, "a/b", Q1)
}

#[test]
fn a_client_is_sent_what_it_takes() {
    let size = |tale, max| {
        published_to(tale, move |connect| connect.packet_bytes_max = Some(max)).gets(B, 1, Q1)
    };
    fine(|tale| size(tale, 20));
    planted("C11 packet-too-large", |tale| size(tale, 19));
    let answered = |tale: Tale, max| {
        let tale = tale.connects_with(A, move |connect| connect.packet_bytes_max = Some(max));
        tale.subscribes(A, "a/+", Q1).saw(A, Saw::Oversized { bytes: 6 })
    };
    planted("C11 packet-too-large", |tale| answered(tale, 5));
    fine(|tale| answered(tale, 6));
    let alias = |tale, alias| {
        let tale = published_to(tale, |connect| connect.topic_alias_maximum = 2);
        tale.gets_with(B, 1, Q1, move |saw| saw.alias = Some(alias))
    };
    fine(|tale| alias(tale, 2));
    planted("C11 alias-too-high", |tale| alias(tale, 3));
    planted("C11 alias-too-high", |tale| alias(tale, 0));
    let window = |tale, max| {
        let tale = published_to(tale, move |connect| connect.receive_maximum = Some(max));
        tale.sees(B, 1, Q1, |_| {}).sees(B, 2, Q1, |_| {})
    };
    fine(|tale| window(tale, 2));
    planted("I6 receive-maximum-exceeded", |tale| window(tale, 1));
    fine(|tale| {
        let tale = published_to(tale, |connect| connect.receive_maximum = Some(1));
        tale.gets(B, 1, Q1).gets(B, 2, Q1)
    });
}

#[test]
fn a_packet_id_is_free_when_it_is_acknowledged() {
    let second = |saw: &mut PublishSaw| saw.id = Some(1);
    let first = |tale| published_to(tale, |_| {}).sees(B, 1, Q1, |_| {});
    planted("I6 packet-id-reused", |tale| first(tale).sees(B, 2, Q1, second));
    fine(|tale| first(tale).answers(B, AckKind::PubAck, 1).sees(B, 2, Q1, second));
    planted("I6 wrong-packet-id", |tale| {
        published_to(tale, |_| {}).sees(B, 1, Q1, |saw| saw.id = None)
    });
}

#[test]
fn every_answer_answers_something_in_order() {
    let unasked = [
        Saw::Pong,
        ack(AckKind::PubAck, 9),
        ack(AckKind::PubRec, 9),
        ack(AckKind::PubComp, 9),
        Saw::SubAck { id: 9, reasons: vec![0] },
        Saw::UnsubAck { id: 9, reasons: vec![0] },
    ];
    for packet in unasked {
        planted("I6 answer-to-nothing", |tale| tale.connects(A).saw(A, packet.clone()));
    }
    fine(|tale| tale.connects(A).asks(A, Asked::Ping).saw(A, Saw::Pong));
    planted("I6 release-without-receipt", |tale| tale.connects(B).saw(B, ack(AckKind::PubRel, 5)));
    // A resumed session may have one from before.
    fine(|tale| tale.connects(B).asks(B, Asked::Harmless).saw(B, ack(AckKind::PubRel, 5)));
    let acked = |tale: Tale, ids: [u16; 2]| {
        let tale = tale.connects(A).sends(A, 1, "a", Q1, |_| {}).sends(A, 2, "a", Q1, |_| {});
        ids.into_iter().fold(tale, |tale, id| tale.saw(A, ack(AckKind::PubAck, id)))
    };
    fine(|tale| acked(tale, [1, 2]));
    planted("I6 acknowledged-out-of-order", |tale| acked(tale, [2, 1]));
    fine(|tale| tale.connects(A).publishes(A, 1, "a", Q0));
}

#[test]
fn what_is_received_by_guess_is_released() {
    let guessed = |tale: Tale| {
        let tale = tale.exactly().connects(A).asks(A, Asked::Guess { id: 5 });
        (tale, ack(AckKind::PubRel, 5))
    };
    fine(|tale| {
        let (tale, release) = guessed(tale);
        tale.saw(A, release).asks(A, Asked::Ping).saw(A, Saw::Pong)
    });
    planted_with_arrivals("I6 answer-left-out", |tale| {
        guessed(tale).0.asks(A, Asked::Ping).saw(A, Saw::Pong)
    });
}

#[test]
fn what_was_received_is_released() {
    let received = |tale: Tale| {
        tale.exactly()
            .connects(A)
            .connects(B)
            .subscribes(B, "a/+", Q2)
            .publishes(A, 1, "a/b", Q2)
            .sees(B, 1, Q2, |_| {})
            .answers(B, AckKind::PubRec, 1)
            .calms_down(&[A, B])
    };
    planted_with_arrivals("C13 never-released", |tale| received(tale).ends());
    fine(|tale| {
        let tale = received(tale).saw(B, ack(AckKind::PubRel, 1));
        tale.answers(B, AckKind::PubComp, 1).ends()
    });
}
