//! Measures the network level: seeds, operations and simulated time in a second, on one thread.

#![expect(clippy::disallowed_methods, reason = "it measures real time")]

use std::io::{self, Write};
use std::time::Instant;

use stormpetrel_sim::{Plan, Scenario, network_level, scenarios};

fn main() -> io::Result<()> {
    let drawn: Vec<Scenario> = (0..300).map(|seed| Plan::drawn(seed).scenario()).collect();
    let swarm = scenarios::find("swarm").expect("one of the named").scenario;
    let swarms: Vec<Scenario> = (0..50).map(swarm).collect();
    for (name, scenarios) in [("drawn", drawn), ("swarm", swarms)] {
        let start = Instant::now();
        let runs: Vec<_> = scenarios.iter().map(network_level::run).collect();
        let secs = start.elapsed().as_secs_f64();
        let ops: usize = scenarios.iter().map(|scenario| scenario.ops.len()).sum();
        let simulated: u64 = runs.iter().map(|run| run.elapsed_ms / 1_000).sum();
        let failed = runs.iter().filter(|run| run.failure.is_some()).count();
        let per_second = |count: f64| count / secs;
        writeln!(
            io::stdout(),
            "{name}: a second has {:.0} runs, {:.0} operations, {:.0} simulated seconds; {failed} failed",
            per_second(runs.len() as f64),
            per_second(ops as f64),
            per_second(simulated as f64),
        )?;
    }
    Ok(())
}
