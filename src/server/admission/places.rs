//! How many connections each source has, how many of them have not authenticated, and how fast
//! they come.
//!
//! A source may begin ten seconds' worth of connections at once, and then as many a second as
//! the limit says. It never gets the last places of those that have not authenticated: it may
//! hold no more of them than are free, so that a few sources cannot keep out all others. Pure:
//! time comes in as an argument.

use foldhash::quality::FixedState;

use super::expiring::Expiring;
use super::source::Source;
use crate::config;
use crate::machine::{Shed, Timestamp};
use crate::plant::{self, Plant};

/// Seconds over which the rate holds.
const BURST_SECS: u64 = 10;
/// Sources without a connection whose rate is remembered. More of them come in at a rate that
/// the limit of each has nothing to say about.
const RATES_MAX: usize = 16_384;

/// The places at the door, and who has them.
#[derive(Debug)]
pub(super) struct Places {
    limits: config::Admission,
    sources: hashbrown::HashMap<Source, Count, FixedState>,
    /// Microseconds since the epoch when the connections of a source are paid for, each with its
    /// share of a second.
    paid: Expiring<Source, u64>,
    /// Over all sources, and those who have none.
    unauthenticated: usize,
}

/// The connections of a source.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    connections: usize,
    unauthenticated: usize,
}

impl Places {
    pub(super) fn new(limits: config::Admission, hasher: FixedState) -> Places {
        Places {
            limits,
            sources: hashbrown::HashMap::with_hasher(hasher.clone()),
            paid: Expiring::new(hasher, RATES_MAX),
            unauthenticated: 0,
        }
    }

    /// A new connection, from nowhere in particular or from a source.
    pub(super) fn open(&mut self, source: Option<Source>, now: Timestamp) -> Result<(), Shed> {
        if self.are_taken() {
            return Err(Shed::Unauthenticated);
        }
        self.take(source, now)
    }

    /// The same in place of one that has not authenticated, which is not counted any more as such.
    /// A source that has places of that kind takes none from others where all of them are taken.
    pub(super) fn open_instead(
        &mut self,
        of: Option<Source>,
        source: Option<Source>,
        now: Timestamp,
    ) -> Result<(), Shed> {
        self.take(source, now)?;
        self.authenticate(of);
        Ok(())
    }

    /// Whether there is no place for one more that has not authenticated.
    pub(super) fn are_taken(&self) -> bool {
        self.unauthenticated >= self.limits.unauthenticated
    }

    /// Connections of the source that have not authenticated.
    pub(super) fn at_the_door(&self, source: Option<Source>) -> usize {
        let count = source.and_then(|source| self.sources.get(&source));
        count.map_or(0, |count| count.unauthenticated)
    }

    fn take(&mut self, source: Option<Source>, now: Timestamp) -> Result<(), Shed> {
        if let Some(source) = source {
            self.settle(source, now)?;
        }
        self.unauthenticated += 1;
        Ok(())
    }

    /// A connection that was from nowhere in particular is from this source.
    pub(super) fn settle(&mut self, source: Source, now: Timestamp) -> Result<(), Shed> {
        let count = self.sources.get(&source).copied().unwrap_or_default();
        let free = self.limits.unauthenticated.saturating_sub(self.unauthenticated);
        if count.connections >= self.limits.connections_per_address {
            return Err(Shed::AddressConnections);
        }
        if count.unauthenticated >= self.limits.unauthenticated_per_address {
            return Err(Shed::AddressUnauthenticated);
        }
        if count.unauthenticated > 0 && count.unauthenticated >= free {
            return Err(Shed::Unauthenticated);
        }
        self.pay(source, now)?;
        let count = self.sources.entry(source).or_default();
        count.connections += 1;
        count.unauthenticated += 1;
        Ok(())
    }

    /// Connections that have not authenticated, over all or as counted for each source, whichever
    /// is more.
    pub(super) fn unauthenticated(&self) -> usize {
        let of_sources = self.sources.values().map(|count| count.unauthenticated).sum();
        self.unauthenticated.max(of_sources)
    }

    /// A connection has authenticated, or is pushed out.
    pub(super) fn authenticate(&mut self, source: Option<Source>) {
        self.unauthenticated -= 1;
        if let Some(count) = source.and_then(|source| self.sources.get_mut(&source)) {
            count.unauthenticated -= 1;
        }
    }

    /// A connection is gone. It was counted as one that has not authenticated, unless it has, or was
    /// pushed out.
    pub(super) fn close(&mut self, source: Option<Source>, is_authenticated: bool) {
        if !is_authenticated && !plant::is_on(Plant::DoorHeld) {
            self.authenticate(source);
        }
        let Some(source) = source else { return };
        if let Some(count) = self.sources.get_mut(&source) {
            count.connections -= 1;
            if count.connections == 0 {
                self.sources.remove(&source);
            }
        }
    }

    /// Takes one connection's share of the rate.
    fn pay(&mut self, source: Source, now: Timestamp) -> Result<(), Shed> {
        let rate = self.limits.connection_rate_per_address;
        if rate == u32::MAX || plant::is_on(Plant::RateUnheld) {
            return Ok(());
        }
        let now_micros = now.0.saturating_mul(1_000);
        let paid = self.paid.get(source, now).unwrap_or(0).max(now_micros);
        let paid = paid.saturating_add(1_000_000 / u64::from(rate.max(1)));
        if paid > now_micros.saturating_add(BURST_SECS * 1_000_000) {
            return Err(Shed::AddressRate);
        }
        self.paid.insert(source, paid, Timestamp(paid.div_ceil(1_000)), now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(change: impl FnOnce(&mut config::Admission)) -> Places {
        let mut limits = config::Admission::unlimited();
        change(&mut limits);
        Places::new(limits, FixedState::with_seed(7))
    }

    const A: Source = Source::V6(1);
    const B: Source = Source::V6(2);

    /// How many of these come in at once.
    fn opened(places: &mut Places, source: Source, count: usize, now: u64) -> usize {
        (0..count).filter(|_| places.open(Some(source), Timestamp(now)).is_ok()).count()
    }

    #[test]
    fn a_source_has_so_many_connections_and_gets_places_back() {
        let mut places = places(|limits| limits.connections_per_address = 3);
        assert_eq!(opened(&mut places, A, 5, 0), 3);
        assert_eq!(places.open(Some(A), Timestamp(0)), Err(Shed::AddressConnections));
        assert_eq!(opened(&mut places, B, 5, 0), 3);
        assert_eq!((0..5).filter(|_| places.open(None, Timestamp(0)).is_ok()).count(), 5);
        places.authenticate(Some(A));
        assert_eq!(opened(&mut places, A, 1, 0), 0, "one that authenticated counts too");
        places.close(Some(A), true);
        places.close(Some(A), false);
        assert_eq!(opened(&mut places, A, 5, 0), 2);
        (0..3).for_each(|_| places.close(Some(A), false));
        (0..3).for_each(|_| places.close(Some(B), false));
        (0..5).for_each(|_| places.close(None, false));
        assert_eq!((places.sources.len(), places.unauthenticated), (0, 0));
    }

    #[test]
    fn connections_come_in_a_burst_and_then_at_the_rate() {
        let mut places = places(|limits| limits.connection_rate_per_address = 2);
        assert_eq!(opened(&mut places, A, 100, 1_000_000), 20);
        assert_eq!(places.open(Some(A), Timestamp(1_000_000)), Err(Shed::AddressRate));
        assert_eq!(opened(&mut places, B, 100, 1_000_000), 20, "another is not concerned");
        (0..20).for_each(|_| places.close(Some(A), false));
        assert_eq!(opened(&mut places, A, 100, 1_000_499), 0);
        assert_eq!(opened(&mut places, A, 100, 1_000_500), 1);
        assert_eq!(opened(&mut places, A, 100, 1_003_500), 6);
        assert_eq!(opened(&mut places, A, 100, 1_100_000), 20);
    }

    #[test]
    fn who_finds_no_place_pays_nothing() {
        let mut places = places(|limits| {
            (limits.connection_rate_per_address, limits.connections_per_address) = (2, 5);
        });
        assert_eq!(opened(&mut places, A, 100, 1_000_000), 5);
        places.close(Some(A), false);
        assert_eq!(opened(&mut places, A, 100, 1_000_000), 1, "of the burst 15 are left");
    }

    #[test]
    fn rates_are_remembered_in_bounded_memory() {
        let mut places = places(|limits| limits.connection_rate_per_address = 1);
        for number in 0..3 * RATES_MAX as u64 {
            assert_eq!(opened(&mut places, Source::V6(number), 1, 5_000), 1);
            places.close(Some(Source::V6(number)), false);
        }
        assert_eq!((places.paid.len(), places.sources.len()), (RATES_MAX, 0));
        assert_eq!(opened(&mut places, A, 1, 100_000), 1);
        assert_eq!(places.paid.len(), 1, "all others are paid for");
    }

    #[test]
    fn those_who_have_not_authenticated_are_few_for_each_source() {
        let mut places = places(|limits| limits.unauthenticated_per_address = 4);
        assert_eq!(opened(&mut places, A, 9, 0), 4);
        assert_eq!(places.open(Some(A), Timestamp(0)), Err(Shed::AddressUnauthenticated));
        places.authenticate(Some(A));
        assert_eq!(opened(&mut places, A, 9, 0), 1);
    }

    #[test]
    fn a_few_sources_leave_places_for_all_others() {
        let mut places = places(|limits| limits.unauthenticated = 100);
        assert_eq!(opened(&mut places, A, 1_000, 0), 50);
        assert_eq!(places.open(Some(A), Timestamp(0)), Err(Shed::Unauthenticated));
        assert_eq!(opened(&mut places, B, 1_000, 0), 25);
        let others: usize = (3..40).map(|n| opened(&mut places, Source::V6(n), 1, 0)).sum();
        assert_eq!(others, 25, "each gets one, as long as there is one");
        assert_eq!(places.open(None, Timestamp(0)), Err(Shed::Unauthenticated));
        places.close(Some(A), false);
        assert_eq!(places.open(None, Timestamp(0)), Ok(()));
    }

    #[test]
    fn at_a_full_door_only_who_has_no_place_there_takes_one_from_another() {
        let mut places = places(|limits| limits.unauthenticated = 4);
        assert_eq!(opened(&mut places, A, 9, 0), 2);
        (0..2).for_each(|_| assert!(places.open(None, Timestamp(0)).is_ok()));
        assert!(places.are_taken());
        let instead = places.open_instead(None, Some(A), Timestamp(0));
        assert_eq!(instead, Err(Shed::Unauthenticated));
        assert_eq!(places.open_instead(Some(A), Some(B), Timestamp(0)), Ok(()));
        assert_eq!(places.open_instead(Some(A), None, Timestamp(0)), Ok(()));
        assert_eq!((places.unauthenticated, places.sources[&A].unauthenticated), (4, 0));
        assert_eq!(places.sources[&A].connections, 2, "they are not gone yet");
        (0..2).for_each(|_| places.close(Some(A), true));
        places.close(Some(B), false);
        (0..3).for_each(|_| places.close(None, false));
        assert_eq!((places.sources.len(), places.unauthenticated), (0, 0));
    }

    #[test]
    fn a_connection_that_tells_its_source_later_is_counted_once_in_all() {
        let mut places = places(|limits| {
            limits.unauthenticated = 10;
            limits.connections_per_address = 2;
        });
        for want in [Ok(()), Ok(()), Err(Shed::AddressConnections)] {
            places.open(None, Timestamp(0)).expect("there is room");
            assert_eq!(places.settle(A, Timestamp(0)), want);
        }
        assert_eq!(places.unauthenticated, 3);
        places.close(None, false);
        places.close(Some(A), false);
        places.close(Some(A), false);
        assert_eq!((places.sources.len(), places.unauthenticated), (0, 0));
    }
}
