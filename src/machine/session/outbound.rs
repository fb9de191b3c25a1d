//! What a client is to be sent: the queue, and what is sent but not acknowledged
//! (MQTT 5.0, sections 4.3, 4.4, 4.6 and 4.9).
//!
//! A session is its own queue: deliveries go in here, and the connection pulls them when it can
//! take more. Knows nothing of who published. `retained.rs` has the retained messages that a
//! cursor in the queue stands for.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::super::ledger::{DropReason, Drops, Ledger};
use super::super::retained::Retained;
use super::super::subscriptions::GroupId;
use super::super::{Deliver, Limits, Outgoing, Remaining, SubscriptionIds, Timestamp};
use super::Attachment;
use crate::mqtt::message::Message;
use crate::mqtt::topic::{TopicFilter, TopicName};
use crate::mqtt::types::{PacketId, QoS, Reason};
use crate::mqtt::wire::{Ack, Delivery, Packet, PublishHead, SubscriptionId, SubscriptionOptions};

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
}

/// The retained messages that a new subscription is still to be sent, pulled one by one.
#[derive(Clone, Debug)]
pub(in super::super) struct RetainedCursor {
    pub(in super::super) filter: TopicFilter,
    pub(in super::super) options: SubscriptionOptions,
    pub(in super::super) subscription_id: Option<SubscriptionId>,
    /// The last topic that was looked at.
    pub(in super::super) after: Option<TopicName>,
    /// What was retained later than this was delivered as it came.
    pub(in super::super) until: u64,
}

#[derive(Debug)]
enum Item {
    Message(Queued),
    Retained(Box<RetainedCursor>),
}

/// What is sent, and what its acknowledgement must be.
#[derive(Debug)]
enum Inflight {
    AwaitPubAck(Queued),
    AwaitPubRec(Queued),
    AwaitPubComp,
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
    /// Nothing is sent under this id.
    UnknownId,
    /// It belongs to another quality of service than the message.
    WrongKind,
}

/// Whether a session can take a message now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Room {
    Full,
    Some,
}

/// The sender's half of a session. Packet ids are given in turn, so the place of an id in
/// `inflight` is its distance from the first.
#[derive(Debug)]
pub(in super::super) struct Outbound {
    queue: VecDeque<Item>,
    queue_bytes: usize,
    /// No queued message expires before this.
    next_expiry: Timestamp,
    inflight: VecDeque<Inflight>,
    next_id: PacketId,
    /// `inflight` up to here was sent on this connection; the rest waits to be sent again.
    resent: usize,
    /// Of these, how many are not done: what the receive maximum bounds.
    in_window: u16,
}

impl Default for Outbound {
    fn default() -> Outbound {
        Outbound {
            queue: VecDeque::new(),
            queue_bytes: 0,
            next_expiry: Timestamp(u64::MAX),
            inflight: VecDeque::new(),
            next_id: PacketId::FIRST,
            resent: 0,
            in_window: 0,
        }
    }
}

/// One pull of a connection: what it may use, and where the packets go.
pub(in super::super) struct Transmission<'a> {
    pub(in super::super) attachment: &'a mut Attachment,
    pub(in super::super) retained: &'a Retained,
    pub(in super::super) ledger: &'a mut Ledger,
    pub(in super::super) drops: &'a mut Drops,
    pub(in super::super) out: &'a mut Vec<Outgoing>,
    /// Bytes still to give out.
    pub(in super::super) budget: usize,
    pub(in super::super) now: Timestamp,
}

/// What a pull does next.
enum Step {
    GoOn,
    /// Enough for one pull, though the budget is not used up.
    Pause,
    /// Nothing more can be sent before the client acknowledges or something comes.
    Rest,
}

/// How many retained messages one pull looks at, so that a filter that few of them match does
/// not hold up everybody else.
const RETAINED_EXAMINED_MAX: usize = 1_000;

/// An emptied queue larger than this is given back to the allocator.
const IDLE_CAPACITY_MAX: usize = 32;

impl Queued {
    fn bytes(&self) -> usize {
        size_of::<Item>() + self.message.bytes()
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

impl Outbound {
    /// Queues a message, if there is room.
    pub(in super::super) fn enqueue(
        &mut self,
        queued: Queued,
        limits: &Limits,
        ledger: &mut Ledger,
    ) -> Result<(), Full> {
        if self.queue.len() >= limits.queue_messages {
            return Err(Full::Messages);
        }
        if self.queue_bytes.saturating_add(queued.bytes()) > limits.queue_bytes {
            return Err(Full::Bytes);
        }
        ledger.hold(&queued.message);
        ledger.waiting += 1;
        self.queue_bytes += queued.bytes();
        if let Some(at) = queued.expires_at {
            self.next_expiry = self.next_expiry.min(at);
        }
        self.queue.push_back(Item::Message(queued));
        Ok(())
    }

    /// Whether a message would find room.
    pub(in super::super) fn room(&self, limits: &Limits) -> Room {
        let is_full =
            self.queue.len() >= limits.queue_messages || self.queue_bytes >= limits.queue_bytes;
        if is_full { Room::Full } else { Room::Some }
    }

    /// Drops queued messages that have expired, so that they keep no room.
    pub(in super::super) fn drop_expired(
        &mut self,
        ledger: &mut Ledger,
        drops: &mut Drops,
        now: Timestamp,
    ) {
        if self.next_expiry > now {
            return;
        }
        self.drop_queued(DropReason::Expired, ledger, drops, |queued| queued.is_expired(now));
        let expiries = self.queue.iter().filter_map(|item| match item {
            Item::Message(queued) => queued.expires_at,
            Item::Retained(_) => None,
        });
        self.next_expiry = expiries.min().unwrap_or(Timestamp(u64::MAX));
    }

    /// Queues the retained messages of a new subscription.
    pub(in super::super) fn enqueue_retained(&mut self, cursor: RetainedCursor) {
        self.queue.push_back(Item::Retained(Box::new(cursor)));
    }

    /// Forgets the retained messages that a subscription is still to be sent.
    /// [MQTT-3.10.4-2]
    pub(in super::super) fn forget_retained(&mut self, filter: &TopicFilter) {
        self.queue.retain(|item| !matches!(item, Item::Retained(c) if c.filter == *filter));
    }

    /// The connection is gone: what was sent is to be sent again on the next one, and what
    /// nobody promised to keep is not kept.
    pub(in super::super) fn detach(&mut self, ledger: &mut Ledger, drops: &mut Drops) {
        self.resent = 0;
        self.in_window = 0;
        self.drop_queued(DropReason::Offline, ledger, drops, |queued| {
            queued.qos == QoS::AtMostOnce
        });
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

    /// Takes out what a group gave to this session and was never sent.
    pub(in super::super) fn take_shared(&mut self, ledger: &mut Ledger) -> Vec<Queued> {
        let mut taken = Vec::new();
        let is_shared = |item: &Item| matches!(item, Item::Message(q) if q.share.is_some());
        if !self.queue.iter().any(is_shared) {
            return taken;
        }
        for item in std::mem::take(&mut self.queue) {
            match item {
                Item::Message(queued) if queued.share.is_some() => {
                    self.queue_bytes -= queued.bytes();
                    forget_waiting(&queued, ledger);
                    taken.push(queued);
                }
                kept => self.queue.push_back(kept),
            }
        }
        taken
    }

    /// The session ends: takes out everything that was not acknowledged, in order. The second
    /// value says whether the message was never sent.
    pub(in super::super) fn drain(&mut self, ledger: &mut Ledger) -> Vec<(Queued, bool)> {
        let mut drained = Vec::new();
        for entry in std::mem::take(&mut self.inflight) {
            if let Inflight::AwaitPubAck(queued) | Inflight::AwaitPubRec(queued) = entry {
                drained.push((queued, false));
            }
        }
        for item in std::mem::take(&mut self.queue) {
            if let Item::Message(queued) = item {
                drained.push((queued, true));
            }
        }
        self.queue_bytes = 0;
        drained.iter().for_each(|(queued, _)| forget_waiting(queued, ledger));
        drained
    }

    /// Whether a pull would find anything.
    pub(in super::super) fn has_something(&self) -> bool {
        !self.queue.is_empty() || self.resent < self.inflight.len()
    }

    /// How many messages are sent and not acknowledged.
    pub(in super::super) fn inflight(&self) -> usize {
        self.inflight.iter().filter(|entry| !matches!(entry, Inflight::Done)).count()
    }

    /// How many messages wait to be sent.
    pub(in super::super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// PUBACK. [MQTT-4.3.2-3]
    pub(in super::super) fn handle_puback(
        &mut self,
        id: PacketId,
        reason: Reason,
        ledger: &mut Ledger,
        drops: &mut Drops,
    ) -> Acknowledged {
        let Some(index) = self.index_of(id) else { return Acknowledged::UnknownId };
        match &self.inflight[index] {
            Inflight::AwaitPubAck(queued) => finish(queued, reason, ledger, drops),
            Inflight::Done => return Acknowledged::UnknownId,
            Inflight::AwaitPubRec(_) | Inflight::AwaitPubComp => return Acknowledged::WrongKind,
        }
        self.set_done(index);
        Acknowledged::Taken
    }

    /// PUBREC. On an error the exchange is over; else PUBREL is to be sent, also for an id that
    /// is unknown. [MQTT-4.3.3-4], [MQTT-4.4.0-2]
    pub(in super::super) fn handle_pubrec(
        &mut self,
        id: PacketId,
        reason: Reason,
        ledger: &mut Ledger,
        drops: &mut Drops,
    ) -> Acknowledged {
        let Some(index) = self.index_of(id) else { return Acknowledged::UnknownId };
        match &self.inflight[index] {
            Inflight::AwaitPubRec(queued) => finish(queued, reason, ledger, drops),
            Inflight::AwaitPubComp => return Acknowledged::Taken,
            Inflight::Done => return Acknowledged::UnknownId,
            Inflight::AwaitPubAck(_) => return Acknowledged::WrongKind,
        }
        if reason.is_error() {
            self.set_done(index);
        } else {
            self.inflight[index] = Inflight::AwaitPubComp; // [MQTT-4.3.3-6]
        }
        Acknowledged::Taken
    }

    /// PUBCOMP. [MQTT-4.3.3-5]
    pub(in super::super) fn handle_pubcomp(&mut self, id: PacketId) -> Acknowledged {
        let Some(index) = self.index_of(id) else { return Acknowledged::UnknownId };
        match &self.inflight[index] {
            Inflight::AwaitPubComp => {}
            Inflight::Done => return Acknowledged::UnknownId,
            Inflight::AwaitPubAck(_) | Inflight::AwaitPubRec(_) => return Acknowledged::WrongKind,
        }
        self.set_done(index);
        Acknowledged::Taken
    }

    fn index_of(&self, id: PacketId) -> Option<usize> {
        let len = u16::try_from(self.inflight.len()).expect("bounded by the packet ids");
        let first = self.next_id.back_by(len);
        let index = usize::from(id.steps_from(first));
        (index < self.inflight.len()).then_some(index)
    }

    fn set_done(&mut self, index: usize) {
        self.inflight[index] = Inflight::Done;
        if index < self.resent {
            self.in_window -= 1;
        }
        while matches!(self.inflight.front(), Some(Inflight::Done)) {
            self.inflight.pop_front();
            self.resent = self.resent.saturating_sub(1);
        }
        if self.inflight.is_empty() && self.inflight.capacity() > IDLE_CAPACITY_MAX {
            self.inflight = VecDeque::new();
        }
    }

    /// Gives out what the client may get: first again what was sent on an earlier connection,
    /// in the original order, then what waits. [MQTT-4.4.0-1], [MQTT-4.6.0-6]
    pub(in super::super) fn transmit(&mut self, pull: &mut Transmission<'_>) -> Remaining {
        while pull.budget > 0 {
            let step = if self.resent < self.inflight.len() {
                self.resend_next(pull)
            } else {
                self.send_next(pull)
            };
            match step {
                Step::GoOn => {}
                Step::Pause => return Remaining::More,
                Step::Rest => {
                    if self.queue.is_empty() && self.queue.capacity() > IDLE_CAPACITY_MAX {
                        self.queue = VecDeque::new();
                    }
                    return Remaining::Nothing;
                }
            }
        }
        Remaining::More
    }

    fn has_window(&self, attachment: &Attachment) -> bool {
        self.in_window < attachment.receive_maximum // [MQTT-3.3.4-9]
    }

    fn resend_next(&mut self, pull: &mut Transmission<'_>) -> Step {
        if matches!(self.inflight[self.resent], Inflight::Done) {
            self.resent += 1;
            return Step::GoOn;
        }
        if !self.has_window(pull.attachment) {
            return Step::Rest;
        }
        let len = u16::try_from(self.inflight.len() - self.resent).expect("bounded by the ids");
        let id = self.next_id.back_by(len);
        let (queued, delivery) = match &self.inflight[self.resent] {
            Inflight::AwaitPubAck(queued) => (queued, Delivery::AtLeastOnce { id, dup: true }),
            Inflight::AwaitPubRec(queued) => (queued, Delivery::ExactlyOnce { id, dup: true }),
            Inflight::AwaitPubComp | Inflight::Done => {
                pull.answer(Packet::PubRel(Ack::new(id, Reason::Success)));
                self.resent += 1;
                self.in_window += 1;
                return Step::GoOn;
            }
        };
        let is_sent = pull.deliver(queued, delivery); // [MQTT-3.3.1-1]
        if !is_sent {
            drop_waiting(queued, DropReason::TooLarge, pull.ledger, pull.drops);
        }
        self.resent += 1;
        self.in_window += 1;
        if !is_sent {
            self.set_done(self.resent - 1);
        }
        Step::GoOn
    }

    fn send_next(&mut self, pull: &mut Transmission<'_>) -> Step {
        let queued = match self.queue.front() {
            None => return Step::Rest,
            Some(Item::Retained(_)) => return self.send_retained(pull),
            Some(Item::Message(queued)) => queued,
        };
        if queued.qos > QoS::AtMostOnce && !self.may_send(pull.attachment) {
            return Step::Rest;
        }
        let Some(Item::Message(queued)) = self.queue.pop_front() else { return Step::Rest };
        self.queue_bytes -= queued.bytes();
        if queued.is_expired(pull.now) {
            drop_waiting(&queued, DropReason::Expired, pull.ledger, pull.drops); // [MQTT-3.3.2-5]
        } else {
            self.send(queued, pull);
        }
        Step::GoOn
    }

    /// Whether one more above QoS 0 may be sent: the client takes it and there is an id for it.
    fn may_send(&self, attachment: &Attachment) -> bool {
        self.has_window(attachment) && self.inflight.len() < usize::from(u16::MAX) - 1
    }

    /// Sends a message that is counted as waiting.
    fn send(&mut self, queued: Queued, pull: &mut Transmission<'_>) {
        let id = self.next_id;
        let delivery = match queued.qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup: false },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup: false },
        };
        if !pull.deliver(&queued, delivery) {
            drop_waiting(&queued, DropReason::TooLarge, pull.ledger, pull.drops); // [MQTT-3.1.2-25]
            return;
        }
        let entry = match queued.qos {
            QoS::AtMostOnce => {
                forget_waiting(&queued, pull.ledger);
                pull.ledger.delivered += 1;
                return;
            }
            QoS::AtLeastOnce => Inflight::AwaitPubAck(queued),
            QoS::ExactlyOnce => Inflight::AwaitPubRec(queued),
        };
        self.inflight.push_back(entry);
        self.next_id = self.next_id.next();
        self.resent += 1;
        self.in_window += 1;
    }

    /// Sends what the cursor at the front of the queue stands for, as far as it may.
    fn send_retained(&mut self, pull: &mut Transmission<'_>) -> Step {
        let Some(Item::Retained(mut cursor)) = self.queue.pop_front() else { return Step::Rest };
        let retained = pull.retained;
        let mut after = cursor.after.take();
        let mut step = Step::GoOn;
        let from = after.clone();
        let progress = retained.visit(
            &cursor.filter,
            from.as_deref(),
            RETAINED_EXAMINED_MAX,
            |name, entry| {
                let qos = entry.message.qos.min(cursor.options.qos);
                if qos > QoS::AtMostOnce && !self.may_send(pull.attachment) {
                    step = Step::Rest;
                    return ControlFlow::Break(());
                }
                if pull.budget == 0 {
                    step = Step::Pause;
                    return ControlFlow::Break(());
                }
                after = Some(name.clone());
                if entry.sequence <= cursor.until && !entry.is_expired(pull.now) {
                    pull.ledger.hold(&entry.message);
                    pull.ledger.matched += 1;
                    pull.ledger.waiting += 1;
                    self.send(cursor.queued(&entry.message, qos, entry.expires_at), pull);
                }
                ControlFlow::Continue(())
            },
        );
        match (step, progress) {
            (Step::GoOn, None) => return Step::GoOn,
            (Step::GoOn, Some(last)) => {
                cursor.after = Some(last);
                step = Step::Pause;
            }
            (stopped, _) => {
                cursor.after = after;
                step = stopped;
            }
        }
        self.queue.push_front(Item::Retained(cursor));
        step
    }

    /// Asserts what must always hold. For tests and the simulator.
    pub(in super::super) fn check(&self) {
        let queued = self.queue.iter().map(|item| match item {
            Item::Message(queued) => queued.bytes(),
            Item::Retained(_) => 0,
        });
        assert_eq!(queued.sum::<usize>(), self.queue_bytes, "the account of queued bytes is wrong");
        let open = |entry: &&Inflight| !matches!(entry, Inflight::Done);
        let sent = self.inflight.iter().take(self.resent).filter(open).count();
        assert_eq!(sent, usize::from(self.in_window), "the window is miscounted");
        assert!(self.resent <= self.inflight.len(), "more was sent than there is");
    }
}

impl RetainedCursor {
    fn queued(&self, message: &Arc<Message>, qos: QoS, expires_at: Option<Timestamp>) -> Queued {
        Queued {
            message: Arc::clone(message),
            qos,
            retain: true, // [3.1.1 MQTT-3.3.1-8]
            subscription_ids: self.subscription_id.map(|id| Arc::from([id])),
            expires_at,
            share: None,
        }
    }
}

impl Transmission<'_> {
    fn answer(&mut self, packet: Packet) {
        self.budget = self.budget.saturating_sub(4);
        self.out.push(Outgoing::Packet(packet));
    }

    /// Gives out a PUBLISH, unless the client takes no packet that large.
    fn deliver(&mut self, queued: &Queued, delivery: Delivery) -> bool {
        let message = &queued.message;
        let alias = self.attachment.aliases_out.assign(&message.topic);
        let deliver = Deliver {
            message: Arc::clone(message),
            delivery,
            retain: queued.retain,
            alias,
            subscription_ids: queued.subscription_ids.clone(),
            expiry: queued.expires_at.map(|at| secs_left(at, self.now)),
        };
        let bytes = if self.attachment.packet_bytes_max == usize::MAX {
            message.topic.len() + message.payload.len() + 8
        } else {
            encoded_bytes(&deliver, self.attachment)
        };
        if bytes > self.attachment.packet_bytes_max {
            if alias.is_some_and(|alias| alias.is_new) {
                self.attachment.aliases_out.take_back(&message.topic);
            }
            return false; // [MQTT-3.1.2-24]
        }
        self.budget = self.budget.saturating_sub(bytes);
        self.ledger.publishes_sent += 1;
        self.out.push(Outgoing::Deliver(deliver));
        true
    }
}

fn encoded_bytes(deliver: &Deliver, attachment: &Attachment) -> usize {
    let payload_bytes = deliver.message.payload.len();
    PublishHead::from(deliver).encoded_bytes(attachment.version, payload_bytes) + payload_bytes
}

/// What is left of an expiry interval, in whole seconds, rounded up; at least one, because a
/// message that was sent before is sent again whatever its age. [MQTT-3.3.2-6], [MQTT-4.3.3-7]
fn secs_left(at: Timestamp, now: Timestamp) -> u32 {
    let secs = at.millis_since(now).div_ceil(1_000);
    u32::try_from(secs).unwrap_or(u32::MAX).max(NonZeroU32::MIN.get())
}

fn finish(queued: &Queued, reason: Reason, ledger: &mut Ledger, drops: &mut Drops) {
    if reason.is_error() {
        drop_waiting(queued, DropReason::Rejected, ledger, drops);
    } else {
        forget_waiting(queued, ledger);
        ledger.delivered += 1;
    }
}

fn drop_waiting(queued: &Queued, reason: DropReason, ledger: &mut Ledger, drops: &mut Drops) {
    forget_waiting(queued, ledger);
    ledger.drops.count(reason);
    drops.count(reason);
}

fn forget_waiting(queued: &Queued, ledger: &mut Ledger) {
    ledger.waiting -= 1;
    ledger.release(&queued.message);
}
