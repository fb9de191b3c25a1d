//! The named scenarios, played on the whole broker: one run of each is a snapshot, and others
//! must go well.

use std::path::Path;

use stormpetrel_sim::scenarios::{ALL, Named};
use stormpetrel_sim::{History, Run, Scenario, lanes, machine_level, network_level, oracle};

/// Seeds of latencies and chaos that every scenario is played with.
const SEEDS: std::ops::Range<u64> = 0..8;

/// What the run came to, which must be right.
fn judged(name: &str, scenario: &Scenario, run: Run) -> History {
    let text = || format!("{name} {}:\n{}", scenario.seed, lanes(scenario, &run.history));
    assert_eq!(run.failure, None, "{}", text());
    let wrong = oracle::check(scenario, &run.history);
    let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{wrong:#?} in {}", text());
    run.history
}

fn assert_snapshot(named: &Named) {
    let scenario = (named.scenario)(1);
    let history = judged(named.name, &scenario, network_level::run(&scenario));
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(named.about);
    let lanes = lanes(&scenario, &history);
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
            judged(named.name, &scenario, network_level::run(&scenario));
        }
    }
}

#[test]
fn every_scenario_goes_well_on_the_machine_alone() {
    for named in ALL {
        for seed in SEEDS {
            let scenario = (named.scenario)(seed);
            if !scenario.broker.opinions.is_empty() {
                continue; // the machine alone asks nobody
            }
            judged(named.name, &scenario, machine_level::run(&scenario));
        }
    }
}
