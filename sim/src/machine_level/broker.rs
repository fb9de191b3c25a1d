//! The machine as the simulator sees it: its settings from a scenario, and its output as the
//! packets that a client of some version reads.

use stormpetrel::machine::{
    Access, Deliver, Durability, Limits, ListenerId, ListenerSettings, Outgoing, Settings,
};
use stormpetrel::mqtt::types::{PacketId, QoS, Reason};
use stormpetrel::mqtt::wire::reason::ReturnCode;
use stormpetrel::mqtt::wire::{ConnAckProperties, Packet, Publish};

use crate::access;
use crate::history::History;
use crate::scenario::{Client, ProtocolVersion, Qos, Scenario};
use crate::survival;
use crate::transport::Transport;

/// Everything is done in the smallest parts there are: nothing may depend on what is done at
/// once. The broker as a whole, at the other level, does as much at once as production.
const EFFORT_MAX: u64 = 1;

/// In half of the runs packet ids soon begin anew.
fn first_packet_id(seed: u64) -> PacketId {
    let left = u16::try_from(seed / 4 % 16).expect("below 16");
    PacketId::new(u16::MAX - left).filter(|_| left < 8).unwrap_or(PacketId::FIRST)
}

/// By which listener a client comes in.
pub(crate) fn listener_of(client: &Client) -> ListenerId {
    let place = Transport::ALL.iter().position(|transport| *transport == client.transport);
    ListenerId(place.expect("one of all"))
}

/// The settings of a machine with a listener for each transport.
pub(crate) fn settings(scenario: &Scenario) -> Settings {
    let broker = &scenario.broker;
    let defaults = Limits::default();
    let (connections_max, by_listener) = scenario.connections_max();
    let limits = Limits {
        connections: connections_max.unwrap_or(defaults.connections),
        packet_bytes: broker.packet_bytes.unwrap_or(defaults.packet_bytes),
        connect_timeout: broker.connect_timeout_ms.unwrap_or(defaults.connect_timeout),
        keep_alive_max: broker.keep_alive_max_s.unwrap_or(defaults.keep_alive_max),
        inflight: broker.inflight.unwrap_or(defaults.inflight),
        queue_messages: broker.queue_messages.unwrap_or(defaults.queue_messages),
        queue_bytes: broker.queue_bytes.unwrap_or(defaults.queue_bytes),
        total_bytes: broker.total_bytes.unwrap_or(defaults.total_bytes),
        subscriptions: broker.subscriptions.unwrap_or(defaults.subscriptions),
        topic_bytes: broker.topic_bytes.unwrap_or(defaults.topic_bytes),
        topic_levels: broker.topic_levels.unwrap_or(defaults.topic_levels),
        retained_messages: broker.retained_messages.unwrap_or(defaults.retained_messages),
        retained_bytes: broker.retained_bytes.unwrap_or(defaults.retained_bytes),
        session_expiry_max: broker.session_expiry_max_s.unwrap_or(defaults.session_expiry_max),
    };
    let durability = match broker.store.map(|store| store.durability) {
        Some(survival::Durability::Sync) => Durability::Sync,
        Some(survival::Durability::Async) => Durability::Async,
        None => Durability::None,
    };
    let connections_max = by_listener.unwrap_or(usize::MAX);
    let listener = ListenerSettings { connections_max, durability };
    Settings {
        limits,
        listeners: vec![listener; Transport::ALL.len()],
        sys_interval: broker.sys_interval_s,
        session_expiry: broker.session_expiry_s,
        disconnect_delay: broker.disconnect_delay_s,
        max_qos: match broker.max_qos {
            Some(Qos::AtMostOnce) => QoS::AtMostOnce,
            Some(Qos::AtLeastOnce) => QoS::AtLeastOnce,
            Some(Qos::ExactlyOnce) | None => QoS::ExactlyOnce,
        },
        access: Access {
            is_judged: true,
            authorise: access::authoriser(broker, broker.policies.first()),
        },
        effort_max: EFFORT_MAX,
        first_packet_id: first_packet_id(scenario.seed),
        is_recording: broker.store.is_some(),
        durability,
    }
}

/// The packet that a client of this version reads; none if there is nothing to read: the end of
/// the connection, and what 3.1.1 has no bytes for.
pub(super) fn as_read(outgoing: Outgoing, version: ProtocolVersion) -> Option<Packet> {
    let packet = match outgoing {
        Outgoing::Close(_) => return None,
        Outgoing::Deliver(deliver) => return Some(Packet::Publish(publish(&deliver, version))),
        Outgoing::Packet(packet) => packet,
    };
    if version.is_v5() { Some(packet) } else { as_read_3(packet, version) }
}

fn as_read_3(mut packet: Packet, version: ProtocolVersion) -> Option<Packet> {
    match &mut packet {
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            ack.reason = Reason::Success;
        }
        Packet::ConnAck(answer) => {
            answer.reason = ReturnCode::from_reason(answer.reason)?.reason();
            answer.properties = ConnAckProperties::default();
            answer.session_present &= version != ProtocolVersion::V31;
        }
        _ => {}
    }
    Some(packet)
}

fn publish(deliver: &Deliver, version: ProtocolVersion) -> Publish {
    let (message, is_v5) = (&deliver.message, version.is_v5());
    let alias = deliver.alias.filter(|_| is_v5);
    let mut properties = message.properties.clone().filter(|_| is_v5);
    if let Some(properties) = &mut properties {
        properties.expiry = deliver.expiry;
    }
    Publish {
        delivery: deliver.delivery,
        retain: deliver.retain,
        topic: alias.is_none_or(|alias| alias.is_new).then(|| message.topic.clone()),
        topic_alias: alias.map(|alias| alias.number),
        subscription_ids: match &deliver.subscription_ids {
            Some(ids) if is_v5 => ids.to_vec(),
            _ => Vec::new(),
        },
        properties,
        payload: message.payload.clone(),
    }
}

/// Counts what leaves the broker, whoever may see it.
pub(super) fn count(history: &mut History, connection: usize, packet: Option<&Packet>) {
    history.count(&connection);
    match packet {
        None => history.count(&0u8),
        Some(Packet::Publish(publish)) => {
            let delivery = publish.delivery;
            history.count(&(3u8, delivery.id(), delivery.is_dup(), publish.retain));
            history.count(&(&publish.topic, publish.topic_alias, publish.payload.len()));
            history.count(&publish.payload);
        }
        Some(Packet::ConnAck(answer)) => {
            history.count(&(2u8, answer.reason, answer.session_present));
        }
        Some(Packet::PubAck(ack)) => history.count(&(4u8, ack.id, ack.reason)),
        Some(Packet::PubRec(ack)) => history.count(&(5u8, ack.id, ack.reason)),
        Some(Packet::PubRel(ack)) => history.count(&(6u8, ack.id, ack.reason)),
        Some(Packet::PubComp(ack)) => history.count(&(7u8, ack.id, ack.reason)),
        Some(Packet::SubAck(answers)) => history.count(&(9u8, answers.id, &answers.reasons)),
        Some(Packet::UnsubAck(answers)) => history.count(&(11u8, answers.id, &answers.reasons)),
        Some(Packet::Disconnect(disconnect)) => history.count(&(14u8, disconnect.reason)),
        Some(_) => history.count(&15u8),
    }
}
