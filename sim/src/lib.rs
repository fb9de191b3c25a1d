//! Stormpetrel in simulation: played from one seed, judged by an oracle that knows MQTT and
//! nothing of the broker.
//!
//! A seed makes a [`Plan`] (all knobs), the plan a [`Scenario`] (pure data: who does what when,
//! and what goes wrong), and a level plays that. The machine level drives the state machine alone
//! with packets, thousands of scenarios a second; the network level runs the whole shell on a
//! simulated network. Both give a [`Run`]: the [`History`] of what clients asked and saw. The same
//! scenario gives the same run, byte for byte.
//!
//! | function | what it does |
//! |---|---|
//! | `Plan::drawn(seed: u64) -> Plan`, `Plan::scenario(&self) -> Scenario` | what to play |
//! | `machine_level::run(&Scenario) -> Run` | plays it on the machine alone |
//! | `network_level::run(&Scenario) -> Run` | plays it on the whole broker |
//! | `oracle::check(&Scenario, &History) -> Vec<Violation>` | what is wrong with it |
//! | `shrink::shrink(&Scenario, &Class, &mut dyn FnMut(&Scenario) -> Vec<Violation>) -> Scenario` | the smallest scenario that fails in the same way |
//! | `report::..` | the failure, for people |
//!
//! Read `scenario.rs` (what there is to play), `history.rs` (what came of it), `verdict.rs` (what
//! is wrong), then `machine_level.rs`. Below them: `plan.rs`, `generate.rs`, `marks.rs` (rare
//! situations), `dice.rs` (all randomness), `codec/` (MQTT's bytes by another hand than the
//! broker's), `network.rs` and `chaos.rs` (what takes the place of
//! TCP), `cryptography.rs` (TLS from a seed), `disk.rs` (what takes the place of files),
//! `panics.rs`. The broker's session code is nowhere used here: a fault must not agree with
//! itself.

pub mod access;
mod chaos;
pub mod client;
mod codec;
mod cryptography;
mod dice;
mod disk;
mod focus;
mod generate;
mod history;
mod lanes;
mod link;
mod log;
pub mod machine_level;
mod marks;
mod network;
pub mod network_level;
pub mod oracle;
mod panics;
mod plan;
#[cfg(feature = "plants")]
pub mod plants;
mod properties;
mod proxies;
pub mod report;
mod scenario;
pub mod scenarios;
mod scenes;
pub mod shrink;
mod survival;
pub mod sweep;
mod transport;
mod turns;
mod verdict;
mod wall;
mod watcher;

pub use chaos::{Arriving, Chaos, Chaotic};
pub use dice::Dice;
pub use disk::{DiskWeather, SimDisk, SimFile, Survivors};
pub use history::{
    Ack, AckKind, Asked, ClosedBy, Digest, Event, Granted, History, Outcome, PublishAsked,
    PublishSaw, Saw, What,
};
pub use lanes::lanes;
pub use link::Linked;
pub use log::{Logged, keeping_log};
pub use marks::{Mark, Marks};
pub use network::{SimNetwork, SimStream};
pub use plan::{Actions, FaultWeights, Plan, PropertyRates};
pub use properties::Properties;
pub use scenario::{
    AckPolicy, Action, Breach, Broker, Client, ClientIndex, Connect, Door, Fault, FaultKind,
    Manners, MessageNumber, NoQos, Op, ProtocolVersion, Publish, Qos, Scenario, Subscribe,
    Subscription, Way, Weather, Will,
};
pub use survival::{Durability, Health, Store, Trouble};
pub use transport::{Certificate, Transport};
pub use verdict::{Class, Promise, Run, Violation};
