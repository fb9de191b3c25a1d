//! Messages of shared subscriptions: which member gets one, and what becomes of it when that member
//! goes (MQTT 5.0, section 4.8.2).
//!
//! Whose turn it is knows `groups.rs`; what matches is `route.rs`.

use std::collections::BTreeSet;

use super::clients::SessionKey;
use super::groups::{GroupId, Standing};
use super::ledger::DropReason;
use super::record::{SessionUid, Taken};
use super::route::{Part, queued};
use super::session::Queued;
use super::subscriptions::Subscriber;
use super::{Machine, Timestamp, effort};
use crate::access::Action;
use crate::mqtt::message::Message;
use crate::mqtt::types::QoS;
use crate::plant::{self, Plant};

/// A member of groups that left more to the others than is passed on at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passing {
    session: SessionKey,
    /// The number of the last message that was seen to.
    seen: u64,
    pub(super) since: Timestamp,
}

impl Machine {
    /// Gives a message to a member of each group, until that has cost so much: to that of one at
    /// least. To how many sessions, and how many groups that were.
    pub(super) fn give_groups(
        &mut self,
        (message, expires_at, effort_max): Part<'_>,
        groups: &[GroupId],
        now: Timestamp,
    ) -> (usize, usize) {
        let (mut sessions, mut taken) = (0, 0);
        for group in groups {
            if taken > 0 && self.effort.spent() >= effort_max {
                break;
            }
            taken += 1;
            let Some(member) = self.choose_member(*group, message) else { continue };
            let queued = Queued { share: Some(*group), ..queued(message, &[member], expires_at) };
            sessions += usize::from(self.deliver(member.session, queued, now));
        }
        (sessions, taken)
    }

    /// The member of a group that gets a message: one that may, is connected and has room, if
    /// any; else one that has room and is away.
    fn choose_member(&mut self, group: GroupId, message: &Message) -> Option<Subscriber> {
        let (clients, limits) = (&mut self.clients, &self.settings.limits);
        let (effort, policy) = (&mut self.effort, &self.policy);
        self.subscriptions.choose(group, |key| {
            effort.spend(effort::ASKED);
            let session = clients.get_mut(key);
            let permits = |asking| policy.would_permit(asking, Action::Receive, &message.topic);
            if !session.has_ended && !permits(&session.asking()) {
                return Standing::Forbidden;
            }
            let standing = session.standing(message.bytes(), limits);
            if standing < Standing::Ready {
                session.aside.insert(group);
            }
            standing
        })
    }

    /// A session that groups have set aside can take messages again: it takes its turns.
    pub(super) fn come_back(&mut self, key: SessionKey) {
        for group in std::mem::take(&mut self.clients.get_mut(key).aside) {
            self.subscriptions.come_back(group, key);
        }
    }

    /// A member of a group has ended, or may not have this any more: gives it to another, if it may
    /// go to one. Whether it did. What the records call it there is `instead_of`.
    pub(super) fn pass_on(
        &mut self,
        queued: Queued,
        is_unsent: bool,
        instead_of: Option<(SessionUid, u64)>,
        now: Timestamp,
    ) -> bool {
        let Some(group) = queued.share.filter(|_| queued.may_pass_on(is_unsent)) else {
            return false;
        };
        let Some(member) = self.choose_member(group, &queued.message) else { return false };
        self.deliver_shared(queued, group, member, instead_of, now);
        true
    }

    /// A member of groups has lost its connection: what was never sent to it goes to members that
    /// are connected and have room, as much as may be done at once; the deadline goes on with
    /// more. Without any it waits for this one where it was, unless it is at QoS 0. What has a
    /// number up to `seen` was seen to before.
    pub(super) fn pass_on_shared(&mut self, key: SessionKey, seen: u64, now: Timestamp) {
        let effort_max = self.part_effort_max();
        let kept = self.clients.get(key).kept.whole();
        let is_planted = plant::is_on(Plant::ShareLost);
        let (mut deserted, mut gone, mut last) = (BTreeSet::new(), Vec::new(), seen);
        while let Some((group, queued)) = self.clients.get_mut(key).outbound.shared_behind(last) {
            if last > seen && self.effort.spent() >= effort_max {
                self.passing.push_back(Passing { session: key, seen: last, since: now });
                break;
            }
            self.effort.spend(effort::ASKED);
            last = queued.number;
            let (qos, instead_of) = (queued.qos, queued.recorded_as(kept));
            // Where one found nobody, those behind it find nobody either.
            let is_passed = !is_planted && !deserted.contains(&group) && {
                let queued = queued.clone();
                self.pass_on_now(queued, group, instead_of, now)
            };
            if !is_passed {
                deserted.insert(group);
            }
            let is_lost = !is_passed && qos == QoS::AtMostOnce;
            if is_lost {
                self.ledger.drops.count(DropReason::Offline);
                self.clients.get_mut(key).drops.count(DropReason::Offline);
            }
            if is_passed || is_lost || is_planted {
                gone.push(last);
            }
        }
        if !gone.is_empty() {
            let is_gone = |queued: &Queued| gone.binary_search(&queued.number).is_ok();
            let outbound = &mut self.clients.get_mut(key).outbound;
            outbound.take_waiting(is_gone, &mut self.ledger);
        }
    }

    /// Gives it to a member that is connected and has room. Whether there is one.
    fn pass_on_now(
        &mut self,
        queued: Queued,
        group: GroupId,
        instead_of: Option<(SessionUid, u64)>,
        now: Timestamp,
    ) -> bool {
        let member = self.choose_member(group, &queued.message);
        let Some(member) = member.filter(|it| self.has_room_now(it.session, &queued)) else {
            return false;
        };
        self.deliver_shared(queued, group, member, instead_of, now);
        true
    }

    /// Goes on with what a member of groups left to the others.
    pub(super) fn go_on_passing(&mut self, now: Timestamp) {
        let Some(Passing { session, seen, .. }) = self.passing.pop_front() else { return };
        // Somebody else may have its place by now, of whom that is as true.
        if self.clients.find_at(session).is_some_and(|session| session.connection.is_none()) {
            self.pass_on_shared(session, seen, now);
        }
    }

    fn has_room_now(&self, key: SessionKey, queued: &Queued) -> bool {
        let session = self.clients.get(key);
        let fits = session.outbound.fits(queued, &self.settings.limits).is_ok();
        session.connection.is_some() && fits
    }

    fn deliver_shared(
        &mut self,
        old: Queued,
        group: GroupId,
        member: Subscriber,
        instead_of: Option<(SessionUid, u64)>,
        now: Timestamp,
    ) {
        self.ledger.matched -= 1;
        let new = queued(&old.message, &[member], old.expires_at);
        self.deliver(member.session, Queued { share: Some(group), ..new }, now);
        let taken = Taken { instead_of, ..Taken::of(old.expires_at) };
        self.journal.record_message(&old.message, taken, &mut self.ledger);
    }
}
