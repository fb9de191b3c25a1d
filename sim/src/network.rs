//! The network in simulation: turmoil's, in chaos, in the place of TCP.
//!
//! The broker gets it as its `Network`; clients connect through it. Counts connections, so that
//! each has its own dice. What the links do to bytes is turmoil's; what happens to links, the
//! scenario's.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stormpetrel::config::Bind;
use stormpetrel::server::Network;
use turmoil::net::{TcpListener, TcpStream};

use crate::chaos::{Chaos, Chaotic};
use crate::dice::Dice;

/// The network of one side. Clones count their connections together.
#[derive(Clone, Debug)]
pub struct SimNetwork {
    seed: u64,
    side: &'static str,
    chaos: Chaos,
    connections: Arc<AtomicU64>,
}

impl SimNetwork {
    /// The network of that side: each side has dice of its own.
    pub fn new(seed: u64, side: &'static str, chaos: Chaos) -> SimNetwork {
        SimNetwork { seed, side, chaos, connections: Arc::new(AtomicU64::new(0)) }
    }

    /// Connects to a host of the simulation. Safe to cancel.
    ///
    /// # Errors
    /// Nobody listens there, or the link is cut.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<Chaotic<TcpStream>> {
        let stream = TcpStream::connect((host, port)).await?;
        Ok(self.in_chaos(stream))
    }

    fn in_chaos(&self, stream: TcpStream) -> Chaotic<TcpStream> {
        let ordinal = self.connections.fetch_add(1, Ordering::Relaxed);
        Chaotic::new(stream, self.chaos, Dice::new(self.seed, self.side, ordinal))
    }
}

impl Network for SimNetwork {
    type Listener = TcpListener;
    type Accepted = TcpStream;
    type Stream = Chaotic<TcpStream>;

    async fn bind(&self, bind: &Bind) -> io::Result<Vec<TcpListener>> {
        let address = match &bind.host {
            None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            // No names are looked up here; turmoil binds all interfaces and the loopback only.
            Some(host) => host.parse().map_err(io::Error::other)?,
        };
        Ok(vec![TcpListener::bind((address, bind.port)).await?])
    }

    fn address(&self, listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        listener.accept().await
    }

    fn adopt(&self, accepted: TcpStream) -> io::Result<Chaotic<TcpStream>> {
        Ok(self.in_chaos(accepted))
    }

    /// On the host's own list of local tasks. `tokio::spawn` would keep them in an order that
    /// depends on how many tasks this process ever started; at a crash they die in that order,
    /// and the run is no longer the same.
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }
}

/// Simulated time since the run began. On a host of the simulation only: elsewhere it would
/// silently be the real clock.
pub(crate) fn elapsed() -> Duration {
    turmoil::sim_elapsed().expect("called by a task of a host")
}

/// Simulated time since the Unix epoch, in milliseconds. On a host of the simulation only.
pub(crate) fn unix_millis() -> u64 {
    let time = turmoil::since_epoch().expect("called by a task of a host");
    u64::try_from(time.as_millis()).expect("the simulation is not in the far future")
}
