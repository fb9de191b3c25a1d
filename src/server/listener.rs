//! Accepting connections, for as long as the broker serves.
//!
//! A connection is not touched here: `Shared::place` gives it to a worker. Errors do not end a
//! listener, and a lack of descriptors does not make it spin.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::Error;
use super::network::Network;
use super::worker::Worker;
use crate::config;
use crate::machine::ListenerId;
use crate::plant::{self, Plant};

/// Time to wait after the process ran out of something, before it accepts again.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Time between two complaints about that.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// A bound listener.
pub(crate) struct Listener<N: Network> {
    pub(crate) id: ListenerId,
    /// None if it is no address of the network.
    pub(crate) address: Option<SocketAddr>,
    endpoint: config::Endpoint,
    listener: N::Listener,
}

/// Binds all listeners of the configuration. Nothing is accepted yet.
pub(crate) async fn bind<N: Network>(
    network: &N,
    listeners: &[config::Listener],
) -> Result<Vec<Listener<N>>, Error> {
    let mut bound = Vec::new();
    for (number, configured) in listeners.iter().enumerate() {
        let failed = |error| Error::Bind {
            listener: configured.name.clone(),
            address: configured.bind.clone(),
            error,
        };
        for listener in network.bind(&configured.bind).await.map_err(failed)? {
            let address = network.address(&listener).map_err(failed)?;
            let endpoint = configured.bind.clone();
            bound.push(Listener { id: ListenerId(number), address, endpoint, listener });
        }
    }
    Ok(bound)
}

/// Accepts until the broker stops.
pub(crate) async fn accept<N: Network>(worker: Rc<Worker<N>>, listener: Listener<N>) {
    let name = worker.shared().listener_name(listener.id).clone();
    match listener.address {
        Some(address) => info!(listener = %name, peer = %address, "listening"),
        None => info!(listener = %name, peer = %listener.endpoint, "listening"),
    }
    let room = worker.network().room();
    let mut complained: Option<Instant> = None;
    let mut stopped = std::pin::pin!(worker.shared().stopped());
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => return,
            accepted = worker.network().accept(&listener.listener) => accepted,
        };
        match accepted {
            Ok((accepted, peer)) => {
                worker.shared().place(accepted, listener.id, peer, room);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) if plant::is_on(Plant::AcceptGivenUp) => return,
            Err(error) => {
                // Said seldom: what comes free is taken at once, and then there is none again.
                if complained.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) {
                    warn!(listener = %name, %error, "cannot accept connections");
                    complained = Some(Instant::now());
                }
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// Whether the connection failed before it was accepted, so that the next may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
