//! Makes a failing scenario small: the fewest clients, operations and faults, and the plainest
//! values, that still fail in the same way.
//!
//! Delta debugging: leaves out ever smaller parts, then makes values plainer (`plainer.rs`), which
//! may let more be left out, until nothing changes any more. Knows neither broker nor oracle: it
//! asks a function what is wrong with a scenario. That may be anything that gives the same answer
//! each time.

mod plainer;

use std::ops::Range;

use crate::scenario::Scenario;
use crate::verdict::{Class, Violation};

/// Operations among which any two are left out together: beyond, that would take too long.
const PAIRS_MAX: usize = 24;

/// The smallest scenario found that still has a violation of this class. `check` plays a scenario
/// and says all that is wrong with it. The given one, if that does not fail so.
pub fn shrink(
    scenario: &Scenario,
    class: &Class,
    check: &mut dyn FnMut(&Scenario) -> Vec<Violation>,
) -> Scenario {
    let mut search = Search { best: scenario.clone(), class, check };
    if !search.fails(scenario) {
        return scenario.clone();
    }
    while search.delete() | search.delete_pairs() | search.make_plainer() {}
    search.best
}

/// A list of a scenario that elements can be left out of.
struct List {
    len: fn(&Scenario) -> usize,
    remove: fn(&mut Scenario, Range<usize>),
}

const CLIENTS: List = List { len: |scenario| scenario.clients.len(), remove: remove_clients };
const FAULTS: List = List {
    len: |scenario| scenario.faults.len(),
    remove: |scenario, range| drop(scenario.faults.drain(range)),
};
const OPS: List = List {
    len: |scenario| scenario.ops.len(),
    remove: |scenario, range| drop(scenario.ops.drain(range)),
};

struct Search<'a> {
    best: Scenario,
    class: &'a Class,
    check: &'a mut dyn FnMut(&Scenario) -> Vec<Violation>,
}

impl Search<'_> {
    fn fails(&mut self, scenario: &Scenario) -> bool {
        (self.check)(scenario).iter().any(|violation| violation.class() == *self.class)
    }

    /// Tries the best one with a change. Whether it changed, still fails, and so is the best now.
    fn attempt(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut changed = self.best.clone();
        change(&mut changed);
        let is_better = changed != self.best && self.fails(&changed);
        if is_better {
            self.best = changed;
        }
        is_better
    }

    /// Leaves out whatever can be. Whether anything was.
    fn delete(&mut self) -> bool {
        // Clients first: with them go all of their operations.
        [CLIENTS, FAULTS, OPS].iter().fold(false, |deleted, list| self.delete_from(list) | deleted)
    }

    /// Halves, quarters, and so on to single elements, the last ones first: what came after the
    /// failure is of no use.
    fn delete_from(&mut self, list: &List) -> bool {
        let mut is_smaller = false;
        let mut size = (list.len)(&self.best);
        while size > 0 {
            let mut end = (list.len)(&self.best);
            while end > 0 {
                let start = end.saturating_sub(size);
                is_smaller |= self.attempt(|scenario| (list.remove)(scenario, start..end));
                end = start;
            }
            size /= 2;
        }
        is_smaller
    }

    /// Leaves out any two operations that need each other: a DISCONNECT and the next CONNECT.
    fn delete_pairs(&mut self) -> bool {
        let mut is_smaller = false;
        let mut second = self.best.ops.len().min(PAIRS_MAX);
        while second > 1 {
            second -= 1;
            for first in (0..second).rev() {
                let remove_both = |scenario: &mut Scenario| {
                    scenario.ops.remove(second);
                    scenario.ops.remove(first);
                };
                if second < self.best.ops.len() && self.attempt(remove_both) {
                    is_smaller = true;
                    second -= 1;
                    break;
                }
            }
        }
        is_smaller
    }

    /// Makes every value as plain as it can be. Whether any became plainer.
    fn make_plainer(&mut self) -> bool {
        let edits = plainer::edits(&self.best);
        edits.iter().fold(false, |made, edit| self.attempt(|s| edit.apply(s)) | made)
    }
}

/// Removes clients with all that they do; the others move up.
fn remove_clients(scenario: &mut Scenario, range: Range<usize>) {
    scenario.ops.retain(|op| !range.contains(&op.client));
    let behind = scenario.ops.iter_mut().filter(|op| op.client >= range.end);
    behind.for_each(|op| op.client -= range.len());
    scenario.clients.drain(range);
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::sync::Arc;

    use super::*;
    use crate::dice::Dice;
    use crate::scenario::{
        Action, Broker, Client, Connect, Fault, FaultKind, Manners, Op, Publish, Qos,
    };
    use crate::verdict::Promise;

    fn violation(rule: &'static str) -> Violation {
        let words = String::new();
        let rule = Cow::Borrowed(rule);
        Violation { promise: Promise::C1, rule, client: None, words, events: Vec::new() }
    }

    fn publish(message: u64, dice: &mut Dice) -> Publish {
        Publish {
            message,
            topic: Arc::from("deep/down/there"),
            qos: Qos::ALL[dice.below(3) as usize],
            retain: dice.chance(500),
            expiry_s: Some(9),
            bytes: 700,
            properties: None,
        }
    }

    /// A hundred operations of six clients, and five faults.
    fn large() -> Scenario {
        let mut dice = Dice::new(1, "shrink", 0);
        let client = |index: usize| Client {
            zone: index % 2,
            manners: Manners { aliases: true, ..Manners::default() },
            ..Client::named(&format!("client-{index}"))
        };
        let op = |index: u64| {
            let action = match index % 5 {
                0 => Action::Connect(Connect { keep_alive_s: 9, ..Connect::default() }),
                1 => Action::Ping,
                _ => Action::Publish(publish(index, &mut dice)),
            };
            Op { at_ms: 50 * index, client: (index % 6) as usize, action }
        };
        let fault = |index: u64| Fault { at_ms: 900 * index, kind: FaultKind::Cut { zone: 0 } };
        Scenario {
            broker: Broker { inflight: Some(3), ..Broker::default() },
            clients: (0..6).map(client).collect(),
            ops: (0..100).map(op).collect(),
            faults: (0..5).map(fault).collect(),
            ..Scenario::default()
        }
    }

    /// Wrong: client "client-4" publishes above QoS 0 after a fault after somebody's ping, and,
    /// as another failure, anybody does anything.
    fn wrong(scenario: &Scenario) -> Vec<Violation> {
        let mut wrong = vec![violation("another")];
        let ping = scenario.ops.iter().find(|op| op.action == Action::Ping);
        let fault = scenario.faults.iter().find(|f| ping.is_some_and(|p| p.at_ms < f.at_ms));
        let is_it = |op: &Op| {
            let is_above_0 = matches!(&op.action, Action::Publish(p) if p.qos > Qos::AtMostOnce);
            let id = scenario.clients.get(op.client).map(|client| &*client.client_id);
            is_above_0 && id == Some("client-4") && fault.is_some_and(|f| f.at_ms < op.at_ms)
        };
        if scenario.ops.iter().any(is_it) {
            wrong.push(violation("it"));
        }
        wrong
    }

    #[test]
    fn only_what_the_failure_needs_is_left() {
        let (mut runs, class) = (0, violation("it").class());
        let small = shrink(&large(), &class, &mut |scenario| {
            runs += 1;
            wrong(scenario)
        });
        assert_eq!((small.ops.len(), small.faults.len()), (2, 1), "{}", small.to_yaml());
        assert!(small.clients.len() <= 2, "{}", small.to_yaml());
        assert_eq!(small.broker, Broker::default());
        assert!(small.clients.iter().all(|client| client.manners == Manners::default()));
        let Some(Action::Publish(publish)) = small.ops.last().map(|op| &op.action) else {
            panic!("{}", small.to_yaml());
        };
        assert_eq!((publish.retain, publish.expiry_s, publish.bytes), (false, None, 0));
        assert_eq!((&*publish.topic, publish.qos), ("a", Qos::AtLeastOnce));
        assert!(wrong(&small).iter().any(|violation| violation.class() == class));
        assert!(runs < 1_000, "{runs}");
    }

    #[test]
    fn another_failure_is_not_the_same_failure() {
        let small = shrink(&large(), &violation("another").class(), &mut wrong);
        assert_eq!((small.ops.len(), small.faults.len(), small.clients.len()), (0, 0, 0));
    }

    #[test]
    fn what_does_not_fail_stays_as_it_is() {
        assert_eq!(shrink(&large(), &violation("none").class(), &mut wrong), large());
    }

    #[test]
    fn operations_that_need_each_other_go_together() {
        let class = violation("it").class();
        // As many pings as connects, and a publish.
        let small = shrink(&large(), &class, &mut |scenario| {
            let count =
                |is: fn(&Action) -> bool| scenario.ops.iter().filter(|op| is(&op.action)).count();
            let pings = count(|action| matches!(action, Action::Ping));
            let connects = count(|action| matches!(action, Action::Connect(_)));
            let publishes = count(|action| matches!(action, Action::Publish(_)));
            let is_wrong = pings == connects && publishes > 0;
            is_wrong.then(|| violation("it")).into_iter().collect()
        });
        assert_eq!(small.ops.len(), 1, "{}", small.to_yaml());
    }
}
