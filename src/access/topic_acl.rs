//! The plugin `topic_acl`: for each user, the filters of what it may do, as in amqtt.
//!
//! A user who is in a list may use what its filters match: a topic that one of them matches, and
//! a filter that one of them covers whole. One who is not may use nothing.

use std::collections::BTreeMap;

use super::pattern::Names;
use super::{Action, Authorise, Decision, Identity, Origin, Pattern, Question};

/// Who clients without a user name are in the lists.
const ANONYMOUS: &str = "anonymous";

/// What users may do; a list that is not given limits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicAcl {
    /// Where they may publish.
    pub publish: Option<AccessList>,
    /// What they may subscribe to.
    pub subscribe: Option<AccessList>,
    /// What they may be sent.
    pub receive: Option<AccessList>,
}

/// The filters of each user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessList {
    users: BTreeMap<Box<str>, Grants>,
    /// Why somebody who is not in it may do nothing.
    stranger: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Grants {
    patterns: Vec<(Pattern, Origin)>,
    /// Why what none of them matches is denied.
    end: Origin,
}

impl AccessList {
    /// A list that nobody is in. `stranger`: what says that who is not in it may do nothing.
    pub fn new(stranger: Origin) -> AccessList {
        AccessList { users: BTreeMap::new(), stranger }
    }

    /// Adds a user in place of one with the same name. `end`: what says that it may do nothing
    /// else.
    pub fn insert(&mut self, user: &str, patterns: Vec<(Pattern, Origin)>, end: Origin) {
        self.users.insert(user.into(), Grants { patterns, end });
    }

    /// The users and their filters.
    pub fn users(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &Pattern>)> {
        self.users
            .iter()
            .map(|(user, grants)| (&**user, grants.patterns.iter().map(|(pattern, _)| pattern)))
    }

    fn decide(&self, question: &Question<'_>) -> Decision<'_> {
        let user = question.identity.user.as_deref().unwrap_or(ANONYMOUS);
        let Some(grants) = self.users.get(user) else { return Decision::denied(&self.stranger) };
        let is_meant = |pattern: &Pattern| match question.action {
            Action::Subscribe => pattern.covers(question.topic, Names::default()),
            Action::Publish | Action::Receive => pattern.matches(question.topic, Names::default()),
        };
        let granted = grants.patterns.iter().find(|(pattern, _)| is_meant(pattern));
        match granted {
            Some((_, origin)) => Decision::allowed(origin),
            None => Decision::denied(&grants.end),
        }
    }
}

impl TopicAcl {
    fn list(&self, action: Action) -> Option<&AccessList> {
        match action {
            Action::Publish => self.publish.as_ref(),
            Action::Subscribe => self.subscribe.as_ref(),
            Action::Receive => self.receive.as_ref(),
        }
    }
}

impl Authorise for TopicAcl {
    fn decide(&self, question: &Question<'_>) -> Decision<'_> {
        let list = self.list(question.action).expect("asked only what it may deny");
        list.decide(question)
    }

    fn may_deny(&self, action: Action) -> bool {
        self.list(action).is_some()
    }

    fn tells_apart(&self, one: &Identity, other: &Identity) -> bool {
        one.user != other.user
    }
}
