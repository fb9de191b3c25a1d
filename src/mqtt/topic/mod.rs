//! Topics: names that messages are published to, filters that subscriptions are made with, and
//! the trees that bring both together (MQTT 5.0, section 4.7).
//!
//! Knows nothing of sessions or messages. `name.rs` and `filter.rs` parse; `tree/` matches.

mod filter;
mod name;
pub mod tree;

pub use filter::{Filter, FilterError, SharedFilter, TopicFilter};
pub use name::{NameError, TopicName};
