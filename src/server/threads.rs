//! The broker's threads in production: one worker each, a local tokio runtime of its own.
//!
//! The only place where threads start. Under simulation there are none: `server::run` is one
//! worker as a future.
//!
//! What starts a thread is a plain function, neither generic nor async: so the shell on real sockets
//! is compiled here, once, and not anew in each program that embeds a broker.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{oneshot, watch};

use super::Error;
use super::keeper::Keeper;
use super::listener::bind;
use super::network::Network;
use super::shared::{Shared, Watch};
use super::sockets::Sockets;
use super::worker::{Worker, run};
use crate::config;
use crate::store::Files;

/// What production's workers share.
pub(crate) type TcpShared = Shared<<Sockets as Network>::Accepted>;

/// A thread, and whether it runs.
type Started = (JoinHandle<()>, oneshot::Receiver<Result<(), Error>>);

/// The threads of a running broker.
#[derive(Debug)]
pub(crate) struct Threads {
    handles: Vec<JoinHandle<()>>,
    /// The one that writes the log, and ends last.
    keeper: Option<JoinHandle<()>>,
    /// Closed when the last worker has ended.
    ended: watch::Receiver<()>,
    /// Closed when the log is, or if there is none.
    kept: watch::Receiver<()>,
}

/// Binds the listeners and starts the workers, as many as `shared` has. Returns when every
/// address is bound.
pub(crate) async fn start(
    shared: Arc<TcpShared>,
    listeners: Vec<config::Listener>,
    keeper: Option<Keeper<Files>>,
) -> Result<(Threads, Vec<SocketAddr>), Error> {
    let mut starting = Starting(Some(&shared));
    let (ending, ended) = watch::channel(());
    let (keeping, kept) = watch::channel(());
    let (bound, is_bound) = oneshot::channel();
    let first = spawn_first(&shared, listeners, bound, ending.clone())?;
    let mut threads = Threads { handles: vec![first], keeper: None, ended, kept };
    let addresses = is_bound.await.map_err(|_| died())??;
    for number in 1..shared.workers() {
        let started = spawn_another(&shared, number, ending.clone());
        threads.handles.push(once_running(started).await?);
    }
    if let Some(keeper) = keeper {
        let started = spawn_keeper(&shared, keeper, threads.ended.clone(), keeping);
        threads.keeper = Some(once_running(started).await?);
    }
    starting.0 = None;
    Ok((threads, addresses))
}

/// A broker that starts. If it cannot, or nobody waits for it any more, what has started stops:
/// nobody else could stop it.
struct Starting<'s>(Option<&'s TcpShared>);

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0 {
            shared.stop();
        }
    }
}

/// A thread that was started, when it runs.
async fn once_running(started: Result<Started, Error>) -> Result<JoinHandle<()>, Error> {
    let (handle, is_running) = started?;
    is_running.await.map_err(|_| died())??;
    Ok(handle)
}

/// A thread has ended without a word.
fn died() -> Error {
    Error::Thread(io::Error::other("it panicked"))
}

/// Starts the first worker, which says over `bound` where it listens.
fn spawn_first(
    shared: &Arc<TcpShared>,
    listeners: Vec<config::Listener>,
    bound: oneshot::Sender<Result<Vec<SocketAddr>, Error>>,
    ending: watch::Sender<()>,
) -> Result<JoinHandle<()>, Error> {
    let of_thread = shared.clone();
    spawn("worker-0", shared, bound, move |runtime, bound| {
        let _ending = ending;
        runtime.block_on(serve_first(of_thread, listeners, bound));
    })
}

/// Starts a worker beside the first.
fn spawn_another(
    shared: &Arc<TcpShared>,
    number: u16,
    ending: watch::Sender<()>,
) -> Result<Started, Error> {
    let of_thread = shared.clone();
    let (running, is_running) = oneshot::channel();
    let handle = spawn(&format!("worker-{number}"), shared, running, move |runtime, running| {
        let _ending = ending;
        let _ = running.send(Ok(())); // nobody waits: the broker stops
        runtime.block_on(run(Worker::new(number, Sockets, of_thread), Vec::new()));
    })?;
    Ok((handle, is_running))
}

/// Starts the thread that writes the log, until the last worker has ended, whoever waits for that.
/// Without it nothing that must survive would ever be acknowledged.
fn spawn_keeper(
    shared: &Arc<TcpShared>,
    keeper: Keeper<Files>,
    mut ended: watch::Receiver<()>,
    keeping: watch::Sender<()>,
) -> Result<Started, Error> {
    let of_thread = shared.clone();
    let (running, is_running) = oneshot::channel();
    let handle = spawn("log", shared, running, move |runtime, running| {
        let _keeping = keeping;
        let _ = running.send(Ok(())); // nobody waits: the broker stops
        let close = async {
            while ended.changed().await.is_ok() {}
            of_thread.close_log();
        };
        runtime.block_on(async { tokio::join!(keeper.run(of_thread.clone()), close) });
    })?;
    Ok((handle, is_running))
}

/// The first worker binds, because its runtime is the one that accepts.
async fn serve_first(
    shared: Arc<TcpShared>,
    listeners: Vec<config::Listener>,
    bound: oneshot::Sender<Result<Vec<SocketAddr>, Error>>,
) {
    let listeners = match bind(&Sockets, &listeners).await {
        Ok(listeners) => listeners,
        Err(error) => {
            let _ = bound.send(Err(error)); // nobody waits: nobody needs to know
            return;
        }
    };
    let addresses = listeners.iter().filter_map(|listener| listener.address).collect();
    if bound.send(Ok(addresses)).is_ok() {
        let worker: Rc<Worker<Sockets>> = Worker::new(0, Sockets, shared);
        run(worker, listeners).await;
    }
}

/// Starts a thread with a runtime of its own, and says over `started` if that fails. The broker
/// does not survive its panic.
fn spawn<T: Send + 'static>(
    name: &str,
    shared: &Arc<TcpShared>,
    started: oneshot::Sender<Result<T, Error>>,
    work: impl FnOnce(&LocalRuntime, oneshot::Sender<Result<T, Error>>) + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    let shared = shared.clone();
    let body = move || {
        let _watch = Watch::new(&*shared);
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                work(&runtime, started);
                // A lookup cannot be cancelled: a name server that is silent holds nobody up.
                runtime.shutdown_background();
            }
            Err(error) => drop(started.send(Err(Error::Thread(error)))),
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(Error::Thread)
}

impl Threads {
    /// Waits until every worker has ended and the log is closed, however long its disk takes,
    /// without blocking the thread.
    pub(crate) async fn ended(&mut self) {
        while self.ended.changed().await.is_ok() {}
        while self.kept.changed().await.is_ok() {}
    }

    /// Blocks until every worker has ended and the log is closed.
    pub(crate) fn join(&mut self) {
        for handle in self.handles.drain(..) {
            // A worker that panicked has said so; the others still have to end.
            let _ = handle.join();
        }
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}
