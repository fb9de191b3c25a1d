//! Everything at once.

use super::cast::{Cast, lasting};
use crate::dice::Dice;
use crate::scenario::{Action, Connect, FaultKind, Qos, Scenario, Way};

const TOPICS: [&str; 5] = ["a", "a/b", "a/b/c", "d/e", "d"];
const FILTERS: [&str; 7] = ["#", "a/#", "+/b", "d/+", "a", "$share/g/a/#", "$share/g/#"];

pub(super) fn swarm(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let mut dice = Dice::new(seed, "swarm", 0);
    cast.scenario.weather.latency_max_ms = 30;
    cast.scenario.weather.spikes = 20;
    let clients: Vec<usize> = (0..12)
        .map(|at| {
            let name = format!("client-{}", at % 11);
            if at % 3 == 0 { cast.old_client(&name) } else { cast.new_client(&name) }
        })
        .collect();
    for &client in &clients {
        cast.resume(client);
    }
    cast.after(200);
    for _ in 0..300 {
        let client = dice.one_of(&clients);
        let action = drawn(&mut cast, &mut dice);
        cast.act(client, action).after(dice.below(60));
    }
    let faults = [
        FaultKind::Hold { zone: 0, for_ms: 900, way: Way::Both },
        FaultKind::Cut { zone: 1 },
        FaultKind::Partition { zone: 2, for_ms: 1_200 },
        FaultKind::Crash { down_ms: 300, kept: 0 },
        FaultKind::Cut { zone: 0 },
    ];
    for (number, fault) in (1..).zip(faults) {
        cast.at(number * 1_300).fault(fault);
    }
    cast.done()
}

fn drawn(cast: &mut Cast, dice: &mut Dice) -> Action {
    let qos = dice.one_of(&Qos::ALL);
    match dice.below(100) {
        0..50 => {
            let mut publish = cast.message(dice.one_of(&TOPICS), qos);
            publish.retain = dice.chance(150);
            Action::Publish(publish)
        }
        50..65 => super::cast::subscribe(dice.one_of(&FILTERS), qos),
        65..85 => {
            let will = if dice.chance(200) { cast.will("a/b", qos, 0) } else { None };
            let clean_start = dice.chance(150);
            Action::Connect(Connect { will, clean_start, keep_alive_s: 2, ..lasting() })
        }
        85..90 => Action::Cut,
        90..93 => Action::HalfOpen,
        93..95 => Action::Pause,
        95..97 => Action::Resume,
        97 => Action::Garble,
        _ => Action::Disconnect { reason: 0, expiry_s: None },
    }
}
