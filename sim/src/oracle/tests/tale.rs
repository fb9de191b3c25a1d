//! Histories for the oracle's tests, told event by event: who connects, subscribes, publishes,
//! and what each sees.
//!
//! Fills in what a right broker answers and what an honest client acknowledges, so that a test
//! says only what matters to it; the plain tellers (`asks`, `saw`, `happens`) say anything else.
//! Knows no rules: `mod.rs` beside it asks the oracle.

use std::sync::Arc;

use crate::history::{
    Ack, AckKind, Asked, ClosedBy, Granted, History, Outcome, PublishAsked, PublishSaw, Saw, What,
};
use crate::properties::Properties;
use crate::scenario::{Client, ClientIndex, Connect, Qos, Scenario};
use crate::scenario::{Fault, FaultKind, MessageNumber, Publish, Subscription, Will};
use crate::survival::{Durability, Store};
use crate::verdict::Violation;

pub(super) const A: ClientIndex = 0;
pub(super) const B: ClientIndex = 1;
pub(super) const C: ClientIndex = 2;

pub(super) const Q0: Qos = Qos::AtMostOnce;
pub(super) const Q1: Qos = Qos::AtLeastOnce;
pub(super) const Q2: Qos = Qos::ExactlyOnce;

/// Seconds: for ever.
pub(super) const FOR_EVER: u32 = u32::MAX;

/// A history and what it is about. Each event comes 10 ms after the one before.
pub(super) struct Tale {
    scenario: Scenario,
    history: History,
    now_ms: u64,
    has_arrivals: bool,
    connections: u64,
    /// By client: the connection that it is on.
    on: Vec<Option<u64>>,
    /// By client: the last packet id of its own, and of the broker's to it.
    ids: Vec<(u16, u16)>,
    /// What was published, with its number: what a right broker delivers.
    sent: Vec<PublishAsked>,
}

impl Tale {
    /// Clients A, B and C of 5.0, and a broker that has started. With arrivals, all that is
    /// asked arrives at once.
    pub(super) fn new(has_arrivals: bool) -> Tale {
        let scenario =
            Scenario { clients: ["a", "b", "c"].map(Client::named).into(), ..Scenario::default() };
        let mut history = History::default();
        history.note(0, None, What::BrokerStarted);
        Tale {
            scenario,
            history,
            now_ms: 0,
            has_arrivals,
            connections: 0,
            on: vec![None; 3],
            ids: vec![(0, 0); 3],
            sent: Vec::new(),
        }
    }

    /// With arrivals, the broker is nowhere later than what is noted.
    pub(super) fn exactly(mut self) -> Tale {
        if self.has_arrivals {
            self.history = self.history.exact();
        }
        self
    }

    /// Each listener has places of its own, and these clients come in by another than the rest.
    pub(super) fn with_listeners(self, others: &[ClientIndex]) -> Tale {
        self.given(|scenario| {
            scenario.seed = 1;
            for &client in others {
                scenario.clients[client].transport = crate::Transport::Ws;
            }
        })
    }

    /// A publishes, and B and C are the members of a group for what it publishes below `a`.
    pub(super) fn with_group(self) -> Tale {
        let tale = self.connects(A).connects(B).connects(C);
        tale.subscribes(B, "$share/g/a/+", Q1).subscribes(C, "$share/g/a/+", Q1)
    }

    /// Of a broker that keeps what it acknowledges, told exactly.
    pub(super) fn with_store(self) -> Tale {
        let store = Store { durability: Durability::Sync, sync_ms_max: 40 };
        self.exactly().given(|scenario| scenario.broker.store = Some(store))
    }

    /// What the oracle says, each as its promise and its rule, once.
    pub(super) fn judged(&self) -> Vec<String> {
        let wrong = super::super::check(&self.scenario, &self.history);
        // Unless a tale is told exactly, nobody cares whether PUBACK says that somebody subscribed.
        let matters =
            |each: &&Violation| self.history.is_exact() || each.rule != "says-somebody-subscribed";
        let mut all: Vec<String> =
            wrong.iter().filter(matters).map(|each| each.class().to_string()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// In full, for who has to find out why.
    pub(super) fn words(&self) -> String {
        let wrong: Vec<Violation> = super::super::check(&self.scenario, &self.history);
        let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        let events = self.history.events().iter();
        let events: Vec<String> = events.map(|event| format!("{event:?}")).collect();
        format!("{}\n{}", wrong.join("\n"), events.join("\n"))
    }

    /// Another broker, other clients.
    pub(super) fn given(mut self, change: impl FnOnce(&mut Scenario)) -> Tale {
        change(&mut self.scenario);
        self
    }

    pub(super) fn waits(mut self, ms: u64) -> Tale {
        self.now_ms += ms;
        self
    }

    /// The wall clock is set forward; below 0: back.
    pub(super) fn sets_clock(mut self, by_ms: i64) -> Tale {
        let fault = Fault { at_ms: self.now_ms, kind: FaultKind::SetClock { by_ms } };
        self.scenario.faults.push(fault);
        self
    }

    /// Anything.
    pub(super) fn happens(mut self, client: Option<ClientIndex>, what: What) -> Tale {
        self.now_ms += 10;
        self.history.note(self.now_ms, client, what);
        self
    }

    /// What only who tells arrivals tells.
    pub(super) fn happens_with_arrivals(self, what: What) -> Tale {
        if self.has_arrivals { self.happens(None, what) } else { self }
    }

    /// Events so far.
    pub(super) fn count(&self) -> usize {
        self.history.events().len()
    }

    /// Asks, and it arrives if arrivals are told.
    pub(super) fn asks(self, client: ClientIndex, packet: Asked) -> Tale {
        let asked = self.history.events().len();
        let tale = self.loses(client, packet);
        match (tale.has_arrivals, tale.on[client]) {
            (true, Some(connection)) => {
                tale.happens(None, What::Arrived { asked: Some(asked), connection })
            }
            _ => tale,
        }
    }

    /// Asks what never arrives.
    pub(super) fn loses(self, client: ClientIndex, packet: Asked) -> Tale {
        self.happens(Some(client), What::Asked { packet })
    }

    pub(super) fn saw(self, client: ClientIndex, packet: Saw) -> Tale {
        self.happens(Some(client), What::Saw { packet })
    }
}

/// Connections.
impl Tale {
    /// With a new session that lasts.
    pub(super) fn connects(self, client: ClientIndex) -> Tale {
        self.connects_with(client, |_| {})
    }

    pub(super) fn connects_with(
        self,
        client: ClientIndex,
        change: impl FnOnce(&mut Connect),
    ) -> Tale {
        self.knocks(client, change).let_in(client, false)
    }

    /// Takes up its session.
    pub(super) fn resumes(self, client: ClientIndex) -> Tale {
        self.knocks(client, |connect| connect.clean_start = false).let_in(client, true)
    }

    /// Opens a connection.
    pub(super) fn opens(mut self, client: ClientIndex) -> Tale {
        let connection = self.connections;
        self.connections += 1;
        self.on[client] = Some(connection);
        self.happens(Some(client), What::Opened { connection })
    }

    /// Opens a connection and sends CONNECT.
    pub(super) fn knocks(self, client: ClientIndex, change: impl FnOnce(&mut Connect)) -> Tale {
        let mut connect = Connect { expiry_s: Some(FOR_EVER), ..Connect::default() };
        change(&mut connect);
        if let Some(will) = &connect.will {
            return self.knocks_with_will(client, will.clone(), connect);
        }
        self.opens(client).asks(client, Asked::Connect { connect: Arc::new(connect) })
    }

    fn knocks_with_will(mut self, client: ClientIndex, will: Will, connect: Connect) -> Tale {
        let message = will.message;
        self.sent.push(PublishAsked {
            topic: message.topic,
            qos: message.qos,
            retain: message.retain,
            expiry_s: message.expiry_s,
            ..publish(message.message)
        });
        self.opens(client).asks(client, Asked::Connect { connect: Arc::new(connect) })
    }

    pub(super) fn let_in(self, client: ClientIndex, session_present: bool) -> Tale {
        let is_told = self.scenario.clients[client].version.is_v5();
        let packet_bytes_max = self.scenario.broker.packet_bytes.filter(|_| is_told);
        let granted = Box::new(Granted { packet_bytes_max, ..Granted::default() });
        self.saw(client, Saw::ConnAck { reason: 0, session_present, granted })
    }

    pub(super) fn refused(self, client: ClientIndex, reason: u8) -> Tale {
        let granted = Box::new(Granted::default());
        self.saw(client, Saw::ConnAck { reason, session_present: false, granted })
    }

    /// The connection ends without a word, and both sides hear of it.
    pub(super) fn loses_connection(self, client: ClientIndex) -> Tale {
        self.closed(client, ClosedBy::Network)
    }

    pub(super) fn closed(mut self, client: ClientIndex, by: ClosedBy) -> Tale {
        let connection = self.on[client].take();
        let tale = self.happens(Some(client), What::Closed { by });
        match connection.filter(|_| tale.has_arrivals) {
            Some(connection) => tale.happens(None, What::Arrived { asked: None, connection }),
            None => tale,
        }
    }

    /// The broker ends it, and its client hears nothing of that.
    pub(super) fn given_up(self, client: ClientIndex) -> Tale {
        match self.on[client].filter(|_| self.has_arrivals) {
            Some(connection) => self.happens(None, What::Arrived { asked: None, connection }),
            None => self,
        }
    }

    pub(super) fn disconnects(self, client: ClientIndex) -> Tale {
        self.asks(client, Asked::Disconnect { reason: 0, expiry_s: None })
            .closed(client, ClosedBy::Client)
    }

    /// The faults are over: everybody given comes back to its session.
    pub(super) fn calms_down(self, clients: &[ClientIndex]) -> Tale {
        let tale = clients.iter().fold(self, |tale, &client| match tale.on[client] {
            Some(_) => tale.loses_connection(client),
            None => tale,
        });
        let tale = tale.happens(None, What::LivenessBegan);
        clients.iter().fold(tale, |tale, &client| tale.resumes(client))
    }

    /// All is quiet.
    pub(super) fn ends(self) -> Tale {
        self.waits(5_000).happens(None, What::Ended { is_quiet: true })
    }
}

/// Requests.
impl Tale {
    pub(super) fn own_id(&mut self, client: ClientIndex) -> u16 {
        self.ids[client].0 += 1;
        self.ids[client].0
    }

    pub(super) fn subscribes(self, client: ClientIndex, filter: &str, qos: Qos) -> Tale {
        self.subscribes_with(client, filter, qos, None, |_| {})
    }

    pub(super) fn subscribes_with(
        self,
        client: ClientIndex,
        filter: &str,
        qos: Qos,
        subscription_id: Option<u32>,
        change: impl FnOnce(&mut Subscription),
    ) -> Tale {
        let tale = self.wants(client, filter, qos, subscription_id, change);
        let id = tale.ids[client].0;
        tale.saw(client, Saw::SubAck { id, reasons: vec![qos.number()] })
    }

    /// SUBSCRIBE without an answer.
    pub(super) fn wants(
        mut self,
        client: ClientIndex,
        filter: &str,
        qos: Qos,
        subscription_id: Option<u32>,
        change: impl FnOnce(&mut Subscription),
    ) -> Tale {
        let mut subscription = Subscription {
            filter: Arc::from(filter),
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: 0,
        };
        change(&mut subscription);
        let id = self.own_id(client);
        let filters = Arc::from([subscription]);
        self.asks(client, Asked::Subscribe { id, subscription_id, filters })
    }

    pub(super) fn unsubscribes(mut self, client: ClientIndex, filter: &str) -> Tale {
        let id = self.own_id(client);
        let filters: Arc<[Arc<str>]> = Arc::from([Arc::from(filter)]);
        self.asks(client, Asked::Unsubscribe { id, filters })
            .saw(client, Saw::UnsubAck { id, reasons: vec![0] })
    }

    pub(super) fn publishes(
        self,
        client: ClientIndex,
        message: MessageNumber,
        topic: &str,
        qos: Qos,
    ) -> Tale {
        self.publishes_with(client, message, topic, qos, |_| {})
    }

    /// PUBLISH, and all that follows.
    pub(super) fn publishes_with(
        self,
        client: ClientIndex,
        message: MessageNumber,
        topic: &str,
        qos: Qos,
        change: impl FnOnce(&mut PublishAsked),
    ) -> Tale {
        let tale = self.sends(client, message, topic, qos, change);
        let id = tale.ids[client].0;
        let published = |outcome| What::Published { message, outcome };
        let acked = published(Outcome::Acked { reason: 0 });
        match qos {
            Qos::AtMostOnce => tale.happens(Some(client), published(Outcome::Sent)),
            Qos::AtLeastOnce => {
                tale.saw(client, ack(AckKind::PubAck, id)).happens(Some(client), acked)
            }
            Qos::ExactlyOnce => tale
                .saw(client, ack(AckKind::PubRec, id))
                .happens(Some(client), acked)
                .answers(client, AckKind::PubRel, id)
                .saw(client, ack(AckKind::PubComp, id)),
        }
    }

    /// PUBLISH without an answer.
    pub(super) fn sends(
        mut self,
        client: ClientIndex,
        message: MessageNumber,
        topic: &str,
        qos: Qos,
        change: impl FnOnce(&mut PublishAsked),
    ) -> Tale {
        let id = (qos > Qos::AtMostOnce).then(|| self.own_id(client));
        let mut asked = PublishAsked { topic: Arc::from(topic), qos, id, ..publish(message) };
        change(&mut asked);
        self.sent.push(asked.clone());
        self.asks(client, Asked::Publish(asked))
    }

    /// An acknowledgement of the client's.
    pub(super) fn answers(self, client: ClientIndex, kind: AckKind, id: u16) -> Tale {
        self.asks(client, Asked::Ack(Ack { kind, id, reason: 0 }))
    }
}

/// Deliveries.
impl Tale {
    /// A message comes to a client, which acknowledges it.
    pub(super) fn gets(self, client: ClientIndex, message: MessageNumber, qos: Qos) -> Tale {
        self.gets_with(client, message, qos, |_| {})
    }

    pub(super) fn gets_with(
        self,
        client: ClientIndex,
        message: MessageNumber,
        qos: Qos,
        change: impl FnOnce(&mut PublishSaw),
    ) -> Tale {
        let tale = self.sees(client, message, qos, change);
        let id = tale.ids[client].1;
        match qos {
            Qos::AtMostOnce => tale,
            Qos::AtLeastOnce => tale.answers(client, AckKind::PubAck, id),
            Qos::ExactlyOnce => tale
                .answers(client, AckKind::PubRec, id)
                .saw(client, ack(AckKind::PubRel, id))
                .answers(client, AckKind::PubComp, id),
        }
    }

    /// A message comes to a client, which says nothing.
    pub(super) fn sees(
        mut self,
        client: ClientIndex,
        message: MessageNumber,
        qos: Qos,
        change: impl FnOnce(&mut PublishSaw),
    ) -> Tale {
        let sent = self.sent.iter().find(|sent| sent.message == message).cloned();
        let sent = sent.unwrap_or_else(|| publish(message));
        if qos > Qos::AtMostOnce {
            self.ids[client].1 += 1;
        }
        let mut saw = PublishSaw {
            message: Some(message),
            topic: Some(sent.topic),
            count: None,
            qos,
            id: (qos > Qos::AtMostOnce).then_some(self.ids[client].1),
            dup: false,
            retain: false,
            alias: None,
            expiry_s: sent.expiry_s,
            properties: sent.properties,
            subscription_ids: Vec::new(),
            bytes: sent.bytes,
            packet_bytes: sent.packet_bytes,
        };
        change(&mut saw);
        self.saw(client, Saw::Publish(saw))
    }
}

pub(super) fn ack(kind: AckKind, id: u16) -> Saw {
    Saw::Ack(Ack { kind, id, reason: 0 })
}

pub(super) fn publish(message: MessageNumber) -> PublishAsked {
    PublishAsked {
        message,
        topic: Arc::from("a/b"),
        qos: Qos::AtMostOnce,
        id: None,
        dup: false,
        retain: false,
        alias: None,
        expiry_s: None,
        properties: None,
        bytes: 10,
        packet_bytes: 20,
    }
}

/// A will of QoS 1 on 'will'.
pub(super) fn will(message: MessageNumber, delay_s: u32) -> Will {
    let message = Publish {
        message,
        topic: Arc::from("will"),
        qos: Qos::AtLeastOnce,
        bytes: 10,
        ..Publish::default()
    };
    Will { message, delay_s }
}

/// A user property of a thousand bytes.
pub(super) fn wordy() -> Arc<Properties> {
    let user = vec![(Arc::from("a"), Arc::from("x".repeat(1_000)))];
    Arc::new(Properties { user, ..Properties::default() })
}
