//! What survives: which sessions are recorded, what is said of them, and what waits until that is
//! durable.
//!
//! `journal.rs` has the records, `restore.rs` makes a machine of them again, `rewrite.rs` records
//! everything anew. What happens to messages is recorded where it happens: `route.rs` and
//! `session/transmit.rs`.

use super::clients::SessionKey;
use super::connections::{Phase, Slot};
use super::record::{Lsn, Record, RetainedLeft, SessionState, SessionUid, Subscribed};
use super::route::Origin;
use super::session::{Kept, Session, SessionExpiry};
use super::{ConnectionId, Machine, StoreHealth, Timestamp};
use crate::mqtt::message::Message;
use crate::mqtt::topic::Filter;
use crate::mqtt::types::QoS;
use crate::mqtt::wire::{Connect, Packet, SubscriptionId, SubscriptionOptions};
use crate::plant::{self, Plant};

/// Bytes of answers of one connection that wait for the disk. Above this nothing more is read of
/// it.
const HELD_BYTES_MAX: usize = 256 << 10;

/// What an acknowledgement means on a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// In memory. Sessions that begin there do not survive.
    #[default]
    None,
    /// On its way to the disk.
    Async,
    /// On the disk.
    Sync,
}

/// A client may have so many answers beside those that fill its Receive Maximum held back, and is
/// read all the same: it pings, acknowledges and goes while a disk is slow.
const ANSWERS_BEYOND: usize = 64;

impl Machine {
    /// Gives out what was recorded since the last call. The place of the last record.
    pub fn poll_records(&mut self, out: &mut Vec<Record>) -> Lsn {
        self.journal.take(out)
    }

    /// Whether [`Machine::poll_records`] has anything to give.
    pub fn has_records(&self) -> bool {
        self.journal.has_records()
    }

    /// What is before this record is not needed any more, once all that was recorded so far is
    /// durable. Given once.
    pub fn poll_droppable(&mut self) -> Option<Lsn> {
        self.journal.droppable.take()
    }

    /// Whether a connection is still to get so many answers, or such large ones, once records are
    /// durable, that no more should be read of it; or anything, while the disk is far behind.
    pub fn owes_much(&self, connection: ConnectionId) -> bool {
        self.connections.find(connection).is_some_and(|slot| self.owes_much_on(slot))
    }

    pub(super) fn owes_much_on(&self, slot: Slot) -> bool {
        let is_waiting = self.connections.get(slot).is_some_and(|it| it.is_waiting);
        let waits_long = is_waiting && self.journal.is_behind();
        self.journal.is_on && (waits_long || self.owes_many(slot))
    }

    /// The same for its own answers alone.
    fn owes_many(&self, slot: Slot) -> bool {
        let answers_max = usize::from(self.settings.limits.inflight) + ANSWERS_BEYOND;
        self.connections.held_answers(slot) >= answers_max
            || self.connections.held_bytes(slot) >= HELD_BYTES_MAX
    }

    /// How durable what happens on a connection is to be.
    pub(super) fn durability(&self, slot: Slot) -> Durability {
        let listener = self.connections.get(slot).and_then(|connection| connection.listener);
        match listener {
            Some(listener) => {
                self.settings.listeners.get(listener.0).map_or(Durability::None, |l| l.durability)
            }
            None => self.settings.durability,
        }
    }

    /// Whether what a connection is sent waits for records.
    pub(super) fn is_held(&self, slot: Slot) -> bool {
        self.journal.is_on && self.durability(slot) == Durability::Sync
    }

    /// Whether CONNACK has gone out, or may: nothing is sent before it.
    pub(super) fn is_greeted(&mut self, slot: Slot) -> bool {
        let is_held = self.is_held(slot);
        let attachment =
            self.connections.attachment(slot).map(|(_, attachment)| attachment.greeted);
        !is_held || attachment.is_none_or(|greeted| self.journal.is_durable(greeted))
    }

    /// Answers what came, once all that its session recorded is durable.
    pub(super) fn answer(&mut self, slot: Slot, packet: Packet) {
        let until = self.answer_waits_for(slot);
        self.connections.answer_held(slot, packet, until);
        if until.is_some() {
            self.wait(slot);
        }
    }

    /// The record that an answer to what came has to wait for. Also what an earlier packet of the
    /// same session left, which may have come on another connection.
    pub(super) fn answer_waits_for(&mut self, slot: Slot) -> Option<Lsn> {
        if !self.journal.is_on || plant::is_on(Plant::AckBeforeDurable) {
            return None;
        }
        self.note_recorded(slot);
        let until = match self.connections.attachment(slot) {
            Some((key, _)) => Some(self.clients.get(key).recorded),
            None => self.journal.since_mark(),
        };
        until.filter(|lsn| self.is_held(slot) && !self.journal.is_durable(*lsn))
    }

    /// What a packet left, also one that is not done with yet, is waited for by every later answer
    /// to its session.
    pub(super) fn note_recorded(&mut self, slot: Slot) {
        if let Some(recorded) = self.journal.since_mark()
            && let Some((key, _)) = self.connections.attachment(slot)
        {
            self.clients.get_mut(key).recorded = recorded;
        }
    }

    /// Who left records while the disk is far behind waits for them, also if his listener does not
    /// have its answers wait.
    pub(super) fn wait_behind(&mut self, slot: Slot) {
        if self.journal.is_behind()
            && let Some((key, _)) = self.connections.attachment(slot)
            && !self.journal.is_durable(self.clients.get(key).recorded)
        {
            self.wait(slot);
        }
    }

    /// Wakes the connection when more is durable.
    pub(super) fn wait(&mut self, slot: Slot) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if !std::mem::replace(&mut connection.is_waiting, true) {
            self.journal.wait(slot, connection.id);
        }
    }

    /// More is durable: whoever waited for it goes on. Who was not read meanwhile has all of its
    /// keep alive again, to be heard in.
    pub(super) fn handle_durable(&mut self, lsn: Lsn, now: Timestamp) {
        let was_behind = self.journal.is_behind();
        for (slot, id) in self.journal.set_durable(lsn) {
            if self.connections.get_mut(slot).is_none_or(|connection| connection.id != id) {
                continue; // it is gone
            }
            let was_unread = was_behind || self.owes_many(slot);
            self.connections.get_mut(slot).expect("found a moment ago").is_waiting = false;
            let journal = &self.journal;
            self.connections.release_held(slot, |until| journal.is_durable(until));
            if self.connections.held_answers(slot) > 0 {
                self.wait(slot);
            }
            match was_unread {
                true => self.read_again(slot, now),
                false => self.connections.wake(slot),
            }
        }
        self.go_on_rewriting();
    }

    /// The disk does well, or does not: one that fails keeps nobody from being read.
    pub(super) fn handle_store(&mut self, health: StoreHealth, now: Timestamp) {
        let was_behind = self.journal.is_behind();
        self.journal.health = health;
        if was_behind && !self.journal.is_behind() {
            for (slot, id) in self.journal.waiting().to_vec() {
                if self.connections.get(slot).is_some_and(|connection| connection.id == id) {
                    self.read_again(slot, now);
                }
            }
        }
        self.go_on_rewriting();
    }

    /// Who was not read has all of its keep alive again.
    fn read_again(&mut self, slot: Slot, now: Timestamp) {
        if let Some((_, attachment)) = self.connections.attachment(slot) {
            attachment.last_received = now;
        }
        self.connections.wake(slot);
    }

    /// A session has a connection: it is recorded, if it must survive. Only a new one begins to
    /// be kept whole: of one that was there before and was not, nobody has recorded what it is
    /// subscribed to and what waits for it.
    pub(super) fn record_attached(&mut self, slot: Slot, key: SessionKey, is_new: bool) {
        if !self.journal.is_on {
            return;
        }
        let durability = self.durability(slot);
        let uid = SessionUid(self.journal.next());
        let is_full = self.journal.is_full();
        let session = self.clients.get_mut(key);
        // Who was let in with a session that lives on can rely on that.
        let lives_on = session.expiry != SessionExpiry::AtDisconnect;
        let may_begin = durability != Durability::None && if lives_on { is_new } else { !is_full };
        if session.kept == Kept::Nothing && may_begin {
            session.kept = match (lives_on, &session.will) {
                (true, _) => Kept::Whole(uid),
                (false, Some(_)) => Kept::Will(uid),
                (false, None) => Kept::Nothing,
            };
        }
        if session.kept != Kept::Nothing {
            let state = self.state_of(key);
            self.journal.record(Record::Session(Box::new(state)));
        }
    }

    /// The session as it is recorded: it is.
    pub(super) fn state_of(&self, key: SessionKey) -> SessionState {
        let session = self.clients.get(key);
        let (next_id, next_number) = session.outbound.next();
        SessionState {
            session: session.kept.uid().expect("only what is recorded is asked for"),
            client_id: session.client_id.clone(),
            identity: session.identity.clone(),
            expiry: session.expiry.secs(),
            is_whole: session.kept.whole().is_some(),
            is_attached: session.connection.is_some(),
            ends_at: session.ends_at,
            will: session.will.clone(),
            will_due: session.will_due,
            next_id,
            next_number,
            unreleased: session.inbound.ids().collect(),
            unfinished: session.outbound.unfinished().collect(),
        }
    }

    /// A session has lost its connection, and does not end at once.
    pub(super) fn record_detached(&mut self, key: SessionKey, now: Timestamp) {
        let session = self.clients.get(key);
        let Some(uid) = session.kept.uid() else { return };
        if session.ends_at.is_some_and(|at| at <= now) {
            return; // that is recorded in a moment
        }
        self.journal.record(Record::Detached {
            session: uid,
            expiry: session.expiry.secs(),
            ends_at: session.ends_at,
            will_due: session.will_due,
        });
    }

    /// A session has ended: of what is cleared away now, only what its groups had given to it is
    /// recorded.
    pub(super) fn record_ended(&mut self, key: SessionKey) {
        let ended = self.clients.get_mut(key);
        let over = ended.kept.whole().map_or(Kept::Nothing, Kept::Over);
        let kept = std::mem::replace(&mut ended.kept, over);
        if !plant::is_on(Plant::EndNotRecorded) {
            self.journal.record_ended(kept, &ended.client_id);
        }
    }

    pub(super) fn record_subscribed(
        &mut self,
        key: SessionKey,
        filter: &Filter,
        options: SubscriptionOptions,
        id: Option<SubscriptionId>,
        retained: Option<RetainedLeft>,
    ) {
        let Some(session) = self.clients.get(key).kept.whole() else { return };
        if plant::is_on(Plant::SubscriptionNotRecorded) {
            return;
        }
        let filter = filter.clone();
        let subscribed = Subscribed { session, filter, options, id, retained };
        self.journal.record(Record::Subscribed(Box::new(subscribed)));
    }

    /// The client has acknowledged a delivery.
    pub(super) fn record_ack(&mut self, key: SessionKey, ack: &Packet) {
        let Some(session) = self.clients.get(key).kept.whole() else { return };
        match ack {
            Packet::PubRec(ack) if !ack.reason.is_error() => {
                let recorded = self.journal.record(Record::Received { session, id: ack.id });
                self.clients.get_mut(key).outbound.hold_release(ack.id, recorded);
            }
            _ if plant::is_on(Plant::FinishedNotRecorded) => {}
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) => {
                self.journal.record(Record::Finished { session, id: ack.id });
            }
            _ => {}
        }
    }

    /// Whether a client that connects needs records which cannot be kept now.
    pub(super) fn cannot_keep(&self, slot: Slot, connect: &Connect, now: Timestamp) -> bool {
        let known = self.clients.find(&connect.client_id).map(|key| self.clients.get(key));
        let known = known.filter(|session| session.kept.whole().is_some());
        let begins_here = self.durability(slot) != Durability::None;
        let lives_on = begins_here && self.expiry_of(connect) != SessionExpiry::AtDisconnect;
        match self.journal.health {
            _ if !self.journal.is_on || !self.journal.is_full() => false,
            _ if self.journal.is_overfull() => lives_on || known.is_some(),
            StoreHealth::Failing => {
                lives_on || known.is_some() || self.journal.is_ending(&connect.client_id)
            }
            // Who comes back takes what waits, and frees room.
            StoreHealth::Low | StoreHealth::Working => {
                // One whose client takes itself over may end with that.
                let lives = |session: &Session| {
                    session.ends_at.is_none_or(|at| at > now)
                        && (session.connection.is_none()
                            || session.expiry != SessionExpiry::AtDisconnect)
                };
                lives_on && (connect.clean_start || !known.is_some_and(lives))
            }
        }
    }

    /// Whether a message, of which it is known what it matches, cannot be taken without records. A
    /// will is: there are only so many.
    pub(super) fn must_be_recorded(&self, message: &Message, origin: &Origin) -> bool {
        if origin.will_of.is_some() || origin.session.is_none() {
            return false;
        }
        if origin.from.is_some() || message.retain {
            return true;
        }
        if message.qos == QoS::AtMostOnce {
            return plant::is_on(Plant::TroubleRefusesAll);
        }
        let is_kept = |key| self.clients.get(key).kept.whole().is_some();
        self.matches.groups.iter().any(|group| self.subscriptions.has_member(*group, is_kept))
            || self.matches.own.iter().any(|s| {
                let is_own = s.no_local && origin.session == Some(s.session);
                s.qos > QoS::AtMostOnce && is_kept(s.session) && !is_own
            })
    }

    /// CONNACK is held until that is durable; none: it is not.
    pub(super) fn hold_greeting(&mut self, slot: Slot, until: Option<Lsn>) {
        if let Some(connection) = self.connections.get_mut(slot)
            && let Phase::Attached(_, attachment) = &mut connection.phase
        {
            attachment.greeted = until.unwrap_or_default();
        }
    }
}
