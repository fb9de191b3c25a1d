//! When the broker's disk was in trouble, and what that excuses: what must be kept may be refused,
//! and what waits for the disk waits as long as the trouble lasts, and until the broker has found
//! out that it is over.

use super::{Facts, NEVER, Ordinal, Span};
use crate::history::{Event, What};
use crate::scenario::FaultKind;
use crate::survival::{EXACT_RETRY_MS, FIRST_RETRY_MS, Health, RETRY_MAX_MS, ROOM_MS, Trouble};

/// Milliseconds until it is known that a stall is over.
const STALLED_MS: u64 = 100;

/// A trouble, and the time after it until the broker knows that it is over.
#[derive(Clone, Copy, Debug)]
struct Window {
    trouble: Trouble,
    from_ms: u64,
    to_ms: u64,
    /// On a full disk the log goes on in what was kept free, until then.
    goes_on_until_ms: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    windows: Vec<Window>,
    /// What a broker surely knew, between which events.
    known: Vec<(Ordinal, Ordinal, Health)>,
}

impl Troubles {
    pub(super) fn of(events: &[Event], is_exact: bool) -> Troubles {
        let healed = events.iter().find(|event| event.what == What::LivenessBegan);
        let healed_ms = healed.map_or(u64::MAX, |event| event.at_ms);
        let mut troubles = Troubles::default();
        for event in events {
            match event.what {
                What::Fault { kind: FaultKind::Disk { trouble, for_ms } } => {
                    let from_ms = event.at_ms;
                    let to_ms = (from_ms + for_ms).min(healed_ms);
                    let goes_on_until_ms = 0;
                    troubles.windows.push(Window { trouble, from_ms, to_ms, goes_on_until_ms });
                }
                What::HasReserve => {
                    let full = troubles.windows.last_mut();
                    full.expect("it has begun").goes_on_until_ms = u64::MAX;
                }
                What::Health { health } => {
                    troubles.forget(event.ordinal);
                    troubles.known.push((event.ordinal, NEVER, health));
                }
                What::BrokerCrashed | What::BrokerStopped => {
                    troubles.forget(event.ordinal);
                    for window in &mut troubles.windows {
                        window.goes_on_until_ms = window.goes_on_until_ms.min(event.at_ms);
                    }
                }
                What::LivenessBegan => troubles.forget(event.ordinal),
                _ => {}
            }
        }
        troubles.add_slack(is_exact);
        troubles
    }

    fn forget(&mut self, at: Ordinal) {
        if let Some(last) = self.known.last_mut() {
            last.1 = last.1.min(at);
        }
    }

    /// A broker tries again after a time that grows with the time for which it has failed.
    fn add_slack(&mut self, is_exact: bool) {
        let all = self.windows.clone();
        let only_stalls = all.iter().all(|window| window.trouble == Trouble::Stalled);
        // What is tried again in the midst of another trouble waits for that too.
        for window in &mut self.windows {
            while let Some(to_ms) = all
                .iter()
                .filter(|other| other.from_ms <= window.to_ms + FIRST_RETRY_MS)
                .map(|other| other.to_ms)
                .find(|to_ms| *to_ms > window.to_ms)
            {
                window.to_ms = to_ms;
            }
            let mut failing_ms = 0;
            for other in all.iter().filter(|other| other.from_ms <= window.to_ms) {
                failing_ms += other.to_ms - other.from_ms;
            }
            window.to_ms += match (is_exact, window.trouble) {
                (true, _) => EXACT_RETRY_MS,
                // A sync that only takes its time is not tried again.
                (false, Trouble::Stalled) if only_stalls => STALLED_MS,
                (false, Trouble::Stalled) => failing_ms.min(RETRY_MAX_MS) + FIRST_RETRY_MS,
                // One that starts on a disk that fails cannot keep anything free for a full one.
                (false, _) => ROOM_MS + failing_ms.min(RETRY_MAX_MS) + FIRST_RETRY_MS,
            };
        }
    }
}

impl Facts<'_> {
    /// Whether what came then may have been refused because it could not be kept.
    pub(in crate::oracle) fn is_in_trouble(&self, at: Span) -> bool {
        let (from_ms, to_ms) = (self.ms(at.from), self.ms(at.to));
        let refuses = |window: &&Window| window.trouble != Trouble::Stalled;
        self.during(from_ms, to_ms).any(|window| refuses(&window))
    }

    /// Whether nothing was in the way of the disk all that time, in milliseconds.
    pub(in crate::oracle) fn is_disk_prompt(&self, from_ms: u64, to_ms: u64) -> bool {
        let mut windows = self.during(from_ms, to_ms);
        windows.all(|window| !self.is_slow(window) || window.goes_on_until_ms > to_ms)
    }

    /// Whether the disk was in some trouble that long, or later.
    pub(super) fn is_troubled_after(&self, at: Ordinal) -> bool {
        self.during(self.ms(at), u64::MAX).next().is_some()
    }

    /// What the broker surely knew of its disk all that time.
    pub(in crate::oracle) fn known_health(&self, during: Span) -> Option<Health> {
        let mut known = self.troubles.known.iter();
        let is_within =
            |(from, to, _): &&(Ordinal, Ordinal, Health)| *from < during.from && during.to < *to;
        known.find(is_within).map(|(_, _, health)| *health)
    }

    /// Milliseconds after which what was handled then is surely on the disk, if that takes so
    /// long where nothing is wrong.
    pub(super) fn synced_by(&self, at_ms: u64, takes_ms: u64) -> u64 {
        let mut from_ms = at_ms;
        while let Some(to_ms) = self.last_end(from_ms, from_ms.saturating_add(takes_ms)) {
            from_ms = to_ms + 1;
        }
        from_ms.saturating_add(takes_ms)
    }

    fn last_end(&self, from_ms: u64, to_ms: u64) -> Option<u64> {
        self.during(from_ms, to_ms).filter(|window| self.is_slow(window)).map(|w| w.to_ms).max()
    }

    /// On a full disk the log goes on in what was kept free, which may take an attempt or two.
    fn is_slow(&self, window: &Window) -> bool {
        !(self.is_exact && window.trouble == Trouble::Full)
    }

    fn during(&self, from_ms: u64, to_ms: u64) -> impl Iterator<Item = &Window> {
        let windows = self.troubles.windows.iter();
        windows.filter(move |window| window.from_ms <= to_ms && from_ms <= window.to_ms)
    }
}
