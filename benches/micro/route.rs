//! The whole machine in process: messages handed in, deliveries pulled and acknowledged. No codec
//! and no sockets. Elements are deliveries.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use stormpetrel::machine::ConnectionId;
use stormpetrel::mqtt::types::QoS;
use stormpetrel::mqtt::wire::Packet;

use crate::kit::broker::Broker;
use crate::kit::packets::burst;

/// Messages handed in at once.
const BURST: u16 = 64;

pub(crate) fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    for (name, qos) in
        [("qos0", QoS::AtMostOnce), ("qos1", QoS::AtLeastOnce), ("qos2", QoS::ExactlyOnce)]
    {
        let mut broker = Broker::new();
        broker.client(&["site/4/state"], qos);
        bench(&mut group, name, &mut broker, &burst(qos, BURST, "site/4/state"), 1);
    }
    for subscribers in [1, 10, 100, 1_000] {
        let mut broker = Broker::new();
        for _ in 0..subscribers {
            broker.client(&["site/+/state"], QoS::AtMostOnce);
        }
        let messages = burst(QoS::AtMostOnce, 4, "site/4/state");
        bench(&mut group, &format!("fan-out/{subscribers}"), &mut broker, &messages, subscribers);
    }
    let mut broker = Broker::new();
    for _ in 0..10 {
        broker.client(&["$share/workers/site/+/state"], QoS::AtLeastOnce);
    }
    let messages = burst(QoS::AtLeastOnce, BURST, "site/4/state");
    bench(&mut group, "shared/10", &mut broker, &messages, 1);
}

/// Publishes the messages again and again, each of which makes so many deliveries.
fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    broker: &mut Broker,
    messages: &[Packet],
    deliveries: u64,
) {
    let publisher: ConnectionId = broker.client(&[], QoS::AtMostOnce);
    let expected = messages.len() as u64 * deliveries;
    group.throughput(Throughput::Elements(expected));
    group.bench_function(name, |bencher| {
        let before = broker.machine.ledger().delivered;
        let mut rounds = 0;
        bencher.iter_batched_ref(
            || messages.to_vec(),
            |messages| {
                broker.receive(publisher, messages);
                broker.settle(|outgoing| {
                    black_box(outgoing);
                });
                rounds += 1;
            },
            BatchSize::SmallInput,
        );
        let delivered = broker.machine.ledger().delivered - before;
        assert_eq!(delivered, rounds * expected, "{name}: something was not delivered");
    });
}
