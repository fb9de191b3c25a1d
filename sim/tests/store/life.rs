//! What the tests of the log share: opening one, what was in it, and what should have been.

use stormpetrel::store::{Disk, Log, Lsn, Recovered, Settings, Visit};
use stormpetrel_sim::SimDisk;

/// Two or three records fill a segment.
pub(crate) fn settings() -> Settings {
    Settings { segment_bytes: 8_192 + 700, reserve_bytes: 0, new_id: 0x0123_4567_89AB_CDEF }
}

/// The content of a record: of any length, and never the same.
pub(crate) fn content(lsn: u64) -> Vec<u8> {
    let length = [0, 1, 200, 30, 500, 7, 3][lsn as usize % 7];
    (0..length).map(|at| (lsn as u8).wrapping_mul(31).wrapping_add(at as u8)).collect()
}

/// What recovery has visited.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) records: Vec<u64>,
    /// The first and the last one missing.
    pub(crate) gaps: Vec<(u64, u64)>,
}

impl Seen {
    /// Takes note; the record must be one that was written, as it was written, in its place.
    pub(crate) fn visit(&mut self, visit: Visit<'_>) {
        let last = self.last();
        match visit {
            Visit::Record { lsn, content: bytes, .. } => {
                assert_eq!(bytes, content(lsn.0), "record {lsn} is invented");
                assert!(last == 0 || lsn.0 == last + 1, "{lsn} after {last}, and no gap is told");
                self.records.push(lsn.0);
            }
            Visit::Gap { after, before } => {
                assert!(before.0 > after.0 + 1, "an empty gap {after} {before}");
                assert!(last == 0 || after.0 == last, "a gap after {after}, not after {last}");
                self.gaps.push((after.0 + 1, before.0 - 1));
            }
            Visit::LeftOut { after, before } => panic!("{after} to {before}: nobody repaired it"),
            Visit::Progress { bytes, of } => assert!(bytes <= of),
        }
    }

    fn last(&self) -> u64 {
        let gap = self.gaps.last().map_or(0, |gap| gap.1);
        self.records.last().copied().unwrap_or(0).max(gap)
    }

    /// Every number that was seen or told to be missing, in order.
    pub(crate) fn accounted(&self) -> Vec<u64> {
        let mut all = self.records.clone();
        all.extend(self.gaps.iter().flat_map(|&(first, last)| first..=last));
        all.sort_unstable();
        all
    }
}

/// Opens the log of a disk.
pub(crate) fn open(disk: SimDisk) -> (Log<SimDisk>, Recovered, Seen) {
    let mut seen = Seen::default();
    let opened = Log::open(disk, settings(), &mut |visit| seen.visit(visit));
    let (log, recovered) = opened.expect("a log always opens");
    assert_eq!(recovered.records, seen.records.len() as u64);
    assert_eq!(recovered.missing, seen.gaps.iter().map(|gap| gap.1 - gap.0 + 1).sum::<u64>());
    assert_eq!(recovered.last, Lsn(seen.last()).max(recovered.last));
    (log, recovered, seen)
}

/// Hands in so many more records, and makes them durable.
pub(crate) fn keep(log: &mut Log<SimDisk>, count: u64) {
    push(log, count);
    block_on(async {
        log.write().await.expect("a disk that works");
        log.sync().await.expect("a disk that works");
    });
}

/// The names of the files there are.
pub(crate) fn names(disk: &SimDisk) -> Vec<String> {
    let names = disk.boot().list().expect("a disk that works").into_iter();
    names.map(|entry| entry.name).collect()
}

/// Hands in so many more records.
pub(crate) fn push(log: &mut Log<SimDisk>, count: u64) {
    for _ in 0..count {
        let lsn = log.last().next();
        log.push(lsn, |out| out.extend(content(lsn.0)));
    }
}

/// Runs to its end what never waits.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().expect("a runtime").block_on(future)
}
