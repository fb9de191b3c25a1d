//! What a client is to be sent: the queue, and what is sent but not acknowledged
//! (MQTT 5.0, sections 4.3, 4.4, 4.6 and 4.9).
//!
//! A session is its own queue: deliveries go in here, and the connection pulls them when it can
//! take more (`transmit.rs`). Knows nothing of who published. `retained.rs` has the retained
//! messages that a cursor in the queue stands for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::super::effort::Effort;
use super::super::groups::GroupId;
use super::super::ledger::{DropReason, Drops, Ledger};
use super::super::record::{Lsn, SessionUid};
use super::super::retained::Retained;
use super::super::{Limits, SubscriptionIds, Timestamp};
use super::backlog::Backlog;
use crate::mqtt::message::Message;
use crate::mqtt::topic::{TopicFilter, TopicName};
use crate::mqtt::types::{PacketId, QoS};
use crate::mqtt::wire::{SubscriptionId, SubscriptionOptions};
use crate::plant::{self, Plant};

/// A message that waits for one session.
#[derive(Clone, Debug)]
pub(in super::super) struct Queued {
    pub(in super::super) message: Arc<Message>,
    pub(in super::super) qos: QoS,
    pub(in super::super) retain: bool,
    pub(in super::super) subscription_ids: SubscriptionIds,
    /// None: never.
    pub(in super::super) expires_at: Option<Timestamp>,
    /// The group that chose this session for it, if one did.
    pub(in super::super) share: Option<GroupId>,
    /// It was sent, and the client may no longer see it: it is not sent again.
    pub(in super::super) is_withdrawn: bool,
    /// It may have reached the client before.
    pub(in super::super) is_sent: bool,
    /// Which of the session's deliveries it is: each has a higher one than those before it.
    pub(in super::super) number: u64,
    /// It may not be sent before this record is durable.
    pub(in super::super) recorded: Lsn,
}

/// The retained messages that a new subscription is still to be sent, pulled one by one.
#[derive(Clone, Debug)]
pub(in super::super) struct RetainedCursor {
    pub(in super::super) filter: TopicFilter,
    pub(in super::super) options: SubscriptionOptions,
    pub(in super::super) subscription_id: Option<SubscriptionId>,
    /// The last topic that was looked at.
    pub(in super::super) after: Option<TopicName>,
    /// What was retained later than this was delivered as it came; or, like any message at QoS 0,
    /// dropped and counted because its subscriber was away.
    pub(in super::super) until: u64,
    /// Given when it is queued: a cursor with another number than its filter's is stale.
    pub(in super::super) number: u64,
    /// Its place among the numbers of the deliveries in the queue; before all of them, if it is
    /// restored.
    pub(in super::super) place: u64,
    /// It comes from before a restart: what is at QoS 0 may have been sent, and is not again.
    pub(in super::super) is_restored: bool,
}

impl RetainedCursor {
    /// No other cursor of its queue has it, and it grows with the queue: many that are restored
    /// have one place.
    fn rank(&self) -> (u64, u64) {
        (self.place, self.number)
    }
}

#[derive(Debug)]
pub(super) enum Item {
    Message(Queued),
    Retained(Box<RetainedCursor>),
}

impl Item {
    /// Grows from the front of a queue to its end.
    fn rank(&self) -> (u64, u64) {
        match self {
            Item::Message(queued) => (queued.number, 0),
            Item::Retained(cursor) => cursor.rank(),
        }
    }
}

/// What is sent, and what its acknowledgement must be.
#[derive(Debug)]
pub(in super::super) enum Inflight {
    AwaitPubAck(Queued),
    AwaitPubRec(Queued),
    /// PUBREL may not be sent before this record is durable.
    AwaitPubComp(Lsn),
    /// Acknowledged before one that was sent earlier.
    Done,
}

/// Why a message does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Full {
    Messages,
    Bytes,
}

/// What became of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Acknowledged {
    /// It ends or continues a delivery.
    Taken,
    /// As it did before.
    Repeated,
    /// Nothing is sent under this id.
    UnknownId,
    /// It belongs to another quality of service than the message.
    WrongKind,
}

/// The sender's half of a session. Packet ids are given in turn, so the place of an id in
/// `inflight` is its distance from the first.
#[derive(Debug)]
pub(in super::super) struct Outbound {
    pub(super) queue: Backlog<Item>,
    pub(super) queue_bytes: usize,
    /// The rank of each filter's cursor in the queue.
    cursors: BTreeMap<TopicFilter, (u64, u64)>,
    next_cursor: u64,
    /// Cursors in the queue that are to be skipped, and the bytes of their filters: small numbers,
    /// and each session has them.
    stale_cursors: u32,
    stale_bytes: u32,
    /// Whether the queue may have messages of groups, and such as go with the connection: without
    /// it is not looked through for them.
    may_have_shared: bool,
    may_have_unkept: bool,
    /// No queued message expires before this.
    pub(super) next_expiry: Timestamp,
    /// Nor is one looked for before this.
    next_sweep: Timestamp,
    pub(in super::super) inflight: VecDeque<Inflight>,
    pub(in super::super) next_id: PacketId,
    /// The number of the last delivery.
    pub(in super::super) next_number: u64,
    /// `inflight` up to here was sent on this connection; the rest waits to be sent again.
    pub(super) resent: usize,
    /// Of these, how many are not done: what the receive maximum bounds.
    pub(super) in_window: u16,
    /// PUBREL was sent on this connection for what is before this place, where it is due.
    pub(super) released: usize,
}

impl Default for Outbound {
    fn default() -> Outbound {
        Outbound {
            queue: Backlog::default(),
            queue_bytes: 0,
            cursors: BTreeMap::new(),
            next_cursor: 0,
            stale_cursors: 0,
            stale_bytes: 0,
            may_have_shared: false,
            may_have_unkept: false,
            next_expiry: Timestamp(u64::MAX),
            next_sweep: Timestamp::default(),
            inflight: VecDeque::new(),
            next_id: PacketId::FIRST,
            next_number: 0,
            resent: 0,
            in_window: 0,
            released: 0,
        }
    }
}

/// How many queued messages may be looked at for expired ones in each millisecond.
const SWEPT_EACH_MILLI: u64 = 100;
/// So many stale cursors may stay in any queue; in a large one, as many as half of it.
const STALE_CURSORS_MAX: usize = 64;
/// And their filters may take so many bytes, which are in no account.
const STALE_BYTES_MAX: u32 = 128 * 1_024;

impl Queued {
    pub(in super::super) fn bytes(&self) -> usize {
        self.own_bytes() + self.message.bytes()
    }

    /// Beside the message, which others may hold too. A session may have thousands of filters
    /// that match, each with an identifier.
    pub(in super::super) fn own_bytes(&self) -> usize {
        let ids = self.subscription_ids.as_deref().unwrap_or_default();
        size_of::<Item>() + size_of_val(ids)
    }

    /// What the records call it, if it is recorded: the deliveries of that session above QoS 0
    /// are.
    pub(in super::super) fn recorded_as(
        &self,
        session: Option<SessionUid>,
    ) -> Option<(SessionUid, u64)> {
        session.filter(|_| self.qos > QoS::AtMostOnce).map(|session| (session, self.number))
    }

    /// Whether it may go to another member of its group when its session ends: not if it may have
    /// been sent at QoS 2. [MQTT-4.8.2-5]
    pub(in super::super) fn may_pass_on(&self, is_unsent: bool) -> bool {
        self.share.is_some() && (is_unsent || self.qos < QoS::ExactlyOnce)
    }

    /// Whether it goes with the connection: nobody promised to keep it, and no other member of a
    /// group may take it.
    fn is_unkept(&self) -> bool {
        self.qos == QoS::AtMostOnce && self.share.is_none()
    }

    pub(in super::super) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

impl Outbound {
    /// Queues a message that has found room.
    pub(in super::super) fn enqueue(&mut self, queued: Queued, ledger: &mut Ledger) {
        start_waiting(&queued, ledger);
        self.enqueue_counted(queued);
    }

    /// Queues what is counted as waiting; what waited before a restart had its room then.
    pub(in super::super) fn enqueue_counted(&mut self, queued: Queued) {
        self.queue_bytes += queued.bytes();
        self.may_have_shared |= queued.share.is_some();
        self.may_have_unkept |= queued.is_unkept();
        self.next_expiry = queued.expires_at.unwrap_or(self.next_expiry).min(self.next_expiry);
        match plant::is_on(Plant::QueueBackwards) {
            true => self.queue.push_front(Item::Message(queued)),
            false => self.queue.push_back(Item::Message(queued)),
        }
    }

    /// The cursor that is to send what is retained for this filter. Found by its rank: all of
    /// them are asked for one by one, and a client may have as many as it has subscriptions. Each
    /// item of the queue that is looked at costs a step.
    pub(in super::super) fn cursor(
        &self,
        filter: &TopicFilter,
        effort: &mut Effort,
    ) -> Option<&RetainedCursor> {
        effort.spend(Retained::lookup_steps(filter));
        let rank = *self.cursors.get(filter)?;
        let mut found = self.queue.from(|item| {
            effort.spend(1);
            item.rank() < rank
        });
        match found.next() {
            Some(Item::Retained(cursor)) if cursor.rank() == rank => Some(cursor),
            _ => None,
        }
    }

    /// The messages in the queue with a higher number.
    pub(in super::super) fn waiting_behind(&self, number: u64) -> impl Iterator<Item = &Queued> {
        let behind = self.queue.from(move |item| item.rank() <= (number, u64::MAX));
        behind.filter_map(|item| match item {
            Item::Message(queued) => Some(queued),
            Item::Retained(_) => None,
        })
    }

    /// The first of these that a group gave to this session, and the group.
    pub(in super::super) fn shared_behind(&mut self, number: u64) -> Option<(GroupId, &Queued)> {
        if number == 0 && self.may_have_shared {
            let has_any = self.waiting_behind(0).any(|queued| queued.share.is_some());
            self.may_have_shared = has_any;
        }
        let waiting = self.may_have_shared.then(|| self.waiting_behind(number));
        waiting?.find_map(|queued| Some((queued.share?, queued)))
    }

    /// A number for a delivery.
    pub(in super::super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Something of every part that a message which is queued changes.
    pub(super) fn fetch(&self) -> u64 {
        self.queue.len() as u64 ^ self.queue_bytes as u64 ^ self.next_number ^ self.next_expiry.0
    }

    /// How many messages are queued.
    pub(super) fn messages(&self) -> usize {
        self.queue.len() - self.cursors.len() - self.stale_cursors as usize
    }

    /// How many messages and cursors are queued, stale ones too.
    #[cfg(test)]
    pub(in super::super) fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// Whether this message finds room, if need be in place of what has expired.
    pub(in super::super) fn make_room(
        &mut self,
        queued: &Queued,
        limits: &Limits,
        ledger: &mut Ledger,
        drops: &mut Drops,
        now: Timestamp,
    ) -> Result<(), Full> {
        self.fits(queued, limits).or_else(|_| {
            self.drop_expired(ledger, drops, now);
            self.fits(queued, limits)
        })
    }

    /// Whether this message finds room.
    pub(in super::super) fn fits(&self, queued: &Queued, limits: &Limits) -> Result<(), Full> {
        if self.messages() >= limits.queue_messages && !plant::is_on(Plant::QueueUnbounded) {
            return Err(Full::Messages);
        }
        if self.queue_bytes.saturating_add(queued.bytes()) > limits.queue_bytes {
            return Err(Full::Bytes);
        }
        Ok(())
    }

    /// Whether a message of so many bytes would find room, with one subscription identifier.
    pub(in super::super) fn has_room(&self, bytes: usize, limits: &Limits) -> bool {
        let bytes = bytes + size_of::<Item>() + size_of::<SubscriptionId>();
        self.messages() < limits.queue_messages
            && self.queue_bytes.saturating_add(bytes) <= limits.queue_bytes
    }

    /// Drops queued messages that have expired, so that they keep no room. The longer the queue,
    /// the more seldom: a full one in which something expires all the time would otherwise be
    /// looked through for each message that is published.
    fn drop_expired(&mut self, ledger: &mut Ledger, drops: &mut Drops, now: Timestamp) {
        if self.next_expiry > now || self.next_sweep > now {
            return;
        }
        self.next_sweep = now.after_millis(self.queue.len() as u64 / SWEPT_EACH_MILLI);
        self.drop_queued(DropReason::Expired, ledger, drops, |queued| queued.is_expired(now));
        let expiries = self.queue.iter().filter_map(|item| match item {
            Item::Message(queued) => queued.expires_at,
            Item::Retained(_) => None,
        });
        self.next_expiry = expiries.min().unwrap_or(Timestamp(u64::MAX));
    }

    /// Queues the retained messages of a new subscription, in place of those that another to
    /// the same filter is still to be sent.
    pub(in super::super) fn enqueue_retained(&mut self, mut cursor: RetainedCursor) {
        self.forget_retained(&cursor.filter);
        self.next_cursor += 1;
        cursor.number = self.next_cursor;
        if !cursor.is_restored {
            cursor.place = self.number();
        }
        self.cursors.insert(cursor.filter.clone(), cursor.rank());
        self.queue.push_back(Item::Retained(Box::new(cursor)));
    }

    /// Forgets the retained messages that a subscription is still to be sent.
    /// [MQTT-3.10.4-2]
    ///
    /// The cursor stays as a stale one, so that thousands of filters in one packet do not each
    /// look through the queue.
    pub(in super::super) fn forget_retained(&mut self, filter: &TopicFilter) {
        if self.cursors.remove(filter).is_none() {
            return;
        }
        self.stale_cursors += 1;
        self.stale_bytes += bytes_of(filter);
        if self.stale_cursors as usize > STALE_CURSORS_MAX.max(self.queue.len() / 2)
            || self.stale_bytes > STALE_BYTES_MAX
        {
            let cursors = &self.cursors;
            self.queue.retain(|item| match item {
                Item::Message(_) => true,
                Item::Retained(cursor) => cursors.get(&cursor.filter) == Some(&cursor.rank()),
            });
            (self.stale_cursors, self.stale_bytes) = (0, 0);
        }
    }

    /// Takes the cursor at the front of the queue out; none if it is stale, or is no cursor.
    pub(super) fn take_cursor(&mut self) -> Option<Box<RetainedCursor>> {
        let Some(Item::Retained(cursor)) = self.queue.pop_front() else { return None };
        let rank = self.cursors.get(&cursor.filter);
        let is_any = rank.is_some() && plant::is_on(Plant::OldCursorGoesOn);
        if is_any || rank == Some(&cursor.rank()) {
            return Some(cursor);
        }
        self.stale_cursors -= 1;
        self.stale_bytes -= bytes_of(&cursor.filter);
        None
    }

    /// A cursor that was taken out is at its end.
    pub(super) fn finish_cursor(&mut self, cursor: &RetainedCursor) {
        self.cursors.remove(&cursor.filter);
    }

    /// The connection is gone: what was sent is to be sent again on the next one, and what
    /// nobody promised to keep is not kept.
    pub(in super::super) fn detach(&mut self, ledger: &mut Ledger, drops: &mut Drops) {
        self.resent = 0;
        self.in_window = 0;
        self.released = 0;
        if plant::is_on(Plant::ResentBackwards) {
            self.inflight.make_contiguous().reverse();
        }
        if std::mem::take(&mut self.may_have_unkept) {
            self.drop_queued(DropReason::Offline, ledger, drops, Queued::is_unkept);
        }
    }

    fn drop_queued(
        &mut self,
        reason: DropReason,
        ledger: &mut Ledger,
        drops: &mut Drops,
        mut is_meant: impl FnMut(&Queued) -> bool,
    ) {
        let queue_bytes = &mut self.queue_bytes;
        self.queue.retain(|item| match item {
            Item::Message(queued) if is_meant(queued) => {
                *queue_bytes -= queued.bytes();
                drop_waiting(queued, reason, ledger, drops);
                false
            }
            Item::Message(_) | Item::Retained(_) => true,
        });
    }

    /// The client may no longer see some messages: takes out those that wait, and remembers of
    /// those that were sent that they are not to be sent again.
    pub(in super::super) fn withdraw(
        &mut self,
        mut is_forbidden: impl FnMut(&Queued) -> bool,
        ledger: &mut Ledger,
    ) -> Vec<Queued> {
        for entry in &mut self.inflight {
            if let Inflight::AwaitPubAck(queued) | Inflight::AwaitPubRec(queued) = entry {
                let stays = queued.is_withdrawn && plant::is_on(Plant::WithdrawnForGood);
                queued.is_withdrawn = is_forbidden(queued) || stays;
            }
        }
        self.take_waiting(is_forbidden, ledger)
    }

    /// Takes out such messages that wait.
    pub(in super::super) fn take_waiting(
        &mut self,
        mut is_such: impl FnMut(&Queued) -> bool,
        ledger: &mut Ledger,
    ) -> Vec<Queued> {
        let mut taken = Vec::new();
        let mut items = std::mem::take(&mut self.queue);
        while let Some(item) = items.pop_front() {
            match item {
                Item::Message(queued) if is_such(&queued) => {
                    self.queue_bytes -= queued.bytes();
                    forget_waiting(&queued, ledger);
                    taken.push(queued);
                }
                kept => self.queue.push_back(kept),
            }
        }
        taken
    }

    /// The session has ended: drops what is first in the queue, if that is a cursor.
    pub(in super::super) fn drop_cursor(&mut self) -> bool {
        if !matches!(self.queue.front(), Some(Item::Retained(_))) {
            return false;
        }
        if let Some(cursor) = self.take_cursor() {
            self.finish_cursor(&cursor);
        }
        true
    }

    /// The session has ended, and had no connection: takes out the first message that was not
    /// acknowledged. The second value says whether it was never sent. No cursor is before it:
    /// these are dropped one by one, with [`Outbound::drop_cursor`].
    pub(in super::super) fn take_first(&mut self, ledger: &mut Ledger) -> Option<(Queued, bool)> {
        while let Some(entry) = self.inflight.pop_front() {
            if !matches!(entry, Inflight::Done) {
                ledger.inflight_out -= 1;
            }
            entry.release_place(ledger);
            if let Inflight::AwaitPubAck(queued) | Inflight::AwaitPubRec(queued) = entry {
                forget_waiting(&queued, ledger);
                return Some((queued, false));
            }
        }
        let Some(Item::Message(queued)) = self.queue.pop_front() else { return None };
        self.queue_bytes -= queued.bytes();
        forget_waiting(&queued, ledger);
        Some((queued, true))
    }

    /// Whether a pull would find anything.
    pub(in super::super) fn has_something(&self) -> bool {
        !self.queue.is_empty() || self.resent < self.inflight.len()
    }

    /// The packet id of the next delivery, and the number of the last one.
    pub(in super::super) fn next(&self) -> (PacketId, u64) {
        (self.next_id, self.next_number)
    }
}

/// No filter is longer than a packet can say.
fn bytes_of(filter: &TopicFilter) -> u32 {
    u32::try_from(filter.len()).expect("its length has two bytes")
}

pub(super) fn drop_waiting(
    queued: &Queued,
    reason: DropReason,
    ledger: &mut Ledger,
    drops: &mut Drops,
) {
    forget_waiting(queued, ledger);
    ledger.drops.count(reason);
    drops.count(reason);
}

/// One more session has a message that is neither delivered nor dropped.
pub(in super::super) fn start_waiting(queued: &Queued, ledger: &mut Ledger) {
    ledger.waiting += 1;
    ledger.hold(&queued.message);
    ledger.hold_bytes(queued.own_bytes());
}

/// And one fewer.
pub(super) fn forget_waiting(queued: &Queued, ledger: &mut Ledger) {
    ledger.waiting -= 1;
    ledger.release(&queued.message);
    ledger.release_bytes(queued.own_bytes());
}
