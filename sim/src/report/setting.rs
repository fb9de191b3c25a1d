//! What is set before a run begins: who plays, what the broker was told, and how the network is, as
//! far as that is not as usual.

use std::fmt::Write;

use serde::Serialize;
use serde_yaml::Value;

use super::words;
use crate::scenario::{Broker, Manners, Scenario, Weather};

/// Lines of the broker's configuration, at most.
const LINES_MAX: usize = 40;

/// In lines, each of which ends.
pub(super) fn setting(scenario: &Scenario) -> String {
    let mut lines = String::new();
    for (index, client) in scenario.clients.iter().enumerate() {
        let _ = write!(lines, "  {}", words::about(scenario, index));
        if client.manners != Manners::default() {
            let _ = write!(lines, ", {}", words::manners(&client.manners));
        }
        lines.push('\n');
    }
    section(&mut lines, "broker", &scenario.broker, &Broker::default());
    section(&mut lines, "network", &scenario.weather, &Weather::default());
    lines
}

/// What differs from what is usual, as YAML.
fn section<T: Serialize>(lines: &mut String, name: &str, set: &T, usual: &T) {
    let fields = |set: &T| match serde_yaml::to_value(set) {
        Ok(Value::Mapping(fields)) => fields,
        _ => serde_yaml::Mapping::new(),
    };
    let (mut set, usual) = (fields(set), fields(usual));
    set.retain(|key, value| usual.get(key) != Some(value));
    if set.is_empty() {
        return;
    }
    let _ = writeln!(lines, "  {name}:");
    let text = serde_yaml::to_string(&set).unwrap_or_else(|error| error.to_string());
    let count = text.lines().count();
    text.lines().take(LINES_MAX).for_each(|line| {
        let _ = writeln!(lines, "    {line}");
    });
    if count > LINES_MAX {
        let _ = writeln!(lines, "    and {} lines more", count - LINES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{AckPolicy, Client};

    #[test]
    fn only_what_is_not_as_usual_is_told() {
        let mut scenario = Scenario { clients: vec![Client::named("a")], ..Scenario::default() };
        assert_eq!(setting(&scenario), "  client 0:a (MQTT 5.0, zone 0)\n");
        scenario.clients[0].manners.acks = AckPolicy::Never;
        scenario.broker.inflight = Some(2);
        scenario.weather.spikes = 20;
        let told = "  client 0:a (MQTT 5.0, zone 0), answers nothing\n  broker:\n    inflight: 2\n  \
                    network:\n    spikes: 20\n";
        assert_eq!(setting(&scenario), told);
    }
}
