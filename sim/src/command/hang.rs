//! Watches over runs that do not end: a broker that goes round in circles would otherwise stop
//! the simulator without a word.
//!
//! Nothing can end such a thread, so the process ends, and says which seed it was.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::level::Ground;

/// A thousand times what a run takes.
const HANG: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// What one thread plays, and since when.
#[derive(Debug, Default)]
pub(super) struct Playing(Mutex<Option<(u64, Instant)>>);

impl Playing {
    pub(super) fn begin(&self, seed: u64) {
        self.set(Some((seed, Instant::now())));
    }

    pub(super) fn end(&self) {
        self.set(None);
    }

    fn set(&self, playing: Option<(u64, Instant)>) {
        *self.0.lock().expect("held without a panic") = playing;
    }

    fn hanging(&self, longest: Duration) -> Option<u64> {
        let playing = self.0.lock().expect("held without a panic");
        playing.filter(|(_, since)| since.elapsed() > longest).map(|(seed, _)| seed)
    }
}

/// Watches until nobody can send to `over` any more. Ends the process if a run hangs.
pub(super) fn watch(all: &[Playing], over: &Receiver<()>, ground: Ground) {
    while over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        let Some(seed) = all.iter().find_map(|playing| playing.hanging(HANG)) else { continue };
        let options = ground.options();
        println!(
            "seed {seed} does not end: it has been played for {} s\n\n\
             Play it again:    cargo sim replay {seed} --trace {options}\n\
             See where it is:  attach a debugger to that",
            HANG.as_secs(),
        );
        std::process::exit(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_played_for_long_hangs() {
        let playing = Playing::default();
        assert_eq!(playing.hanging(Duration::ZERO), None);
        playing.begin(7);
        assert_eq!(playing.hanging(HANG), None);
        assert_eq!(playing.hanging(Duration::ZERO), Some(7));
        playing.end();
        assert_eq!(playing.hanging(Duration::ZERO), None);
    }
}
