//! Two clients, one of each version, subscribe at every QoS and publish to each other and to
//! themselves at every QoS: the simplest that must always work.

use stormpetrel::mqtt::types::{QoS, Version};

use crate::chaos::Chaos;
use crate::dice::Dice;
use crate::script::history::History;
use crate::script::scenario::{Fault, Planned, Scenario, Script, Step, Weather};

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
const CLIENTS: [(&str, Version); 2] = [("old", Version::V311), ("new", Version::V5)];

/// In fair weather.
pub(super) fn fair(seed: u64) -> Scenario {
    Scenario { zones: zones(1), ..Scenario::new(seed) }
}

/// In chaos, while links are held and released.
pub(super) fn stormy(seed: u64) -> Scenario {
    let mut dice = Dice::new(seed, "delivery in storms", 0);
    let latency_min = dice.between(0, 20);
    let weather = Weather {
        latency_min,
        latency_max: latency_min + dice.below(50),
        is_order_random: dice.chance(500),
        chaos: Chaos::drawn(&mut dice),
    };
    let mut faults = Vec::new();
    for zone in 0..CLIENTS.len() {
        let mut now = 0;
        for _ in 0..dice.below(4) {
            let start = now + dice.between(5, 500);
            now = start + dice.between(5, 500);
            faults.push(Planned { at: start, fault: Fault::Hold(zone) });
            faults.push(Planned { at: now, fault: Fault::Release(zone) });
        }
    }
    faults.sort_by_key(|planned| planned.at);
    Scenario { weather, zones: zones(5), faults, ..Scenario::new(seed) }
}

/// Every message of every client comes to both, once, and those of one publisher and one QoS in
/// the order published.
pub(super) fn check(scenario: &Scenario, history: &History) -> Vec<String> {
    let mut wrong = Vec::new();
    for (receiver, _) in CLIENTS {
        let received = history.payloads(receiver);
        for script in scenario.zones.iter().flatten() {
            for qos in QOS {
                let want = published(script, qos);
                let got = received.iter().filter(|payload| want.contains(payload));
                let got: Vec<_> = got.cloned().collect();
                if got != want {
                    wrong.push(format!("{receiver} got {got:?} instead of {want:?}"));
                }
            }
        }
        let all = scenario.zones.len() * QOS.len() * published(&scenario.zones[0][0], QOS[0]).len();
        if received.len() != all {
            wrong.push(format!("{receiver} got {} messages instead of {all}", received.len()));
        }
    }
    wrong
}

/// What a script publishes at that QoS, in order.
fn published(script: &Script, at: QoS) -> Vec<String> {
    let payload = |step: &Step| match step {
        Step::Publish { payload, qos, .. } if *qos == at => Some(payload.clone()),
        _ => None,
    };
    script.steps.iter().filter_map(payload).collect()
}

fn zones(rounds: u32) -> Vec<Vec<Script>> {
    CLIENTS.iter().map(|&(client_id, version)| vec![script(client_id, version, rounds)]).collect()
}

fn script(client_id: &str, version: Version, rounds: u32) -> Script {
    let subscribes = QOS.map(|qos| Step::subscribe(&format!("+/{}", qos.number()), qos));
    let publish = |round| {
        let topic = |qos: QoS| format!("{client_id}/{}", qos.number());
        QOS.map(|qos| Step::publish(&topic(qos), &payload(client_id, qos, round), qos))
    };
    let awaits = CLIENTS
        .map(|(publisher, _)| QOS.map(|qos| Step::Await(payload(publisher, qos, rounds - 1))));
    Script::new(client_id, version)
        .then([Step::Connect])
        .then(subscribes)
        .then([Step::Meet(1)])
        .then((0..rounds).flat_map(publish))
        .then(awaits.into_iter().flatten())
        .then([Step::Disconnect])
}

fn payload(publisher: &str, qos: QoS, round: u32) -> String {
    format!("{publisher}/{}/{round}", qos.number())
}
