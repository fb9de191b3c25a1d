//! The broker crashes and comes up again without what it knew, and its clients find back. At
//! the end it is stopped under them.

use stormpetrel::mqtt::types::{QoS, Reason, Version};
use stormpetrel::mqtt::wire::Packet;

use crate::chaos::Chaos;
use crate::dice::Dice;
use crate::script::history::{Event, History, Outcome, What};
use crate::script::scenario::{Fault, Planned, Scenario, Script, Step};

/// What is said before the crash, and after it.
const SAID: [&str; 2] = ["before", "after"];

/// One to four clients of each version. More of them make more that may die in another order.
pub(super) fn draw(seed: u64) -> Scenario {
    let mut dice = Dice::new(seed, "restart", 0);
    let crash = dice.between(2_000, 2_500);
    let restart = crash + dice.between(5, 3_000);
    let faults = [(crash, Fault::Crash), (restart, Fault::Restart), (12_000, Fault::Stop)];
    let mut scenario = Scenario::new(seed);
    scenario.weather.chaos = Chaos::drawn(&mut dice);
    scenario.faults = faults.map(|(at, fault)| Planned { at, fault }).into();
    let count = dice.between(1, 4);
    let name = |version: &str, number| format!("{version}-{number}");
    let names: Vec<_> = ["old", "new"]
        .iter()
        .flat_map(|each| (0..count).map(|number| name(each, number)))
        .collect();
    let versions = [(Version::V311, "old"), (Version::V5, "new")];
    let zone = |(version, prefix)| {
        let own = names.iter().filter(|name| name.starts_with(prefix));
        own.map(|name| script(name, version, &names)).collect()
    };
    scenario.zones = versions.map(zone).into();
    scenario
}

/// Everybody gets what was said before the crash and after it, each once; and those that can be
/// told so are told that the broker stops.
pub(super) fn check(scenario: &Scenario, history: &History) -> Vec<String> {
    let mut wrong = Vec::new();
    let scripts = || scenario.zones.iter().flatten();
    let mut want: Vec<_> =
        scripts().flat_map(|script| SAID.map(|said| payload(&script.client_id, said))).collect();
    want.sort();
    for script in scripts() {
        let client_id = &script.client_id;
        let mut got = history.payloads(client_id);
        got.sort();
        if got != want {
            wrong.push(format!("{client_id} got {got:?} instead of {want:?}"));
        }
        let is_told = history.of(client_id).any(is_stop);
        if is_told != (script.version == Version::V5) {
            wrong.push(format!("{client_id} was told of the stop: {is_told}"));
        }
        let outcomes = history.of(client_id).filter(|event| is_acknowledged(event)).count();
        if outcomes != SAID.len() {
            wrong.push(format!("{client_id} knows of {outcomes} messages that they were taken"));
        }
    }
    wrong
}

fn is_stop(event: &Event) -> bool {
    matches!(&event.what, What::Received(Packet::Disconnect(disconnect))
        if disconnect.reason == Reason::ServerShuttingDown)
}

fn is_acknowledged(event: &Event) -> bool {
    matches!(event.what, What::Published(_, Outcome::Acknowledged(_)))
}

fn script(client_id: &str, version: Version, publishers: &[String]) -> Script {
    let [before, after] = SAID.map(|said| payload(client_id, said));
    let awaits = |said| publishers.iter().map(move |each| Step::Await(payload(each, said)));
    Script::new(client_id, version)
        .then([Step::Connect, Step::subscribe("said/#", QoS::ExactlyOnce), Step::Meet(1)])
        .then([Step::publish("said/before", &before, QoS::ExactlyOnce)])
        .then(awaits(SAID[0]))
        // Lost at the crash, here; all are back and subscribed when the third stage is reached.
        .then([Step::Meet(2), Step::Until(8_000), Step::Meet(3)])
        .then([Step::publish("said/after", &after, QoS::AtLeastOnce)])
        .then(awaits(SAID[1]))
        .then([Step::StayUntilClosed])
}

fn payload(publisher: &str, said: &str) -> String {
    format!("{publisher} {said}")
}
