//! A machine made of records, after a restart.
//!
//! [`Restorer::apply`] does to a plain picture of the state what the records say, in their order;
//! [`Restorer::finish`] makes a machine of it. A record about what is not known changes nothing:
//! see `record/mod.rs`. What the clock did meanwhile is seen to at the end: sessions and messages
//! whose time is over, and connections, of which a restart leaves none.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use foldhash::quality::FixedState;

use super::clients::SessionKey;
use super::connections::Map;
use super::ledger::{DropReason, Ledger};
use super::record::{
    Body, Lsn, Record, RetainedLeft, SessionState, SessionUid, Subscribed, Taken, Waiting,
};
use super::retained::Retained;
use super::session::{
    Inbound, Inflight, Kept, Outbound, Queued, RetainedCursor, Session, SessionExpiry,
    start_waiting,
};
use super::subscribe::subscription_bytes;
use super::subscriptions::Subscriber;
use super::wall::{Recorded, bounded};
use super::{Machine, Seed, Settings, Timestamp};
use crate::access::Action;
use crate::mqtt::message::Message;
use crate::mqtt::topic::{Filter, TopicFilter};
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
    last: Lsn,
    /// Up to here all is known to be durable; none: all is.
    durable: Option<Lsn>,
    /// The ends of sessions behind that.
    unsettled: VecDeque<UnsettledEnd>,
    time: Recorded,
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
struct Stored {
    state: SessionState,
    subscriptions: BTreeMap<Box<str>, Subscription>,
    /// What waits, by its number.
    queue: BTreeMap<u64, Delivery>,
    /// What may have been sent, by its packet id; none: only PUBCOMP is missing.
    sent: BTreeMap<PacketId, Option<Delivery>>,
}

#[derive(Debug)]
struct Subscription {
    filter: Filter,
    options: SubscriptionOptions,
    id: Option<SubscriptionId>,
    retained: Option<RetainedLeft>,
}

#[derive(Debug)]
struct Delivery {
    message: Arc<Message>,
    expires_at: Option<Timestamp>,
    waiting: Waiting,
}

/// What waits for a session that is restored.
struct Undelivered {
    session: SessionKey,
    queue: BTreeMap<u64, Delivery>,
    sent: BTreeMap<PacketId, Option<Delivery>>,
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
            last: Lsn::default(),
            durable: None,
            unsettled: VecDeque::new(),
            time: Recorded::default(),
        }
    }
}

impl Restorer {
    /// Does what the record says. They come in their order; some may be missing.
    pub fn apply(&mut self, lsn: Lsn, record: Record) {
        self.last = self.last.max(lsn);
        match record {
            Record::Session(state) => self.begin(*state),
            Record::Detached { session, expiry, ends_at, will_due } => {
                self.time.note_due(ends_at, expiry);
                if let Some(stored) = self.sessions.get_mut(&session) {
                    let state = &mut stored.state;
                    (state.expiry, state.ends_at, state.will_due) = (expiry, ends_at, will_due);
                    state.is_attached = false;
                    state.will = state.will.take().filter(|_| will_due.is_some());
                }
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
                    stored.state.unreleased.retain(|held| *held != id);
                }
            }
            Record::Clock { at, offset } => self.time.tell(lsn, at, offset),
            Record::RewriteBegun => self.rewritten_from = lsn,
            Record::RewriteEnded => self.forget_messages(),
        }
    }

    /// Places up to this one are taken: the records there are lost.
    pub fn skip_to(&mut self, last: Lsn) {
        self.last = self.last.max(last);
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

    fn begin(&mut self, state: SessionState) {
        self.time.note_due(state.ends_at, state.expiry);
        let uid = state.session;
        let earlier = self.by_client.insert(state.client_id.clone(), uid);
        if let Some(earlier) = earlier.filter(|earlier| *earlier != uid) {
            self.end(earlier);
        }
        match self.sessions.get_mut(&uid) {
            Some(stored) => {
                stored.sent.retain(|_, entry| entry.is_some());
                stored.sent.extend(state.unfinished.iter().map(|id| (*id, None)));
                stored.state = state;
            }
            None => {
                let sent = state.unfinished.iter().map(|id| (*id, None)).collect();
                let (subscriptions, queue) = (BTreeMap::new(), BTreeMap::new());
                self.sessions.insert(uid, Stored { state, subscriptions, queue, sent });
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
            && !stored.state.unreleased.contains(&id)
        {
            stored.state.unreleased.push(id);
        }
        if let Some(session) = taken.will_of {
            self.drop_will(session);
        }
        if let Some((session, number)) = taken.instead_of {
            self.drop_delivery(session, number);
        }
        let message = match taken.message {
            Body::Here(message) => {
                message.holders.set_record(lsn.0);
                if let Some(secs) = message.expiry() {
                    self.time.note_due(taken.expires_at, secs);
                }
                self.messages.insert(lsn, Arc::clone(&message));
                Some(message)
            }
            Body::In(place) => self.messages.get(&place).cloned(),
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

    /// Everything was written anew: no record refers to what was recorded before that any more.
    /// To what was recorded since, even a message that nobody waits for now, one still may.
    fn forget_messages(&mut self) {
        let from = self.rewritten_from;
        self.messages.retain(|lsn, _| *lsn >= from);
    }

    /// Has nothing kept for longer than it was to be from now on: it was recorded when a wall clock
    /// showed what is not yet.
    fn bound(&mut self, now: Timestamp) {
        for Stored { state, queue, sent, .. } in self.sessions.values_mut() {
            state.ends_at = bounded(state.ends_at, Some(state.expiry), now);
            let delay = state.will.as_deref().map_or(0, |will| will.delay);
            state.will_due = bounded(state.will_due, Some(delay), now);
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
        machine.resume_clock(self.time, now);
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

impl Machine {
    /// A session and its subscriptions. What waits for it, if anything does, is given back.
    fn restore_session(
        &mut self,
        stored: Stored,
        restored: &mut Restored,
        now: Timestamp,
    ) -> Option<Undelivered> {
        let Stored { state, subscriptions, queue, sent } = stored;
        let was_attached = state.is_attached;
        let kept = match state.is_whole {
            true => Kept::Whole(state.session),
            false => Kept::Will(state.session),
        };
        let expiry = SessionExpiry::from_secs(state.expiry);
        let mut session = Session::new(state.client_id.clone(), expiry);
        session.kept = kept;
        session.identity = state.identity.clone();
        session.inbound = Inbound::restored(state.unreleased.iter().copied());
        self.ledger.hold_unreleased(session.inbound.len());
        self.ledger.hold_bytes(state.will.as_deref().map_or(0, crate::mqtt::wire::Will::bytes));
        session.will_due = match (&state.will, was_attached) {
            (Some(will), true) => Some(now.after_secs(will.delay.into())),
            _ => state.will_due,
        };
        let is_anew = was_attached || plant::is_on(Plant::ExpiryRestarts);
        session.ends_at = if is_anew { expiry.due(now) } else { state.ends_at };
        session.will = state.will.clone();
        (session.outbound.next_id, session.outbound.next_number) =
            (state.next_id, state.next_number);
        let key = self.add_restored(session);
        for subscription in subscriptions.into_values() {
            self.restore_subscription(key, subscription);
            restored.subscriptions += 1;
        }
        restored.sessions += 1;
        self.arm_session(key);
        if was_attached {
            self.record_detached(key, now);
        }
        let has_something = !queue.is_empty() || !sent.is_empty();
        has_something.then_some(Undelivered { session: key, queue, sent })
    }

    fn restore_subscription(&mut self, key: SessionKey, found: Subscription) {
        let Subscription { filter, options, id, retained } = found;
        let text = filter.to_string();
        self.ledger.hold_bytes(subscription_bytes(&text));
        self.subscriptions.insert(&filter, Subscriber::new(key, options, id));
        let session = self.clients.get_mut(key);
        session.subscriptions.insert(text.into_boxed_str());
        if let (Filter::Plain(filter), Some(left)) = (filter, retained) {
            session.outbound.enqueue_retained(RetainedCursor {
                filter,
                options: left.options,
                subscription_id: left.id,
                after: left.after,
                until: left.until,
                number: 0,
                place: 0,
                is_restored: true,
            });
        }
    }

    /// What waits for a session, in its order. How many those are.
    fn restore_deliveries(&mut self, waits: Undelivered, now: Timestamp) -> usize {
        let Undelivered { session, queue, sent } = waits;
        let outbound = &mut self.clients.get_mut(session).outbound;
        // Where the record of the session itself is damaged an older one may have been found.
        while sent.contains_key(&outbound.next_id) && sent.len() < usize::from(u16::MAX) {
            outbound.next_id = outbound.next_id.next();
        }
        let next_id = outbound.next_id;
        let mut count = 0;
        let mut sent: Vec<(PacketId, Option<Delivery>)> = sent.into_iter().collect();
        sent.retain(|_| !plant::is_on(Plant::InflightNotRestored));
        sent.sort_by_key(|(id, _)| std::cmp::Reverse(next_id.steps_from(*id)));
        let mut inflight = Vec::new();
        for (id, delivery) in sent {
            let entry = match delivery {
                None => Inflight::AwaitPubComp(Lsn::default()),
                Some(delivery) => {
                    count += 1;
                    let is_exact = delivery.waiting.qos == QoS::ExactlyOnce;
                    let queued = self.waits_again(delivery, true);
                    if is_exact {
                        Inflight::AwaitPubRec(queued)
                    } else {
                        Inflight::AwaitPubAck(queued)
                    }
                }
            };
            inflight.push((id, entry));
        }
        let mut waiting = Vec::new();
        for delivery in queue.into_values() {
            if delivery.expires_at.is_some_and(|at| at <= now) {
                self.ledger.matched += 1;
                self.ledger.drops.count(DropReason::Expired);
                continue;
            }
            count += 1;
            waiting.push(self.waits_again(delivery, false));
        }
        self.ledger.inflight_out += inflight.len() as u64;
        let outbound = &mut self.clients.get_mut(session).outbound;
        outbound.restore(inflight, waiting);
        self.ledger.hold_bytes(outbound.place_bytes());
        count
    }

    /// What a group had given to a session that has ended goes to another member.
    fn restore_left(&mut self, delivery: Delivery, now: Timestamp) {
        let was = (delivery.waiting.session, delivery.waiting.number);
        self.ledger.matched += 1;
        let queued = self.queued_again(delivery, false);
        self.pass_on_or_drop(queued, true, Some(was), now);
    }

    fn waits_again(&mut self, delivery: Delivery, is_sent: bool) -> Queued {
        let queued = self.queued_again(delivery, is_sent);
        self.ledger.matched += 1;
        start_waiting(&queued, &mut self.ledger);
        queued
    }

    fn queued_again(&self, delivery: Delivery, is_sent: bool) -> Queued {
        let Delivery { message, expires_at, waiting } = delivery;
        let share = match waiting.share.as_deref() {
            Some(Filter::Shared(shared)) => self.subscriptions.group_of(shared),
            _ => None,
        };
        Queued {
            message,
            qos: waiting.qos,
            retain: waiting.retain,
            subscription_ids: waiting.subscription_ids,
            expires_at,
            share,
            is_withdrawn: false,
            is_sent,
            number: waiting.number,
            recorded: Lsn::default(),
        }
    }

    /// The rules may have changed while the broker was down.
    fn judge_restored(&mut self, now: Timestamp) {
        if self.policy.asks(Action::Subscribe) || self.policy.asks(Action::Receive) {
            for key in self.clients.keys() {
                self.judge_anew(key, now);
            }
        }
    }
}

impl Outbound {
    /// What a session had before a restart. What was sent comes in its order, with gaps where
    /// something was acknowledged out of turn.
    fn restore(&mut self, inflight: Vec<(PacketId, Inflight)>, waiting: Vec<Queued>) {
        let mut expected = inflight.first().map_or(self.next_id, |(id, _)| *id);
        for (id, entry) in inflight {
            while expected != id {
                self.inflight.push_back(Inflight::Done);
                expected = expected.next();
            }
            self.inflight.push_back(entry);
            expected = expected.next();
        }
        while expected != self.next_id {
            self.inflight.push_back(Inflight::Done);
            expected = expected.next();
        }
        for queued in waiting {
            self.enqueue_counted(queued);
        }
    }
}
