//! The named scenarios: what the broker must always do, told as stories.
//!
//! Pure data, written by hand with `cast.rs`; each is played at both levels and judged by the
//! oracle, and what came of it on the whole broker is a snapshot. One file for each subject.

mod access;
mod broker;
mod cast;
mod delivery;
mod disk;
mod limits;
mod retained;
mod sessions;
mod swarm;
mod transports;
mod wills;

use crate::network_level;
use crate::scenario::Scenario;
use crate::verdict::Run;

pub use delivery::torn;

/// A scenario with a name.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// How it is called.
    pub name: &'static str,
    /// What happens in it, in one sentence.
    pub about: &'static str,
    /// Writes it down; latencies, chaos and the broker's own randomness are of this seed.
    pub scenario: fn(u64) -> Scenario,
}

impl Named {
    /// Plays it on the whole broker.
    pub fn play(&self, seed: u64) -> (Scenario, Run) {
        let scenario = (self.scenario)(seed);
        let run = network_level::run(&scenario);
        (scenario, run)
    }
}

/// Declares [`ALL`].
macro_rules! named {
    ($($name:literal $scenario:path, $about:literal;)+) => {
        /// All there are.
        pub const ALL: &[Named] =
            &[$(Named { name: $name, about: $about, scenario: $scenario },)+];
    };
}

named! {
    "every-qos" delivery::every_qos,
        "Clients of both versions publish to each other at every QoS, in spikes of latency.";
    "held-links" delivery::held_links,
        "The same, while parts of the network are held and released.";
    "cut-links" delivery::cut_links,
        "A publisher and a subscriber are cut again and again in the middle of QoS 1 and 2.";
    "torn" delivery::torn,
        "Two messages at QoS 1 and 2, each way: short enough to tear at each of its bytes.";
    "sessions-come-back" sessions::come_back,
        "What was published meanwhile waits for sessions that last, and not for others.";
    "queue-overflows" sessions::queue_overflows,
        "More is published than the queue of an absent subscriber holds.";
    "sessions-expire" sessions::expire,
        "Sessions and messages expire while their owner is away, and not before.";
    "takeover-storm" sessions::takeover_storm,
        "Four connections take one session over from each other while messages come.";
    "retained" retained::retained,
        "Retained messages are replaced and cleared; new subscriptions get the last of each.";
    "wildcards" retained::wildcards,
        "Filters overlap, hide topics that begin with $, and are left again.";
    "shared-group" retained::shared_group,
        "Members of a shared subscription leave, die and come back.";
    "wills" wills::wills,
        "Wills go out after a cut, a bad packet and a takeover, and not after DISCONNECT.";
    "delayed-wills" wills::delayed,
        "Delayed wills are called off by those who come back in time, and by no others.";
    "keep-alive" wills::keep_alive,
        "Half-open connections end by keep alive; a client that pings stays.";
    "full-house" limits::full_house,
        "More clients come than there are places, again and again.";
    "receive-maximum" limits::receive_maximum,
        "A client that takes two messages at once and answers late, or never, gets no more.";
    "packet-sizes" limits::packet_sizes,
        "Messages too large for the broker, and messages too large for a subscriber.";
    "topic-aliases" limits::topic_aliases,
        "Topics go as aliases both ways, over more topics than there are aliases.";
    "slow-readers" limits::slow_readers,
        "One subscriber stops reading and goes on, another never reads again.";
    "bad-packets" limits::bad_packets,
        "Garbage and packets out of place end their own connection and no other.";
    "forbidden" access::forbidden,
        "Clients of both versions publish below $SYS, and leave a will there.";
    "rights-reloaded" access::reloaded,
        "Rules take rights away and give them back while clients are there, and while one is away.";
    "slow-verdicts" access::slow_verdicts,
        "Who may connect is decided late, or never, while others come and go.";
    "wrong-user" access::wrong_user,
        "Other users, and nobody, try to take a session over from the user who proved to be its owner.";
    "bad-network" transports::bad_network,
        "Clients in TLS and WebSocket are held, cut, left half open and lose their broker.";
    "broken-handshakes" transports::broken_handshakes,
        "Handshakes of TLS and WebSocket break off, come too late, or are followed by nothing.";
    "crash" broker::crash,
        "The broker crashes under load and comes back at once, then much later.";
    "kept" broker::kept,
        "The broker crashes under load, and what it acknowledged is on its disk.";
    "many-restarts" broker::many_restarts,
        "A broker that keeps what it acknowledged stops and crashes again and again.";
    "clean-stop" broker::clean_stop,
        "The broker is told to stop under load, and starts again.";
    "full-disk" disk::full,
        "The disk is full: who needs nothing kept is served, the others are refused until there is room.";
    "failing-sync" disk::failing,
        "Syncs fail: what was not acknowledged comes again, and nothing that was is lost.";
    "slow-disk" disk::slow,
        "A sync does not end for three seconds: answers wait for it, and nothing is refused.";
    "lost-network" broker::lost_network,
        "A part of the network is lost and every connection in it is dead.";
    "swarm" swarm::swarm,
        "Twelve clients of both versions do everything, and everything happens to them.";
}

/// The scenario of that name.
pub fn find(name: &str) -> Option<&'static Named> {
    ALL.iter().find(|named| named.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_data() {
        for named in ALL {
            let scenario = (named.scenario)(3);
            let again = Scenario::from_yaml(&scenario.to_yaml()).expect("its own YAML");
            assert_eq!(again, scenario, "{}", named.name);
            assert!(scenario.ops.iter().all(|op| op.client < scenario.clients.len()));
        }
    }
}
