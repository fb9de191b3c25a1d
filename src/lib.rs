//! Stormpetrel: an MQTT 3.1.1 and 5.0 broker whose every decision can be replayed.
//!
//! This crate is the broker as a library. A program that embeds it builds a [`Broker`] from a
//! configuration, starts it, and may publish and subscribe without a socket in between:
//!
//! ```
//! use stormpetrel::Broker;
//! use stormpetrel::mqtt::types::QoS;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let yaml = "listeners: {default: {type: tcp, bind: '127.0.0.1:0'}}";
//! let broker = Broker::from_yaml(yaml)?.start().await?;
//! let mut news = broker.subscribe("news/#", QoS::AtLeastOnce).await?;
//!
//! broker.publish("news/weather", "storm", QoS::AtLeastOnce, false).await?;
//! let message = news.recv().await.expect("the broker runs");
//! assert_eq!(&message.payload[..], b"storm");
//!
//! println!("clients come in at {:?}", broker.addresses());
//! assert!(broker.shut_down_and_wait().await, "all is kept");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The map
//!
//! Dependence runs one way, from the top of this list to its end.
//!
//! | module | what it is |
//! |---|---|
//! | [`Broker`] | the embedding API |
//! | [`server`] | the shell: sockets, time and threads around the machine |
//! | [`config`] | the YAML that people write, and what it means |
//! | [`machine`] | every decision, in one deterministic state machine |
//! | [`store`] | what survives: a durable log of records |
//! | [`access`] | who may connect, and what they may do then |
//! | [`mqtt`] | the protocol: values, topics, messages, packets |
//!
//! # A message's journey
//!
//! `server/connection.rs` reads, once, whatever there is. `mqtt/wire` decodes every whole packet
//! of it. The machine is visited once with all of them: `machine/route.rs` checks the message,
//! finds who is subscribed (`machine/subscriptions.rs`), queues it in each session
//! (`machine/session/outbound.rs`) and acknowledges it. In the same visit the connections that
//! now have something to send are pulled (`machine/session/transmit.rs`); then the machine is
//! free again, and what was pulled is encoded and written, one write for each connection.

pub mod access;
mod broker;
pub mod config;
pub mod machine;
pub mod mqtt;
#[cfg(not(feature = "plants"))]
mod plant;
#[cfg(feature = "plants")]
pub mod plant;
pub mod server;
pub mod store;

pub use broker::{Broker, Builder, PublishError, SubscribeError, Subscription};
