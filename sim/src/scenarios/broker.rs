//! The broker goes, or cannot be reached, and its clients find back.

use super::cast::Cast;
use crate::scenario::{Action, Connect, FaultKind, Qos, Scenario};
use crate::survival::{Durability, Store};

/// Clients that publish to each other.
fn crowd(cast: &mut Cast) -> Vec<usize> {
    let clients = vec![
        cast.new_client("publisher"),
        cast.old_client("old"),
        cast.new_client("new"),
        cast.new_client("fleeting"),
    ];
    gather(cast, &clients);
    clients
}

/// All come (back) and subscribe.
fn gather(cast: &mut Cast, clients: &[usize]) {
    for &client in &clients[..3] {
        cast.resume(client);
    }
    cast.connect(clients[3]).after(300);
    for &client in &clients[1..] {
        cast.subscribe(client, "news/#", Qos::ExactlyOnce);
    }
    cast.after(300);
}

fn load(cast: &mut Cast, clients: &[usize]) {
    for number in 0..9 {
        cast.publish(clients[number % 2], "news/item", Qos::ALL[number % 3]).after(5);
    }
}

pub(super) fn crash(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let clients = crowd(&mut cast);
    for down_ms in [5, 4_000] {
        load(&mut cast, &clients);
        cast.fault(FaultKind::Crash { down_ms, kept: 0 }).after(50);
        // Too early for the longer one.
        cast.resume(clients[0]).after(down_ms);
        gather(&mut cast, &clients);
    }
    load(&mut cast, &clients);
    cast.after(500);
    cast.done()
}

/// One whose acknowledgements are on its disk.
fn keeping(mut scenario: Scenario) -> Scenario {
    scenario.broker.store = Some(Store { durability: Durability::Sync, sync_ms_max: 40 });
    scenario
}

pub(super) fn kept(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let clients = crowd(&mut cast);
    let will = cast.will("news/will", Qos::AtLeastOnce, 1);
    let fleeting = Connect { will, ..Connect::default() };
    cast.act(clients[3], Action::Connect(fleeting)).after(200);
    cast.retain(clients[0], "news/kept", Qos::AtLeastOnce).after(200);
    for (down_ms, kept) in [(5, 0), (3_000, 500), (10, 1_000)] {
        load(&mut cast, &clients);
        // Nobody is asked to come back to what is not known to be there.
        cast.fault(FaultKind::Crash { down_ms, kept }).after(down_ms + 50);
        for &client in &clients[..3] {
            cast.resume(client);
        }
        cast.after(400);
    }
    load(&mut cast, &clients);
    cast.after(500);
    keeping(cast.done())
}

pub(super) fn many_restarts(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let clients = crowd(&mut cast);
    for restart in 0..8 {
        load(&mut cast, &clients);
        let down_ms = 10;
        cast.fault(match restart % 3 {
            0 => FaultKind::Stop { down_ms },
            1 => FaultKind::Crash { down_ms, kept: 0 },
            _ => FaultKind::Crash { down_ms, kept: 1_000 },
        });
        // Now and then it is gone again before anybody is back.
        cast.after(if restart % 4 == 3 { 20 } else { 300 });
        for &client in &clients[..3] {
            cast.resume(client);
        }
        cast.after(200);
    }
    keeping(cast.done())
}

pub(super) fn clean_stop(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let clients = crowd(&mut cast);
    let will = cast.will("news/will", Qos::AtLeastOnce, 0);
    cast.act(clients[0], Action::Connect(Connect { will, ..Connect::default() })).after(100);
    load(&mut cast, &clients);
    cast.fault(FaultKind::Stop { down_ms: 1_000 }).after(20);
    load(&mut cast, &clients);
    // One that does not read keeps the broker waiting, but not for ever.
    cast.after(4_000);
    gather(&mut cast, &clients);
    cast.act(clients[2], Action::Pause);
    load(&mut cast, &clients);
    cast.fault(FaultKind::Stop { down_ms: 10 }).after(8_000);
    gather(&mut cast, &clients);
    cast.done()
}

pub(super) fn lost_network(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let clients = crowd(&mut cast);
    for zone in [1, 2] {
        cast.fault(FaultKind::Partition { zone, for_ms: 1_500 });
        load(&mut cast, &clients);
        // One tries while the network is lost, and again afterwards.
        cast.after(200).resume(clients[zone]).after(2_000).resume(clients[zone]).after(500);
        load(&mut cast, &clients);
    }
    cast.after(500);
    cast.done()
}
