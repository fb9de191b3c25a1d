//! Machine time and the wall clock, which may be set at any time.
//!
//! Machine time begins as what the wall clock shows when a log is begun, and is a scale of its own
//! from then on: it counts what passes, and all deadlines are in it, those in records too. What
//! passes while a broker is down only the wall clock knows. So the log says how far machine time
//! is ahead of it, anew each time that changes, and a restart takes the wall clock by that.
//!
//! Nothing here looks at a clock: the shell does, and says what it found ([`Input::ClockSet`]).
//!
//! [`Input::ClockSet`]: super::Input::ClockSet

use super::deadlines::Due;
use super::record::{Lsn, Record};
use super::restore::Restorer;
use super::{Machine, Timestamp};
use crate::plant::{self, Plant};

/// Milliseconds that the two may go apart before it counts: a leap second is nothing to act on.
const STEP_MS: u64 = 2_000;
/// A wall clock that shows an earlier time was never set: this program is younger than 2020.
const SET_FROM: Timestamp = Timestamp(1_577_836_800_000);
/// No log is believed that it is later, or what is to happen soon after would be due for ever.
const LATEST: Timestamp = Timestamp(1 << 62);
/// Milliseconds between two times that the log is told how late it is, while anything else is
/// recorded; and while nothing is, which leaves disks alone that sleep.
const TOLD_MS: u64 = 600_000;
const TOLD_IDLE_MS: u64 = 3_600_000;

/// Milliseconds that machine time is ahead of the wall clock, if the wall clock was set since it
/// was so many.
pub fn offset_if_set(offset: i64, wall: Timestamp, now: Timestamp) -> Option<i64> {
    let found = now.ahead_of(wall);
    (found.abs_diff(offset) > STEP_MS).then_some(found)
}

impl Timestamp {
    /// Milliseconds that this is later than another one; below 0: earlier.
    fn ahead_of(self, other: Timestamp) -> i64 {
        let signed = |time: Timestamp| i64::try_from(time.0).unwrap_or(i64::MAX);
        signed(self) - signed(other) // neither is below 0
    }

    /// Later by that many milliseconds, or earlier; within time.
    pub fn shifted(self, millis: i64) -> Timestamp {
        Timestamp(self.0.saturating_add_signed(millis))
    }
}

/// No later than so many seconds from now; if none are said, than the most that MQTT can say.
pub(super) fn bounded(
    due: Option<Timestamp>,
    secs: Option<u32>,
    now: Timestamp,
) -> Option<Timestamp> {
    let latest = now.after_secs(secs.unwrap_or(u32::MAX).into());
    due.map(|due| due.min(latest))
}

/// How the machine's time goes with the wall clock, and what the log knows of that.
#[derive(Clone, Copy, Debug)]
pub(super) struct WallClock {
    /// Milliseconds that machine time is ahead.
    offset: i64,
    /// When the log was told, and at which place.
    told_at: Timestamp,
    told: Lsn,
}

impl WallClock {
    /// Of a log that knows nothing.
    pub(super) fn new(now: Timestamp) -> WallClock {
        WallClock { offset: 0, told_at: now, told: Lsn(0) }
    }
}

impl Machine {
    /// Milliseconds that machine time is ahead of the wall clock; below 0: behind it.
    pub fn clock_offset(&self) -> i64 {
        self.wall.offset
    }

    /// What the wall clock shows at that time.
    pub(super) fn wall_time(&self, now: Timestamp) -> Timestamp {
        now.shifted(self.wall.offset.saturating_neg())
    }

    /// Has the log told how late it is, now and then.
    pub(super) fn start_clock(&mut self, now: Timestamp) {
        if self.journal.is_on {
            self.deadlines.arm(now.after_millis(TOLD_MS), Due::Clock);
        }
    }

    /// Goes on with what the log says.
    pub(super) fn resume_clock(&mut self, recorded: Recorded, now: Timestamp) {
        let Recorded { offset, told, is_news, .. } = recorded;
        self.wall = WallClock { offset, told: told.unwrap_or_default(), told_at: now };
        if is_news || told.is_none() {
            self.handle_clock_set(offset, now);
        }
    }

    pub(super) fn handle_clock_set(&mut self, offset: i64, now: Timestamp) {
        self.wall.offset = offset;
        if !plant::is_on(Plant::ClockNotRecorded) {
            self.record_clock(now);
        }
    }

    /// Where a wall clock starts from nothing, the next start goes on from what the log was told
    /// last: what passed since then would be lost to it.
    pub(super) fn handle_clock_due(&mut self, now: Timestamp) {
        let is_idle = self.journal.next() == self.wall.told.next();
        if !is_idle || now.millis_since(self.wall.told_at) >= TOLD_IDLE_MS {
            self.record_clock(now);
        }
        self.start_clock(now);
    }

    /// Records how late it is, by both.
    pub(super) fn record_clock(&mut self, now: Timestamp) {
        if self.journal.is_on {
            self.wall.told_at = now;
            let offset = self.wall.offset;
            self.wall.told = self.journal.record(Record::Clock { at: now, offset });
        }
    }
}

/// What a log says of time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recorded {
    /// Milliseconds that machine time is ahead of the wall clock.
    offset: i64,
    /// It was at least as late, in machine time, when the last record was written; 0: the log
    /// does not say.
    reached: Timestamp,
    /// The latest that anything in it was recorded.
    latest: Timestamp,
    /// Where it was told the offset. None: it was begun before logs were.
    told: Option<Lsn>,
    /// It is to be told another one.
    is_news: bool,
}

impl Recorded {
    /// It was this late. What was recorded before the first time goes for nothing: it may be the
    /// time of a wall clock that was wrong.
    pub(super) fn tell(&mut self, lsn: Lsn, at: Timestamp, offset: i64) {
        if self.told.is_none() {
            self.reached = Timestamp(0);
        }
        (self.offset, self.told) = (offset, Some(lsn));
        self.reach(at);
    }

    /// Something was recorded that is due so many seconds later: that was now.
    pub(super) fn note_due(&mut self, due: Option<Timestamp>, secs: u32) {
        let millis = u64::from(secs) * 1_000;
        if let Some(due) = due {
            let then = Timestamp(due.0.saturating_sub(millis));
            self.latest = self.latest.max(then);
            self.reach(then);
        }
    }

    /// Whether something was recorded later than it is now.
    pub(super) fn is_behind(&self, now: Timestamp) -> bool {
        now < self.latest
    }

    fn reach(&mut self, at: Timestamp) {
        self.reached = self.reached.max(at);
    }
}

/// Where machine time goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// Machine time.
    pub now: Timestamp,
    /// Whether the wall clock says how long the broker was down: else that is not counted.
    pub is_by_wall: bool,
}

impl Restorer {
    /// The wall clock shows this now that all records are there. When it is then, by the log.
    ///
    /// Never earlier than what was recorded: a wall clock that starts from nothing, without a
    /// battery, has nothing to say of how long the broker was down, nor has one that was set for
    /// the first time meanwhile. Then nothing of that is counted: what is kept too long expires
    /// in the end, and what expires too soon is lost. A log that was never told how late it is has
    /// its times from wall clocks, one of which may have been years ahead: if that of now may be
    /// right, it is believed, and nothing is kept for longer than it was to be from now on.
    pub fn resume(&mut self, wall: Timestamp) -> Resumed {
        let time = self.time_mut();
        let shown = time.reached.shifted(time.offset.saturating_neg());
        let is_set_first = time.reached.0 > 0 && shown < SET_FROM && wall >= SET_FROM;
        let is_believed = time.told.is_none() && wall >= SET_FROM && !is_set_first;
        let by_wall = if is_set_first { time.reached } else { wall.shifted(time.offset) };
        let earliest =
            if plant::is_on(Plant::ClockBehindLog) { Timestamp(0) } else { time.reached };
        let now = if is_believed { wall } else { by_wall.max(earliest) }.min(LATEST);
        let news = offset_if_set(time.offset, wall, now);
        if let Some(offset) = news {
            (time.offset, time.is_news) = (offset, true);
        }
        Resumed { now, is_by_wall: news.is_none() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_was_set_if_it_is_seconds_from_where_it_would_be() {
        let now = Timestamp(1_000_000);
        for (offset, wall, want) in [
            (0, 1_000_000, None),
            (0, 1_002_000, None),
            (0, 1_002_001, Some(-2_001)),
            (0, 998_000, None),
            (0, 997_999, Some(2_001)),
            (2_001, 997_999, None),
            (-2_001, 998_000, Some(2_000)),
            (0, 0, Some(1_000_000)),
            (0, u64::MAX, Some(1_000_000 - i64::MAX)),
        ] {
            assert_eq!(offset_if_set(offset, Timestamp(wall), now), want, "{offset} {wall}");
        }
    }
}
