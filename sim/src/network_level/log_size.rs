//! How large the log may be, once all is quiet: so many times what lives in it, and some bytes
//! more.
//!
//! A broker looks at that each time its disk has kept something, so what lived then counts, not
//! what lives later. Of a log that was just written anew nothing can be removed, whatever has
//! gone meanwhile: what ever lived bounds that.

use stormpetrel::store::Disk;

use super::broker::HEADER_BYTES;
use super::stage::Stage;
use super::trouble::RESERVE;
use super::violation;
use crate::disk::SimDisk;
use crate::verdict::{Promise, Violation};

/// So many times what lives in it.
const TIMES_MAX: u64 = 3;
/// Segments that are not full: the last one, and the one before the log was written anew. Their
/// room counts as well.
const SEGMENTS: u64 = 2;
/// Milliseconds until a log that has grown too large is written anew, at most.
const REWRITE_MS: u64 = 20_000;

/// How much lived in the log, by the broker's own account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lived {
    /// How often the disk had kept something, and how much lived when last looked.
    times: u64,
    last: u64,
    /// When it had kept something last, and at most.
    when_kept: u64,
    most: u64,
}

impl Lived {
    fn note(&mut self, times: u64, bytes: u64) {
        if times != self.times {
            self.when_kept = self.last.max(bytes);
        }
        (self.times, self.last) = (times, bytes);
        self.most = self.most.max(bytes);
    }

    /// Bytes of records that there may be, where `dead` that are dead are no reason to write all
    /// of it anew. Records are not laid out as memory is: a quarter more.
    fn bytes_max(self, dead: u64) -> u64 {
        let times = TIMES_MAX * self.when_kept;
        let left_over = self.when_kept + self.most + self.most / 4;
        times.max(left_over) + dead
    }
}

impl Stage<'_> {
    /// Looks how much lives.
    pub(super) fn note_lived(&mut self) {
        if self.scenario.broker.log_bytes.is_none() {
            return; // none of these logs grows so large that it is written anew
        }
        let brokers = self.brokers();
        if let Some(disk) = brokers.disk() {
            let times = if self.is_async() { disk.writes() } else { disk.syncs() };
            self.lived.note(times, brokers.kept_bytes());
        }
    }

    /// The log is as small as it should be, or is soon.
    pub(super) fn check_log(&mut self) -> Result<(), Violation> {
        let until = self.now + REWRITE_MS;
        while let Some(words) = self.too_much() {
            if self.now >= until {
                return Err(violation(Promise::I17, "log-too-large", words));
            }
            self.step()?;
        }
        Ok(())
    }

    /// That the log is too large, in words.
    fn too_much(&self) -> Option<String> {
        let segment = self.scenario.broker.log_bytes?;
        let bytes = log_bytes(&self.brokers().disk()?);
        let most = self.lived.bytes_max(segment) + SEGMENTS * segment;
        let lives = self.lived.when_kept;
        (bytes > most).then(|| {
            format!(
                "the log has {bytes} bytes, of which {lives} live: it should have {most} at most"
            )
        })
    }
}

/// Bytes of all segments, without their headers and what they are padded with: one that was closed
/// because more waited than it has room for is not full.
fn log_bytes(disk: &SimDisk) -> u64 {
    let files = disk.list().unwrap_or_default().into_iter();
    let segments = files.filter(|file| file.name != RESERVE.0);
    segments.map(|file| disk.written_of(&file.name).saturating_sub(HEADER_BYTES)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panics::Watch;
    use crate::scenario::Scenario;
    use crate::{Broker, Durability, Store};

    #[test]
    fn what_lived_when_the_disk_kept_something_counts() {
        let mut lived = Lived::default();
        lived.note(1, 100);
        lived.note(1, 10);
        assert_eq!((lived.when_kept, lived.most), (100, 100));
        lived.note(2, 20);
        assert_eq!((lived.when_kept, lived.most), (20, 100));
        lived.note(2, 60);
        lived.note(3, 40);
        assert_eq!(lived.when_kept, 60, "it may have been kept before some of it went");
        assert_eq!(lived.bytes_max(1_000), 1_000 + 60 + 125);
        lived.note(4, 90);
        assert_eq!(lived.bytes_max(1_000), 1_000 + 3 * 90);
    }

    #[test]
    fn a_log_that_is_too_large_is_noticed() {
        let store = Store { durability: Durability::Sync, sync_ms_max: 0 };
        let broker = Broker { store: Some(store), log_bytes: Some(2_000), ..Broker::default() };
        let scenario = Scenario { broker, safety_ms: 10, ..Scenario::default() };
        let watch = Watch::start();
        let mut stage = Stage::new(&scenario, None, &watch);
        assert_eq!(stage.play(), Ok(()));
        let disk = stage.brokers().disk().expect("it keeps something");
        disk.put("more", vec![7; (HEADER_BYTES + 4_000) as usize]);
        assert_eq!(stage.check_log(), Ok(()));
        disk.put("more", vec![7; (HEADER_BYTES + 40_000) as usize]);
        let late = stage.now + REWRITE_MS;
        let large = stage.check_log().expect_err("nothing removes it");
        assert_eq!(large.rule, "log-too-large");
        assert!(stage.now >= late, "it had time to be written anew");
    }
}
