//! A client that follows a script: honest, patient, and with a session of its own making.
//!
//! Uses the codec only. It takes one step after another and receives all the while; when its
//! connection is lost it comes back, takes its session up again if the broker kept it, and goes
//! on with the step. [`Client::follow`] is its life.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use stormpetrel::mqtt::topic::{Filter, TopicName};
use stormpetrel::mqtt::types::{PacketId, QoS, Reason, Text, Version};
use stormpetrel::mqtt::wire::{
    Ack, Connect, ConnectProperties, Delivery, Disconnect, Packet, Publish, Subscribe,
    SubscriptionOptions, SubscriptionRequest,
};

use crate::network::{SimNetwork, elapsed};
use crate::script::connection::Connection;
use crate::script::history::{Loss, Outcome, Recorder, What};
use crate::script::line;
use crate::script::scenario::{Script, Step};
use crate::script::stages::Stages;

/// The broker's name on the network.
pub(crate) const BROKER: &str = "broker";
/// Where it listens.
const PORT: u16 = 1883;
/// Time to be let in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two attempts to connect.
const BACK_OFF: Duration = Duration::from_millis(200);

/// One client.
pub(crate) struct Client {
    name: Rc<str>,
    script: Script,
    network: SimNetwork,
    recorder: Recorder,
    stages: Rc<Stages>,
    /// None before the first, after the last and between two.
    connection: Option<Connection>,
    /// Whether it was let in before.
    is_known: bool,
    /// The last packet id used.
    id: PacketId,
    subscriptions: BTreeMap<String, QoS>,
    /// The message being published, until it is known what became of it.
    inflight: Option<Inflight>,
    /// What messages said that came.
    payloads: Vec<Bytes>,
    /// QoS 2 messages that came and may come again: PUBREL has not come.
    taken: BTreeSet<PacketId>,
}

/// A message that is being published.
struct Inflight {
    publish: Publish,
    /// PUBREC has come: from now on PUBREL is sent.
    is_received: bool,
}

impl Client {
    pub(crate) fn new(
        script: Script,
        network: SimNetwork,
        recorder: Recorder,
        stages: Rc<Stages>,
    ) -> Client {
        Client {
            name: Rc::from(script.client_id.as_str()),
            script,
            network,
            recorder,
            stages,
            connection: None,
            is_known: false,
            id: PacketId::FIRST.back_by(1),
            subscriptions: BTreeMap::new(),
            inflight: None,
            payloads: Vec::new(),
            taken: BTreeSet::new(),
        }
    }

    /// Follows the script to its end.
    pub(crate) async fn follow(mut self) {
        for step in std::mem::take(&mut self.script.steps) {
            while let Err(loss) = self.take_step(&step).await {
                self.lose(loss);
                if step == Step::StayUntilClosed {
                    break;
                }
                self.come_back().await;
                if self.is_done_by_coming_back(&step) {
                    break;
                }
            }
        }
        self.note(What::Finished);
    }

    async fn take_step(&mut self, step: &Step) -> Result<(), Loss> {
        match step {
            Step::Connect => self.connect().await,
            Step::Subscribe { filter, qos } => self.subscribe(filter, *qos).await,
            Step::Publish { topic, payload, qos, retain } => {
                self.publish(topic, payload, *qos, *retain).await
            }
            Step::Await(payload) => self.receive_until(payload).await,
            Step::Meet(stage) => {
                let (stages, name) = (self.stages.clone(), self.name.clone());
                self.receive_while(stages.meet(*stage, &name)).await
            }
            Step::Until(millis) => {
                let rest = Duration::from_millis(*millis).saturating_sub(elapsed());
                self.receive_while(tokio::time::sleep(rest)).await
            }
            Step::Disconnect => self.disconnect().await,
            Step::StayUntilClosed => self.receive_while(std::future::pending()).await,
        }
    }

    /// A message that is not in flight any more has met its end, whichever: it is not published
    /// again.
    fn is_done_by_coming_back(&self, step: &Step) -> bool {
        match step {
            Step::Connect => true,
            Step::Publish { .. } => self.inflight.is_none(),
            _ => false,
        }
    }

    async fn come_back(&mut self) {
        loop {
            tokio::time::sleep(BACK_OFF).await;
            match self.connect().await {
                Ok(()) => return,
                Err(loss) => self.lose(loss),
            }
        }
    }

    fn lose(&mut self, loss: Loss) {
        self.connection = None;
        self.note(What::Lost(loss));
    }

    async fn connect(&mut self) -> Result<(), Loss> {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.try_connect()).await;
        connected.unwrap_or(Err(Loss::TimedOut))
    }

    async fn try_connect(&mut self) -> Result<(), Loss> {
        let stream = self.network.connect(BROKER, PORT).await;
        let stream = stream.map_err(|error| Loss::Failed(error.kind()))?;
        self.connection = Some(Connection::new(stream, self.script.version));
        self.send(Packet::Connect(Box::new(self.connect_packet()))).await?;
        match self.receive().await? {
            Packet::ConnAck(answer) if answer.reason == Reason::Success => {
                self.is_known = true;
                self.resume(answer.session_present).await
            }
            Packet::ConnAck(answer) => Err(Loss::Refused(answer.reason)),
            _ => Err(Loss::Garbled),
        }
    }

    fn connect_packet(&self) -> Connect {
        let is_v5 = self.script.version == Version::V5;
        Connect {
            version: self.script.version,
            client_id: text(&self.script.client_id),
            clean_start: self.script.clean_start && !self.is_known,
            keep_alive: 0,
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties {
                session_expiry: is_v5.then_some(self.script.session_expiry),
                ..ConnectProperties::default()
            },
        }
    }

    /// Takes the session up again; if the broker has none, makes it anew.
    async fn resume(&mut self, is_present: bool) -> Result<(), Loss> {
        if is_present {
            let again = self.inflight.as_ref().map(Inflight::again);
            return match again {
                Some(packet) => self.send(packet).await,
                None => Ok(()),
            };
        }
        self.taken.clear();
        self.publication_ended(Outcome::Unknown);
        for (filter, qos) in self.subscriptions.clone() {
            self.subscribe(&filter, qos).await?;
        }
        Ok(())
    }

    async fn subscribe(&mut self, filter: &str, qos: QoS) -> Result<(), Loss> {
        let id = self.next_id();
        let request = SubscriptionRequest {
            filter: Filter::new(text(filter)).map_err(|_| text(filter)),
            options: SubscriptionOptions { qos, ..SubscriptionOptions::default() },
        };
        let subscribe = Subscribe {
            id,
            subscription_id: None,
            user_properties: Vec::new(),
            requests: vec![request],
        };
        self.send(Packet::Subscribe(Box::new(subscribe))).await?;
        loop {
            if let Packet::SubAck(answers) = self.receive().await?
                && answers.id == id
            {
                if answers.reasons.iter().all(|reason| !reason.is_error()) {
                    self.subscriptions.insert(filter.to_owned(), qos);
                }
                return Ok(());
            }
        }
    }

    /// Publishes, or goes on where an earlier connection ended.
    async fn publish(
        &mut self,
        topic: &str,
        payload: &str,
        qos: QoS,
        retain: bool,
    ) -> Result<(), Loss> {
        if self.inflight.is_none() {
            let (id, dup) = (self.next_id(), false);
            let publish = Publish {
                delivery: match qos {
                    QoS::AtMostOnce => Delivery::AtMostOnce,
                    QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
                    QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
                },
                retain,
                topic: Some(TopicName::try_from(topic).expect("scripts publish to topics")),
                topic_alias: None,
                subscription_ids: Vec::new(),
                properties: None,
                payload: Bytes::copy_from_slice(payload.as_bytes()),
            };
            self.inflight = Some(Inflight { publish: publish.clone(), is_received: false });
            let sent = self.send(Packet::Publish(publish)).await;
            if qos == QoS::AtMostOnce {
                self.publication_ended(sent.map_or(Outcome::Unknown, |()| Outcome::Sent));
            }
            sent?;
        }
        while self.inflight.is_some() {
            self.receive().await?;
        }
        Ok(())
    }

    fn publication_ended(&mut self, outcome: Outcome) {
        if let Some(inflight) = self.inflight.take() {
            let payload = line::text(&inflight.publish.payload);
            self.note(What::Published(payload, outcome));
        }
    }

    async fn disconnect(&mut self) -> Result<(), Loss> {
        self.send(Packet::Disconnect(Box::new(Disconnect::new(Reason::Success)))).await?;
        let Some(mut connection) = self.connection.take() else { return Ok(()) };
        // From now on a client sends nothing, whatever comes. [MQTT-3.14.4-1]
        while let Ok(packet) = connection.next().await {
            self.note(What::Received(packet));
        }
        self.note(What::Left);
        Ok(())
    }

    async fn receive_until(&mut self, payload: &str) -> Result<(), Loss> {
        while !self.payloads.iter().any(|known| known == payload) {
            self.receive().await?;
        }
        Ok(())
    }

    async fn receive_while(&mut self, event: impl Future<Output = ()>) -> Result<(), Loss> {
        let mut event = pin!(event);
        loop {
            let connection = self.connection.as_mut().ok_or(Loss::Closed)?;
            let packet = tokio::select! {
                biased;
                () = &mut event => return Ok(()),
                packet = connection.next() => packet?,
            };
            self.take(&packet).await?;
        }
    }

    async fn receive(&mut self) -> Result<Packet, Loss> {
        let connection = self.connection.as_mut().ok_or(Loss::Closed)?;
        let packet = connection.next().await?;
        self.take(&packet).await?;
        Ok(packet)
    }

    async fn send(&mut self, packet: Packet) -> Result<(), Loss> {
        let connection = self.connection.as_mut().ok_or(Loss::Closed)?;
        // Noted first: others may see what comes of it before this one goes on.
        self.recorder.note(elapsed(), Some(&self.name), What::Sent(packet.clone()));
        connection.send(&packet).await
    }

    /// Does with a packet what a client has to.
    async fn take(&mut self, packet: &Packet) -> Result<(), Loss> {
        let is_repeated = matches!(packet, Packet::Publish(publish)
            if publish.delivery.id().is_some_and(|id| self.taken.contains(&id)));
        if is_repeated {
            self.note(What::Repeated(packet.clone()));
        } else {
            self.note(What::Received(packet.clone()));
        }
        match packet {
            Packet::Publish(publish) => self.take_message(publish, is_repeated).await,
            Packet::PubRel(ack) => {
                self.taken.remove(&ack.id);
                self.send(Packet::PubComp(Ack::new(ack.id, Reason::Success))).await
            }
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) => {
                let is_received = matches!(packet, Packet::PubRec(_));
                self.take_acknowledgement(ack, is_received).await
            }
            _ => Ok(()),
        }
    }

    async fn take_message(&mut self, publish: &Publish, is_repeated: bool) -> Result<(), Loss> {
        if !is_repeated {
            self.payloads.push(publish.payload.clone());
        }
        match publish.delivery {
            Delivery::AtMostOnce => Ok(()),
            Delivery::AtLeastOnce { id, .. } => {
                self.send(Packet::PubAck(Ack::new(id, Reason::Success))).await
            }
            Delivery::ExactlyOnce { id, .. } => {
                self.taken.insert(id);
                self.send(Packet::PubRec(Ack::new(id, Reason::Success))).await
            }
        }
    }

    async fn take_acknowledgement(&mut self, ack: &Ack, is_received: bool) -> Result<(), Loss> {
        let Some(inflight) = self.inflight.as_mut() else { return Ok(()) };
        if inflight.publish.delivery.id() != Some(ack.id) {
            return Ok(());
        }
        if ack.reason.is_error() {
            self.publication_ended(Outcome::Denied(ack.reason));
        } else if is_received {
            inflight.is_received = true;
            return self.send(Packet::PubRel(Ack::new(ack.id, Reason::Success))).await;
        } else {
            self.publication_ended(Outcome::Acknowledged(ack.reason));
        }
        Ok(())
    }

    fn next_id(&mut self) -> PacketId {
        self.id = self.id.next();
        self.id
    }

    fn note(&self, what: What) {
        self.recorder.note(elapsed(), Some(&self.name), what);
    }
}

impl Inflight {
    /// What is sent on the next connection of the session.
    fn again(&self) -> Packet {
        let mut publish = self.publish.clone();
        match &mut publish.delivery {
            Delivery::ExactlyOnce { id, .. } if self.is_received => {
                return Packet::PubRel(Ack::new(*id, Reason::Success));
            }
            Delivery::AtLeastOnce { dup, .. } | Delivery::ExactlyOnce { dup, .. } => *dup = true,
            Delivery::AtMostOnce => {}
        }
        Packet::Publish(publish)
    }
}

fn text(text: &str) -> Text {
    Text::try_from(text).expect("scripts hold text of MQTT's")
}
