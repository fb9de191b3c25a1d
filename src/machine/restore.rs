//! A machine made of records, after a restart.
//!
//! [`Restorer::apply`] does to a plain picture of the state what the records say, in their order;
//! [`Restorer::finish`] makes a machine of it, by what `rebuild.rs` has for each part. A record
//! about what is not known changes nothing: see `record/mod.rs`. What the clock did meanwhile is
//! seen to at the end: sessions and messages whose time is over, and connections, of which a
//! restart leaves none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use foldhash::quality::FixedState;

use super::connections::Map;
use super::ledger::Ledger;
use super::record::{
    Body, Lsn, Record, RetainedLeft, SessionState, SessionUid, Subscribed, Taken, Waiting,
};
use super::retained::Retained;
use super::wall::{Recorded, bounded};
use super::{Machine, Seed, Settings, Timestamp};
use crate::mqtt::message::Message;
use crate::mqtt::topic::{Filter, TopicFilter, TopicName};
use crate::mqtt::types::{PacketId, QoS};
use crate::mqtt::wire::{SubscriptionId, SubscriptionOptions};
use crate::plant::{self, Plant};

/// What came out of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Sessions that live on.
    pub sessions: usize,
    /// Their subscriptions.
    pub subscriptions: usize,
    /// Messages that wait for them.
    pub waiting: usize,
    /// Retained messages.
    pub retained: usize,
}

/// The state that records come to.
pub struct Restorer {
    sessions: BTreeMap<SessionUid, Stored>,
    by_client: BTreeMap<Arc<str>, SessionUid>,
    /// What groups had given to sessions that have ended, and nobody else has yet: by the number
    /// it had there.
    left: BTreeMap<SessionUid, BTreeMap<u64, Delivery>>,
    messages: Map<Lsn, Arc<Message>>,
    /// With all of these that expire meanwhile.
    retained: Retained,
    /// Of what is retained.
    ledger: Ledger,
    /// Where everything began to be written anew the last time.
    rewritten_from: Lsn,
    /// How far that came, if no record is missing since.
    rewrite: Option<EarlierRewrite>,
    last: Lsn,
    /// Up to here all is known to be durable; none: all is.
    durable: Option<Lsn>,
    /// The ends of sessions behind that.
    unsettled: VecDeque<UnsettledEnd>,
    time: Recorded,
}

/// How far a rewrite came.
#[derive(Debug, Default)]
pub(super) struct EarlierRewrite {
    /// What need not be done again: see [`Record::Rewritten`].
    pub(super) sessions: BTreeSet<SessionUid>,
    pub(super) part: Option<(SessionUid, u64)>,
    pub(super) retained: Option<TopicName>,
    pub(super) bytes: u64,
    /// All of it was done.
    pub(super) has_ended: bool,
}

/// The end of a session of which a power failure may still make nothing.
#[derive(Debug)]
pub(super) struct UnsettledEnd {
    pub(super) at: Lsn,
    pub(super) client_id: Arc<str>,
    /// More was kept of it than a will.
    pub(super) was_whole: bool,
}

#[derive(Debug)]
pub(super) struct Stored {
    /// But for what is not released, and what only waits for PUBCOMP: both are below.
    pub(super) state: SessionState,
    pub(super) unreleased: BTreeSet<PacketId>,
    pub(super) subscriptions: BTreeMap<Box<str>, Subscription>,
    /// What waits, by its number.
    pub(super) queue: BTreeMap<u64, Delivery>,
    /// What may have been sent, by its packet id; none: only PUBCOMP is missing.
    pub(super) sent: BTreeMap<PacketId, Option<Delivery>>,
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) filter: Filter,
    pub(super) options: SubscriptionOptions,
    pub(super) id: Option<SubscriptionId>,
    pub(super) retained: Option<RetainedLeft>,
}

#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) message: Arc<Message>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) waiting: Waiting,
}

impl fmt::Debug for Restorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restorer").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Default for Restorer {
    fn default() -> Restorer {
        Restorer {
            sessions: BTreeMap::new(),
            by_client: BTreeMap::new(),
            left: BTreeMap::new(),
            // Its keys are our own numbers.
            messages: Map::with_hasher(FixedState::with_seed(0)),
            retained: Retained::new(),
            ledger: Ledger::default(),
            rewritten_from: Lsn::default(),
            rewrite: None,
            last: Lsn::default(),
            durable: None,
            unsettled: VecDeque::new(),
            time: Recorded::default(),
        }
    }
}

/// Seconds from the end of a session's connection until its will is due.
fn will_delay(state: &SessionState) -> u32 {
    state.will.as_deref().map_or(0, |will| will.delay)
}

impl Restorer {
    /// Does what the record says. They come in their order; some may be missing.
    pub fn apply(&mut self, lsn: Lsn, record: Record) {
        self.note_place(lsn);
        match record {
            Record::Session(state) => self.begin(*state),
            Record::Detached { session, expiry, ends_at, will_due } => {
                self.detach(session, expiry, (ends_at, will_due));
            }
            Record::Ended { session } => {
                if let Some(Stored { state, .. }) = self.sessions.get(&session) {
                    let (client_id, was_whole) = (state.client_id.clone(), state.is_whole);
                    self.unsettled.push_back(UnsettledEnd { at: lsn, client_id, was_whole });
                }
                self.end(session);
            }
            Record::WillGone { session } => self.drop_will(session),
            Record::Subscribed(subscribed) => self.subscribe(*subscribed),
            Record::Unsubscribed { session, filter } => {
                if let Some(stored) = self.sessions.get_mut(&session) {
                    stored.subscriptions.remove(filter.to_string().as_str());
                }
            }
            Record::RetainedSent { session, filter } => {
                if let Some(subscription) = self.subscription(session, &filter) {
                    subscription.retained = None;
                }
            }
            Record::Message(taken) => self.take(lsn, *taken),
            Record::Sent { session, number, id } => {
                if let Some(stored) = self.sessions.get_mut(&session)
                    && let Some(delivery) = stored.queue.remove(&number)
                {
                    stored.sent.insert(id, Some(delivery));
                    stored.state.next_id = id.next();
                }
            }
            Record::Dropped { session, number } => self.drop_delivery(session, number),
            Record::Finished { session, id } => {
                if let Some(stored) = self.sessions.get_mut(&session) {
                    stored.sent.remove(&id);
                }
            }
            Record::Received { session, id } => {
                if let Some(entry) =
                    self.sessions.get_mut(&session).and_then(|stored| stored.sent.get_mut(&id))
                {
                    *entry = None;
                }
            }
            Record::Released { session, id } => {
                if let Some(stored) = self.sessions.get_mut(&session) {
                    stored.unreleased.remove(&id);
                }
            }
            Record::Clock { at, offset } => self.time.tell(lsn, at, offset),
            Record::RewriteBegun => self.begin_rewrite(lsn),
            Record::Rewritten { sessions, part, retained, bytes } => {
                if let Some(rewrite) = &mut self.rewrite {
                    rewrite.sessions.extend(sessions);
                    (rewrite.part, rewrite.retained, rewrite.bytes) = (part, retained, bytes);
                }
            }
            Record::RewriteEnded => self.end_rewrite(),
        }
    }

    /// Places up to this one are taken: the records there are lost.
    pub fn skip_to(&mut self, last: Lsn) {
        if last > self.last {
            self.note_place(last.next());
            self.last = last;
        }
    }

    /// A record is there, and whatever has a place before it and did not come is missing: it may
    /// have been one that was written anew.
    fn note_place(&mut self, lsn: Lsn) {
        if lsn > self.last.next() {
            self.rewrite = None;
        }
        self.last = self.last.max(lsn);
    }

    /// Whether the machine goes on to write everything anew.
    pub fn is_rewriting(&self) -> bool {
        self.rewrite.as_ref().is_some_and(|rewrite| !rewrite.has_ended)
    }

    /// Whether all of it was written anew, and what is before this is not needed.
    pub fn dead_before(&self) -> Option<Lsn> {
        let has_ended = self.rewrite.as_ref().is_some_and(|rewrite| rewrite.has_ended);
        has_ended.then_some(self.rewritten_from)
    }

    /// Only the records up to this one are known to be durable. Until this is called, all are.
    pub fn set_durable(&mut self, durable: Lsn) {
        self.durable = self.durable.max(Some(durable));
        while self.unsettled.pop_front_if(|ended| ended.at <= durable).is_some() {}
    }

    /// The place of the last record.
    pub fn last(&self) -> Lsn {
        self.last
    }

    /// The place of the last record that is known to be durable.
    pub fn durable(&self) -> Lsn {
        self.durable.unwrap_or(self.last)
    }

    pub(super) fn time_mut(&mut self) -> &mut Recorded {
        &mut self.time
    }

    /// A session lost its connection: when it ends then, and when its will is due, if that is.
    fn detach(
        &mut self,
        session: SessionUid,
        expiry: u32,
        (ends_at, will_due): (Option<Timestamp>, Option<Timestamp>),
    ) {
        self.time.note_due(ends_at, expiry);
        let Some(Stored { state, .. }) = self.sessions.get_mut(&session) else { return };
        (state.expiry, state.ends_at, state.will_due) = (expiry, ends_at, will_due);
        state.is_attached = false;
        let is_due = will_due.is_some() || plant::is_on(Plant::WillNotForgotten);
        state.will = state.will.take().filter(|_| is_due);
        self.time.note_due(will_due, will_delay(state));
    }

    fn begin(&mut self, mut state: SessionState) {
        self.time.note_due(state.ends_at, state.expiry);
        self.time.note_due(state.will_due, will_delay(&state));
        let unreleased = std::mem::take(&mut state.unreleased).into_iter().collect();
        let unfinished = std::mem::take(&mut state.unfinished).into_iter().map(|id| (id, None));
        let uid = state.session;
        let earlier = self.by_client.insert(state.client_id.clone(), uid);
        if let Some(earlier) = earlier.filter(|earlier| *earlier != uid) {
            self.end(earlier);
        }
        match self.sessions.get_mut(&uid) {
            Some(stored) => {
                stored.sent.retain(|_, entry| entry.is_some());
                stored.sent.extend(unfinished);
                (stored.unreleased, stored.state) = (unreleased, state);
            }
            None => {
                let sent = unfinished.collect();
                let (subscriptions, queue) = (BTreeMap::new(), BTreeMap::new());
                let stored = Stored { state, unreleased, subscriptions, queue, sent };
                self.sessions.insert(uid, stored);
            }
        }
    }

    fn end(&mut self, session: SessionUid) {
        let Some(stored) = self.sessions.remove(&session) else { return };
        if self.by_client.get(&stored.state.client_id) == Some(&session) {
            self.by_client.remove(&stored.state.client_id);
        }
        let sent = stored.sent.into_values().flatten();
        let sent = sent.filter(|delivery| delivery.waiting.qos < QoS::ExactlyOnce);
        let left = stored.queue.into_values().chain(sent);
        let left = left.filter(|delivery| delivery.waiting.share.is_some());
        let left: BTreeMap<u64, Delivery> = left.map(|it| (it.waiting.number, it)).collect();
        if !left.is_empty() {
            self.left.insert(session, left);
        }
    }

    fn drop_will(&mut self, session: SessionUid) {
        if let Some(stored) = self.sessions.get_mut(&session) {
            stored.state.will = None;
            stored.state.will_due = None;
        }
    }

    fn drop_delivery(&mut self, session: SessionUid, number: u64) {
        if let Some(stored) = self.sessions.get_mut(&session) {
            stored.queue.remove(&number);
        } else if let Some(left) = self.left.get_mut(&session) {
            left.remove(&number);
            if left.is_empty() {
                self.left.remove(&session);
            }
        }
    }

    fn subscribe(&mut self, subscribed: Subscribed) {
        let Subscribed { session, filter, options, id, retained } = subscribed;
        let Some(stored) = self.sessions.get_mut(&session) else { return };
        let text = filter.to_string().into_boxed_str();
        let earlier = stored.subscriptions.remove(&text);
        let until = retained.as_ref().map_or(0, |left| left.until);
        self.retained.go_on_behind(until); // it may still have to be sent what is gone by now
        let retained = retained.or(earlier.and_then(|earlier| earlier.retained));
        stored.subscriptions.insert(text, Subscription { filter, options, id, retained });
    }

    fn subscription(
        &mut self,
        session: SessionUid,
        filter: &TopicFilter,
    ) -> Option<&mut Subscription> {
        self.sessions.get_mut(&session)?.subscriptions.get_mut(filter.as_str())
    }

    /// A message, and who is to get it.
    fn take(&mut self, lsn: Lsn, taken: Taken) {
        if let Some((session, id)) = taken.from
            && let Some(stored) = self.sessions.get_mut(&session)
        {
            stored.unreleased.insert(id);
        }
        if let Some(session) = taken.will_of {
            self.drop_will(session);
        }
        if let Some((session, number)) = taken.instead_of {
            self.drop_delivery(session, number);
        }
        let message = match &taken.message {
            Body::Here(message) => {
                let message = self.find_again(message, &taken).unwrap_or(Arc::clone(message));
                message.holders.set_record(lsn.0);
                if let Some(secs) = message.expiry() {
                    self.time.note_due(taken.expires_at, secs);
                }
                self.messages.insert(lsn, Arc::clone(&message));
                Some(message)
            }
            Body::In(place) => self.messages.get(place).cloned(),
        };
        let Some(message) = message else { return };
        if let Some((session, filter)) = &taken.cursor
            && let Some(subscription) = self.subscription(*session, filter)
            && let Some(left) = &mut subscription.retained
        {
            left.after = Some(message.topic.clone());
        }
        if let Some(sequence) = taken.retained {
            self.retained.restore(&message, sequence, taken.expires_at, &mut self.ledger);
        }
        for waiting in taken.deliveries {
            self.deliver(&message, taken.expires_at, waiting);
        }
    }

    /// A message that is only written anew: as it is known. Others may wait for it of whom that is
    /// not said yet, and all have it once.
    fn find_again(&self, message: &Arc<Message>, taken: &Taken) -> Option<Arc<Message>> {
        self.rewrite.as_ref().filter(|rewrite| !rewrite.has_ended)?;
        let was_retained = taken.retained.is_some() || taken.cursor.is_some();
        let retained = self.retained.get(&message.topic).filter(|_| was_retained);
        let delivery = || self.known_delivery(taken.deliveries.first()?);
        let known = retained.or_else(|| Some(&delivery()?.message));
        known.filter(|known| *known == message).cloned()
    }

    /// The same delivery, as it was recorded before.
    fn known_delivery(&self, waiting: &Waiting) -> Option<&Delivery> {
        let stored = self.sessions.get(&waiting.session)?;
        let sent = waiting.sent.and_then(|id| stored.sent.get(&id)?.as_ref());
        let delivery = sent.or_else(|| stored.queue.get(&waiting.number));
        delivery.filter(|delivery| delivery.waiting.number == waiting.number)
    }

    fn deliver(&mut self, message: &Arc<Message>, at: Option<Timestamp>, waiting: Waiting) {
        let Some(stored) = self.sessions.get_mut(&waiting.session) else { return };
        stored.state.next_number = stored.state.next_number.max(waiting.number);
        let (number, sent) = (waiting.number, waiting.sent);
        let delivery = Delivery { message: Arc::clone(message), expires_at: at, waiting };
        match sent {
            Some(id) => drop(stored.sent.insert(id, Some(delivery))),
            None => drop(stored.queue.insert(number, delivery)),
        }
    }

    fn begin_rewrite(&mut self, from: Lsn) {
        self.rewritten_from = from;
        self.rewrite = Some(EarlierRewrite::default());
    }

    /// Everything was written anew: no record refers to what was recorded before that any more.
    /// To what was recorded since, even a message that nobody waits for now, one still may.
    fn end_rewrite(&mut self) {
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.has_ended = true;
            rewrite.sessions.clear();
        }
        let from = self.rewritten_from;
        self.messages.retain(|lsn, _| *lsn >= from);
    }

    /// Has nothing kept for longer than it was to be from now on: it was recorded when a wall clock
    /// showed what is not yet.
    fn bound(&mut self, now: Timestamp) {
        for Stored { state, queue, sent, .. } in self.sessions.values_mut() {
            state.ends_at = bounded(state.ends_at, Some(state.expiry), now);
            state.will_due = bounded(state.will_due, Some(will_delay(state)), now);
            let sent = sent.values_mut().flatten();
            queue.values_mut().chain(sent).for_each(|delivery| delivery.bound(now));
        }
        let left = self.left.values_mut().flat_map(BTreeMap::values_mut);
        left.for_each(|delivery| delivery.bound(now));
        self.retained.bound(now);
    }

    /// The machine, with no connection yet, and what is in it. What the restart itself decides
    /// is recorded.
    pub fn finish(mut self, settings: Settings, seed: Seed, now: Timestamp) -> (Machine, Restored) {
        let (last, durable) = (self.last, self.durable());
        if self.time.is_behind(now) {
            self.bound(now);
        }
        let (mut retained, mut ledger) = (self.retained, self.ledger);
        retained.expire(usize::MAX, &mut ledger, now);
        let mut restored = Restored { retained: retained.len(), ..Restored::default() };
        let mut machine = Machine::behind(last, (retained, ledger), settings, seed, now);
        machine.journal.unsettle(durable, self.unsettled);
        // Whatever became of that rewrite: messages from before it are forgotten where it ended.
        machine.journal.cut = self.rewritten_from;
        machine.resume_clock(self.time, now);
        if let Some(rewrite) = self.rewrite {
            machine.resume_rewrite(rewrite, now);
        }
        // What waits may be of a group whose members come later: all of them first.
        let mut undelivered = Vec::new();
        for stored in self.sessions.into_values() {
            undelivered.extend(machine.restore_session(stored, &mut restored, now));
        }
        for waits in undelivered {
            restored.waiting += machine.restore_deliveries(waits, now);
        }
        machine.judge_restored(now);
        for delivery in self.left.into_values().flat_map(BTreeMap::into_values) {
            machine.restore_left(delivery, now);
        }
        (machine, restored)
    }
}

impl Delivery {
    fn bound(&mut self, now: Timestamp) {
        self.expires_at = bounded(self.expires_at, self.message.expiry(), now);
    }
}
