//! The broker crashes and comes up again without what it knew, and its clients find back. At
//! the end it is stopped under them.

use stormpetrel::mqtt::types::{QoS, Reason, Version};
use stormpetrel::mqtt::wire::Packet;

use crate::chaos::Chaos;
use crate::dice::Dice;
use crate::history::{Event, History, Outcome, What};
use crate::scenario::{Fault, Planned, Scenario, Script, Step};

const CLIENTS: [(&str, Version); 2] = [("old", Version::V311), ("new", Version::V5)];
/// What is said before the crash, and after it.
const SAID: [&str; 2] = ["before", "after"];

pub(super) fn draw(seed: u64) -> Scenario {
    let mut dice = Dice::new(seed, "restart", 0);
    let crash = dice.between(2_000, 2_500);
    let restart = crash + dice.between(5, 3_000);
    let faults = [(crash, Fault::Crash), (restart, Fault::Restart), (12_000, Fault::Stop)];
    let mut scenario = Scenario::new(seed);
    scenario.weather.chaos = Chaos::drawn(&mut dice);
    scenario.faults = faults.map(|(at, fault)| Planned { at, fault }).into();
    scenario.zones = CLIENTS.map(|(client_id, version)| vec![script(client_id, version)]).into();
    scenario
}

/// Everybody gets what was said before the crash and after it, each once; and the client that
/// can be told so is told that the broker stops.
pub(super) fn check(_: &Scenario, history: &History) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut want: Vec<_> = CLIENTS
        .iter()
        .flat_map(|(publisher, _)| SAID.map(|said| payload(publisher, said)))
        .collect();
    want.sort();
    for (client_id, version) in CLIENTS {
        let mut got = history.payloads(client_id);
        got.sort();
        if got != want {
            wrong.push(format!("{client_id} got {got:?} instead of {want:?}"));
        }
        let is_told = history.of(client_id).any(is_stop);
        if is_told != (version == Version::V5) {
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

fn script(client_id: &str, version: Version) -> Script {
    let [before, after] = SAID.map(|said| payload(client_id, said));
    let awaits = |said| CLIENTS.map(|(publisher, _)| Step::Await(payload(publisher, said)));
    Script::new(client_id, version)
        .then([Step::Connect, Step::subscribe("said/#", QoS::ExactlyOnce), Step::Meet(1)])
        .then([Step::publish("said/before", &before, QoS::ExactlyOnce)])
        .then(awaits(SAID[0]))
        // Lost at the crash, here; both are back and subscribed when the third stage is reached.
        .then([Step::Meet(2), Step::Until(8_000), Step::Meet(3)])
        .then([Step::publish("said/after", &after, QoS::AtLeastOnce)])
        .then(awaits(SAID[1]))
        .then([Step::StayUntilClosed])
}

fn payload(publisher: &str, said: &str) -> String {
    format!("{publisher} {said}")
}
