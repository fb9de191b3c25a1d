//! The named scenarios, played on the whole broker: one run of each is a snapshot, and others
//! must go well.

use std::path::Path;

use stormpetrel_sim::scenarios::{ALL, Named};
use stormpetrel_sim::{Run, Scenario, lanes, network_level};

/// Seeds of latencies and chaos that every scenario is played with.
const SEEDS: std::ops::Range<u64> = 0..8;

/// A run that did not fail whatever its history says.
fn play(scenario: &Scenario, name: &str) -> Run {
    let run = network_level::run(scenario);
    assert_eq!(run.failure, None, "{name} {}:\n{}", scenario.seed, lanes(scenario, &run.history));
    run
}

fn assert_snapshot(named: &Named) {
    let scenario = (named.scenario)(1);
    let run = play(&scenario, named.name);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(named.about);
    let lanes = lanes(&scenario, &run.history);
    settings.bind(|| insta::assert_snapshot!(format!("network-{}", named.name), lanes));
}

#[test]
fn one_run_of_each_is_as_it_was() {
    ALL.iter().for_each(assert_snapshot);
}

#[test]
fn every_scenario_goes_well_in_every_weather() {
    for named in ALL {
        for seed in SEEDS {
            let mut scenario = (named.scenario)(seed);
            scenario.weather.chaos = [0, 100, 800][seed as usize % 3];
            play(&scenario, named.name);
        }
    }
}
