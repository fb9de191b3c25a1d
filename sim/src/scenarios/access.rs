//! What clients may not do.

use super::cast::{Cast, subscribe};
use crate::scenario::{Action, Connect, Qos, Scenario};

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
