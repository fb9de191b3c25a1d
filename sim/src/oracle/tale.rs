//! Histories by hand, for the checkers' tests: who does what, in order, each step ten
//! milliseconds after the one before.

use std::sync::Arc;

use super::check;
use crate::history::{
    Ack, AckKind, Asked, ClosedBy, Granted, History, Outcome, PublishAsked, PublishSaw, Saw, What,
};
use crate::scenario::{
    Broker, Client, ClientIndex, Connect, Manners, ProtocolVersion, Publish, Qos, Scenario,
    Subscription, Will,
};
use crate::verdict::Violation;

/// A history that is being told.
#[derive(Debug)]
pub(super) struct Tale {
    pub(super) scenario: Scenario,
    pub(super) history: History,
    now: u64,
    connections: u64,
}

/// A message, as asked and as seen.
pub(super) fn message(number: u64, topic: &str, qos: Qos) -> Publish {
    Publish {
        message: number,
        topic: Arc::from(topic),
        qos,
        retain: false,
        expiry_s: None,
        bytes: 1,
    }
}

/// A subscription with no options.
pub(super) fn filter(filter: &str, qos: Qos) -> Subscription {
    Subscription {
        filter: Arc::from(filter),
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
    }
}

/// A connection that keeps its session for ever.
pub(super) fn lasting() -> Connect {
    Connect { clean_start: false, expiry_s: Some(u32::MAX), ..Connect::default() }
}

/// What a client sees of a message by a subscription that grants its QoS.
pub(super) fn copy(publish: &Publish, id: Option<u16>) -> PublishSaw {
    PublishSaw {
        message: Some(publish.message),
        topic: Some(Arc::clone(&publish.topic)),
        qos: publish.qos,
        id,
        dup: false,
        retain: false,
        alias: None,
        expiry_s: None,
        subscription_ids: Vec::new(),
        bytes: publish.bytes,
        packet_bytes: 20,
    }
}

/// A will.
pub(super) fn will(message: Publish, delay_s: u32) -> Connect {
    Connect { will: Some(Will { message, delay_s }), ..Connect::default() }
}

impl Tale {
    /// That many clients of 5.0, `c0` and on, and a broker that has started.
    pub(super) fn of(clients: usize) -> Tale {
        let client = |index: ClientIndex| Client {
            client_id: Arc::from(format!("c{index}")),
            version: ProtocolVersion::V5,
            zone: 0,
            manners: Manners::default(),
        };
        let scenario =
            Scenario { clients: (0..clients).map(client).collect(), ..Scenario::default() };
        let mut tale = Tale { scenario, history: History::default(), now: 0, connections: 0 };
        tale.world(What::BrokerStarted);
        tale
    }

    pub(super) fn with(mut self, broker: Broker) -> Tale {
        self.scenario.broker = broker;
        self
    }

    pub(super) fn wait(&mut self, ms: u64) {
        self.now += ms;
    }

    pub(super) fn world(&mut self, what: What) -> usize {
        self.now += 10;
        self.history.note(self.now, None, what)
    }

    pub(super) fn note(&mut self, client: ClientIndex, what: What) -> usize {
        self.now += 10;
        self.history.note(self.now, Some(client), what)
    }

    pub(super) fn ask(&mut self, client: ClientIndex, packet: Asked) -> usize {
        self.note(client, What::Asked { packet })
    }

    pub(super) fn see(&mut self, client: ClientIndex, packet: Saw) -> usize {
        self.note(client, What::Saw { packet })
    }

    /// Opens a connection and sends CONNECT; its number.
    pub(super) fn knock(&mut self, client: ClientIndex, connect: Connect) -> u64 {
        let connection = self.connections;
        self.connections += 1;
        self.note(client, What::Opened { connection });
        self.ask(client, Asked::Connect { connect: Arc::new(connect) });
        connection
    }

    pub(super) fn connack(&mut self, client: ClientIndex, session_present: bool) -> usize {
        let granted = Box::new(Granted::default());
        self.see(client, Saw::ConnAck { reason: 0, session_present, granted })
    }

    /// Is let in.
    pub(super) fn connect(
        &mut self,
        client: ClientIndex,
        connect: Connect,
        session_present: bool,
    ) -> u64 {
        let connection = self.knock(client, connect);
        self.connack(client, session_present);
        connection
    }

    pub(super) fn subscribe(&mut self, client: ClientIndex, subscription: Subscription) -> usize {
        self.subscribe_as(client, subscription, None)
    }

    pub(super) fn subscribe_as(
        &mut self,
        client: ClientIndex,
        subscription: Subscription,
        subscription_id: Option<u32>,
    ) -> usize {
        let granted = subscription.qos.number();
        let filters = Arc::from([subscription]);
        self.ask(client, Asked::Subscribe { id: 900, subscription_id, filters });
        self.see(client, Saw::SubAck { id: 900, reasons: vec![granted] })
    }

    pub(super) fn unsubscribe(&mut self, client: ClientIndex, filter: &str) -> usize {
        self.ask(client, Asked::Unsubscribe { id: 901, filters: Arc::from([Arc::from(filter)]) });
        self.see(client, Saw::UnsubAck { id: 901, reasons: vec![0] })
    }

    /// PUBLISH, without an answer. Its packet id is its number.
    pub(super) fn send(&mut self, client: ClientIndex, publish: &Publish) -> usize {
        self.send_again(client, publish, false)
    }

    pub(super) fn send_again(
        &mut self,
        client: ClientIndex,
        publish: &Publish,
        dup: bool,
    ) -> usize {
        let packet = Asked::Publish(PublishAsked {
            message: publish.message,
            topic: Arc::clone(&publish.topic),
            qos: publish.qos,
            id: id_of(publish),
            dup,
            retain: publish.retain,
            alias: None,
            expiry_s: publish.expiry_s,
            bytes: publish.bytes,
            packet_bytes: 20,
        });
        self.ask(client, packet)
    }

    /// The broker's answer to PUBLISH, and all that follows at QoS 2.
    pub(super) fn answer(&mut self, client: ClientIndex, publish: &Publish, reason: u8) {
        let Some(id) = id_of(publish) else {
            self.note(client, What::Published { message: publish.message, outcome: Outcome::Sent });
            return;
        };
        let is_exact = publish.qos == Qos::ExactlyOnce;
        let kind = if is_exact { AckKind::PubRec } else { AckKind::PubAck };
        self.see(client, Saw::Ack(Ack { kind, id, reason }));
        let outcome = match reason {
            0x80.. => Outcome::Denied { reason },
            _ => Outcome::Acked { reason },
        };
        self.note(client, What::Published { message: publish.message, outcome });
        if is_exact && reason < 0x80 {
            self.ask_ack(client, AckKind::PubRel, id);
            self.see_ack(client, AckKind::PubComp, id);
        }
    }

    /// PUBLISH and its answer.
    pub(super) fn publish(&mut self, client: ClientIndex, publish: &Publish) -> usize {
        let asked = self.send(client, publish);
        self.answer(client, publish, 0);
        asked
    }

    /// Is sent a message, and acknowledges it.
    pub(super) fn get(&mut self, client: ClientIndex, saw: PublishSaw) -> usize {
        let (qos, id) = (saw.qos, saw.id.unwrap_or(0));
        let at = self.see(client, Saw::Publish(saw));
        match qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => {
                self.ask_ack(client, AckKind::PubAck, id);
            }
            Qos::ExactlyOnce => {
                self.ask_ack(client, AckKind::PubRec, id);
                self.see_ack(client, AckKind::PubRel, id);
                self.ask_ack(client, AckKind::PubComp, id);
            }
        }
        at
    }

    pub(super) fn ask_ack(&mut self, client: ClientIndex, kind: AckKind, id: u16) -> usize {
        self.ask(client, Asked::Ack(Ack { kind, id, reason: 0 }))
    }

    pub(super) fn see_ack(&mut self, client: ClientIndex, kind: AckKind, id: u16) -> usize {
        self.see(client, Saw::Ack(Ack { kind, id, reason: 0 }))
    }

    pub(super) fn close(&mut self, client: ClientIndex, by: ClosedBy) -> usize {
        self.note(client, What::Closed { by })
    }

    /// The end, with all quiet.
    pub(super) fn end(&mut self) -> usize {
        self.world(What::LivenessBegan);
        self.now += 5_000;
        self.world(What::Ended { is_quiet: true })
    }

    pub(super) fn verdict(&self) -> Vec<Violation> {
        check(&self.scenario, &self.history)
    }

    /// Asserts that nothing is wrong.
    pub(super) fn is_right(&self) {
        let wrong = self.verdict();
        assert!(wrong.is_empty(), "{}\n{}", lines(&wrong), self.story());
    }

    /// Asserts that exactly these rules are broken, and that these events show the first.
    pub(super) fn breaks(&self, rules: &[&str], events: &[usize]) {
        let wrong = self.verdict();
        let broken: Vec<&str> = wrong.iter().map(|each| &*each.rule).collect();
        assert_eq!(broken, rules, "{}\n{}", lines(&wrong), self.story());
        for event in events {
            assert!(wrong[0].events.contains(event), "{} {events:?}", lines(&wrong));
        }
    }

    fn story(&self) -> String {
        let mut text = Vec::new();
        self.history.write_json(&mut text).expect("memory takes all");
        String::from_utf8(text).expect("JSON is text")
    }
}

fn id_of(publish: &Publish) -> Option<u16> {
    let id = u16::try_from(publish.message).unwrap_or(u16::MAX);
    (publish.qos > Qos::AtMostOnce).then_some(id)
}

fn lines(wrong: &[Violation]) -> String {
    wrong.iter().map(|each| format!("{each}\n")).collect()
}
