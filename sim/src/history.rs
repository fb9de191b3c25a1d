//! What each client asked and saw, and what happened to the world, in order and with simulated
//! time.
//!
//! Only a record: `oracle/` judges it, knowing nothing of the broker. Written by both levels
//! and by the client model; the names are MQTT's. [`History::hash`] also counts what left the
//! broker and reached nobody, so that two runs with the same hash did the same.

use std::hash::{Hash, Hasher};
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::properties::Properties;
use crate::scenario::{ClientIndex, Connect, FaultKind, MessageNumber, Qos, Subscription};
use crate::survival::Health;
use crate::transport::Certificate;

/// What happened, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    events: Vec<Event>,
    /// What was only counted, and between which events. Those are hashed when somebody asks: few do.
    counted: Digest,
    /// Whether everything takes effect the moment it arrives, and the broker is told of the end
    /// of a connection as soon as it wants it: the machine level.
    is_exact: bool,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// Simulated milliseconds since the run began.
    pub at_ms: u64,
    /// Its place in the history. The first is 0.
    pub ordinal: usize,
    /// To whom; none: to the world.
    pub client: Option<ClientIndex>,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum What {
    /// A client opened a connection. All that it asks and sees from here on is on this one; it
    /// left an earlier one to itself if that was not closed.
    Opened {
        /// Counts the connections of the run, from 0.
        connection: u64,
    },
    /// The TLS of its connection has shaken hands, on a network only.
    ShookHands {
        /// What the broker has shown.
        certificate: Certificate,
    },
    /// What a client's MQTT travels in has come to its end: the broker has said goodbye in it, on a
    /// network only.
    SaidGoodbye {
        /// With which code; none: without one.
        code: Option<u16>,
        /// One of these is due to the frame that the client sent and that none may send. Empty: it
        /// sent none.
        due: Arc<[u16]>,
    },
    /// A client handed this to the network. Nobody knows whether it arrives.
    Asked {
        /// What.
        packet: Asked,
    },
    /// A client took this from the network.
    Saw {
        /// What.
        packet: Saw,
    },
    /// A client's connection is over, and the client knows it.
    Closed {
        /// Who ended it.
        by: ClosedBy,
    },
    /// A client ended its connection, but the broker will not hear of it by that.
    HalfOpened,
    /// What a publisher knows of a message now. Comes once for each PUBLISH that was asked with
    /// DUP 0, as soon as it is known; for messages of wills never.
    Published {
        /// Which.
        message: MessageNumber,
        /// What became of it.
        outcome: Outcome,
    },
    /// The broker was given what a client asked; it ignores that if it wants the connection
    /// closed. Whoever judges may use it to know more, and must do without it.
    Arrived {
        /// The ordinal of the event of kind `Asked`; none: the end of the connection.
        asked: Option<usize>,
        /// The connection.
        connection: u64,
    },
    /// What arrived and takes several visits has had all of its effect. At the machine level only,
    /// where others came between these.
    Done {
        /// The ordinal of the event of kind `Asked`.
        asked: usize,
        /// The connection.
        connection: u64,
    },
    /// The broker gave a connection up, and what a client had asked had come to its host before
    /// and was not read. On a network only.
    Unread {
        /// The ordinal of the event of kind `Asked`.
        asked: usize,
        /// The connection.
        connection: u64,
    },
    /// A fault begins.
    Fault {
        /// Which.
        kind: FaultKind,
    },
    /// What was held in a zone passes again, or a partition has ended.
    Healed {
        /// The zone.
        zone: usize,
    },
    /// The broker is gone and with it what it knew.
    BrokerCrashed,
    /// The broker was told to stop.
    BrokerStopped,
    /// The broker runs; it knows nothing. The first start is at the beginning.
    BrokerStarted,
    /// The broker was told by its disk how that does. Only where that is certain; it is over with
    /// the broker.
    Health {
        /// What it knows from now on.
        health: Health,
    },
    /// The disk is full, and what the broker has kept free for that will be there.
    HasReserve,
    /// The safety phase is over.
    LivenessBegan,
    /// The liveness phase is over: whether all was quiet in time.
    Ended {
        /// Nothing was left to be sent or answered.
        is_quiet: bool,
    },
}

/// A packet from a client, with what matters of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Asked {
    /// CONNECT.
    Connect {
        /// As it was asked; the client id and the version are the client's.
        connect: Arc<Connect>,
    },
    /// PUBLISH.
    Publish(PublishAsked),
    /// An acknowledgement.
    Ack(Ack),
    /// SUBSCRIBE.
    Subscribe {
        /// Packet id.
        id: u16,
        /// Of all its filters.
        subscription_id: Option<u32>,
        /// In order.
        filters: Arc<[Subscription]>,
    },
    /// UNSUBSCRIBE.
    Unsubscribe {
        /// Packet id.
        id: u16,
        /// In order.
        filters: Arc<[Arc<str>]>,
    },
    /// PINGREQ.
    Ping,
    /// DISCONNECT.
    Disconnect {
        /// Reason code.
        reason: u8,
        /// Session expiry interval, in seconds.
        expiry_s: Option<u32>,
    },
    /// What is no packet, or breaks the protocol so that the broker must close.
    Garbage {
        /// With which reason code; none: which of those for bad packets is not known.
        reason: Option<u8>,
        /// What it was, as far as that is known.
        #[serde(default, skip_serializing_if = "<[u8]>::is_empty")]
        bytes: Arc<[u8]>,
    },
    /// What no client may send that speaks through WebSocket: it ends the connection below MQTT.
    BrokenFrame,
    /// What is out of place but harmless: acknowledgements for packet ids that are not in use.
    Harmless,
    /// PUBREC for a packet id that is not in use.
    Guess {
        /// Packet id.
        id: u16,
    },
}

impl Asked {
    /// Garbage of which no more is known.
    pub(crate) fn garbage(reason: Option<u8>) -> Asked {
        Asked::Garbage { reason, bytes: Arc::default() }
    }
}

/// A PUBLISH of a client's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PublishAsked {
    /// Which message.
    pub message: MessageNumber,
    /// The topic, also where only an alias was sent.
    pub topic: Arc<str>,
    /// QoS.
    pub qos: Qos,
    /// Packet id; none at QoS 0.
    pub id: Option<u16>,
    /// DUP.
    pub dup: bool,
    /// RETAIN.
    pub retain: bool,
    /// Topic alias.
    pub alias: Option<u16>,
    /// Message expiry interval, in seconds.
    pub expiry_s: Option<u32>,
    /// What it says beside; none: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Arc<Properties>>,
    /// Bytes of the payload.
    pub bytes: usize,
    /// Bytes of the whole packet.
    pub packet_bytes: usize,
}

impl PublishAsked {
    /// Whether it asks to be retained: one that is empty only clears.
    pub(crate) fn is_kept(&self) -> bool {
        self.retain && self.message != 0
    }
}

/// A packet from the broker, with what matters of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Saw {
    /// CONNACK.
    ConnAck {
        /// Return code in 3.1.1 too as a reason of 5.0.
        reason: u8,
        /// Session Present.
        session_present: bool,
        /// What the broker says beside.
        granted: Box<Granted>,
    },
    /// PUBLISH.
    Publish(PublishSaw),
    /// An acknowledgement.
    Ack(Ack),
    /// SUBACK.
    SubAck {
        /// Packet id.
        id: u16,
        /// Reason codes.
        reasons: Vec<u8>,
    },
    /// UNSUBACK.
    UnsubAck {
        /// Packet id.
        id: u16,
        /// Reason codes; none in 3.1.1.
        reasons: Vec<u8>,
    },
    /// PINGRESP.
    Pong,
    /// DISCONNECT.
    Disconnect {
        /// Reason code.
        reason: u8,
    },
    /// What came just before is larger than its client takes. Of PUBLISH, that says it itself.
    Oversized {
        /// Bytes of the whole packet.
        bytes: usize,
    },
    /// What no broker may send.
    Nonsense {
        /// In words.
        words: String,
    },
}

/// What a CONNACK says. Nothing said: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Granted {
    /// Session expiry interval, in seconds.
    pub expiry_s: Option<u32>,
    /// Keep alive, in seconds.
    pub keep_alive_s: Option<u16>,
    /// Receive Maximum.
    pub receive_maximum: Option<u16>,
    /// Maximum Packet Size, in bytes.
    pub packet_bytes_max: Option<u32>,
    /// Topic Alias Maximum.
    pub topic_alias_maximum: Option<u16>,
    /// Maximum QoS.
    pub max_qos: Option<u8>,
    /// Assigned Client Identifier.
    pub client_id: Option<Arc<str>>,
    /// Something that MQTT has is said not to be there, beside a QoS.
    pub lacks_something: bool,
}

/// A PUBLISH of the broker's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PublishSaw {
    /// Which message; none: the payload is not one that any client of the run makes.
    pub message: Option<MessageNumber>,
    /// The topic; what the alias stands for, where only that was sent. None: for nothing.
    pub topic: Option<Arc<str>>,
    /// The number that the payload says; none: it says none, or is not below `$SYS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// QoS.
    pub qos: Qos,
    /// Packet id; none at QoS 0.
    pub id: Option<u16>,
    /// DUP.
    pub dup: bool,
    /// RETAIN.
    pub retain: bool,
    /// Topic alias.
    pub alias: Option<u16>,
    /// Message expiry interval, in seconds.
    pub expiry_s: Option<u32>,
    /// In the order sent.
    pub subscription_ids: Vec<u32>,
    /// What it says beside; none: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Arc<Properties>>,
    /// Bytes of the payload.
    pub bytes: usize,
    /// Bytes of the whole packet.
    pub packet_bytes: usize,
}

/// An acknowledgement, either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ack {
    /// Which of the four.
    pub kind: AckKind,
    /// Packet id.
    pub id: u16,
    /// Reason code.
    pub reason: u8,
}

/// The four acknowledgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "they are MQTT's")]
pub enum AckKind {
    PubAck,
    PubRec,
    PubRel,
    PubComp,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClosedBy {
    /// The client itself, after DISCONNECT or without.
    Client,
    /// The broker, after saying why or without.
    Broker,
    /// The network, or the broker's crash.
    Network,
    /// Nobody let it in: the broker is down or cannot be reached.
    Unreachable,
}

/// What a publisher knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Outcome {
    /// QoS 0: sent, and nothing will ever be known.
    Sent,
    /// The broker took it: PUBACK, or PUBREC of QoS 2 (PUBCOMP may still be to come).
    Acked {
        /// Reason code.
        reason: u8,
    },
    /// The broker did not take it.
    Denied {
        /// Reason code.
        reason: u8,
    },
    /// The session went before the answer came: it may arrive or not.
    Unknown,
}

impl History {
    /// An empty one, with room for so many events.
    pub fn with_capacity(events: usize) -> History {
        History { events: Vec::with_capacity(events), ..History::default() }
    }

    /// One whose times are exact.
    #[must_use]
    pub fn exact(self) -> History {
        History { is_exact: true, ..self }
    }

    /// Whether the broker is nowhere later than what is noted.
    pub fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// All of it.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Adds an event; its ordinal.
    pub fn note(&mut self, at_ms: u64, client: Option<ClientIndex>, what: What) -> usize {
        let ordinal = self.events.len();
        self.events.push(Event { at_ms, ordinal, client, what });
        ordinal
    }

    /// Says what that garbage was, and for which reason it ends a connection: none if there are
    /// several.
    pub fn set_garbage(&mut self, asked: usize, bytes: &[u8], reason: Option<u8>) {
        let packet = Asked::Garbage { reason, bytes: bytes.into() };
        self.events[asked].what = What::Asked { packet };
    }

    /// Says that what was to be garbage is none of MQTT's.
    pub fn set_broken_frame(&mut self, asked: usize) {
        self.events[asked].what = What::Asked { packet: Asked::BrokenFrame };
    }

    /// Counts something for the hash alone: what left the broker, whoever sees it.
    pub fn count(&mut self, what: &impl Hash) {
        self.counted.write_usize(self.events.len());
        what.hash(&mut self.counted);
    }

    /// Of all events and of all that was counted, in order. The same in every process.
    pub fn hash(&self) -> u64 {
        let mut hash = self.counted;
        self.events.hash(&mut hash);
        hash.finish()
    }

    /// What happened to one client.
    pub fn of(&self, client: ClientIndex) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.client == Some(client))
    }

    /// Writes one line of JSON for each event.
    ///
    /// # Errors
    /// The writer's.
    pub fn write_json(&self, out: &mut impl io::Write) -> io::Result<()> {
        for event in &self.events {
            serde_json::to_writer(&mut *out, event)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Forgets everything but keeps the memory.
    pub fn clear(&mut self) {
        self.events.clear();
        self.counted = Digest::default();
    }
}

/// Hashes alike in every process and release: neither seeded nor proof against an adversary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u64);

/// Words that are mixed side by side, where there are many: none waits for the one before.
const LANES: usize = 8;

impl Digest {
    fn mix(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    /// Mixes as many words at a time as there are lanes; what is left.
    fn mix_many<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (words, _) = bytes.as_chunks::<8>();
        let (rounds, _) = words.as_chunks::<LANES>();
        if rounds.is_empty() {
            return bytes;
        }
        let mut lanes = [*self; LANES];
        for round in rounds {
            for (lane, word) in lanes.iter_mut().zip(round) {
                lane.mix(u64::from_le_bytes(*word));
            }
        }
        lanes.iter().for_each(|lane| self.mix(lane.0));
        &bytes[rounds.len() * LANES * 8..]
    }
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        let rest = self.mix_many(bytes);
        for chunk in rest.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word) ^ bytes.len() as u64);
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.mix(u64::from(number));
    }

    fn write_u16(&mut self, number: u16) {
        self.mix(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(reason: u8) -> History {
        let mut history = History::default();
        history.note(0, None, What::BrokerStarted);
        history.note(1, Some(0), What::Opened { connection: 0 });
        let ack = Ack { kind: AckKind::PubRec, id: 3, reason };
        history.note(5, Some(0), What::Saw { packet: Saw::Ack(ack) });
        let outcome = Outcome::Acked { reason };
        history.note(5, Some(0), What::Published { message: 9, outcome });
        history
    }

    #[test]
    fn a_history_is_lines_of_json() {
        let mut lines = Vec::new();
        history(0).write_json(&mut lines).expect("memory takes all");
        let events: Vec<Event> = serde_json::Deserializer::from_slice(&lines)
            .into_iter()
            .map(|event| event.expect("an event"))
            .collect();
        assert_eq!(events, history(0).events());
    }

    #[test]
    fn every_difference_changes_the_hash() {
        assert_eq!(history(0).hash(), history(0).hash());
        assert_ne!(history(0).hash(), history(16).hash());
        let mut counted = history(0);
        counted.count(&1u8);
        assert_ne!(counted.hash(), history(0).hash());
    }
}
