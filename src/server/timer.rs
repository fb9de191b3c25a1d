//! The broker's one timer: calls the machine back when a deadline of its is reached.
//!
//! Runs on the first worker. What is due, and for whom, only the machine knows.

use std::future;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::network::Network;
use super::worker::Worker;
use crate::machine::{Input, Timestamp};

/// Measuring costs some system calls: no more often than this.
const MEASURE_INTERVAL: Duration = Duration::from_millis(500);

/// Keeps the machine's deadlines until the worker has ended.
pub(crate) async fn run<N: Network>(worker: Rc<Worker<N>>) {
    let mut finished = std::pin::pin!(worker.finished());
    let mut measured: Option<Instant> = None;
    loop {
        let due = worker.shared().arm();
        tokio::select! {
            biased;
            () = &mut finished => return,
            () = worker.shared().rearmed() => {}
            () = reached(&worker, due) => {
                if measured.is_none_or(|before| before.elapsed() >= MEASURE_INTERVAL) {
                    measured = Some(Instant::now());
                    measure(&worker);
                }
                worker.exchange(|machine, now| machine.handle(Input::Deadline, now));
                // More may be due at once: others have their turn first.
                worker.shared().let_others_visit();
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Tells the machine what it cannot see, in case `$SYS` is due.
fn measure<N: Network>(worker: &Worker<N>) {
    let readings = worker.shared().readings(worker.network().usage());
    worker.shared().visit(|machine, now| machine.handle(Input::Measured(readings), now));
}

async fn reached<N: Network>(worker: &Worker<N>, due: Option<Timestamp>) {
    match due.and_then(|due| worker.shared().clock().instant(due)) {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => future::pending().await,
    }
}
