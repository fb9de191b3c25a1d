//! Who gets what: retained messages, wildcards, shared subscriptions.

use std::sync::Arc;

use super::cast::Cast;
use crate::scenario::{Action, Publish, Qos, Scenario, Subscribe, Subscription};

pub(super) fn retained(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let publisher = cast.old_client("publisher");
    let readers = [cast.old_client("old"), cast.new_client("new")];
    cast.connect(publisher).connect(readers[0]).connect(readers[1]).after(100);
    for topic in ["home/kitchen", "home/cellar", "garden", "$mine/hidden"] {
        cast.retain(publisher, topic, Qos::AtLeastOnce);
    }
    cast.retain(publisher, "home/kitchen", Qos::ExactlyOnce).after(200);
    clear(&mut cast, publisher, "garden");
    cast.after(200);
    for reader in readers {
        cast.subscribe(reader, "#", Qos::ExactlyOnce).subscribe(reader, "home/+", Qos::AtMostOnce);
    }
    cast.after(300);
    cast.retain(publisher, "garden", Qos::AtMostOnce).after(200);
    let options = |retain_handling, retain_as_published| Subscription {
        retain_handling,
        retain_as_published,
        ..Subscription::plain("garden", Qos::AtLeastOnce)
    };
    for (handling, as_published) in [(0, true), (1, true), (2, false), (0, false)] {
        let filters = vec![options(handling, as_published)];
        let subscribe = Subscribe { subscription_id: Some(5), filters };
        cast.act(readers[1], Action::Subscribe(subscribe)).after(100);
        cast.retain(publisher, "garden", Qos::AtLeastOnce).after(100);
    }
    clear(&mut cast, publisher, "home/cellar");
    cast.after(200).subscribe(readers[0], "home/cellar", Qos::AtMostOnce).after(200);
    cast.done()
}

fn clear(cast: &mut Cast, publisher: usize, topic: &str) {
    let nothing = Publish {
        message: 0,
        topic: Arc::from(topic),
        qos: Qos::AtLeastOnce,
        retain: true,
        ..Publish::default()
    };
    cast.act(publisher, Action::Publish(nothing));
}

pub(super) fn wildcards(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let publisher = cast.new_client("publisher");
    let overlapping = cast.new_client("overlapping");
    let old = cast.old_client("old");
    let local = cast.new_client("no-local");
    for client in [publisher, overlapping, old, local] {
        cast.connect(client);
    }
    cast.after(100);
    for (number, filter) in ["a/#", "a/+", "+/b", "a/b", "#"].into_iter().enumerate() {
        let filters = vec![Subscription::plain(filter, Qos::ALL[number % 3])];
        let subscription_id = Some(10 + number as u32);
        cast.act(overlapping, Action::Subscribe(Subscribe { subscription_id, filters }));
        cast.subscribe(old, filter, Qos::ALL[number % 3]);
    }
    let own = Subscription { no_local: true, ..Subscription::plain("a/#", Qos::AtLeastOnce) };
    cast.act(local, Action::Subscribe(Subscribe { subscription_id: None, filters: vec![own] }));
    cast.after(200);
    for topic in ["a", "a/b", "a//b", "/b", "$x/b", "c"] {
        cast.publish(publisher, topic, Qos::ExactlyOnce);
    }
    cast.after(200).publish(local, "a/own", Qos::AtLeastOnce);
    cast.after(200);
    for client in [overlapping, old] {
        let filters = ["a/#", "#", "never/subscribed"].map(Arc::from).to_vec();
        cast.act(client, Action::Unsubscribe { filters });
    }
    cast.after(200).publish(publisher, "a/b", Qos::ExactlyOnce);
    cast.publish(publisher, "c", Qos::AtLeastOnce).after(300);
    cast.done()
}

pub(super) fn shared_group(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let publisher = cast.new_client("publisher");
    let members = [cast.new_client("first"), cast.old_client("second"), cast.new_client("third")];
    let alone = cast.new_client("alone");
    cast.connect(publisher).connect(alone);
    cast.resume(members[0]).resume(members[1]).connect(members[2]).after(100);
    for member in members {
        cast.subscribe(member, "$share/group/work/#", Qos::ExactlyOnce);
    }
    cast.subscribe(alone, "work/#", Qos::ExactlyOnce).after(200);
    for number in 0..6 {
        cast.publish(publisher, "work/item", Qos::ALL[number % 3]);
    }
    cast.after(300).act(members[2], Action::Cut).act(members[0], Action::HalfOpen);
    for number in 0..4 {
        cast.publish(publisher, "work/item", Qos::ALL[1 + number % 2]);
    }
    cast.after(300).disconnect(members[1]);
    for number in 0..4 {
        cast.publish(publisher, "work/item", Qos::ALL[1 + number % 2]);
    }
    cast.after(300).resume(members[0]).after(200).resume(members[1]).after(500);
    cast.publish(publisher, "work/last", Qos::AtLeastOnce).after(300);
    cast.done()
}
