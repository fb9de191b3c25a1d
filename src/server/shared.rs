//! What all workers share: the machine behind its one lock, the clock, the mailboxes.
//!
//! [`Shared::visit`] is the only way to the machine. Whoever visits takes the list of woken
//! connections with him and sees to it ([`Woken`]). Knows nothing of streams.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{info, warn};

use super::Transports;
use super::admission::Admission;
use super::clock::Clock;
use super::fetch::Questions;
use super::input::PACKETS_MAX;
use super::load::{Load, Usage, readings};
use super::mailbox::{Arrival, Mailbox};
use super::peer::Peer;
use super::signal::Signal;
use super::transport::Layers;
use crate::access::{Authorise, Compute, Door, Line, Told, said};
use crate::machine::record::Record;
use crate::machine::{
    Alert, ConnectionId, Denial, DropReason, Input, Limits, ListenerId, Machine, Readings,
    Restored, Restorer, Seed, Settings, Shed, Timestamp,
};
use crate::plant::{self, Plant};
use crate::store::{self, Inbox};

/// Connections above the limit that are still accepted: their clients may have a place already, or
/// are told why they are refused. For more, those make room who say nothing.
const REFUSALS_MAX: usize = 1_000;
/// How often a thread that just visited the machine offers its turn to those that wait for it.
const YIELDS_MAX: usize = 100;
/// Where the number of the worker stands in a connection's id.
const WORKER_SHIFT: u32 = 48;
/// The "worker" of connections inside the process.
const INSIDE: u16 = u16::MAX;

/// What all workers share.
#[derive(Debug)]
pub struct Shared<A> {
    core: Mutex<Core>,
    /// What must survive goes there; none: nothing must.
    inbox: Option<Arc<Inbox<Record>>>,
    /// How many threads wait for the machine.
    waiting: AtomicUsize,
    clock: Clock,
    limits: Limits,
    /// How many packets of a connection are decoded before they are handed in.
    packets_max: usize,
    /// Who is asked before a client is let in.
    door: Mutex<Arc<Door>>,
    /// Started when it is first needed.
    computer: OnceLock<Arc<dyn Compute>>,
    /// How many questions to web servers are under way.
    questions: Arc<Questions>,
    listeners: Listeners,
    admission: Arc<Admission>,
    mailboxes: Vec<Mailbox<A>>,
    /// What each worker carries.
    loads: Vec<Arc<Load>>,
    /// Who waits for connections inside the process.
    inside: Mutex<BTreeMap<ConnectionId, Arc<Notify>>>,
    connections_named: AtomicU64,
    /// Of whose denials the log has spoken.
    told: Mutex<Told<Arc<str>>>,
    /// And of whose messages it has said that they are dropped.
    told_full: Mutex<Told<Arc<str>>>,
    rearmed: Notify,
    stop: Signal,
    /// A part of the broker has panicked.
    failure: Signal,
    /// The log has ended, and the last records are not on the disk.
    pub(crate) loss: Signal,
}

/// The listeners of the configuration, in its order.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// For logs.
    names: Vec<Arc<str>>,
    /// What their connections travel in from now on.
    layers: Mutex<Vec<Layers>>,
}

impl Listeners {
    pub(super) fn new(transports: Transports) -> Listeners {
        let (names, layers) = transports.0.into_iter().unzip();
        Listeners { names, layers: Mutex::new(layers) }
    }

    /// No code that can panic runs under this lock.
    fn layers(&self) -> MutexGuard<'_, Vec<Layers>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Core {
    machine: Machine,
    /// When the timer comes back by itself.
    armed: Option<Timestamp>,
    /// On their way from the machine to the log. Empty: kept for their memory only.
    records: Vec<Record>,
    numbered: Vec<(store::Lsn, Record)>,
}

impl Core {
    fn new(machine: Machine) -> Core {
        Core { machine, armed: None, records: Vec::new(), numbered: Vec::new() }
    }

    /// Hands over what the machine has recorded. Under the lock, because their order counts.
    fn hand_over(&mut self, inbox: &Inbox<Record>) {
        if self.machine.has_records() {
            let last = self.machine.poll_records(&mut self.records).0;
            let first = last + 1 - self.records.len() as u64;
            self.numbered.extend((first..).map(store::Lsn).zip(self.records.drain(..)));
            inbox.hand_over(&mut self.numbered);
        }
        if let Some(cut) = self.machine.poll_droppable() {
            inbox.drop_before(store::Lsn(cut.0));
        }
    }
}

/// Says what came out of the log.
fn tell(restored: Restored) {
    let Restored { sessions, subscriptions, waiting, retained } = restored;
    info!(
        "restored {sessions} sessions with {subscriptions} subscriptions, {waiting} messages that \
         wait for them, and {retained} retained messages"
    );
}

/// Connections to wake that belong to somebody else, by owner.
#[derive(Debug)]
pub(crate) struct Woken {
    workers: Vec<Vec<ConnectionId>>,
    inside: Vec<ConnectionId>,
}

/// The worker that owns the connection; none if it is one inside the process.
pub(crate) fn owner(id: ConnectionId) -> Option<u16> {
    let worker = u16::try_from(id.0 >> WORKER_SHIFT).unwrap_or(INSIDE);
    (worker != INSIDE).then_some(worker)
}

impl<A> Shared<A> {
    /// A broker that nobody can reach yet. All the machine's randomness comes from `seed`.
    pub(crate) fn new(
        settings: Settings,
        (admission, door): (Arc<Admission>, Door),
        listeners: Listeners,
        (restorer, seed): (Option<Restorer>, Seed),
        clock: Clock,
        workers: u16,
    ) -> Shared<A> {
        let limits = settings.limits.clone();
        let effort_max = usize::try_from(settings.effort_max).unwrap_or(usize::MAX);
        let (machine, inbox) = match restorer {
            None => (Machine::new(settings, seed, clock.now()), None),
            Some(restorer) => {
                let durable = store::Lsn(restorer.durable().0);
                let (machine, restored) = restorer.finish(settings, seed, clock.now());
                tell(restored);
                (machine, Some(Arc::new(Inbox::new(durable))))
            }
        };
        Shared {
            core: Mutex::new(Core::new(machine)),
            inbox,
            waiting: AtomicUsize::new(0),
            clock,
            limits,
            packets_max: PACKETS_MAX.min(effort_max),
            door: Mutex::new(Arc::new(door)),
            computer: OnceLock::new(),
            questions: Arc::default(),
            listeners,
            admission,
            mailboxes: (0..workers).map(|_| Mailbox::new()).collect(),
            loads: (0..workers).map(|_| Arc::default()).collect(),
            inside: Mutex::new(BTreeMap::new()),
            connections_named: AtomicU64::new(0),
            told: Mutex::default(),
            told_full: Mutex::default(),
            rearmed: Notify::new(),
            stop: Signal::default(),
            failure: Signal::default(),
            loss: Signal::default(),
        }
    }

    /// How many workers there are.
    pub(crate) fn workers(&self) -> u16 {
        u16::try_from(self.mailboxes.len()).expect("built from a u16")
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn listener_name(&self, listener: ListenerId) -> &Arc<str> {
        &self.listeners.names[listener.0]
    }

    /// What a new connection of the listener travels in.
    pub(crate) fn layers(&self, listener: ListenerId) -> Layers {
        self.listeners.layers()[listener.0].clone()
    }

    /// Shows new connections the certificates of these, all listeners at once. Those that are
    /// open, or are being opened, stay as they are. So does everything else: a listener that is
    /// not encrypted, or would not be any more, takes a restart.
    pub(crate) fn change_transports(&self, transports: Transports) {
        if plant::is_on(Plant::OldCertificate) {
            return;
        }
        let mut layers = self.listeners.layers();
        for (name, changed) in transports.0 {
            let place = self.listeners.names.iter().position(|known| *known == name);
            let running = place.and_then(|place| layers[place].tls.as_mut());
            if let (Some(running), Some(tls)) = (running, changed.tls) {
                *running = tls;
            }
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many packets of a connection are decoded before they are handed in. Each costs a step
    /// at least.
    pub(super) fn packets_max(&self) -> usize {
        self.packets_max
    }

    /// Who is asked before a client is let in.
    pub(crate) fn door(&self) -> Arc<Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has another door asked from now on. The one before, which may hold very many passwords.
    pub(crate) fn change_door(&self, door: Door) -> Arc<Door> {
        let door = Arc::new(door);
        if plant::is_on(Plant::OldPasswords) {
            return door;
        }
        std::mem::replace(&mut self.door.lock().unwrap_or_else(PoisonError::into_inner), door)
    }

    /// Who does costly work for all workers; `start` makes him if there is none yet.
    pub(crate) fn computer(&self, start: impl FnOnce() -> Arc<dyn Compute>) -> Arc<dyn Compute> {
        Arc::clone(self.computer.get_or_init(start))
    }

    /// How many questions to web servers are under way.
    pub(crate) fn questions(&self) -> &Arc<Questions> {
        &self.questions
    }

    pub(crate) fn mailbox(&self, worker: u16) -> &Mailbox<A> {
        &self.mailboxes[usize::from(worker)]
    }

    /// Visits the machine. Time is read under the lock, so that it never goes backwards for the
    /// machine. The visitor does nothing else meanwhile: everybody waits. None if the machine has
    /// panicked: it must not decide anything any more.
    pub(crate) fn visit<R>(&self, work: impl FnOnce(&mut Machine, Timestamp) -> R) -> Option<R> {
        let _watch = Watch::new(self);
        let mut core = self.core()?;
        let result = work(&mut core.machine, self.clock.now());
        let deadline = core.machine.poll_deadline();
        let is_sooner = deadline.is_some_and(|due| core.armed.is_none_or(|armed| due < armed));
        if is_sooner {
            core.armed = deadline;
        }
        if let Some(inbox) = &self.inbox {
            core.hand_over(inbox);
        }
        let mut denials = Vec::new();
        core.machine.poll_denials(&mut denials);
        let mut alerts = Vec::new();
        core.machine.poll_alerts(&mut alerts);
        drop(core);
        if !denials.is_empty() {
            self.log(&denials);
        }
        if !alerts.is_empty() {
            self.log_alerts(&alerts);
        }
        if is_sooner && !plant::is_on(Plant::TimerNotRearmed) {
            self.rearmed.notify_one();
        }
        Some(result)
    }

    /// Visits the machine from outside of all workers.
    pub(crate) fn visit_from_outside<R>(
        &self,
        work: impl FnOnce(&mut Machine, Timestamp) -> R,
    ) -> Option<R> {
        let mut ids = Vec::new();
        let result = self.visit(|machine, now| {
            let result = work(machine, now);
            machine.poll_woken(&mut ids);
            result
        })?;
        let mut woken = self.nobody();
        ids.into_iter().for_each(|id| woken.add(id));
        self.wake(&mut woken);
        Some(result)
    }

    /// Where what must survive goes; none: nothing must.
    pub(crate) fn inbox(&self) -> Option<&Arc<Inbox<Record>>> {
        self.inbox.as_ref()
    }

    /// Lets the [`Keeper`](super::Keeper) end when everything so far is on the disk. For when all
    /// workers have ended.
    pub fn close_log(&self) {
        if let Some(inbox) = &self.inbox {
            inbox.close();
        }
    }

    /// Arms the timer anew: when the machine wants to be called next.
    pub(crate) fn arm(&self) -> Option<Timestamp> {
        let mut core = self.core()?;
        core.armed = core.machine.poll_deadline();
        core.armed
    }

    /// Waits until the machine wants to be called earlier than the timer was armed for.
    pub(crate) async fn rearmed(&self) {
        self.rearmed.notified().await;
    }

    /// An empty list for [`Shared::wake`].
    pub(crate) fn nobody(&self) -> Woken {
        Woken { workers: vec![Vec::new(); self.mailboxes.len()], inside: Vec::new() }
    }

    /// Wakes them: one mail for each worker.
    pub(crate) fn wake(&self, woken: &mut Woken) {
        for (mailbox, ids) in self.mailboxes.iter().zip(&mut woken.workers) {
            if !ids.is_empty() {
                mailbox.wake(ids);
            }
        }
        if !woken.inside.is_empty() {
            let waiting = self.inside();
            for id in woken.inside.drain(..) {
                if let Some(waiter) = waiting.get(&id) {
                    waiter.notify_one();
                }
            }
        }
    }

    /// Gives the connection to a worker, in place of one that says nothing if there are far too many;
    /// or closes it, if there is none of those, or if there are too many of its kind. `room`: how
    /// many the system has room for.
    pub(crate) fn place(&self, accepted: A, listener: ListenerId, peer: Peer, room: usize) {
        let loads = self.loads.iter().map(|load| load.connections());
        let max = self.limits.connections.saturating_add(REFUSALS_MAX).min(room);
        // A proxy speaks for others: it says for whom before long.
        let address = peer.ip().filter(|_| !self.listeners.layers()[listener.0].trusts(peer));
        let is_short = room < self.limits.connections;
        let reason = if is_short { Shed::Descriptors } else { Shed::Connections };
        let full = (loads.clone().sum::<usize>() >= max).then_some(reason);
        let worker = fewest(loads);
        let id = self.name(worker);
        let admitted = self.admission.admit(id, (address, peer), full);
        let Some((ticket, pushed_out)) = admitted else { return };
        if let Some((other, owner)) = pushed_out.and_then(|other| Some((other, owner(other)?))) {
            self.mailbox(owner).push_out(other);
        }
        self.load(worker).add_connection();
        self.mailbox(worker).hand_over(Arrival { id, listener, peer, ticket, accepted });
    }

    /// What the worker carries.
    pub(crate) fn load(&self, worker: u16) -> &Arc<Load> {
        &self.loads[usize::from(worker)]
    }

    /// What all workers have carried, for `$SYS`.
    pub(crate) fn readings(&self, usage: Usage) -> Readings {
        let (sheds, failed_logins) = self.admission.counts();
        let readings = readings(self.loads.iter().map(|load| &**load), usage);
        Readings { sheds, failed_logins, ..readings }
    }

    /// Names a connection inside the process. The waiter is notified when it is woken.
    pub(crate) fn enter(&self, waiter: Arc<Notify>) -> ConnectionId {
        let id = self.name(INSIDE);
        self.inside().insert(id, waiter);
        id
    }

    /// A connection inside the process is gone.
    pub(crate) fn leave(&self, id: ConnectionId) {
        self.inside().remove(&id);
    }

    /// Has another door asked from now on, and puts other rules of what clients may do in force, for
    /// those who are connected too. Nobody whom the new door lets in meets the old rules.
    pub(crate) fn change_access(&self, door: Door, authorise: Option<Arc<dyn Authorise>>) {
        let before = self.visit_from_outside(|machine, now| {
            let before = self.change_door(door);
            machine.handle(Input::PolicyChanged(authorise), now);
            before
        });
        drop(before); // nobody waits for that
    }

    /// How many connections have not authenticated: their clients are not let in yet.
    pub fn unauthenticated(&self) -> usize {
        self.admission.unauthenticated()
    }

    /// Bytes that its log is to have, as its keeper counts them.
    pub fn kept_bytes(&self) -> u64 {
        self.core().map_or(0, |core| core.machine.kept_bytes())
    }

    /// How far its log is, where the records that it has are further: the last one of which the
    /// [`Keeper`](super::Keeper) has said that it is durable.
    pub fn log_is_behind_at(&self) -> Option<u64> {
        let inbox = self.inbox.as_ref()?;
        let durable = inbox.durable();
        (durable < inbox.last()).then_some(durable.0)
    }

    /// Makes the broker stop: every connection is told and closed.
    pub fn stop(&self) {
        self.stop.raise();
    }

    /// Waits until the broker is told to stop. Safe to cancel.
    pub(crate) async fn stopped(&self) {
        self.stop.wait().await;
    }

    /// A part of the broker has panicked, which it must not survive: what that part did for its
    /// clients nobody does any more.
    fn fail(&self) {
        self.failure.raise();
        self.stop.raise();
        // Local connections would wait for ever.
        self.inside().values().for_each(|waiter| waiter.notify_one());
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_raised()
    }

    /// Waits until a part of the broker has panicked. Safe to cancel.
    pub(crate) async fn failed(&self) {
        self.failure.wait().await;
    }

    fn name(&self, worker: u16) -> ConnectionId {
        let count = self.connections_named.fetch_add(1, Ordering::Relaxed);
        ConnectionId(u64::from(worker) << WORKER_SHIFT | count)
    }

    /// Lets those who wait for the machine visit it before the caller does again: whoever comes
    /// back at once finds the lock free, long before those who sleep are awake.
    pub(crate) fn let_others_visit(&self) {
        for _ in 0..YIELDS_MAX {
            if self.waiting.load(Ordering::Relaxed) == 0 {
                return;
            }
            thread::yield_now();
        }
    }

    /// Logs what was denied. A client has no say in how much that is: it may come again and again
    /// with another client id.
    fn log(&self, denials: &[Denial]) {
        for denial in denials {
            let line = self.tell(&self.told, &denial.client_id);
            line.into_iter().for_each(|line| log_denial(denial, line));
        }
    }

    /// Whether the log is to speak of a client once more, and what it left out since.
    fn tell(&self, told: &Mutex<Told<Arc<str>>>, client_id: &Arc<str>) -> Option<Line> {
        let now = Duration::from_millis(self.clock.now().0);
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.tell(Arc::clone(client_id), now)
    }

    /// Logs where there is no room, once a minute for each client.
    fn log_alerts(&self, alerts: &[Alert]) {
        for alert in alerts {
            match alert {
                Alert::QueueFull { client_id, reason } => {
                    let line = self.tell(&self.told_full, client_id);
                    line.into_iter().for_each(|line| log_full(client_id, *reason, line));
                }
                Alert::TotalBytes => {
                    warn!(
                        "`limits.total-bytes` is reached: messages are refused until some are taken"
                    );
                }
            }
        }
    }

    fn core(&self) -> Option<MutexGuard<'_, Core>> {
        if let Ok(core) = self.core.try_lock() {
            return Some(core);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let core = self.core.lock();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        core.ok()
    }

    /// No code that can panic runs under this lock.
    fn inside(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Arc<Notify>>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks out for a panic while it lives.
#[derive(Debug)]
pub(crate) struct Watch<'a, A> {
    shared: &'a Shared<A>,
    was_panicking: bool,
}

impl<'a, A> Watch<'a, A> {
    pub(crate) fn new(shared: &'a Shared<A>) -> Watch<'a, A> {
        Watch { shared, was_panicking: thread::panicking() }
    }
}

impl<A> Drop for Watch<'_, A> {
    fn drop(&mut self) {
        if thread::panicking() && !self.was_panicking {
            self.shared.fail();
        }
    }
}

/// What a client may not do, the first time that it tries.
fn log_denial(denial: &Denial, Line { unlogged }: Line) {
    let Denial { client_id, user, action, topic, rule } = denial;
    let (client_id, topic, reason) = (&*said(client_id), &*said(topic), &*said(rule));
    let user = user.as_deref().map(said);
    warn!(client_id, user = user.as_deref(), %action, topic, reason, unlogged, "denied");
}

/// That messages of a client are dropped, the first time since it came or left.
fn log_full(client_id: &str, reason: DropReason, Line { unlogged }: Line) {
    let limit = match reason {
        DropReason::QueueBytes => "queue-bytes",
        _ => "queue-messages",
    };
    warn!(
        client_id = &*said(client_id),
        limit, unlogged, "messages are dropped: the queue is full"
    );
}

/// Where a new connection goes: to the worker with the fewest, the lowest of these.
fn fewest(loads: impl Iterator<Item = usize>) -> u16 {
    let numbered = loads.zip(0..).min();
    numbered.map_or(0, |(_, worker)| worker)
}

impl Woken {
    /// Adds a connection.
    pub(crate) fn add(&mut self, id: ConnectionId) {
        match owner(id) {
            Some(worker) => self.workers[usize::from(worker)].push(id),
            None => self.inside.push(id),
        }
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("armed", &self.armed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_connection_goes_to_the_worker_with_the_fewest() {
        let cases: [(&[usize], u16); 4] =
            [(&[0], 0), (&[2, 1, 1], 1), (&[1, 1], 0), (&[3, 2, 1], 2)];
        for (loads, want) in cases {
            assert_eq!(fewest(loads.iter().copied()), want, "{loads:?}");
        }
    }

    #[test]
    fn an_id_says_who_owns_it() {
        assert_eq!(owner(ConnectionId(7)), Some(0));
        assert_eq!(owner(ConnectionId(3 << WORKER_SHIFT | 7)), Some(3));
        assert_eq!(owner(ConnectionId(u64::from(INSIDE) << WORKER_SHIFT | 7)), None);
    }
}
