//! The pull: what leaves a session when its connection can take more (MQTT 5.0, sections 4.4,
//! 4.6 and 4.9).
//!
//! First again what was sent on an earlier connection, then what waits, as far as the client's
//! receive maximum and the budget allow. What waits and what is acknowledged is in
//! `outbound.rs`.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::super::effort::{self, Effort};
use super::super::journal::{Journal, waiting};
use super::super::ledger::{DropReason, Drops, Ledger};
use super::super::policy::{Asking, Policy};
use super::super::record::{Lsn, Record, SessionUid, Taken};
use super::super::retained::Retained;
use super::super::{Alias, Deliver, Outgoing, Remaining, Timestamp};
use super::Attachment;
use super::alias::alias_bytes;
use super::outbound::{
    Inflight, Item, Outbound, Queued, RetainedCursor, drop_waiting, forget_waiting, start_waiting,
};
use crate::access::Action;
use crate::mqtt::message::Message;
use crate::mqtt::topic::{TopicFilter, TopicName};
use crate::mqtt::types::{PacketId, QoS, Reason};
use crate::mqtt::wire::{Ack, Delivery, Packet, PublishHead};
use crate::plant::{self, Plant};

/// One pull of a connection: what it may use, and where the packets go.
pub(in super::super) struct Transmission<'a> {
    pub(in super::super) attachment: &'a mut Attachment,
    pub(in super::super) retained: &'a Retained,
    pub(in super::super) policy: &'a mut Policy,
    pub(in super::super) asking: Asking<'a>,
    pub(in super::super) ledger: &'a mut Ledger,
    pub(in super::super) drops: &'a mut Drops,
    pub(in super::super) effort: &'a mut Effort,
    pub(in super::super) journal: &'a mut Journal,
    /// What the records call the session; none if its deliveries are not recorded.
    pub(in super::super) recorded_as: Option<SessionUid>,
    /// Whether the connection waits for records to be durable.
    pub(in super::super) is_held: bool,
    /// Whether something has to wait for that.
    pub(in super::super) is_waiting: bool,
    pub(in super::super) out: &'a mut Vec<Outgoing>,
    /// Bytes still to give out.
    pub(in super::super) budget: usize,
    /// Bytes that the broker may hold.
    pub(in super::super) held_bytes_max: usize,
    /// Cursors that found nothing in this pull.
    pub(in super::super) fruitless: usize,
    pub(in super::super) now: Timestamp,
}

/// What a pull does next.
enum Step {
    GoOn,
    /// The same, and nothing was sent for it.
    Drop,
    /// Enough for one pull, though the budget is not used up.
    Pause,
    /// What was sent or decided before waits for its record to be durable.
    Hold,
    /// Nothing more can be sent before the client acknowledges or something comes.
    Rest,
}

/// How many steps one pull goes through retained messages, so that a filter that few of them match
/// does not hold up everybody else: a step for each, and more if their topics are long.
const RETAINED_STEPS_MAX: usize = 1_000;
/// And at how many subscriptions it looks in vain.
const FRUITLESS_MAX: usize = 16;
/// What a message takes of a pull's budget that is not sent: very many may have expired.
const DROPPED_BYTES: usize = 64;

impl Outbound {
    /// Gives out what the client may get: first again what was sent on an earlier connection,
    /// in the original order, then what waits. [MQTT-4.4.0-1], [MQTT-4.6.0-6]
    pub(in super::super) fn transmit(&mut self, pull: &mut Transmission<'_>) -> Remaining {
        while pull.budget > 0 {
            let step = if self.has_committed(pull) {
                self.resend_next(pull)
            } else {
                match self.send_next(pull) {
                    // A retained message got its id before the next one found no room.
                    Step::Rest if self.has_committed(pull) => Step::GoOn,
                    step => step,
                }
            };
            match step {
                Step::GoOn => {}
                Step::Drop => pull.budget = pull.budget.saturating_sub(DROPPED_BYTES),
                Step::Hold => pull.is_waiting = true,
                Step::Pause => return Remaining::More,
                Step::Rest => {
                    self.queue.give_back_room();
                    return Remaining::Nothing;
                }
            }
        }
        Remaining::More
    }

    /// Whether something has a packet id and is to be sent under it, as far as this pull knows.
    fn has_committed(&self, pull: &Transmission<'_>) -> bool {
        self.resent < self.inflight.len() && !pull.is_waiting
    }

    fn has_window(&self, attachment: &Attachment) -> bool {
        let one_more = u16::from(plant::is_on(Plant::ReceiveMaximumOneMore));
        self.in_window < attachment.receive_maximum.saturating_add(one_more) // [MQTT-3.3.4-9]
    }

    fn resend_next(&mut self, pull: &mut Transmission<'_>) -> Step {
        if matches!(self.inflight[self.resent], Inflight::Done) {
            self.resent += 1;
            return Step::GoOn;
        }
        let is_release = matches!(self.inflight[self.resent], Inflight::AwaitPubComp(_));
        if !is_release
            && !self.has_window(pull.attachment)
            && !plant::is_on(Plant::WindowAfterResume)
        {
            let waits = plant::is_on(Plant::ReleaseWaits);
            return if waits { Step::Rest } else { self.release_ahead(pull) };
        }
        let id = self.id_at(self.resent);
        if let Inflight::AwaitPubAck(Queued { recorded, .. })
        | Inflight::AwaitPubRec(Queued { recorded, .. })
        | Inflight::AwaitPubComp(recorded) = &self.inflight[self.resent]
            && !pull.may_leave(*recorded)
        {
            return Step::Hold;
        }
        let may_dup = !plant::is_on(Plant::ResentWithoutDup);
        let (queued, delivery) = match &mut self.inflight[self.resent] {
            Inflight::AwaitPubAck(queued) => {
                let dup = queued.is_sent && may_dup;
                (queued, Delivery::AtLeastOnce { id, dup })
            }
            Inflight::AwaitPubRec(queued) => {
                let dup = queued.is_sent && may_dup;
                (queued, Delivery::ExactlyOnce { id, dup })
            }
            Inflight::AwaitPubComp(_) | Inflight::Done => {
                if self.resent >= self.released {
                    pull.release(id);
                }
                self.resent += 1;
                self.in_window += 1;
                return Step::GoOn;
            }
        };
        // It had an id, and was never on its way. [MQTT-3.3.2-5]
        let is_late = !queued.is_sent
            && queued.is_expired(pull.now)
            && !plant::is_on(Plant::ExpiredDelivered);
        let is_sent = !(queued.is_withdrawn || is_late)
            && (plant::is_on(Plant::NothingResent) || pull.deliver(queued, delivery)); // [MQTT-3.3.1-1]
        queued.is_sent |= is_sent;
        if !is_sent {
            let reason = match (queued.is_withdrawn, is_late) {
                (true, _) => DropReason::Forbidden,
                (false, true) => DropReason::Expired,
                (false, false) => DropReason::TooLarge,
            };
            drop_waiting(queued, reason, pull.ledger, pull.drops);
            if let Some(session) = pull.recorded_as {
                pull.journal.record(Record::Finished { session, id });
            }
        }
        self.resent += 1;
        self.in_window += 1;
        if !is_sent {
            self.set_done(self.resent - 1, pull.ledger);
            return Step::Drop;
        }
        Step::GoOn
    }

    /// A message waits for the client's receive maximum: PUBREL, which does not, is sent for
    /// those behind it. [MQTT-3.3.4-10]
    fn release_ahead(&mut self, pull: &mut Transmission<'_>) -> Step {
        self.released = self.released.max(self.resent);
        while self.released < self.inflight.len() {
            if pull.budget == 0 {
                return Step::Pause;
            }
            if let Inflight::AwaitPubComp(recorded) = self.inflight[self.released] {
                if !pull.may_leave(recorded) {
                    return Step::Hold;
                }
                pull.release(self.id_at(self.released));
            }
            self.released += 1;
        }
        Step::Rest
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
        if queued.is_expired(pull.now) && !plant::is_on(Plant::ExpiredDelivered) {
            drop_waiting(&queued, DropReason::Expired, pull.ledger, pull.drops); // [MQTT-3.3.2-5]
            return Step::Drop;
        }
        if self.send(queued, pull) { Step::GoOn } else { Step::Drop }
    }

    /// Gives a delivery its packet id, before it is sent: what a client may have received under
    /// an id has that id after a crash too.
    fn commit(&mut self, mut queued: Queued, session: SessionUid, pull: &mut Transmission<'_>) {
        let (number, id) = (queued.number, self.next_id);
        if queued.qos < QoS::ExactlyOnce || !plant::is_on(Plant::SentNotRecorded) {
            queued.recorded = pull.journal.record(Record::Sent { session, number, id });
        }
        pull.effort.spend(effort::DELIVERY);
        self.inflight.push_back(match queued.qos {
            QoS::ExactlyOnce => Inflight::AwaitPubRec(queued),
            _ => Inflight::AwaitPubAck(queued),
        });
        pull.ledger.inflight_out += 1;
        self.next_id = self.next_id.next();
    }

    /// Whether one more above QoS 0 may be sent: the client takes it, beside those that have an
    /// id already, and there is an id for it.
    fn may_send(&self, attachment: &Attachment) -> bool {
        let committed = self.inflight.len() - self.resent;
        let window = usize::from(attachment.receive_maximum);
        let has_room = committed == 0 || usize::from(self.in_window) + committed < window;
        has_room && self.has_window(attachment) && self.inflight.len() < usize::from(u16::MAX) - 1
    }

    /// Sends a message that is counted as waiting, or gives it the id that it is sent under. Else the
    /// client takes none so large.
    fn send(&mut self, mut queued: Queued, pull: &mut Transmission<'_>) -> bool {
        if let Some(session) = pull.recorded_as
            && queued.qos > QoS::AtMostOnce
        {
            self.commit(queued, session, pull);
            return true;
        }
        queued.is_sent = true;
        let id = self.next_id;
        let delivery = match queued.qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { id, dup: false },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { id, dup: false },
        };
        if !pull.deliver(&queued, delivery) {
            drop_waiting(&queued, DropReason::TooLarge, pull.ledger, pull.drops); // [MQTT-3.1.2-25]
            return false;
        }
        let entry = match queued.qos {
            QoS::AtMostOnce => {
                forget_waiting(&queued, pull.ledger);
                pull.ledger.delivered += 1;
                return true;
            }
            QoS::AtLeastOnce => Inflight::AwaitPubAck(queued),
            QoS::ExactlyOnce => Inflight::AwaitPubRec(queued),
        };
        if matches!(entry, Inflight::AwaitPubRec(_)) && plant::is_on(Plant::ReleaseTooSoon) {
            pull.answer(Packet::PubRel(Ack::new(id, Reason::Success)));
        }
        self.inflight.push_back(entry);
        pull.ledger.inflight_out += 1;
        if self.inflight.len() < 3 || !plant::is_on(Plant::PacketIdReused) {
            self.next_id = self.next_id.next();
        }
        self.resent += 1;
        self.in_window += 1;
        true
    }

    /// Sends what the cursor at the front of the queue stands for, as far as it may.
    fn send_retained(&mut self, pull: &mut Transmission<'_>) -> Step {
        let Some(mut cursor) = self.take_cursor() else { return Step::GoOn };
        let mut is_fruitless = true;
        let retained = pull.retained;
        let mut after = cursor.after.take();
        let mut step = Step::GoOn;
        let from = after.clone();
        let mut steps_left = RETAINED_STEPS_MAX;
        let progress =
            retained.visit(&cursor.filter, from.as_deref(), &mut steps_left, |name, entry| {
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
                let is_due = entry.sequence <= cursor.until && !entry.is_expired(pull.now);
                let is_wanted = qos > QoS::AtMostOnce || !cursor.is_restored;
                if is_due && is_wanted && pull.may_receive(name) {
                    pull.ledger.matched += 1;
                    let mut queued = cursor.queued(&entry.message, qos, entry.expires_at);
                    queued.number = self.number();
                    pull.record_retained(&queued, &cursor.filter);
                    start_waiting(&queued, pull.ledger);
                    is_fruitless &= !self.send(queued, pull);
                }
                ControlFlow::Continue(())
            });
        let lookup = Retained::lookup_steps(from.as_deref().unwrap_or(&cursor.filter));
        let steps = RETAINED_STEPS_MAX - steps_left;
        pull.effort.spend(effort::CURSOR + lookup + steps as u64);
        match (step, progress) {
            (Step::GoOn, None) => {
                self.finish_cursor(&cursor);
                if let Some(session) = pull.recorded_as {
                    let filter = Box::new(cursor.filter);
                    pull.journal.record(Record::RetainedSent { session, filter });
                }
                pull.fruitless += usize::from(is_fruitless);
                let is_enough = pull.fruitless >= FRUITLESS_MAX;
                return if is_enough { Step::Pause } else { Step::GoOn };
            }
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
}

impl RetainedCursor {
    fn queued(&self, message: &Arc<Message>, qos: QoS, expires_at: Option<Timestamp>) -> Queued {
        Queued {
            message: Arc::clone(message),
            qos,
            retain: !plant::is_on(Plant::RetainedUnmarked), // [3.1.1 MQTT-3.3.1-8]
            subscription_ids: self.subscription_id.map(|id| Arc::from([id])),
            expires_at,
            share: None,
            is_withdrawn: false,
            is_sent: false,
            number: 0,
            recorded: Lsn::default(),
        }
    }
}

impl Transmission<'_> {
    fn may_receive(&mut self, topic: &str) -> bool {
        !self.policy.asks(Action::Receive)
            || self.policy.permits(&mut self.asking, Action::Receive, topic, self.ledger)
    }

    /// Sends PUBREL once more.
    fn release(&mut self, id: PacketId) {
        if !plant::is_on(Plant::ReleaseNotResent) {
            self.answer(Packet::PubRel(Ack::new(id, Reason::Success)));
        }
    }

    /// Whether what depends on the record may be sent.
    fn may_leave(&self, recorded: Lsn) -> bool {
        !self.is_held || self.journal.is_durable(recorded)
    }

    /// A retained message becomes a delivery of the new subscription.
    fn record_retained(&mut self, queued: &Queued, filter: &TopicFilter) {
        let Some((session, _)) = queued.recorded_as(self.recorded_as) else { return };
        self.journal.add_delivery(waiting(session, queued, None, None));
        let cursor = Some((session, filter.clone()));
        let taken = Taken { cursor, ..Taken::of(queued.expires_at) };
        self.journal.record_message(&queued.message, taken, self.ledger);
    }

    fn answer(&mut self, packet: Packet) {
        self.budget = self.budget.saturating_sub(4);
        self.out.push(Outgoing::Packet(packet));
    }

    /// The alias for a topic. What a new one takes is held, if there is room for it.
    fn assign_alias(&mut self, topic: &TopicName) -> Option<Alias> {
        let room = self.held_bytes_max.saturating_sub(self.ledger.held_bytes());
        let alias = self.attachment.aliases_out.assign(topic, room)?;
        if alias.is_new {
            self.ledger.hold_bytes(alias_bytes(topic));
        }
        Some(alias)
    }

    /// Gives out a PUBLISH, unless the client takes no packet that large.
    fn deliver(&mut self, queued: &Queued, delivery: Delivery) -> bool {
        let message = &queued.message;
        let mut deliver = Deliver {
            message: Arc::clone(message),
            delivery,
            retain: queued.retain,
            alias: match self.attachment.aliases_out.are_taken() {
                true => self.assign_alias(&message.topic),
                false => None,
            },
            subscription_ids: queued.subscription_ids.clone(),
            expiry: queued.expires_at.map(|at| secs_left(at, self.now)),
        };
        if plant::is_on(Plant::ExpiryNotReduced) {
            deliver.expiry = message.expiry();
        }
        let bytes_max = self.attachment.packet_bytes_max;
        let mut bytes = encoded_bytes(&deliver, self.attachment);
        if bytes > bytes_max
            && let Some(alias) = deliver.alias.take()
        {
            // It may take more bytes than it saves.
            if alias.is_new && !plant::is_on(Plant::AliasOutlives) {
                self.attachment.aliases_out.take_back(&message.topic);
                self.ledger.release_bytes(alias_bytes(&message.topic));
            }
            bytes = encoded_bytes(&deliver, self.attachment);
        }
        if bytes > bytes_max && !plant::is_on(Plant::PacketTooLarge) {
            return false; // [MQTT-3.1.2-24]
        }
        self.budget = self.budget.saturating_sub(bytes);
        self.effort.spend(effort::DELIVERY);
        self.ledger.publishes_sent += 1;
        self.out.push(Outgoing::Deliver(deliver));
        true
    }
}

/// Larger payloads may come near to the largest packet that there is.
const ESTIMATED_BYTES_MAX: usize = 1 << 20;

/// About as many bytes as it takes; exactly, if it may be too large for the client, or if
/// properties make up most of it: they are copied for each client, so the budget must see them.
fn encoded_bytes(deliver: &Deliver, attachment: &Attachment) -> usize {
    let payload = deliver.message.payload.len();
    let is_plain = deliver.message.properties.is_none() && deliver.subscription_ids.is_none();
    if attachment.takes_any() && is_plain && payload < ESTIMATED_BYTES_MAX {
        return deliver.message.topic.len() + payload + 8;
    }
    PublishHead::from(deliver).encoded_bytes(attachment.version, payload) + payload
}

/// What is left of an expiry interval, in whole seconds, rounded up; at least one, because a
/// message that was sent before is sent again whatever its age. [MQTT-3.3.2-6], [MQTT-4.3.3-7]
fn secs_left(at: Timestamp, now: Timestamp) -> u32 {
    let secs = at.millis_since(now).div_ceil(1_000);
    u32::try_from(secs).unwrap_or(u32::MAX).max(1)
}
