//! The state machine: all that a broker decides, and nothing that it does. Pure.
//!
//! Everything that happens comes in through [`Machine::handle`] with a time, changes plain state,
//! and what must leave is polled. No sockets, no clock, no entropy, no threads, no locks: the
//! same inputs give the same outputs, to the byte. `handle_*` takes in, `poll_*` gives out.
//!
//! Read `input.rs` (what happens and what leaves), `clients.rs` (who is there), `parting.rs` (who
//! leaves), `route.rs` (a message's way; `sharing.rs` to a group, `spread.rs` to very many),
//! `session/outbound.rs` (what one client is sent), and `effort.rs` (how much is done at once).
//! `server/` is the shell that feeds it.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod alerts;
mod check;
mod clients;
mod connections;
mod deadlines;
mod effort;
mod groups;
mod input;
mod journal;
mod keeping;
mod ledger;
mod limits;
mod parting;
mod policy;
mod rebuild;
pub mod record;
mod restore;
mod retained;
mod rewrite;
mod route;
mod session;
mod sharing;
mod shed;
mod spread;
mod subscribe;
mod subscriptions;
mod sys;
#[cfg(test)]
mod tests;
mod wall;

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::quality::FixedState;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use alerts::Alerts;
use clients::{Clients, SessionKey};
use connections::{Connections, Phase, Slot, version_of};
use deadlines::{Deadlines, Due};
use effort::Effort;
use journal::Journal;
use parting::{Parting, Remains};
use policy::{Asking, Policy};
use record::{Lsn, Record};
use retained::Retained;
use rewrite::{Rewrite, RewriteRoom, RewrittenSessions};
use session::{Acknowledged, Transmission};
use sharing::Passing;
use spread::Spread;
use subscriptions::{Matches, Subscriptions};
use sys::Sys;
use wall::WallClock;

pub use alerts::Alert;
pub use effort::EFFORT_MAX;
pub use input::{
    Alias, Closing, ConnectionId, Deliver, Input, ListenerId, Outgoing, Remaining, SubscriptionIds,
    Timestamp,
};
pub use journal::StoreHealth;
pub use keeping::Durability;
pub use ledger::{Denials, DropReason, Drops, Ledger};
pub use limits::Limits;
pub use policy::Denial;
pub use restore::{Restored, Restorer};
pub use rewrite::LITTLE_BYTES;
pub use shed::{Shed, Sheds};
pub use sys::Readings;
pub use wall::{Resumed, offset_if_set};

use crate::access::{Authorise, Identity};
use crate::mqtt::types::{PacketId, QoS, Reason, Version};
use crate::mqtt::wire::{Ack, DecodeError, Packet};
use crate::plant::{self, Plant};

/// What a machine is built with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How much of everything.
    pub limits: Limits,
    /// The listeners that connections come in by.
    pub listeners: Vec<ListenerSettings>,
    /// Seconds between two publications of `$SYS`; none: never.
    pub sys_interval: Option<u64>,
    /// Seconds that a session of 3.1.1 outlives its connection; none: for ever.
    pub session_expiry: Option<u32>,
    /// Seconds that a client may be late with its keep alive; none: half of the keep alive.
    /// Never more than that.
    pub disconnect_delay: Option<u64>,
    /// The highest QoS that a subscription is granted.
    pub max_qos: QoS,
    /// How much is done at once before others have their turn: [`EFFORT_MAX`], or fewer where
    /// everything is to be done in small parts.
    pub effort_max: u64,
    /// The packet id of the first message that a new session is sent: [`PacketId::FIRST`], or
    /// another one where ids are to begin anew soon.
    pub first_packet_id: PacketId,
    /// Who may connect.
    pub access: Access,
    /// Whether what must survive is recorded at all.
    pub is_recording: bool,
    /// How durable it is for the program that embeds the broker.
    pub durability: Durability,
}

/// What the machine needs to know of authentication and authorisation.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Whether clients are judged before the machine sees them, so that every CONNECT that comes
    /// in by a listener is an [`Input::Connecting`]. If not, everybody is let in.
    pub is_judged: bool,
    /// Who is asked what clients may do; none: everything.
    pub authorise: Option<Arc<dyn Authorise>>,
}

/// What the machine needs to know of a listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Connections at once whose clients are let in.
    pub connections_max: usize,
    /// What an acknowledgement means there.
    pub durability: Durability,
}

/// How many deadlines are seen to at once: when more are due, `poll_deadline` says so, and others
/// have their turn in between.
const DUE_MAX: usize = 256;

/// The seed of all randomness: entropy in production, the plan's in simulation.
pub type Seed = [u8; 32];

/// The broker's state.
pub struct Machine {
    settings: Settings,
    random: ChaCha8Rng,
    connections: Connections,
    clients: Clients,
    subscriptions: Subscriptions,
    retained: Retained,
    deadlines: Deadlines,
    ledger: Ledger,
    sys: Sys,
    wall: WallClock,
    is_shutting_down: bool,
    policy: Policy,
    journal: Journal,
    /// How far the state is written anew, if it is.
    rewrite: Option<Rewrite>,
    rewrite_room: RewriteRoom,
    rewritten_sessions: RewrittenSessions,
    /// What everything so far has cost.
    effort: Effort,
    /// Sessions that ended, and what is left of them to be cleared away.
    remains: Remains,
    /// Messages that are on their way in parts.
    spreads: Vec<Spread>,
    /// Members of groups that left more to the others than is passed on at once.
    passing: VecDeque<Passing>,
    /// What the log is to say.
    alerts: Alerts,
    /// What the message in hand matches, and then kept for its memory only.
    matches: Matches,
}

impl Machine {
    /// A machine without clients. All its randomness comes from `seed`.
    pub fn new(settings: Settings, seed: Seed, now: Timestamp) -> Machine {
        let retained = (Retained::new(), Ledger::default());
        Machine::behind(Lsn::default(), retained, settings, seed, now)
    }

    /// A machine whose records go on behind `last`, with what is retained and the account of it.
    fn behind(
        last: Lsn,
        (retained, ledger): (Retained, Ledger),
        settings: Settings,
        seed: Seed,
        now: Timestamp,
    ) -> Machine {
        let mut random = ChaCha8Rng::from_seed(seed);
        let mut hasher = || FixedState::with_seed(random.next_u64());
        let (connections, clients, subscriptions) = (hasher(), hasher(), hasher());
        let tree_seed = random.next_u64();
        let mut machine = Machine {
            connections: Connections::new(connections, settings.listeners.len()),
            clients: Clients::new(clients),
            subscriptions: Subscriptions::new(subscriptions, tree_seed),
            policy: Policy::new(settings.access.authorise.clone()),
            journal: Journal::new(settings.is_recording, last),
            rewrite: None,
            rewrite_room: RewriteRoom::default(),
            rewritten_sessions: RewrittenSessions::default(),
            settings,
            random,
            retained,
            deadlines: Deadlines::default(),
            ledger,
            sys: Sys::new(now),
            wall: WallClock::new(now),
            is_shutting_down: false,
            effort: Effort::default(),
            remains: Remains::default(),
            spreads: Vec::new(),
            passing: VecDeque::new(),
            alerts: Alerts::default(),
            matches: Matches::default(),
        };
        machine.start_sys(now);
        machine.start_clock(now);
        machine
    }

    /// Takes in what happened. Of packets that cost much it leaves the last ones in the vector,
    /// and the first of these may be done in part: whoever hands them in lets others have their
    /// turn and comes back with them. Each call does something of them.
    pub fn handle(&mut self, input: Input<'_>, now: Timestamp) {
        self.journal.set_mark();
        match input {
            Input::Opened { connection, listener } => {
                let slot = self.connections.open(connection, listener);
                if plant::is_on(Plant::SilentCounted) {
                    self.admit(slot);
                }
            }
            Input::Connecting { connection, connect, judgement } => {
                self.effort.spend(effort::PACKET);
                self.ledger.packets_received += 1;
                let slot = self.connections.find(connection).expect("it came on an open one");
                self.handle_judged(slot, *connect, judgement, now);
            }
            Input::Received { connection, packets } => {
                self.handle_packets(connection, packets, now)
            }
            Input::Undecodable { connection, error } => {
                self.handle_undecodable(connection, error, now);
            }
            Input::ConnectTimedOut { connection } => self.handle_connect_timeout(connection),
            Input::PacketGivenUp { connection } => self.handle_given_up(connection, now),
            Input::Closed { connection } => self.handle_closed(connection, now),
            Input::PolicyChanged(authorise) => self.handle_policy(authorise, now),
            Input::Measured(readings) => self.sys.readings = readings,
            Input::Deadline => self.handle_deadline(now),
            Input::ClockSet { offset } => self.handle_clock_set(offset, now),
            Input::Durable(lsn) => self.handle_durable(lsn, now),
            Input::Store(StoreHealth::Working) if plant::is_on(Plant::TroubleForGood) => {}
            Input::Store(health) => self.handle_store(health, now),
            Input::Spare(bytes) => self.rewrite_room.spare = bytes,
            Input::Rewrite => self.begin_rewrite(now),
            Input::ShutDown => self.handle_shut_down(now),
        }
    }

    /// Gives out what the connection should send: about `budget` bytes of it; the last item may
    /// go over it.
    pub fn poll_transmit(
        &mut self,
        connection: ConnectionId,
        budget: usize,
        out: &mut Vec<Outgoing>,
        now: Timestamp,
    ) -> Remaining {
        let Some(slot) = self.connections.find(connection) else { return Remaining::Nothing };
        let is_held = self.is_held(slot);
        let before = out.len();
        if let Some(found) = self.connections.get_mut(slot) {
            out.extend(found.answers.drain(..));
        }
        let mut remaining = Remaining::Nothing;
        let mut is_waiting = false;
        if let Some((key, attachment)) = self.connections.attachment(slot)
            && (!is_held || self.journal.is_durable(attachment.greeted))
        // CONNACK is first
        {
            let session = self.clients.get_mut(key);
            let mut pull = Transmission {
                attachment,
                retained: &self.retained,
                policy: &mut self.policy,
                asking: Asking {
                    client_id: &session.client_id,
                    identity: &session.identity,
                    is_inside: session.is_inside,
                    was_denied: &mut session.was_denied,
                },
                ledger: &mut self.ledger,
                drops: &mut session.drops,
                effort: &mut self.effort,
                journal: &mut self.journal,
                recorded_as: session.kept.whole(),
                is_held,
                is_waiting: false,
                out,
                budget,
                held_bytes_max: self.settings.limits.total_bytes,
                fruitless: 0,
                now,
            };
            remaining = session.outbound.transmit(&mut pull);
            is_waiting |= pull.is_waiting;
            if !session.aside.is_empty() && session.outbound.has_room(0, &self.settings.limits) {
                self.come_back(key);
            }
        }
        // The end of a connection is behind all else, and no packet.
        let is_end = out[before..].last().is_some_and(|last| matches!(last, Outgoing::Close(_)));
        self.ledger.packets_sent += (out.len() - before - usize::from(is_end)) as u64;
        if is_waiting {
            self.wait(slot);
        }
        if remaining == Remaining::Nothing {
            self.connections.rest(slot);
        }
        remaining
    }

    /// Gives out the connections that have something to send. Each is named once until
    /// [`Machine::poll_transmit`] has said [`Remaining::Nothing`] for it.
    pub fn poll_woken(&mut self, out: &mut Vec<ConnectionId>) {
        self.connections.take_woken(out);
    }

    /// When to come back with [`Input::Deadline`].
    pub fn poll_deadline(&self) -> Option<Timestamp> {
        let passing = self.passing.front().map(|passing| passing.since);
        let (remains, alone) = (self.remains.next(), self.next_alone());
        let dues = [self.deadlines.next(), self.retained.next_expiry(), remains, passing, alone];
        dues.into_iter().flatten().min()
    }

    /// What everything so far has cost, in steps of some tenth of a microsecond: who visits the
    /// machine leaves when his visit has cost [`Machine::effort_max`].
    pub fn effort(&self) -> u64 {
        self.effort.spent()
    }

    /// What one visit may cost.
    pub fn effort_max(&self) -> u64 {
        self.settings.effort_max
    }

    /// The broker's counts.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What a client's session did not get, and why. None if there is no such session.
    pub fn drops_of(&self, client_id: &str) -> Option<&Drops> {
        self.clients.find(client_id).map(|key| &self.clients.get(key).drops)
    }

    /// Whether packets that come on a connection are still taken: not once it is to be closed.
    pub fn is_open(&self, connection: ConnectionId) -> bool {
        let slot = self.connections.find(connection);
        let connection = slot.and_then(|slot| self.connections.get(slot));
        connection.is_some_and(|connection| !matches!(connection.phase, Phase::Closing))
    }

    /// How many subscriptions there are.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// How many connections there are, those that are refused or closing included.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    fn handle_packets(&mut self, id: ConnectionId, packets: &mut Vec<Packet>, now: Timestamp) {
        let slot = self.connections.find(id).expect("packets come from an open connection");
        let effort_max = self.effort.spent() + self.settings.effort_max;
        let mut taken = 0;
        while taken < packets.len() && (taken == 0 || self.effort.spent() < effort_max) {
            // What takes its place is never looked at.
            let packet = std::mem::replace(&mut packets[taken], Packet::PingReq);
            self.effort.spend(effort::PACKET);
            let connection = self.connections.get_mut(slot).expect("open until it is closed");
            match &mut connection.phase {
                Phase::Closing => return packets.clear(), // [MQTT-3.1.4-6]
                Phase::AwaitConnect => match packet {
                    Packet::Connect(connect) => {
                        let is_inside = connection.listener.is_none();
                        assert!(is_inside || !self.settings.access.is_judged, "nobody judged it");
                        let user = connect.username.as_deref().map(Arc::from);
                        let identity = Identity { user, ..Identity::default() };
                        self.handle_connect(slot, *connect, identity, now);
                    }
                    _ => self.violate(slot, Reason::ProtocolError, now), // [MQTT-3.1.0-1]
                },
                Phase::Attached(key, attachment) => {
                    if !plant::is_on(Plant::KeepAliveNotHeld) || matches!(packet, Packet::PingReq) {
                        attachment.last_received = now;
                    }
                    let key = *key;
                    let unfinished = self.handle_packet(slot, key, packet, now);
                    self.note_recorded(slot);
                    if let Some(unfinished) = unfinished {
                        packets[taken] = unfinished;
                        break;
                    }
                }
            }
            self.ledger.packets_received += 1;
            self.journal.set_mark();
            taken += 1;
        }
        packets.drain(..taken);
        self.wait_behind(slot);
    }

    /// Handles a packet of a client that is attached. The packet, if there is more to be done
    /// for it than may be done at once.
    fn handle_packet(
        &mut self,
        slot: Slot,
        key: SessionKey,
        packet: Packet,
        now: Timestamp,
    ) -> Option<Packet> {
        match packet {
            Packet::Publish(publish) => {
                return self.handle_publish(slot, key, publish, now).map(Packet::Publish);
            }
            Packet::PubAck(ack) => self.handle_ack(slot, key, Packet::PubAck(ack), now),
            Packet::PubRec(ack) => self.handle_ack(slot, key, Packet::PubRec(ack), now),
            Packet::PubRel(ack) => self.handle_pubrel(slot, key, ack.id),
            Packet::PubComp(ack) => self.handle_ack(slot, key, Packet::PubComp(ack), now),
            Packet::Subscribe(subscribe) => {
                return self.handle_subscribe(slot, key, subscribe, now).map(Packet::Subscribe);
            }
            Packet::Unsubscribe(unsubscribe) => {
                return self.handle_unsubscribe(slot, key, unsubscribe, now).map(Packet::Unsubscribe);
            }
            // Not held: a client must not think the broker dead because a disk is slow.
            // [MQTT-3.12.4-1]
            Packet::PingReq if self.is_greeted(slot) => {
                self.connections.answer(slot, Packet::PingResp);
            }
            Packet::PingReq => self.connections.answer_held(slot, Packet::PingResp, None),
            Packet::Disconnect(disconnect) => self.handle_disconnect(slot, key, &disconnect, now),
            // No authentication method is served, so there is nothing to go on with.
            // [MQTT-4.12.0-7]
            Packet::Auth(_)
            | Packet::Connect(_) // [MQTT-3.1.0-2]
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp => self.violate(slot, Reason::ProtocolError, now),
        }
        None
    }

    /// What the client says of a message that it was sent.
    fn handle_ack(&mut self, slot: Slot, key: SessionKey, packet: Packet, now: Timestamp) {
        let session = self.clients.get_mut(key);
        let (outbound, drops, ledger) =
            (&mut session.outbound, &mut session.drops, &mut self.ledger);
        let acknowledged = match &packet {
            Packet::PubAck(ack) => outbound.handle_puback(ack.id, ack.reason, ledger, drops),
            Packet::PubRec(ack) => outbound.handle_pubrec(ack.id, ack.reason, ledger, drops),
            Packet::PubComp(ack) => outbound.handle_pubcomp(ack.id, ledger),
            _ => Acknowledged::WrongKind,
        };
        let may_go_on = outbound.has_something();
        if acknowledged == Acknowledged::Taken {
            self.record_ack(key, &packet);
        }
        match (packet, acknowledged) {
            (_, Acknowledged::WrongKind) => {
                return self.violate(slot, Reason::ProtocolError, now);
            }
            (Packet::PubRec(ack), Acknowledged::Taken | Acknowledged::Repeated)
                if !ack.reason.is_error() =>
            {
                let release = Ack::new(ack.id, Reason::Success);
                self.answer(slot, Packet::PubRel(release)); // [MQTT-4.3.3-4]
            }
            (Packet::PubRec(ack), Acknowledged::UnknownId) if !ack.reason.is_error() => {
                let release = self.ack(slot, ack.id, Reason::PacketIdNotFound);
                self.answer(slot, Packet::PubRel(release));
            }
            _ => {}
        }
        if may_go_on {
            self.connections.wake(slot);
        }
    }

    /// PUBREL. [MQTT-4.3.3-11]
    fn handle_pubrel(&mut self, slot: Slot, key: SessionKey, id: PacketId) {
        let was_held = self.clients.get_mut(key).inbound.release(id);
        self.ledger.release_unreleased(usize::from(was_held));
        let is_recorded = was_held && !plant::is_on(Plant::ReleasedNotRecorded);
        if let (true, Some(session)) = (is_recorded, self.clients.get(key).kept.whole()) {
            self.journal.record(Record::Released { session, id });
        }
        if !was_held && plant::is_on(Plant::LostPubComp) {
            return;
        }
        let reason = if was_held { Reason::Success } else { Reason::PacketIdNotFound };
        let ack = self.ack(slot, id, reason);
        self.answer(slot, Packet::PubComp(ack));
    }

    /// Bytes that are no packet: the connection ends, told why as far as its version allows.
    /// [MQTT-4.13.1-1], [3.1.1 MQTT-4.8.0-1]
    fn handle_undecodable(&mut self, id: ConnectionId, error: DecodeError, now: Timestamp) {
        let slot = self.connections.find(id).expect("bytes come from an open connection");
        let connection = self.connections.get(slot).expect("found a moment ago");
        match (&connection.phase, error.refusal()) {
            (Phase::AwaitConnect, Some((version, reason))) => {
                self.refuse(slot, version, reason, None);
            }
            _ => self.violate(slot, error.reason(), now),
        }
    }

    fn handle_connect_timeout(&mut self, id: ConnectionId) {
        let Some(slot) = self.connections.find(id) else { return };
        let connection = self.connections.get(slot).expect("found a moment ago");
        if matches!(connection.phase, Phase::AwaitConnect) {
            self.connections.hang_up(slot, None, Closing::Because(Reason::MaximumConnectTime));
        }
    }

    fn handle_given_up(&mut self, id: ConnectionId, now: Timestamp) {
        if let Some(slot) = self.connections.find(id) {
            self.violate(slot, Reason::QuotaExceeded, now);
        }
    }

    fn handle_closed(&mut self, id: ConnectionId, now: Timestamp) {
        let Some(slot) = self.connections.find(id) else { return };
        let connection = self.connections.close(slot);
        if let Phase::Attached(key, attachment) = connection.phase {
            self.part(slot, key, &attachment, Parting::Ungraceful, now);
        }
    }

    fn handle_deadline(&mut self, now: Timestamp) {
        self.retained.expire(DUE_MAX, &mut self.ledger, now);
        let effort_max = self.effort.spent() + self.settings.effort_max;
        self.spread_alone(now);
        self.clear_remains(now);
        self.go_on_passing(now);
        // Some are kept whatever else is left to do in parts: that may be so in every visit.
        let effort_max = effort_max.max(self.effort.spent() + self.settings.effort_max / 4);
        for _ in 0..DUE_MAX {
            if self.effort.spent() >= effort_max {
                return;
            }
            let Some(due) = self.deadlines.pop(now) else { return };
            self.effort.spend(effort::DUE);
            match due {
                Due::KeepAlive(slot) => self.handle_keep_alive_due(slot, now),
                Due::Session(key) => self.handle_session_due(key, now),
                Due::Sys => self.handle_sys_due(now),
                Due::Clock => self.handle_clock_due(now),
            }
        }
    }

    fn handle_shut_down(&mut self, now: Timestamp) {
        self.is_shutting_down = true;
        let slots: Vec<Slot> = self.connections.slots().collect();
        for slot in slots {
            self.violate(slot, Reason::ServerShuttingDown, now);
        }
        self.end_spreads(now);
    }

    /// Takes a place for a connection, if one is free.
    fn admit(&mut self, slot: Slot) -> bool {
        let listener = self.connections.get(slot).and_then(|connection| connection.listener);
        let listener_max = listener
            .and_then(|listener| self.settings.listeners.get(listener.0))
            .map_or(usize::MAX, |settings| settings.connections_max);
        self.connections.admit(slot, self.settings.limits.connections, listener_max)
    }

    fn is_v5(&self, slot: Slot) -> bool {
        self.connections.get(slot).and_then(version_of) == Some(Version::V5)
    }
}
