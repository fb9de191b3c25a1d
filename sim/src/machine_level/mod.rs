//! The machine level: the state machine alone, driven by a queue of events.
//!
//! No sockets, no bytes, no tasks: packets travel with latencies drawn from the scenario's seed,
//! and time is the queue's. Fast, so breadth belongs here; the shell is the network level's.
//! `stage.rs` plays, `arrivals.rs` is what comes to the broker, `faults.rs` is what goes wrong, `liveness.rs` the phase after; `links.rs`
//! is the network, `broker.rs` the machine at the other end of it, `clock.rs` its clocks.

mod arrivals;
mod broker;
mod clock;
mod faults;
mod links;
mod liveness;
mod log;
mod queue;
mod stage;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::panics::Watch;
use crate::scenario::Scenario;
use crate::verdict::Run;
use stage::Stage;

/// Plays the scenario on this thread.
pub fn run(scenario: &Scenario) -> Run {
    let watch = Watch::start();
    let mut stage = Stage::new(scenario);
    let played = catch_unwind(AssertUnwindSafe(|| stage.play()));
    let failure = played.err().and_then(|_| watch.violation());
    Run { elapsed_ms: stage.now(), history: stage.history, failure, marks: stage.marks }
}
