//! What clients may not do.

use std::sync::Arc;

use super::cast::{Cast, lasting, subscribe};
use crate::access::{Rule, Wish};
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

/// A rule for a user, or for everybody.
fn rule(is_allowed: bool, wishes: &[Wish], user: &str, filters: &[&str]) -> Rule {
    let users = if user.is_empty() { Vec::new() } else { vec![Arc::from(user)] };
    let filters = filters.iter().map(|filter| Arc::from(*filter)).collect();
    Rule { is_allowed, wishes: wishes.to_vec(), users, filters }
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
