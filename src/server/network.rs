//! The network as the shell sees it: the seam where a simulator takes the place of sockets.
//!
//! Only a trait. Everything the shell does on a network, every task that it starts, and what it
//! asks of the operating system goes through it. `sockets.rs` is the real one; the simulator brings its own.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::load::Usage;
use super::peer::Peer;
use crate::access::{Compute, Inline};
use crate::config::Endpoint;

/// What took effect of all that came on one connection, in the order in which it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// So many more packets. Bytes that are no packet count as one.
    Packets(usize),
    /// The end.
    End,
}

/// Accepts connections and runs tasks.
pub trait Network: Clone + Send + Sync + 'static {
    /// A bound endpoint.
    type Listener: 'static;
    /// A connection that belongs to no worker yet, so that it can move to another thread.
    type Accepted: Send + 'static;
    /// A connection at home on its worker's thread.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Binds the endpoint: one listener, or two where "all interfaces" takes one for each
    /// version of IP.
    ///
    /// # Errors
    /// The host is not known, the address or the file cannot be had, or this network has no such
    /// endpoints.
    fn bind(&self, endpoint: &Endpoint) -> impl Future<Output = io::Result<Vec<Self::Listener>>>;

    /// The address that is really bound, with the port that the system chose; none if it is no
    /// address of the network.
    ///
    /// # Errors
    /// The operating system's.
    fn address(&self, listener: &Self::Listener) -> io::Result<Option<SocketAddr>>;

    /// The next connection, and where it comes from. Safe to cancel.
    ///
    /// # Errors
    /// This connection failed, or the process is out of something; the listener goes on.
    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Accepted, Peer)>>;

    /// Makes the connection at home on this thread.
    ///
    /// # Errors
    /// The connection is of no use.
    fn adopt(&self, accepted: Self::Accepted) -> io::Result<Self::Stream>;

    /// Connections that there may be at once, so that the process does not run out of what it
    /// needs for all else. `usize::MAX`: nothing is known about that.
    fn room(&self) -> usize {
        usize::MAX
    }

    /// Connects to somebody else's server: a name or an address, and a port. Safe to cancel.
    ///
    /// # Errors
    /// The host is not known, or nobody listens there.
    fn connect(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Self::Stream>> + 'static;

    /// Since 1970, by the system's calendar, the wall clock, which may be set at any time. None,
    /// where that would differ from run to run: then the broker's own clock is the calendar.
    fn date(&self) -> Option<Duration> {
        None
    }

    /// What the process uses now. Nothing, where that would differ from run to run.
    fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Who does costly work, like hashing passwords. At once and in place, where other threads
    /// would make a run differ from the next.
    fn computer(&self) -> Arc<dyn Compute> {
        Arc::new(Inline)
    }

    /// Something that came from there took effect. Nobody needs to know, but who must say in
    /// which order things did.
    fn took_effect(&self, _peer: Peer, _effect: Effect) {}

    /// Runs the task on this thread, beside those that run already.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
}
