//! Where scripts wait for each other: a stage is reached when every client that mentions it is
//! there.
//!
//! Not part of the simulated world: it takes no time and no network. Coming twice counts once,
//! so that a client may start over after its connection was lost.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;

use crate::scenario::{Scenario, Step};

/// The stages of one run.
#[derive(Debug)]
pub(crate) struct Stages {
    /// Who still has to come, by stage.
    missing: watch::Sender<BTreeMap<u32, BTreeSet<String>>>,
}

impl Stages {
    /// All stages that the scripts mention.
    pub(crate) fn of(scenario: &Scenario) -> Stages {
        let mut missing: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
        for script in scenario.zones.iter().flatten() {
            for step in &script.steps {
                if let Step::Meet(stage) = step {
                    missing.entry(*stage).or_default().insert(script.client_id.clone());
                }
            }
        }
        Stages { missing: watch::Sender::new(missing) }
    }

    /// Comes to a stage, and waits until everybody is there. Safe to cancel.
    pub(crate) async fn meet(&self, stage: u32, client_id: &str) {
        self.missing.send_modify(|missing| {
            missing.get_mut(&stage).map(|missing| missing.remove(client_id));
        });
        let is_complete = |missing: &BTreeMap<u32, BTreeSet<String>>| {
            missing.get(&stage).is_none_or(BTreeSet::is_empty)
        };
        // An error would mean that the sender is gone, and it is ours.
        let _ = self.missing.subscribe().wait_for(is_complete).await;
    }
}
