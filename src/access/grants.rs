//! What a client may do because its token says so, and the plugin that holds it to that.
//!
//! The token is read when the client connects (`jwt.rs`); here is only what it grants, which stays
//! with the client as a part of who it is.

use super::pattern::Names;
use super::{Action, Authorise, Decision, Identity, Origin, Pattern, Question};

/// The filters that a token lists, for each action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    by_action: [Vec<Pattern>; Action::ALL.len()],
}

impl Grants {
    /// Adds a filter.
    pub fn add(&mut self, action: Action, pattern: Pattern) {
        self.by_action[action as usize].push(pattern);
    }

    /// The filters for an action.
    pub fn filters(&self, action: Action) -> &[Pattern] {
        &self.by_action[action as usize]
    }

    /// About as many bytes as it takes.
    pub(crate) fn bytes(&self) -> usize {
        let patterns = self.by_action.iter().flatten();
        size_of::<Grants>() + patterns.map(Pattern::bytes).sum::<usize>()
    }

    /// Whether it is granted: a topic that a filter matches, a filter that one covers whole.
    fn include(&self, action: Action, topic: &str) -> bool {
        self.by_action[action as usize].iter().any(|pattern| match action {
            Action::Subscribe => pattern.covers(topic, Names::default()),
            Action::Publish | Action::Receive => pattern.matches(topic, Names::default()),
        })
    }
}

/// Holds clients to what their tokens grant. One without a token may do nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenTopics {
    limited: [bool; Action::ALL.len()],
    granted: Origin,
    missing: Origin,
    tokenless: Origin,
}

impl TokenTopics {
    /// Which actions are limited.
    pub fn new(limited: &[Action]) -> TokenTopics {
        TokenTopics {
            limited: Action::ALL.map(|action| limited.contains(&action)),
            granted: Origin::built_in("the client's token grants it"),
            missing: Origin::built_in("the client's token does not grant it"),
            tokenless: Origin::built_in("the client has shown no token that could grant it"),
        }
    }
}

impl Authorise for TokenTopics {
    fn decide(&self, question: &Question<'_>) -> Decision<'_> {
        match &question.identity.grants {
            None => Decision::denied(&self.tokenless),
            Some(grants) if grants.include(question.action, question.topic) => {
                Decision::allowed(&self.granted)
            }
            Some(_) => Decision::denied(&self.missing),
        }
    }

    fn may_deny(&self, action: Action) -> bool {
        self.limited[action as usize]
    }

    fn tells_apart(&self, one: &Identity, other: &Identity) -> bool {
        one.grants != other.grants
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Identity, Policy};
    use super::*;

    #[test]
    fn a_client_may_do_what_its_token_grants_and_nothing_else() {
        let mut grants = Grants::default();
        let pattern = |text| Pattern::literal(text).expect("a filter");
        grants.add(Action::Publish, pattern("up/#"));
        grants.add(Action::Subscribe, pattern("down/+"));
        let with = Identity { grants: Some(Arc::new(grants)), ..Identity::default() };
        let without = Identity::default();
        let mut policy = Policy::default();
        policy.add(TokenTopics::new(&[Action::Publish, Action::Subscribe]));
        for (identity, action, topic, want) in [
            (&with, Action::Publish, "up/a/b", true),
            (&with, Action::Publish, "down/a", false),
            (&with, Action::Subscribe, "down/a", true),
            (&with, Action::Subscribe, "down/+", true),
            (&with, Action::Subscribe, "down/#", false),
            (&with, Action::Subscribe, "up/a", false),
            (&with, Action::Receive, "any", true),
            (&without, Action::Publish, "up/a", false),
            (&without, Action::Subscribe, "down/a", false),
            (&without, Action::Receive, "any", true),
        ] {
            let decision = policy.decide(&Question { identity, client_id: "c", action, topic });
            assert_eq!(decision.is_allowed, want, "{action} {topic}: {}", decision.rule);
        }
        let other = Identity { grants: Some(Arc::default()), ..Identity::default() };
        assert!(policy.tells_apart(&with, &without));
        assert!(policy.tells_apart(&with, &other));
        let renamed = Identity { user: Some("u".into()), ..with.clone() };
        assert!(!policy.tells_apart(&with, &renamed), "a token says all");
    }
}
