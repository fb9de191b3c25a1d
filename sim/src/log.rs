//! What the broker logs in a run, what its disk does, and when: for whoever looks for the line that is
//! wrong.
//!
//! Kept only where a run is told to people. It changes nothing of the run. The machine logs nothing.

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{Level, debug, enabled};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, fmt};

/// A line of the broker's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Simulated milliseconds since the run began.
    pub at_ms: u64,
    /// As it is written, without its time.
    pub line: String,
}

/// Plays, and keeps what the broker logs on this thread meanwhile.
pub fn keeping_log<T>(play: impl FnOnce() -> T) -> (T, Vec<Logged>) {
    let lines = Lines::default();
    let layer = fmt::layer()
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .with_writer(lines.clone())
        .with_filter(Targets::new().with_target("stormpetrel", Level::DEBUG));
    let subscriber = tracing_subscriber::registry().with(layer);
    let played = tracing::subscriber::with_default(subscriber, play);
    let kept = std::mem::take(&mut *lines.0.lock().unwrap_or_else(PoisonError::into_inner));
    (played, kept)
}

thread_local! {
    /// When what is being said is said, where turmoil does not know.
    static SAID_AT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Says what goes with the log, if it is kept. `at_ms`: none: now, by turmoil.
pub(crate) fn say(at_ms: impl Into<Option<u64>>, words: impl FnOnce() -> String) {
    if enabled!(Level::DEBUG) {
        SAID_AT.set(at_ms.into());
        debug!("{}", words());
        SAID_AT.set(None);
    }
}

#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<Logged>>>);

/// One that is being written.
#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    lines: Lines,
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Line;

    fn make_writer(&'w self) -> Line {
        Line { bytes: Vec::new(), lines: self.clone() }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let by_turmoil = || turmoil::sim_elapsed().map_or(0, |elapsed| elapsed.as_millis() as u64);
        let at_ms = SAID_AT.get().unwrap_or_else(by_turmoil);
        let line = String::from_utf8_lossy(&self.bytes).trim().to_owned();
        let mut lines = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(Logged { at_ms, line });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network_level;
    use crate::plan::Plan;

    #[test]
    fn the_log_is_kept_with_its_times_and_changes_nothing_of_the_run() {
        let scenario = Plan::drawn(7).scenario();
        let (run, log) = keeping_log(|| network_level::run(&scenario));
        assert_eq!(run, network_level::run(&scenario));
        let of = |what: &str| log.iter().filter(|it| it.line.contains(what)).collect::<Vec<_>>();
        assert_eq!(of("INFO listening")[0].at_ms, 0, "{log:?}");
        assert!(of("INFO connected client_id=").iter().any(|it| it.at_ms > 0), "{log:?}");
        assert!(log.is_sorted_by_key(|it| it.at_ms));
    }
}
