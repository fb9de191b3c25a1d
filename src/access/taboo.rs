//! The plugin `topic_taboo`: three topics that nobody but `admin` may use, as in amqtt.

use super::{Action, Authorise, Decision, Identity, Origin, Question};

/// The topics, letter by letter: `data/#` is another.
const TOPICS: [&str; 3] = ["prohibited", "top-secret", "data/classified"];

/// Forbids them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taboo {
    taboo: Origin,
    exempt: Origin,
    free: Origin,
}

impl Default for Taboo {
    fn default() -> Taboo {
        Taboo {
            taboo: Origin::built_in("topic_taboo: a taboo for everybody but the user admin"),
            exempt: Origin::built_in("topic_taboo: the user admin knows no taboo"),
            free: Origin::built_in("topic_taboo: no taboo"),
        }
    }
}

impl Authorise for Taboo {
    fn decide(&self, question: &Question<'_>) -> Decision<'_> {
        if question.identity.user.as_deref() == Some("admin") {
            return Decision::allowed(&self.exempt);
        }
        match TOPICS.contains(&question.topic) {
            true => Decision::denied(&self.taboo),
            false => Decision::allowed(&self.free),
        }
    }

    fn may_deny(&self, _: Action) -> bool {
        true
    }

    fn tells_apart(&self, one: &Identity, other: &Identity) -> bool {
        one.user != other.user
    }
}

#[cfg(test)]
mod tests {
    use super::super::Identity;
    use super::*;

    #[test]
    fn three_topics_are_taboo_for_everybody_but_admin() {
        let taboo = Taboo::default();
        let may = |user: Option<&str>, action, topic| {
            let identity = Identity { user: user.map(Into::into), ..Identity::default() };
            let question = Question { identity: &identity, client_id: "c", action, topic };
            taboo.decide(&question).is_allowed
        };
        for action in Action::ALL {
            for topic in TOPICS {
                assert!(!may(None, action, topic) && !may(Some("root"), action, topic));
                assert!(may(Some("admin"), action, topic));
            }
            for topic in ["prohibited/x", "data/#", "Top-secret", "data"] {
                assert!(may(None, action, topic), "{topic}");
            }
        }
    }
}
