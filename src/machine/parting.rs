//! How clients leave and sessions end: DISCONNECT, violation, silence, expiry (MQTT 5.0,
//! sections 3.14 and 4.1).
//!
//! `clients.rs` lets them in. Where the messages of a will or of an ended session go is
//! `route.rs`.

use std::collections::VecDeque;

use super::clients::{SessionKey, details};
use super::connections::{Phase, Slot, version_of};
use super::deadlines::Due;
use super::ledger::DropReason;
use super::record::{Lsn, Record, SessionUid};
use super::session::{Attachment, Queued, SessionExpiry};
use super::{Closing, Machine, Timestamp, effort};
use crate::mqtt::topic::Filter;
use crate::mqtt::types::Reason;
use crate::mqtt::wire::{Disconnect, Packet, Will};
use crate::plant::{self, Plant};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// With a DISCONNECT that takes the will back.
    Graceful,
    /// In any other way.
    Ungraceful,
}

/// Sessions that have ended while more was left of them than is cleared away at once, in the order
/// in which they did. Their clients may be back with new ones.
#[derive(Debug, Default)]
pub(super) struct Remains(VecDeque<Remain>);

#[derive(Debug)]
struct Remain {
    session: SessionKey,
    ended: Timestamp,
    /// The end was recorded before this.
    recorded: Lsn,
}

impl Remains {
    /// When to go on clearing away.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.front().map(|remain| remain.ended)
    }

    /// Whether something is left of a session whose end was recorded before this.
    pub(super) fn has_before(&self, lsn: Lsn) -> bool {
        self.0.front().is_some_and(|remain| remain.recorded <= lsn)
    }
}

impl Machine {
    /// DISCONNECT from the client.
    pub(super) fn handle_disconnect(
        &mut self,
        slot: Slot,
        key: SessionKey,
        disconnect: &Disconnect,
        now: Timestamp,
    ) {
        let Some((_, attachment)) = self.connections.attachment(slot) else { return };
        let had_expiry = attachment.connected_with_expiry;
        if let Some(asked) = disconnect.session_expiry
            && !plant::is_on(Plant::GoodbyeExpiryIgnored)
        {
            if asked != 0 && !had_expiry {
                return self.violate(slot, Reason::ProtocolError, now);
            }
            let secs = asked.min(self.settings.limits.session_expiry_max);
            self.clients.get_mut(key).expiry = SessionExpiry::from_secs(secs);
        }
        let parting = match disconnect.reason {
            Reason::Success => Parting::Graceful, // [MQTT-3.14.4-3]
            _ => Parting::Ungraceful,
        };
        self.close(slot, None, Closing::Left, parting, now);
    }

    /// The client broke the protocol, or is to go for another reason: tells it why if its
    /// version can, and closes. [MQTT-4.13.1-1]
    pub(super) fn violate(&mut self, slot: Slot, reason: Reason, now: Timestamp) {
        let last = self.disconnect_packet(slot, reason);
        self.close(slot, last, Closing::Because(reason), Parting::Ungraceful, now);
    }

    fn close(
        &mut self,
        slot: Slot,
        last: Option<Packet>,
        why: Closing,
        parting: Parting,
        now: Timestamp,
    ) {
        if let Phase::Attached(key, attachment) = self.connections.hang_up(slot, last, why) {
            self.part(slot, key, &attachment, parting, now);
        }
    }

    /// The DISCONNECT that tells a client why: only one of 5.0 that has its CONNACK can be told.
    /// [MQTT-3.14.0-1]
    pub(super) fn disconnect_packet(&mut self, slot: Slot, reason: Reason) -> Option<Packet> {
        let version = version_of(self.connections.get(slot)?)?;
        let is_greeted = self.is_greeted(slot);
        let (_, attachment) = self.connections.attachment(slot)?;
        if !version.is_v5()
            || !is_greeted
            || (reason == Reason::SessionTakenOver && plant::is_on(Plant::TakeoverSilent))
        {
            return None;
        }
        let mut disconnect = Disconnect::new(reason);
        if attachment.wants_problem_information {
            disconnect.details = details(reason);
        }
        let packet = Packet::Disconnect(Box::new(disconnect));
        if !attachment.takes(&packet) {
            return Some(Packet::Disconnect(Box::new(Disconnect::new(reason)))); // [MQTT-3.14.2-3]
        }
        Some(packet)
    }

    /// A session loses its connection.
    pub(super) fn part(
        &mut self,
        slot: Slot,
        key: SessionKey,
        attachment: &Attachment,
        parting: Parting,
        now: Timestamp,
    ) {
        if let Some(at) = attachment.keep_alive_armed {
            self.deadlines.disarm(at, Due::KeepAlive(slot));
        }
        self.clients.connected -= 1;
        self.ledger.release_bytes(attachment.alias_bytes());
        let session = self.clients.get_mut(key);
        assert_eq!(session.connection, Some(slot), "a session parts from its own connection");
        session.connection = None;
        session.was_full = false;
        session.inbound.detach();
        session.outbound.detach(&mut self.ledger, &mut session.drops);
        if plant::is_on(Plant::Qos2Forgotten) {
            self.ledger.release_unreleased(std::mem::take(&mut session.inbound).len());
        }
        if parting == Parting::Graceful && !plant::is_on(Plant::WillOnGoodbye) {
            self.drop_will(key); // [MQTT-3.1.2-10]
        }
        let session = self.clients.get_mut(key);
        let delay = session.will.as_ref().map(|will| u64::from(will.delay));
        let delay = delay.map(|delay| if plant::is_on(Plant::WillAtOnce) { 0 } else { delay });
        session.will_due = delay.map(|delay| now.after_secs(delay));
        session.ends_at = session.expiry.due(now); // [MQTT-3.1.2-23]
        if plant::is_on(Plant::SessionNeverEnds) {
            session.ends_at = session.ends_at.filter(|at| *at == now);
        }
        self.arm_session(key);
        self.record_detached(key, now);
        self.leave_spread(key, now);
        self.pass_on_shared(key, 0, now);
        if self.clients.get(key).next_due().is_some_and(|due| due <= now) {
            self.handle_session_due(key, now);
        }
    }

    pub(super) fn arm_session(&mut self, key: SessionKey) {
        let session = self.clients.get_mut(key);
        let due = session.next_due();
        if let Some(at) = std::mem::replace(&mut session.armed, due) {
            self.deadlines.disarm(at, Due::Session(key));
        }
        if let Some(at) = due {
            self.deadlines.arm(at, Due::Session(key));
        }
    }

    /// A detached session's will or end is due. The will comes first.
    pub(super) fn handle_session_due(&mut self, key: SessionKey, now: Timestamp) {
        let session = self.clients.get_mut(key);
        if session.ends_at.is_some_and(|at| at <= now) {
            return self.end_session(key, now);
        }
        if session.will_due.is_some_and(|at| at <= now) {
            self.publish_will(key, now);
        }
        self.arm_session(key);
    }

    /// Ends a detached session: its will goes out if it is still there; nobody finds it or gives
    /// it anything any more. [MQTT-3.1.2-8], [MQTT-4.1.0-2]
    pub(super) fn end_session(&mut self, key: SessionKey, now: Timestamp) {
        self.catch_up(key, now);
        self.publish_will(key, now);
        self.record_ended(key);
        let session = self.clients.retire(key);
        session.ends_at = None;
        session.will_due = None;
        self.ledger.release_unreleased(std::mem::take(&mut session.inbound).len());
        self.arm_session(key);
        let recorded = self.journal.next();
        if !self.clear(key, now) {
            self.remains.0.push_back(Remain { session: key, ended: now, recorded });
        }
    }

    /// Goes on with what is left of a session that ended.
    pub(super) fn clear_remains(&mut self, now: Timestamp) {
        let Some(remain) = self.remains.0.front() else { return };
        if self.clear(remain.session, now) {
            self.remains.0.pop_front();
            self.end_rewrite();
        }
    }

    /// Clears away what is left of a session that ended, as much as may be done at once: its
    /// subscriptions, then what it had not acknowledged, which may go to another member of a
    /// group. Takes half of what a visit may cost, so that other deadlines are kept. Whether
    /// nothing is left.
    fn clear(&mut self, key: SessionKey, now: Timestamp) -> bool {
        let effort_max = self.effort.spent() + self.settings.effort_max / 2;
        while self.clear_subscription(key) || self.clear_cursor(key) || self.clear_message(key, now)
        {
            if self.effort.spent() >= effort_max {
                return false;
            }
        }
        self.catch_up(key, now); // it may have matched after it ended
        let session = self.clients.remove(key);
        self.ledger.release_bytes(session.own_bytes());
        true
    }

    fn clear_subscription(&mut self, key: SessionKey) -> bool {
        let filter = self.clients.get_mut(key).subscriptions.pop_first();
        let Some(filter) = filter else { return false };
        self.effort.spend(effort::of_filter(&filter));
        self.ledger.release_bytes(super::subscribe::subscription_bytes(&filter));
        let filter = Filter::try_from(&*filter).expect("it was parsed when it came in");
        self.subscriptions.remove(&filter, key);
        true
    }

    fn clear_cursor(&mut self, key: SessionKey) -> bool {
        if !self.clients.get_mut(key).outbound.drop_cursor() {
            return false;
        }
        self.effort.spend(effort::CURSOR);
        true
    }

    fn clear_message(&mut self, key: SessionKey, now: Timestamp) -> bool {
        let session = self.clients.get_mut(key);
        let Some((queued, is_unsent)) = session.outbound.take_first(&mut self.ledger) else {
            return false;
        };
        self.effort.spend(effort::DELIVERY);
        let was = queued.recorded_as(session.kept.over());
        self.pass_on_or_drop(queued, is_unsent, was, now);
        true
    }

    /// Gives what a session had that ended to another member of its group, or drops it.
    pub(super) fn pass_on_or_drop(
        &mut self,
        queued: Queued,
        is_unsent: bool,
        was: Option<(SessionUid, u64)>,
        now: Timestamp,
    ) {
        let may_pass = queued.may_pass_on(is_unsent);
        if self.pass_on(queued, is_unsent, was, now) {
            return;
        }
        self.ledger.drops.count(DropReason::SessionEnded);
        if let Some((session, number)) = was.filter(|_| may_pass) {
            self.journal.record(Record::Dropped { session, number });
        }
    }

    pub(super) fn publish_will(&mut self, key: SessionKey, now: Timestamp) {
        if let Some(will) = self.drop_will(key) {
            self.route_will(*will, key, now);
        }
    }

    /// Takes the will out of a session.
    pub(super) fn drop_will(&mut self, key: SessionKey) -> Option<Box<Will>> {
        let session = self.clients.get_mut(key);
        session.will_due = None;
        let will = session.will.take()?;
        self.ledger.release_bytes(will.bytes());
        Some(will)
    }

    /// The keep alive of a connection is due: the client is gone, or has been heard since.
    pub(super) fn handle_keep_alive_due(&mut self, slot: Slot, now: Timestamp) {
        let Some((_, attachment)) = self.connections.attachment(slot) else { return };
        let Some(silence_max) = attachment.silence_max else { return };
        let due = attachment.last_received.after_millis(silence_max);
        // Of whom so much waits for the disk that nothing is read cannot be heard.
        let is_heard = !self.owes_much_on(slot);
        let Some((_, attachment)) = self.connections.attachment(slot) else { return };
        let due = if is_heard { due } else { now.after_millis(silence_max) };
        if due <= now {
            attachment.keep_alive_armed = None;
            return self.violate(slot, Reason::KeepAliveTimeout, now);
        }
        attachment.keep_alive_armed = Some(due);
        self.deadlines.arm(due, Due::KeepAlive(slot));
    }
}
