//! How much work the machine does at once, so that nobody waits long behind a client that does
//! something huge.
//!
//! What costs is counted in steps, never in time: the same inputs are cut into the same parts,
//! on any machine. Only counts and prices; who spends looks whether to go on.

use super::retained::Retained;

/// What one visit may cost. A step is some tenth of a microsecond, so a visit lasts about a
/// millisecond; the fan-out of what is recorded together with a packet id of QoS 2, or instead
/// of a will, is not divided and may take it beyond that.
pub const EFFORT_MAX: u64 = 10_000;

/// Any packet.
pub(super) const PACKET: u64 = 2;
/// A deadline that is due.
pub(super) const DUE: u64 = 10;
/// A filter that is subscribed to, or no longer is, beside what its levels cost.
pub(super) const FILTER: u64 = 20;
/// Each of its levels: clients choose how many. With a wildcard in it, it has a node for each, which
/// is made, found or removed.
const LEVEL: u64 = 5;
/// A new subscription's retained messages looked for, beside a step for each that is looked at.
pub(super) const CURSOR: u64 = 5;
/// A member of a group that is asked whether it can take a message.
pub(super) const ASKED: u64 = 1;
/// A message given to a session that it matches. So cheap that eight at once fit in a visit if they
/// go to a thousand: then each of these is written to once, and not for every few of them.
pub(super) const MATCH: u64 = 1;
/// The same to a group, before a member is found.
pub(super) const SHARED: u64 = 2;
/// So many nodes of the tree of filters, opened for a topic: clients choose how many match.
pub(super) const NODES: u64 = 2;
/// No message may open more of them: it could not be divided, and is refused. Each level of a topic
/// opens at most two for each of the level above, so that one of 13 levels finds all there are,
/// whatever clients subscribe to. A deeper one opens more only if somebody has made his filters for
/// that. So many are most of what a visit may cost.
pub(super) const NODES_MAX: usize = 16_384;
/// So many nodes of the trees of one session's filters, for each of its messages that may be forbidden
/// once rules have changed. All that there are for a topic of up to five levels, and many more than
/// deeper ones open: only filters made for that take more than this for each of very many messages.
pub(super) const NODES_JUDGED: usize = 128;
/// So many subscriptions that match, before it is known whose they are.
pub(super) const MATCHES: u64 = 8;
/// So many subscriptions looked through for those of one session.
pub(super) const SEARCHED: u64 = 64;
/// A message sent to a client, or taken back from its session.
pub(super) const DELIVERY: u64 = 2;

/// So many bytes of a message's topic.
const TOPIC_BYTES: usize = 256;
/// How often a topic is searched for among those of retained messages, to keep one in place of
/// another.
const RETAINED_SEARCHES: u64 = 4;

/// A session that is passed over when all is written anew.
pub(super) const PASSED: u64 = 1;

/// What a filter costs.
pub(super) fn of_filter(filter: &str) -> u64 {
    let levels = 1 + filter.bytes().filter(|byte| *byte == b'/').count() as u64;
    FILTER + LEVEL * levels
}

/// What a topic costs for its length, which a client need not even send if it has an alias: it is
/// read, copied, and searched for where it is to be retained.
pub(super) fn of_topic(topic: &str, is_retained: bool) -> u64 {
    let searches = if is_retained { RETAINED_SEARCHES } else { 0 };
    (topic.len() / TOPIC_BYTES) as u64 + searches * Retained::lookup_steps(topic)
}

/// What everything so far has cost.
#[derive(Debug, Default)]
pub(super) struct Effort(u64);

impl Effort {
    pub(super) fn spend(&mut self, steps: u64) {
        self.0 += steps;
    }

    pub(super) fn spent(&self) -> u64 {
        self.0
    }
}
