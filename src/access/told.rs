//! Of what the log has spoken lately: who does something again and again must not fill it.
//!
//! One line for a cause in a minute, such as an address or a client id, and some lines for all
//! together. Pure: time comes in as an argument.

use std::num::NonZeroU64;
use std::time::Duration;

/// Time in which a cause is spoken of once.
const INTERVAL: Duration = Duration::from_secs(60);
/// Causes that are spoken of in that time.
const CAUSES_MAX: usize = 20;

/// What was logged since the interval began.
#[derive(Debug)]
pub(crate) struct Told<C> {
    since: Option<Duration>,
    causes: Vec<C>,
    untold: u64,
}

/// Something is to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// How much was not logged since the last line, if anything.
    pub(crate) unlogged: Option<NonZeroU64>,
}

impl<C> Default for Told<C> {
    fn default() -> Told<C> {
        Told { since: None, causes: Vec::new(), untold: 0 }
    }
}

impl<C: PartialEq> Told<C> {
    /// Whether to log this. `now`: since any fixed moment.
    pub(crate) fn tell(&mut self, cause: C, now: Duration) -> Option<Line> {
        if self.since.is_none_or(|since| now.saturating_sub(since) >= INTERVAL) {
            self.since = Some(now);
            self.causes.clear();
        }
        if self.causes.contains(&cause) || self.causes.len() >= CAUSES_MAX {
            self.untold += 1;
            return None;
        }
        self.causes.push(cause);
        Some(Line { unlogged: NonZeroU64::new(std::mem::take(&mut self.untold)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_spoken_of_once_a_minute_and_few_are() {
        let mut told = Told::default();
        let mut tell = |cause, millis| {
            let line: Option<Line> = told.tell(cause, Duration::from_millis(millis));
            line.map(|line| line.unlogged.map_or(0, NonZeroU64::get))
        };
        assert_eq!(tell(1, 5), Some(0));
        assert_eq!(tell(1, 60_004), None);
        assert_eq!(tell(0, 60_004), Some(1));
        assert_eq!(tell(1, 60_005), Some(0));
        let lines = (2..10_000).filter(|cause| tell(*cause, 60_006).is_some());
        assert_eq!(lines.count(), 19);
        assert_eq!(tell(1, 120_005), Some(9_979));
    }
}
