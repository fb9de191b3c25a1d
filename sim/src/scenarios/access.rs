//! What clients may not do.

use std::sync::Arc;

use super::cast::{Cast, lasting, subscribe};
use crate::access::{Opinion, Rule, Wish};
use crate::scenario::{Action, ClientIndex, Connect, FaultKind, Qos, Scenario};

pub(super) fn forbidden(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    let spy = cast.new_client("spy");
    let (old, new) = (cast.old_client("old"), cast.new_client("new"));
    let dying = cast.new_client("dying");
    cast.connect(spy).connect(old).connect(new).after(50);
    for filter in ["#", "+/broker/+", "$SYS/#"] {
        cast.act(spy, subscribe(filter, Qos::ExactlyOnce));
    }
    let will = cast.will("$SYS/broker/will", Qos::AtLeastOnce, 0);
    cast.act(dying, Action::Connect(Connect { will, ..Connect::default() })).after(100);
    for qos in Qos::ALL {
        for client in [old, new] {
            cast.publish(client, "$SYS/broker/lie", qos);
            cast.retain(client, "$SYS", qos);
            // Only `$SYS` is the broker's own: these are topics as any other.
            cast.publish(client, "$SYSTEM/lie", qos);
            cast.publish(client, "a/broker/truth", qos);
        }
        cast.after(50);
    }
    cast.act(dying, Action::Cut).after(200);
    let late = cast.old_client("late");
    cast.connect(late).after(50).subscribe(late, "$SYS/#", Qos::AtLeastOnce).after(100);
    cast.done()
}

fn opinion(user: &str, after_ms: Option<u64>, is_proven: bool) -> Opinion {
    Opinion { user: Arc::from(user), after_ms, is_proven, ..Opinion::default() }
}

/// Verdicts that come late, or never, keep nobody else waiting.
pub(super) fn slow_verdicts(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    cast.scenario.broker.connect_timeout_ms = Some(2_000);
    cast.scenario.broker.opinions = vec![
        opinion("slow", Some(1_500), true),
        opinion("refused", Some(1_000), false),
        opinion("too-late", Some(2_500), true),
        opinion("down", None, true),
    ];
    let quick = [cast.new_client("quick-new"), cast.old_client("quick-old")];
    let judged: Vec<ClientIndex> = ["slow", "refused", "too-late", "down"]
        .into_iter()
        .flat_map(|user| {
            let clients =
                [cast.new_client(&format!("{user}-new")), cast.old_client(&format!("{user}-old"))];
            for client in clients {
                cast.scenario.clients[client].user = Some(Arc::from(user));
            }
            clients
        })
        .collect();
    for client in quick {
        cast.connect(client);
    }
    cast.after(50);
    for client in quick {
        cast.subscribe(client, "news", Qos::AtLeastOnce);
    }
    cast.after(50);
    for &client in &judged {
        cast.connect(client);
    }
    for number in 0..5 {
        cast.publish(quick[number % 2], "news", Qos::AtLeastOnce).after(500);
    }
    // Some are gone before anybody has decided.
    for &client in &judged {
        cast.act(client, Action::Cut).after(10).connect(client);
    }
    cast.after(100);
    for &client in &judged {
        cast.act(client, Action::Cut);
    }
    cast.publish(quick[0], "news", Qos::AtLeastOnce).after(2_600);
    cast.done()
}

/// A session that a user proved to be its own is nobody else's, whatever he gives as client id.
pub(super) fn wrong_user(seed: u64) -> Scenario {
    let mut cast = Cast::new(seed);
    cast.scenario.broker.opinions = vec![
        opinion("owner", Some(20), true),
        opinion("thief", Some(20), true),
        opinion("liar", Some(20), false),
    ];
    let (owner, sender) = (cast.new_client("door"), cast.new_client("sender"));
    let others: Vec<ClientIndex> = ["thief", "liar", "", "thief"]
        .into_iter()
        .enumerate()
        .map(|(number, user)| {
            let client =
                if number == 3 { cast.old_client("door") } else { cast.new_client("door") };
            cast.scenario.clients[client].user = (!user.is_empty()).then(|| Arc::from(user));
            client
        })
        .collect();
    cast.scenario.clients[owner].user = Some(Arc::from("owner"));
    cast.connect(sender);
    let will = cast.will("door/gone", Qos::AtLeastOnce, 0);
    cast.act(owner, Action::Connect(Connect { will, ..lasting() })).after(100);
    cast.subscribe(owner, "door/#", Qos::ExactlyOnce);
    cast.subscribe(sender, "door/gone", Qos::AtLeastOnce).after(50);
    let attempt = |cast: &mut Cast| {
        for &other in &others {
            for clean_start in [false, true] {
                let connect = Connect { clean_start, ..lasting() };
                cast.publish(sender, "door/open", Qos::ExactlyOnce);
                cast.act(other, Action::Connect(connect)).after(100);
            }
        }
    };
    attempt(&mut cast);
    cast.act(owner, Action::Cut).after(100);
    attempt(&mut cast); // nobody is connected, and the session is still his
    cast.resume(owner).after(200);
    cast.done()
}

/// A rule for a user, or for everybody.
fn rule(is_allowed: bool, wishes: &[Wish], user: &str, filters: &[&str]) -> Rule {
    let users = if user.is_empty() { Vec::new() } else { vec![Arc::from(user)] };
    let filters = filters.iter().map(|filter| Arc::from(*filter)).collect();
    Rule { is_allowed, wishes: wishes.to_vec(), users, filters, ..Rule::default() }
}

pub(super) fn reloaded(seed: u64) -> Scenario {
    use Wish::{Publish, Receive, Subscribe};
    let mut cast = Cast::new(seed);
    let (amy, bob) = (cast.new_client("amy"), cast.old_client("bob"));
    let (plus, dying, sender) =
        (cast.new_client("plus"), cast.new_client("dying"), cast.new_client("sender"));
    for (client, user) in [(amy, "amy"), (bob, "bob"), (plus, "+"), (dying, "amy")] {
        cast.scenario.clients[client].user = Some(Arc::from(user));
    }
    let everything = rule(true, &Wish::ALL, "", &[]);
    let own_only = [
        rule(false, &[Publish, Subscribe, Receive], "amy", &["secret/#", "will"]),
        rule(false, &[Receive], "bob", &["plain"]),
        rule(true, &[Subscribe], "", &["own/%u/#"]),
        rule(false, &[Subscribe], "", &["own/#"]),
    ];
    cast.scenario.broker.policies =
        vec![vec![everything.clone()], own_only.into_iter().chain([everything]).collect()];
    let reload = |cast: &mut Cast, policy| {
        cast.fault(FaultKind::Reload { policy }).after(50);
    };
    cast.act(amy, Action::Connect(lasting())).resume(bob).connect(plus).connect(sender);
    let will = cast.will("will", Qos::AtLeastOnce, 0);
    cast.act(dying, Action::Connect(Connect { will, ..Connect::default() })).after(50);
    for client in [amy, bob, plus] {
        for filter in ["secret/+", "plain", "will", "own/amy/#"] {
            cast.act(client, subscribe(filter, Qos::AtLeastOnce));
        }
    }
    cast.after(50);
    let say = |cast: &mut Cast, from: ClientIndex| {
        for topic in ["secret/a", "plain", "own/amy/a"] {
            cast.publish(from, topic, Qos::AtLeastOnce);
        }
        cast.after(50);
    };
    say(&mut cast, sender);
    cast.act(amy, Action::Cut).after(50);
    say(&mut cast, sender); // it waits for amy
    reload(&mut cast, 1);
    cast.act(dying, Action::Cut).after(50);
    cast.act(amy, Action::Connect(lasting())).after(50);
    for client in [sender, amy, bob] {
        say(&mut cast, client);
    }
    cast.act(plus, subscribe("own/+/#", Qos::AtLeastOnce)).after(50);
    cast.act(amy, subscribe("own/amy/x", Qos::AtLeastOnce)).after(50);
    reload(&mut cast, 0);
    say(&mut cast, sender);
    cast.done()
}
