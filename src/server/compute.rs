//! Costly work in production: a few threads of its own, and bounded queues before them.
//!
//! Hashing a password takes up to half a second; a worker would serve nobody meanwhile. Whose turn
//! it is says `waiting.rs`: whoever guesses passwords keeps others waiting for one guess of each
//! address. What the work is, `access/` knows.

use std::future::Future;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::waiting::{Job, Waiting};
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
    jobs: Mutex<Jobs>,
    is_changed: Condvar,
}

#[derive(Debug)]
struct Jobs {
    waiting: Waiting<Work, bool>,
    is_closed: bool,
}

impl Queues {
    /// No code that can panic runs under this lock.
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next job. None when there will be none any more.
    fn next(&self) -> Option<Job<Work, bool>> {
        let mut jobs = self.jobs();
        loop {
            if jobs.is_closed {
                return None;
            }
            if let Some(job) = jobs.waiting.pop() {
                return Some(job);
            }
            jobs = self.is_changed.wait(jobs).unwrap_or_else(PoisonError::into_inner);
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
        let jobs = Jobs { waiting: Waiting::new(waiting_max), is_closed: false };
        let queues = Arc::new(Queues { jobs: Mutex::new(jobs), is_changed: Condvar::new() });
        for number in 0..threads {
            let queues = Arc::clone(&queues);
            let body = move || {
                while let Some(job) = queues.next() {
                    // A plugin of the program's own that panics refuses this client, and no other.
                    let said = catch_unwind(AssertUnwindSafe(job.work));
                    // If the client has left meanwhile, nobody needs to know.
                    let _ = job.done.send(said.unwrap_or(false));
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
        self.queues.jobs().is_closed = true;
        self.queues.is_changed.notify_all();
    }
}

impl Compute for Pool {
    fn compute(
        &self,
        work: Work,
        whose: Whose,
    ) -> Pin<Box<dyn Future<Output = Result<bool, Busy>> + Send>> {
        let queued = self.queues.jobs().waiting.push(work, whose);
        self.queues.is_changed.notify_one();
        Box::pin(async move { queued?.await.map_err(|_| Busy) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

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
        let (done, is_done) = mpsc::channel::<()>();
        drop(pool.compute(Box::new(move || done.send(()).is_ok()), STRANGER));
        release.send(()).expect("the thread waits");
        assert_eq!(first.await, Ok(true));
        assert_eq!(pool.compute(Box::new(|| true), STRANGER).await, Ok(true));
        assert!(is_done.try_recv().is_err(), "its client has left");
    }

    #[tokio::test]
    async fn work_that_panics_is_a_no_and_others_are_done() {
        let pool = Pool::with(1, 8);
        let panics = pool.compute(Box::new(|| panic!("on purpose")), STRANGER);
        assert_eq!(panics.await, Ok(false));
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
}
