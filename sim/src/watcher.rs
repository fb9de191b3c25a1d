//! A client that reads what the broker says of itself all the time: in some plans, and in more of
//! those in which clients are refused, so that what it says of that can be judged.

use std::sync::Arc;

use crate::dice::Dice;
use crate::plan::Plan;
use crate::scenario::{Action, Connect, Op, Qos, Scenario, Subscribe, Subscription};
use crate::survival::newcomer;

/// Adds one, and has the broker speak often enough.
pub(crate) fn add(scenario: &mut Scenario, plan: &Plan) {
    let mut dice = Dice::new(plan.seed, "watcher", 0);
    let broker = &mut scenario.broker;
    let refuses = plan.opinions > 0 || broker.connections.is_some() || broker.door.is_some();
    if !dice.chance(if refuses { 200 } else { 30 }) {
        return;
    }
    broker.sys_interval_s = Some(dice.between(1, 3));
    let client = scenario.clients.len();
    scenario.clients.push(newcomer("watcher", scenario.clients[0].zone));
    let keep_alive_s = scenario.broker.keep_alive_max_s.unwrap_or(0);
    let connect = Connect { keep_alive_s, ..Connect::default() };
    let filter = Subscription {
        filter: Arc::from("$SYS/#"),
        qos: Qos::AtMostOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
    };
    let subscribe = Subscribe { subscription_id: None, filters: vec![filter] };
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
