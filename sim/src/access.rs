//! What clients may do in a run: rules and tokens, as data; and as the broker is given them.
//!
//! The first rule that is meant decides, and what none means is denied; and where clients are
//! held to their tokens, what those do not grant. Drawn by `access/drawing.rs`;
//! what follows from them is judged by `oracle/policy.rs`, which has its own reading of them.

mod drawing;
mod judge;

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stormpetrel::access::{
    self, Action, Authorise, Grants, Identity, Judgement, Origin, Pattern, Refusal, TokenTopics,
    Who,
};

use crate::plan::Plan;
use crate::proxies::hidden;
use crate::scenario::{Broker, ClientIndex, Fault, FaultKind, ProtocolVersion, Scenario};
use crate::survival;

pub(crate) use drawing::{
    draw, failed_logins, failed_logins_per_address, failed_logins_per_user, password_changes,
    reloads, reloads_while_down,
};
pub(crate) use judge::{Asked, Judge};

/// Milliseconds that a broker waits for CONNECT if it is not told otherwise.
const CONNECT_TIMEOUT_MS: u64 = 10_000;

/// Milliseconds that a verdict takes at most, where it is awaited.
const SLOW_MS: u64 = 2_000;
/// Milliseconds that a verdict takes at most where clients wait in turn for theirs.
const IN_TURN_MS: u64 = 100;
/// How many of them wait at once.
const WAITING_MAX: u64 = 40;

/// Milliseconds that a stranger is judged late with whose name others have failed, at most.
pub(crate) const DELAY_MAX_MS: u64 = 5_000;

/// Few, so that rules meet them; one that looks like a wildcard, and one like a topic.
const USERS: [&str; 4] = ["u", "v", "a", "+"];
/// Milliseconds after which no broker of a drawn plan waits for a CONNECT.
const LATE_MS: u64 = 20_000;

/// What a client says that gives a password.
pub(crate) const PASSWORD: &[u8] = b"secret";
/// What one says that is mistaken about it, until that changes.
pub(crate) const WRONG: &[u8] = b"wrong";

/// The last number of the first zone's address: turmoil counts hosts, and the broker is the first.
const FIRST_HOST: u8 = 2;
/// As many zones as a plan may have.
const ZONES: [usize; 3] = [0, 1, 2];

/// Rules that are in force together.
pub type Policy = Vec<Rule>;

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// Whether it allows; else it denies.
    pub is_allowed: bool,
    /// What to do.
    pub wishes: Vec<Wish>,
    /// Who does it; nobody named: everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<Arc<str>>,
    /// Under which client id; none named: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_ids: Vec<Arc<str>>,
    /// From one of these parts of the network; none named: from anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<usize>,
    /// To what matches one of these, in which `%u` and `%c` are the user's name and client id;
    /// none: to anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Arc<str>>,
}

/// What the plugin that is asked who may connect thinks of a user. Others are let in at once, and
/// have proved nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Opinion {
    /// Of whom.
    pub user: Arc<str>,
    /// Milliseconds until it says so; none: it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// Whether it is who it says it is; else it is not let in.
    pub is_proven: bool,
    /// Whether what would know cannot be reached: nobody is let in then, and nobody has failed.
    #[serde(default, skip_serializing_if = "survival::is_not")]
    pub is_unavailable: bool,
    /// What the token grants that proves it; none: it is no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<Grant>>,
}

/// What a token grants.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// What to do.
    pub wish: Wish,
    /// To what matches this.
    pub filter: Arc<str>,
}

impl Opinion {
    /// Whether it lets its user in, within so many milliseconds.
    pub(crate) fn lets_in(&self, timeout_ms: u64) -> bool {
        !self.is_unavailable
            && self.is_proven
            && self.after_ms.is_some_and(|after| after < timeout_ms)
    }

    /// Whether it lets in who is mistaken about his password, or who is not; none: nobody can say.
    fn of_one(&self, is_mistaken: bool) -> Option<bool> {
        (!self.is_unavailable).then_some(self.is_proven && !is_mistaken)
    }

    /// What is known of its user's token. A filter that is none grants nothing.
    fn token(&self) -> Option<Arc<Grants>> {
        let mut grants = Grants::default();
        for grant in self.grants.as_ref()? {
            if let Ok(pattern) = Pattern::literal(&grant.filter) {
                grants.add(action(grant.wish), pattern);
            }
        }
        Some(Arc::new(grants))
    }
}

/// What the broker's plugin thinks of a client, if it knows its user.
pub(crate) fn opinion_of(scenario: &Scenario, client: ClientIndex) -> Option<&Opinion> {
    let user = &scenario.clients[client].user;
    scenario.broker.opinions.iter().find(|opinion| Some(&opinion.user) == user.as_ref())
}

/// Whether nobody can be asked who a client is.
pub(crate) fn is_unavailable(scenario: &Scenario, client: ClientIndex) -> bool {
    opinion_of(scenario, client).is_some_and(|opinion| opinion.is_unavailable)
}

/// Milliseconds that a broker waits for CONNECT, and for the verdict on it.
pub(crate) fn connect_timeout_ms(broker: &Broker) -> u64 {
    broker.connect_timeout_ms.unwrap_or(CONNECT_TIMEOUT_MS)
}

/// Milliseconds that a client waits for a verdict, at most: some of them behind others, or because
/// others have failed with their name, and anew when what verdicts follow from is loaded anew.
pub(crate) fn judged_ms(scenario: &Scenario) -> u64 {
    let broker = &scenario.broker;
    let timeout_ms = connect_timeout_ms(broker);
    let verdicts = broker.opinions.iter().map(|opinion| opinion.after_ms.unwrap_or(timeout_ms));
    let waiting = if broker.has_turns() { 1 + WAITING_MAX } else { 1 };
    let is_load = |fault: &&Fault| {
        use FaultKind::{Certificate, Passwords, Reload};
        matches!(fault.kind, Reload { .. } | Passwords | Certificate)
    };
    let loaded = 1 + scenario.faults.iter().filter(is_load).count() as u64;
    let delay_ms = broker.failed_logins_per_user.map_or(0, |_| DELAY_MAX_MS);
    (loaded * (delay_ms + waiting * verdicts.max().unwrap_or(0))).min(timeout_ms)
}

/// Milliseconds that a verdict takes at most, of those that come in time: where the timeout is short
/// only what comes at once is in time for sure.
fn verdict_ms_max(plan: &Plan) -> u64 {
    match (plan.broker.connect_timeout_ms, plan.broker.failed_logins) {
        (Some(_), _) => 0,
        (None, Some(_)) => IN_TURN_MS,
        (None, None) => SLOW_MS,
    }
}

/// Which passwords are right: those that it began with, or the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Passwords {
    #[default]
    First,
    Others,
}

impl Passwords {
    /// Those that are right when they have changed so often.
    pub(crate) fn after(changes: usize) -> Passwords {
        if changes.is_multiple_of(2) { Passwords::First } else { Passwords::Others }
    }

    /// Whether a client that began with a wrong one, or a right one, is mistaken.
    fn are_mistaken(self, is_mistaken: bool) -> bool {
        is_mistaken == (self == Passwords::First)
    }
}

/// Whether the plugin does not let a client in, in time.
pub(crate) fn is_kept_out(scenario: &Scenario, client: ClientIndex, right: Passwords) -> bool {
    let timeout_ms = connect_timeout_ms(&scenario.broker);
    let is_mistaken = right.are_mistaken(scenario.clients[client].is_mistaken);
    opinion_of(scenario, client).is_some_and(|it| is_mistaken || !it.lets_in(timeout_ms))
}

/// Whether the plugin does not let a client in at the end of a run.
fn is_kept_out_last(scenario: &Scenario, client: ClientIndex) -> bool {
    is_kept_out(scenario, client, Passwords::after(changes(scenario)))
}

/// How often passwords change in a run.
fn changes(scenario: &Scenario) -> usize {
    scenario.faults.iter().filter(|fault| fault.kind == FaultKind::Passwords).count()
}

/// Whether a client has proved who it is once it is let in, if it ever may be.
pub(crate) fn is_proven(scenario: &Scenario, client: ClientIndex) -> bool {
    let mut passwords = (0..=changes(scenario)).map(Passwords::after);
    opinion_of(scenario, client).is_some()
        && passwords.any(|right| !is_kept_out(scenario, client, right))
}

/// Whether a client is the first one with its client id whom the broker may let in: nobody else
/// with it takes part in the end of a run. 3.1 lets nobody in without a client id.
pub(crate) fn comes_first(scenario: &Scenario, client: ClientIndex) -> bool {
    let known = &scenario.clients[client];
    match known.client_id.is_empty() {
        true => !is_kept_out_last(scenario, client) && known.version != ProtocolVersion::V31,
        false => find_with_id(scenario, client, 0..=client) == Some(client),
    }
}

/// Who comes next, going round, in place of a client that is turned away because the session with
/// its client id may be another's; none: it is not.
pub(crate) fn gives_way_to(scenario: &Scenario, client: ClientIndex) -> Option<ClientIndex> {
    let round = (client + 1..scenario.clients.len()).chain(0..=client);
    find_with_id(scenario, client, round).filter(|_| may_be_a_strangers(scenario, client))
}

/// The first of these with the client id of that client whom the broker may let in.
fn find_with_id(
    scenario: &Scenario,
    client: ClientIndex,
    mut those: impl Iterator<Item = ClientIndex>,
) -> Option<ClientIndex> {
    let id = &scenario.clients[client].client_id;
    those.find(|&it| scenario.clients[it].client_id == *id && !is_kept_out_last(scenario, it))
}

/// Whether a session with the client id of this client may be that of another user, who proved
/// to be its owner.
pub(crate) fn may_be_a_strangers(scenario: &Scenario, client: ClientIndex) -> bool {
    let known = &scenario.clients[client];
    let others = scenario.clients.iter().enumerate();
    let mut others = others.filter(|(_, other)| other.client_id == known.client_id);
    !known.client_id.is_empty()
        && others.any(|(index, other)| other.user != known.user && is_proven(scenario, index))
}

/// Where the clients of a zone come from, at either level.
pub(crate) fn address_of(zone: usize) -> IpAddr {
    let host = u8::try_from(zone).map_or(u8::MAX, |zone| zone.saturating_add(FIRST_HOST));
    IpAddr::from([192, 168, 0, host])
}

/// The address by which rules mean who comes from there.
fn meant_address(broker: &Broker, zone: usize) -> IpAddr {
    let host = address_of(zone);
    if broker.is_behind_proxies { hidden(host) } else { host }
}

/// All that comes from where that address is.
fn network_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(_) => format!("{address}/32"),
        IpAddr::V6(_) => format!("{address}/64"),
    }
}

/// The part of the network that rules mean when they mean where this client is; none: they mean
/// what is behind proxies, and it is not.
pub(crate) fn known_zone(scenario: &Scenario, client: ClientIndex) -> Option<usize> {
    let known = &scenario.clients[client];
    let is_meant = !scenario.broker.is_behind_proxies || known.transport.tells_origins();
    is_meant.then_some(known.zone)
}

/// The part of the network among whose connections those of a client count; none: nobody says
/// where they come from, for which nothing is counted.
pub(crate) fn counted_zone(scenario: &Scenario, client: ClientIndex) -> Option<usize> {
    let known = &scenario.clients[client];
    let is_said = known.transport.tells_origins() == scenario.broker.is_behind_proxies;
    is_said.then_some(known.zone)
}

/// What the machine is told of a client that was judged.
pub(crate) fn judgement(scenario: &Scenario, client: ClientIndex, right: Passwords) -> Judgement {
    let known = &scenario.clients[client];
    let user = known.user.clone();
    let opinion = opinion_of(scenario, client);
    match opinion.map(|it| it.of_one(right.are_mistaken(known.is_mistaken))) {
        Some(None) => Judgement::Refused(Refusal::Unavailable),
        Some(Some(false)) => Judgement::Refused(Refusal::BadCredentials),
        Some(Some(true)) | None => {
            let is_proven = opinion.is_some();
            let address =
                known_zone(scenario, client).map(|zone| meant_address(&scenario.broker, zone));
            let grants = opinion.and_then(Opinion::token);
            Judgement::Accepted(Identity { user, address, is_proven, grants })
        }
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

fn action(wish: Wish) -> Action {
    match wish {
        Wish::Publish => Action::Publish,
        Wish::Subscribe => Action::Subscribe,
        Wish::Receive => Action::Receive,
    }
}

/// As the broker is given it; a filter that is none is left out.
pub(crate) fn rules(broker: &Broker, policy: &[Rule]) -> access::Rules {
    let origin = Origin::built_in("a rule of the run");
    let rule = |rule: &Rule| access::Rule {
        is_allowed: rule.is_allowed,
        actions: rule.wishes.iter().copied().map(action).collect(),
        users: match rule.users.is_empty() {
            true => Who::Everybody,
            false => Who::Users(rule.users.iter().map(|user| (&**user).into()).collect()),
        },
        client_ids: (!rule.client_ids.is_empty())
            .then(|| rule.client_ids.iter().map(|id| (&**id).into()).collect()),
        addresses: (!rule.zones.is_empty()).then(|| {
            let networks = rule.zones.iter().map(|&zone| meant_address(broker, zone));
            networks.filter_map(|address| network_of(address).parse().ok()).collect()
        }),
        filters: (!rule.filters.is_empty()).then(|| {
            rule.filters.iter().filter_map(|filter| Pattern::with_names(filter).ok()).collect()
        }),
        origin: origin.clone(),
    };
    access::Rules { rules: policy.iter().map(rule).collect(), end: origin.clone() }
}

/// Who holds clients to what their tokens grant; none: nobody does.
pub(crate) fn tokens(broker: &Broker) -> Option<TokenTopics> {
    let held: Vec<Action> = broker.held_to_tokens.iter().copied().map(action).collect();
    (!held.is_empty()).then(|| TokenTopics::new(&held))
}

/// Who knows a policy of the broker, and the tokens of its clients; none: everything is allowed.
pub(crate) fn authoriser(broker: &Broker, policy: Option<&Policy>) -> Option<Arc<dyn Authorise>> {
    let mut whole = access::Policy::default();
    policy.into_iter().for_each(|policy| whole.add(rules(broker, policy)));
    tokens(broker).into_iter().for_each(|tokens| whole.add(tokens));
    whole.into_authoriser()
}
