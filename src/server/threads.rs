//! The broker's threads in production: one worker each, a local tokio runtime of its own.
//!
//! The only place where threads start. Under simulation there are none: `server::run` is one
//! worker as a future.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{oneshot, watch};

use super::Error;
use super::listener::bind;
use super::network::Network;
use super::shared::Shared;
use super::tcp::Tcp;
use super::worker::{Worker, run};
use crate::config;

/// What production's workers share.
pub(crate) type TcpShared = Shared<<Tcp as Network>::Accepted>;

/// The threads of a running broker.
#[derive(Debug)]
pub(crate) struct Threads {
    handles: Vec<JoinHandle<()>>,
    /// Closed when the last worker has ended.
    ended: watch::Receiver<()>,
}

/// Binds the listeners and starts the workers, as many as `shared` has. Returns when every
/// address is bound.
pub(crate) async fn start(
    shared: Arc<TcpShared>,
    listeners: Vec<config::Listener>,
) -> Result<(Threads, Vec<SocketAddr>), Error> {
    let (ending, ended) = watch::channel(());
    let (bound, is_bound) = oneshot::channel();
    let first = {
        let (shared, ending) = (shared.clone(), ending.clone());
        spawn(0, move |runtime| {
            let _ending = ending;
            runtime.block_on(serve_first(shared, listeners, bound));
        })?
    };
    let mut threads = Threads { handles: vec![first], ended };
    let addresses = is_bound.await.map_err(|_| Error::Thread(io::ErrorKind::Other.into()))??;
    for number in 1..shared.workers() {
        let (of_thread, ending) = (shared.clone(), ending.clone());
        let started = spawn(number, move |runtime| {
            let _ending = ending;
            runtime.block_on(run(Worker::new(number, Tcp, of_thread), Vec::new()));
        });
        match started {
            Ok(handle) => threads.handles.push(handle),
            Err(error) => {
                shared.stop();
                return Err(error);
            }
        }
    }
    Ok((threads, addresses))
}

/// The first worker binds, because its runtime is the one that accepts.
async fn serve_first(
    shared: Arc<TcpShared>,
    listeners: Vec<config::Listener>,
    bound: oneshot::Sender<Result<Vec<SocketAddr>, Error>>,
) {
    let listeners = match bind(&Tcp, &listeners).await {
        Ok(listeners) => listeners,
        Err(error) => {
            let _ = bound.send(Err(error)); // nobody waits: nobody needs to know
            return;
        }
    };
    let addresses = listeners.iter().map(|listener| listener.address).collect();
    if bound.send(Ok(addresses)).is_ok() {
        let worker: Rc<Worker<Tcp>> = Worker::new(0, Tcp, shared);
        run(worker, listeners).await;
    }
}

fn spawn(
    number: u16,
    work: impl FnOnce(&LocalRuntime) + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    let body = move || match Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
    {
        Ok(runtime) => work(&runtime),
        Err(error) => tracing::error!(%error, "a worker cannot start"),
    };
    thread::Builder::new().name(format!("worker-{number}")).spawn(body).map_err(Error::Thread)
}

impl Threads {
    /// Waits until every worker has ended, without blocking the thread.
    pub(crate) async fn ended(&mut self) {
        while self.ended.changed().await.is_ok() {}
    }

    /// Blocks until every worker has ended.
    pub(crate) fn join(&mut self) {
        for handle in self.handles.drain(..) {
            // A worker that panicked has said so; the others still have to end.
            let _ = handle.join();
        }
    }
}
