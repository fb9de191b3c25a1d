//! Proof of `gone.rs`.
//! The histories are told by `tale.rs`; what is judged is in the file of the same name above.
use std::sync::Arc;

use super::tale::{A, B, Tale};
use super::{fine, planted_with_arrivals};
use crate::history::{Asked, ClosedBy, What};

fn stalled(tale: Tale) -> Tale {
    // It takes nothing, so that it cannot be told.
    tale.given(|it| {
        it.clients[A].manners.ack_delay_ms = 10;
        it.clients[B].client_id = Arc::from("a");
    })
}

#[test]
fn a_connection_that_has_to_end_does() {
    let goodbye = Asked::Disconnect { reason: 0, expiry_s: None };
    let left = |tale: Tale| stalled(tale).connects(A).asks(A, goodbye.clone());
    fine(|tale| left(tale).waits(6_900).closed(A, ClosedBy::Client));
    planted_with_arrivals("I17 ended-too-late", |tale| {
        left(tale).waits(7_200).closed(A, ClosedBy::Client)
    });
    fine(|tale| left(tale).happens(None, What::BrokerCrashed).waits(9_000).ends());
    let taken_over = |tale| stalled(tale).connects(A).resumes(B);
    fine(|tale| taken_over(tale).waits(7_000));
    planted_with_arrivals("I17 ended-too-late", |tale| {
        taken_over(tale).waits(7_200).happens(None, What::Healed { zone: 0 })
    });
}

#[test]
fn what_has_come_is_read_though_nothing_can_be_written() {
    let unread = |tale: Tale| {
        let goodbye = Asked::Disconnect { reason: 0, expiry_s: None };
        let tale = tale.connects(A).loses(A, goodbye);
        let asked = tale.count() - 1;
        tale.happens_with_arrivals(What::Unread { asked, connection: 0 })
    };
    planted_with_arrivals("I16 left-unread", |tale| unread(tale).closed(A, ClosedBy::Client));
    let garbled = |tale: Tale| {
        let tale = tale.connects(A).asks(A, Asked::garbage(None)).loses(A, Asked::Ping);
        let asked = tale.count() - 1;
        tale.happens_with_arrivals(What::Unread { asked, connection: 0 })
    };
    fine(|tale| garbled(tale).closed(A, ClosedBy::Network));
}
