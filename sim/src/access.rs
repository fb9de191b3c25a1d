//! What clients may do in a run: rules, as data; and as the broker is given them.
//!
//! The first rule that is meant decides, and what none means is denied. Drawn by `generate.rs`;
//! what follows from them is judged by `oracle/policy.rs`, which has its own reading of them.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stormpetrel::access::{
    self, Action, Authenticate, Authorise, ConnectRequest, Origin, Pattern, Refusal, Verdict, Who,
};

use crate::dice::Dice;
use crate::scenario::{Broker, Scenario};

/// Rules that are in force together.
pub type Policy = Vec<Rule>;

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// Whether it allows; else it denies.
    pub is_allowed: bool,
    /// What to do.
    pub wishes: Vec<Wish>,
    /// Who does it; nobody named: everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<Arc<str>>,
    /// To what matches one of these, in which `%u` and `%c` are the user's name and client id;
    /// none: to anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Arc<str>>,
}

/// What the plugin that is asked who may connect thinks of a user. Of others it thinks well, at
/// once. Network level only: the machine asks nobody.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Opinion {
    /// Of whom.
    pub user: Arc<str>,
    /// Milliseconds until it says so; none: it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// Whether it is who it says it is; else it is not let in.
    pub is_proven: bool,
}

impl Opinion {
    /// Whether it lets its user in, within so many milliseconds.
    pub(crate) fn lets_in(&self, timeout_ms: u64) -> bool {
        self.is_proven && self.after_ms.is_some_and(|after| after < timeout_ms)
    }
}

/// The plugin that has them.
#[derive(Clone, Debug)]
pub(crate) struct Judge(pub(crate) Vec<Opinion>);

impl Authenticate for Judge {
    async fn authenticate(&self, request: &ConnectRequest) -> Verdict {
        let user = request.username.as_deref();
        let Some(opinion) = self.0.iter().find(|opinion| Some(&*opinion.user) == user) else {
            return Verdict::Admitted;
        };
        match opinion.after_ms {
            Some(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            None => std::future::pending().await,
        }
        if opinion.is_proven { Verdict::Proven } else { Verdict::Refused(Refusal::BadCredentials) }
    }
}

/// What a client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "they say what they are")]
pub enum Wish {
    Publish,
    Subscribe,
    Receive,
}

impl Wish {
    /// All of them.
    pub const ALL: [Wish; 3] = [Wish::Publish, Wish::Subscribe, Wish::Receive];
}

/// As the broker is given it; a filter that is none is left out.
pub(crate) fn rules(policy: &[Rule]) -> access::Rules {
    let action = |wish: &Wish| match wish {
        Wish::Publish => Action::Publish,
        Wish::Subscribe => Action::Subscribe,
        Wish::Receive => Action::Receive,
    };
    let origin = Origin::built_in("a rule of the run");
    let rule = |rule: &Rule| access::Rule {
        is_allowed: rule.is_allowed,
        actions: rule.wishes.iter().map(action).collect(),
        users: match rule.users.is_empty() {
            true => Who::Everybody,
            false => Who::Users(rule.users.iter().map(|user| (&**user).into()).collect()),
        },
        client_ids: None,
        addresses: None,
        filters: (!rule.filters.is_empty()).then(|| {
            rule.filters.iter().filter_map(|filter| Pattern::with_names(filter).ok()).collect()
        }),
        origin: origin.clone(),
    };
    access::Rules { rules: policy.iter().map(rule).collect(), end: origin.clone() }
}

/// The policy at that place; none: everything is allowed.
pub(crate) fn authoriser(broker: &Broker, place: usize) -> Option<Arc<dyn Authorise>> {
    broker.policies.get(place).map(|policy| Arc::new(rules(policy)) as Arc<dyn Authorise>)
}

/// Gives names to the clients of a scenario, and rules to its broker; `count` policies.
pub(crate) fn draw(scenario: &mut Scenario, topics: &[Arc<str>], seed: u64, count: usize) {
    let mut draw = Draw { dice: Dice::new(seed, "access", 0), topics };
    for client in &mut scenario.clients {
        client.user = draw.user();
    }
    scenario.broker.policies = (0..count).map(|_| draw.policy()).collect();
}

/// How many reloads a plan with that many policies has, and when: of so many milliseconds.
pub(crate) fn reloads(seed: u64, count: usize, safety_ms: u64) -> Vec<(u64, usize)> {
    let mut dice = Dice::new(seed, "reloads", 0);
    if count < 2 {
        return Vec::new();
    }
    let place = |dice: &mut Dice| usize::try_from(dice.below(count as u64)).expect("a few");
    (0..dice.between(1, 3)).map(|_| (dice.below(safety_ms), place(&mut dice))).collect()
}

struct Draw<'t> {
    dice: Dice,
    topics: &'t [Arc<str>],
}

impl Draw<'_> {
    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        self.dice.one_of(choices)
    }

    /// Few, so that rules meet them; one that looks like a wildcard, and one like a topic.
    fn user(&mut self) -> Option<Arc<str>> {
        let user = self.pick(&["", "u", "v", "a", "+"]);
        (!user.is_empty()).then(|| Arc::from(user))
    }

    fn policy(&mut self) -> Policy {
        let mut policy: Policy = (0..self.dice.between(1, 3)).map(|_| self.rule()).collect();
        if self.dice.chance(850) {
            let (wishes, none) = (Wish::ALL.to_vec(), Vec::new());
            policy.push(Rule { is_allowed: true, wishes, users: none, filters: Vec::new() });
        }
        policy
    }

    fn rule(&mut self) -> Rule {
        let only = self.pick(&Wish::ALL);
        let wishes = if self.dice.chance(300) { Wish::ALL.to_vec() } else { vec![only] };
        let users = match self.dice.chance(500) {
            true => vec![Arc::from(self.pick(&["u", "v", "a", "+"]))],
            false => Vec::new(),
        };
        let filters = (0..self.dice.between(1, 2)).map(|_| self.filter()).collect();
        Rule { is_allowed: self.dice.chance(400), wishes, users, filters }
    }

    fn filter(&mut self) -> Arc<str> {
        let topic = self.pick(self.topics);
        let mut levels: Vec<&str> = topic.split('/').collect();
        match self.dice.below(6) {
            0 => levels[0] = "%u",
            1 => levels[0] = "+",
            2 => {
                levels.truncate(1);
                levels.push("#");
            }
            3 if levels.len() > 1 => levels[1] = "+",
            4 => return Arc::from("#"),
            _ => {}
        }
        Arc::from(levels.join("/"))
    }
}
