//! Authorisation: the trait that a plugin implements, and how the decisions of several combine.
//!
//! Asked by the machine, inside every decision: pure, at once, and the same question has the same
//! answer as long as the policy is the same. Knows nothing of how a client is answered. The built-in
//! ones are `topic_acl.rs`, `taboo.rs` and `rules.rs`.

use std::fmt;
use std::sync::Arc;

use super::Identity;

/// What a client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Action {
    /// Send a message to a topic.
    Publish,
    /// Subscribe to a filter.
    Subscribe,
    /// Be sent a message of a topic.
    Receive,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 3] = [Action::Publish, Action::Subscribe, Action::Receive];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Action::Publish => "publish",
            Action::Subscribe => "subscribe",
            Action::Receive => "receive",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a plugin is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asks: its user name, and where it connects from.
    pub identity: &'a Identity,
    /// Its client id.
    pub client_id: &'a str,
    /// What it wants to do.
    pub action: Action,
    /// A topic; for [`Action::Subscribe`] a filter, without the name of a group that shares it.
    pub topic: &'a str,
}

/// What an operator may be shown of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Where it is written; none: nowhere.
    pub place: Option<(Arc<str>, usize)>,
    /// What it says.
    pub words: Box<str>,
}

impl Origin {
    /// What no file says.
    pub fn built_in(words: &str) -> Origin {
        Origin { place: None, words: words.into() }
    }

    /// What a line of a file says.
    pub fn at(file: &Arc<str>, line: usize, words: impl Into<Box<str>>) -> Origin {
        Origin { place: Some((Arc::clone(file), line)), words: words.into() }
    }
}

impl fmt::Display for Origin {
    /// `file:line: words`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((file, line)) = &self.place {
            write!(f, "{file}:{line}: ")?;
        }
        f.write_str(&self.words)
    }
}

/// Yes or no, and because of which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Whether the client may.
    pub is_allowed: bool,
    /// The rule that decided.
    pub rule: &'a Origin,
}

impl<'a> Decision<'a> {
    /// Yes.
    pub fn allowed(rule: &'a Origin) -> Decision<'a> {
        Decision { is_allowed: true, rule }
    }

    /// No.
    pub fn denied(rule: &'a Origin) -> Decision<'a> {
        Decision { is_allowed: false, rule }
    }
}

/// Decides what clients may do.
///
/// ```
/// use stormpetrel::access::{Action, Authorise, Decision, Origin, Question};
///
/// #[derive(Debug)]
/// struct Quiet(Origin);
///
/// impl Authorise for Quiet {
///     fn decide(&self, question: &Question<'_>) -> Decision<'_> {
///         let is_allowed = question.action != Action::Publish || question.topic != "noise";
///         Decision { is_allowed, rule: &self.0 }
///     }
/// }
///
/// let quiet = Quiet(Origin::built_in("nobody makes noise"));
/// # let _ = quiet;
/// ```
pub trait Authorise: fmt::Debug + Send + Sync + 'static {
    /// Decides. Asked while everybody waits: it must not block, nor look at anything but what it
    /// is asked and what it was made with.
    fn decide(&self, question: &Question<'_>) -> Decision<'_>;

    /// Whether it ever says no to this. Where it never does, it is not asked.
    fn may_deny(&self, action: Action) -> bool {
        let _ = action;
        true
    }

    /// Whether it may ever decide otherwise about the one than about the other, with the same
    /// client id. What a session has is judged anew only if it may.
    fn tells_apart(&self, one: &Identity, other: &Identity) -> bool {
        one != other
    }
}

/// All plugins that are asked: a client may do what none of them denies.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    plugins: Vec<Arc<dyn Authorise>>,
}

impl Policy {
    /// Adds a plugin.
    pub fn add(&mut self, plugin: impl Authorise) {
        self.plugins.push(Arc::new(plugin));
    }

    /// Adds the plugins of another.
    pub fn extend(&mut self, other: &Policy) {
        self.plugins.extend_from_slice(&other.plugins);
    }

    /// What each plugin says that has a say in it, up to the first no.
    pub fn explain(&self, question: &Question<'_>) -> Vec<Decision<'_>> {
        let asked = self.plugins.iter().filter(|plugin| plugin.may_deny(question.action));
        let mut decisions: Vec<Decision<'_>> = Vec::new();
        for plugin in asked {
            let decision = plugin.decide(question);
            decisions.push(decision);
            if !decision.is_allowed {
                break;
            }
        }
        decisions
    }

    /// What the machine is given; none if nothing is ever denied.
    pub fn into_authoriser(self) -> Option<Arc<dyn Authorise>> {
        let is_needed = Action::ALL.into_iter().any(|action| self.may_deny(action));
        is_needed.then(|| Arc::new(self) as Arc<dyn Authorise>)
    }
}

/// What decides where no plugin has anything to say.
static NOTHING: std::sync::LazyLock<Origin> =
    std::sync::LazyLock::new(|| Origin::built_in("no rule limits this"));

impl Authorise for Policy {
    /// The first no; else what the last of the plugins that may deny it says.
    fn decide(&self, question: &Question<'_>) -> Decision<'_> {
        let mut decision = Decision::allowed(&NOTHING);
        for plugin in self.plugins.iter().filter(|plugin| plugin.may_deny(question.action)) {
            decision = plugin.decide(question);
            if !decision.is_allowed {
                return decision;
            }
        }
        decision
    }

    fn may_deny(&self, action: Action) -> bool {
        self.plugins.iter().any(|plugin| plugin.may_deny(action))
    }

    fn tells_apart(&self, one: &Identity, other: &Identity) -> bool {
        self.plugins.iter().any(|plugin| plugin.tells_apart(one, other))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Taboo;
    use super::*;

    #[derive(Debug)]
    struct Says(Origin, bool);

    impl Authorise for Says {
        fn decide(&self, _: &Question<'_>) -> Decision<'_> {
            Decision { is_allowed: self.1, rule: &self.0 }
        }

        fn may_deny(&self, action: Action) -> bool {
            action == Action::Publish
        }
    }

    #[test]
    fn one_no_is_enough_and_says_why() {
        let says = |words: &str, is_allowed| Says(Origin::built_in(words), is_allowed);
        type Plugins = &'static [(&'static str, bool)];
        let cases: [(Plugins, &str, bool); 4] = [
            (&[], "no rule limits this", true),
            (&[("a", true), ("b", true)], "b", true),
            (&[("a", true), ("b", false), ("c", false)], "b", false),
            (&[("a", false), ("b", true)], "a", false),
        ];
        let identity = Identity::default();
        for (plugins, words, is_allowed) in cases {
            let mut policy = Policy::default();
            plugins.iter().for_each(|(words, answer)| policy.add(says(words, *answer)));
            let ask = |action| Question { identity: &identity, client_id: "c", action, topic: "t" };
            let decision = policy.decide(&ask(Action::Publish));
            assert_eq!((&*decision.rule.words, decision.is_allowed), (words, is_allowed));
            let question = ask(Action::Publish);
            let said: Vec<&str> =
                policy.explain(&question).iter().map(|said| &*said.rule.words).collect();
            let count =
                plugins.iter().position(|(_, answer)| !answer).map_or(plugins.len(), |no| no + 1);
            assert_eq!(said, plugins[..count].iter().map(|(words, _)| *words).collect::<Vec<_>>());
            assert!(policy.decide(&ask(Action::Receive)).is_allowed, "it is not asked");
            assert_eq!(policy.into_authoriser().is_some(), !plugins.is_empty());
        }
    }

    #[test]
    fn a_plugin_is_taken_over_whole() {
        let (mut one, mut two) = (Policy::default(), Policy::default());
        two.add(Taboo::default());
        one.extend(&two);
        assert!(one.may_deny(Action::Receive));
    }
}
