//! Scenes with much of something: much comes for one who takes nothing, one says much at once that
//! takes long, one comes again and again and says what nobody understands, and what is retained is
//! replaced again and again.

use std::sync::Arc;

use super::{STEP_MS, Scene};
use crate::dice::Dice;
use crate::plan::Plan;
use crate::scenario::{Action, MessageNumber, ProtocolVersion, Publish, Qos, Scenario, Subscribe};

/// The numbers of messages for who takes nothing begin here.
const STUFFED_FROM: MessageNumber = 915_000;
/// And those of who says much at once.
const TORRENT_FROM: MessageNumber = 925_000;
/// Messages that are more than the network and a short queue hold, and bytes of each.
const STUFFING: (u64, usize) = (56, 16_300);
/// Milliseconds for which nothing of it is taken: less than a broker waits, and more.
const STUFFED_MS: [u64; 2] = [24_000, 45_000];
/// Connections of one that says what nobody understands, and milliseconds from each to the next.
const RUDE: (usize, u64) = (8, 1_400);
/// The numbers of messages that take each other's place.
const EDITIONS_FROM: MessageNumber = 935_000;
/// How many, bytes of each, and milliseconds from one to the next: a small log is written anew several
/// times.
const EDITIONS: (u64, usize, u64) = (50, 1_200, 150);
/// Milliseconds that syncs take at most on a quick disk.
const QUICK_SYNC_MS: u64 = 20;
/// Milliseconds that anything may be on its way, so that all of it comes in that time.
const LATENCY_MS_MAX: u64 = 20;

pub(super) fn add(scenario: &mut Scenario, topics: &[Arc<str>], plan: &Plan) {
    add_stuffed(scenario, plan);
    add_torrent(scenario, topics, plan);
    add_rude(scenario);
    add_editor(scenario);
}

/// One takes nothing while more is published than its session may hold and the network does: what
/// is too much is dropped.
fn add_stuffed(scenario: &mut Scenario, plan: &Plan) {
    let mut dice = Dice::new(scenario.seed, "stuffed", 0);
    let (broker, weather) = (&plan.broker, &plan.weather);
    let limits = [broker.queue_bytes, broker.total_bytes, broker.connections];
    let is_quick = weather.latency_max_ms <= LATENCY_MS_MAX
        && weather.spikes == 0
        && weather.pull_bytes_max.is_none();
    let is_wide = broker.packet_bytes.is_none() && limits.iter().all(Option::is_none);
    let is_meant = broker.queue_messages.is_some() && plan.huge_messages > 0;
    if !(is_quick && is_wide && is_meant && dice.chance(900)) {
        return;
    }
    let mut scene = Scene::begin(scenario, &mut dice);
    let stuffed = scene.enter("stuffed", 0);
    let giver = scene.enter("giver", 0);
    [&stuffed, &giver].into_iter().for_each(|player| scene.connect(player));
    scene.step();
    scene.act(&stuffed, Action::Subscribe(Subscribe::to("stuff", Qos::AtMostOnce)));
    scene.step();
    scene.act(&stuffed, Action::Pause);
    let (count, bytes) = STUFFING;
    let messages = STUFFED_FROM..STUFFED_FROM + count;
    scene.publish_large(&giver, "stuff", messages, (Qos::AtMostOnce, bytes));
    scene.now_ms += dice.one_of(&STUFFED_MS);
    scene.act(&stuffed, Action::Resume);
    scene.now_ms += STEP_MS;
    scene.end();
}

/// One says much at once, of which each part takes the broker several visits to the machine: it has
/// its effect in the order in which it was said.
fn add_torrent(scenario: &mut Scenario, topics: &[Arc<str>], plan: &Plan) {
    let mut dice = Dice::new(scenario.seed, "torrent", 0);
    if plan.broker.effort_max != Some(1) || !dice.chance(300) {
        return;
    }
    let qos = dice.one_of(&[Qos::AtMostOnce, Qos::AtLeastOnce]);
    let bytes = dice.one_of(&[0, 300]);
    let mut scene = Scene::begin(scenario, &mut dice);
    let giver = scene.enter("torrent", 0);
    scene.connect(&giver);
    scene.step();
    scene.publish_large(&giver, &topics[0], TORRENT_FROM..TORRENT_FROM + 8, (qos, bytes));
    scene.act(&giver, Action::Disconnect { reason: 0, expiry_s: None });
    scene.end();
}

/// One comes again and again, and says something each time that is no packet, mostly when it is in.
fn add_rude(scenario: &mut Scenario) {
    let mut dice = Dice::new(scenario.seed, "rude", 0);
    // By a few bytes at a time it takes long until it is sent away.
    if scenario.weather.pull_bytes_max.is_some() || !dice.chance(150) {
        return;
    }
    let latency_ms = scenario.weather.latency_max_ms;
    let mut scene = Scene::begin(scenario, &mut dice);
    let rude = scene.enter("rude", 0);
    if dice.chance(400) {
        scene.scenario.clients[rude.client].version = ProtocolVersion::V311;
    }
    let (connections, gap_ms) = RUDE;
    for _ in 0..connections {
        if dice.chance(800) {
            scene.connect(&rude);
            scene.now_ms += 4 * latency_ms;
        }
        scene.act(&rude, Action::Garble);
        scene.now_ms += gap_ms + 4 * latency_ms;
    }
    scene.end();
}

/// What one retains is replaced again and again, so that most of the log is dead.
fn add_editor(scenario: &mut Scenario) {
    let mut dice = Dice::new(scenario.seed, "editor", 0);
    let broker = &scenario.broker;
    // What comes while the log is written anew stays in it: hardly anything, by a quick disk.
    let is_quick = broker.store.is_some_and(|store| store.sync_ms_max <= QUICK_SYNC_MS);
    let is_small = is_quick && broker.log_bytes.is_some_and(|bytes| bytes < 4_000);
    let limits = [broker.retained_bytes, broker.retained_messages, broker.total_bytes];
    let is_wide = broker.packet_bytes.is_none() && limits.iter().all(Option::is_none);
    if !is_small || !is_wide || !dice.chance(600) {
        return;
    }
    let mut scene = Scene::begin(scenario, &mut dice);
    scene.now_ms = scene.scenario.safety_ms; // a broker that dies later begins anew with all that
    let editor = scene.enter("editor", 0);
    scene.connect(&editor);
    scene.step();
    let (count, bytes, gap_ms) = EDITIONS;
    for message in EDITIONS_FROM..EDITIONS_FROM + count {
        let (topic, qos) = (Arc::from("edition"), Qos::AtLeastOnce);
        let publish = Publish { message, topic, qos, retain: true, bytes, ..Publish::default() };
        scene.act(&editor, Action::Publish(publish));
        scene.now_ms += gap_ms;
    }
    scene.step();
    scene.end();
}
