//! Messages from one to another, whatever the network does.

use super::cast::Cast;
use crate::scenario::{Action, FaultKind, Qos, Scenario, Way};

/// Two clients that subscribe to everything at every QoS.
fn pair(cast: &mut Cast) -> [usize; 2] {
    let clients = [cast.old_client("old"), cast.new_client("new")];
    for client in clients {
        cast.resume(client);
    }
    cast.after(200);
    for client in clients {
        for qos in Qos::ALL {
            cast.subscribe(client, &format!("+/{qos}"), qos);
        }
    }
    cast.after(300);
    clients
}

/// Each publishes at every QoS.
fn publish_round(cast: &mut Cast, clients: [usize; 2]) {
    for (client, name) in clients.into_iter().zip(["old", "new"]) {
        for qos in Qos::ALL {
            cast.publish(client, &format!("{name}/{qos}"), qos);
        }
    }
}

pub(super) fn every_qos(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    cast.scenario.weather.latency_max_ms = 40;
    cast.scenario.weather.spikes = 100;
    let clients = pair(&mut cast);
    for _ in 0..3 {
        publish_round(&mut cast, clients);
        cast.after(150);
    }
    cast.done()
}

pub(super) fn held_links(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let clients = pair(&mut cast);
    for (zone, for_ms) in [(0, 400), (1, 250), (0, 30), (1, 700)] {
        cast.fault(FaultKind::Hold { zone, for_ms, way: Way::Both });
        publish_round(&mut cast, clients);
        cast.after(350);
    }
    cast.done()
}

pub(super) fn cut_links(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let clients = pair(&mut cast);
    for after in [0, 5, 10, 15, 20, 30, 45] {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            cast.publish(clients[0], &format!("old/{qos}"), qos);
            cast.publish(clients[1], &format!("new/{qos}"), qos);
        }
        cast.after(after);
        if after % 2 == 0 {
            cast.act(clients[0], Action::Cut).fault(FaultKind::Cut { zone: 1 });
        } else {
            cast.act(clients[1], Action::Cut).fault(FaultKind::Cut { zone: 0 });
        }
        cast.after(100).resume(clients[0]).resume(clients[1]).after(200);
    }
    cast.done()
}

/// Short, so that tests can tear it at each byte: messages at QoS 1 and 2 each way, and both
/// clients come back a second later.
pub fn torn(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let clients = pair(&mut cast);
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        cast.publish(clients[0], &format!("old/{qos}"), qos);
        cast.publish(clients[1], &format!("new/{qos}"), qos);
    }
    cast.after(1_000).resume(clients[0]).resume(clients[1]);
    cast.done()
}
