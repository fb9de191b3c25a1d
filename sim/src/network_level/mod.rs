//! The network level: the production shell, unchanged, on turmoil's network, and the clients'
//! bytes through streams in chaos.
//!
//! The same scenarios, the same clients and the same history as at the machine level; here they
//! also meet framing, back pressure, half-open connections, timeouts, start and stop. One host
//! is the broker, a few others ("zones") have the clients' connections. `stage.rs` is the loop
//! around turmoil, `broker.rs` the host of the broker, `faults.rs` and `trouble.rs` what goes wrong, `liveness.rs`
//! the phase after, `wire.rs` one connection as its client's host has it, `layers.rs` and `frames.rs` what its
//! MQTT travels in, `arrivals.rs` when requests reach the broker, `log_size.rs` how large its log may be.

mod arrivals;
mod broker;
mod faults;
mod frames;
mod keeping_up;
mod layers;
mod liveness;
mod log_size;
mod stage;
mod trouble;
mod wire;

use std::borrow::Cow;

use crate::link::End;
use crate::panics::Watch;
use crate::scenario::{ClientIndex, Scenario};
use crate::verdict::{Promise, Run, Violation};
use stage::Stage;

/// Ends a connection after a byte that no scenario can name: for sweeps over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tear {
    /// Whose first connection.
    pub client: ClientIndex,
    /// Bytes that still arrive.
    pub bytes: usize,
    /// Whether these are bytes from the broker; else they are to it.
    pub is_from_broker: bool,
}

impl Tear {
    fn end(self) -> End {
        if self.is_from_broker { End::Client } else { End::Broker }
    }
}

/// Plays the scenario on this thread.
pub fn run(scenario: &Scenario) -> Run {
    run_torn(scenario, None)
}

/// Plays the scenario on this thread, and tears a connection at a byte.
pub fn run_torn(scenario: &Scenario, tear: Option<Tear>) -> Run {
    let watch = Watch::start();
    let mut stage = Stage::new(scenario, tear, &watch);
    let failure = stage.play().err();
    let brokers = stage.brokers();
    let mut run = stage.end();
    let failure = failure.or_else(|| watch.violation());
    run.failure = failure.or_else(|| brokers.leaked().err()).or_else(|| brokers.found_all().err());
    run
}

fn violation(
    promise: Promise,
    rule: impl Into<Cow<'static, str>>,
    words: impl Into<String>,
) -> Violation {
    Violation { promise, rule: rule.into(), client: None, words: words.into(), events: Vec::new() }
}
