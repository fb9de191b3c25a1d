//! A machine, its clients and its clock.
//!
//! What a client sees is what the codec makes of the bytes that it was sent, in its version, so
//! nothing leaves the machine that has no bytes. Knows nothing of what should happen.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::{Bytes, BytesMut};

use super::super::*;
use super::packets::Joining;
use crate::mqtt::wire::{
    ConnAck, Decoder, Delivery, PACKET_BYTES_MAX, Publish, PublishHead, Sender, encode,
};

/// When everything begins.
pub(super) const START: Timestamp = Timestamp(1_000_000);

/// A broker that allows plenty and says nothing of itself.
pub(super) fn settings() -> Settings {
    Settings {
        limits: Limits::default(),
        listeners: vec![ListenerSettings { connections_max: 1_000, durability: Durability::None }],
        sys_interval: None,
        session_expiry: None,
        disconnect_delay: None,
        max_qos: QoS::ExactlyOnce,
        access: Access::default(),
        effort_max: EFFORT_MAX,
        first_packet_id: PacketId::FIRST,
        is_recording: false,
        durability: Durability::None,
    }
}

/// A machine; every input is followed by a check of its invariants.
pub(super) struct Broker {
    pub(super) machine: Machine,
    pub(super) now: Timestamp,
    next_connection: u64,
    versions: BTreeMap<ConnectionId, Version>,
}

impl Broker {
    pub(super) fn new(settings: Settings) -> Broker {
        let machine = Machine::new(settings, [7; 32], START);
        Broker { machine, now: START, next_connection: 1, versions: BTreeMap::new() }
    }

    pub(super) fn plain() -> Broker {
        Broker::new(settings())
    }

    pub(super) fn with_limits(limits: Limits) -> Broker {
        Broker::new(Settings { limits, ..settings() })
    }

    pub(super) fn handle(&mut self, input: Input<'_>) {
        self.machine.handle(input, self.now);
        self.machine.check();
    }

    /// A connection that has said nothing yet.
    pub(super) fn open_at(&mut self, listener: Option<usize>) -> ConnectionId {
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.handle(Input::Opened { connection, listener: listener.map(ListenerId) });
        connection
    }

    pub(super) fn open(&mut self) -> ConnectionId {
        self.open_at(Some(0))
    }

    /// A client that connects, whatever it is answered.
    pub(super) fn try_connect(&mut self, joining: Joining) -> ConnectionId {
        self.try_connect_at(0, joining)
    }

    /// The same, by that listener.
    pub(super) fn try_connect_at(&mut self, listener: usize, joining: Joining) -> ConnectionId {
        let connection = self.open_at(Some(listener));
        self.send(connection, joining.packet());
        connection
    }

    /// A client that connects and has taken its CONNACK.
    pub(super) fn connect(&mut self, joining: Joining) -> ConnectionId {
        let connection = self.try_connect(joining);
        let answers = self.machine.connections.find(connection);
        let answers = answers.and_then(|slot| self.machine.connections.get_mut(slot));
        let first = answers.and_then(|found| found.answers.pop_front());
        let Some(Outgoing::Packet(Packet::ConnAck(answer))) = first else {
            panic!("a CONNACK was to come, not {first:?}")
        };
        assert_eq!(answer.reason, Reason::Success);
        connection
    }

    /// The version that is spoken on a connection.
    pub(super) fn knows(&mut self, connection: ConnectionId, version: Version) {
        self.versions.insert(connection, version);
    }

    pub(super) fn send(&mut self, connection: ConnectionId, packet: Packet) {
        if let Packet::Connect(connect) = &packet {
            self.versions.entry(connection).or_insert(connect.version);
        }
        self.send_all(connection, vec![packet]);
    }

    /// Hands packets in until they are all handled. On how many visits that was.
    pub(super) fn send_all(&mut self, connection: ConnectionId, mut packets: Vec<Packet>) -> usize {
        let mut visits = 0;
        while !packets.is_empty() {
            self.handle(Input::Received { connection, packets: &mut packets });
            visits += 1;
        }
        visits
    }

    /// Sends, and takes what comes back.
    pub(super) fn ask(&mut self, connection: ConnectionId, packet: Packet) -> String {
        self.send(connection, packet);
        self.see(connection)
    }

    /// The connection is gone.
    pub(super) fn close(&mut self, connection: ConnectionId) {
        self.handle(Input::Closed { connection });
    }

    /// Everything that the connection is given, in pulls of `budget` bytes.
    pub(super) fn pull_by(&mut self, connection: ConnectionId, budget: usize) -> Vec<Outgoing> {
        let mut out = Vec::new();
        while self.pull_once(connection, budget, &mut out) == Remaining::More {}
        out
    }

    pub(super) fn pull_once(
        &mut self,
        connection: ConnectionId,
        budget: usize,
        out: &mut Vec<Outgoing>,
    ) -> Remaining {
        let remaining = self.machine.poll_transmit(connection, budget, out, self.now);
        self.machine.check();
        remaining
    }

    pub(super) fn pull(&mut self, connection: ConnectionId) -> Vec<Outgoing> {
        self.pull_by(connection, usize::MAX)
    }

    /// Everything that the connection is given, as its client reads it.
    pub(super) fn see(&mut self, connection: ConnectionId) -> String {
        let out = self.pull(connection);
        self.read(connection, &out)
    }

    /// What a pull of one byte gives: one message.
    pub(super) fn see_one(&mut self, connection: ConnectionId) -> String {
        let mut out = Vec::new();
        let _ = self.pull_once(connection, 1, &mut out);
        self.read(connection, &out)
    }

    fn read(&self, connection: ConnectionId, out: &[Outgoing]) -> String {
        let version = self.versions.get(&connection).copied().unwrap_or(Version::V5);
        let words: Vec<String> = out.iter().map(|outgoing| show(outgoing, version)).collect();
        words.join("; ")
    }

    /// Moves the clock, handling what is due when it is due.
    pub(super) fn pass_millis(&mut self, millis: u64) {
        let end = self.now.after_millis(millis);
        while let Some(due) = self.machine.poll_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.handle(Input::Deadline);
        }
        self.now = end;
    }

    pub(super) fn pass(&mut self, secs: u64) {
        self.pass_millis(secs * 1_000);
    }

    /// How many messages a client's session did not get for this reason.
    pub(super) fn dropped(&self, client_id: &str, reason: DropReason) -> u64 {
        self.machine.drops_of(client_id).map_or(0, |drops| drops.get(reason))
    }
}

/// The packet that a client of this version reads.
fn on_the_wire(outgoing: &Outgoing, version: Version) -> Packet {
    let mut bytes = BytesMut::new();
    match outgoing {
        Outgoing::Packet(packet) => encode(packet, version, &mut bytes).expect("small enough"),
        Outgoing::Deliver(deliver) => {
            let payload = &deliver.message.payload;
            let head = PublishHead::from(deliver);
            head.encode(version, payload.len(), &mut bytes).expect("small enough");
            bytes.extend_from_slice(payload);
        }
        Outgoing::Close(_) => panic!("a close has no bytes"),
    }
    let mut bytes: Bytes = bytes.freeze();
    let mut decoder = Decoder::with_version(Sender::Broker, version, PACKET_BYTES_MAX);
    let packet = decoder.decode(&mut bytes).expect("what is sent is a packet");
    assert!(bytes.is_empty(), "what is sent is one packet");
    packet.expect("what is sent is a whole packet")
}

/// One thing that a client sees, in a few words.
pub(super) fn show(outgoing: &Outgoing, version: Version) -> String {
    if let Outgoing::Close(why) = outgoing {
        return match why {
            Closing::Left => "close".to_owned(),
            Closing::Because(reason) => format!("close for {reason:?}"),
        };
    }
    match on_the_wire(outgoing, version) {
        Packet::ConnAck(answer) => show_connack(&answer),
        Packet::Publish(publish) => show_publish(&publish),
        Packet::PubAck(ack) => show_answer("PUBACK", ack.id, &[ack.reason]),
        Packet::PubRec(ack) => show_answer("PUBREC", ack.id, &[ack.reason]),
        Packet::PubRel(ack) => show_answer("PUBREL", ack.id, &[ack.reason]),
        Packet::PubComp(ack) => show_answer("PUBCOMP", ack.id, &[ack.reason]),
        Packet::SubAck(answers) => show_answer("SUBACK", answers.id, &answers.reasons),
        Packet::UnsubAck(answers) => show_answer("UNSUBACK", answers.id, &answers.reasons),
        Packet::PingResp => "PINGRESP".to_owned(),
        Packet::Disconnect(disconnect) => format!("DISCONNECT {:?}", disconnect.reason),
        packet => panic!("a broker does not send {packet:?}"),
    }
}

fn show_connack(answer: &ConnAck) -> String {
    let session = if answer.session_present { " session present" } else { "" };
    match answer.reason {
        Reason::Success => format!("CONNACK{session}"),
        reason => format!("CONNACK{session} {reason:?}"),
    }
}

fn show_answer(name: &str, id: PacketId, reasons: &[Reason]) -> String {
    let mut shown = format!("{name} {id}");
    for reason in reasons {
        if *reason != Reason::Success || name.starts_with("SUB") {
            write!(shown, " {reason:?}").expect("a String takes everything");
        }
    }
    shown
}

/// `topic=payload`, then what is special.
fn show_publish(publish: &Publish) -> String {
    let topic = publish.topic.as_ref().map_or("", |topic| topic.as_str());
    let mut shown = format!("{topic}={}", String::from_utf8_lossy(&publish.payload));
    let mut say = |what: String| write!(shown, " {what}").expect("a String takes everything");
    match publish.delivery {
        Delivery::AtMostOnce => {}
        Delivery::AtLeastOnce { id, .. } => say(format!("q1#{id}")),
        Delivery::ExactlyOnce { id, .. } => say(format!("q2#{id}")),
    }
    if publish.delivery.is_dup() {
        say("dup".into());
    }
    if publish.retain {
        say("retain".into());
    }
    if let Some(alias) = publish.topic_alias {
        say(format!("alias:{alias}"));
    }
    for id in &publish.subscription_ids {
        say(format!("id:{}", id.get()));
    }
    if let Some(expiry) = publish.properties.as_ref().and_then(|properties| properties.expiry) {
        say(format!("expiry:{expiry}"));
    }
    shown
}
