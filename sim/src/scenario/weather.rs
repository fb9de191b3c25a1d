//! The network as it is while nothing happens to it, as data.

use serde::{Deserialize, Serialize};

/// The network while nothing happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Weather {
    /// Milliseconds from host to host, at least. 0 at the machine level only.
    pub latency_min_ms: u64,
    /// Milliseconds from host to host, at most. Packets of one connection stay in order.
    pub latency_max_ms: u64,
    /// Of a thousand packets, how many are delayed by up to ten times as much.
    pub spikes: u16,
    /// Bytes that the broker is asked for at once: none, as much as there is; else between 1 and
    /// this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_bytes_max: Option<usize>,
    /// Bytes that a paused client that takes a little takes in a second; none: more, and more
    /// seldom. Network level only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_bytes: Option<usize>,
    /// How badly streams treat bytes: of a thousand reads and writes, how many are short, joined
    /// or late. Network level only.
    #[serde(default)]
    pub chaos: u16,
    /// Milliseconds between two moments at which hosts hear of each other, and clients act; no
    /// packet is faster. Network level only.
    #[serde(default = "step_ms", skip_serializing_if = "is_usual_step")]
    pub step_ms: u64,
}

/// MQTT's timers are in seconds: this is fine.
fn step_ms() -> u64 {
    5
}

fn is_usual_step(step: &u64) -> bool {
    *step == step_ms()
}

impl Weather {
    /// [`Weather::step_ms`], of which a file may say that it is none.
    pub(crate) fn step(&self) -> u64 {
        self.step_ms.max(1)
    }
}

impl Default for Weather {
    fn default() -> Weather {
        let (pull_bytes_max, sip_bytes) = (None, None);
        Weather {
            latency_min_ms: 5,
            latency_max_ms: 5,
            spikes: 0,
            pull_bytes_max,
            sip_bytes,
            chaos: 0,
            step_ms: step_ms(),
        }
    }
}
