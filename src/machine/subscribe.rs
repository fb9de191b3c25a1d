//! SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0, sections 3.8 to 3.11).
//!
//! Only what is asked and answered: `subscriptions.rs` keeps the subscriptions, and retained
//! messages are pulled by the session (`session/outbound.rs`).

use super::clients::{SessionKey, details};
use super::connections::Slot;
use super::record::{Record, RetainedLeft};
use super::session::RetainedCursor;
use super::subscriptions::Subscriber;
use super::{Machine, Timestamp, effort};
use crate::access::Action;
use crate::mqtt::topic::Filter;
use crate::mqtt::types::{PacketId, Reason};
use crate::mqtt::wire::{
    Answers, Details, Packet, RetainHandling, Subscribe, SubscriptionId, SubscriptionOptions,
    SubscriptionRequest, Unsubscribe,
};
use crate::plant::{self, Plant};

/// The bytes that a subscription is charged with.
pub(super) fn subscription_bytes(filter: &str) -> usize {
    let is_wild = filter.contains(['+', '#']);
    let nodes = if is_wild { filter.split('/').count() } else { 1 };
    let group = if filter.starts_with("$share/") { GROUP_BYTES } else { 0 };
    2 * filter.len() + 2 * size_of::<Subscriber>() + nodes * NODE_BYTES + group
}

/// A group with one member, beside its name: nobody knows how many more it will have.
const GROUP_BYTES: usize = 640;

/// Bytes of the names and filters of all groups. Each delivery to a group is recorded with them,
/// and a message may go to all groups there are: the record of one must have an end.
const GROUP_NAMES_BYTES_MAX: usize = 32 << 20;

/// A node of the trie that wildcard filters are kept in, one for each level.
const NODE_BYTES: usize = 128;

impl Machine {
    /// SUBSCRIBE: effective before it is answered. Given back if it has more filters than may
    /// be seen to at once. [MQTT-3.8.4-1], [MQTT-3.8.4-6]
    pub(super) fn handle_subscribe(
        &mut self,
        slot: Slot,
        key: SessionKey,
        mut subscribe: Box<Subscribe>,
        now: Timestamp,
    ) -> Option<Box<Subscribe>> {
        let effort_max = self.effort.spent() + self.settings.effort_max;
        self.catch_up(key, now);
        let id = subscribe.subscription_id;
        let is_v5 = self.is_v5(slot);
        let answer = |reason: Reason| match reason {
            // 3.1.1 has one code for every failure. [3.1.1 MQTT-3.9.3-2]
            error if error.is_error() && !is_v5 => Reason::UnspecifiedError,
            reason => reason,
        };
        let mut reasons = self.reasons_so_far(slot);
        for request in subscribe.requests.by_ref() {
            self.spend_on(request.filter.as_ref().ok());
            reasons.push(answer(self.subscribe(key, &request, id)));
            if self.effort.spent() >= effort_max {
                break;
            }
        }
        if !subscribe.requests.is_empty() {
            self.keep_reasons(slot, reasons);
            return Some(subscribe);
        }
        let packet = self.answers(slot, subscribe.id, reasons, Packet::SubAck);
        self.answer(slot, packet); // [MQTT-3.8.4-2]
        if self.clients.get(key).outbound.has_something() {
            self.connections.wake(slot);
        }
        None
    }

    /// The answers to the filters that were seen to on an earlier visit, one for each.
    fn reasons_so_far(&mut self, slot: Slot) -> Vec<Reason> {
        let attachment = self.connections.attachment(slot);
        attachment
            .map(|(_, attachment)| std::mem::take(&mut attachment.reasons))
            .unwrap_or_default()
    }

    fn keep_reasons(&mut self, slot: Slot, reasons: Vec<Reason>) {
        if let Some((_, attachment)) = self.connections.attachment(slot) {
            attachment.reasons = reasons;
        }
    }

    /// What is named in a packet is seen to next; none: it is no filter.
    fn spend_on(&mut self, filter: Option<&Filter>) {
        let steps = filter.map_or(effort::FILTER, |it| effort::of_filter(it.topic_filter()));
        self.effort.spend(steps);
    }

    fn subscribe(
        &mut self,
        key: SessionKey,
        request: &SubscriptionRequest,
        id: Option<SubscriptionId>,
    ) -> Reason {
        let Ok(filter) = &request.filter else { return Reason::TopicFilterInvalid };
        let filter = filter.detached();
        if let Err(reason) = self.may_subscribe(key, &filter) {
            return reason;
        }
        let mut options = request.options;
        if !plant::is_on(Plant::QosGrantedTooHigh) {
            options.qos = options.qos.min(self.settings.max_qos);
        }
        let text = filter.to_string();
        let bytes = subscription_bytes(&text);
        let session = self.clients.get_mut(key);
        if plant::is_on(Plant::SubscribeForgotten) && session.subscriptions.len() > 1 {
            return Reason::granted(options.qos);
        }
        if session.kept.whole().is_some() && self.journal.is_full() {
            return self.subscribe_unrecorded(key, &filter, options, id);
        }
        if !session.subscriptions.contains(text.as_str()) {
            let limits = &self.settings.limits;
            if session.subscriptions.len() >= limits.subscriptions
                || self.ledger.held_bytes() + bytes > limits.total_bytes
                || self.subscriptions.group_names_bytes_with(&filter) > GROUP_NAMES_BYTES_MAX
            {
                return Reason::QuotaExceeded;
            }
            session.subscriptions.insert(text.into_boxed_str());
            self.ledger.hold_bytes(bytes);
        }
        let is_new = self.subscriptions.insert(&filter, Subscriber::new(key, options, id));
        let wants_retained = match options.retain_handling {
            RetainHandling::Send => true, // [MQTT-3.3.1-9]
            RetainHandling::SendIfNew => is_new || plant::is_on(Plant::RetainHandlingIgnored), // [MQTT-3.3.1-10]
            RetainHandling::DoNotSend => false, // [MQTT-3.3.1-11]
        };
        let until = self.retained.newest();
        let is_retained = match &filter {
            Filter::Plain(filter) => wants_retained && self.retained.may_match(filter),
            Filter::Shared(_) => false,
        };
        let left = is_retained.then_some(RetainedLeft { after: None, until, options, id });
        self.record_subscribed(key, &filter, options, id, left);
        if let (true, Filter::Plain(filter)) = (wants_retained, filter) {
            let outbound = &mut self.clients.get_mut(key).outbound;
            if !is_new {
                outbound.forget_retained(&filter); // they come again from the first one on
            }
            if is_retained {
                outbound.enqueue_retained(RetainedCursor {
                    filter,
                    options,
                    subscription_id: id,
                    after: None,
                    until,
                    number: 0,
                    place: 0,
                    is_restored: false,
                });
            }
        }
        Reason::granted(options.qos) // [MQTT-3.8.4-7]
    }

    /// Whether the filter is no longer than it may be, and its group's name no longer than a topic,
    /// and the client may have it.
    fn may_subscribe(&mut self, key: SessionKey, filter: &Filter) -> Result<(), Reason> {
        let bytes_max = self.settings.limits.topic_bytes;
        let is_long_name =
            matches!(filter, Filter::Shared(shared) if shared.group.len() > bytes_max);
        if is_long_name || self.is_too_long(filter.topic_filter()) {
            return Err(Reason::TopicFilterInvalid);
        }
        match self.permits(key, Action::Subscribe, filter.topic_filter()) {
            true => Ok(()),
            false => Err(Reason::NotAuthorized),
        }
    }

    /// Nothing can be recorded. Granted if the session has just this subscription already and
    /// nothing retained is to be sent for it again, so that there is nothing to record: a client
    /// that comes back to what waits for it, and asks for what it has, is not turned away.
    fn subscribe_unrecorded(
        &self,
        key: SessionKey,
        filter: &Filter,
        options: SubscriptionOptions,
        id: Option<SubscriptionId>,
    ) -> Reason {
        let asked = Subscriber::new(key, options, id);
        let is_had = self.subscriptions.get(filter, key) == Some(asked);
        let has_retained = match filter {
            Filter::Plain(filter) => {
                options.retain_handling == RetainHandling::Send && self.retained.may_match(filter)
            }
            Filter::Shared(_) => false,
        };
        match is_had && !has_retained {
            true => Reason::granted(options.qos),
            false => Reason::QuotaExceeded,
        }
    }

    /// UNSUBSCRIBE: effective before it is answered. Given back if it has more filters than may
    /// be seen to at once. [MQTT-3.10.4-4], [MQTT-3.10.4-5]
    pub(super) fn handle_unsubscribe(
        &mut self,
        slot: Slot,
        key: SessionKey,
        mut unsubscribe: Box<Unsubscribe>,
        now: Timestamp,
    ) -> Option<Box<Unsubscribe>> {
        let effort_max = self.effort.spent() + self.settings.effort_max;
        self.catch_up(key, now);
        let mut reasons = self.reasons_so_far(slot);
        for filter in unsubscribe.filters.by_ref() {
            let filter = filter.as_ref().ok();
            self.spend_on(filter);
            reasons.push(self.unsubscribe(key, filter));
            if self.effort.spent() >= effort_max {
                break;
            }
        }
        if !unsubscribe.filters.is_empty() {
            self.keep_reasons(slot, reasons);
            return Some(unsubscribe);
        }
        if !self.is_v5(slot) {
            reasons.clear();
        }
        let packet = self.answers(slot, unsubscribe.id, reasons, Packet::UnsubAck);
        self.answer(slot, packet);
        None
    }

    fn unsubscribe(&mut self, key: SessionKey, filter: Option<&Filter>) -> Reason {
        let Some(filter) = filter else { return Reason::TopicFilterInvalid };
        let text = filter.to_string();
        let session = self.clients.get_mut(key);
        if !session.subscriptions.remove(text.as_str()) {
            let lies = plant::is_on(Plant::UnsubscribeSaysNone);
            return if lies { Reason::Success } else { Reason::NoSubscriptionExisted };
        }
        self.ledger.release_bytes(subscription_bytes(&text));
        let is_recorded = !plant::is_on(Plant::UnsubscribeNotRecorded);
        if let Some(session) = session.kept.whole().filter(|_| is_recorded) {
            // Not the whole packet along with it, until the record is written.
            let filter = Box::new(filter.detached());
            self.journal.record(Record::Unsubscribed { session, filter });
        }
        if plant::is_on(Plant::UnsubscribeIgnored) {
            return Reason::Success;
        }
        if let Filter::Plain(filter) = filter
            && !plant::is_on(Plant::RetainedGoesOn)
        {
            session.outbound.forget_retained(filter);
        }
        self.subscriptions.remove(filter, key);
        Reason::Success
    }

    /// An answer with one reason for each filter, and the first failure in words if the client
    /// wants them and takes packets of that size. [MQTT-3.9.2-1], [MQTT-3.11.2-1]
    fn answers(
        &mut self,
        slot: Slot,
        id: PacketId,
        reasons: Vec<Reason>,
        packet: fn(Box<Answers>) -> Packet,
    ) -> Packet {
        let failure = reasons.iter().find(|reason| reason.is_error()).copied();
        let mut answers = Answers { id, reasons, details: Details::default() };
        if let (Some(failure), Some((_, attachment))) = (failure, self.connections.attachment(slot))
            && attachment.version.is_v5()
            && attachment.wants_problem_information
        {
            answers.details = details(failure);
            let wordy = packet(Box::new(answers.clone()));
            if attachment.takes(&wordy) {
                return wordy;
            }
            answers.details = Details::default();
        }
        packet(Box::new(answers))
    }
}
