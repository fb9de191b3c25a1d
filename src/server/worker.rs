//! A worker: one thread's connections, and what they share.
//!
//! [`run`] is its life. The heart of the shell are [`Worker::exchange`], a visit to the machine
//! that gathers the connections it woke, and [`Worker::flush`], which pulls what those of this
//! worker have to send and writes it. In between, others that are ready have their turn, so that
//! what many publishers have for one subscriber is one write. Everything here stays on one
//! thread. The threads themselves are in `threads.rs`; one connection's own doings, in
//! `connection.rs`.

use std::cell::{Cell, RefCell, RefMut};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::debug;

use super::closed::Closed;
use super::connection::{Connection, drive};
use super::fetch::Fetcher;
use super::input::READ_BYTES;
use super::listener::{Listener, accept};
use super::mailbox::{Arrival, Mail};
use super::network::Network;
use super::output::Encoded;
use super::shared::{Shared, Watch, Woken, owner};
use super::signal::Signal;
use super::timer;
use super::transport::{Duplex, Transport};
use super::wall;
use crate::access::Fetch;
use crate::machine::{self, ConnectionId, Machine, Outgoing, Remaining, Timestamp};
use crate::mqtt::wire::Packet;
use crate::plant::{self, Plant};

/// Connections served in one visit to the machine, and packets pulled: then others may visit.
const PULLS_MAX: usize = 256;
const OUTGOING_MAX: usize = 1_024;
/// Visits in one flush: then the worker's other tasks have their turn.
const VISITS_MAX: usize = 8;
/// Steps of the machine between two flushes. More would not make writes much larger, but what
/// waits in the machine, and how long.
const GATHERED_MAX: u64 = 2_000;
/// Bytes of unfinished packets from which on a connection is worth sending away for them. Below it
/// they are few beside what it takes itself, and many such would hide the large ones.
const GIVEN_UP_BYTES: usize = 1_024;
/// Time that connections have to end when the broker stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

type Entry<N> = Rc<RefCell<Connection<Transport<<N as Network>::Stream>>>>;

/// The connections of a worker. The hasher is fixed: ids are ours, and nothing that is seen
/// from outside may depend on a random order.
type Table<N> = hashbrown::HashMap<ConnectionId, Entry<N>, foldhash::fast::FixedState>;

/// One thread's part of the shell.
pub(crate) struct Worker<N: Network> {
    number: u16,
    fetcher: Arc<Fetcher<N>>,
    network: N,
    shared: Arc<Shared<N::Accepted>>,
    table: RefCell<Table<N>>,
    buffer: RefCell<Box<[u8]>>,
    packets: RefCell<Vec<Packet>>,
    batch: RefCell<Batch<N>>,
    /// Bytes of packets that are not finished, of all connections.
    unfinished: Cell<usize>,
    /// Connections wait to be flushed.
    gathered: Notify,
    /// The last connection is gone.
    emptied: Notify,
    finished: Signal,
}

/// What visits to the machine bring back. Reused.
struct Batch<N: Network> {
    /// What the machine has done since the last flush, in its steps.
    effort: u64,
    /// Woken connections, and how many of them were seen to.
    ids: Vec<ConnectionId>,
    seen: usize,
    /// Those of them that belong to somebody else.
    elsewhere: Woken,
    /// What leaves, connection by connection.
    outgoing: Vec<Outgoing>,
    /// Whose it is, and how much of it.
    pulls: Vec<(Entry<N>, usize)>,
    encoded: Encoded,
}

/// Runs a worker until the broker has stopped. The first worker also accepts and keeps time.
pub(crate) async fn run<N: Network>(worker: Rc<Worker<N>>, listeners: Vec<Listener<N>>) {
    worker.spawn(flush_gathered(worker.clone()));
    if worker.number == 0 {
        worker.spawn(timer::run(worker.clone()));
        worker.spawn(wall::run(worker.clone()));
    }
    for listener in listeners {
        worker.spawn(accept(worker.clone(), listener));
    }
    let mut mail = Mail::new();
    loop {
        tokio::select! {
            biased;
            () = worker.shared.stopped() => break,
            () = worker.shared.mailbox(worker.number).wait() => worker.read(&mut mail),
        }
    }
    if worker.number == 0 && !plant::is_on(Plant::StopNotTold) {
        worker.exchange(|machine, now| machine.handle(machine::Input::ShutDown, now));
    }
    let is_drained = !worker.shared.has_failed()
        && tokio::time::timeout(STOP_TIMEOUT, worker.drain(&mut mail)).await.is_ok();
    if !is_drained {
        worker.table.borrow().values().for_each(|connection| {
            connection.borrow_mut().abandon(Closed::Abandoned);
        });
    }
    // Who was handed over as the broker stopped is closed: nobody would read this mail any more.
    worker.shared.mailbox(worker.number).collect(&mut mail);
    // No task has its turn any more, and connections of others may have been woken last.
    if !plant::is_on(Plant::LastFlushLeftOut) {
        worker.flush();
    }
    worker.finished.raise();
}

/// Flushes what is gathered until the worker has ended.
async fn flush_gathered<N: Network>(worker: Rc<Worker<N>>) {
    let mut finished = std::pin::pin!(worker.finished());
    loop {
        tokio::select! {
            biased;
            () = &mut finished => return,
            () = worker.gathered.notified() => worker.flush(),
        }
    }
}

impl<N: Network> Batch<N> {
    fn forget(&mut self) {
        self.ids.clear();
        self.seen = 0;
    }
}

impl<N: Network> Worker<N> {
    pub(crate) fn new(number: u16, network: N, shared: Arc<Shared<N::Accepted>>) -> Rc<Worker<N>> {
        let batch = Batch {
            effort: 0,
            ids: Vec::new(),
            seen: 0,
            elsewhere: shared.nobody(),
            outgoing: Vec::new(),
            pulls: Vec::new(),
            encoded: Encoded::default(),
        };
        let fetcher = Arc::new(Fetcher::new(network.clone(), shared.questions().clone()));
        Rc::new(Worker {
            number,
            fetcher,
            network,
            shared,
            table: RefCell::default(),
            buffer: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            packets: RefCell::default(),
            batch: RefCell::new(batch),
            unfinished: Cell::new(0),
            gathered: Notify::new(),
            emptied: Notify::new(),
            finished: Signal::default(),
        })
    }

    pub(crate) fn network(&self) -> &N {
        &self.network
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<N::Accepted>> {
        &self.shared
    }

    /// Who asks web servers for the plugins.
    pub(crate) fn fetcher(&self) -> Arc<dyn Fetch> {
        self.fetcher.clone()
    }

    /// Runs a task beside the others. The broker does not survive its panic.
    fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        let shared = self.shared.clone();
        self.network.spawn(async move {
            let _watch = Watch::new(&*shared);
            task.await;
        });
    }

    /// The buffer to read into. Borrowed for one read.
    pub(crate) fn read_buffer(&self) -> RefMut<'_, [u8]> {
        RefMut::map(self.buffer.borrow_mut(), |buffer| &mut **buffer)
    }

    /// The vector to decode into. Empty.
    pub(crate) fn packets(&self) -> RefMut<'_, Vec<Packet>> {
        self.packets.borrow_mut()
    }

    /// Waits until the worker has ended, so that its helpers end too. Safe to cancel.
    pub(crate) async fn finished(&self) {
        self.finished.wait().await;
    }

    /// Visits the machine with `work`, and gathers whom it wakes. They are flushed when the tasks
    /// that are ready now had their turn, or at once if that is much already. No connection may
    /// be borrowed meanwhile.
    pub(crate) fn exchange(&self, work: impl FnOnce(&mut Machine, Timestamp)) {
        let batch = &mut *self.batch.borrow_mut();
        let visited = self.shared.visit(|machine, now| {
            let before = machine.effort();
            work(machine, now);
            machine.poll_woken(&mut batch.ids);
            batch.effort += machine.effort() - before;
        });
        if visited.is_none() {
            return batch.forget(); // the broker stops
        }
        if batch.effort >= GATHERED_MAX {
            self.flush_batch(batch);
        } else if !batch.ids.is_empty() {
            self.gathered.notify_one();
        }
    }

    /// Has the connection flushed with those that wait for it: it has more to send.
    pub(crate) fn gather(&self, id: ConnectionId) {
        self.batch.borrow_mut().ids.push(id);
        self.gathered.notify_one();
    }

    /// Sends what the gathered connections of this worker have, and wakes the others. No
    /// connection may be borrowed meanwhile.
    fn flush(&self) {
        self.flush_batch(&mut self.batch.borrow_mut());
    }

    fn flush_batch(&self, batch: &mut Batch<N>) {
        for _ in 0..VISITS_MAX {
            if batch.seen == batch.ids.len() {
                break;
            }
            let visited = self.shared.visit(|machine, now| {
                let effort_max = machine.effort() + machine.effort_max();
                self.pull(machine, batch, effort_max, now);
            });
            if visited.is_none() {
                return batch.forget(); // the broker stops
            }
            self.send(batch);
        }
        batch.ids.drain(..batch.seen);
        batch.seen = 0;
        batch.effort = 0;
        if !batch.ids.is_empty() {
            self.gathered.notify_one(); // other tasks have their turn first
        }
    }

    /// Pulls what woken connections have to send, as much as one visit may.
    fn pull(&self, machine: &mut Machine, batch: &mut Batch<N>, effort_max: u64, now: Timestamp) {
        let table = self.table.borrow();
        for &id in &batch.ids[batch.seen..] {
            if batch.pulls.len() >= PULLS_MAX
                || batch.outgoing.len() >= OUTGOING_MAX
                || machine.effort() >= effort_max
            {
                return;
            }
            batch.seen += 1;
            if owner(id) != Some(self.number) {
                batch.elsewhere.add(id);
                continue;
            }
            let Some(connection) = table.get(&id).filter(|entry| entry.borrow().is_open()) else {
                continue;
            };
            let pulled = batch.outgoing.len();
            let bytes = connection.borrow().pull_bytes();
            let remaining = machine.poll_transmit(id, bytes, &mut batch.outgoing, now);
            let mut connection_mut = connection.borrow_mut();
            connection_mut.set_has_more(remaining == Remaining::More);
            connection_mut.set_owed_much(machine.owes_much(id));
            drop(connection_mut);
            batch.pulls.push((connection.clone(), batch.outgoing.len() - pulled));
        }
    }

    /// Wakes the others and sends what was pulled.
    fn send(&self, batch: &mut Batch<N>) {
        self.shared.wake(&mut batch.elsewhere);
        let mut outgoing = batch.outgoing.drain(..);
        for (connection, count) in batch.pulls.drain(..) {
            let own = outgoing.by_ref().take(count);
            connection.borrow_mut().send(own, &mut batch.encoded);
        }
    }

    /// Reads the mail.
    fn read(self: &Rc<Self>, mail: &mut Mail<N::Accepted>) {
        self.shared.mailbox(self.number).collect(mail);
        for arrival in mail.arrivals.drain(..) {
            self.adopt(arrival);
        }
        for id in mail.pushed_out.drain(..) {
            if let Some(connection) = self.table.borrow().get(&id) {
                connection.borrow_mut().abandon(Closed::PushedOut);
            }
        }
        if !mail.woken.is_empty() {
            self.batch.borrow_mut().ids.append(&mut mail.woken);
            self.flush();
        }
    }

    fn adopt(self: &Rc<Self>, arrival: Arrival<N::Accepted>) {
        let Arrival { id, listener, peer, ticket, accepted } = arrival;
        let stream = match self.network.adopt(accepted) {
            Ok(stream) => stream,
            Err(error) => {
                debug!(%peer, %error, "lost before its first byte");
                return self.shared.load(self.number).remove_connection();
            }
        };
        let ticket = Rc::new(ticket);
        let stream = self.shared.layers(listener).open(stream, peer, &ticket);
        let name = self.shared.listener_name(listener).clone();
        let load = self.shared.load(self.number).clone();
        let connection =
            Connection::new(id, (listener, name), peer, stream, load, self.shared.limits());
        let connection = connection.with_ticket(ticket);
        let connection = Rc::new(RefCell::new(connection));
        self.table.borrow_mut().insert(id, connection.clone());
        // Watches itself: a future in a future takes twice the memory, of each connection.
        self.network.spawn(drive(self.clone(), connection));
    }

    /// Takes note of what a connection keeps of packets that are not finished: of one whose rest has
    /// not come, or of a large one of which the machine has not taken all. Where that is too much of
    /// all together, those who have kept theirs for longest are sent away.
    pub(crate) fn note_unfinished(&self, connection: &RefCell<Connection<Transport<N::Stream>>>) {
        let has_grown = self.add_unfinished(connection) > 0;
        let is_too_much = has_grown && self.unfinished.get() > self.unfinished_max();
        if is_too_much && keeps_much_since(connection).is_some() {
            self.give_up_slowest();
        }
    }

    /// How much more that is of one connection than it was.
    fn add_unfinished(&self, connection: &RefCell<Connection<Transport<N::Stream>>>) -> isize {
        let change = connection.borrow_mut().note_unfinished();
        self.unfinished.set(self.unfinished.get().saturating_add_signed(change));
        change
    }

    /// A quarter of what messages may take, among all workers, and enough for some large ones.
    fn unfinished_max(&self) -> usize {
        let limits = self.shared.limits();
        let share = limits.total_bytes / 4 / usize::from(self.shared.workers());
        share.max(4 * limits.packet_bytes as usize)
    }

    /// Sends as many away as it takes.
    fn give_up_slowest(&self) {
        let waits = |(id, connection): (&ConnectionId, &Entry<N>)| {
            Some((keeps_much_since(connection)?, *id))
        };
        let mut slowest: Vec<_> = self.table.borrow().iter().filter_map(waits).collect();
        slowest.sort_unstable();
        for (_, id) in slowest {
            if self.unfinished.get() <= self.unfinished_max() {
                return;
            }
            // Whoever is sent away may take others along.
            let Some(connection) = self.table.borrow().get(&id).cloned() else { continue };
            connection.borrow_mut().give_up_unfinished();
            self.add_unfinished(&connection);
            let input = machine::Input::PacketGivenUp { connection: id };
            self.exchange(|machine, now| machine.handle(input, now));
        }
    }

    /// A connection is gone.
    pub(crate) fn forget(&self, id: ConnectionId) {
        if !plant::is_on(Plant::ConnectionKept) {
            self.table.borrow_mut().remove(&id);
        }
        self.shared.load(self.number).remove_connection();
        if self.table.borrow().is_empty() {
            self.emptied.notify_one();
        }
    }

    /// Waits until all connections are gone.
    async fn drain(self: &Rc<Self>, mail: &mut Mail<N::Accepted>) {
        while !self.table.borrow().is_empty() {
            tokio::select! {
                biased;
                () = self.shared.mailbox(self.number).wait() => self.read(mail),
                () = self.emptied.notified() => {}
            }
        }
    }
}

/// Since when the connection keeps so much of unfinished packets that its end would give room.
fn keeps_much_since<S: Duplex>(connection: &RefCell<Connection<Transport<S>>>) -> Option<Instant> {
    let (since, bytes) = connection.borrow().unfinished()?;
    (bytes >= GIVEN_UP_BYTES).then_some(since)
}
