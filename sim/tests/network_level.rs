//! The network level over a fixed set of seeds: nothing panics, the broker always stops and
//! leaves nothing behind, and the same seed gives the same run.

use std::ops::Range;

use stormpetrel_sim::{Mark, Marks, Plan, Scenario, lanes, network_level};

/// Plays the seeds; what they met.
fn sweep(seeds: Range<u64>) -> Marks {
    let mut marks = Marks::default();
    for seed in seeds {
        let scenario = Plan::drawn(seed).scenario();
        let run = network_level::run(&scenario);
        assert_eq!(run.failure, None, "seed {seed}:\n{}", lanes(&scenario, &run.history));
        marks.add(&run.marks);
    }
    marks
}

#[test]
fn nothing_panics_and_nearly_every_rare_situation_is_met() {
    let marks = std::thread::scope(|scope| {
        let halves = [0..150, 150..300].map(|seeds| scope.spawn(|| sweep(seeds)));
        let mut marks = Marks::default();
        for half in halves {
            marks.add(&half.join().expect("it says what failed"));
        }
        marks
    });
    let mut missed = marks.missed();
    // Here the shell pulls as much as streams take.
    missed.retain(|mark| *mark != Mark::PulledInParts);
    assert!(missed.is_empty(), "never met: {missed:?}\n{marks}");
}

#[test]
fn the_same_seed_gives_the_same_run_after_others() {
    let hash = |seed: u64| network_level::run(&Plan::drawn(seed).scenario()).history.hash();
    let first: Vec<u64> = (0..40).map(hash).collect();
    (0..40).rev().for_each(|seed| assert_eq!(hash(seed), first[seed as usize], "seed {seed}"));
}

#[test]
fn a_scenario_without_some_of_it_is_a_scenario() {
    for seed in 0..40 {
        let whole = Plan::drawn(seed).scenario();
        let half = Scenario {
            ops: whole.ops.iter().skip(1).step_by(2).cloned().collect(),
            clients: whole.clients[..whole.clients.len().div_ceil(2)].to_vec(),
            faults: whole.faults.iter().skip(1).copied().collect(),
            ..whole
        };
        assert_eq!(network_level::run(&half).failure, None, "seed {seed}");
    }
}
