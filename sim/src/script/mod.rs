//! Scripted scenarios on the simulated network: each client follows steps and waits for each.
//!
//! Older than the plans of `plan.rs`, and apart from them: it has its own scenario, history and
//! client, and no oracle but what each named scenario checks. Read `scenario.rs` (what there is
//! to play), `run.rs` (the loop around turmoil), `client.rs` (the other end of the wire).

mod client;
mod connection;
mod history;
mod line;
mod run;
mod scenario;
pub mod scenarios;
mod stages;

pub use history::{Event, History, Loss, Outcome, What};
pub use run::{Failure, Run, run};
pub use scenario::{Fault, Planned, Scenario, Script, Step, Weather};
