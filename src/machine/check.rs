//! What must always hold, counted anew: for tests and the simulator.
//!
//! Changes nothing, and nothing that serves clients asks it.

use std::ptr;

use super::connections::Phase;
use super::deadlines::Due;
use super::subscribe::subscription_bytes;
use super::{Machine, Timestamp};
use crate::mqtt::message::Message;
use crate::mqtt::wire::Will;

impl Machine {
    /// Asserts what must always hold. Slow.
    pub fn check(&self) {
        self.check_sessions();
        self.check_bytes();
        self.check_spreads();
        self.check_deadlines();
        self.connections.check();
        let ledger = &self.ledger;
        let accounted = ledger.delivered + ledger.waiting + ledger.drops.total();
        assert_eq!(ledger.matched, accounted, "a message was lost, or counted twice");
        let (admitted, by_listener) = self.connections.admitted();
        let mut listeners = by_listener.iter().zip(&self.settings.listeners);
        assert!(
            admitted <= self.settings.limits.connections
                && listeners.all(|(count, listener)| *count <= listener.connections_max),
            "more connections than allowed"
        );
    }

    fn check_sessions(&self) {
        self.clients.check();
        let (mut subscriptions, mut connected) = (0, 0);
        let (mut waiting, mut inflight_out, mut inflight_in) = (0, 0, 0);
        for session in self.clients.iter() {
            inflight_out += session.outbound.check();
            inflight_in += session.inbound.len() as u64;
            waiting += session.outbound.waiting().count() as u64;
            subscriptions += session.subscriptions.len();
            connected += usize::from(session.connection.is_some());
        }
        let ledger = &self.ledger;
        assert_eq!(subscriptions, self.subscriptions.len(), "a subscription has no session");
        assert_eq!(connected, self.clients.connected, "connected clients are miscounted");
        assert_eq!(waiting, ledger.waiting, "waiting messages are miscounted");
        assert_eq!(inflight_out, ledger.inflight_out, "deliveries in flight are miscounted");
        assert_eq!(inflight_in, ledger.inflight_in, "unreleased messages are miscounted");
    }

    fn check_spreads(&self) {
        for spread in &self.spreads {
            let publisher = self.clients.find_at(spread.publisher);
            let is_there = publisher.is_some_and(|session| session.connection.is_some());
            assert!(is_there || spread.alone_since.is_some(), "nobody goes on with a message");
            for subscriber in spread.left() {
                let _ = self.clients.get(subscriber.session); // which panics if it is gone
            }
        }
    }

    /// What is not armed never comes, and what is armed twice is done twice.
    fn check_deadlines(&self) {
        let mut armed = Vec::new();
        for (key, session) in self.clients.entries() {
            assert_eq!(session.armed, session.next_due(), "a session is not armed as it should be");
            armed.extend(session.armed.map(|at| (at, Due::Session(key))));
        }
        for slot in self.connections.slots() {
            let phase = self.connections.get(slot).map(|connection| &connection.phase);
            let Some(Phase::Attached(_, attachment)) = phase else { continue };
            let (has_limit, at) = (attachment.silence_max.is_some(), attachment.keep_alive_armed);
            assert_eq!(has_limit, at.is_some(), "a keep alive is not armed as it should be");
            armed.extend(at.map(|at| (at, Due::KeepAlive(slot))));
        }
        armed.sort_unstable();
        let comes_again = |(_, due): &(Timestamp, Due)| matches!(due, Due::Sys | Due::Clock);
        let (again, once): (Vec<_>, Vec<_>) = self.deadlines.iter().partition(comes_again);
        assert_eq!(once, armed, "what is armed is not what is remembered");
        let has_sys = self.settings.sys_interval.is_some_and(|interval| interval > 0);
        let wanted = [(Due::Clock, self.journal.is_on), (Due::Sys, has_sys)];
        for (wanted, is_wanted) in wanted {
            let count = again.iter().filter(|(_, due)| *due == wanted).count();
            assert_eq!(count, usize::from(is_wanted), "{wanted:?} is not armed once");
        }
    }

    /// Bytes that leak are memory that is refused to clients one day, and bytes that are let go of
    /// twice a limit that is none.
    fn check_bytes(&self) {
        let mut held = self.ledger.unreleased_bytes();
        let mut messages: Vec<&Message> = Vec::new();
        for session in self.clients.iter() {
            held += session.own_bytes();
            held += session.will.as_deref().map_or(0, Will::bytes);
            held += session.subscriptions.iter().map(|it| subscription_bytes(it)).sum::<usize>();
            held += session.outbound.place_bytes();
            for queued in session.outbound.waiting() {
                held += queued.own_bytes();
                messages.push(&queued.message);
            }
        }
        for slot in self.connections.slots() {
            let phase = self.connections.get(slot).map(|connection| &connection.phase);
            if let Some(Phase::Attached(_, attachment)) = phase {
                held += attachment.alias_bytes();
            }
        }
        messages.extend(self.retained.iter().map(|(_, entry)| &*entry.message));
        // However many queues a message is in, it is held once.
        messages.sort_unstable_by_key(|message| ptr::from_ref(*message));
        messages.dedup_by(|one, other| ptr::eq(*one, *other));
        held += messages.iter().map(|message| message.bytes()).sum::<usize>();
        assert_eq!(held, self.ledger.held_bytes(), "the bytes that are held are miscounted");
        let unrecorded = messages.iter().filter(|message| message.holders.record() == 0);
        let unrecorded: usize = unrecorded.map(|message| message.bytes()).sum();
        let counted = self.ledger.unrecorded_bytes();
        assert_eq!(unrecorded, counted, "the bytes that no record has are miscounted");
    }
}
