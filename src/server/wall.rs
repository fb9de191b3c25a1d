//! Looks whether the wall clock was set, and tells the machine, and people.
//!
//! Runs on the first worker. What that means for what is kept is in `machine/wall.rs`.

use std::rc::Rc;
use std::time::Duration;

use tracing::warn;

use super::network::Network;
use super::worker::Worker;
use crate::machine::{Input, Timestamp, offset_if_set};

/// How often it is looked at. Nothing that is portable tells that it was set; two clocks are read,
/// and nobody else is visited or woken.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Looks until the worker has ended, if there is a wall clock.
pub(crate) async fn run<N: Network>(worker: Rc<Worker<N>>) {
    if worker.network().date().is_none() {
        return;
    }
    let mut finished = std::pin::pin!(worker.finished());
    let known = worker.shared().visit(|machine, _| machine.clock_offset());
    let mut offset = known.unwrap_or_default();
    loop {
        look(&worker, &mut offset);
        tokio::select! {
            biased;
            () = &mut finished => return,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

/// Tells the machine if it was set: `offset` is what that knows. A machine that slept looks the
/// same: the wall clock went on, and what advances machine time did not. Then nothing expires by
/// the time that it slept, neither now nor after a restart: nobody could have come back meanwhile.
fn look<N: Network>(worker: &Worker<N>, offset: &mut i64) {
    let shared = worker.shared();
    let Some(date) = worker.network().date() else { return };
    let shown = Timestamp(u64::try_from(date.as_millis()).unwrap_or(u64::MAX));
    let Some(found) = offset_if_set(*offset, shown, shared.clock().now()) else { return };
    let way = if found < *offset { "forward, or this machine slept" } else { "back" };
    let elapsed = Duration::from_millis(found.abs_diff(*offset));
    warn!(?elapsed, "the wall clock was set {way}: what expires goes by the time that passes");
    *offset = found;
    shared.visit(|machine, now| machine.handle(Input::ClockSet { offset: found }, now));
}
