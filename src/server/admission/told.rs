//! Of whom the log has spoken lately: an attack must not fill it.
//!
//! One line for a source in a minute, and some lines for all together. Pure: time comes in as an
//! argument.

use super::source::Source;
use crate::machine::Timestamp;

/// Milliseconds in which a source is spoken of once.
const INTERVAL: u64 = 60_000;
/// Sources that are spoken of in that time.
const SOURCES_MAX: usize = 20;

/// What was logged since the interval began.
#[derive(Debug, Default)]
pub(super) struct Told {
    since: Option<Timestamp>,
    sources: Vec<Option<Source>>,
    untold: u64,
}

impl Told {
    /// Whether to log this, and then how much was not logged since the last line.
    pub(super) fn tell(&mut self, source: Option<Source>, now: Timestamp) -> Option<u64> {
        if self.since.is_none_or(|since| now.millis_since(since) >= INTERVAL) {
            self.since = Some(now);
            self.sources.clear();
        }
        if self.sources.contains(&source) || self.sources.len() >= SOURCES_MAX {
            self.untold += 1;
            return None;
        }
        self.sources.push(source);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_spoken_of_once_a_minute_and_few_are() {
        let mut told = Told::default();
        let source = |number| Some(Source::V6(number));
        assert_eq!(told.tell(source(1), Timestamp(5)), Some(0));
        assert_eq!(told.tell(source(1), Timestamp(60_004)), None);
        assert_eq!(told.tell(None, Timestamp(60_004)), Some(1));
        assert_eq!(told.tell(source(1), Timestamp(60_005)), Some(0));
        let lines = (2..10_000).filter(|n| told.tell(source(*n), Timestamp(60_006)).is_some());
        assert_eq!(lines.count(), 19);
        assert_eq!(told.tell(source(1), Timestamp(120_005)), Some(9_979));
    }
}
