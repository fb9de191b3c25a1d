//! A client of a scenario, as a pure state machine: honest, or clumsy as its manners say.
//!
//! Both levels drive it: an operation or what came from the broker goes in, with the time, and
//! [`Effect`]s come out, in order. It knows MQTT's packets and nothing else of the broker: its
//! session is its own making. All that it asks and sees it notes in the history.
//!
//! Here: connections, requests and time. `sending.rs` is what it publishes, `receiving.rs` what
//! it does with what comes, `packets.rs` how both become packets and words of the history.

pub(crate) mod packets;
mod receiving;
mod sending;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use stormpetrel::mqtt::types::{PacketId, Reason, Text};
use stormpetrel::mqtt::wire::Packet;

use crate::access::{PASSWORD, WRONG};
use crate::codec::encode;
use crate::history::{AckKind, Asked, ClosedBy, History, What};
use crate::marks::{Mark, Marks};
use crate::scenario::{
    self, Action, Breach, ClientIndex, Connect, Manners, ProtocolVersion, Subscribe,
};
pub use packets::Topics;
pub(crate) use packets::packet_bytes;
use sending::Flight;

/// One client.
#[derive(Debug)]
pub struct Client {
    index: ClientIndex,
    client_id: Text,
    user: Option<Text>,
    /// Nobody judges it.
    password: Option<Bytes>,
    version: ProtocolVersion,
    manners: Manners,
    /// The connection it is on, as far as it knows.
    link: Option<Link>,
    /// What it asked for when it connected last.
    connect: Arc<Connect>,
    next_id: PacketId,
    /// The first packet id of messages, if each is given again as soon as it is free.
    reused_from: Option<u16>,
    /// What is published above QoS 0 and not finished, in order.
    flights: VecDeque<Flight>,
    /// What is still to be published.
    pending: VecDeque<scenario::Publish>,
    /// QoS 2 messages that came and are not released.
    taken: Vec<PacketId>,
    /// What it had not answered yet when its last connection ended.
    unanswered: Vec<Packet>,
}

/// What ends with a connection.
#[derive(Debug)]
struct Link {
    /// Whether it sent a CONNECT; else its first packet was none.
    has_greeted: bool,
    /// Whether it begins one that it never ends.
    is_dribbling: bool,
    /// Whether CONNACK has come.
    is_accepted: bool,
    is_paused: bool,
    /// The broker's Receive Maximum.
    quota: u16,
    /// The largest packet that the broker takes.
    packet_bytes_max: usize,
    /// What the broker's aliases stand for.
    aliases_in: Vec<Option<Arc<str>>>,
    /// What its own stand for, from 1.
    aliases_out: Vec<Arc<str>>,
    aliases_max: u16,
    /// Milliseconds; 0: none.
    keep_alive_ms: u64,
    sent_at: u64,
    /// When it sent a PINGREQ that is not answered.
    pinged_at: Option<u64>,
    /// What it will answer, and when.
    answers: VecDeque<(u64, Packet)>,
}

/// Of so many connections, on one the client goes on before it is let in.
const EAGER: u64 = 4;
/// Of so many DISCONNECTs of 5.0, one says more than its reason.
const WORDY: u64 = 4;

/// What a client wants of its connection.
#[derive(Debug)]
pub enum Effect {
    /// Opens a new one; an earlier one it has abandoned.
    Open {
        /// Its number.
        connection: u64,
    },
    /// Sends a packet.
    Send {
        /// The ordinal of the event.
        asked: usize,
        /// What.
        packet: Packet,
    },
    /// Sends bytes that are no packet.
    Garble {
        /// The ordinal of the event.
        asked: usize,
    },
    /// Ends it, after what was sent.
    Close,
    /// Ends it, and what was sent may be lost.
    Cut,
    /// Leaves it to itself: the broker hears nothing of that.
    Abandon,
}

/// What surrounds a client: the time, the records, and where effects go.
#[derive(Debug)]
pub struct World<'a> {
    /// Milliseconds since the run began.
    pub now: u64,
    /// What is asked and seen.
    pub history: &'a mut History,
    /// What is met.
    pub marks: &'a mut Marks,
    /// Topics of the scenario.
    pub topics: &'a Topics,
    /// The number of the next connection of the run.
    pub next_connection: &'a mut u64,
    /// What the client wants, in order.
    pub effects: &'a mut Vec<Effect>,
}

/// Packet ids that each client has for itself, so that two with the same client id do not take
/// each other's.
const IDS_EACH: u16 = 4_096;

/// The first of them. Of many clients, two have parts of the same ids: neither uses so many.
fn first_id(index: ClientIndex) -> u16 {
    let place = u16::try_from(index % 15).expect("below 15");
    let part = u16::try_from(index / 15 % 2).expect("0 or 1");
    place * IDS_EACH + part * (IDS_EACH / 4) + 1
}

/// No run is so long that the broker sends this many messages to one client.
const UNUSED_ID: u16 = 65_000;
/// Bytes of a packet above which nobody tries what the broker does with a larger one.
const SMALL_BYTES: usize = 1_000;

/// Whether a client gives a password, be it right. Before 5.0 there is none without a user.
/// [3.1.1 MQTT-3.1.2-22]
pub(crate) fn gives_password(index: ClientIndex, client: &scenario::Client) -> bool {
    index % 3 == 1 && (client.version.is_v5() || client.user.is_some())
}

impl Client {
    /// The client at that place of a scenario. Its client id is text of MQTT's, or it has none.
    pub fn new(index: ClientIndex, client: &scenario::Client) -> Client {
        let first = PacketId::new(first_id(index)).expect("not 0");
        Client {
            index,
            client_id: Text::try_from(&*client.client_id).unwrap_or_default(),
            user: client.user.as_deref().and_then(|user| Text::try_from(user).ok()),
            password: match client.is_mistaken {
                true => Some(Bytes::from_static(WRONG)),
                false => gives_password(index, client).then(|| Bytes::from_static(PASSWORD)),
            },
            version: client.version,
            manners: client.manners,
            link: None,
            connect: Arc::new(Connect::default()),
            next_id: first,
            reused_from: client.reuses_ids.then_some(first.get() + IDS_EACH / 2),
            flights: VecDeque::new(),
            pending: VecDeque::new(),
            taken: Vec::new(),
            unanswered: Vec::new(),
        }
    }

    /// Does what a scenario wants. Nothing, if that makes no sense now.
    pub fn act(&mut self, action: &Action, world: &mut World<'_>) {
        match action {
            Action::Connect(connect) => self.connect(Arc::new(connect.clone()), world),
            Action::Linger if self.link.is_none() => self.open(world),
            Action::Dribble if self.link.is_none() => {
                self.open(world);
                self.link.iter_mut().for_each(|link| link.is_dribbling = true);
            }
            Action::Behave(manners) => self.manners = *manners,
            Action::Publish(publish) => self.publish(publish, world),
            Action::Garble if self.link.is_none() => {
                self.open(world);
                self.act_connected(action, world);
            }
            // It would be a part of what was begun.
            Action::Garble if self.is_dribbling() => {}
            _ if self.link.is_some() => self.act_connected(action, world),
            _ => {}
        }
    }

    fn act_connected(&mut self, action: &Action, world: &mut World<'_>) {
        match action {
            Action::Subscribe(subscribe) if self.may_ask() => {
                let id = self.take_id();
                if let Some((packet, asked)) = packets::subscribe(id, subscribe, self.version) {
                    self.ask(asked, packet, world);
                }
            }
            Action::Unsubscribe { filters } if self.may_ask() => {
                let id = self.take_id();
                if let Some((packet, asked)) = packets::unsubscribe(id, filters) {
                    self.ask(asked, packet, world);
                }
            }
            Action::Ping if self.may_ask() => self.ping(world),
            Action::Chatter { pings } if self.may_ask() => {
                (0..*pings).for_each(|_| self.ping(world));
            }
            Action::Disconnect { reason, expiry_s } if self.may_ask() => {
                self.disconnect(*reason, *expiry_s, world);
            }
            Action::Cut => self.end(Effect::Cut, What::Closed { by: ClosedBy::Client }, world),
            Action::Close => self.end(Effect::Close, What::Closed { by: ClosedBy::Client }, world),
            Action::HalfOpen => self.end(Effect::Abandon, What::HalfOpened, world),
            Action::Pause => self.pause(true),
            Action::Resume => self.pause(false),
            Action::Garble => {
                let packet = Asked::garbage(None);
                let asked = self.note(What::Asked { packet }, world);
                world.effects.push(Effect::Garble { asked });
            }
            Action::Break { breach } if self.may_ask() => self.break_protocol(*breach, world),
            _ => {}
        }
    }

    /// Opens a connection and asks to be let in.
    pub fn connect(&mut self, connect: Arc<Connect>, world: &mut World<'_>) {
        self.open(world);
        let connect = packets::as_said(connect, self.version);
        let packet = self.connect_packet(&connect);
        let Some(link) = &mut self.link else { return };
        link.has_greeted = true;
        link.keep_alive_ms = u64::from(connect.keep_alive_s) * 1_000;
        self.connect = Arc::clone(&connect);
        if connect.clean_start {
            // It may never hear that the broker has done the same.
            self.forget(world);
        }
        self.ask(Asked::Connect { connect }, packet, world);
        // Nobody has to wait for the answer. [MQTT-3.1.4-5]
        if world.next_connection.is_multiple_of(EAGER) {
            self.ask(Asked::Ping, Packet::PingReq, world);
        }
    }

    /// Comes back to the session that it had, if the broker still has it, and takes what comes.
    pub fn come_back(&mut self, keep_alive_s: u16, world: &mut World<'_>) {
        let connect = Connect {
            // Without a client id there is nothing to come back to.
            clean_start: self.client_id.is_empty(),
            expiry_s: self.connect.expiry_s,
            keep_alive_s,
            ..Connect::default()
        };
        self.connect(Arc::new(connect), world);
    }

    /// From now on it keeps to the rules.
    pub fn become_honest(&mut self) {
        self.manners = Manners::default();
    }

    /// Gives up what the broker does not take, however often it is sent.
    pub fn give_up(&mut self, world: &mut World<'_>) {
        self.pending.clear();
        self.lose_flights(|flight| !flight.is_taken(), world);
    }

    /// Leaves, and keeps its session.
    pub fn leave(&mut self, world: &mut World<'_>) {
        if self.may_ask() {
            self.disconnect(0, None, world);
        }
    }

    /// Ends its connection, if it has one.
    pub fn cut(&mut self, world: &mut World<'_>) {
        if self.link.is_some() {
            self.end(Effect::Cut, What::Closed { by: ClosedBy::Client }, world);
        }
    }

    /// The connection that it is on has ended.
    pub fn closed(&mut self, by: ClosedBy, world: &mut World<'_>) {
        if let Some(link) = self.link.take() {
            self.note(What::Closed { by }, world);
            self.part(link, world);
        }
    }

    /// The run is over: nothing more will be known of what was not answered.
    pub fn finish(&mut self, world: &mut World<'_>) {
        self.lose_flights(|_| true, world);
    }

    /// Whether it has a connection, let in or not.
    pub fn has_connection(&self) -> bool {
        self.link.is_some()
    }

    /// Whether the broker has let it in.
    pub fn is_accepted(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.is_accepted)
    }

    /// Whether it takes nothing from its connection now.
    pub fn is_paused(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.is_paused)
    }

    /// Whether it has begun a CONNECT that it never ends.
    pub fn is_dribbling(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.is_dribbling)
    }

    /// Whether nothing that it published waits for the broker.
    pub fn is_finished(&self) -> bool {
        self.flights.is_empty() && self.pending.is_empty()
    }

    /// When to come back with [`Client::handle_deadline`].
    pub fn next_due(&self) -> Option<u64> {
        let link = self.link.as_ref()?;
        let answer = link.answers.front().map(|(due, _)| *due);
        [answer, self.ping_due(link)].into_iter().flatten().min()
    }

    fn ping_due(&self, link: &Link) -> Option<u64> {
        if !self.manners.pings || link.keep_alive_ms == 0 || !link.is_accepted {
            return None;
        }
        Some(match link.pinged_at {
            Some(at) => at + link.keep_alive_ms,
            None => link.sent_at + link.keep_alive_ms / 2,
        })
    }

    /// What is due now: late answers, pings, and the end of a connection that says nothing.
    pub fn handle_deadline(&mut self, world: &mut World<'_>) {
        while let Some(link) = &mut self.link
            && link.answers.front().is_some_and(|(due, _)| *due <= world.now)
        {
            let Some((_, packet)) = link.answers.pop_front() else { return };
            self.ask_ack(packet, world);
        }
        let Some(link) = &self.link else { return };
        if self.ping_due(link).is_some_and(|due| due <= world.now) {
            if link.pinged_at.is_some() {
                return self.end(Effect::Cut, What::Closed { by: ClosedBy::Client }, world);
            }
            self.ping(world);
        }
    }

    fn open(&mut self, world: &mut World<'_>) {
        if self.link.is_some() {
            self.end(Effect::Abandon, What::HalfOpened, world);
        }
        let connection = *world.next_connection;
        *world.next_connection += 1;
        self.link = Some(Link {
            has_greeted: false,
            is_dribbling: false,
            is_accepted: false,
            is_paused: false,
            quota: u16::MAX,
            packet_bytes_max: usize::MAX,
            aliases_in: Vec::new(),
            aliases_out: Vec::new(),
            aliases_max: 0,
            keep_alive_ms: 0,
            sent_at: world.now,
            pinged_at: None,
            answers: VecDeque::new(),
        });
        self.note(What::Opened { connection }, world);
        world.effects.push(Effect::Open { connection });
    }

    fn end(&mut self, effect: Effect, what: What, world: &mut World<'_>) {
        let Some(link) = self.link.take() else { return };
        self.note(what, world);
        world.effects.push(effect);
        self.part(link, world);
    }

    /// It has lost a connection. Its session may have ended with that, even if it never heard
    /// that it was let in.
    fn part(&mut self, link: Link, world: &mut World<'_>) {
        self.unanswered.extend(link.answers.into_iter().map(|(_, packet)| packet));
        let ends = match self.version.is_v5() {
            true => self.connect.expiry_s.unwrap_or(0) == 0,
            false => self.connect.clean_start,
        };
        if ends {
            self.forget(world);
        }
    }

    fn connect_packet(&self, connect: &Connect) -> Packet {
        let (user, password) = (self.user.as_ref(), self.password.as_ref());
        packets::connect(&self.client_id, user, password, self.version, connect)
    }

    fn disconnect(&mut self, reason: u8, expiry_s: Option<u32>, world: &mut World<'_>) {
        let has_words = world.now.is_multiple_of(WORDY);
        let (packet, asked) = packets::disconnect(reason, expiry_s, has_words, self.version);
        self.ask(asked, packet, world);
        self.end(Effect::Close, What::Closed { by: ClosedBy::Client }, world);
        if expiry_s == Some(0) && self.version.is_v5() {
            self.forget(world);
        }
    }

    fn ping(&mut self, world: &mut World<'_>) {
        if let Some(link) = &mut self.link {
            link.pinged_at.get_or_insert(world.now);
        }
        self.ask(Asked::Ping, Packet::PingReq, world);
    }

    fn pause(&mut self, is_paused: bool) {
        if let Some(link) = &mut self.link {
            link.is_paused = is_paused;
        }
    }

    fn break_protocol(&mut self, breach: Breach, world: &mut World<'_>) {
        let id = self.take_id();
        let garbage = |packet: Packet, reason: Reason| {
            let bytes = encode(&packet, self.version)[..].into();
            vec![(Asked::Garbage { reason: Some(reason.code()), bytes }, packet)]
        };
        let aliases_max = self.link.as_ref().map_or(0, |link| link.aliases_max);
        let broken = match breach {
            Breach::SecondConnect => {
                garbage(self.connect_packet(&Connect::default()), Reason::ProtocolError)
            }
            Breach::SubAck => garbage(packets::suback(id), Reason::ProtocolError),
            // It never gives so many to its topics.
            Breach::UnknownAlias if aliases_max > sending::ALIASES_USED => {
                garbage(packets::aliased(aliases_max), Reason::ProtocolError)
            }
            Breach::AliasTooHigh if aliases_max > 0 => {
                garbage(packets::aliased(aliases_max + 1), Reason::TopicAliasInvalid)
            }
            Breach::SubscribeTooLarge if self.packet_bytes_max() <= SMALL_BYTES => {
                let filter = "x".repeat(self.packet_bytes_max());
                let subscribe = Subscribe::to(filter, scenario::Qos::AtMostOnce);
                let packet = packets::subscribe(id, &subscribe, self.version);
                packet.map_or_else(Vec::new, |(packet, _)| garbage(packet, Reason::PacketTooLarge))
            }
            Breach::UnknownAlias | Breach::AliasTooHigh | Breach::SubscribeTooLarge => Vec::new(),
            Breach::UnknownAcks => {
                let kinds = [AckKind::PubAck, AckKind::PubRec, AckKind::PubComp];
                let id = PacketId::new(UNUSED_ID).expect("not 0");
                let asked = |kind| match kind {
                    AckKind::PubRec => Asked::Guess { id: UNUSED_ID },
                    _ => Asked::Harmless,
                };
                let ack = |kind| (asked(kind), packets::ack(kind, id, Reason::Success));
                kinds.map(ack).to_vec()
            }
            Breach::UnknownRelease => {
                // So one of 5.0 answers a PUBREC that it has no message for.
                let is_known = !self.version.is_v5() || id.get().is_multiple_of(2);
                let reason = if is_known { Reason::Success } else { Reason::PacketIdNotFound };
                vec![(Asked::Harmless, packets::ack(AckKind::PubRel, id, reason))]
            }
        };
        for (asked, packet) in broken {
            self.ask(asked, packet, world);
        }
    }

    /// Whether it has sent CONNECT: only then may anything else follow.
    fn may_ask(&self) -> bool {
        self.is_accepted()
    }

    fn take_id(&mut self) -> PacketId {
        let id = self.next_id;
        self.next_id = id.next();
        id
    }

    /// A packet id for a message.
    fn take_message_id(&mut self) -> PacketId {
        let is_free = |id: &PacketId| self.flights.iter().all(|flight| flight.id() != *id);
        let reused = self.reused_from.map(|from| from..);
        let free = reused.and_then(|mut ids| ids.find_map(|id| PacketId::new(id).filter(is_free)));
        free.unwrap_or_else(|| self.take_id())
    }

    fn ask_ack(&mut self, packet: Packet, world: &mut World<'_>) {
        if let Some(ack) = packets::ack_words(&packet) {
            self.ask(Asked::Ack(ack), packet, world);
        }
    }

    fn ask(&mut self, asked: Asked, packet: Packet, world: &mut World<'_>) {
        if let Some(link) = &mut self.link {
            link.sent_at = world.now;
        }
        let asked = self.note(What::Asked { packet: asked }, world);
        world.effects.push(Effect::Send { asked, packet });
    }

    fn note(&self, what: What, world: &mut World<'_>) -> usize {
        world.history.note(world.now, Some(self.index), what)
    }

    fn hit(mark: Mark, world: &mut World<'_>) {
        world.marks.hit(mark);
    }
}
