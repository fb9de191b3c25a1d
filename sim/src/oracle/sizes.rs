//! Which packets are too large for whom: the largest that a session takes, and the largest that
//! brings a message to it.

use super::facts::Wish;
use super::messages::Message;
use super::sessions::Identity;
use super::{Case, topic};
use crate::properties::Properties;
use crate::scenario::Subscription;

/// Bytes of an expiry interval and of a packet id.
const EXPIRY_BYTES: usize = 5;
const ID_BYTES: usize = 2;

/// The largest packet that every connection of a session takes.
pub(super) fn smallest(case: &Case<'_>, session: usize) -> usize {
    if !is_small(case, session) {
        return usize::MAX;
    }
    let same = case.of_identity(case.sessions.all[session].identity);
    let asked = same.filter_map(|connection| connection.connect?.packet_bytes_max);
    asked.min().map_or(usize::MAX, |max| max as usize)
}

/// Whether some connection of a session takes only small packets.
pub(super) fn is_small(case: &Case<'_>, session: usize) -> bool {
    let session = &case.sessions.all[session];
    let is_same = |identity, memory| (identity, memory) == (session.identity, session.memory);
    // One that nobody saw answered may have had the session too.
    let attempts = case.sessions.attempts.iter().filter(|it| is_same(it.identity, it.memory));
    attempts.flat_map(|it| &it.connections).any(|&on| {
        let connect = case.facts.connections[on].connect;
        connect.is_some_and(|connect| connect.packet_bytes_max.is_some())
    })
}

/// Whether every packet that may bring a message to that identity has at most so many bytes.
pub(super) fn fits(
    case: &Case<'_>,
    identity: Identity,
    message: &Message<'_>,
    bytes_max: usize,
) -> bool {
    bytes_max == usize::MAX || largest(case, identity, message) <= bytes_max
}

/// Bytes of the largest packet that brings a message to that identity, without a topic alias: no
/// broker needs one.
fn largest(case: &Case<'_>, identity: Identity, message: &Message<'_>) -> usize {
    let properties = message.properties.map_or(0, Properties::bytes)
        + identifier_bytes(case, identity, message)
        + if message.expiry_s.is_some() { EXPIRY_BYTES } else { 0 };
    let digits = message.number.checked_ilog10().map_or(0, |ten| ten as usize + 1);
    let topic = 2 + message.topic.len();
    let rest = topic + ID_BYTES + varint_bytes(properties) + properties + message.bytes.max(digits);
    1 + varint_bytes(rest) + rest
}

/// Bytes of the identifiers of all subscriptions that a message may ever have matched.
fn identifier_bytes(case: &Case<'_>, identity: Identity, message: &Message<'_>) -> usize {
    let asked = case.of_identity(identity).flat_map(|connection| &connection.requests);
    let bytes = asked.map(|request| {
        let Wish::Subscribe { subscription_id: Some(id), filters, .. } = request.wish else {
            return 0;
        };
        let matches = |it: &&Subscription| {
            let filter = topic::shared(&it.filter).map_or(&*it.filter, |(_, behind)| behind);
            topic::matches(filter, message.topic)
        };
        filters.iter().filter(matches).count() * (1 + varint_bytes(id as usize))
    });
    bytes.sum()
}

/// Bytes of a number as MQTT writes lengths (MQTT 5.0, section 1.5.5).
fn varint_bytes(number: usize) -> usize {
    match number {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}
