//! The broker's clock: machine time, in milliseconds that never go backwards.
//!
//! The wall clock is not read here: what it shows comes in at start (`broker.rs` reads it in
//! production, the plan gives it in simulation) and tokio's monotonic clock, which may be a
//! simulated one, advances that. A log may say that machine time is another. `timer.rs` sleeps by
//! it, and `wall.rs` sees whether the wall clock is set meanwhile.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::machine::{Restorer, Resumed, Timestamp};

/// Tells the time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Timestamp,
    start: Instant,
}

impl Clock {
    /// A clock that shows `epoch` now. In simulation, call it on a simulated host.
    pub fn starting_at(epoch: Timestamp) -> Clock {
        Clock { epoch, start: Instant::now() }
    }

    /// That of a broker that goes on with a log, if this one shows what the wall clock does.
    pub(super) fn resumed(self, restorer: &mut Restorer) -> Clock {
        let Resumed { now, is_by_wall } = restorer.resume(self.now());
        if !is_by_wall {
            warn!(
                "the wall clock does not show how long the broker was down: what expires has as \
                 long left as it had then; if this machine has no clock of its own, let it get the \
                 time before the broker starts"
            );
        }
        Clock::starting_at(now)
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        let elapsed = self.start.elapsed().as_millis();
        self.epoch.after_millis(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// The instant at which the clock shows `time`; none if that is beyond any instant.
    pub(crate) fn instant(&self, time: Timestamp) -> Option<Instant> {
        self.start.checked_add(Duration::from_millis(time.millis_since(self.epoch)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_starts_at_the_epoch_and_maps_back_to_instants() {
        let clock = Clock::starting_at(Timestamp(1_700_000_000_000));
        let now = clock.now();
        assert!(now.millis_since(Timestamp(1_700_000_000_000)) < 60_000);
        assert_eq!(now.0 / 100_000_000, 17_000);
        let later = clock.instant(now.after_millis(1_500)).expect("not far away");
        let sooner = clock.instant(now).expect("not far away");
        assert_eq!(later - sooner, Duration::from_millis(1_500));
    }
}
