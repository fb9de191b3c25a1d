//! Stormpetrel on a simulated network: the whole shell and the machine, replayed from one seed.
//!
//! A [`Scenario`] is data: scripts of clients, what happens to the network and to the broker,
//! and one number that everything random comes from. [`run`] plays it, and its [`Run`] says
//! what each client asked and saw. The same scenario gives the same run, byte for byte.
//!
//! Read `scenario.rs` (what there is to play), `run.rs` (the loop around turmoil), `client.rs`
//! (the other end of the wire). Below them: `network.rs` and `chaos.rs` (what takes the place of
//! TCP), `dice.rs` (all randomness), `panics.rs`. Named scenarios are in `scenarios/`. The
//! broker's session code is nowhere used here: a fault must not agree with itself.

mod chaos;
mod client;
mod connection;
mod dice;
mod history;
mod line;
mod network;
mod panics;
mod run;
mod scenario;
pub mod scenarios;
mod stages;

pub use chaos::{Chaos, Chaotic};
pub use dice::Dice;
pub use history::{Event, History, Loss, Outcome, What};
pub use network::SimNetwork;
pub use run::{Failure, Run, run};
pub use scenario::{Fault, Planned, Scenario, Script, Step, Weather};
