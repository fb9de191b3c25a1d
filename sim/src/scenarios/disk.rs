//! The disk is full, fails, or is slow, and the broker says so and goes on.

use super::cast::Cast;
use crate::scenario::{Client, FaultKind, Qos, Scenario};
use crate::survival::{Durability, Store, Trouble};

/// Two who publish what must be kept, one who is away, and two who need nothing kept.
struct People {
    publisher: usize,
    old_publisher: usize,
    subscriber: usize,
    speaker: usize,
    listener: usize,
}

impl People {
    fn come(cast: &mut Cast) -> People {
        let people = People {
            publisher: cast.new_client("publisher"),
            old_publisher: cast.old_client("old-publisher"),
            subscriber: cast.new_client("subscriber"),
            speaker: cast.new_client("speaker"),
            listener: cast.new_client("listener"),
        };
        people.connect(cast);
        cast.resume(people.subscriber).after(200);
        cast.subscribe(people.subscriber, "news/#", Qos::ExactlyOnce);
        cast.after(200).disconnect(people.subscriber).after(100);
        people
    }

    fn connect(&self, cast: &mut Cast) {
        cast.resume(self.publisher).resume(self.old_publisher);
        cast.connect(self.speaker).connect(self.listener).after(200);
        cast.subscribe(self.listener, "talk", Qos::AtMostOnce).after(200);
    }

    fn publish(&self, cast: &mut Cast) {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            cast.publish(self.publisher, "news/new", qos);
            cast.publish(self.old_publisher, "news/old", qos);
        }
        cast.publish(self.speaker, "talk", Qos::AtMostOnce);
    }
}

fn keeping(mut scenario: Scenario) -> Scenario {
    scenario.broker.store = Some(Store { durability: Durability::Sync, sync_ms_max: 20 });
    for Client { reuses_ids, .. } in &mut scenario.clients {
        *reuses_ids = true;
    }
    scenario
}

/// One trouble, with a crash in the midst of it, and what comes after.
fn troubled(seed: u64, trouble: Trouble, for_ms: u64, recovery_ms: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let people = People::come(&mut cast);
    people.publish(&mut cast);
    cast.after(300).fault(FaultKind::Disk { trouble, for_ms }).after(20);
    people.publish(&mut cast);
    cast.after(400);
    people.publish(&mut cast);
    cast.after(300).fault(FaultKind::Crash { down_ms: 20, kept: 0 }).after(100);
    people.connect(&mut cast);
    people.publish(&mut cast);
    cast.after(300);
    // Who comes back takes what waits, if that is possible at all.
    cast.resume(people.subscriber).after(for_ms + recovery_ms);
    people.connect(&mut cast);
    cast.resume(people.subscriber).after(300);
    people.publish(&mut cast);
    cast.after(1_000);
    keeping(cast.done())
}

pub(super) fn full(seed: u64) -> Scenario {
    troubled(seed, Trouble::Full, 4_000, 14_000)
}

pub(super) fn failing(seed: u64) -> Scenario {
    troubled(seed, Trouble::Failing, 4_000, 5_000)
}

pub(super) fn slow(seed: u64) -> Scenario {
    troubled(seed, Trouble::Stalled, 3_000, 1_000)
}
