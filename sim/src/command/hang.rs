//! Watches over runs that do not end: a broker that goes round in circles would otherwise stop
//! the simulator without a word.
//!
//! Nothing can end such a thread, so the process ends, and says which seed it was.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::level::Ground;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// A run that is still played after so many looks does not end: that is a thousand times what
/// one takes.
const LOOKS_MAX: u32 = 60;
/// No seed.
const NOTHING: u64 = u64::MAX;

/// The seed that one thread plays.
#[derive(Debug)]
pub(super) struct Playing(AtomicU64);

/// What one thread played at the last look, and at how many before that.
#[derive(Clone, Copy, Debug)]
struct Seen {
    seed: u64,
    looks: u32,
}

impl Playing {
    pub(super) fn nothing() -> Playing {
        Playing(AtomicU64::new(NOTHING))
    }

    pub(super) fn begin(&self, seed: u64) {
        self.0.store(seed, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.0.store(NOTHING, Ordering::Relaxed);
    }
}

impl Seen {
    /// Looks again. Whether the same seed is played for too long now.
    fn look(&mut self, playing: &Playing) -> bool {
        let seed = playing.0.load(Ordering::Relaxed);
        let is_same = seed == self.seed && seed != NOTHING;
        *self = Seen { seed, looks: if is_same { self.looks + 1 } else { 0 } };
        self.looks >= LOOKS_MAX
    }
}

/// Watches until nobody can send to `over` any more. Ends the process if a run hangs.
pub(super) fn watch(all: &[Playing], over: &Receiver<()>, ground: Ground) {
    let mut seen = vec![Seen { seed: NOTHING, looks: 0 }; all.len()];
    while over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        for (seen, playing) in seen.iter_mut().zip(all) {
            if seen.look(playing) {
                say(seen.seed, ground);
                std::process::exit(1);
            }
        }
    }
}

fn say(seed: u64, ground: Ground) {
    let options = ground.options();
    let words = format!(
        "seed {seed} does not end: it has been played for a minute\n\n\
         Play it again:    cargo sim replay {seed} --trace {options}\n\
         See where it is:  attach a debugger to that\n"
    );
    // Who does not listen cannot be told.
    let _ = io::stdout().write_all(words.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_played_for_long_hangs() {
        let (playing, mut seen) = (Playing::nothing(), Seen { seed: NOTHING, looks: 0 });
        assert!((0..2 * LOOKS_MAX).all(|_| !seen.look(&playing)), "nothing is played");
        playing.begin(7);
        assert!((0..LOOKS_MAX).all(|_| !seen.look(&playing)));
        assert!(seen.look(&playing));
        playing.begin(8);
        assert!((0..LOOKS_MAX).all(|_| !seen.look(&playing)), "another one");
        playing.end();
        assert!(!seen.look(&playing));
    }
}
