//! Many seeds, one after the other: what failed, and which rare situations were met.
//!
//! Plays at the machine level. Who runs sweeps in parallel, and prints them, is the command's.

use std::ops::Range;

use crate::machine_level;
use crate::marks::Marks;
use crate::plan::Plan;
use crate::scenario::Scenario;
use crate::verdict::{Run, Violation};

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// How many were played.
    pub seeds: u64,
    /// How many operations they had.
    pub ops: u64,
    /// How many events they made.
    pub events: u64,
    /// The rare situations of all of them.
    pub marks: Marks,
    /// Which failed, and the first thing that was wrong.
    pub failures: Vec<(u64, Violation)>,
}

impl Sweep {
    /// Plays the seeds; `judge` says what else is wrong with a run, first of all things first.
    pub fn over(seeds: Range<u64>, judge: impl Fn(&Scenario, &Run) -> Option<Violation>) -> Sweep {
        let mut sweep = Sweep::default();
        for seed in seeds {
            let scenario = Plan::drawn(seed).scenario();
            let mut run = machine_level::run(&scenario);
            let wrong = run.failure.take().or_else(|| judge(&scenario, &run));
            sweep.failures.extend(wrong.map(|violation| (seed, violation)));
            sweep.seeds += 1;
            sweep.ops += scenario.ops.len() as u64;
            sweep.events += run.history.events().len() as u64;
            sweep.marks.add(&run.marks);
        }
        sweep
    }
}

/// Whether runs repeat: plays the seeds, then the seeds once more, each after all others. The
/// first that does not, if any.
pub fn first_difference(seeds: Range<u64>) -> Option<u64> {
    let hash = |seed: u64| {
        let run = machine_level::run(&Plan::drawn(seed).scenario());
        (run.history.hash(), run.history.events().len(), run.elapsed_ms)
    };
    let first: Vec<_> = seeds.map(|seed| (seed, hash(seed))).collect();
    let differs = first.iter().rev().find(|(seed, first)| hash(*seed) != *first);
    differs.map(|(seed, _)| *seed)
}
