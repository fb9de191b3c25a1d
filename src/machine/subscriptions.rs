//! Who gets a message: every subscription of every session (MQTT 5.0, sections 4.7 and 4.8.2).
//!
//! Knows sessions by their keys only. `groups.rs` are those of shared subscriptions; `route.rs`
//! delivers; `subscribe.rs` answers SUBSCRIBE and UNSUBSCRIBE.

use std::hash::BuildHasher;
use std::num::NonZeroU64;

use foldhash::quality::FixedState;
use indexmap::{IndexMap, IndexSet};
use smallvec::SmallVec;

use super::clients::SessionKey;
use super::connections::Map;
use super::effort::{self, Effort};
use super::groups::{Group, GroupId, Standing};
use crate::mqtt::topic::tree::FilterTree;
use crate::mqtt::topic::{Filter, SharedFilter, TopicFilter, TopicName};
use crate::mqtt::types::{QoS, Reason};
use crate::mqtt::wire::{SubscriptionId, SubscriptionOptions};
use crate::plant::{self, Plant};

/// One session's subscription to one filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subscriber {
    pub(super) session: SessionKey,
    pub(super) qos: QoS,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    pub(super) id: Option<SubscriptionId>,
    /// The client may not have it any more, as long as the rules stay: nothing comes of it.
    pub(super) is_suspended: bool,
}

impl Subscriber {
    pub(super) fn new(
        session: SessionKey,
        options: SubscriptionOptions,
        id: Option<SubscriptionId>,
    ) -> Subscriber {
        Subscriber {
            session,
            qos: options.qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            id,
            is_suspended: false,
        }
    }
}

/// What one filter leads to.
#[derive(Debug, Default)]
struct Subscribers {
    own: Members,
    /// Boxed, because few filters have any.
    groups: Option<Box<IndexSet<GroupId, FixedState>>>,
}

/// The sessions subscribed to one filter: a few side by side, many behind a map so that leaving
/// costs the same however many there are.
#[derive(Debug)]
enum Members {
    Few(SmallVec<[Subscriber; 1]>),
    Many(Box<IndexMap<SessionKey, Subscriber, FixedState>>),
}

/// More than this are many.
const FEW_MAX: usize = 16;

impl Default for Members {
    fn default() -> Members {
        Members::Few(SmallVec::new())
    }
}

impl Members {
    /// Adds a session's subscription or replaces it. Whether it is new.
    fn insert(&mut self, subscriber: Subscriber, hasher: &FixedState) -> bool {
        match self {
            Members::Few(few) => {
                if let Some(old) = few.iter_mut().find(|old| old.session == subscriber.session) {
                    let id = if plant::is_on(Plant::SubscriptionIdStale) {
                        old.id
                    } else {
                        subscriber.id
                    };
                    *old = Subscriber { id, ..subscriber };
                    return false;
                }
                few.push(subscriber);
                if few.len() > FEW_MAX {
                    let mut many = IndexMap::with_hasher(hasher.clone());
                    many.extend(few.drain(..).map(|subscriber| (subscriber.session, subscriber)));
                    *self = Members::Many(Box::new(many));
                }
                true
            }
            Members::Many(many) => many.insert(subscriber.session, subscriber).is_none(),
        }
    }

    fn remove(&mut self, session: SessionKey) -> bool {
        match self {
            Members::Few(few) => {
                let found = few.iter().position(|subscriber| subscriber.session == session);
                found.map(|index| few.remove(index)).is_some()
            }
            Members::Many(many) => many.swap_remove(&session).is_some(),
        }
    }

    fn get(&self, session: SessionKey) -> Option<Subscriber> {
        match self {
            Members::Few(few) => few.iter().find(|subscriber| subscriber.session == session),
            Members::Many(many) => many.get(&session),
        }
        .copied()
    }

    fn get_mut(&mut self, session: SessionKey) -> Option<&mut Subscriber> {
        match self {
            Members::Few(few) => few.iter_mut().find(|subscriber| subscriber.session == session),
            Members::Many(many) => many.get_mut(&session),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Members::Few(few) => few.is_empty(),
            Members::Many(many) => many.is_empty(),
        }
    }

    fn for_each(&self, visit: impl FnMut(&Subscriber)) {
        match self {
            Members::Few(few) => few.iter().for_each(visit),
            Members::Many(many) => many.values().for_each(visit),
        }
    }
}

/// Bytes of a group's name and filter.
fn name_bytes(shared: &SharedFilter) -> usize {
    shared.group.len() + shared.filter.len()
}

/// What a message matched.
#[derive(Debug, Default)]
pub(super) struct Matches {
    /// The sessions' own subscriptions; those of one session side by side.
    pub(super) own: Vec<Subscriber>,
    /// The groups: one member of each gets the message.
    pub(super) groups: Vec<GroupId>,
}

/// All subscriptions.
pub(super) struct Subscriptions {
    tree: FilterTree<Subscribers>,
    groups: Map<GroupId, Group>,
    /// By filter and name, as written behind `$share/`.
    groups_by_name: Map<SharedFilter, GroupId>,
    /// Of the names and filters of all groups.
    group_names_bytes: usize,
    hasher: FixedState,
    count: usize,
}

impl Subscriptions {
    pub(super) fn new(hasher: FixedState, seed: u64) -> Subscriptions {
        Subscriptions {
            tree: FilterTree::new(seed),
            groups: Map::with_hasher(hasher.clone()),
            groups_by_name: Map::with_hasher(hasher.clone()),
            group_names_bytes: 0,
            hasher,
            count: 0,
        }
    }

    /// An empty tree, for filters of a session.
    pub(super) fn empty_tree(&self) -> FilterTree<()> {
        self.tree.sibling()
    }

    /// Adds a subscription, or replaces the session's older one to the same filter. Whether it
    /// is new. [MQTT-3.8.4-3]
    pub(super) fn insert(&mut self, filter: &Filter, subscriber: Subscriber) -> bool {
        let is_new = match filter {
            Filter::Plain(filter) => {
                let subscribers = self.tree.get_or_insert_with(filter, Subscribers::default);
                subscribers.own.insert(subscriber, &self.hasher)
            }
            Filter::Shared(shared) => self.join(shared, subscriber),
        };
        self.count += usize::from(is_new);
        is_new
    }

    fn join(&mut self, shared: &SharedFilter, subscriber: Subscriber) -> bool {
        let id = match self.groups_by_name.get(shared) {
            Some(id) => *id,
            None => self.found_group(shared),
        };
        let group = self.groups.get_mut(&id).expect("a group that has a name exists");
        group.join(subscriber)
    }

    fn found_group(&mut self, shared: &SharedFilter) -> GroupId {
        let mut id = self.id_of(shared);
        while self.groups.contains_key(&id) {
            id = GroupId(id.0.checked_add(1).unwrap_or(NonZeroU64::MIN));
        }
        let shared = shared.detached();
        self.group_names_bytes += name_bytes(&shared);
        self.groups.insert(id, Group::new(shared.clone(), self.hasher.clone()));
        self.groups_by_name.insert(shared.clone(), id);
        let subscribers = self.tree.get_or_insert_with(&shared.filter, Subscribers::default);
        let new_set = || Box::new(IndexSet::with_hasher(self.hasher.clone()));
        subscribers.groups.get_or_insert_with(new_set).insert(id);
        id
    }

    /// Removes a session's subscription. Whether there was one. [MQTT-3.10.4-1]
    pub(super) fn remove(&mut self, filter: &Filter, session: SessionKey) -> bool {
        let existed = match filter {
            Filter::Plain(filter) => self.take_out(filter, |found| found.own.remove(session)),
            Filter::Shared(shared) => self.leave(shared, session),
        };
        self.count -= usize::from(existed);
        existed
    }

    /// A session's subscription.
    pub(super) fn get(&self, filter: &Filter, session: SessionKey) -> Option<Subscriber> {
        match filter {
            Filter::Plain(filter) => self.tree.get(filter)?.own.get(session),
            Filter::Shared(shared) => {
                let group = self.groups.get(self.groups_by_name.get(shared)?)?;
                group.member_of(session)
            }
        }
    }

    /// The shared subscription that founded a group.
    pub(super) fn name_of(&self, group: GroupId) -> Option<Box<Filter>> {
        let group = self.groups.get(&group)?;
        Some(Box::new(Filter::Shared(group.shared.clone())))
    }

    /// Bytes of the names of all groups, if this subscription would found another; else none.
    pub(super) fn group_names_bytes_with(&self, filter: &Filter) -> usize {
        match filter {
            Filter::Shared(shared) if !self.groups_by_name.contains_key(shared) => {
                self.group_names_bytes + name_bytes(shared)
            }
            Filter::Shared(_) | Filter::Plain(_) => 0,
        }
    }

    /// The group of a shared subscription, whether it has members now or not. None if chance has
    /// given its id to another.
    pub(super) fn group_of(&self, shared: &SharedFilter) -> Option<GroupId> {
        let known = self.groups_by_name.get(shared).copied();
        known.or_else(|| Some(self.id_of(shared)).filter(|id| !self.groups.contains_key(id)))
    }

    /// An id that comes from the name: what waits finds its group again when that has members
    /// again, and nothing is kept of it meanwhile. Two names in 2^64 have the same.
    fn id_of(&self, shared: &SharedFilter) -> GroupId {
        let hash = self.hasher.hash_one(shared);
        GroupId(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN))
    }

    /// Suspends a session's subscription, or puts it in force again.
    pub(super) fn suspend(&mut self, filter: &Filter, session: SessionKey, is_suspended: bool) {
        let subscriber = match filter {
            Filter::Plain(filter) => {
                self.tree.get_mut(filter).and_then(|found| found.own.get_mut(session))
            }
            Filter::Shared(shared) => {
                let group = self.groups_by_name.get(shared);
                group.and_then(|id| self.groups.get_mut(id)).and_then(|g| g.member_mut(session))
            }
        };
        if let Some(subscriber) = subscriber {
            subscriber.is_suspended = is_suspended;
        }
    }

    fn leave(&mut self, shared: &SharedFilter, session: SessionKey) -> bool {
        let Some(id) = self.groups_by_name.get(shared).copied() else { return false };
        let group = self.groups.get_mut(&id).expect("a group that has a name exists");
        let existed = group.leave(session);
        if group.is_empty() {
            self.groups.remove(&id);
            self.groups_by_name.remove(shared);
            self.group_names_bytes -= name_bytes(shared);
            self.disband(&shared.filter, id);
        }
        existed
    }

    fn disband(&mut self, filter: &TopicFilter, id: GroupId) {
        self.take_out(filter, |found| {
            let Some(groups) = &mut found.groups else { return false };
            let existed = groups.swap_remove(&id);
            if groups.is_empty() {
                found.groups = None;
            }
            existed
        });
    }

    /// Takes something out of what a filter leads to; the filter goes with the last of it.
    fn take_out(
        &mut self,
        filter: &TopicFilter,
        take: impl FnOnce(&mut Subscribers) -> bool,
    ) -> bool {
        let Some(found) = self.tree.get_mut(filter) else { return false };
        let existed = take(found);
        if found.own.is_empty() && found.groups.is_none() {
            self.tree.remove(filter);
        }
        existed
    }

    /// Collects everything that a topic matches, in place of what `matches` held. Refused if that
    /// takes more than one message may cost; what it has cost is spent all the same.
    pub(super) fn collect(
        &self,
        topic: &TopicName,
        matches: &mut Matches,
        effort: &mut Effort,
    ) -> Result<(), Reason> {
        matches.own.clear();
        matches.groups.clear();
        let mut filters = 0;
        let nodes = self.tree.for_each_match(topic, effort::NODES_MAX, |subscribers| {
            filters += 1;
            subscribers.own.for_each(|subscriber| {
                if !subscriber.is_suspended {
                    matches.own.push(*subscriber);
                }
            });
            matches.groups.extend(subscribers.groups.iter().flat_map(|groups| groups.iter()));
        });
        if plant::is_on(Plant::ShareToTwo) {
            matches.groups.extend_from_within(..);
        }
        let opened = nodes.unwrap_or(effort::NODES_MAX) as u64;
        effort.spend(opened / effort::NODES + matches.own.len() as u64 / effort::MATCHES);
        effort.spend(matches.groups.len() as u64);
        nodes.ok_or(Reason::QuotaExceeded)?;
        if filters > 1 {
            matches.own.sort_by_key(|subscriber| subscriber.session);
        }
        Ok(())
    }

    /// Chooses the member of a group that gets a message. None if the group has no member any
    /// more.
    pub(super) fn choose(
        &mut self,
        id: GroupId,
        ask: impl FnMut(SessionKey) -> Standing,
    ) -> Option<Subscriber> {
        self.groups.get_mut(&id)?.choose(ask)
    }

    /// Whether one of a group's members is such a session.
    pub(super) fn has_member(&self, id: GroupId, is_such: impl FnMut(SessionKey) -> bool) -> bool {
        self.groups.get(&id).is_some_and(|group| group.members().any(is_such))
    }

    /// A member that a group has set aside may be able to take messages again.
    pub(super) fn come_back(&mut self, id: GroupId, session: SessionKey) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.come_back(session);
        }
    }

    /// How many turns all groups remember.
    #[cfg(test)]
    pub(super) fn turns(&self) -> usize {
        self.groups.values().map(Group::turns).sum()
    }

    /// How many subscriptions there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriptions() -> Subscriptions {
        Subscriptions::new(FixedState::default(), 7)
    }

    fn subscriber(session: u32) -> Subscriber {
        Subscriber::new(SessionKey(session), SubscriptionOptions::default(), None)
    }

    fn filter(text: &str) -> Filter {
        Filter::try_from(text).expect("a valid filter")
    }

    fn matched(subscriptions: &Subscriptions, topic: &str) -> Matches {
        let mut matches = Matches::default();
        let name = TopicName::try_from(topic).expect("a valid name");
        let collected = subscriptions.collect(&name, &mut matches, &mut Effort::default());
        assert_eq!(collected, Ok(()));
        matches
    }

    #[test]
    fn a_second_subscription_to_the_same_filter_replaces_the_first() {
        let mut all = subscriptions();
        assert!(all.insert(&filter("a/+"), subscriber(1)));
        let louder = Subscriber { qos: QoS::ExactlyOnce, ..subscriber(1) };
        assert!(!all.insert(&filter("a/+"), louder));
        assert_eq!(matched(&all, "a/b").own, [louder]);
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn few_and_many_subscribers_come_and_go_alike() {
        let mut all = subscriptions();
        for session in 0..100 {
            assert!(all.insert(&filter("a"), subscriber(session)));
        }
        assert_eq!(matched(&all, "a").own.len(), 100);
        for session in 0..100 {
            assert!(all.remove(&filter("a"), SessionKey(session)));
            assert!(!all.remove(&filter("a"), SessionKey(session)));
        }
        assert_eq!((all.len(), matched(&all, "a").own.len(), all.tree.len()), (0, 0, 0));
    }

    #[test]
    fn groups_take_turns_and_skip_members_that_are_not_ready() {
        let mut all = subscriptions();
        for session in 1..=3 {
            all.insert(&filter("$share/g/a"), subscriber(session));
        }
        let [id] = matched(&all, "a").groups[..] else { panic!("one group") };
        let mut chosen =
            |ask: fn(SessionKey) -> Standing| all.choose(id, ask).map(|member| member.session.0);
        let turns: Vec<_> = (0..4).map(|_| chosen(|_| Standing::Ready)).collect();
        assert_eq!(turns, [Some(1), Some(2), Some(3), Some(1)]);
        let only_1 = |key: SessionKey| {
            if key.0 == 1 { Standing::Ready } else { Standing::Full }
        };
        assert_eq!(chosen(only_1), Some(1));
        assert_eq!(chosen(|_| Standing::Full), Some(2));
        assert_eq!(chosen(|_| Standing::Ended), None);
    }

    #[test]
    fn a_group_without_members_is_forgotten() {
        let mut all = subscriptions();
        all.insert(&filter("$share/g/a"), subscriber(1));
        let [id] = matched(&all, "a").groups[..] else { panic!("one group") };
        assert!(all.remove(&filter("$share/g/a"), SessionKey(1)));
        assert!(all.choose(id, |_| Standing::Ready).is_none());
        assert_eq!((all.groups.len(), all.groups_by_name.len(), all.tree.len()), (0, 0, 0));
    }

    #[test]
    fn a_group_that_has_members_again_is_the_same() {
        let mut all = subscriptions();
        let (shared, other) = (filter("$share/g/a"), filter("$share/h/a"));
        all.insert(&shared, subscriber(1));
        let first = matched(&all, "a").groups;
        assert!(all.remove(&shared, SessionKey(1)));
        all.insert(&other, subscriber(1));
        all.insert(&shared, subscriber(2));
        let [other, again] = matched(&all, "a").groups[..] else { panic!("two groups") };
        assert_eq!(first, [again]);
        assert_ne!(other, again);
    }
}
