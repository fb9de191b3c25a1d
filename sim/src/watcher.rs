//! A client that reads what the broker says of itself all the time: in some plans, and in more of
//! those in which clients are refused, so that what it says of that can be judged.

use crate::dice::Dice;
use crate::plan::Plan;
use crate::scenario::{Action, Op, Qos, Scenario, Subscribe};
use crate::survival::add_newcomer;

/// Adds one, and has the broker speak often enough.
pub(crate) fn add(scenario: &mut Scenario, plan: &Plan) {
    let mut dice = Dice::new(plan.seed, "watcher", 0);
    let broker = &mut scenario.broker;
    let refuses = plan.opinions > 0 || broker.connections.is_some() || broker.door.is_some();
    let often = match broker.door {
        Some(_) => 450, // of several kinds
        None if refuses => 200,
        None => 30,
    };
    if !dice.chance(often) {
        return;
    }
    broker.sys_interval_s = Some(dice.between(1, 3));
    let (client, connect) = add_newcomer(scenario, "watcher");
    let subscribe = Subscribe::to("$SYS/#", Qos::AtMostOnce);
    // Again, should it have been refused or lost its connection.
    for at_ms in [0, scenario.safety_ms / 3, scenario.safety_ms * 2 / 3] {
        let connect = Action::Connect(connect.clone());
        scenario.ops.push(Op { at_ms, client, action: connect });
        // It must be in by then.
        for later_ms in [100, 1_000] {
            let (at_ms, action) = (at_ms + later_ms, Action::Subscribe(subscribe.clone()));
            scenario.ops.push(Op { at_ms, client, action });
        }
    }
    scenario.ops.sort_by_key(|op| op.at_ms);
}
