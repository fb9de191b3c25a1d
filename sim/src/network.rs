//! The network in simulation: turmoil's, in chaos, in the place of TCP.
//!
//! The broker gets it as its `Network`; clients connect through it. Counts connections, so that
//! each has its own dice. What hosts do to bytes between them is turmoil's; how much is on its
//! way, and what ends a connection, is in `link.rs`; what streams do to bytes, in `chaos.rs`.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use stormpetrel::config::Endpoint;
use stormpetrel::server::{Effect, Network, Peer};
use turmoil::net::{TcpListener, TcpStream};

use crate::chaos::{Chaos, Chaotic};
use crate::dice::Dice;
use crate::link::{End, Linked, Links};
use crate::proxies::on_the_network;

/// A connection of the simulation.
pub type SimStream = Linked<Chaotic<TcpStream>>;

/// The network of one side. Clones count their connections together.
#[derive(Clone, Debug)]
pub struct SimNetwork {
    seed: u64,
    end: End,
    chaos: Chaos,
    connections: Arc<AtomicU64>,
    /// Attempts to accept one.
    attempts: Arc<AtomicU64>,
    links: Links,
    wall: WallClock,
}

/// The wall clock of the broker's machine: simulated time, and so many milliseconds that it was
/// set forward. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct WallClock(Arc<AtomicI64>);

impl WallClock {
    /// Sets it so many milliseconds forward; below 0: back.
    pub(crate) fn set(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Milliseconds since the Unix epoch. On a host of the simulation only.
    pub(crate) fn unix_millis(&self) -> u64 {
        unix_millis().saturating_add_signed(self.0.load(Ordering::Relaxed))
    }
}

impl SimNetwork {
    /// The broker's side.
    pub fn new(seed: u64, chaos: Chaos) -> SimNetwork {
        SimNetwork {
            seed,
            end: End::Broker,
            chaos,
            connections: Arc::new(AtomicU64::new(0)),
            attempts: Arc::new(AtomicU64::new(0)),
            links: Links::new(seed),
            wall: WallClock::default(),
        }
    }

    /// The clients' side of the same network, with dice of its own.
    #[must_use]
    pub fn of_clients(&self) -> SimNetwork {
        SimNetwork {
            end: End::Client,
            connections: Arc::new(AtomicU64::new(0)),
            attempts: Arc::new(AtomicU64::new(0)),
            links: self.links.clone(),
            wall: self.wall.clone(),
            ..*self
        }
    }

    /// All its connections.
    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    /// The wall clock of the broker's machine.
    pub(crate) fn wall(&self) -> &WallClock {
        &self.wall
    }

    /// Connects to a host of the simulation. Safe to cancel.
    ///
    /// # Errors
    /// Nobody listens there, or the link is cut.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<SimStream> {
        let stream = TcpStream::connect((host, port)).await?;
        let address = stream.local_addr()?;
        Ok(self.in_chaos(stream, address))
    }

    /// Why the next attempt to accept a connection fails, if it does: that one was given up, or there
    /// is no descriptor for any.
    fn failed_accept(&self) -> Option<io::Error> {
        let ordinal = self.attempts.fetch_add(1, Ordering::Relaxed);
        let mut dice = Dice::new(self.seed, "attempts to accept", ordinal);
        let kind = dice.one_of(&[io::ErrorKind::ConnectionAborted, io::ErrorKind::Other]);
        dice.chance(self.chaos.failed_accepts).then(|| kind.into())
    }

    fn in_chaos(&self, stream: TcpStream, client: SocketAddr) -> SimStream {
        let ordinal = self.connections.fetch_add(1, Ordering::Relaxed);
        let purpose = match self.end {
            End::Client => "chaos of clients",
            End::Broker => "chaos of the broker",
        };
        let chaotic = Chaotic::new(stream, self.chaos, Dice::new(self.seed, purpose, ordinal));
        Linked::new(chaotic, self.links.of(client), self.end, self.links.clone())
    }
}

impl Network for SimNetwork {
    type Listener = TcpListener;
    type Accepted = TcpStream;
    type Stream = SimStream;

    async fn bind(&self, endpoint: &Endpoint) -> io::Result<Vec<TcpListener>> {
        let Endpoint::Tcp(bind) = endpoint else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "hosts share no files here"));
        };
        let address = match &bind.host {
            None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            // No names are looked up here; turmoil binds all interfaces and the loopback only.
            Some(host) => host.parse().map_err(io::Error::other)?,
        };
        Ok(vec![TcpListener::bind((address, bind.port)).await?])
    }

    fn address(&self, listener: &TcpListener) -> io::Result<Option<SocketAddr>> {
        listener.local_addr().map(Some)
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, Peer)> {
        if let Some(error) = self.failed_accept() {
            return Err(error);
        }
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer.into()))
    }

    fn adopt(&self, accepted: TcpStream) -> io::Result<SimStream> {
        let client = accepted.peer_addr()?;
        Ok(self.in_chaos(accepted, client))
    }

    fn connect(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<SimStream>> + 'static {
        let (network, host) = (self.clone(), host.to_owned());
        async move { SimNetwork::connect(&network, &host, port).await }
    }

    fn date(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.wall.unix_millis()))
    }

    fn took_effect(&self, peer: Peer, effect: Effect) {
        if let Peer::Tcp(client) = peer {
            self.links().take_effect(on_the_network(client), effect);
        }
    }

    /// On the host's own list of local tasks. `tokio::spawn` would keep them in an order that
    /// depends on how many tasks this process ever started; at a crash they die in that order,
    /// and the run is no longer the same.
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }
}

/// Simulated time since the Unix epoch, in milliseconds. On a host of the simulation only.
pub(crate) fn unix_millis() -> u64 {
    let time = turmoil::since_epoch().expect("called by a task of a host");
    u64::try_from(time.as_millis()).expect("the simulation is not in the far future")
}
