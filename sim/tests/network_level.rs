//! The network level over a fixed set of seeds: every promise is kept, nothing panics, the broker
//! always stops and leaves nothing behind, and the same seed gives the same run.

use std::ops::Range;
use std::sync::Arc;

use stormpetrel_sim::{
    Action, Client, Connect, Fault, FaultKind, Mark, Marks, Op, Plan, Publish, Qos, Saw, Scenario,
    Subscribe, Subscription, Transport, Way, What, lanes, network_level, oracle,
};

/// Plays the seeds; what they met.
fn sweep(seeds: Range<u64>) -> Marks {
    let mut marks = Marks::default();
    for seed in seeds {
        let scenario = Plan::drawn(seed).scenario();
        let run = network_level::run(&scenario);
        assert_eq!(run.failure, None, "seed {seed}:\n{}", lanes(&scenario, &run.history));
        assert_eq!(oracle::check(&scenario, &run.history), [], "seed {seed}");
        marks.add(&run.marks);
    }
    marks
}

#[test]
fn every_promise_is_kept_and_every_rare_situation_is_met() {
    let marks = std::thread::scope(|scope| {
        let halves = [500..650, 650..800].map(|seeds| scope.spawn(|| sweep(seeds)));
        let mut marks = Marks::default();
        for half in halves {
            marks.add(&half.join().expect("it says what failed"));
        }
        marks
    });
    let missed = marks.missed();
    assert!(missed.is_empty(), "never met: {missed:?}\n{marks}");
}

#[test]
fn the_same_seed_gives_the_same_run_after_others() {
    let hash = |seed: u64| network_level::run(&Plan::drawn(seed).scenario()).history.hash();
    let first: Vec<u64> = (0..40).map(hash).collect();
    (0..40).rev().for_each(|seed| assert_eq!(hash(seed), first[seed as usize], "seed {seed}"));
}

#[test]
fn a_scenario_without_some_of_it_is_a_scenario() {
    for seed in 0..40 {
        let whole = Plan::drawn(seed).scenario();
        let half = Scenario {
            ops: whole.ops.iter().skip(1).step_by(2).cloned().collect(),
            clients: whole.clients[..whole.clients.len().div_ceil(2)].to_vec(),
            faults: whole.faults.iter().skip(1).copied().collect(),
            ..whole
        };
        assert_eq!(network_level::run(&half).failure, None, "seed {seed}");
    }
}

fn client(zone: usize) -> Client {
    Client { zone, ..Client::named(&format!("zone-{zone}")) }
}

/// SUBSCRIBE to all that others publish.
fn to_all() -> Action {
    let filter = Subscription {
        filter: Arc::from("#"),
        qos: Qos::AtLeastOnce,
        no_local: true,
        retain_as_published: false,
        retain_handling: 0,
    };
    Action::Subscribe(Subscribe { subscription_id: None, filters: vec![filter] })
}

/// What a run meets, and which messages come in time, in which a zone is held that way for three
/// seconds, while two clients of it and of another zone publish to each other.
fn held(way: Way) -> (Marks, Vec<(u64, bool)>) {
    let mut ops = Vec::new();
    let mut act = |at_ms, client, action| ops.push(Op { at_ms, client, action });
    (0..2).for_each(|client| act(0, client, Action::Connect(Connect::default())));
    for client in 0..2 {
        act(100, client, to_all());
    }
    for client in 0..2 {
        let (topic, message) = (Arc::from("a"), client as u64 + 1);
        let qos = Qos::AtLeastOnce;
        let publish = Publish { message, topic, qos, ..Publish::default() };
        act(1_000, client, Action::Publish(publish));
    }
    let fault = FaultKind::Hold { zone: 0, for_ms: 3_000, way };
    let scenario = Scenario {
        clients: vec![client(0), client(1)],
        ops,
        faults: vec![Fault { at_ms: 500, kind: fault }],
        ..Scenario::default()
    };
    let run = network_level::run(&scenario);
    assert_eq!(run.failure, None);
    assert_eq!(oracle::check(&scenario, &run.history), []);
    let came = run.history.events().iter().filter_map(|event| match &event.what {
        What::Saw { packet: Saw::Publish(saw) } => Some((saw.message?, event.at_ms < 3_500)),
        _ => None,
    });
    let mut came: Vec<(u64, bool)> = came.collect();
    came.sort_unstable();
    (run.marks, came)
}

#[test]
fn a_zone_that_is_held_one_way_still_hears_or_is_heard() {
    // Message 1 is from the zone that is held, message 2 is for it.
    let (marks, came) = held(Way::Both);
    assert_eq!(came, [(1, false), (2, false)]);
    assert_eq!((marks.get(Mark::HeardUnhearing), marks.get(Mark::HearingUnheard)), (0, 0));
    let (marks, came) = held(Way::ToBroker);
    assert_eq!(came, [(1, false), (2, true)]);
    assert_eq!((marks.get(Mark::HeardUnhearing), marks.get(Mark::HearingUnheard)), (0, 1));
    let (marks, came) = held(Way::ToClients);
    assert_eq!(came, [(1, true), (2, false)]);
    assert_eq!((marks.get(Mark::HeardUnhearing), marks.get(Mark::HearingUnheard)), (1, 0));
}

/// How many of eight messages of 10,000 bytes a client takes in five seconds in which it is paused.
fn taken_while_paused(sips: bool) -> usize {
    let mut ops = Vec::new();
    let mut act = |at_ms, client, action| ops.push(Op { at_ms, client, action });
    (0..2).for_each(|client| act(0, client, Action::Connect(Connect::default())));
    act(100, 0, to_all());
    act(200, 0, Action::Pause);
    for message in 1..=8 {
        let (topic, qos, bytes) = (Arc::from("a"), Qos::AtLeastOnce, 10_000);
        let publish = Publish { message, topic, qos, bytes, ..Publish::default() };
        act(300, 1, Action::Publish(publish));
    }
    let clients = vec![Client { sips, ..client(0) }, client(1)];
    let scenario = Scenario { clients, ops, safety_ms: 5_000, ..Scenario::default() };
    let run = network_level::run(&scenario);
    assert_eq!(run.failure, None);
    assert_eq!(oracle::check(&scenario, &run.history), []);
    let is_message = |what: &What| matches!(what, What::Saw { packet: Saw::Publish(_) });
    let paused = run.history.of(0).filter(|event| event.at_ms < scenario.safety_ms);
    paused.filter(|event| is_message(&event.what)).count()
}

#[test]
fn a_paused_client_takes_nothing_or_a_little() {
    assert_eq!(taken_while_paused(false), 0);
    assert_eq!(taken_while_paused(true), 1);
}

/// Of the first connections of clients with this transport, how many were let in and brought a
/// message, and how many there were.
fn let_in(transport: Transport, seeds: Range<u64>) -> (usize, usize) {
    let (mut accepted, mut all) = (0, 0);
    for seed in seeds {
        let scenario = Plan::drawn(seed).scenario();
        if scenario.clients.iter().all(|client| client.transport != transport) {
            continue;
        }
        let history = network_level::run(&scenario).history;
        for (index, client) in scenario.clients.iter().enumerate() {
            if client.transport == transport {
                let mut saw = history.of(index).filter_map(|event| match &event.what {
                    What::Saw { packet } => Some(packet),
                    _ => None,
                });
                all += 1;
                let is_let_in = |saw: &Saw| matches!(saw, Saw::ConnAck { reason: 0, .. });
                accepted += usize::from(saw.any(is_let_in));
            }
        }
    }
    (accepted, all)
}

#[test]
fn clients_of_every_transport_are_let_in() {
    for transport in [Transport::Tls, Transport::Ws, Transport::Wss, Transport::Proxied] {
        let (accepted, all) = let_in(transport, 0..100);
        assert!(all >= 20, "{transport:?}: {all} in 100 seeds");
        assert!(accepted * 10 > all * 8, "{transport:?}: {accepted} of {all}");
    }
}
