//! Rules in order, each of which allows or denies: for what lists of topics cannot say.
//!
//! The first rule that is meant decides; what no rule means is denied. A rule that allows is meant
//! by a SUBSCRIBE if it covers the filter whole; one that denies, if it has any topic in common
//! with it, so that nobody gets around it with a wider filter.

use std::net::IpAddr;

use ipnet::IpNet;

use super::pattern::Names;
use super::{Action, Authorise, Decision, Identity, Origin, Pattern, Question};

/// Rules, the first of which decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// In the order in which they are asked.
    pub rules: Vec<Rule>,
    /// What says that what no rule means is denied.
    pub end: Origin,
}

/// A rule: it is meant if all that it names is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it allows or denies.
    pub is_allowed: bool,
    /// What to do.
    pub actions: Vec<Action>,
    /// Who does it.
    pub users: Who,
    /// One of these client ids; none given: any.
    pub client_ids: Option<Vec<Box<str>>>,
    /// From one of these networks; none given: from anywhere.
    pub addresses: Option<Vec<IpNet>>,
    /// To what matches one of these; none given: to anything.
    pub filters: Option<Vec<Pattern>>,
    /// Where it is written.
    pub origin: Origin,
}

/// Whom a rule means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody.
    Everybody,
    /// Clients without a user name.
    Anonymous,
    /// Clients with a user name, whichever it is.
    Named,
    /// These users.
    Users(Vec<Box<str>>),
}

impl Rule {
    fn tells_apart(&self, one: &Identity, other: &Identity) -> bool {
        let includes = |identity: &Identity| self.users.include(identity.user.as_deref());
        let names_user = || self.filters.iter().flatten().any(Pattern::names_user);
        self.means_address(one.address) != self.means_address(other.address)
            || includes(one) != includes(other)
            || (one.user != other.user && names_user())
    }

    fn means(&self, question: &Question<'_>) -> bool {
        self.actions.contains(&question.action)
            && self.users.include(question.identity.user.as_deref())
            && self.means_client_id(question.client_id)
            && self.means_address(question.identity.address)
            && self.means_topic(question)
    }

    fn means_client_id(&self, client_id: &str) -> bool {
        self.client_ids.as_ref().is_none_or(|ids| ids.iter().any(|id| **id == *client_id))
    }

    /// One whose address is not known is not allowed what needs one, nor let around what denies.
    fn means_address(&self, address: Option<IpAddr>) -> bool {
        let Some(networks) = &self.addresses else { return true };
        match address {
            Some(address) => {
                let address = address.to_canonical();
                networks.iter().any(|network| network.contains(&address))
            }
            None => !self.is_allowed,
        }
    }

    fn means_topic(&self, question: &Question<'_>) -> bool {
        let Some(patterns) = &self.filters else { return true };
        let names =
            Names { user: question.identity.user.as_deref(), client_id: Some(question.client_id) };
        let topic = question.topic;
        patterns.iter().any(|pattern| match (question.action, self.is_allowed) {
            (Action::Subscribe, true) => pattern.covers(topic, names),
            (Action::Subscribe, false) => pattern.meets(topic, names),
            (Action::Publish | Action::Receive, _) => pattern.matches(topic, names),
        })
    }
}

impl Who {
    fn include(&self, user: Option<&str>) -> bool {
        let has_name = user.is_some_and(|user| !user.is_empty()); // as for plugins
        match (self, user) {
            (Who::Everybody, _) => true,
            (Who::Anonymous, _) => !has_name,
            (Who::Named, _) => has_name,
            (Who::Users(users), Some(user)) => users.iter().any(|known| **known == *user),
            (Who::Users(_), None) => false,
        }
    }
}

impl Authorise for Rules {
    fn decide(&self, question: &Question<'_>) -> Decision<'_> {
        match self.rules.iter().find(|rule| rule.means(question)) {
            Some(rule) => Decision { is_allowed: rule.is_allowed, rule: &rule.origin },
            None => Decision::denied(&self.end),
        }
    }

    /// Not if the first rule about it allows it to everybody, as the end of a list may do.
    fn may_deny(&self, action: Action) -> bool {
        let first = self.rules.iter().find(|rule| rule.actions.contains(&action));
        !first.is_some_and(|rule| rule.is_allowed && rule.means_all())
    }

    /// If some rule means only one of them, by name or address, or other topics for each.
    fn tells_apart(&self, one: &Identity, other: &Identity) -> bool {
        self.rules.iter().any(|rule| rule.tells_apart(one, other))
    }
}

impl Rule {
    fn means_all(&self) -> bool {
        self.users == Who::Everybody
            && self.client_ids.is_none()
            && self.addresses.is_none()
            && self.filters.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_name_is_none() {
        for name in [None, Some("")] {
            assert!(Who::Anonymous.include(name) && !Who::Named.include(name), "{name:?}");
        }
        assert!(!Who::Anonymous.include(Some("a")) && Who::Named.include(Some("a")));
    }

    #[test]
    fn clients_are_told_apart_by_their_names_and_by_networks_that_a_rule_names() {
        let rule = |addresses: Option<&str>| Rule {
            is_allowed: true,
            actions: Action::ALL.to_vec(),
            users: Who::Everybody,
            client_ids: None,
            addresses: addresses.map(|network| vec![network.parse().expect("a network")]),
            filters: None,
            origin: Origin::built_in("a test"),
        };
        let rules = |rules: Vec<Rule>| Rules { rules, end: Origin::built_in("the end") };
        let from = |user: Option<&str>, address: [u8; 4]| Identity {
            user: user.map(Into::into),
            address: Some(address.into()),
            ..Identity::default()
        };
        let home = from(None, [10, 0, 0, 1]);
        let everywhere = rules(vec![rule(None)]);
        assert!(!everywhere.tells_apart(&home, &from(None, [9, 9, 9, 9])));
        assert!(!everywhere.tells_apart(&home, &from(Some("u"), [10, 0, 0, 1])));
        let by_network = rules(vec![rule(Some("10.0.0.0/8")), rule(None)]);
        assert!(!by_network.tells_apart(&home, &from(None, [10, 7, 7, 7])));
        assert!(by_network.tells_apart(&home, &from(None, [9, 9, 9, 9])));
        assert!(by_network.tells_apart(&home, &Identity::default()));
        let (ann, bob) = (from(Some("ann"), [10, 0, 0, 1]), from(Some("bob"), [10, 0, 0, 1]));
        let of_ann = Rule { users: Who::Users(vec!["ann".into()]), ..rule(None) };
        assert!(rules(vec![of_ann.clone()]).tells_apart(&ann, &bob));
        assert!(!rules(vec![of_ann]).tells_apart(&home, &bob));
        assert!(!rules(vec![Rule { users: Who::Named, ..rule(None) }]).tells_apart(&ann, &bob));
        let pattern = Pattern::with_names("home/%u/#").expect("a pattern");
        let own = Rule { filters: Some(vec![pattern]), ..rule(None) };
        assert!(rules(vec![own]).tells_apart(&ann, &bob));
    }
}
