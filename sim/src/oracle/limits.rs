//! What the broker's limits touch, and what they surely do not: which messages it may refuse, and
//! with which reason. Knows nothing of queues: `lost.rs`.

use super::facts::Facts;
use super::messages::Message;
use super::topic;
use crate::scenario::{Action, Broker, Qos, Scenario};

const NOT_AUTHORIZED: u8 = 0x87;
const TOPIC_NAME_INVALID: u8 = 0x90;
pub(super) const SERVER_UNAVAILABLE: u8 = 0x88;
pub(super) const QUOTA_EXCEEDED: u8 = 0x97;

/// Whether a broker takes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Never,
    /// It depends on what it holds.
    Perhaps,
    Surely(u8),
}

/// What becomes of a message on this topic; of how many bytes the packet, if it is PUBLISH.
pub(super) fn refusal(
    facts: &Facts<'_>,
    name: &str,
    is_kept: bool,
    packet_bytes: Option<usize>,
) -> Refusal {
    let broker = &facts.scenario.broker;
    let is_large = |bytes: usize| broker.packet_bytes.is_some_and(|max| bytes > max as usize);
    if packet_bytes.is_some_and(is_large) {
        return Refusal::Perhaps; // more than a refusal: `endings.rs`
    }
    if is_too_long(broker, name) {
        return Refusal::Surely(TOPIC_NAME_INVALID);
    }
    if topic::is_the_brokers(name) {
        return Refusal::Surely(NOT_AUTHORIZED);
    }
    let may_be_full = broker.retained_bytes.is_some()
        || broker.retained_messages.is_some_and(|max| facts.retained_topics > max);
    if broker.total_bytes.is_some() || (is_kept && may_be_full) {
        return Refusal::Perhaps;
    }
    Refusal::Never
}

/// How many messages above QoS 0 may be in flight on a connection: as its client and the broker's
/// settings say. None: nobody says.
pub(super) fn window(facts: &Facts<'_>, place: usize) -> Option<u16> {
    let connect = facts.connections[place].connect.filter(|_| facts.is_v5(place));
    let asked = connect.and_then(|connect| connect.receive_maximum);
    [asked, facts.scenario.broker.inflight].into_iter().flatten().min()
}

/// Whether the broker surely took this message: it said so, or it takes it whatever it holds.
pub(super) fn is_surely_taken(facts: &Facts<'_>, message: &Message<'_>) -> bool {
    message.is_acked() || (message.is_sure() && is_taken_for_sure(facts, message))
}

/// Whether the broker takes this message whatever it holds.
pub(super) fn is_taken_for_sure(facts: &Facts<'_>, message: &Message<'_>) -> bool {
    let packet_bytes = message.will_of.is_none().then_some(message.packet_bytes);
    let is_kept = message.retain && message.number != 0;
    let is_in_trouble = needs_disk(message)
        && message.effects.iter().any(|effect| facts.is_in_trouble(effect.span));
    !message.may_be_forbidden
        && !is_in_trouble
        && refusal(facts, message.topic, is_kept, packet_bytes) == Refusal::Never
}

/// Whether a message may be one that is kept, and not taken if it cannot be. A will always is.
fn needs_disk(message: &Message<'_>) -> bool {
    message.will_of.is_none() && (message.qos > Qos::AtMostOnce || message.retain)
}

/// Whether a name or a filter is longer than the broker takes.
pub(super) fn is_too_long(broker: &Broker, name: &str) -> bool {
    broker.topic_bytes.is_some_and(|max| name.len() > max)
        || broker.topic_levels.is_some_and(|max| name.split('/').count() > max)
}

/// Whether a filter is, or the name of its group is longer than a topic may be.
pub(super) fn is_filter_too_long(broker: &Broker, filter: &str) -> bool {
    let (group, behind) = topic::shared(filter).unwrap_or(("", filter));
    is_too_long(broker, behind) || broker.topic_bytes.is_some_and(|max| group.len() > max)
}

/// On how many topics anything may be retained: the broker's version is one of them.
pub(super) fn retained_topics(scenario: &Scenario) -> usize {
    if scenario.broker.retained_messages.is_none() {
        return 0;
    }
    let mut topics: Vec<&str> = vec!["$SYS/broker/version"];
    for op in &scenario.ops {
        let message = match &op.action {
            Action::Publish(publish) => Some(publish),
            Action::Connect(connect) => connect.will.as_ref().map(|will| &will.message),
            _ => None,
        };
        topics.extend(message.filter(|message| message.retain).map(|message| &*message.topic));
    }
    topics.sort_unstable();
    topics.dedup();
    topics.len()
}
