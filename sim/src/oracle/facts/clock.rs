//! What a broker knows of the time that it was down: what the wall clock of its machine says, and
//! its log.

use super::{Facts, NEVER, Ordinal};
use crate::oracle::sessions::{FOR_EVER, expiry_s};
use crate::scenario::FaultKind;

impl Facts<'_> {
    /// When an interval would have begun that is over when one is surely over that began at that
    /// event: a broker that starts with a clock that was set back while it was down does not know
    /// how long that was. Only what had gone by until it recorded something that is due later is
    /// known to be.
    pub(in crate::oracle) fn counts_from_ms(&self, begun: Ordinal) -> u64 {
        let begun_ms = self.ms(begun);
        let Some((known_ms, started_ms)) = self.lost_time() else { return begun_ms };
        if begun_ms >= started_ms {
            return begun_ms;
        }
        begun_ms + started_ms - known_ms.max(begun_ms)
    }

    /// Since when the last broker may not know that time went by, and when it started, if its wall
    /// clock was set back while none was there.
    fn lost_time(&self) -> Option<(u64, u64)> {
        let is_back =
            |kind: &FaultKind| matches!(kind, FaultKind::SetClock { by_ms } if *by_ms < 0);
        let mut backs = self.scenario.faults.iter().filter(|fault| is_back(&fault.kind));
        let is_up = |ms: u64| {
            self.lives.iter().any(|life| self.ms(life.from) <= ms && ms < self.ms(life.to))
        };
        let back_ms = backs.find(|fault| !is_up(fault.at_ms))?.at_ms;
        let started = self.lives.last()?.from;
        (self.ms(started) > back_ms).then(|| (self.known_ms(back_ms), self.ms(started)))
    }

    /// When the last session was left behind before that which the log surely has, with its end.
    fn known_ms(&self, before_ms: u64) -> u64 {
        let is_recorded = |&place: &usize| {
            let (connection, (least, most)) = (&self.connections[place], expiry_s(self, place));
            let is_kept = connection.end.to != NEVER && self.is_settled(connection.end.to);
            connection.is_accepted() && least > 0 && most != FOR_EVER && is_kept
        };
        let left = (0..self.connections.len()).filter(is_recorded);
        let ends = left.map(|place| self.connections[place].end);
        let ends = ends.filter(|end| self.ms(end.to) < before_ms);
        ends.map(|end| self.ms(end.from)).max().unwrap_or(0)
    }
}
