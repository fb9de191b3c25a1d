//! Keep alive: when the broker heard of each client, how long it was silent, and what it had
//! promised. [MQTT-3.1.2-22]
//!
//! `facts.rs` asks when a connection may have ended of that.

use super::{Facts, NEVER, Ordinal};

impl Facts<'_> {
    /// The first event after a silence that the broker does not bear, of a client that may have
    /// been let in.
    pub(in crate::oracle) fn silent_at(&self, place: usize) -> Ordinal {
        self.silent_ms(place, 0).map_or(NEVER, |ms| self.not_before(ms))
    }

    /// The last event before a broker that is never late has noticed that silence.
    pub(super) fn silence_noticed(&self, place: usize) -> Ordinal {
        let noticed_ms = self.silent_ms(place, 1).filter(|_| self.connections[place].is_let_in);
        let noticed_ms = noticed_ms.filter(|ms| !self.may_go_unheard(place, *ms));
        noticed_ms.map_or(NEVER, |ms| self.first_at(ms))
    }

    /// When a client, if it was let in, has been silent for as long as it may and so much more:
    /// what comes in the very moment may be too late or not.
    pub(in crate::oracle) fn silent_ms(&self, place: usize, more_ms: u64) -> Option<u64> {
        let connection = &self.connections[place];
        let silence_ms = self.silence_ms(place)? + more_ms;
        let entry = connection.entry?;
        // What is handled in parts may be heard of until the last of them.
        let mut last_ms = self.ms(if more_ms > 0 { entry.to } else { entry.from });
        for (came, done) in connection.requests.iter().filter_map(|it| self.handled(it.asked)) {
            if self.ms(came) >= last_ms.saturating_add(silence_ms) {
                break;
            }
            last_ms = self.ms(if more_ms > 0 { done } else { came });
        }
        Some(last_ms.saturating_add(silence_ms))
    }

    /// Whether a client that seems to have been silent for too long by then may not have been read:
    /// it is given its time anew.
    pub(in crate::oracle) fn may_go_unheard(&self, place: usize, silent_ms: u64) -> bool {
        let silence_ms = self.silence_ms(place).unwrap_or(0);
        self.may_go_unread(silent_ms.saturating_sub(silence_ms + 1), silent_ms)
    }

    /// Whether what comes may be left unread in that time: whoever is owed as many answers as may
    /// be on their way is not read while the disk is in trouble.
    pub(in crate::oracle) fn may_go_unread(&self, from_ms: u64, to_ms: u64) -> bool {
        self.scenario.broker.inflight.is_some() && !self.is_disk_prompt(from_ms, to_ms)
    }

    /// If a request arrived at the broker, when; and when it had all of its effect.
    pub(super) fn handled(&self, asked: Ordinal) -> Option<(Ordinal, Ordinal)> {
        let arrived = self.arrived[asked];
        (arrived != NEVER).then(|| (arrived, self.done[asked].max(arrived)))
    }

    /// Milliseconds that a client may be silent: 1.5 times its keep alive, or as much less as the
    /// broker was told to bear. None: for ever.
    pub(in crate::oracle) fn silence_ms(&self, place: usize) -> Option<u64> {
        let keep_alive_ms = u64::from(self.keep_alive_s(place)) * 1_000;
        let told_ms = self.scenario.broker.disconnect_delay_s.map(|secs| secs * 1_000);
        let late_ms = told_ms.map_or(keep_alive_ms / 2, |told| told.min(keep_alive_ms / 2));
        (keep_alive_ms > 0).then_some(keep_alive_ms + late_ms)
    }

    /// Seconds of keep alive that the broker enforces.
    fn keep_alive_s(&self, place: usize) -> u16 {
        let connection = &self.connections[place];
        let said = connection.answer.and_then(|answer| answer.granted.keep_alive_s);
        let asked = connection.connect.map_or(0, |connect| connect.keep_alive_s);
        let asked = said.unwrap_or(asked);
        match self.scenario.broker.keep_alive_max_s {
            Some(max) if asked == 0 || asked > max => max,
            _ => asked,
        }
    }
}
