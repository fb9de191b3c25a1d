//! The parts of the work. Each is prepared once, and gives a round that can be done again and
//! again and asserts that everything in it happened.
//!
//! `decode`, `encode` and `match` are what they say. The others are a message's whole way but for
//! the sockets: bytes in, the machine, bytes out, acknowledgements.

use bytes::{Bytes, BytesMut};
use stormpetrel::machine::{ConnectionId, Outgoing};
use stormpetrel::mqtt::topic::TopicFilter;
use stormpetrel::mqtt::topic::tree::FilterTree;
use stormpetrel::mqtt::types::{QoS, Reason, Version};
use stormpetrel::mqtt::wire::{
    Ack, Decoder, Disconnect, PACKET_BYTES_MAX, Packet, Publish, PublishHead, Sender, encode,
};

use crate::kit::broker::Broker;
use crate::kit::packets::{
    SMALL, burst, bytes, connect, id, properties, publish, subscribe, topic,
};

/// A part, once.
pub(crate) type Round = Box<dyn FnMut()>;

pub(crate) type Prepare = fn() -> Round;

/// Every part, by its name, and how it is prepared.
pub(crate) const PARTS: &[(&str, Prepare)] = &[
    ("decode", decode),
    ("encode", encode_all),
    ("match", match_names),
    ("qos0", || point_to_point(QoS::AtMostOnce)),
    ("qos1", || point_to_point(QoS::AtLeastOnce)),
    ("qos2", || point_to_point(QoS::ExactlyOnce)),
    ("fan-out", fan_out),
    ("wildcard", wildcard),
    ("shared", shared),
    ("retained", retained),
    ("sessions", sessions),
];

/// Messages that come in one go.
const BURST: u16 = 64;

/// What clients say, but for CONNECT.
fn said() -> Vec<Packet> {
    let name = "site/4/sensor/temperature";
    let message = |qos, bytes| Packet::Publish(publish(qos, 7, name, bytes));
    let with_properties = Publish {
        properties: Some(Box::new(properties())),
        ..publish(QoS::AtLeastOnce, 8, name, SMALL)
    };
    let ack = |number| Ack::new(id(number), Reason::Success);
    vec![
        message(QoS::AtMostOnce, SMALL),
        message(QoS::AtLeastOnce, SMALL),
        message(QoS::AtLeastOnce, 1_024),
        Packet::Publish(with_properties),
        Packet::PubAck(ack(1)),
        Packet::PubRec(ack(2)),
        Packet::PubRel(ack(3)),
        Packet::PubComp(ack(4)),
        subscribe(&["site/4/#", "site/+/alarm"], QoS::AtLeastOnce, Some(7)),
        Packet::PingReq,
        Packet::Disconnect(Box::new(Disconnect::new(Reason::Success))),
    ]
}

fn decode() -> Round {
    let input = [Version::V311, Version::V5].map(|version| {
        let packets = [&[connect(version, "client-17", true)][..], &said()].concat();
        (bytes(&packets, version), packets.len())
    });
    Box::new(move || {
        for (received, count) in &input {
            let mut decoder = Decoder::new(Sender::Client, PACKET_BYTES_MAX);
            let packets = decode_bytes(&mut decoder, received, &mut Vec::new());
            assert_eq!(packets, *count);
        }
    })
}

/// Decodes as the shell does: from a copy of what it received. How many packets.
fn decode_bytes(decoder: &mut Decoder, received: &[u8], packets: &mut Vec<Packet>) -> usize {
    let mut left = Bytes::copy_from_slice(received);
    while let Some(packet) = decoder.decode(&mut left).expect("what was encoded") {
        packets.push(packet);
    }
    packets.len()
}

fn encode_all() -> Round {
    let packets = said();
    let bytes_of = [Version::V311, Version::V5].map(|version| bytes(&packets, version).len());
    let mut out = BytesMut::with_capacity(4_096);
    Box::new(move || {
        out.clear();
        for packet in &packets {
            encode(packet, Version::V311, &mut out).expect("small enough");
            encode(packet, Version::V5, &mut out).expect("small enough");
        }
        assert_eq!(out.len(), bytes_of.iter().sum::<usize>());
    })
}

fn match_names() -> Round {
    let filters = (0..500).flat_map(|n| [format!("site/{n}/state"), format!("site/+/{n}/#")]);
    let mut tree = FilterTree::new(7);
    for (number, text) in filters.enumerate() {
        let filter = TopicFilter::try_from(text.as_str()).expect("a valid filter");
        tree.get_or_insert_with(&filter, || number);
    }
    let names: Vec<_> = (0..100)
        .flat_map(|n| [format!("site/{n}/state"), format!("site/7/{n}/on"), format!("no/{n}")])
        .map(|name| topic(&name))
        .collect();
    Box::new(move || {
        let mut found = 0;
        for name in &names {
            let _ = tree.for_each_match(name, usize::MAX, |_| found += 1);
        }
        assert_eq!(found, 200);
    })
}

fn point_to_point(qos: QoS) -> Round {
    let mut way = Way::new();
    way.broker.client(&["site/4/state"], qos);
    way.round(&burst(qos, BURST, "site/4/state"), BURST.into())
}

fn fan_out() -> Round {
    let mut way = Way::new();
    for _ in 0..100 {
        way.broker.client(&["site/4/state"], QoS::AtMostOnce);
    }
    way.round(&burst(QoS::AtMostOnce, 4, "site/4/state"), 400)
}

fn wildcard() -> Round {
    let mut way = Way::new();
    for site in 0..100 {
        let [below, level] = [format!("site/{site}/#"), format!("site/+/{site}/state")];
        way.broker.client(&[&below, &level], QoS::AtMostOnce);
    }
    let name = |n| format!("site/{n}/{}/state", (n + 1) % 100);
    let message = |n| Packet::Publish(publish(QoS::AtMostOnce, 1, &name(n), SMALL));
    way.round(&(0..BURST).map(message).collect::<Vec<_>>(), 2 * usize::from(BURST))
}

fn shared() -> Round {
    let mut way = Way::new();
    for _ in 0..10 {
        way.broker.client(&["$share/workers/site/+/state"], QoS::AtLeastOnce);
    }
    way.round(&burst(QoS::AtLeastOnce, BURST, "site/4/state"), BURST.into())
}

/// The publisher is subscribed as well, anew in each round.
fn retained() -> Round {
    let message = |n| Publish {
        retain: true,
        ..publish(QoS::AtLeastOnce, n, &format!("site/{n}/state"), SMALL)
    };
    let messages = (1..=BURST).map(|n| Packet::Publish(message(n)));
    let packets: Vec<_> = messages.chain([subscribe(&["site/#"], QoS::AtMostOnce, None)]).collect();
    let mut way = Way::new();
    way.pass(&bytes(&packets, Version::V5));
    way.round(&packets, 2 * usize::from(BURST))
}

fn sessions() -> Round {
    let goodbye = Packet::Disconnect(Box::new(Disconnect::new(Reason::Success)));
    let came_and_went = |n| {
        [
            connect(Version::V5, &format!("guest-{n}"), true),
            subscribe(&[&format!("site/{n}/#"), "news"], QoS::AtLeastOnce, None),
            goodbye.clone(),
        ]
    };
    let said: Vec<_> = (0..BURST).map(|n| bytes(&came_and_went(n), Version::V5)).collect();
    let mut way = Way::new();
    Box::new(move || {
        for said in &said {
            way.publisher = way.broker.open();
            way.decoder = Decoder::new(Sender::Client, PACKET_BYTES_MAX);
            way.pass(said);
        }
        assert_eq!(way.broker.machine.connections(), 1);
    })
}

/// A message's way, with everything that it needs.
struct Way {
    broker: Broker,
    publisher: ConnectionId,
    decoder: Decoder,
    packets: Vec<Packet>,
    out: BytesMut,
}

impl Way {
    fn new() -> Way {
        let mut broker = Broker::new();
        Way {
            publisher: broker.client(&[], QoS::AtMostOnce),
            broker,
            decoder: Decoder::with_version(Sender::Client, Version::V5, PACKET_BYTES_MAX),
            packets: Vec::new(),
            out: BytesMut::new(),
        }
    }

    /// Publishes the same again and again; each time it is delivered so often.
    fn round(mut self, packets: &[Packet], deliveries: usize) -> Round {
        let received = bytes(packets, Version::V5);
        Box::new(move || assert_eq!(self.pass(&received), deliveries))
    }

    /// What comes of bytes that the publisher sends. How many messages were delivered.
    fn pass(&mut self, received: &[u8]) -> usize {
        decode_bytes(&mut self.decoder, received, &mut self.packets);
        self.broker.receive(self.publisher, &mut self.packets);
        self.out.clear();
        let (out, mut deliveries) = (&mut self.out, 0);
        self.broker.settle(|outgoing| {
            deliveries += usize::from(matches!(outgoing, Outgoing::Deliver(_)));
            write(outgoing, out);
        });
        deliveries
    }
}

/// Encodes as the shell does.
fn write(outgoing: &Outgoing, out: &mut BytesMut) {
    match outgoing {
        Outgoing::Packet(packet) => encode(packet, Version::V5, out).expect("small enough"),
        Outgoing::Deliver(deliver) => {
            let payload = &deliver.message.payload;
            let head = PublishHead::from(deliver);
            head.encode(Version::V5, payload.len(), out).expect("small enough");
            out.extend_from_slice(payload);
        }
        Outgoing::Close(_) => {}
    }
}
