//! A client alone: packets go in by hand, what it asks is read from the history.

use std::sync::Arc;

use stormpetrel::mqtt::topic::TopicName;
use stormpetrel::mqtt::types::Text;
use stormpetrel::mqtt::wire::{
    Answers, ConnAck, ConnAckProperties, Delivery, Details, Publish as Message,
};

use super::*;
use crate::history::Saw;
use crate::properties::Properties;
use crate::scenario::{AckPolicy, Op, Publish, Qos, Scenario};

/// A client and what surrounds it.
struct Bench {
    client: Client,
    now: u64,
    history: History,
    marks: Marks,
    topics: Topics,
    next_connection: u64,
    effects: Vec<Effect>,
}

impl Bench {
    fn new(version: ProtocolVersion, manners: Manners) -> Bench {
        let client = scenario::Client { version, manners, ..scenario::Client::named("c") };
        let op = |action| Op { at_ms: 0, client: 0, action };
        let scenario =
            Scenario { ops: vec![op(publish(1, Qos::AtMostOnce))], ..Scenario::default() };
        Bench {
            client: Client::new(0, &client),
            now: 0,
            history: History::default(),
            marks: Marks::default(),
            topics: Topics::of(&scenario),
            next_connection: 0,
            effects: Vec::new(),
        }
    }

    fn with(&mut self, act: impl FnOnce(&mut Client, &mut World<'_>)) -> String {
        let before = self.history.events().len();
        let mut world = World {
            now: self.now,
            history: &mut self.history,
            marks: &mut self.marks,
            topics: &self.topics,
            next_connection: &mut self.next_connection,
            effects: &mut self.effects,
        };
        act(&mut self.client, &mut world);
        let new = self.history.events()[before..].iter();
        new.filter_map(|event| show(&event.what)).collect::<Vec<_>>().join("; ")
    }

    fn act(&mut self, action: Action) -> String {
        self.with(|client, world| client.act(&action, world))
    }

    fn take(&mut self, packet: Packet) -> String {
        self.with(|client, world| client.take(&packet, world))
    }

    /// Connects, and is let in.
    fn join(&mut self, connect: Connect, session_present: bool, quota: u16) -> String {
        self.act(Action::Connect(connect));
        let properties = ConnAckProperties {
            receive_maximum: std::num::NonZeroU16::new(quota),
            ..ConnAckProperties::default()
        };
        let reason = Reason::Success;
        self.take(Packet::ConnAck(Box::new(ConnAck { session_present, reason, properties })))
    }

    fn ack(&mut self, kind: AckKind, id: u16) -> String {
        let id = PacketId::new(id).expect("not 0");
        self.take(packets::ack(kind, id, Reason::Success))
    }
}

/// What a client asks and learns, in short; what it sees is known.
fn show(what: &What) -> Option<String> {
    Some(match what {
        What::Asked { packet: Asked::Publish(publish) } => {
            let dup = if publish.dup { " dup" } else { "" };
            format!("{}#{}{dup}", publish.message, publish.id.unwrap_or(0))
        }
        What::Asked { packet: Asked::Ack(ack) } => format!("{:?} {}", ack.kind, ack.id),
        What::Published { message, outcome } => format!("{message} {outcome:?}"),
        What::Asked { packet } => format!("{packet:?}"),
        What::Closed { by } => format!("closed by {by:?}"),
        What::Saw { packet: Saw::Nonsense { words } } => words.clone(),
        What::Saw { packet: Saw::Oversized { bytes } } => format!("{bytes} bytes"),
        _ => return None,
    })
}

fn publish(message: u64, qos: Qos) -> Action {
    Action::Publish(Publish { message, topic: Arc::from("a"), qos, ..Publish::default() })
}

fn keeping() -> Connect {
    Connect { clean_start: false, expiry_s: Some(60), ..Connect::default() }
}

fn message(id: u16) -> Packet {
    let id = PacketId::new(id).expect("not 0");
    Packet::Publish(Message {
        delivery: Delivery::ExactlyOnce { id, dup: false },
        retain: false,
        topic: TopicName::try_from("a").ok(),
        topic_alias: None,
        subscription_ids: Vec::new(),
        properties: None,
        payload: packets::payload(&Publish { message: 9, ..Publish::default() }),
    })
}

#[test]
fn a_resumed_session_sends_again_what_was_not_finished_in_order() {
    let mut bench = Bench::new(ProtocolVersion::V5, Manners::default());
    bench.join(keeping(), false, 10);
    assert_eq!(bench.act(publish(1, Qos::ExactlyOnce)), "1#1");
    assert_eq!(bench.act(publish(2, Qos::AtLeastOnce)), "2#2");
    assert_eq!(bench.ack(AckKind::PubRec, 1), "1 Acked { reason: 0 }; PubRel 1");
    assert_eq!(bench.act(Action::Cut), "closed by Client");
    assert_eq!(bench.join(keeping(), true, 10), "PubRel 1; 2#2 dup");
    assert_eq!(bench.ack(AckKind::PubComp, 1), "");
    assert_eq!(bench.ack(AckKind::PubAck, 2), "2 Acked { reason: 0 }");
    assert!(bench.client.is_finished());
}

#[test]
fn a_session_that_is_gone_leaves_outcomes_unknown() {
    let mut bench = Bench::new(ProtocolVersion::V5, Manners::default());
    bench.join(keeping(), false, 10);
    bench.act(publish(1, Qos::AtLeastOnce));
    bench.act(Action::Cut);
    assert_eq!(bench.join(keeping(), false, 10), "1 Unknown");
    bench.act(publish(2, Qos::AtLeastOnce));
    let clean = Connect { clean_start: true, ..keeping() };
    assert!(bench.act(Action::Connect(clean)).contains("2 Unknown"));
    assert!(bench.client.is_finished());
}

#[test]
fn an_honest_client_waits_for_the_receive_maximum_and_another_does_not() {
    for (keeps_quota, second) in [(true, ""), (false, "2#2")] {
        let manners = Manners { keeps_quota, ..Manners::default() };
        let mut bench = Bench::new(ProtocolVersion::V5, manners);
        bench.join(keeping(), false, 1);
        assert_eq!(bench.act(publish(1, Qos::AtLeastOnce)), "1#1");
        assert_eq!(bench.act(publish(2, Qos::AtLeastOnce)), second);
    }
}

#[test]
fn answers_are_as_the_manners_say() {
    for (acks, publish, release) in [
        (AckPolicy::Prompt, "PubRec 7", "PubComp 7"),
        (AckPolicy::Never, "", ""),
        (AckPolicy::NeverComplete, "PubRec 7", ""),
    ] {
        let manners = Manners { acks, ..Manners::default() };
        let mut bench = Bench::new(ProtocolVersion::V311, manners);
        bench.join(keeping(), false, 10);
        assert_eq!(bench.take(message(7)), publish, "{acks:?}");
        assert_eq!(bench.ack(AckKind::PubRel, 7), release, "{acks:?}");
    }
}

#[test]
fn a_late_answer_comes_when_it_is_due() {
    let manners = Manners { ack_delay_ms: 100, ..Manners::default() };
    let mut bench = Bench::new(ProtocolVersion::V5, manners);
    bench.join(keeping(), false, 10);
    assert_eq!(bench.take(message(7)), "");
    assert_eq!(bench.client.next_due(), Some(100));
    bench.now = 100;
    assert_eq!(bench.with(Client::handle_deadline), "PubRec 7");
    assert_eq!(bench.client.next_due(), None);
}

#[test]
fn a_client_pings_and_gives_up_a_broker_that_says_nothing() {
    let mut bench = Bench::new(ProtocolVersion::V5, Manners::default());
    bench.join(Connect { keep_alive_s: 2, ..keeping() }, false, 10);
    assert_eq!(bench.client.next_due(), Some(1_000));
    bench.now = 1_000;
    assert_eq!(bench.with(Client::handle_deadline), "Ping");
    assert_eq!(bench.client.next_due(), Some(3_000));
    bench.now = 3_000;
    assert_eq!(bench.with(Client::handle_deadline), "closed by Client");
}

#[test]
fn what_makes_no_sense_now_is_not_done() {
    let mut bench = Bench::new(ProtocolVersion::V5, Manners::default());
    for action in [publish(1, Qos::AtLeastOnce), Action::Ping, Action::Cut, Action::HalfOpen] {
        assert_eq!(bench.act(action), "");
    }
    assert!(bench.effects.is_empty());
}

#[test]
fn a_payload_says_its_number_and_nothing_else_does() {
    for (message, bytes) in [(1, 0), (42, 2), (42, 9), (u64::MAX, 30), (0, 50)] {
        for is_text in [None, Some(true), Some(false)] {
            let properties = Some(Arc::new(Properties { is_text, ..Properties::default() }));
            let publish = Publish { message, bytes, properties, ..Publish::default() };
            let payload = packets::payload(&publish);
            assert_eq!(packets::message_of(&payload), Some(message));
            assert!(std::str::from_utf8(&payload).is_ok());
            let least = if message == 0 { 0 } else { bytes.max(message.to_string().len()) };
            assert_eq!(payload.len(), least);
        }
    }
    for garbled in [&b"x"[..], b"12x", b"..", b"0", b"1.2"] {
        assert_eq!(packets::message_of(garbled), None);
    }
}

/// What it said of itself in CONNECT holds for what it is sent.
#[test]
fn what_it_does_not_want_is_noticed() {
    let sent = |connect: Connect, reasons: usize, has_words: bool| {
        let mut bench = Bench::new(ProtocolVersion::V5, Manners::default());
        bench.join(connect, false, 10);
        let id = PacketId::FIRST;
        let reasons = vec![Reason::UnspecifiedError; reasons];
        let words = has_words.then(|| Text::try_from("no").expect("text"));
        let details = Details { reason_string: words, ..Details::default() };
        bench.take(Packet::SubAck(Box::new(Answers { id, reasons, details })))
    };
    let small = || Connect { packet_bytes_max: Some(8), ..Connect::default() };
    assert_eq!(sent(small(), 3, false), "");
    assert_eq!(sent(small(), 4, false), "9 bytes");
    let quiet = || Connect { declines_reasons: true, ..Connect::default() };
    assert_eq!(sent(quiet(), 1, false), "");
    assert!(sent(quiet(), 1, true).ends_with("[MQTT-3.1.2-29]"));
}
