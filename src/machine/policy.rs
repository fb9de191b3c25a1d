//! What clients may do: asks, keeps account of what is denied, and judges sessions anew when
//! the rules change or somebody else comes back to them.
//!
//! Where nothing is ever denied nothing is asked. Knows nothing of rules: `access/` does.
//! `route.rs` asks for messages, `subscribe.rs` for filters, `session/transmit.rs` for retained
//! messages.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::clients::SessionKey;
use super::groups::GroupId;
use super::ledger::{DropReason, Ledger};
use super::record::Record;
use super::session::{Queued, Session};
use super::{Machine, Timestamp, effort};
use crate::access::{Action, Authorise, Identity, Question};
use crate::mqtt::topic::tree::FilterTree;
use crate::mqtt::topic::{Filter, TopicFilter};
use crate::plant::{self, Plant};

/// Something that a client was not allowed to do, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Its client id.
    pub client_id: Arc<str>,
    /// Its user name.
    pub user: Option<Arc<str>>,
    /// What it wanted to do.
    pub action: Action,
    /// To which topic or filter.
    pub topic: Box<str>,
    /// The rule that denies it, and where it is written.
    pub rule: Box<str>,
}

/// The first denials of so many clients wait to be told; of others they are only counted.
const DENIALS_MAX: usize = 100;

/// Who is asked, and what is to be told.
#[derive(Debug, Default)]
pub(super) struct Policy {
    authorise: Option<Arc<dyn Authorise>>,
    /// What it may deny, by action.
    asks: [bool; Action::ALL.len()],
    denials: Vec<Denial>,
}

/// Who asks.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub(super) client_id: &'a Arc<str>,
    pub(super) identity: &'a Identity,
    /// Whether it is the program that embeds the broker.
    pub(super) is_inside: bool,
    /// Whether it was denied something before.
    pub(super) was_denied: &'a mut bool,
}

impl Policy {
    pub(super) fn new(authorise: Option<Arc<dyn Authorise>>) -> Policy {
        let may_deny = |action| authorise.as_ref().is_some_and(|plugin| plugin.may_deny(action));
        let asks = Action::ALL.map(may_deny);
        Policy { authorise, asks, denials: Vec::new() }
    }

    /// Whether this is ever denied.
    pub(super) fn asks(&self, action: Action) -> bool {
        self.asks[action as usize]
            && !(action == Action::Receive && plant::is_on(Plant::ReceiveNotJudged))
    }

    /// Whether it may ever decide otherwise about the one than about the other.
    pub(super) fn tells_apart(&self, one: &Identity, other: &Identity) -> bool {
        self.authorise.as_ref().is_some_and(|plugin| plugin.tells_apart(one, other))
    }

    /// Whether a client may; if not, that is counted, and told if it is the first time.
    pub(super) fn permits(
        &mut self,
        asking: &mut Asking<'_>,
        action: Action,
        topic: &str,
        ledger: &mut Ledger,
    ) -> bool {
        let Some(rule) = self.objection(asking, action, topic) else { return true };
        ledger.denials.count(action);
        let is_told = !*asking.was_denied && self.denials.len() < DENIALS_MAX;
        *asking.was_denied = true;
        if is_told {
            let denial = Denial {
                client_id: Arc::clone(asking.client_id),
                user: asking.identity.user.clone(),
                action,
                topic: topic.into(),
                rule,
            };
            self.denials.push(denial);
        }
        false
    }

    /// As [`Policy::permits`], and nothing comes of it.
    pub(super) fn would_permit(&self, asking: &Asking<'_>, action: Action, topic: &str) -> bool {
        self.objection(asking, action, topic).is_none()
    }

    /// The rule that denies it, in words if they are wanted.
    fn objection(&self, asking: &Asking<'_>, action: Action, topic: &str) -> Option<Box<str>> {
        let authorise = self.authorise.as_ref().filter(|_| self.asks(action))?;
        if asking.is_inside {
            return None;
        }
        let Asking { client_id, identity, .. } = asking;
        let decision = authorise.decide(&Question { identity, client_id, action, topic });
        if decision.is_allowed {
            return None;
        }
        let is_told_already = *asking.was_denied;
        Some(if is_told_already { Box::default() } else { decision.rule.to_string().into() })
    }
}

impl Session {
    /// The client as one that asks what it may do.
    pub(super) fn asking(&mut self) -> Asking<'_> {
        Asking {
            client_id: &self.client_id,
            identity: &self.identity,
            is_inside: self.is_inside,
            was_denied: &mut self.was_denied,
        }
    }
}

impl Machine {
    /// Gives out what clients were not allowed to do, the first time for each.
    pub fn poll_denials(&mut self, out: &mut Vec<Denial>) {
        out.append(&mut self.policy.denials);
    }

    /// Whether a session's client may; if not, that is counted.
    pub(super) fn permits(&mut self, key: SessionKey, action: Action, topic: &str) -> bool {
        if !self.policy.asks(action) {
            return true;
        }
        let mut asking = self.clients.get_mut(key).asking();
        self.policy.permits(&mut asking, action, topic, &mut self.ledger)
    }

    /// Other rules are in force from now on, for what clients have too.
    pub(super) fn handle_policy(&mut self, authorise: Option<Arc<dyn Authorise>>, now: Timestamp) {
        self.end_spreads(now);
        let denials = std::mem::take(&mut self.policy.denials);
        self.policy = Policy { denials, ..Policy::new(authorise) };
        if plant::is_on(Plant::ReloadNotJudged) {
            return;
        }
        for key in self.clients.keys() {
            self.clients.get_mut(key).was_denied = false;
            self.judge_anew(key, now);
        }
    }

    /// Judges what a session has: subscriptions that its client may no longer have are
    /// suspended, and messages that wait and that it may no longer see are dropped, or go to
    /// another member of their group.
    pub(super) fn judge_anew(&mut self, key: SessionKey, now: Timestamp) {
        let mut judged = self.judge_subscriptions(key);
        let session = self.clients.get_mut(key);
        let policy = &self.policy;
        let asking = Asking {
            client_id: &session.client_id,
            identity: &session.identity,
            is_inside: session.is_inside,
            was_denied: &mut session.was_denied,
        };
        let is_forbidden = |queued: &Queued| {
            let topic = &queued.message.topic;
            judged.has_lost(queued) || !policy.would_permit(&asking, Action::Receive, topic)
        };
        let withdrawn = session.outbound.withdraw(is_forbidden, &mut self.ledger);
        self.effort.spend(judged.nodes as u64 / effort::NODES);
        let kept = session.kept.whole();
        for queued in withdrawn {
            self.effort.spend(effort::DELIVERY);
            let instead_of = queued.recorded_as(kept);
            if !self.pass_on(queued, true, instead_of, now) {
                if let Some((session, number)) = instead_of {
                    self.journal.record(Record::Dropped { session, number });
                }
                self.ledger.denials.count(Action::Receive);
                self.ledger.drops.count(DropReason::Forbidden);
                self.clients.get_mut(key).drops.count(DropReason::Forbidden);
            }
        }
    }

    fn judge_subscriptions(&mut self, key: SessionKey) -> Judged {
        let (mut suspended, mut standing) = (Vec::new(), Vec::new());
        let mut groups = BTreeSet::new();
        let session = self.clients.get_mut(key);
        let filters: Vec<Filter> = session
            .subscriptions
            .iter()
            .map(|text| Filter::try_from(&**text).expect("it was parsed when it came in"))
            .collect();
        for filter in filters {
            let topic_filter = filter.topic_filter();
            self.effort.spend(effort::of_filter(topic_filter));
            let session = self.clients.get_mut(key);
            let asking = session.asking();
            let is_suspended = !self.policy.would_permit(&asking, Action::Subscribe, topic_filter);
            self.subscriptions.suspend(&filter, key, is_suspended);
            match (&filter, is_suspended) {
                (Filter::Plain(filter), true) => {
                    session.outbound.forget_retained(filter);
                    suspended.push(filter.clone());
                }
                (Filter::Plain(filter), false) => standing.push(filter.clone()),
                (Filter::Shared(filter), true) => {
                    groups.extend(self.subscriptions.group_of(filter));
                }
                (Filter::Shared(_), false) => {}
            }
        }
        let tree_of = |filters: Vec<TopicFilter>| {
            let mut tree = self.subscriptions.empty_tree();
            filters.iter().for_each(|filter| *tree.get_or_insert_with(filter, || ()));
            tree
        };
        let waiting = self.clients.get(key).outbound.waiting().count();
        let is_asked = !suspended.is_empty() && waiting > 0;
        let filters = is_asked.then(|| (tree_of(suspended), tree_of(standing)));
        let nodes_max = effort::NODES_MAX + effort::NODES_JUDGED * waiting;
        Judged { filters, groups, nodes: 0, nodes_max }
    }
}

/// A session's filters, after they were judged.
struct Judged {
    /// Those that are suspended and those that stand; none if all stand, or nothing waits. Trees,
    /// because thousands of messages are held against thousands of filters.
    filters: Option<(FilterTree<()>, FilterTree<()>)>,
    /// The groups in which it is suspended.
    groups: BTreeSet<GroupId>,
    /// How many nodes of the trees were opened, and may be: its client chose the filters.
    nodes: usize,
    nodes_max: usize,
}

impl Judged {
    /// Whether the session was subscribed to this and may not be any more. What would take too long
    /// to find out it may not.
    fn has_lost(&mut self, queued: &Queued) -> bool {
        if let Some(group) = queued.share {
            return self.groups.contains(&group);
        }
        let Some((suspended, standing)) = &self.filters else { return false };
        let mut has_match = |tree: &FilterTree<()>| {
            let nodes_max = effort::NODES_MAX.min(self.nodes_max - self.nodes);
            let (answer, nodes) = tree.has_match(&queued.message.topic, nodes_max);
            self.nodes += nodes;
            answer
        };
        has_match(suspended) != Some(false) && has_match(standing) != Some(true)
    }
}
