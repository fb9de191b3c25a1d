//! A machine of what records came to: sessions, their subscriptions, and what waits for them.
//!
//! What that is, `restore.rs` has found.

use std::collections::BTreeMap;

use super::clients::SessionKey;
use super::ledger::DropReason;
use super::record::Lsn;
use super::restore::{Delivery, Restored, Stored, Subscription};
use super::session::{
    Inbound, Inflight, Kept, Outbound, Queued, RetainedCursor, Session, SessionExpiry,
    start_waiting,
};
use super::subscribe::subscription_bytes;
use super::subscriptions::Subscriber;
use super::{Machine, Timestamp};
use crate::access::Action;
use crate::mqtt::topic::Filter;
use crate::mqtt::types::{PacketId, QoS};
use crate::plant::{self, Plant};

/// What waits for a session that is restored.
pub(super) struct Undelivered {
    session: SessionKey,
    queue: BTreeMap<u64, Delivery>,
    sent: BTreeMap<PacketId, Option<Delivery>>,
}

impl Machine {
    /// A session and its subscriptions. What waits for it, if anything does, is given back.
    pub(super) fn restore_session(
        &mut self,
        stored: Stored,
        restored: &mut Restored,
        now: Timestamp,
    ) -> Option<Undelivered> {
        let Stored { state, unreleased, subscriptions, queue, sent } = stored;
        let was_attached = state.is_attached;
        let kept = match state.is_whole {
            true => Kept::Whole(state.session),
            false => Kept::Will(state.session),
        };
        let expiry = SessionExpiry::from_secs(state.expiry);
        let mut session = Session::new(state.client_id.clone(), expiry);
        session.kept = kept;
        session.identity = state.identity.clone();
        session.inbound = Inbound::restored(unreleased);
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
    pub(super) fn restore_deliveries(&mut self, waits: Undelivered, now: Timestamp) -> usize {
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
    pub(super) fn restore_left(&mut self, delivery: Delivery, now: Timestamp) {
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
    pub(super) fn judge_restored(&mut self, now: Timestamp) {
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
