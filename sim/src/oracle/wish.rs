//! What clients ask of a broker, beyond CONNECT, and what answers it.
//!
//! Knows nothing of when: `facts.rs` does.

use std::sync::Arc;

use crate::history::{Ack, AckKind, PublishAsked};
use crate::scenario::{Qos, Subscription};

/// What a client asked, beyond CONNECT.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish<'a> {
    Publish(&'a PublishAsked),
    Subscribe {
        id: u16,
        subscription_id: Option<u32>,
        filters: &'a [Subscription],
    },
    Unsubscribe {
        id: u16,
        filters: &'a [Arc<str>],
    },
    Ack(Ack),
    Ping,
    Disconnect {
        reason: u8,
        expiry_s: Option<u32>,
    },
    Garbage {
        /// What the broker must say; none: not known.
        reason: Option<u8>,
    },
    BrokenFrame,
    Harmless,
    Guess {
        id: u16,
    },
}

impl Wish<'_> {
    /// Whether it may be one that cannot be granted without keeping something.
    pub(super) fn may_need_disk(&self) -> bool {
        match self {
            Wish::Publish(publish) => publish.qos > Qos::AtMostOnce || publish.retain,
            Wish::Subscribe { .. } => true,
            _ => false,
        }
    }

    /// Whether this is the answer to it.
    pub(super) fn is_answered_by(&self, answer: Ack) -> bool {
        use crate::scenario::Qos::{AtLeastOnce, ExactlyOnce};
        match (self, answer.kind) {
            (Wish::Publish(publish), AckKind::PubAck) => {
                publish.qos == AtLeastOnce && publish.id == Some(answer.id)
            }
            (Wish::Publish(publish), AckKind::PubRec) => {
                publish.qos == ExactlyOnce && publish.id == Some(answer.id)
            }
            (Wish::Ack(asked), AckKind::PubComp) => {
                asked.kind == AckKind::PubRel && asked.id == answer.id
            }
            (Wish::Ack(asked), AckKind::PubRel) => {
                asked.kind == AckKind::PubRec && asked.id == answer.id && asked.reason < 0x80
            }
            (Wish::Guess { id }, AckKind::PubRel) => *id == answer.id,
            _ => false,
        }
    }

    /// Its name, if it must be answered.
    pub(super) fn name(self) -> Option<String> {
        match self {
            Wish::Publish(publish) if publish.qos > Qos::AtMostOnce => {
                Some(format!("PUBLISH {:?}", publish.id.unwrap_or(0)))
            }
            Wish::Subscribe { id, .. } => Some(format!("SUBSCRIBE {id}")),
            Wish::Unsubscribe { id, .. } => Some(format!("UNSUBSCRIBE {id}")),
            Wish::Ack(ack) if ack.kind == AckKind::PubRel => Some(format!("PUBREL {}", ack.id)),
            Wish::Ack(ack) if ack.kind == AckKind::PubRec && ack.reason < 0x80 => {
                Some(format!("PUBREC {}", ack.id))
            }
            Wish::Ping => Some("PINGREQ".to_owned()),
            _ => None,
        }
    }
}
