//! Scenes of groups: what waited for a member that never comes back, what one does not answer, and
//! what one may not have.

use super::{LONG_S, SHORT_MS, SHORT_S, STEP_MS, Scene, answering};
use crate::dice::Dice;
use crate::plan::Plan;
use crate::scenario::{AckPolicy, Action, FaultKind, MessageNumber, Qos, Scenario, Subscribe};

/// The numbers of messages for heirs begin here.
const LEFT_FROM: MessageNumber = 920_000;
/// And those that nobody answers.
const UNANSWERED_FROM: MessageNumber = 940_000;
/// And those that one of a group may not have.
const GUARDED_FROM: MessageNumber = 945_000;
/// Their topic.
pub(crate) const GUARDED: &str = "guarded";
/// How the client id of that one begins.
const KEPT_OUT: &str = "kept-out";

pub(super) fn add(scenario: &mut Scenario, plan: &Plan) {
    add_silent(scenario, plan);
    add_kept_out(scenario, plan);
}

/// Two of a group are away when messages come for it, and one of them never comes back: what
/// waited for that one is the other's then, whatever has happened to the broker meanwhile. With one
/// who has subscribed at QoS 0 nothing can wait.
pub(crate) fn add_heirs(scenario: &mut Scenario) {
    let mut dice = Dice::new(scenario.seed, "heirs", 0);
    let mut rare = Dice::new(scenario.seed, "heirs who care less", 0);
    if !dice.chance(150) {
        return;
    }
    let mut scene = Scene::begin(scenario, &mut dice);
    let testator = scene.enter("testator", SHORT_S);
    let heir = scene.enter("heir", LONG_S);
    let giver = scene.enter("giver", 0);
    // Whose turn it is depends on who came first.
    let mut members = [&testator, &heir];
    if dice.chance(500) {
        members.reverse();
    }
    members.into_iter().for_each(|member| scene.connect(member));
    scene.connect(&giver);
    scene.step();
    let cares_less = rare.chance(300);
    for member in members {
        let qos = match cares_less && member.client == testator.client {
            true => Qos::AtMostOnce,
            false => Qos::ExactlyOnce,
        };
        scene.act(member, Action::Subscribe(Subscribe::to("$share/heirs/legacy", qos)));
    }
    scene.step();
    members.into_iter().for_each(|member| scene.act(member, Action::Cut));
    scene.step();
    let count = dice.between(2, 4);
    let qos = if dice.chance(700) { Qos::AtLeastOnce } else { Qos::ExactlyOnce };
    scene.publish(&giver, "legacy", LEFT_FROM..LEFT_FROM + count, qos);
    scene.step();
    // What is left is handed over before the broker dies, or after.
    if dice.chance(300) {
        scene.now_ms += SHORT_MS;
    }
    if dice.chance(700) {
        scene.fault(FaultKind::Rewrite);
    }
    scene.now_ms += dice.between(1, 4) * STEP_MS; // it takes some syncs
    scene.fault(match dice.below(4) {
        0 => FaultKind::Stop { down_ms: 10 },
        _ => FaultKind::Crash { down_ms: 10, kept: dice.one_of(&[0, 1_000]) },
    });
    // Before the session of the other ends, or after.
    scene.now_ms += dice.one_of(&[STEP_MS, SHORT_MS]);
    scene.come_back(&heir);
    scene.now_ms += SHORT_MS;
    scene.end();
}

/// One of a group does not answer what it is sent, and its session ends: at QoS 2 nobody else gets
/// that, as it may have been taken.
fn add_silent(scenario: &mut Scenario, plan: &Plan) {
    let mut dice = Dice::new(scenario.seed, "silent", 0);
    if plan.shared_filters == 0 || !dice.chance(200) {
        return;
    }
    let mut scene = Scene::begin(scenario, &mut dice);
    let silent = scene.enter("silent", dice.one_of(&[0, LONG_S]));
    let other = scene.enter("other", LONG_S);
    let giver = scene.enter("giver", 0);
    scene.act(&silent, answering(AckPolicy::Never));
    [&silent, &other, &giver].into_iter().for_each(|player| scene.connect(player));
    scene.step();
    let subscribe = Subscribe::to("$share/quiet/hush", Qos::ExactlyOnce);
    for member in [&silent, &other] {
        scene.act(member, Action::Subscribe(subscribe.clone()));
    }
    scene.step();
    let (count, qos) = (dice.between(2, 4), dice.one_of(&[Qos::AtLeastOnce, Qos::ExactlyOnce]));
    scene.publish(&giver, "hush", UNANSWERED_FROM..UNANSWERED_FROM + count, qos);
    scene.step();
    if silent.connect.expiry_s.is_some() && dice.chance(500) {
        // It comes anew, without its session.
        scene.connect(&silent);
    } else {
        scene.act(&silent, Action::Disconnect { reason: 0, expiry_s: Some(0) });
    }
    scene.step();
    scene.end();
}

/// One of a group may not have what the group gets, where it is: all of that is the other's.
fn add_kept_out(scenario: &mut Scenario, plan: &Plan) {
    let mut dice = Dice::new(scenario.seed, "kept out", 0);
    let has_owners = plan.opinions > 0; // who may not let it in
    if plan.policies == 0 || plan.zones < 2 || has_owners || !dice.chance(250) {
        return;
    }
    let mut scene = Scene::begin(scenario, &mut dice);
    let kept_out = scene.enter(KEPT_OUT, LONG_S);
    let other = scene.enter("other", LONG_S);
    let giver = scene.enter("giver", 0);
    let clients = &mut scene.scenario.clients;
    clients[kept_out.client].zone = (clients[giver.client].zone + 1) % plan.zones;
    [&kept_out, &other, &giver].into_iter().for_each(|player| scene.connect(player));
    scene.step();
    let subscribe = Subscribe::to(format!("$share/club/{GUARDED}"), Qos::AtLeastOnce);
    for member in [&kept_out, &other] {
        scene.act(member, Action::Subscribe(subscribe.clone()));
    }
    scene.step();
    let count = dice.between(2, 4);
    scene.publish(&giver, GUARDED, GUARDED_FROM..GUARDED_FROM + count, Qos::AtLeastOnce);
    scene.step();
    scene.end();
}

/// Where the one is who may not have what is [`GUARDED`], if there is one.
pub(crate) fn kept_out(scenario: &Scenario) -> Option<usize> {
    let mut clients = scenario.clients.iter();
    clients.find(|client| client.client_id.starts_with(KEPT_OUT)).map(|client| client.zone)
}
