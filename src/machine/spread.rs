//! A message for more sessions than one visit may give it to: it is given out in parts, so that
//! nobody waits long behind it.
//!
//! Its publisher is answered behind the last part, and nothing else of him is taken before that:
//! so his messages keep their order. If he leaves, and for a will, the machine goes on by itself,
//! with what is due next. For a session it is as if the message had come at once: what
//! is on its way to it is given to it before anything about it changes. `route.rs` has the first
//! part, and all of a message for fewer.

use std::sync::Arc;

use super::clients::SessionKey;
use super::connections::Phase;
use super::groups::GroupId;
use super::record::Taken;
use super::subscriptions::{Matches, Subscriber};
use super::{ConnectionId, Machine, Timestamp, effort};
use crate::mqtt::message::Message;
use crate::plant::{self, Plant};

/// Messages that are on their way in parts. Above this they are not divided: each has a list of
/// all who are to get it.
pub(super) const SPREADS_MAX: usize = 8;

/// A message that is on its way.
#[derive(Debug)]
pub(super) struct Spread {
    /// The client that published it, and its session.
    pub(super) client_id: Arc<str>,
    pub(super) publisher: SessionKey,
    /// Since when nobody comes back for the rest: it is a will, or its client has left. The session
    /// may be another one's by now.
    pub(super) alone_since: Option<Timestamp>,
    pub(super) message: Arc<Message>,
    pub(super) expires_at: Option<Timestamp>,
    /// What it matched, and how many of the subscriptions and groups are seen to.
    pub(super) matches: Matches,
    pub(super) taken: usize,
    pub(super) groups_taken: usize,
    /// How many sessions it went to.
    pub(super) sessions: usize,
}

impl Spread {
    /// Those who are still to get it by their own subscriptions.
    pub(super) fn left(&self) -> &[Subscriber] {
        &self.matches.own[self.taken..]
    }

    fn has_client(&self, publisher: SessionKey) -> bool {
        self.publisher == publisher && self.alone_since.is_none()
    }

    fn groups_left(&self) -> &[GroupId] {
        &self.matches.groups[self.groups_taken..]
    }

    /// Where those of a session are that are still to get it, and how many.
    fn find(&self, session: SessionKey) -> Option<(usize, usize)> {
        let is_own = |subscriber: &&Subscriber| subscriber.session == session;
        let before = self.left().iter().take_while(|it| !is_own(it)).count();
        let count = self.left()[before..].iter().take_while(is_own).count();
        (count > 0).then_some((self.taken + before, count))
    }
}

impl Machine {
    /// Whether the first of the packets that were left to a connection has taken effect already, and
    /// only goes on.
    pub fn has_begun(&self, connection: ConnectionId) -> bool {
        let slot = self.connections.find(connection).and_then(|slot| self.connections.get(slot));
        match slot.map(|connection| &connection.phase) {
            Some(Phase::Attached(key, _)) => self.is_spreading(*key),
            _ => false,
        }
    }

    /// Whether a message of this client, who goes on with it, is on its way in parts.
    pub(super) fn is_spreading(&self, publisher: SessionKey) -> bool {
        self.spreads.iter().any(|spread| spread.has_client(publisher))
    }

    /// What one part of a message may cost, in all that was spent: half of a visit.
    pub(super) fn part_effort_max(&self) -> u64 {
        self.effort.spent() + self.settings.effort_max / 2
    }

    /// Gives out the next part of this client's message. To how many sessions it went, if that was
    /// the last part.
    pub(super) fn spread_on(&mut self, publisher: SessionKey, now: Timestamp) -> Option<usize> {
        let place = self.spreads.iter().position(|spread| spread.has_client(publisher))?;
        self.spread_until(place, self.part_effort_max(), now)
    }

    /// When to go on with what nobody comes back for.
    pub(super) fn next_alone(&self) -> Option<Timestamp> {
        self.spreads.iter().filter_map(|spread| spread.alone_since).min()
    }

    /// Gives out the next part of a message that nobody comes back for.
    pub(super) fn spread_alone(&mut self, now: Timestamp) {
        let place = self.spreads.iter().position(|spread| spread.alone_since.is_some());
        let Some(place) = place else { return };
        if plant::is_on(Plant::LeftAloneForgotten) {
            self.spreads.swap_remove(place);
        } else {
            self.spread_until(place, self.part_effort_max(), now);
        }
    }

    /// This client leaves: does not come back for what is left of its message.
    pub(super) fn leave_spread(&mut self, publisher: SessionKey, now: Timestamp) {
        for spread in self.spreads.iter_mut().filter(|spread| spread.has_client(publisher)) {
            spread.alone_since = Some(now);
        }
    }

    /// Another message of this client is about to be given out: all that is left of one that was on
    /// its way goes first.
    #[inline]
    pub(super) fn end_spread(&mut self, publisher: SessionKey, now: Timestamp) {
        while let Some(place) = self.spread_of(publisher) {
            self.spread_until(place, u64::MAX, now);
        }
    }

    /// One of this client, whose session may be another one than it was then.
    fn spread_of(&self, publisher: SessionKey) -> Option<usize> {
        if self.spreads.is_empty() {
            return None;
        }
        let client_id = &self.clients.get(publisher).client_id;
        self.spreads.iter().position(|spread| spread.client_id == *client_id)
    }

    /// Gives out all that is left of all messages. Their publishers come for the answers.
    pub(super) fn end_spreads(&mut self, now: Timestamp) {
        let mut spreads = std::mem::take(&mut self.spreads);
        for spread in &mut spreads {
            self.give_next(spread, u64::MAX, now);
        }
        self.spreads = spreads;
    }

    fn spread_until(&mut self, place: usize, effort_max: u64, now: Timestamp) -> Option<usize> {
        let mut spread = self.spreads.swap_remove(place);
        self.give_next(&mut spread, effort_max, now);
        if spread.left().is_empty() && spread.groups_left().is_empty() {
            return Some(spread.sessions);
        }
        self.spreads.push(spread);
        None
    }

    /// Gives out the next part of a message.
    fn give_next(&mut self, spread: &mut Spread, effort_max: u64, now: Timestamp) {
        let part = (&spread.message, spread.expires_at, effort_max);
        let (sessions, taken) = self.give(part, spread.left(), now);
        let (by_groups, groups_taken) = self.give_groups(part, spread.groups_left(), now);
        self.record_part(spread);
        spread.sessions += sessions + by_groups;
        spread.taken += taken;
        spread.groups_taken += groups_taken;
    }

    /// Something about a session is about to change: gives it first what is on its way to it.
    #[inline]
    pub(super) fn catch_up(&mut self, key: SessionKey, now: Timestamp) {
        if !self.spreads.is_empty() {
            self.give_first(key, now);
        }
    }

    fn give_first(&mut self, key: SessionKey, now: Timestamp) {
        let mut spreads = std::mem::take(&mut self.spreads);
        for spread in &mut spreads {
            self.effort.spend(spread.left().len() as u64 / effort::SEARCHED);
            let Some((first, count)) = spread.find(key) else { continue };
            let own = first..first + count;
            let part = (&spread.message, spread.expires_at, u64::MAX);
            let (sessions, _) = self.give(part, &spread.matches.own[own.clone()], now);
            self.record_part(spread);
            spread.sessions += sessions;
            spread.matches.own.drain(own);
        }
        // One that nobody is left for is there until its publisher's next visit.
        self.spreads = spreads;
    }

    /// Records whom a message was just given to. Its publisher's answer waits for that, if he is
    /// there.
    fn record_part(&mut self, spread: &Spread) {
        if !self.journal.is_on {
            return;
        }
        let at = self.journal.next();
        self.journal.record_message(
            &spread.message,
            Taken::of(spread.expires_at),
            &mut self.ledger,
        );
        if self.journal.next() > at && spread.alone_since.is_none() {
            self.clients.get_mut(spread.publisher).recorded = at;
        }
    }
}
