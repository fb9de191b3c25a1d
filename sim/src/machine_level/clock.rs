//! The clocks of the broker's machine: the wall clock, which may be set, and machine time, which a
//! start takes from it, or from the log.

use stormpetrel::machine::Timestamp;

/// Simulated time at the beginning of every run, in milliseconds since the Unix epoch.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// Milliseconds between two looks of the shell at the wall clock.
const LOOK_MS: u64 = 1_000;

/// Both of them. Times without a type are milliseconds since the run began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// Milliseconds that the wall clock was set forward.
    set_ms: i64,
    /// Machine time when the last broker started, and when that was.
    started: (Timestamp, u64),
}

impl Clock {
    /// The wall clock is set forward; below 0: back.
    pub(super) fn set(&mut self, by_ms: i64) {
        self.set_ms = self.set_ms.saturating_add(by_ms);
    }

    /// What the wall clock shows.
    pub(super) fn wall(&self, now: u64) -> Timestamp {
        Timestamp(EPOCH_MS + now).shifted(self.set_ms)
    }

    /// A broker starts.
    pub(super) fn start(&mut self, time: Timestamp, now: u64) {
        self.started = (time, now);
    }

    pub(super) fn machine_time(&self, now: u64) -> Timestamp {
        let (time, at) = self.started;
        time.after_millis(now - at)
    }

    /// When machine time is that; the start, if it was before.
    pub(super) fn run_ms(&self, time: Timestamp) -> u64 {
        let (started, at) = self.started;
        at.saturating_add(time.millis_since(started))
    }

    /// When the shell looks at the wall clock next.
    pub(super) fn next_look(&self, now: u64) -> u64 {
        let (_, at) = self.started;
        at + ((now - at) / LOOK_MS + 1) * LOOK_MS
    }
}
