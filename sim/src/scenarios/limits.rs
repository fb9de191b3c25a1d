//! Limits, and clients that meet them.

use super::cast::Cast;
use crate::scenario::{AckPolicy, Action, Breach, Connect, Publish, Qos, Scenario};

pub(super) fn full_house(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    cast.scenario.broker.connections = Some(4);
    let clients: Vec<usize> = (0..8)
        .map(|at| {
            let name = format!("client-{at}");
            if at % 2 == 0 { cast.old_client(&name) } else { cast.new_client(&name) }
        })
        .collect();
    // As many as there are places come first and say nothing: they keep nobody out.
    for &client in &clients[4..] {
        cast.act(client, Action::Linger);
    }
    cast.after(30);
    for round in 0..4 {
        for &client in &clients {
            cast.connect(client).after(30);
        }
        // Half of those who are in leave, each in another way.
        cast.after(100).disconnect(clients[round]).act(clients[(round + 1) % 8], Action::Cut);
        cast.act(clients[(round + 2) % 8], Action::Garble).after(200);
        cast.connect(clients[7 - round]).after(100);
    }
    for client in clients {
        cast.disconnect(client);
    }
    cast.after(300);
    cast.done()
}

pub(super) fn receive_maximum(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    cast.scenario.broker.inflight = Some(3);
    let publisher = cast.new_client("publisher");
    let pushy = cast.new_client("pushy");
    cast.manners(pushy).keeps_quota = false;
    let late = cast.new_client("late");
    cast.manners(late).ack_delay_ms = 150;
    let never = cast.new_client("never");
    cast.manners(never).acks = AckPolicy::Never;
    let halfway = cast.old_client("halfway");
    cast.manners(halfway).acks = AckPolicy::NeverComplete;
    cast.connect(publisher).connect(pushy).resume(halfway);
    for client in [late, never] {
        let connect =
            Connect { receive_maximum: Some(2), expiry_s: Some(60), ..Connect::default() };
        cast.act(client, Action::Connect(connect));
    }
    cast.after(100);
    for client in [late, never, halfway] {
        cast.subscribe(client, "load", Qos::ExactlyOnce);
    }
    cast.after(200);
    for number in 0..8 {
        cast.publish(publisher, "load", Qos::ALL[1 + number % 2]);
    }
    // At QoS 0 nothing has to wait for an answer.
    cast.publish(publisher, "load", Qos::AtMostOnce).after(2_000);
    for _ in 0..6 {
        cast.publish(pushy, "load", Qos::ExactlyOnce);
    }
    cast.after(500);
    cast.done()
}

pub(super) fn packet_sizes(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    cast.scenario.broker.packet_bytes = Some(2_000);
    let publisher = cast.new_client("publisher");
    let rude = cast.old_client("rude");
    cast.manners(rude).keeps_quota = false;
    let small = cast.new_client("small");
    let any = cast.old_client("any");
    cast.connect(publisher).connect(rude).connect(any);
    let connect = Connect { packet_bytes_max: Some(100), ..Connect::default() };
    cast.act(small, Action::Connect(connect)).after(100);
    cast.subscribe(small, "#", Qos::AtLeastOnce).subscribe(any, "#", Qos::AtLeastOnce).after(200);
    for bytes in [10, 90, 1_000, 10] {
        let publish = Publish { bytes, ..cast.message("sizes", Qos::AtLeastOnce) };
        cast.act(publisher, Action::Publish(publish));
    }
    cast.after(300);
    let publish = Publish { bytes: 5_000, ..cast.message("sizes", Qos::AtLeastOnce) };
    cast.act(rude, Action::Publish(publish)).after(500);
    cast.done()
}

pub(super) fn topic_aliases(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let publisher = cast.new_client("publisher");
    cast.manners(publisher).aliases = true;
    let subscriber = cast.new_client("subscriber");
    let old = cast.old_client("old");
    let connect = |topic_alias_maximum| {
        Action::Connect(Connect { topic_alias_maximum, expiry_s: Some(60), ..Connect::default() })
    };
    cast.act(publisher, connect(0)).act(subscriber, connect(2)).connect(old).after(100);
    cast.subscribe(subscriber, "#", Qos::AtLeastOnce).subscribe(old, "#", Qos::AtLeastOnce);
    cast.after(200);
    for number in 0..12 {
        let topic = ["one", "two", "three", "four", "five"][number * 3 % 5];
        cast.publish(publisher, topic, Qos::ALL[number % 3]).after(30);
    }
    cast.act(subscriber, Action::Cut).publish(publisher, "one", Qos::AtLeastOnce).after(100);
    cast.act(
        subscriber,
        Action::Connect(Connect {
            clean_start: false,
            topic_alias_maximum: 1,
            expiry_s: Some(60),
            ..Connect::default()
        }),
    );
    cast.after(200).publish(publisher, "one", Qos::AtLeastOnce).after(100);
    cast.publish(publisher, "one", Qos::AtMostOnce).after(300);
    cast.done()
}

pub(super) fn slow_readers(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    cast.scenario.broker.queue_messages = Some(20);
    let publisher = cast.new_client("publisher");
    let slow = cast.new_client("slow");
    let dead = cast.old_client("dead");
    let quick = cast.old_client("quick");
    cast.connect(publisher).resume(slow).resume(dead).connect(quick).after(100);
    for client in [slow, dead, quick] {
        cast.subscribe(client, "flood", Qos::AtLeastOnce);
    }
    cast.after(200).act(slow, Action::Pause).act(dead, Action::Pause).after(50);
    for number in 0..60 {
        let qos = if number % 4 == 0 { Qos::AtLeastOnce } else { Qos::AtMostOnce };
        let publish = Publish { bytes: 12_000, ..cast.message("flood", qos) };
        cast.act(publisher, Action::Publish(publish)).after(20);
    }
    cast.after(1_000).act(slow, Action::Resume).after(2_000);
    // The dead one is given up, and what it did not get waits in its session.
    cast.publish(publisher, "flood", Qos::AtLeastOnce).after(40_000);
    cast.done()
}

pub(super) fn bad_packets(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let witness = cast.new_client("witness");
    cast.connect(witness).after(50).subscribe(witness, "#", Qos::AtMostOnce).after(50);
    for (number, breach) in Breach::ALL.into_iter().enumerate() {
        let clients =
            [cast.old_client(&format!("old-{number}")), cast.new_client(&format!("new-{number}"))];
        for client in clients {
            cast.connect(client).after(50).act(client, Action::Break { breach });
            cast.publish(client, "after", Qos::AtMostOnce);
        }
        cast.after(200);
    }
    let garbling = [cast.old_client("old-garbling"), cast.new_client("new-garbling")];
    let lingering = cast.new_client("lingering");
    cast.scenario.broker.connect_timeout_ms = Some(1_000);
    cast.act(lingering, Action::Linger);
    for client in garbling {
        cast.connect(client).after(50).act(client, Action::Garble).after(50);
    }
    cast.after(1_500).publish(witness, "still/here", Qos::AtLeastOnce).after(200);
    cast.done()
}
