//! The packets that are encoded and decoded: what brokers see most, and its dear relatives.

use stormpetrel::mqtt::types::{QoS, Reason, Version};
use stormpetrel::mqtt::wire::{Ack, Packet, Publish};

use crate::kit::packets::{SMALL, connect, id, properties, publish, subscribe};

pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) version: Version,
    pub(crate) packet: Packet,
}

pub(crate) fn all() -> Vec<Sample> {
    let message = |bytes| publish(QoS::AtLeastOnce, 7, "site/4/sensor/temperature", bytes);
    let with_properties = || Publish { properties: Some(Box::new(properties())), ..message(SMALL) };
    let filters = ["site/4/#", "site/+/alarm", "site/4/sensor/temperature"];
    let sample = |name, version, packet| Sample { name, version, packet };
    use Version::{V5, V311};
    vec![
        sample("publish-small-3.1.1", V311, Packet::Publish(message(SMALL))),
        sample("publish-small-5.0", V5, Packet::Publish(message(SMALL))),
        sample("publish-1KiB-3.1.1", V311, Packet::Publish(message(1_024))),
        sample("publish-1KiB-5.0", V5, Packet::Publish(message(1_024))),
        sample("publish-properties-5.0", V5, Packet::Publish(with_properties())),
        sample("subscribe-5.0", V5, subscribe(&filters, QoS::AtLeastOnce, Some(7))),
        sample("connect-3.1.1", V311, connect(V311, "client-17", true)),
        sample("connect-5.0", V5, connect(V5, "client-17", true)),
        sample("puback-3.1.1", V311, Packet::PubAck(Ack::new(id(7), Reason::Success))),
        sample("pubrec-error-5.0", V5, Packet::PubRec(Ack::new(id(7), Reason::QuotaExceeded))),
    ]
}
