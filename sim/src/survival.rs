//! What survives the broker's end in a run: its store, as data, and what goes wrong with that.
//!
//! Drawn by itself, so that other knobs do not depend on it. The machine level plays it in
//! `machine_level/log.rs`; what must have survived is judged by the oracle (`facts/lives.rs`).

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use stormpetrel::machine::StoreHealth;

use crate::dice::Dice;
use crate::plan::Plan;
use crate::scenario::{
    Action, Client, ClientIndex, Connect, Fault, FaultKind, Manners, MessageNumber, Op, Publish,
    Qos, Scenario, Subscribe, Weather,
};

/// The numbers of bystanders' messages begin here, so that they are known by sight.
const BYSTANDERS_FROM: MessageNumber = 900_000;

/// Milliseconds of a disk that fails which are enough to ask it for something in vain.
const ASKED_IN_VAIN_MS: u64 = 4_000;

/// Milliseconds between two ends of the broker that are close together, at most.
const SOON_MS: u64 = 400;

/// Milliseconds until a collector comes, and from its first word to its next.
const COLLECTOR_MS: u64 = 400;

/// Of a thousand records, so many that the last one is lost, of however few.
const ALL_BUT_ONE: u16 = 999;

/// Milliseconds until a broker has found out that there is room again: it looks every 10 s.
pub(crate) const ROOM_MS: u64 = 12_000;
/// Milliseconds between two attempts of a broker to write on a disk that fails, at most.
pub(crate) const RETRY_MAX_MS: u64 = 30_000;
/// Milliseconds of the first attempt, and to write what waits.
pub(crate) const FIRST_RETRY_MS: u64 = 2_500;
/// Milliseconds until it has found out at the machine level that its disk works again, at most.
pub(crate) const EXACT_RETRY_MS: u64 = 1_000;

/// What the broker keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Store {
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Milliseconds that a sync takes, at most.
    pub sync_ms_max: u64,
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// On its way to the disk: a killed process loses nothing of it.
    Async,
    /// On the disk.
    Sync,
}

/// What may be wrong with the disk while the broker runs. Several may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// It has no room, but for what was kept free for that.
    Full,
    /// What is written or synced fails.
    Failing,
    /// A sync does not end before the trouble does.
    Stalled,
}

/// What the broker knows of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Nothing is wrong.
    Working,
    /// It is full.
    Full,
    /// Nothing can be kept.
    Failing,
}

impl From<StoreHealth> for Health {
    fn from(health: StoreHealth) -> Health {
        match health {
            StoreHealth::Working => Health::Working,
            StoreHealth::Low => Health::Full,
            StoreHealth::Failing => Health::Failing,
        }
    }
}

impl Store {
    /// Milliseconds after which what is handed to the log surely survives the broker's end, unless
    /// the disk fails: a sync may be under way that does not have it, and the next one does.
    pub fn settled_ms(self) -> u64 {
        match self.durability {
            Durability::Async => 0,
            Durability::Sync => 2 * self.sync_ms_max + 2,
        }
    }
}

pub(crate) fn is_nothing(kept: &u16) -> bool {
    *kept == 0
}

pub(crate) fn is_not(is: &bool) -> bool {
    !is
}

/// The store of a plan: four of ten have one.
pub(crate) fn drawn(seed: u64) -> Option<Store> {
    let mut dice = Dice::new(seed, "store", 0);
    let is_kept = dice.chance(400);
    let durability = if dice.chance(800) { Durability::Sync } else { Durability::Async };
    let sync_ms_max = dice.one_of(&[0, 5, 20, 40, 40]);
    is_kept.then_some(Store { durability, sync_ms_max })
}

/// In half of the plans the log is kept in small files, and written anew again and again.
pub(crate) fn log_bytes(seed: u64) -> Option<u64> {
    Dice::new(seed, "log bytes", 0).one_of(&[None, None, Some(2_000), Some(16_000)])
}

/// When somebody does something.
fn some_deed_ms(ops: &[Op], dice: &mut Dice) -> u64 {
    let place = dice.below(ops.len() as u64) as usize;
    ops.get(place).map_or(0, |op| op.at_ms)
}

/// When somebody publishes at QoS 2, if anybody does: of nothing else does so much have to survive
/// at once.
fn some_exact_publish_ms(ops: &[Op], dice: &mut Dice) -> Option<u64> {
    let is_exact = |action: &Action| match action {
        Action::Publish(publish) => publish.qos == Qos::ExactlyOnce,
        _ => false,
    };
    some_ms(ops, dice, is_exact)
}

/// When somebody does what is missed for long if it is lost, if anybody does.
fn some_lasting_deed_ms(ops: &[Op], dice: &mut Dice) -> Option<u64> {
    let is_lasting = |action: &Action| match action {
        Action::Publish(publish) => publish.retain,
        Action::Connect(_) | Action::Subscribe(_) | Action::Unsubscribe { .. } => true,
        _ => false,
    };
    some_ms(ops, dice, is_lasting)
}

/// When two clear the same topic at once, if any do.
fn some_second_clear_ms(ops: &[Op], dice: &mut Dice) -> Option<u64> {
    let topic = |op: &Op| match &op.action {
        Action::Publish(publish) => Some(publish.topic.clone()).filter(|_| publish.clears()),
        _ => None,
    };
    let pairs =
        ops.windows(2).filter(|pair| topic(&pair[0]).is_some_and(|it| topic(&pair[1]) == Some(it)));
    one_of_some(pairs.map(|pair| pair[1].at_ms).collect(), dice)
}

/// When somebody connects, if anybody does.
pub(crate) fn some_connect_ms(ops: &[Op], dice: &mut Dice) -> Option<u64> {
    some_ms(ops, dice, |action| matches!(action, Action::Connect(_)))
}

/// From when somebody goes without a word until the same comes back, if anybody does, in
/// milliseconds.
pub(crate) fn some_absence(ops: &[Op], dice: &mut Dice) -> Option<Range<u64>> {
    let cuts = ops.iter().enumerate().filter(|(_, op)| op.action == Action::Cut);
    let absences = cuts.filter_map(|(place, cut)| {
        let mut later = ops[place..].iter().filter(|op| op.client == cut.client);
        let is_return = |op: &&Op| matches!(op.action, Action::Connect(_));
        later.find(is_return).map(|back| cut.at_ms..back.at_ms)
    });
    one_of_some(absences.filter(|away| !away.is_empty()).collect(), dice)
}

fn some_ms(ops: &[Op], dice: &mut Dice, is_it: impl Fn(&Action) -> bool) -> Option<u64> {
    let ops = ops.iter().filter(|op| is_it(&op.action));
    one_of_some(ops.map(|op| op.at_ms).collect(), dice)
}

/// One of those, if there are any.
fn one_of_some<T: Clone>(those: Vec<T>, dice: &mut Dice) -> Option<T> {
    let place = dice.below(those.len().max(1) as u64) as usize;
    those.get(place).cloned()
}

/// What goes wrong with a broker that has a store, beside all else: it dies, and its log is
/// written anew.
///
/// Mostly soon after something that somebody did has come to it: later all of it is on the disk.
/// So many of a thousand times only the process dies, and the power goes later: what the next one
/// found and nobody had synced is gone then, if it did not see to that.
pub(crate) fn faults(plan: &Plan, ops: &[Op], safety_ms: u64) -> Vec<Fault> {
    let mut dice = Dice::new(plan.seed, "store faults", 0);
    let mut kills = Dice::new(plan.seed, "kills", 0);
    let mut amid = Dice::new(plan.seed, "amid", 0);
    let many = dice.one_of(&[1, 2, 4, 6]);
    let mut faults: Vec<Fault> = Vec::new();
    let mut clears = Dice::new(plan.seed, "crashes behind clears", 0);
    if let Some(at_ms) = some_second_clear_ms(ops, &mut clears).filter(|_| clears.chance(400)) {
        let travel_ms = clears.between(plan.weather.latency_min_ms, plan.weather.latency_max_ms);
        let at_ms = at_ms + travel_ms + clears.between(1, 40);
        faults.push(Fault { at_ms, kind: FaultKind::Crash { down_ms: 10, kept: 0 } });
    }
    for _ in 0..many {
        let deed_ms = some_deed_ms(ops, &mut dice);
        let exact_ms = some_exact_publish_ms(ops, &mut dice).filter(|_| dice.chance(650));
        let travel_ms = dice.between(plan.weather.latency_min_ms, plan.weather.latency_max_ms);
        let some_time_ms = dice.below(safety_ms);
        let at_ms = match exact_ms {
            Some(at_ms) => at_ms + travel_ms + 1 + dice.below(3),
            None if dice.chance(700) => deed_ms + travel_ms + dice.below(40),
            None => some_time_ms,
        };
        let at_ms = at_ms.min(safety_ms - 1);
        let long = dice.between(100, 8_000);
        let down_ms = dice.one_of(&[0, 10, 300, 1_000, long]);
        let some = u16::try_from(dice.below(1_001)).unwrap_or(0);
        let kept = match exact_ms {
            Some(_) => dice.one_of(&[ALL_BUT_ONE, ALL_BUT_ONE, some]),
            None => dice.one_of(&[0, some, 1_000, some]),
        };
        let is_killed = kills.chance(plan.killed);
        let (down_ms, kept) = if is_killed { (10, 1_000) } else { (down_ms, kept) };
        if !is_killed && amid.chance(400) {
            let kept = amid.one_of(&[ALL_BUT_ONE, 500, some]);
            let at_ms = exact_ms.unwrap_or(deed_ms) + plan.weather.latency_min_ms;
            faults.push(Fault { at_ms, kind: FaultKind::CrashAmid { down_ms, kept } });
        } else {
            faults.push(Fault { at_ms, kind: FaultKind::Crash { down_ms, kept } });
        }
        if is_killed {
            // Before its first sync ends, or after.
            let (least, most) = kills.one_of(&[(60, SOON_MS), (60, SOON_MS), (300, 2_000)]);
            let at_ms = (at_ms + kills.between(least, most)).min(safety_ms - 1);
            let kept = kills.one_of(&[0, 0, 500]);
            faults.push(Fault { at_ms, kind: FaultKind::Crash { down_ms: 10, kept } });
        }
        if dice.chance(150) {
            // And once more before what it found is on the disk.
            let at_ms = (at_ms + down_ms + dice.between(5, 400)).min(safety_ms - 1);
            faults.push(Fault { at_ms, kind: FaultKind::Crash { down_ms: 10, kept: some } });
        }
        if dice.chance(400) {
            let before_ms = dice.one_of(&[300, 2_000]);
            let at_ms = at_ms.saturating_sub(dice.below(before_ms));
            faults.push(Fault { at_ms, kind: FaultKind::Rewrite });
        }
    }
    faults
}

/// Has most clients come back between two ends of the broker that are close together: what they are
/// told then is of what the one between has found.
pub(crate) fn return_between(scenario: &mut Scenario) {
    let mut dice = Dice::new(scenario.seed, "returns", 0);
    let crash = |fault: &Fault| match fault.kind {
        FaultKind::Crash { down_ms, .. } => Some(fault.at_ms + down_ms),
        _ => None,
    };
    let mut crashes: Vec<u64> = scenario.faults.iter().filter_map(crash).collect();
    crashes.sort_unstable();
    for pair in crashes.windows(2).filter(|pair| pair[1] - pair[0] < SOON_MS) {
        for client in 0..scenario.clients.len() {
            let before = scenario.ops.iter().filter(|op| op.client == client && op.at_ms < pair[0]);
            let connect = before.rev().find_map(|op| match &op.action {
                Action::Connect(connect) => Some(connect.clone()),
                _ => None,
            });
            if let Some(mut connect) = connect.filter(|_| dice.chance(700)) {
                (connect.clean_start, connect.will) = (dice.chance(500), None);
                if connect.clean_start {
                    connect.expiry_s = None; // nothing of it is recorded
                }
                let action = Action::Connect(connect);
                let at_ms = pair[0] + dice.below(30);
                scenario.ops.push(Op { at_ms, client, action });
            }
        }
        scenario.ops.sort_by_key(|op| op.at_ms);
    }
}

/// One sync that does not end for long, early in the run.
pub(crate) fn stall(seed: u64, for_ms: u64, safety_ms: u64) -> Fault {
    let mut dice = Dice::new(seed, "stall", 0);
    let kind = FaultKind::Disk { trouble: Trouble::Stalled, for_ms };
    Fault { at_ms: dice.below(safety_ms / 5), kind }
}

/// One time for which the disk is full, in the first half of the run.
pub(crate) fn fullness(seed: u64, for_ms: u64, safety_ms: u64) -> Fault {
    let mut dice = Dice::new(seed, "fullness", 0);
    let kind = FaultKind::Disk { trouble: Trouble::Full, for_ms };
    Fault { at_ms: dice.below(safety_ms / 2), kind }
}

/// Adds an honest client that was not there before. Who it is, and a CONNECT that the broker has
/// nothing against.
pub(crate) fn add_newcomer(scenario: &mut Scenario, name: &str) -> (ClientIndex, Connect) {
    let client = scenario.clients.len();
    let zone = scenario.clients[0].zone;
    scenario.clients.push(Client { zone, ..Client::named(name) });
    let keep_alive_s = scenario.broker.keep_alive_max_s.unwrap_or(0);
    (client, Connect { keep_alive_s, ..Connect::default() })
}

/// Two who need nothing kept, and talk to each other while the disk is in trouble: in most plans
/// in which it ever is.
pub(crate) fn add_bystanders(scenario: &mut Scenario) {
    let is_trouble = |fault: &&Fault| matches!(fault.kind, FaultKind::Disk { .. });
    let troubles: Vec<Fault> = scenario.faults.iter().filter(is_trouble).copied().collect();
    let mut dice = Dice::new(scenario.seed, "bystanders", 0);
    if troubles.is_empty() || !dice.chance(600) {
        return;
    }
    let [speaker, listener] = ["speaker", "listener"].map(|name| {
        let (client, connect) = add_newcomer(scenario, name);
        scenario.ops.push(Op { at_ms: 0, client, action: Action::Connect(connect) });
        client
    });
    let (topic, mut message) = (Arc::<str>::from("x"), BYSTANDERS_FROM);
    let subscribe = Subscribe::to(Arc::clone(&topic), Qos::AtMostOnce);
    let asks = Op { at_ms: 0, client: listener, action: Action::Subscribe(subscribe) };
    for trouble in troubles {
        let FaultKind::Disk { for_ms, trouble: kind } = trouble.kind else { continue };
        if kind == Trouble::Failing && for_ms >= ASKED_IN_VAIN_MS {
            // The first shows the broker that its disk fails, and the second meets one that knows.
            for at_ms in [trouble.at_ms, trouble.at_ms + ASKED_IN_VAIN_MS / 2] {
                message += 1;
                ask_in_vain(scenario, at_ms, message);
            }
        }
        scenario.ops.push(Op { at_ms: trouble.at_ms.saturating_sub(500), ..asks.clone() });
        pass_by(scenario, trouble.at_ms + dice.below(for_ms / 2 + 1));
        for at_ms in [0, for_ms / 4, for_ms / 2, for_ms + 2_000] {
            message += 1;
            let publish = Publish { message, topic: Arc::clone(&topic), ..Publish::default() };
            let at_ms = trouble.at_ms + at_ms + dice.below(for_ms / 4 + 1);
            scenario.ops.push(Op { at_ms, client: speaker, action: Action::Publish(publish) });
        }
    }
    scenario.ops.sort_by_key(|op| op.at_ms);
}

/// One comes then, and goes again, who has to do with nobody: whatever the disk does, it is served.
fn pass_by(scenario: &mut Scenario, at_ms: u64) {
    let filter: Arc<str> = Arc::from("nobody's");
    let actions = [
        Action::Subscribe(Subscribe::to(Arc::clone(&filter), Qos::AtLeastOnce)),
        Action::Unsubscribe { filters: [filter].into() },
    ];
    come(scenario, "passer-by", at_ms, actions);
}

/// One comes then and does that, one thing after the other.
fn come(
    scenario: &mut Scenario,
    name: &str,
    at_ms: u64,
    actions: impl IntoIterator<Item = Action>,
) {
    let name = format!("{name}-{}", scenario.clients.len());
    let (client, connect) = add_newcomer(scenario, &name);
    let actions = std::iter::once(Action::Connect(connect)).chain(actions);
    let ops = actions.zip((at_ms..).step_by(300));
    scenario.ops.extend(ops.map(|(action, at_ms)| Op { at_ms, client, action }));
}

/// One comes then and asks for what cannot be kept.
fn ask_in_vain(scenario: &mut Scenario, at_ms: u64, message: MessageNumber) {
    let topic = Arc::from("in-vain");
    let qos = Qos::AtLeastOnce;
    let publish = Publish { message, topic, qos, retain: true, ..Publish::default() };
    come(scenario, "in-vain", at_ms, [Action::Publish(publish)]);
}

/// One who comes when all is over and asks for everything that is retained: in half of the plans
/// in which anything is.
pub(crate) fn add_collector(scenario: &mut Scenario, topics: &[Arc<str>], retained: u16) {
    let mut dice = Dice::new(scenario.seed, "collector", 0);
    if retained == 0 || !dice.chance(500) {
        return;
    }
    let (client, connect) = add_newcomer(scenario, "collector");
    let at_ms = scenario.safety_ms + COLLECTOR_MS;
    scenario.ops.push(Op { at_ms, client, action: Action::Connect(connect) });
    let mut filters = topics.to_vec();
    filters.sort_unstable();
    filters.dedup();
    for filter in filters {
        let action = Action::Subscribe(Subscribe::to(filter, Qos::AtLeastOnce));
        scenario.ops.push(Op { at_ms: at_ms + COLLECTOR_MS, client, action });
    }
    scenario.safety_ms = at_ms + 3 * COLLECTOR_MS;
}

/// Lets most clients give packet ids again at once: a broker that forgets over its end that one is
/// free is only met then. Not those for whom the answer to an older packet may come later.
pub(crate) fn let_reuse_ids(seed: u64, clients: &mut [Client], ops: &[Op]) {
    let mut dice = Dice::new(seed, "packet ids", 0);
    let is_clear = |manners: &Manners| manners.resends && !manners.duplicates;
    for (index, client) in clients.iter_mut().enumerate() {
        let stays_clear = ops.iter().filter(|op| op.client == index).all(|op| match &op.action {
            Action::Behave(manners) => is_clear(manners),
            _ => true,
        });
        client.reuses_ids = dice.chance(600) && is_clear(&client.manners) && stays_clear;
    }
}

/// What is wrong with the disk meanwhile: in three of four plans with a store something is. Drawn by
/// itself, too.
///
/// Where nobody waits for the disk it is only ever full: else a crash may lose as much as was not
/// written, and nobody knows how much that is.
pub(crate) fn troubles(
    seed: u64,
    store: Store,
    weather: &Weather,
    ops: &[Op],
    safety_ms: u64,
) -> Vec<Fault> {
    let mut dice = Dice::new(seed, "disk troubles", 0);
    let many = dice.one_of(&[0, 1, 3, 6]);
    let mut faults = Vec::new();
    for _ in 0..many {
        let all = [Trouble::Full, Trouble::Failing, Trouble::Failing, Trouble::Stalled];
        let trouble = match store.durability {
            Durability::Async => Trouble::Full,
            Durability::Sync => dice.one_of(&all),
        };
        let long = dice.between(100, 15_000);
        let some = dice.between(100, 2_000);
        let for_ms = dice.one_of(&[20, some, some, long]);
        // As long as it takes to be met by somebody who is new.
        let lasts = trouble == Trouble::Full && dice.chance(700);
        let for_ms = if lasts { for_ms.max(5_000) } else { for_ms };
        let deed_ms = some_deed_ms(ops, &mut dice);
        let exact_ms = some_exact_publish_ms(ops, &mut dice).unwrap_or(deed_ms);
        let lasting_ms = some_lasting_deed_ms(ops, &mut dice).unwrap_or(deed_ms);
        let missed_ms = if dice.chance(300) { exact_ms } else { lasting_ms };
        let travel_ms = dice.between(weather.latency_min_ms, weather.latency_max_ms);
        let early_ms = deed_ms.saturating_sub(dice.below(30));
        // What is written already when it begins, and not synced, is lost in another way.
        let late_ms = missed_ms + travel_ms + dice.below(store.sync_ms_max + 1);
        let is_late = trouble == Trouble::Failing && dice.chance(850);
        let at_ms = if is_late { late_ms } else { early_ms }.min(safety_ms - 1);
        faults.push(Fault { at_ms, kind: FaultKind::Disk { trouble, for_ms } });
        // Most of them are met by a broker that dies in the midst of it, or is told to stop.
        let (down_ms, kept) = (dice.below(600), u16::try_from(dice.below(1_001)).unwrap_or(0));
        let kind = match dice.below(10) {
            0 if !is_late => FaultKind::Stop { down_ms },
            8.. if !is_late => continue,
            _ => FaultKind::Crash { down_ms, kept },
        };
        // Or soon after it, when it has been tried again: what it lost is only missed then.
        let after_ms = match is_late || dice.chance(500) {
            true => for_ms + dice.below(5_000),
            false => dice.below(for_ms + 100),
        };
        faults.push(Fault { at_ms: at_ms + after_ms, kind });
    }
    faults
}
