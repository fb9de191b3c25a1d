//! What the MQTT of a client travels in: a choice of the plan, for each client.
//!
//! What it means is in `network_level/layers.rs`; the machine level knows only that each has a
//! listener of its own.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::plan::Plan;
use crate::scenario::{Action, Fault, FaultKind, Op, Scenario};

/// Codes of Close frames that blame nobody: all is done, or the broker goes (RFC 6455, section
/// 7.4.1).
pub(crate) const NORMAL_CLOSES: [u16; 2] = [1_000, 1_001];
/// Those that say that something is wrong, but not with a frame: with what its client wants, or in
/// the broker; from 3,000 on, what no standard knows.
const OTHER_CLOSES: [u16; 4] = [1_008, 1_011, 1_012, 1_013];
const UNKNOWN_CLOSES: Range<u16> = 3_000..5_000;

/// Whether a client that has broken no frame may be told so.
pub(crate) fn is_blameless_close(code: u16) -> bool {
    NORMAL_CLOSES.contains(&code) || OTHER_CLOSES.contains(&code) || UNKNOWN_CLOSES.contains(&code)
}

/// What MQTT travels in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Nothing.
    #[default]
    Tcp,
    /// TLS.
    Tls,
    /// WebSocket.
    Ws,
    /// WebSocket in TLS.
    Wss,
    /// Nothing, behind a header of the PROXY protocol.
    Proxied,
}

impl Transport {
    /// All of them.
    pub const ALL: [Transport; 5] =
        [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss, Transport::Proxied];

    /// Whether there is TLS.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    /// Whether there is WebSocket.
    pub fn is_websocket(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss)
    }

    /// Whether a proxy can say in it where a client comes from.
    pub(crate) fn tells_origins(self) -> bool {
        self.is_websocket() || self == Transport::Proxied
    }

    /// Whether there is nothing.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    pub(crate) fn is_tcp(&self) -> bool {
        *self == Transport::Tcp
    }

    /// The name of the listener.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "default",
            Transport::Tls => "tls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
            Transport::Proxied => "proxied",
        }
    }

    /// The port of the listener.
    pub(crate) fn port(self) -> u16 {
        match self {
            Transport::Tcp => 1_883,
            Transport::Tls => 8_883,
            Transport::Ws => 8_080,
            Transport::Wss => 8_443,
            Transport::Proxied => 1_884,
        }
    }
}

/// A certificate of the broker's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certificate {
    /// The one that it began with.
    #[default]
    First,
    /// Another one, of the same authority and for the same name.
    Renewed,
}

impl Certificate {
    /// The one that is in force when it has changed so often.
    pub(crate) fn after(changes: usize) -> Certificate {
        if changes.is_multiple_of(2) { Certificate::First } else { Certificate::Renewed }
    }
}

/// Has so many of a thousand clients as the plan wants come through something, and gives them the
/// time for that.
pub(crate) fn draw(scenario: &mut Scenario, plan: &Plan) {
    let mut dice = Dice::new(plan.seed, "transports", 0);
    let is_behind_proxies = scenario.broker.is_behind_proxies;
    for client in &mut scenario.clients {
        let transport = dice.one_of(&Transport::ALL[1..]);
        let is_mute = is_behind_proxies && !transport.tells_origins();
        let transport = if is_mute { Transport::Ws } else { transport };
        if dice.chance(plan.wrapped_clients) {
            client.transport = transport;
        }
    }
    let weather = scenario.weather;
    let spike = if weather.spikes > 0 { 10 } else { 1 };
    if let Some(timeout) = &mut scenario.broker.connect_timeout_ms {
        *timeout += HANDSHAKE_TRIPS * weather.latency_max_ms * spike;
    }
    break_frames(scenario, plan.seed);
    renew_certificate(scenario, plan.seed);
}

/// Has the broker take up another certificate once or more, in most of the plans in which somebody
/// looks at it.
fn renew_certificate(scenario: &mut Scenario, seed: u64) {
    let mut dice = Dice::new(seed, "certificates", 0);
    let is_seen = scenario.clients.iter().any(|client| client.transport.is_encrypted());
    if !is_seen || !dice.chance(700) {
        return;
    }
    for _ in 0..dice.between(1, 3) {
        let at_ms = dice.below(scenario.safety_ms);
        scenario.faults.push(Fault { at_ms, kind: FaultKind::Certificate });
    }
    scenario.faults.sort_by_key(|fault| fault.at_ms);
}

/// In a third of the plans some who speak through WebSocket break the protocol now and then behind
/// what they ask: mostly by a frame that no client may send.
fn break_frames(scenario: &mut Scenario, seed: u64) {
    let mut dice = Dice::new(seed, "broken frames", 0);
    if !dice.chance(330) {
        return;
    }
    let mut ops = Vec::with_capacity(scenario.ops.len());
    for op in std::mem::take(&mut scenario.ops) {
        let (at_ms, client) = (op.at_ms, op.client);
        let is_asked = matches!(op.action, Action::Publish(_) | Action::Subscribe(_));
        ops.push(op);
        if is_asked && scenario.clients[client].transport.is_websocket() && dice.chance(150) {
            ops.push(Op { at_ms, client, action: Action::Garble });
        }
    }
    scenario.ops = ops;
}

/// How often something travels to the other host until a client that is connected has shaken hands:
/// twice back and forth for TLS 1.2, once for WebSocket.
pub(crate) const HANDSHAKE_TRIPS: u64 = 6;
