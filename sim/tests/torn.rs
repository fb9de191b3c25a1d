//! A connection that breaks at any byte, at every packet's boundary and inside every packet,
//! loses no message above QoS 0 and doubles none at QoS 2.

use std::collections::BTreeMap;

use stormpetrel_sim::network_level::{Tear, run_torn};
use stormpetrel_sim::{
    Action, Event, History, Qos, Saw, Scenario, Transport, What, lanes, network_level, oracle,
    scenarios,
};

/// More than either connection carries before both come back.
const BYTES: usize = 140;

/// Packet ids at QoS 2 that came, and for which PUBREL has not: what comes again with one of
/// these is the same message.
fn received(history: &History, client: usize) -> BTreeMap<u64, usize> {
    let mut unreleased = Vec::new();
    let mut counts = BTreeMap::new();
    for event in history.of(client) {
        let Event { what: What::Saw { packet }, .. } = event else { continue };
        match packet {
            Saw::Publish(publish) => {
                let id = publish.id.filter(|_| publish.qos == Qos::ExactlyOnce);
                if id.is_some_and(|id| unreleased.contains(&id)) {
                    continue;
                }
                unreleased.extend(id);
                *counts.entry(publish.message.expect("a number")).or_default() += 1;
            }
            Saw::Ack(ack) => unreleased.retain(|id| *id != ack.id),
            _ => {}
        }
    }
    counts
}

fn published(scenario: &Scenario) -> impl Iterator<Item = (u64, Qos)> {
    scenario.ops.iter().filter_map(|op| match &op.action {
        Action::Publish(publish) => Some((publish.message, publish.qos)),
        _ => None,
    })
}

/// Both are in and subscribed before anything can be torn.
fn assert_nothing_lost(seed: u64, transport: Transport, tear: Tear) {
    let mut scenario = scenarios::torn(seed);
    scenario.clients.iter_mut().for_each(|client| client.transport = transport);
    let run = run_torn(&scenario, Some(tear));
    let text = || format!("{tear:?}\n{}", lanes(&scenario, &run.history));
    assert_eq!(run.failure, None, "{}", text());
    assert_eq!(oracle::check(&scenario, &run.history), [], "{}", text());
    let is_asked = |number| {
        run.history.events().iter().any(|event| {
            matches!(&event.what, What::Published { message, outcome }
                if *message == number && *outcome == (stormpetrel_sim::Outcome::Acked { reason: 0 }))
        })
    };
    let is_subscribed = |client| {
        let subscribed = run
            .history
            .of(client)
            .filter(|event| matches!(event.what, What::Saw { packet: Saw::SubAck { .. } }));
        subscribed.count() == 3
    };
    for client in [0, 1] {
        let counts = received(&run.history, client);
        for (message, qos) in published(&scenario) {
            let count = counts.get(&message).copied().unwrap_or(0);
            let is_owed = is_asked(message) && is_subscribed(client);
            assert!(count > 0 || !is_owed, "{message} did not come to {client}: {}", text());
            assert!(count <= 1 || qos != Qos::ExactlyOnce, "{message} came twice: {}", text());
        }
    }
}

#[test]
fn a_connection_may_break_at_any_byte() {
    for client in [0, 1] {
        for is_from_broker in [false, true] {
            for bytes in 0..BYTES {
                let tear = Tear { client, bytes, is_from_broker };
                assert_nothing_lost(bytes as u64, Transport::Tcp, tear);
            }
        }
    }
}

/// Somewhere in a handshake, a record or a frame.
#[test]
fn a_connection_in_tls_or_websocket_may_break_anywhere() {
    for (transport, most) in
        [(Transport::Tls, 2_200), (Transport::Ws, 500), (Transport::Wss, 2_500)]
    {
        for client in [0, 1] {
            for is_from_broker in [false, true] {
                for bytes in (client..most).step_by(most / 31) {
                    assert_nothing_lost(
                        bytes as u64,
                        transport,
                        Tear { client, bytes, is_from_broker },
                    );
                }
            }
        }
    }
}

#[test]
fn a_tear_is_heard_by_both() {
    let scenario = scenarios::torn(1);
    let whole = network_level::run(&scenario).history;
    let tear = Tear { client: 0, bytes: 20, is_from_broker: false };
    let torn = run_torn(&scenario, Some(tear)).history;
    let is_closed = |event: &Event| matches!(event.what, What::Closed { .. });
    let closed = |history: &History| history.of(0).filter(|event| is_closed(event)).count();
    assert_eq!(closed(&torn), closed(&whole) + 1);
}
