//! A broker of its own for each test, on a port that the system chose.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use stormpetrel::Broker;
use stormpetrel::config::{Bind, Config, Listener};

/// A broker that runs until it is dropped.
pub(crate) struct Running {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    _broker: Broker,
}

/// A broker with default settings.
pub(crate) async fn start() -> Running {
    start_with(Config::default()).await
}

/// A broker with these settings; its listener is always on a free port of this machine. Two
/// threads, so that clients meet on different ones.
pub(crate) async fn start_with(config: Config) -> Running {
    let listener = Listener::tcp("default", Bind { host: Some("127.0.0.1".to_owned()), port: 0 });
    let config = Config { listeners: vec![listener], ..config };
    let workers = NonZeroU16::new(2).expect("not zero");
    let broker = Broker::new(config).workers(workers).start().await.expect("the broker starts");
    let address = broker.addresses()[0];
    Running { address, _broker: broker }
}
