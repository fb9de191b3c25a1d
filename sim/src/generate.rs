//! Makes the scenario of a plan.
//!
//! A pure function of the plan. Keeps a rough picture of who is connected, so that most
//! operations make sense when they are played; those that do not are no operations.

use crate::plan::Plan;
use crate::scenario::Scenario;

/// The scenario of a plan.
pub(crate) fn scenario(plan: &Plan) -> Scenario {
    Scenario { seed: plan.seed, safety_ms: plan.safety_ms, ..Scenario::default() }
}
