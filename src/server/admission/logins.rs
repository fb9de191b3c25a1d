//! Logins that failed, and how long the next ones have to wait.
//!
//! The rule. After some failures with one user name from one source, the next login with that
//! name from there has to wait, each time twice as long, up to five minutes; so it is for a
//! source after more failures with any names. Who has to wait is refused without a look at the
//! password. A login that is being judged counts as failed until it succeeds, so that many at once
//! gain nothing; as long as that is not known, the next ones are not refused, but judged in turn
//! (`turns.rs`): many clients may have one name. Ten minutes after the last failure, and for a
//! name and its source after a success, all is forgotten.
//!
//! Nobody is locked out from elsewhere: after many failures with one user name, wherever they
//! came from, logins with it are still judged, only some seconds late. A name that has logged in
//! from a source this week is not concerned by what others do there, nor by what others do with
//! the name elsewhere: only by failures of its own there.
//!
//! Names are kept as hashes, in bounded memory: who is forgotten early is who would be soon.
//! Pure: time comes in as an argument.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::quality::FixedState;
use tokio::sync::Notify;

use super::expiring::Expiring;
use super::source::Source;
use super::turns::Turns;
use crate::config;
use crate::machine::Timestamp;
use crate::plant::{self, Plant};

/// The first wait, and the longest, in milliseconds.
const WAIT_MIN: u64 = 1_000;
const WAIT_MAX: u64 = 300_000;
/// The longest that a stranger with a name under attack is answered late.
const DELAY_MAX: u64 = 5_000;
/// How long failures are remembered.
const FAILURES_SECS: u64 = 600;
/// How long it is remembered that a name has logged in from a source.
const KNOWN_SECS: u64 = 7 * 86_400;
/// Names, sources and pairs of both with failures; and pairs that have logged in.
const FAILURES_MAX: usize = 16_384;
const KNOWN_MAX: usize = 65_536;

/// Which logins have failed.
#[derive(Debug)]
pub(super) struct Logins {
    limits: config::Admission,
    hasher: FixedState,
    /// Never more than this late, so that there is time left to judge.
    delay_max: u64,
    pairs: Expiring<Pair, Failures>,
    sources: Expiring<Source, Failures>,
    names: Expiring<u64, Failures>,
    known: Expiring<Pair, ()>,
    turns: Turns<Queue>,
}

/// A source and the hash of a user name.
type Pair = (Source, u64);

/// Those of whom only so many are judged at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Queue {
    Pair(Pair),
    Source(Source),
}

#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    /// The next login has to wait until then.
    wait_until: Timestamp,
}

/// A login that is being judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pair: Pair,
    /// The name has logged in from there.
    pub(super) is_known: bool,
    /// Milliseconds before it is judged.
    pub(super) delay: u64,
}

/// Why a login is not judged now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotNow {
    /// Too many have failed: it is refused.
    MustWait,
    /// As many are being judged as may fail: it is one of those that wait for them.
    InTurn(Queue),
}

impl Logins {
    /// `connect_timeout`: milliseconds that a client has for all.
    pub(super) fn new(
        limits: config::Admission,
        connect_timeout: u64,
        hasher: FixedState,
    ) -> Logins {
        Logins {
            limits,
            delay_max: DELAY_MAX.min(connect_timeout / 2),
            pairs: Expiring::new(hasher.clone(), FAILURES_MAX),
            sources: Expiring::new(hasher.clone(), FAILURES_MAX),
            names: Expiring::new(hasher.clone(), FAILURES_MAX),
            known: Expiring::new(hasher.clone(), KNOWN_MAX),
            turns: Turns::new(hasher.clone()),
            hasher,
        }
    }

    /// A client wants to log in. `place`: where it waits, if it does so already; changed to where
    /// it waits from now on.
    pub(super) fn begin(
        &mut self,
        source: Source,
        name: &str,
        place: &mut Option<Queue>,
        now: Timestamp,
    ) -> Result<Attempt, NotNow> {
        let pair = (source, self.hasher.hash_one(name));
        let begun = self.begin_pair(pair, place.is_some(), now);
        let next = match begun {
            Err(NotNow::InTurn(queue)) => Some(queue),
            Ok(_) | Err(NotNow::MustWait) => None,
        };
        if *place != next {
            next.into_iter().for_each(|queue| self.turns.wait(queue));
            let left = std::mem::replace(place, next);
            left.into_iter().for_each(|queue| self.leave(queue, now));
        }
        begun
    }

    fn begin_pair(
        &mut self,
        pair: Pair,
        has_waited: bool,
        now: Timestamp,
    ) -> Result<Attempt, NotNow> {
        let (source, name) = pair;
        let is_known = self.known.get(pair, now).is_some() && !plant::is_on(Plant::KnownForgotten);
        if must_wait(&self.pairs, pair, now) || (!is_known && must_wait(&self.sources, source, now))
        {
            return Err(NotNow::MustWait);
        }
        let of_source = Some(Queue::Source(source)).filter(|_| !is_known);
        for queue in [Some(Queue::Pair(pair)), of_source].into_iter().flatten() {
            let is_behind = !has_waited && self.turns.has_queue(queue);
            if is_behind || !self.has_room(queue, now) {
                return Err(NotNow::InTurn(queue));
            }
        }
        if !plant::is_on(Plant::TurnsUncounted) {
            self.turns.begin(Queue::Pair(pair));
        }
        hold(&mut self.pairs, pair, self.limits.failed_logins, now);
        let mut delay = 0;
        if !is_known {
            self.turns.begin(Queue::Source(source));
            hold(&mut self.sources, source, self.limits.failed_logins_per_address, now);
            let failures = self.names.get(name, now).unwrap_or_default().count;
            let wait = wait_after(failures, self.limits.failed_logins_per_user);
            delay = wait.unwrap_or(0).min(self.delay_max);
        }
        Ok(Attempt { pair, is_known, delay })
    }

    /// Whether one more may fail.
    fn has_room(&self, queue: Queue, now: Timestamp) -> bool {
        let (failures, free) = match queue {
            Queue::Pair(pair) => (self.pairs.get(pair, now), self.limits.failed_logins),
            Queue::Source(source) => {
                (self.sources.get(source, now), self.limits.failed_logins_per_address)
            }
        };
        let judged = self.turns.judged(queue);
        judged == 0 || failures.unwrap_or_default().count.saturating_add(judged) < free
    }

    /// One waits no more: the next may try if there is room.
    fn leave(&mut self, queue: Queue, now: Timestamp) {
        self.turns.end_wait(queue);
        if self.has_room(queue, now) {
            self.turns.call(queue);
        }
    }

    /// A client that waits there is gone.
    pub(super) fn give_up(&mut self, place: Queue) {
        self.turns.end_wait(place);
    }

    /// Tells one that waits there when to try again.
    pub(super) fn turn(&self, place: Queue) -> Arc<Notify> {
        self.turns.turn(place)
    }

    /// A login is not being judged any more.
    pub(super) fn end(&mut self, attempt: Attempt) {
        self.turns.end(Queue::Pair(attempt.pair));
        if !attempt.is_known && !plant::is_on(Plant::SourceTurnsKept) {
            self.turns.end(Queue::Source(attempt.pair.0));
        }
    }

    /// The name and the password do not belong together.
    pub(super) fn fail(&mut self, attempt: Attempt, now: Timestamp) {
        let (source, name) = attempt.pair;
        add(&mut self.pairs, attempt.pair, self.limits.failed_logins, now);
        if !plant::is_on(Plant::SourceFailuresUncounted) {
            add(&mut self.sources, source, self.limits.failed_logins_per_address, now);
        }
        if !plant::is_on(Plant::NameFailuresUncounted) {
            add(&mut self.names, name, self.limits.failed_logins_per_user, now);
        }
    }

    /// They do.
    pub(super) fn succeed(&mut self, attempt: Attempt, now: Timestamp) {
        if !plant::is_on(Plant::FailuresKept) {
            self.pairs.remove(attempt.pair);
        }
        let (source, _) = attempt.pair;
        if let (false, Some(failures)) = (attempt.is_known, self.sources.get(source, now)) {
            // What was held for this one is free for the next.
            keep(&mut self.sources, source, Failures { wait_until: now, ..failures }, now);
        }
        self.known.insert(attempt.pair, (), now.after_secs(KNOWN_SECS), now);
    }
}

/// Milliseconds to wait after so many failures, of which some are free; none if those are not
/// used up, or if there is no limit.
fn wait_after(failures: u32, free: u32) -> Option<u64> {
    let above = failures.checked_sub(free).filter(|_| free != u32::MAX)?;
    Some(WAIT_MIN.saturating_mul(1 << above.min(30)).min(WAIT_MAX))
}

fn must_wait<K: Copy + Ord + Hash>(
    failures: &Expiring<K, Failures>,
    key: K,
    now: Timestamp,
) -> bool {
    failures.get(key, now).is_some_and(|failures| failures.wait_until > now)
}

/// While one is judged of whom many failed before, no other is.
fn hold<K: Copy + Ord + Hash>(
    failures: &mut Expiring<K, Failures>,
    key: K,
    free: u32,
    now: Timestamp,
) {
    let Some(found) = failures.get(key, now) else { return };
    if let Some(wait) = wait_after(found.count, free) {
        keep(failures, key, Failures { wait_until: now.after_millis(wait), ..found }, now);
    }
}

/// One failure more.
fn add<K: Copy + Ord + Hash>(
    failures: &mut Expiring<K, Failures>,
    key: K,
    free: u32,
    now: Timestamp,
) {
    let count = failures.get(key, now).unwrap_or_default().count.saturating_add(1);
    let wait_until = wait_after(count, free).map_or(now, |wait| now.after_millis(wait));
    keep(failures, key, Failures { count, wait_until }, now);
}

fn keep<K: Copy + Ord + Hash>(
    failures: &mut Expiring<K, Failures>,
    key: K,
    value: Failures,
    now: Timestamp,
) {
    let until = value.wait_until.max(now).after_secs(FAILURES_SECS);
    failures.insert(key, value, until, now);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Source = Source::V6(1);
    const THERE: Source = Source::V6(2);

    fn logins() -> Logins {
        Logins::new(config::Admission::default(), 10_000, FixedState::with_seed(7))
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp(1_000_000).after_secs(secs)
    }

    /// Wants to log in, and does not wait in turn.
    fn begin(
        logins: &mut Logins,
        source: Source,
        name: &str,
        secs: u64,
    ) -> Result<Attempt, NotNow> {
        let mut place = None;
        let begun = logins.begin(source, name, &mut place, at(secs));
        place.into_iter().for_each(|queue| logins.give_up(queue));
        begun
    }

    /// Tries to log in, at once; whether the password was looked at.
    fn is_judged(logins: &mut Logins, source: Source, name: &str, ok: bool, secs: u64) -> bool {
        let Ok(attempt) = begin(logins, source, name, secs) else { return false };
        if ok {
            logins.succeed(attempt, at(secs))
        } else {
            logins.fail(attempt, at(secs))
        }
        logins.end(attempt);
        true
    }

    /// Guesses once a second for so long; how many guesses were looked at.
    fn guesses(logins: &mut Logins, source: Source, name: &str, secs: u64) -> usize {
        (0..secs).filter(|sec| is_judged(logins, source, name, false, *sec)).count()
    }

    #[test]
    fn who_guesses_waits_longer_and_longer() {
        let mut logins = logins();
        let judged: Vec<u64> = (0..700)
            .flat_map(|sec| [sec; 3])
            .filter(|sec| is_judged(&mut logins, HERE, "ann", false, *sec))
            .collect();
        assert_eq!(judged[..5], [0, 0, 0, 1, 1], "the fifth failure makes the sixth wait");
        assert_eq!(judged[5..], [2, 4, 8, 16, 32, 64, 128, 256, 512]);
    }

    #[test]
    fn who_guesses_for_a_day_has_few_guesses() {
        let guesses = guesses(&mut logins(), HERE, "ann", 86_400);
        assert!(guesses < 310, "{guesses}");
    }

    #[test]
    fn a_guesser_keeps_nobody_out_elsewhere_or_with_another_name() {
        let mut logins = logins();
        guesses(&mut logins, HERE, "ann", 86_400);
        let attempt = begin(&mut logins, THERE, "ann", 86_400).expect("judged from elsewhere");
        assert_eq!(attempt.delay, 5_000, "late");
        let attempt = begin(&mut logins, THERE, "bob", 86_400).expect("judged");
        assert_eq!(attempt.delay, 0);
    }

    #[test]
    fn guessers_everywhere_keep_nobody_out() {
        let mut logins = logins();
        for guesser in 0..10_000 {
            guesses(&mut logins, Source::V6(100 + guesser), "ann", 3);
        }
        let attempt = begin(&mut logins, HERE, "ann", 3).expect("judged");
        assert_eq!(attempt.delay, 5_000);
        logins.succeed(attempt, at(8));
        logins.end(attempt);
        let attempt = begin(&mut logins, HERE, "ann", 9).expect("judged");
        assert_eq!(attempt.delay, 0, "it is known there now");
    }

    #[test]
    fn who_tries_many_names_waits_and_those_known_there_do_not() {
        let mut logins = logins();
        assert!(is_judged(&mut logins, HERE, "ann", true, 0));
        let names: Vec<String> = (0..200).map(|number| number.to_string()).collect();
        let judged = names.iter().filter(|name| is_judged(&mut logins, HERE, name, false, 1));
        assert_eq!(judged.count(), 50);
        assert!(!is_judged(&mut logins, HERE, "new", true, 1));
        assert!(is_judged(&mut logins, HERE, "ann", true, 1));
        assert!(is_judged(&mut logins, HERE, "new", true, 2));
        assert!(is_judged(&mut logins, HERE, "newer", true, 2), "a success holds nobody up");
    }

    /// Who has an account of its own guesses the passwords of others no faster by it.
    #[test]
    fn a_success_does_not_make_up_for_failures_with_other_names() {
        let mut logins = logins();
        let mut judged = 0;
        for number in 0..200 {
            judged += u32::from(is_judged(&mut logins, HERE, &number.to_string(), false, 1));
            is_judged(&mut logins, HERE, "own", true, 1);
        }
        assert_eq!(judged, 50);
    }

    #[test]
    fn many_at_once_gain_nothing() {
        let mut logins = logins();
        guesses(&mut logins, HERE, "ann", 5);
        let first = begin(&mut logins, HERE, "ann", 100).expect("it has waited");
        assert_eq!(
            begin(&mut logins, HERE, "ann", 100),
            Err(NotNow::MustWait),
            "one is being judged"
        );
        logins.succeed(first, at(100));
        logins.end(first);
        assert!(begin(&mut logins, HERE, "ann", 100).is_ok());
    }

    /// Begins for each of these places what can begin.
    fn begin_all(logins: &mut Logins, places: &mut Vec<Option<Queue>>, secs: u64) -> Vec<Attempt> {
        let mut begun = Vec::new();
        places.retain_mut(|place| {
            let result = logins.begin(HERE, "ann", place, at(secs));
            begun.extend(result);
            matches!(result, Err(NotNow::InTurn(_)))
        });
        begun
    }

    #[test]
    fn many_at_once_gain_nothing_without_a_failure_before() {
        let mut logins = logins();
        let mut guesses = 0;
        for round in 0..96 {
            let secs = 900 * round;
            let mut places = vec![None; 200];
            loop {
                let judged = begin_all(&mut logins, &mut places, secs);
                assert!(judged.len() <= 5, "{}", judged.len());
                if judged.is_empty() {
                    break;
                }
                guesses += judged.len();
                for attempt in judged {
                    logins.fail(attempt, at(secs));
                    logins.end(attempt);
                }
            }
            assert!(places.is_empty(), "the others are refused");
        }
        assert_eq!(guesses, 96 * 5, "five, as often as all is forgotten");
        assert_eq!(logins.turns.len(), 0);
    }

    #[test]
    fn many_with_one_name_are_judged_in_turn_and_none_is_refused() {
        let mut logins = logins();
        let mut places = vec![None; 200];
        let mut judged = begin_all(&mut logins, &mut places, 0);
        assert_eq!((judged.len(), places.len()), (5, 195));
        // One that comes later does not overtake them; two leave without a verdict.
        logins.end(judged.pop().expect("it is judged"));
        assert!(matches!(begin(&mut logins, HERE, "ann", 0), Err(NotNow::InTurn(_))));
        logins.give_up(places.pop().flatten().expect("it waits"));
        let mut succeeded = 0;
        loop {
            for attempt in judged.drain(..) {
                logins.succeed(attempt, at(1));
                logins.end(attempt);
                succeeded += 1;
            }
            judged = begin_all(&mut logins, &mut places, 1);
            if judged.is_empty() {
                break;
            }
        }
        assert_eq!((succeeded, places.len(), logins.turns.len()), (198, 0, 0));
    }

    #[test]
    fn many_names_at_once_gain_nothing_either() {
        let mut logins = logins();
        let names: Vec<String> = (0..200).map(|number| number.to_string()).collect();
        let judged = names.iter().filter(|name| begin(&mut logins, HERE, name, 0).is_ok());
        assert_eq!(judged.count(), 50);
    }

    #[test]
    fn a_success_and_ten_minutes_make_up_for_failures() {
        let mut logins = logins();
        for round in 0..10 {
            for failure in 0..4 {
                assert!(is_judged(&mut logins, HERE, "ann", false, round), "{round} {failure}");
            }
            assert!(is_judged(&mut logins, HERE, "ann", true, round));
        }
        guesses(&mut logins, HERE, "bob", 100);
        let judged = (0..5).filter(|_| is_judged(&mut logins, HERE, "bob", false, 1_000)).count();
        assert_eq!(judged, 5, "as if nothing had been");
    }

    #[test]
    fn failures_are_remembered_in_bounded_memory() {
        let mut logins = logins();
        guesses(&mut logins, HERE, "ann", 60);
        for number in 0..2 * FAILURES_MAX as u64 {
            is_judged(&mut logins, Source::V6(100 + number), &number.to_string(), false, 50);
        }
        let lens = [logins.pairs.len(), logins.sources.len(), logins.names.len()];
        assert_eq!(lens, [FAILURES_MAX; 3]);
        assert!(!is_judged(&mut logins, HERE, "ann", false, 61), "who waits longest is known");
    }

    #[test]
    fn without_limits_nobody_waits() {
        let limits = config::Admission::unlimited();
        let mut logins = Logins::new(limits, 10_000, FixedState::with_seed(7));
        assert_eq!(guesses(&mut logins, HERE, "ann", 1_000), 1_000);
        assert_eq!(begin(&mut logins, THERE, "ann", 1_000).map(|attempt| attempt.delay), Ok(0));
    }
}
