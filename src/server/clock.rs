//! The broker's clock: milliseconds since the Unix epoch that never go backwards.
//!
//! The wall clock is not read here: the epoch comes in at start (`broker.rs` reads it in
//! production, the plan gives it in simulation) and tokio's monotonic clock, which may be a
//! simulated one, advances it. `timer.rs` sleeps by it.

use std::time::Duration;

use tokio::time::Instant;

use crate::machine::Timestamp;

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
