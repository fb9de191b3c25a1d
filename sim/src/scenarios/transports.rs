//! MQTT in TLS and WebSocket, through a network that is bad to both.

use super::cast::Cast;
use crate::scenario::{Action, ClientIndex, FaultKind, Qos, Scenario, Way};
use crate::transport::Transport;

/// A client of each transport, of either version, in a zone of its own and one more.
fn crowd(cast: &mut Cast) -> Vec<ClientIndex> {
    let client = |(number, transport): (usize, Transport)| {
        let name = format!("{}-{number}", transport.name());
        let client = if number % 2 == 0 { cast.new_client(&name) } else { cast.old_client(&name) };
        cast.scenario.clients[client].transport = transport;
        client
    };
    let [tcp, tls, ws, wss, proxied] = Transport::ALL;
    [tls, ws, wss, tls, wss, ws, tcp, proxied].into_iter().enumerate().map(client).collect()
}

fn gather(cast: &mut Cast, clients: &[ClientIndex]) {
    for &client in clients {
        cast.resume(client).after(10);
    }
    cast.after(200);
    for &client in clients {
        cast.subscribe(client, "news/#", Qos::ExactlyOnce);
    }
    cast.after(100);
}

fn load(cast: &mut Cast, clients: &[ClientIndex]) {
    for (number, &client) in clients.iter().enumerate() {
        cast.publish(client, "news/item", Qos::ALL[number % 3]).after(5);
    }
}

/// Everything that may happen to a connection happens to one that is wrapped.
pub(super) fn bad_network(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let clients = crowd(&mut cast);
    gather(&mut cast, &clients);
    load(&mut cast, &clients);
    cast.after(100).fault(FaultKind::Hold { zone: 0, for_ms: 600, way: Way::ToBroker });
    load(&mut cast, &clients);
    cast.after(100).fault(FaultKind::Cut { zone: 1 });
    load(&mut cast, &clients);
    cast.after(800);
    for &client in &clients[..3] {
        cast.act(client, Action::HalfOpen).resume(client);
    }
    cast.after(200).fault(FaultKind::Partition { zone: 2, for_ms: 1_000 });
    load(&mut cast, &clients);
    cast.after(1_500);
    gather(&mut cast, &clients);
    load(&mut cast, &clients);
    cast.fault(FaultKind::Crash { down_ms: 300, kept: 0 }).after(600);
    gather(&mut cast, &clients);
    load(&mut cast, &clients);
    cast.act(clients[0], Action::Garble).act(clients[1], Action::Garble);
    cast.disconnect(clients[2]).after(100);
    load(&mut cast, &clients);
    cast.fault(FaultKind::Stop { down_ms: 300 }).after(800);
    gather(&mut cast, &clients);
    cast.done()
}

/// Handshakes that break off, that come too late, and after which nothing comes.
pub(super) fn broken_handshakes(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    cast.scenario.broker.connect_timeout_ms = Some(1_000);
    let clients = crowd(&mut cast);
    let witness = clients[6];
    cast.connect(witness).after(50).subscribe(witness, "news/#", Qos::AtLeastOnce).after(50);
    // Somewhere between the first byte and the last.
    for millis in [5, 15, 25, 35] {
        for &client in &clients[..6] {
            cast.resume(client);
        }
        cast.after(millis);
        for &client in &clients[..6] {
            cast.act(client, Action::Cut);
        }
        cast.after(50);
    }
    // Held longer than there is time.
    for &client in &clients[..6] {
        cast.resume(client);
    }
    cast.after(10);
    for zone in 0..3 {
        cast.fault(FaultKind::Hold { zone, for_ms: 1_500, way: Way::ToBroker });
    }
    cast.after(2_000);
    // Open, and silent.
    for &client in &clients[..6] {
        cast.act(client, Action::Cut).act(client, Action::Linger);
    }
    cast.after(1_500).publish(witness, "news/still-here", Qos::AtLeastOnce).after(100);
    for &client in &clients[..6] {
        cast.resume(client);
    }
    cast.after(300);
    load(&mut cast, &clients);
    cast.after(200);
    cast.done()
}
