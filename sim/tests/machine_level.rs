//! The machine level over a fixed set of seeds: every promise is kept, every rare situation is
//! met, and the same seed gives the same run.

use stormpetrel_sim::sweep::{Sweep, first_difference};
use stormpetrel_sim::{Plan, Scenario, machine_level, oracle};

#[test]
fn every_promise_is_kept_and_every_rare_situation_is_met() {
    let sweep = Sweep::over(0..20_000, |scenario, run| {
        oracle::check(scenario, &run.history).into_iter().next()
    });
    assert!(sweep.failures.is_empty(), "{:#?}", sweep.failures);
    assert!(sweep.marks.missed().is_empty(), "never met:\n{}", sweep.marks);
}

#[test]
fn the_same_seed_gives_the_same_run_after_others_and_on_other_threads() {
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert_eq!(first_difference(0..300), None));
        }
    });
    let run = |seed| machine_level::run(&Plan::drawn(seed).scenario()).history.hash();
    assert_ne!(run(1), run(2));
}

#[test]
fn the_hash_of_a_run_is_that_of_every_process() {
    let hash = |seed| machine_level::run(&Plan::drawn(seed).scenario()).history.hash();
    let hashes: Vec<String> = (0..3).map(|seed| format!("{:016x}", hash(seed))).collect();
    let child = std::process::Command::new(std::env::current_exe().expect("it runs"))
        .args(["--exact", "hashes_for_another_process", "--nocapture"])
        .output()
        .expect("it runs now");
    let said = String::from_utf8_lossy(&child.stderr).into_owned();
    for hash in hashes {
        assert!(said.contains(&hash), "{hash} is not in {said}");
    }
}

#[test]
fn hashes_for_another_process() {
    use std::io::Write;
    for seed in 0..3 {
        let run = machine_level::run(&Plan::drawn(seed).scenario());
        let line = format!("{:016x}\n", run.history.hash());
        std::io::stderr().write_all(line.as_bytes()).expect("stderr is open");
    }
}

#[test]
fn a_scenario_without_some_of_it_is_a_scenario() {
    for seed in 0..200 {
        let whole = Plan::drawn(seed).scenario();
        let half = Scenario {
            ops: whole.ops.iter().skip(1).step_by(2).cloned().collect(),
            clients: whole.clients[..whole.clients.len().div_ceil(2)].to_vec(),
            faults: whole.faults.iter().skip(1).copied().collect(),
            ..whole
        };
        assert_eq!(machine_level::run(&half).failure, None, "seed {seed}");
    }
}
