//! A message's way through the broker: checked, matched, delivered, acknowledged
//! (MQTT 5.0, sections 3.3 and 4.3).
//!
//! Read it from the top. Who matches is `subscriptions.rs`; what happens to a delivery then is
//! `session/outbound.rs`.

use std::hint;
use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;

use super::clients::{SessionKey, details};
use super::connections::Slot;
use super::journal::waiting;
use super::ledger::DropReason;
use super::record::{Lsn, Record, SessionUid, Taken};
use super::session::{Full, Queued, alias_bytes};
use super::spread::{SPREADS_MAX, Spread};
use super::subscriptions::Subscriber;
use super::{Machine, SubscriptionIds, Timestamp, effort};
use crate::access::Action;
use crate::mqtt::message::{Holders, Message, MessageProperties};
use crate::mqtt::topic::TopicName;
use crate::mqtt::types::{PacketId, QoS, Reason};
use crate::mqtt::wire::{Ack, Delivery, Packet, Publish, Will};
use crate::plant::{self, Plant};

/// Where a message goes to more sessions than this, their memory is in no cache.
const CACHED_MAX: usize = 2_000;
/// And is fetched for so many of them at once.
const AHEAD: usize = 32;

/// A message to be given out, when it expires, and until how much was spent in all.
pub(super) type Part<'a> = (&'a Arc<Message>, Option<Timestamp>, u64);

/// Where a message comes from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Origin {
    /// The session whose client published it; none: the broker itself.
    pub(super) session: Option<SessionKey>,
    /// At QoS 2, what the records call that session, if they know it, and the packet id.
    pub(super) from: Option<(SessionUid, PacketId)>,
    /// The session whose will it is, if the records know it.
    pub(super) will_of: Option<SessionUid>,
    pub(super) division: Division,
}

/// How a message may be divided that is for too many to be given out at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Division {
    /// Not at all: it is recorded together with its packet id, or instead of the will that it was.
    #[default]
    Undivided,
    /// Its client is there to go on with it.
    ByClient,
    /// Nobody comes back for the rest: the machine goes on by itself.
    Alone,
}

impl Machine {
    /// PUBLISH from a client. What is left of it is given back if it is for more sessions than
    /// may be seen to at once.
    pub(super) fn handle_publish(
        &mut self,
        slot: Slot,
        key: SessionKey,
        publish: Publish,
        now: Timestamp,
    ) -> Option<Publish> {
        let delivery = publish.delivery;
        if self.is_spreading(key) {
            let Some(matched) = self.spread_on(key, now) else { return Some(publish) };
            self.acknowledge_taken(slot, delivery, matched);
            return None;
        }
        let topic = match self.resolve_topic(slot, publish.topic, publish.topic_alias) {
            Ok(topic) => topic,
            Err(reason) => {
                self.violate(slot, reason, now);
                return None;
            }
        };
        self.ledger.publishes_received += 1;
        if let Delivery::ExactlyOnce { id, .. } = delivery {
            let inbound = &self.clients.get(key).inbound;
            if inbound.has(id) && !plant::is_on(Plant::Qos2Doubled) {
                self.acknowledge(slot, delivery, Reason::Success); // [MQTT-4.3.3-10]
                return None;
            }
            let max = usize::from(self.settings.limits.inflight);
            if inbound.in_window() >= max && self.is_v5(slot) {
                self.violate(slot, Reason::ReceiveMaximumExceeded, now);
                return None;
            }
        }
        let message = Message {
            topic,
            payload: publish.payload,
            qos: delivery.qos(),
            retain: publish.retain,
            properties: publish.properties,
            holders: Holders::default(),
        };
        let kept = self.clients.get(key).kept.whole();
        let from = match delivery {
            Delivery::ExactlyOnce { id, .. } => kept.map(|session| (session, id)),
            _ => None,
        };
        let division = if from.is_none() { Division::ByClient } else { Division::Undivided };
        let origin = Origin { session: Some(key), from, will_of: None, division };
        match self.publish(message.detached(), origin, now) {
            Ok(matched) => {
                // Before all of it is given out: if its client leaves meanwhile, it is taken.
                if let Delivery::ExactlyOnce { id, .. } = delivery {
                    self.clients.get_mut(key).inbound.take(id);
                    self.ledger.hold_unreleased(1);
                }
                if self.is_spreading(key) {
                    return Some(rest_of(delivery));
                }
                self.acknowledge_taken(slot, delivery, matched);
            }
            Err(reason) => self.refuse_publish(slot, delivery, reason, now),
        }
        None
    }

    /// The topic of a PUBLISH, by name or by alias.
    fn resolve_topic(
        &mut self,
        slot: Slot,
        topic: Option<TopicName>,
        alias: Option<NonZeroU16>,
    ) -> Result<TopicName, Reason> {
        let Some(alias) = alias else { return topic.ok_or(Reason::ProtocolError) };
        let Some((_, attachment)) = self.connections.attachment(slot) else {
            return Err(Reason::ProtocolError);
        };
        let aliases = &mut attachment.aliases_in;
        match topic {
            Some(topic) => {
                let (old, new) = (aliases.bytes_of(alias), alias_bytes(&topic));
                let held = self.ledger.held_bytes() - old + new;
                if new > old && held > self.settings.limits.total_bytes {
                    return Err(Reason::QuotaExceeded); // the client would use it all the same
                }
                aliases.set(alias, &topic).map_err(|_| Reason::TopicAliasInvalid)?; // [MQTT-3.3.2-9]
                self.ledger.release_bytes(old);
                self.ledger.hold_bytes(aliases.bytes_of(alias));
                Ok(topic)
            }
            None => match aliases.get(alias) {
                Ok(known) => known.cloned().ok_or(Reason::ProtocolError),
                Err(_) => Err(Reason::TopicAliasInvalid),
            },
        }
    }

    /// Takes a message: to everybody who is subscribed to it, and as the retained message of its
    /// topic if it is to be that. How many sessions it went to.
    pub(super) fn publish(
        &mut self,
        message: Message,
        origin: Origin,
        now: Timestamp,
    ) -> Result<usize, Reason> {
        if let Some(key) = origin.session {
            self.may_publish(&message)?;
            let is_allowed = self.permits(key, Action::Publish, &message.topic);
            if !is_allowed && !plant::is_on(Plant::DeniedRouted) {
                return Err(Reason::NotAuthorized);
            }
        }
        self.take(message, origin, now)
    }

    /// Takes a message that is in order, if there is room.
    fn take(&mut self, message: Message, origin: Origin, now: Timestamp) -> Result<usize, Reason> {
        if let Some(key) = origin.session {
            self.end_spread(key, now);
        }
        self.effort.spend(effort::of_topic(&message.topic, message.retain));
        let limits = &self.settings.limits;
        let is_kept = message.retain && !message.payload.is_empty();
        // What clears a retained message makes room.
        let is_clear = message.retain && !is_kept && self.retained.holds(&message.topic);
        let is_too_much = self.ledger.held_bytes() + message.bytes() > limits.total_bytes;
        if is_too_much && !is_clear {
            self.alerts.total_bytes(now);
        }
        if (is_too_much && !is_clear) || (is_kept && !self.retained.has_room(&message, limits)) {
            return Err(Reason::QuotaExceeded);
        }
        // Before anything of it takes effect: a message is refused as a whole.
        self.subscriptions.collect(&message.topic, &mut self.matches, &mut self.effort)?;
        if self.journal.is_on && self.journal.is_full() && self.must_be_recorded(&message, &origin)
        {
            return Err(Reason::QuotaExceeded);
        }
        let expires_at = message.expiry().map(|secs| now.after_secs(secs.into()));
        let message = Arc::new(message);
        let mut taken =
            Taken { from: origin.from, will_of: origin.will_of, ..Taken::of(expires_at) };
        if message.retain {
            let has_changed = self.retained.keep(&message, expires_at, &mut self.ledger);
            let is_recorded = has_changed && self.journal.is_on && origin.session.is_some();
            let is_recorded = is_recorded && !plant::is_on(Plant::RetainedNotRecorded);
            taken.retained = is_recorded.then(|| self.retained.newest());
            if is_recorded && (message.payload.is_empty() || expires_at.is_some()) {
                self.journal.cleared = self.journal.next();
            }
            if !has_changed && let Some(key) = origin.session {
                let session = self.clients.get_mut(key);
                session.recorded = session.recorded.max(self.journal.cleared);
            }
        }
        if message.payload.is_empty() && message.retain && plant::is_on(Plant::EmptyNotForwarded) {
            return Ok(0);
        }
        let matched = self.route(&message, expires_at, &origin, now);
        if self.journal.is_on && plant::is_on(Plant::Qos2IdApart) {
            let from = taken.from.take();
            self.journal.record_message(&message, taken, &mut self.ledger);
            taken = Taken { from, ..Taken::of(None) };
        }
        if self.journal.is_on {
            self.journal.record_message(&message, taken, &mut self.ledger);
        }
        Ok(matched)
    }

    fn may_publish(&self, message: &Message) -> Result<(), Reason> {
        if self.is_too_long(&message.topic) {
            return Err(Reason::TopicNameInvalid);
        }
        if (message.topic.starts_with("$SYS/") || message.topic.as_str() == "$SYS")
            && !plant::is_on(Plant::SysWritable)
        {
            return Err(Reason::NotAuthorized); // only the broker speaks there
        }
        let says_text = |properties: &MessageProperties| properties.payload_is_text == Some(true);
        if message.properties.as_deref().is_some_and(says_text)
            && std::str::from_utf8(&message.payload).is_err()
        {
            return Err(Reason::PayloadFormatInvalid);
        }
        Ok(())
    }

    /// Whether a name or filter has more bytes or levels than the limits allow.
    pub(super) fn is_too_long(&self, topic: &str) -> bool {
        let limits = &self.settings.limits;
        topic.len() > limits.topic_bytes
            || (topic.len() >= limits.topic_levels
                && topic.split('/').count() > limits.topic_levels)
    }

    /// Gives a message to every session that it was found to match: once, with the highest QoS
    /// and the identifiers of all its subscriptions that match, and once more for each share in
    /// a group whose turn it is. To how many that was. [MQTT-3.3.4-2], [MQTT-3.3.4-3],
    /// [MQTT-3.3.4-4]
    fn route(
        &mut self,
        message: &Arc<Message>,
        expires_at: Option<Timestamp>,
        origin: &Origin,
        now: Timestamp,
    ) -> usize {
        let mut matches = std::mem::take(&mut self.matches);
        let own = matches.own.len() as u64;
        matches.own.retain(|s| {
            !(s.no_local && origin.session == Some(s.session)) // [MQTT-3.8.3-3]
                || plant::is_on(Plant::NoLocalIgnored)
        });
        let steps = own * effort::MATCH + matches.groups.len() as u64 * effort::SHARED;
        let is_much = steps > self.settings.effort_max;
        let may_spread = origin.division != Division::Undivided;
        let spreads = is_much && may_spread && self.spreads.len() < SPREADS_MAX;
        let effort_max = if spreads { self.part_effort_max() } else { u64::MAX };
        let part = (message, expires_at, effort_max);
        let (mut sessions, taken) = self.give(part, &matches.own, now);
        let (by_groups, groups_taken) = self.give_groups(part, &matches.groups, now);
        sessions += by_groups;
        let is_done = taken == matches.own.len() && groups_taken == matches.groups.len();
        if let Some(publisher) = origin.session.filter(|_| !is_done) {
            self.spreads.push(Spread {
                client_id: Arc::clone(&self.clients.get(publisher).client_id),
                publisher,
                alone_since: (origin.division == Division::Alone).then_some(now),
                message: Arc::clone(message),
                expires_at,
                matches: std::mem::take(&mut matches),
                taken,
                groups_taken,
                sessions,
            });
        }
        self.matches = matches;
        sessions
    }

    /// Gives a message to sessions by their own subscriptions, until that has cost so much: to one
    /// at least. To how many sessions, and how many subscriptions that were.
    pub(super) fn give(
        &mut self,
        (message, expires_at, effort_max): Part<'_>,
        subscribers: &[Subscriber],
        now: Timestamp,
    ) -> (usize, usize) {
        let (mut sessions, mut taken) = (0, 0);
        let mut fetched = if subscribers.len() > CACHED_MAX { 0 } else { subscribers.len() };
        for subscriptions in subscribers
            .chunk_by(|a, b| a.session == b.session && !plant::is_on(Plant::OverlapDoubled))
        {
            if taken >= fetched {
                fetched = subscribers.len().min(taken + AHEAD);
                self.fetch(&subscribers[taken..fetched]);
            }
            taken += subscriptions.len();
            let queued = queued(message, subscriptions, expires_at);
            sessions += usize::from(self.deliver(subscriptions[0].session, queued, now));
            if self.effort.spent() >= effort_max {
                break;
            }
        }
        (sessions, taken)
    }

    /// Has the memory of some sessions and of their connections fetched: the processor waits for
    /// all of it once, in place of once for each.
    fn fetch(&self, subscribers: &[Subscriber]) {
        let sessions = || subscribers.iter().map(|it| self.clients.get(it.session));
        hint::black_box(sessions().fold(0, |sum, session| sum ^ session.fetch()));
        let slots = sessions().filter_map(|session| session.connection);
        hint::black_box(slots.filter(|slot| self.connections.is_woken(*slot)).count());
    }

    /// Gives a message to one session, or notes why not. False if the session has ended: it
    /// matches nothing any more.
    pub(super) fn deliver(&mut self, key: SessionKey, mut queued: Queued, now: Timestamp) -> bool {
        let session = self.clients.get_mut(key);
        if session.has_ended {
            return false;
        }
        self.effort.spend(effort::MATCH);
        self.ledger.matched += 1;
        if self.policy.asks(Action::Receive) && !self.may_receive(key, &queued) {
            return true;
        }
        let (session, limits) = (self.clients.get_mut(key), &self.settings.limits);
        let (outbound, drops) = (&mut session.outbound, &mut session.drops);
        let room = outbound.make_room(&queued, limits, &mut self.ledger, drops, now);
        queued.number = session.outbound.number();
        let noted = queued.recorded_as(session.kept.whole()).map(|(session, _)| {
            queued.recorded = self.journal.next();
            let share = queued.share.and_then(|group| self.subscriptions.name_of(group));
            waiting(session, &queued, share, None)
        });
        let outcome = match (session.connection, room) {
            (None, _) if queued.qos == QoS::AtMostOnce => Err(DropReason::Offline),
            (None, _) if plant::is_on(Plant::OfflineLost) => Err(DropReason::Offline),
            (_, Err(Full::Messages)) => Err(DropReason::QueueMessages),
            (_, Err(Full::Bytes)) => Err(DropReason::QueueBytes),
            (_, Ok(())) => {
                session.outbound.enqueue(queued, &mut self.ledger);
                Ok(())
            }
        };
        if let (Ok(()), Some(noted)) = (&outcome, noted) {
            self.journal.add_delivery(noted);
        }
        match (outcome, session.connection) {
            (Ok(()), Some(slot)) => self.connections.wake(slot),
            (Ok(()), None) => {}
            (Err(_), _) if plant::is_on(Plant::DropUncounted) => {}
            (Err(reason), _) => {
                self.ledger.drops.count(reason);
                session.drops.count(reason);
                let is_full = reason != DropReason::Offline;
                if is_full && !std::mem::replace(&mut session.was_full, true) {
                    self.alerts.queue_full(&session.client_id, reason);
                }
            }
        }
        true
    }

    /// Whether the session's client may be sent a message; if not, it is dropped.
    fn may_receive(&mut self, key: SessionKey, queued: &Queued) -> bool {
        let is_allowed = self.permits(key, Action::Receive, &queued.message.topic);
        if !is_allowed {
            self.ledger.drops.count(DropReason::Forbidden);
            self.clients.get_mut(key).drops.count(DropReason::Forbidden);
        }
        is_allowed
    }

    /// A will is published as its client would have published it. [MQTT-3.1.2-14],
    /// [MQTT-3.1.2-15]
    pub(super) fn route_will(&mut self, will: Will, key: SessionKey, now: Timestamp) {
        let has_properties =
            !will.properties.is_empty() && !plant::is_on(Plant::WillPropertiesLost);
        let properties = has_properties.then(|| Box::new(will.properties));
        let message = Message {
            topic: will.topic,
            payload: will.payload,
            qos: will.qos,
            retain: will.retain && !plant::is_on(Plant::WillNotRetained),
            properties,
            holders: Holders::default(),
        };
        let will_of = self.clients.get(key).kept.uid();
        let will_of = will_of.filter(|_| !plant::is_on(Plant::WillStaysRecorded));
        let division = if will_of.is_none() { Division::Alone } else { Division::Undivided };
        let origin = Origin { session: Some(key), from: None, will_of, division };
        let taken = match plant::is_on(Plant::WillNotJudged) {
            true => self.take(message.detached(), origin, now),
            false => self.publish(message.detached(), origin, now),
        };
        if taken.is_err() {
            self.ledger.refused += 1;
            if let Some(session) = will_of {
                self.journal.record(Record::WillGone { session });
            }
        }
    }

    /// A message that is not taken: said in the acknowledgement if there is one that can say it.
    /// One of 3.1.1 cannot: what is not allowed is acknowledged and dropped, and what is not
    /// possible now closes the connection, so that the client keeps the message.
    /// [3.1.1 MQTT-3.3.5-2], [3.1.1 MQTT-4.8.0-2]
    fn refuse_publish(&mut self, slot: Slot, delivery: Delivery, reason: Reason, now: Timestamp) {
        let is_v5 = self.is_v5(slot);
        self.ledger.refused += u64::from(!plant::is_on(Plant::RefusedMessagesUncounted));
        match delivery {
            Delivery::AtMostOnce => {}
            _ if is_v5 => self.acknowledge(slot, delivery, reason),
            _ if reason == Reason::NotAuthorized => {
                self.acknowledge(slot, delivery, Reason::Success);
            }
            _ => self.violate(slot, reason, now),
        }
    }

    /// Answers a PUBLISH that was taken. [MQTT-4.3.2-4], [MQTT-4.3.3-8]
    fn acknowledge_taken(&mut self, slot: Slot, delivery: Delivery, matched: usize) {
        let reason = if matched == 0 { Reason::NoMatchingSubscribers } else { Reason::Success };
        self.acknowledge(slot, delivery, reason);
    }

    /// Answers a PUBLISH as its QoS demands. [MQTT-3.3.4-1], [MQTT-2.2.1-5]
    fn acknowledge(&mut self, slot: Slot, delivery: Delivery, reason: Reason) {
        match delivery {
            Delivery::AtMostOnce => {}
            _ if plant::is_on(Plant::LostPubAck) && reason == Reason::NoMatchingSubscribers => {}
            Delivery::AtLeastOnce { id, .. } => {
                let ack = self.ack(slot, id, reason);
                self.answer(slot, Packet::PubAck(ack));
            }
            Delivery::ExactlyOnce { id, .. } => {
                let ack = self.ack(slot, id, reason);
                self.answer(slot, Packet::PubRec(ack));
            }
        }
    }

    /// An acknowledgement, with the reason in words if it is an error, the client wants them
    /// and takes packets of that size. [MQTT-3.1.2-29], [MQTT-3.4.2-2]
    pub(super) fn ack(&mut self, slot: Slot, id: PacketId, reason: Reason) -> Ack {
        let mut ack = Ack::new(id, reason);
        if reason.is_error()
            && let Some((_, attachment)) = self.connections.attachment(slot)
            && attachment.wants_problem_information
            && attachment.packet_bytes_max >= WORDY_ACK_BYTES_MAX
        {
            ack.details = Some(Box::new(details(reason)));
        }
        ack
    }
}

/// What is left of a PUBLISH that is on its way in parts: who it is to be acknowledged to.
fn rest_of(delivery: Delivery) -> Publish {
    Publish {
        delivery,
        topic: None,
        topic_alias: None,
        retain: false,
        subscription_ids: Vec::new(),
        properties: None,
        payload: Bytes::new(),
    }
}

/// No acknowledgement with our own words is larger.
const WORDY_ACK_BYTES_MAX: usize = 256;

/// A message for one session, by its subscriptions that match: at least one.
pub(super) fn queued(
    message: &Arc<Message>,
    subscriptions: &[Subscriber],
    expires_at: Option<Timestamp>,
) -> Queued {
    let granted = subscriptions.iter().map(|s| s.qos).max().unwrap_or_default();
    let granted = if plant::is_on(Plant::QosNotLowered) { QoS::ExactlyOnce } else { granted };
    let as_published =
        subscriptions.iter().any(|s| s.retain_as_published) || plant::is_on(Plant::RetainForwarded);
    Queued {
        message: Arc::clone(message),
        qos: message.qos.min(granted), // [MQTT-3.8.4-8]
        retain: message.retain && as_published && !plant::is_on(Plant::RetainAsPublishedIgnored), // [MQTT-3.3.1-12]
        subscription_ids: ids_of(subscriptions),
        expires_at,
        share: None,
        is_withdrawn: false,
        is_sent: false,
        number: 0,
        recorded: Lsn::default(),
    }
}

fn ids_of(subscriptions: &[Subscriber]) -> SubscriptionIds {
    if subscriptions.iter().all(|s| s.id.is_none()) {
        return None;
    }
    let ids_max = if plant::is_on(Plant::SubscriptionIdLost) { 1 } else { subscriptions.len() };
    Some(subscriptions.iter().filter_map(|s| s.id).take(ids_max).collect())
}
