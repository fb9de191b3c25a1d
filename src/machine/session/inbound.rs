//! What a client has sent at QoS 2 and not yet released (MQTT 5.0, section 4.3.3).
//!
//! Knows only packet ids: `route.rs` has the messages, and they are gone by now.

use std::collections::BTreeSet;

use crate::mqtt::types::PacketId;

/// The receiver's half of QoS 2.
#[derive(Debug, Default)]
pub(in super::super) struct Inbound {
    /// Of those that came on this connection.
    unreleased: BTreeSet<PacketId>,
    /// Of those that came on earlier ones: they take nothing of this one's Receive Maximum.
    carried: BTreeSet<PacketId>,
}

impl Inbound {
    /// Whether the message with this id was taken already. [MQTT-4.3.3-10]
    pub(in super::super) fn has(&self, id: PacketId) -> bool {
        self.unreleased.contains(&id) || self.carried.contains(&id)
    }

    /// Notes a message that was taken.
    pub(in super::super) fn take(&mut self, id: PacketId) {
        self.unreleased.insert(id);
    }

    /// PUBREL: the id is free again. Whether it was in use. [MQTT-4.3.3-12]
    pub(in super::super) fn release(&mut self, id: PacketId) -> bool {
        self.unreleased.remove(&id) || self.carried.remove(&id)
    }

    /// Those that came on earlier connections than the next one: after a restart, all of them.
    pub(in super::super) fn restored(ids: impl IntoIterator<Item = PacketId>) -> Inbound {
        Inbound { unreleased: BTreeSet::new(), carried: ids.into_iter().collect() }
    }

    /// All that are not released.
    pub(in super::super) fn ids(&self) -> impl Iterator<Item = PacketId> {
        self.unreleased.iter().chain(&self.carried).copied()
    }

    /// How many are not released.
    pub(in super::super) fn len(&self) -> usize {
        self.unreleased.len() + self.carried.len()
    }

    /// How many of them came on this connection: what our Receive Maximum bounds. The client
    /// counts from 0 on every connection (MQTT 5.0, section 4.9).
    pub(in super::super) fn in_window(&self) -> usize {
        self.unreleased.len()
    }

    /// The connection is gone.
    pub(in super::super) fn detach(&mut self) {
        let mut ids = std::mem::take(&mut self.unreleased);
        if ids.len() > self.carried.len() {
            std::mem::swap(&mut ids, &mut self.carried);
        }
        self.carried.extend(ids);
    }
}
