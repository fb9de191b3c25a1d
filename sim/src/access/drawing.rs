//! Draws what clients may do in a run, when that changes, and who is let in.

use std::sync::Arc;

use super::{
    Grant, IN_TURN_MS, LATE_MS, Opinion, Policy, Rule, USERS, Wish, ZONES, opinion_of,
    verdict_ms_max,
};
use crate::dice::Dice;
use crate::plan::Plan;
use crate::scenario::{Broker, Fault, FaultKind, Op, Scenario};
use crate::scenes;
use crate::survival::{some_absence, some_connect_ms};

/// Rules name the client ids of so many clients.
const CLIENT_IDS: u64 = 4;

/// Gives names to the clients of a scenario, and rules to its broker: as many policies, and
/// opinions of so many of a thousand users, as its plan wants.
pub(crate) fn draw(scenario: &mut Scenario, topics: &[Arc<str>], plan: &Plan) {
    let mut draw = Draw::new(plan.seed, "access", topics);
    if plan.broker.is_behind_proxies {
        draw.zoned = 800;
    }
    for index in 0..scenario.clients.len() {
        let (known, others) = scenario.clients.split_at_mut(index);
        let client = &mut others[0];
        // Some who come with another's client id are the same user, elsewhere.
        let same = known.iter().find(|it| it.client_id == client.client_id);
        client.user = match same.filter(|_| draw.dice.chance(500)) {
            Some(same) => same.user.clone(),
            None => draw.user(),
        };
    }
    if plan.has_guessers() {
        scenario.clients.iter_mut().for_each(|client| client.user = Some(USERS[0].into()));
    }
    scenario.broker.policies = (0..plan.policies).map(|_| draw.policy()).collect();
    draw_border(scenario, topics);
    let mut draw = Draw::new(plan.seed, "opinions", topics);
    for user in USERS {
        if draw.dice.chance(plan.opinions) {
            let mut opinion = draw.opinion(user, verdict_ms_max(plan));
            if plan.broker.failed_logins.is_some() {
                // Nobody waits in vain: who is behind others has his answer in time.
                opinion.after_ms = opinion.after_ms.filter(|after| *after <= IN_TURN_MS);
                opinion.after_ms = opinion.after_ms.or(Some(IN_TURN_MS));
                if plan.has_guessers() {
                    opinion.after_ms = Some(IN_TURN_MS); // so that the next come meanwhile
                    opinion.is_proven = true;
                }
            }
            scenario.broker.opinions.push(opinion);
        }
    }
    draw_unavailable(scenario);
    draw_mistakes(scenario, plan);
    if plan.policies > 0 {
        draw_tokens(&mut scenario.broker, topics, plan.seed);
    }
}

/// Who moves, in a scene, mostly goes to where it may not have what it has; one of a group is where
/// it may not have what the group gets; and where proxies say from where everybody comes, something is
/// mostly forbidden to those of one place. Drawn by itself, as [`draw_tokens`].
fn draw_border(scenario: &mut Scenario, topics: &[Arc<str>]) {
    let mut dice = Dice::new(scenario.seed, "border", 0);
    let mut borders = Vec::new();
    if let Some((zone, topic)) = scenes::moves_to(scenario).filter(|_| dice.chance(700)) {
        borders.push((dice.one_of(&[Wish::Receive, Wish::Subscribe]), zone, topic));
    }
    if let Some(zone) = scenes::kept_out(scenario) {
        borders.push((Wish::Receive, zone, Arc::from(scenes::GUARDED)));
    }
    if scenario.broker.is_behind_proxies && dice.chance(700) {
        borders.push((Wish::Publish, scenario.clients[0].zone, dice.one_of(topics)));
    }
    for (wish, zone, topic) in borders {
        let (wishes, zones, filters) = (vec![wish], vec![zone], vec![topic]);
        let rule = Rule { wishes, zones, filters, ..Rule::default() };
        let policies = scenario.broker.policies.iter_mut();
        policies.for_each(|policy| policy.insert(0, rule.clone()));
    }
}

/// Of some users nobody can be asked. Drawn by itself, as [`draw_tokens`].
fn draw_unavailable(scenario: &mut Scenario) {
    let mut dice = Dice::new(scenario.seed, "unavailable", 0);
    for opinion in &mut scenario.broker.opinions {
        opinion.is_unavailable = dice.chance(60);
    }
}

/// Of those whose password would be looked at, some give a wrong one: more where they have to wait
/// for it. Drawn by itself, as [`draw_tokens`].
fn draw_mistakes(scenario: &mut Scenario, plan: &Plan) {
    let mut dice = Dice::new(plan.seed, "mistakes", 0);
    let broker = &scenario.broker;
    let often = match broker.failed_logins.or(broker.failed_logins_per_user) {
        Some(_) if plan.has_guessers() => 800,
        Some(_) => 500,
        None => 250,
    };
    for index in 0..scenario.clients.len() {
        let is_looked_at = opinion_of(scenario, index).is_some_and(|opinion| opinion.is_proven);
        scenario.clients[index].is_mistaken = is_looked_at && dice.chance(often);
    }
}

/// Two of three brokers that have both rules and opinions hold clients to their tokens. Drawn by
/// itself, so that the rest does not depend on it.
fn draw_tokens(broker: &mut Broker, topics: &[Arc<str>], seed: u64) {
    let mut draw = Draw::new(seed, "tokens", topics);
    if broker.opinions.is_empty() || draw.dice.chance(330) {
        return;
    }
    let only = draw.pick(&[Wish::Publish, Wish::Subscribe, Wish::Receive, Wish::Receive]);
    broker.held_to_tokens = if draw.dice.chance(250) { Wish::ALL.to_vec() } else { vec![only] };
    for opinion in &mut broker.opinions {
        if draw.dice.chance(850) {
            let count = draw.dice.between(1, 5);
            opinion.grants = Some((0..count).map(|_| draw.grant(only)).collect());
        }
    }
}

/// Rules that are loaded instead of others, in a run of so many milliseconds.
pub(crate) fn reloads(plan: &Plan, ops: &[Op], safety_ms: u64) -> Vec<Fault> {
    let mut dice = Dice::new(plan.seed, "reloads", 0);
    if plan.policies == 0 {
        return Vec::new();
    }
    let mut reloads: Vec<Fault> = (0..dice.between(1, 3))
        .map(|_| Fault { at_ms: dice.below(safety_ms), kind: some_policy(plan, &mut dice) })
        .collect();
    // And others soon after: what was forbidden may be allowed again before anybody notices.
    for Fault { at_ms, .. } in reloads.clone() {
        if dice.chance(300) {
            let at_ms = (at_ms + dice.below(2_000)).min(safety_ms - 1);
            reloads.push(Fault { at_ms, kind: some_policy(plan, &mut dice) });
        }
    }
    // And two while somebody is away: who comes back never hears of what was forbidden meanwhile.
    let mut dice = Dice::new(plan.seed, "reloads meanwhile", 0);
    if let Some(away) = some_absence(ops, &mut dice).filter(|_| dice.chance(600)) {
        let middle_ms = dice.between(away.start, away.end - 1);
        let at_ms = dice.between(away.start, middle_ms);
        reloads.push(Fault { at_ms, kind: some_policy(plan, &mut dice) });
        let at_ms = dice.between(middle_ms, away.end - 1);
        reloads.push(Fault { at_ms, kind: FaultKind::Reload { policy: plan.policies } });
    }
    reloads
}

/// Rules that change while there is no broker: the next one starts with others, and what it finds
/// is judged by them.
pub(crate) fn reloads_while_down(plan: &Plan, faults: &[Fault]) -> Vec<Fault> {
    let mut dice = Dice::new(plan.seed, "reloads while down", 0);
    let downs = faults.iter().filter_map(|fault| match fault.kind {
        FaultKind::Crash { down_ms, .. } | FaultKind::Stop { down_ms } if down_ms > 0 => {
            Some(fault.at_ms..fault.at_ms + down_ms)
        }
        _ => None,
    });
    let mut reloads = Vec::new();
    for down in downs.filter(|_| plan.policies > 0) {
        if dice.chance(400) {
            let kind = some_policy(plan, &mut dice);
            reloads.push(Fault { at_ms: dice.between(down.start, down.end - 1), kind });
        }
    }
    reloads
}

/// The place behind all policies is none: everything is allowed.
fn some_policy(plan: &Plan, dice: &mut Dice) -> FaultKind {
    let policy = usize::try_from(dice.below(plan.policies as u64 + 1)).expect("a few");
    FaultKind::Reload { policy }
}

/// When passwords change, in milliseconds, of so many: in some of the plans that ask for some, and
/// only where each client has a session of its own, lest its owner never comes back to it.
pub(crate) fn password_changes(plan: &Plan, ops: &[Op], safety_ms: u64) -> Vec<u64> {
    let mut dice = Dice::new(plan.seed, "password changes", 0);
    if plan.opinions == 0 || plan.shared_client_ids > 0 || !dice.chance(600) {
        return Vec::new();
    }
    let many = dice.between(1, 2);
    let change = |_| {
        let some_ms = dice.below(safety_ms);
        // Mostly while somebody is being judged.
        let judged_ms = some_connect_ms(ops, &mut dice).filter(|_| dice.chance(600));
        judged_ms.map_or(some_ms, |at_ms| (at_ms + dice.below(1_500)).min(safety_ms - 1))
    };
    (0..many).map(change).collect()
}

/// Half of the plans in which somebody is asked who may connect have such a limit, where that takes
/// its time. Drawn by itself.
pub(crate) fn failed_logins(plan: &Plan) -> Option<u32> {
    let mut dice = Dice::new(plan.seed, "failed logins", 0);
    let limit = dice.one_of(&[None, None, Some(1), Some(2)]);
    limit.filter(|_| plan.opinions > 0 && plan.broker.connect_timeout_ms.is_none())
}

/// Half of the plans with a limit for names have one for all names together: who is known may fail
/// as often as he likes without the other, and hold up all strangers for minutes. Drawn by
/// itself.
pub(crate) fn failed_logins_per_address(seed: u64) -> Option<u32> {
    let mut dice = Dice::new(seed, "failed logins of an address", 0);
    dice.one_of(&[None, None, None, Some(1), Some(2), Some(3)])
}

/// Half of the plans in which somebody is asked who may connect, and nobody waits in turn for that,
/// have one. Drawn by itself.
pub(crate) fn failed_logins_per_user(plan: &Plan) -> Option<u32> {
    let mut dice = Dice::new(plan.seed, "failed logins of a user", 0);
    let limit = dice.one_of(&[None, None, Some(1), Some(2)]);
    let has_time = plan.broker.failed_logins.is_none() && plan.broker.connect_timeout_ms.is_none();
    limit.filter(|_| plan.opinions > 0 && has_time)
}

struct Draw<'t> {
    dice: Dice,
    /// Of what few rules have, so that all else is as it is without.
    rare: Dice,
    topics: &'t [Arc<str>],
    /// Of a thousand rules so many are about a part of the network.
    zoned: u16,
}

impl<'t> Draw<'t> {
    fn new(seed: u64, purpose: &'static str, topics: &'t [Arc<str>]) -> Draw<'t> {
        let rare = Dice::new(seed, "rare in rules", 0);
        Draw { dice: Dice::new(seed, purpose, 0), rare, topics, zoned: 300 }
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        self.dice.one_of(choices)
    }

    fn user(&mut self) -> Option<Arc<str>> {
        let [u, v, a, plus] = USERS;
        let user = self.pick(&["", u, v, a, plus]);
        (!user.is_empty()).then(|| Arc::from(user))
    }

    fn opinion(&mut self, user: &str, slow_max: u64) -> Opinion {
        let slow = if slow_max == 0 { 0 } else { self.dice.between(1, slow_max) };
        let after_ms = self.pick(&[Some(0), Some(0), Some(slow), Some(slow), Some(LATE_MS), None]);
        let is_proven = self.dice.chance(800);
        Opinion { user: Arc::from(user), after_ms, is_proven, ..Opinion::default() }
    }

    fn grant(&mut self, often: Wish) -> Grant {
        let other = self.pick(&Wish::ALL);
        let wish = if self.dice.chance(600) { often } else { other };
        Grant { wish, filter: self.filter() }
    }

    fn policy(&mut self) -> Policy {
        let mut policy: Policy = (0..self.dice.between(1, 3)).map(|_| self.rule()).collect();
        let all_allowed = Rule { is_allowed: true, wishes: Wish::ALL.to_vec(), ..Rule::default() };
        if self.dice.chance(850) {
            policy.push(all_allowed.clone());
        }
        if self.rare.chance(150) {
            // One may do everything, and nothing follows from that for others.
            policy.insert(0, Rule { client_ids: vec![self.client_id()], ..all_allowed });
        }
        policy
    }

    fn client_id(&mut self) -> Arc<str> {
        Arc::from(format!("c{}", self.rare.below(CLIENT_IDS)))
    }

    fn rule(&mut self) -> Rule {
        let only = self.pick(&Wish::ALL);
        let wishes = if self.dice.chance(300) { Wish::ALL.to_vec() } else { vec![only] };
        let users = match self.dice.chance(500) {
            true => vec![Arc::from(self.pick(&USERS))],
            false => Vec::new(),
        };
        let zones = if self.dice.chance(self.zoned) { vec![self.pick(&ZONES)] } else { Vec::new() };
        let filters = (0..self.dice.between(1, 2)).map(|_| self.filter()).collect();
        let client_ids = if self.rare.chance(100) { vec![self.client_id()] } else { Vec::new() };
        Rule { is_allowed: self.dice.chance(400), wishes, users, client_ids, zones, filters }
    }

    fn filter(&mut self) -> Arc<str> {
        let topic = self.pick(self.topics);
        let mut levels: Vec<&str> = topic.split('/').collect();
        match self.dice.below(7) {
            0 | 6 => levels[0] = "%u",
            1 if self.rare.chance(300) => return Arc::from("+/#"),
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
