//! The groups of shared subscriptions, and whose turn it is (MQTT 5.0, section 4.8.2).
//!
//! A member that could not take a message is set aside, so that it is not asked for each message
//! again; it comes back when it can take messages again. So a choice asks few members, however
//! many there are. Knows sessions by their keys only; `subscriptions.rs` knows which group a
//! message matches.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use foldhash::quality::FixedState;
use indexmap::IndexMap;

use super::clients::SessionKey;
use super::subscriptions::Subscriber;
use crate::mqtt::topic::SharedFilter;
use crate::mqtt::types::QoS;
use crate::plant::{self, Plant};

/// A group of shared subscriptions: the same whenever it has members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct GroupId(pub(super) NonZeroU64);

/// Whether a member can take a message now; the later, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Its session has ended: it is no member any more.
    Ended,
    /// Its client may not be sent this message.
    Forbidden,
    /// It has no connection, and its queue is full, or nothing is kept for it because it is
    /// subscribed at QoS 0.
    AwayAndFull,
    /// Its queue is full: what it is given is dropped.
    Full,
    /// It has no connection: what it is given waits for it.
    Away,
    /// It can.
    Ready,
}

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    /// Filter and name, as written behind `$share/`.
    pub(super) shared: SharedFilter,
    members: IndexMap<SessionKey, Member, FixedState>,
    /// Those that could take a message when they were asked last, in the order of their turns;
    /// those that could not; and those with which it would have been lost, so that they hide
    /// nobody with whom it is safe. Each member is in one of them with its number; what has
    /// another number is no member's.
    ready: VecDeque<Turn>,
    aside: VecDeque<Turn>,
    last: VecDeque<Turn>,
    next_number: u64,
}

#[derive(Debug)]
struct Member {
    subscriber: Subscriber,
    number: u64,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    session: SessionKey,
    number: u64,
}

/// How many members are asked when none is known to be able to take a message; and of the last,
/// if it would be lost with these.
const ASKED_MAX: usize = 16;
/// So many turns of no members may stay in a group; in a large one, as many as it has members.
const STALE_MAX: usize = 16;

impl Group {
    pub(super) fn new(shared: SharedFilter, hasher: FixedState) -> Group {
        Group {
            shared,
            members: IndexMap::with_hasher(hasher),
            ready: VecDeque::new(),
            aside: VecDeque::new(),
            last: VecDeque::new(),
            next_number: 0,
        }
    }

    /// Adds a member or replaces its subscription. Whether it is new.
    pub(super) fn join(&mut self, subscriber: Subscriber) -> bool {
        if let Some(member) = self.members.get_mut(&subscriber.session) {
            member.subscriber = subscriber;
            return false;
        }
        self.members.insert(subscriber.session, Member { subscriber, number: 0 });
        self.come_back(subscriber.session);
        true
    }

    pub(super) fn members(&self) -> impl Iterator<Item = SessionKey> {
        self.members.keys().copied()
    }

    pub(super) fn member_of(&self, session: SessionKey) -> Option<Subscriber> {
        self.members.get(&session).map(|member| member.subscriber)
    }

    pub(super) fn member_mut(&mut self, session: SessionKey) -> Option<&mut Subscriber> {
        self.members.get_mut(&session).map(|member| &mut member.subscriber)
    }

    pub(super) fn leave(&mut self, session: SessionKey) -> bool {
        self.members.swap_remove(&session).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many turns are remembered, those of no members too.
    pub(super) fn turns(&self) -> usize {
        self.ready.len() + self.aside.len() + self.last.len()
    }

    /// A member that was set aside may be able to take messages again.
    pub(super) fn come_back(&mut self, session: SessionKey) {
        let Some(member) = self.members.get_mut(&session) else { return };
        self.next_number += 1;
        member.number = self.next_number;
        self.ready.push_back(Turn { session, number: member.number });
        if self.turns() > 2 * self.members.len() + STALE_MAX {
            let members = &self.members;
            let is_members = |turn: &Turn| {
                members.get(&turn.session).is_some_and(|member| member.number == turn.number)
            };
            self.ready.retain(is_members);
            self.aside.retain(is_members);
            self.last.retain(is_members);
        }
    }

    /// Chooses the member whose turn it is: the first that `ask` finds ready. Those before it are
    /// set aside. If none is ready, one of the best of some that are set aside.
    pub(super) fn choose(
        &mut self,
        mut ask: impl FnMut(SessionKey) -> Standing,
    ) -> Option<Subscriber> {
        if plant::is_on(Plant::ShareSticks) {
            return self.members.values().next().map(|member| member.subscriber);
        }
        let mut ask = |subscriber: Subscriber| match subscriber.is_suspended {
            true => Standing::Forbidden,
            false => kept_by(subscriber, ask(subscriber.session)),
        };
        let (mut passed_over, mut chosen) = (Vec::new(), None);
        while let Some(turn) = self.ready.pop_front() {
            let Some(subscriber) = self.member(turn) else { continue };
            match ask(subscriber) {
                Standing::Ended => {}
                Standing::Forbidden => passed_over.push(turn),
                Standing::Ready => {
                    self.ready.push_back(turn);
                    chosen = Some(subscriber);
                    break;
                }
                Standing::Full | Standing::Away => self.aside.push_back(turn),
                Standing::AwayAndFull => self.last.push_back(turn),
            }
        }
        // Who may not have this one keeps its turn.
        passed_over.into_iter().rev().for_each(|turn| self.ready.push_front(turn));
        chosen.or_else(|| self.choose_aside(ask))
    }

    /// One of the best of those that are set aside. The last are asked only if the message would
    /// be lost with the others.
    fn choose_aside(&mut self, mut ask: impl FnMut(Subscriber) -> Standing) -> Option<Subscriber> {
        let best = self.ask_some(|group| &mut group.aside, &mut ask);
        if let Some((Standing::Away | Standing::Ready, chosen)) = best {
            return Some(chosen);
        }
        let other = self.ask_some(|group| &mut group.last, &mut ask);
        let is_better = |other: Standing| best.is_none_or(|(best, _)| other > best);
        let chosen = other.filter(|(other, _)| is_better(*other)).or(best);
        chosen.map(|(_, chosen)| chosen)
    }

    /// Asks some of those that are set aside: the first of the best of them.
    fn ask_some(
        &mut self,
        those: fn(&mut Group) -> &mut VecDeque<Turn>,
        ask: &mut impl FnMut(Subscriber) -> Standing,
    ) -> Option<(Standing, Subscriber)> {
        let mut best: Option<(Standing, Subscriber)> = None;
        let (mut asked, mut forbidden) = (Vec::new(), 0);
        while asked.len() - forbidden < ASKED_MAX
            && let Some(turn) = those(self).pop_front()
        {
            let Some(subscriber) = self.member(turn) else { continue };
            let standing = ask(subscriber);
            if standing > Standing::Ended {
                asked.push((standing, turn));
                forbidden += usize::from(standing == Standing::Forbidden);
                if standing > Standing::Forbidden
                    && best.is_none_or(|(so_far, _)| standing > so_far)
                {
                    best = Some((standing, subscriber));
                }
            }
        }
        // Those with which it would be lost are the last from now on. The others keep their turns;
        // that of the chosen one is behind them.
        let chosen = best.map(|(_, chosen)| chosen.session);
        let keeps = |standing: Standing, turn: &Turn| {
            standing != Standing::AwayAndFull && Some(turn.session) != chosen
        };
        for (_, turn) in asked.iter().rev().filter(|(standing, turn)| keeps(*standing, turn)) {
            those(self).push_front(*turn);
        }
        for (standing, turn) in asked {
            match standing {
                Standing::AwayAndFull => self.last.push_back(turn),
                standing if !keeps(standing, &turn) => those(self).push_back(turn),
                _ => {}
            }
        }
        best
    }

    /// The subscription of the member whose turn this is, if it still is one's.
    fn member(&self, turn: Turn) -> Option<Subscriber> {
        let member = self.members.get(&turn.session)?;
        (member.number == turn.number).then_some(member.subscriber)
    }
}

/// How a member stands with its subscription: nobody who is away keeps what it gets at QoS 0.
fn kept_by(subscriber: Subscriber, standing: Standing) -> Standing {
    match (standing, subscriber.qos) {
        (Standing::Away, QoS::AtMostOnce) => Standing::AwayAndFull,
        (standing, _) => standing,
    }
}
