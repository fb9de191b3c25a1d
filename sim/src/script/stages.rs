//! Where scripts wait for each other: a stage is reached when every client that mentions it is
//! there.
//!
//! Not part of the simulated world: it takes no time and no network. Coming twice counts once,
//! so that a client may start over after its connection was lost.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::Notify;

use crate::script::scenario::{Scenario, Step};

/// The stages of one run.
#[derive(Debug)]
pub(crate) struct Stages {
    /// Who still has to come, by stage.
    missing: RefCell<BTreeMap<u32, BTreeSet<String>>>,
    /// Not `watch`: that wakes its receivers in an order that tokio draws by itself.
    came: Notify,
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
        Stages { missing: RefCell::new(missing), came: Notify::new() }
    }

    /// Comes to a stage, and waits until everybody is there. Safe to cancel.
    pub(crate) async fn meet(&self, stage: u32, client_id: &str) {
        self.come(stage, client_id);
        loop {
            let came = self.came.notified();
            if self.is_complete(stage) {
                return;
            }
            came.await;
        }
    }

    fn come(&self, stage: u32, client_id: &str) {
        if let Some(missing) = self.missing.borrow_mut().get_mut(&stage) {
            missing.remove(client_id);
        }
        if self.is_complete(stage) {
            self.came.notify_waiters();
        }
    }

    fn is_complete(&self, stage: u32) -> bool {
        self.missing.borrow().get(&stage).is_none_or(BTreeSet::is_empty)
    }
}
