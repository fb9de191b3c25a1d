//! Whether the simulator finds what it should: a known fault is planted into the broker, and
//! seeds are played until one shows it.
//!
//! The faults are the broker's (`src/plant.rs`), there with the feature `plants` only.

use std::ops::Range;

use stormpetrel::plant::{Plant, choose};

use crate::plan::Plan;
use crate::scenario::Scenario;
use crate::verdict::Violation;

/// A seed that shows a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The first one that does.
    pub seed: u64,
    /// What it shows.
    pub violation: Violation,
}

/// A fault that is planted on this thread until it is dropped.
#[derive(Debug)]
pub struct Planted(());

impl Planted {
    /// Plants it.
    pub fn new(plant: Plant) -> Planted {
        choose(Some(plant));
        Planted(())
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        choose(None);
    }
}

/// Plays the scenarios of those seeds, in order, with a fault planted, until one is violated that
/// is not without it. `check` plays one on this thread, and says all that is wrong with it.
pub fn hunt(
    plant: Plant,
    seeds: Range<u64>,
    check: &mut dyn FnMut(&Scenario) -> Vec<Violation>,
) -> Option<Found> {
    seeds.into_iter().find_map(|seed| {
        let scenario = Plan::drawn(seed).scenario();
        let planted = Planted::new(plant);
        let violation = check(&scenario).into_iter().next()?;
        drop(planted);
        check(&scenario).is_empty().then_some(Found { seed, violation })
    })
}
