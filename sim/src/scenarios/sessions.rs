//! Sessions: how they last, wait, end, and change hands.

use super::cast::{Cast, lasting};
use crate::scenario::{Action, Connect, Publish, Qos, Scenario};

pub(super) fn come_back(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let publisher = cast.new_client("publisher");
    let lasting = [cast.old_client("lasting-old"), cast.new_client("lasting-new")];
    let fleeting = [cast.old_client("fleeting-old"), cast.new_client("fleeting-new")];
    cast.connect(publisher);
    for client in lasting {
        cast.resume(client);
    }
    for client in fleeting {
        cast.connect(client);
    }
    cast.after(100);
    for client in lasting.into_iter().chain(fleeting) {
        cast.subscribe(client, "news/#", Qos::ExactlyOnce);
    }
    cast.after(200);
    for qos in Qos::ALL {
        cast.publish(publisher, "news/first", qos);
    }
    cast.after(300);
    for (client, is_orderly) in lasting.into_iter().chain(fleeting).zip([true, false].repeat(2)) {
        if is_orderly {
            cast.disconnect(client);
        } else {
            cast.act(client, Action::Cut);
        }
    }
    cast.after(200);
    for qos in Qos::ALL {
        cast.publish(publisher, "news/meanwhile", qos);
    }
    cast.after(300);
    for client in lasting.into_iter().chain(fleeting) {
        cast.resume(client);
    }
    cast.after(500).publish(publisher, "news/last", Qos::AtLeastOnce);
    cast.after(500).disconnect(lasting[1]).after(100);
    cast.act(lasting[1], Action::Connect(Connect::default()));
    cast.done()
}

pub(super) fn queue_overflows(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    cast.scenario.broker.queue_messages = Some(5);
    cast.scenario.broker.inflight = Some(2);
    let publisher = cast.new_client("publisher");
    let absent = [cast.old_client("absent-old"), cast.new_client("absent-new")];
    cast.connect(publisher).resume(absent[0]).resume(absent[1]).after(100);
    for client in absent {
        cast.subscribe(client, "much/#", Qos::ExactlyOnce);
    }
    cast.after(200).disconnect(absent[0]).act(absent[1], Action::Cut).after(200);
    for number in 0..12 {
        cast.publish(publisher, "much/of/it", Qos::ALL[number % 3]).after(50);
    }
    cast.after(500).resume(absent[0]).resume(absent[1]).after(1_000);
    cast.done()
}

pub(super) fn expire(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let publisher = cast.new_client("publisher");
    let sleepers = [
        (cast.new_client("short"), 2),
        (cast.new_client("long"), 10),
        (cast.new_client("shortened"), 60),
    ];
    let expiring = |expiry_s| {
        let connect = Connect { expiry_s: Some(expiry_s), ..lasting() };
        Action::Connect(connect)
    };
    cast.connect(publisher);
    for (client, expiry_s) in sleepers {
        cast.act(client, expiring(expiry_s));
    }
    cast.after(100);
    for (client, _) in sleepers {
        cast.subscribe(client, "news", Qos::AtLeastOnce);
    }
    cast.after(200).act(sleepers[0].0, Action::Cut).disconnect(sleepers[1].0);
    cast.act(sleepers[2].0, Action::Disconnect { reason: 0, expiry_s: Some(1) }).after(200);
    for expiry_s in [Some(1), Some(30), None] {
        let publish = Publish { expiry_s, ..cast.message("news", Qos::AtLeastOnce) };
        cast.act(publisher, Action::Publish(publish));
    }
    cast.after(4_000);
    for (client, expiry_s) in sleepers {
        cast.act(client, expiring(expiry_s));
    }
    cast.after(500).publish(publisher, "news", Qos::AtLeastOnce).after(500);
    cast.done()
}

pub(super) fn takeover_storm(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let publisher = cast.new_client("publisher");
    let rivals = [
        cast.new_client("the-one"),
        cast.old_client("the-one"),
        cast.new_client("the-one"),
        cast.new_client("the-one"),
    ];
    cast.connect(publisher).resume(rivals[0]).after(100);
    cast.subscribe(rivals[0], "storm", Qos::ExactlyOnce).after(200);
    for round in 0..16 {
        cast.publish(publisher, "storm", Qos::ALL[1 + round % 2]).after(20);
        if round % 5 != 4 {
            cast.resume(rivals[round % 4]).after(15);
        } else {
            // Several at once: only one stays.
            for rival in rivals {
                cast.resume(rival);
            }
            cast.after(60);
        }
    }
    cast.after(500);
    cast.done()
}
