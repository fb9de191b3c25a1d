//! Stormpetrel: an MQTT 3.1.1 and 5.0 broker whose every decision can be replayed.
mod broker;
pub mod config;
pub mod machine;
pub mod mqtt;
pub mod server;

pub use broker::{Broker, Builder, PublishError, SubscribeError, Subscription};
