//! The broker's one timer: calls the machine back when a deadline of its is reached.
//!
//! Runs on the first worker. What is due, and for whom, only the machine knows.

use std::future;
use std::rc::Rc;

use super::network::Network;
use super::worker::Worker;
use crate::machine::{Input, Timestamp};

/// Keeps the machine's deadlines until the worker has ended.
pub(crate) async fn run<N: Network>(worker: Rc<Worker<N>>) {
    let mut finished = std::pin::pin!(worker.finished());
    loop {
        let due = worker.shared().arm();
        tokio::select! {
            biased;
            () = &mut finished => return,
            () = worker.shared().rearmed() => {}
            () = reached(&worker, due) => {
                worker.exchange(None, |machine, now| machine.handle(Input::Deadline, now));
            }
        }
    }
}

async fn reached<N: Network>(worker: &Worker<N>, due: Option<Timestamp>) {
    match due.and_then(|due| worker.shared().clock().instant(due)) {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => future::pending().await,
    }
}
