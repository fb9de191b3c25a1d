//! Costly work in production: a few threads of its own, and bounded queues before them.
//!
//! Hashing a password takes up to half a second; a worker would serve nobody meanwhile. Those who
//! are known and strangers wait apart, and are served alternately; among each of them, addresses
//! are served in turn, however much comes from one. So whoever guesses passwords keeps others
//! waiting for one guess of each address, and takes no place from whom he has more than. What the
//! work is, `access/` knows.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::access::{Busy, Compute, Whose, Work};

/// Work that may wait, of those who are known and of strangers each. More is refused: it would be
/// done after its clients have given up.
const WAITING_MAX: usize = 256;

/// The threads. They end when it is dropped.
#[derive(Debug)]
pub(crate) struct Pool {
    queues: Arc<Queues>,
}

#[derive(Debug)]
struct Queues {
    waiting: Mutex<Waiting>,
    is_changed: Condvar,
}

/// What waits.
#[derive(Debug)]
struct Waiting {
    known: Queue,
    strangers: Queue,
    /// Whose turn it is, if both wait.
    is_strangers_turn: bool,
    is_closed: bool,
}

/// Jobs in the order in which they are done: in each round, one of each address.
#[derive(Debug)]
struct Queue {
    jobs: BTreeMap<Turn, Job>,
    waiting_max: usize,
    /// The round of the last that was begun.
    round: u64,
    /// How many there were.
    count: u64,
}

/// A round, and a place in it: whoever comes first.
type Turn = (u64, u64);

struct Job {
    address: Option<IpAddr>,
    work: Work,
    done: oneshot::Sender<bool>,
}

impl Queue {
    fn new(waiting_max: usize) -> Queue {
        Queue { jobs: BTreeMap::new(), waiting_max, round: 0, count: 0 }
    }

    /// Adds a job. If there is no room, the last in turn is refused: it is of whom most waits.
    fn push(&mut self, job: Job) -> Result<(), Busy> {
        if self.jobs.len() >= self.waiting_max {
            self.jobs.retain(|_, job| !job.done.is_closed());
        }
        let last = self.jobs.iter().rev().find(|(_, other)| other.address == job.address);
        let round = last.map_or(self.round, |((round, _), _)| *round) + 1;
        if self.jobs.len() >= self.waiting_max {
            let last = self.jobs.last_entry().filter(|last| last.key().0 > round);
            drop(last.ok_or(Busy)?.remove()); // its client learns of it
        }
        self.count += 1;
        self.jobs.insert((round, self.count), job);
        Ok(())
    }

    fn pop(&mut self) -> Option<Job> {
        let ((round, _), job) = self.jobs.pop_first()?;
        self.round = round;
        Some(job)
    }
}

impl Waiting {
    fn new(waiting_max: usize) -> Waiting {
        Waiting {
            known: Queue::new(waiting_max),
            strangers: Queue::new(waiting_max),
            is_strangers_turn: false,
            is_closed: false,
        }
    }

    fn push(&mut self, job: Job, is_known: bool) -> Result<(), Busy> {
        if is_known { self.known.push(job) } else { self.strangers.push(job) }
    }

    /// The next job that somebody still waits for.
    fn pop(&mut self) -> Option<Job> {
        loop {
            let mut turns = [&mut self.known, &mut self.strangers];
            if self.is_strangers_turn {
                turns.reverse();
            }
            let job = turns.into_iter().find_map(Queue::pop)?;
            if !job.done.is_closed() {
                self.is_strangers_turn = !self.is_strangers_turn;
                return Some(job);
            }
        }
    }
}

impl Queues {
    /// No code that can panic runs under this lock.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next job. None when there will be none any more.
    fn next(&self) -> Option<Job> {
        let mut waiting = self.waiting();
        loop {
            if waiting.is_closed {
                return None;
            }
            if let Some(job) = waiting.pop() {
                return Some(job);
            }
            waiting = self.is_changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Pool {
    /// With one thread for every two cores, so that clients that log in leave time to others.
    pub(crate) fn start() -> Pool {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Pool::with(cores.div_ceil(2), WAITING_MAX)
    }

    fn with(threads: usize, waiting_max: usize) -> Pool {
        let waiting = Mutex::new(Waiting::new(waiting_max));
        let queues = Arc::new(Queues { waiting, is_changed: Condvar::new() });
        for number in 0..threads {
            let queues = Arc::clone(&queues);
            let body = move || {
                while let Some(job) = queues.next() {
                    // If the client has left meanwhile, nobody needs to know.
                    let _ = job.done.send((job.work)());
                }
            };
            let started = thread::Builder::new().name(format!("compute-{number}")).spawn(body);
            if let Err(error) = started {
                tracing::error!(%error, "a thread for passwords cannot start");
            }
        }
        Pool { queues }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queues.waiting().is_closed = true;
        self.queues.is_changed.notify_all();
    }
}

impl Compute for Pool {
    fn compute(
        &self,
        work: Work,
        whose: Whose,
    ) -> Pin<Box<dyn Future<Output = Result<bool, Busy>> + Send>> {
        let (done, result) = oneshot::channel();
        let job = Job { address: whose.address, work, done };
        let queued = self.queues.waiting().push(job, whose.is_known);
        self.queues.is_changed.notify_one();
        Box::pin(async move {
            queued?;
            result.await.map_err(|_| Busy)
        })
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot::error::TryRecvError::Closed;

    use super::*;

    const STRANGER: Whose = Whose { address: None, is_known: false };

    #[tokio::test]
    async fn work_is_done_elsewhere_and_too_much_of_it_is_refused() {
        let pool = Pool::with(1, 1);
        let (started, has_started) = mpsc::channel();
        let (release, is_released) = mpsc::channel::<()>();
        let here = thread::current().id();
        let work = move || {
            started.send(()).expect("the test waits");
            is_released.recv().expect("the test says so");
            thread::current().id() != here
        };
        let first = pool.compute(Box::new(work), STRANGER);
        has_started.recv().expect("a thread takes it");
        let second = pool.compute(Box::new(|| false), STRANGER);
        let third = pool.compute(Box::new(|| true), STRANGER);
        assert_eq!(third.await, Err(Busy));
        let known = pool.compute(Box::new(|| true), Whose { is_known: true, ..STRANGER });
        release.send(()).expect("the thread waits");
        assert_eq!((first.await, second.await, known.await), (Ok(true), Ok(false), Ok(true)));
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_not_done() {
        let pool = Pool::with(1, 8);
        let (release, is_released) = mpsc::channel::<()>();
        let first = pool.compute(Box::new(move || is_released.recv().is_ok()), STRANGER);
        drop(pool.compute(Box::new(|| panic!("its client has left")), STRANGER));
        release.send(()).expect("the thread waits");
        assert_eq!(first.await, Ok(true));
        assert_eq!(pool.compute(Box::new(|| true), STRANGER).await, Ok(true));
    }

    #[tokio::test]
    async fn its_threads_end_with_it() {
        let pool = Pool::with(3, 8);
        assert_eq!(pool.compute(Box::new(|| true), STRANGER).await, Ok(true));
        let queues = Arc::downgrade(&pool.queues);
        drop(pool);
        while queues.strong_count() > 0 {
            thread::yield_now();
        }
    }

    /// Adds a job of an address; its client, unless it is refused.
    fn push(waiting: &mut Waiting, address: u8, is_known: bool) -> Option<oneshot::Receiver<bool>> {
        let (done, result) = oneshot::channel();
        let address = Some(IpAddr::from([192, 0, 2, address]));
        let job = Job { address, work: Box::new(|| true), done };
        waiting.push(job, is_known).is_ok().then_some(result)
    }

    /// Whose jobs are done, in this order.
    fn order(waiting: &mut Waiting) -> Vec<u8> {
        let last = |job: Job| match job.address {
            Some(IpAddr::V4(address)) => address.octets()[3],
            _ => 0,
        };
        std::iter::from_fn(|| waiting.pop()).map(last).collect()
    }

    #[test]
    fn addresses_are_served_in_turn() {
        let waiting = &mut Waiting::new(100);
        let clients: Vec<_> =
            [1, 1, 1, 1, 2, 2, 3].map(|address| push(waiting, address, false)).into();
        assert!(clients.iter().all(Option::is_some));
        assert_eq!(order(waiting), [1, 2, 3, 1, 2, 1, 1]);
    }

    /// One at a time gains nothing on those who wait.
    #[test]
    fn who_comes_again_waits_behind_all_others() {
        let waiting = &mut Waiting::new(100);
        let mut clients: Vec<_> = [1, 2, 2, 2].map(|address| push(waiting, address, false)).into();
        let mut served = Vec::new();
        while let Some(job) = waiting.pop() {
            let is_first = job.address == Some(IpAddr::from([192, 0, 2, 1]));
            served.push(if is_first { 1 } else { 2 });
            if is_first && served.len() < 20 {
                clients.push(push(waiting, 1, false));
            }
        }
        assert_eq!(served[..6], [1, 2, 2, 1, 2, 1]);
    }

    #[test]
    fn those_who_are_known_wait_for_no_crowd() {
        let waiting = &mut Waiting::new(4);
        let clients: Vec<_> = (1..=9).map(|address| push(waiting, address, false)).collect();
        assert_eq!(clients.iter().flatten().count(), 4, "each is a crowd of its own");
        let known: Vec<_> = [21, 22].map(|address| push(waiting, address, true)).into();
        assert!(known.iter().all(Option::is_some));
        assert_eq!(order(waiting), [21, 1, 22, 2, 3, 4]);
    }

    #[test]
    fn who_has_most_places_gives_them_up() {
        let waiting = &mut Waiting::new(8);
        let mut many: Vec<_> = (0..9).map(|_| push(waiting, 1, false)).collect();
        assert!(many.pop().is_some_and(|ninth| ninth.is_none()), "all places are its own");
        let others: Vec<_> = [2, 3, 2, 2, 2, 2].map(|address| push(waiting, address, false)).into();
        let is_in = |client: &Option<_>| client.is_some();
        assert_eq!(
            others.iter().map(is_in).collect::<Vec<_>>(),
            [true, true, true, true, false, false]
        );
        let is_told = |client: &mut oneshot::Receiver<_>| client.try_recv() == Err(Closed);
        let told: Vec<_> = many.iter_mut().flatten().map(is_told).collect();
        assert_eq!(told, [false, false, false, false, true, true, true, true]);
        assert_eq!(order(waiting), [1, 2, 3, 1, 2, 1, 2, 1]);
    }

    #[test]
    fn who_has_left_takes_no_place() {
        let waiting = &mut Waiting::new(2);
        let clients: Vec<_> = [1, 2].map(|address| push(waiting, address, false)).into();
        assert!(push(waiting, 3, false).is_none());
        drop(clients);
        let client = push(waiting, 3, false);
        assert!(client.is_some());
        assert_eq!(order(waiting), [3]);
    }
}
