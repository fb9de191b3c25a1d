//! Connections that end without a word: wills, and keep alive.

use super::cast::{Cast, lasting};
use crate::scenario::{Action, Breach, Connect, FaultKind, Qos, Scenario};

pub(super) fn wills(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let heir = cast.new_client("heir");
    let names = ["cut", "garbled", "twice", "taken", "orderly", "orderly-with-will", "lost"];
    let dying: Vec<usize> = names
        .iter()
        .enumerate()
        .map(|(at, name)| if at % 2 == 0 { cast.old_client(name) } else { cast.new_client(name) })
        .collect();
    let rival = cast.new_client("taken");
    cast.connect(heir).after(100).subscribe(heir, "will/#", Qos::ExactlyOnce).after(100);
    for (&client, name) in dying.iter().zip(names) {
        let will = cast.will(&format!("will/{name}"), Qos::ALL[client % 3], 0);
        cast.act(client, Action::Connect(Connect { will, ..Connect::default() }));
    }
    cast.after(300).act(dying[0], Action::Cut).act(dying[1], Action::Garble);
    cast.act(dying[2], Action::Break { breach: Breach::SecondConnect });
    cast.after(100).connect(rival).after(100).disconnect(dying[4]);
    // 0x04: with the will. The client speaks 5.0.
    cast.act(dying[5], Action::Disconnect { reason: 4, expiry_s: None });
    let zone = cast.scenario.clients[dying[6]].zone;
    cast.after(100).fault(FaultKind::Cut { zone }).after(500);
    cast.done()
}

pub(super) fn delayed(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let heir = cast.new_client("heir");
    let back = cast.new_client("comes-back");
    let late = cast.new_client("comes-late");
    let ended = cast.new_client("session-ends");
    let anew = cast.new_client("starts-anew");
    cast.resume(heir).after(100).subscribe(heir, "will/#", Qos::AtLeastOnce).after(100);
    for (client, name, expiry_s) in
        [(back, "back", 60), (late, "late", 60), (ended, "ended", 1), (anew, "anew", 60)]
    {
        let will = cast.will(&format!("will/{name}"), Qos::AtLeastOnce, 3);
        let connect = Connect { will, expiry_s: Some(expiry_s), ..lasting() };
        cast.act(client, Action::Connect(connect));
    }
    cast.after(300);
    for client in [back, late, ended, anew] {
        cast.act(client, Action::Cut);
    }
    cast.after(1_500).resume(back).connect(anew);
    cast.after(3_000).resume(late).after(500);
    cast.done()
}

pub(super) fn keep_alive(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let heir = cast.old_client("heir");
    let pinging = cast.old_client("pinging");
    let silent = cast.new_client("silent");
    let half_open = cast.new_client("half-open");
    let lost = cast.old_client("lost");
    cast.scenario.clients[lost].zone = 3;
    cast.manners(silent).pings = false;
    cast.connect(heir).after(100).subscribe(heir, "will/#", Qos::AtLeastOnce).after(100);
    for (client, name) in
        [(pinging, "pinging"), (silent, "silent"), (half_open, "half-open"), (lost, "lost")]
    {
        let will = cast.will(&format!("will/{name}"), Qos::AtLeastOnce, 0);
        cast.act(client, Action::Connect(Connect { keep_alive_s: 2, will, ..Connect::default() }));
    }
    cast.after(500).act(half_open, Action::HalfOpen);
    cast.fault(FaultKind::Partition { zone: 3, for_ms: 10_000 });
    cast.after(8_000);
    cast.done()
}
