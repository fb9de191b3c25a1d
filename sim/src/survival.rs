//! What survives the broker's end in a run: its store, as data, and what goes wrong with that.
//!
//! Drawn by itself, so that other knobs do not depend on it. The machine level plays it in
//! `machine_level/log.rs`; what must have survived is judged by the oracle (`facts/lives.rs`).

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::scenario::{Fault, FaultKind, Op};

/// What the broker keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Store {
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Milliseconds that a sync takes, at most.
    pub sync_ms_max: u64,
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// On its way to the disk: a killed process loses nothing of it.
    Async,
    /// On the disk.
    Sync,
}

impl Store {
    /// Milliseconds after which what the broker has handled surely survives its end, unless the
    /// disk fails: a sync may be under way that does not have it, and the next one does.
    pub fn settled_ms(self) -> u64 {
        match self.durability {
            Durability::Async => 0,
            Durability::Sync => 2 * self.sync_ms_max + 2,
        }
    }
}

pub(crate) fn is_nothing(kept: &u16) -> bool {
    *kept == 0
}

/// The store of a plan: four of ten have one.
pub(crate) fn drawn(seed: u64) -> Option<Store> {
    let mut dice = Dice::new(seed, "store", 0);
    let is_kept = dice.chance(400);
    let durability = if dice.chance(800) { Durability::Sync } else { Durability::Async };
    let sync_ms_max = [0, 5, 20, 40, 40][usize::try_from(dice.below(5)).unwrap_or(0)];
    is_kept.then_some(Store { durability, sync_ms_max })
}

/// What goes wrong with a broker that has a store, beside all else: it dies, and its log is
/// written anew.
///
/// Mostly soon after somebody has done something: later all of it is on the disk.
pub(crate) fn faults(seed: u64, ops: &[Op], safety_ms: u64) -> Vec<Fault> {
    let mut dice = Dice::new(seed, "store faults", 0);
    let many = [0, 1, 2, 3, 6][usize::try_from(dice.below(5)).unwrap_or(0)];
    let mut faults: Vec<Fault> = Vec::new();
    for _ in 0..many {
        let op = ops.get(usize::try_from(dice.below(ops.len() as u64)).unwrap_or(0));
        let soon_ms = op.map_or(0, |op| op.at_ms) + dice.below(60);
        let some_time_ms = dice.below(safety_ms);
        let at_ms = if dice.chance(700) { soon_ms.min(safety_ms - 1) } else { some_time_ms };
        let long = dice.between(100, 8_000);
        let down_ms = [0, 10, 300, 1_000, long][usize::try_from(dice.below(5)).unwrap_or(0)];
        let some = u16::try_from(dice.below(1_001)).unwrap_or(0);
        let kept = [0, some, 1_000, some][usize::try_from(dice.below(4)).unwrap_or(0)];
        faults.push(Fault { at_ms, kind: FaultKind::Crash { down_ms, kept } });
        if dice.chance(400) {
            let at_ms = at_ms.saturating_sub(dice.below(300));
            faults.push(Fault { at_ms, kind: FaultKind::Rewrite });
        }
    }
    faults
}
