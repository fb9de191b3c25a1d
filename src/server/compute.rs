//! Costly work in production: a few threads of its own, and a bounded queue before them.
//!
//! Hashing a password takes up to half a second; a worker would serve nobody meanwhile. What the
//! work is, `access/` knows.

use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::access::{Busy, Compute, Work};

/// Work that may wait. More is refused: it would be done after its clients have given up.
const WAITING_MAX: usize = 256;

/// The threads. They end when it is dropped.
#[derive(Debug)]
pub(crate) struct Pool {
    queue: SyncSender<Job>,
}

struct Job {
    work: Work,
    done: oneshot::Sender<bool>,
}

impl Pool {
    /// With one thread for every two cores, so that clients that log in leave time to others.
    pub(crate) fn start() -> Pool {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Pool::with(cores.div_ceil(2), WAITING_MAX)
    }

    fn with(threads: usize, waiting_max: usize) -> Pool {
        let (queue, jobs) = sync_channel(waiting_max);
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads {
            let jobs = Arc::clone(&jobs);
            let body = move || while work(&jobs) {};
            let started = thread::Builder::new().name(format!("compute-{number}")).spawn(body);
            if let Err(error) = started {
                tracing::error!(%error, "a thread for passwords cannot start");
            }
        }
        Pool { queue }
    }
}

/// Does the next job. False when there will be none any more.
fn work(jobs: &Mutex<Receiver<Job>>) -> bool {
    let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
    let Ok(job) = next else { return false };
    if !job.done.is_closed() {
        // If the client has left meanwhile, nobody needs to know.
        let _ = job.done.send((job.work)());
    }
    true
}

impl Compute for Pool {
    fn compute(&self, work: Work) -> Pin<Box<dyn Future<Output = Result<bool, Busy>> + Send>> {
        let (done, result) = oneshot::channel();
        let queued = self.queue.try_send(Job { work, done });
        Box::pin(async move {
            queued.map_err(|_| Busy)?;
            result.await.map_err(|_| Busy)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_is_done_elsewhere_and_too_much_of_it_is_refused() {
        let pool = Pool::with(1, 1);
        let (started, has_started) = mpsc::channel();
        let (release, is_released) = mpsc::channel::<()>();
        let here = thread::current().id();
        let first = pool.compute(Box::new(move || {
            started.send(()).expect("the test waits");
            is_released.recv().expect("the test says so");
            thread::current().id() != here
        }));
        has_started.recv().expect("a thread takes it");
        let second = pool.compute(Box::new(|| false));
        let third = pool.compute(Box::new(|| true));
        assert_eq!(third.await, Err(Busy));
        release.send(()).expect("the thread waits");
        assert_eq!((first.await, second.await), (Ok(true), Ok(false)));
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_not_done() {
        let pool = Pool::with(1, 8);
        let (release, is_released) = mpsc::channel::<()>();
        let first = pool.compute(Box::new(move || is_released.recv().is_ok()));
        drop(pool.compute(Box::new(|| panic!("its client has left"))));
        release.send(()).expect("the thread waits");
        assert_eq!(first.await, Ok(true));
        assert_eq!(pool.compute(Box::new(|| true)).await, Ok(true));
    }
}
