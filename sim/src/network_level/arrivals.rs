//! When what clients asked took effect: in the order in which the shell handed it in.
//!
//! It says how many packets of which connection, and each connection's come in the order in which
//! they were sent. Noted in the history, as at the machine level.

use std::collections::{BTreeMap, VecDeque};

use super::stage::Stage;
use crate::history::What;
use crate::link::Progress;
use crate::marks::Mark;
use crate::scenario::ClientIndex;

/// What was sent on each connection and has not arrived.
#[derive(Debug, Default)]
pub(super) struct OnTheWay(BTreeMap<u64, Sent>);

#[derive(Debug)]
struct Sent {
    client: ClientIndex,
    /// Bytes of everything so far.
    bytes: usize,
    /// Where each request ends, and the ordinal of its event.
    requests: VecDeque<(usize, usize)>,
    /// Nothing more can be understood.
    is_garbled: bool,
    /// The broker has heard of its end, or ended it.
    is_over: bool,
}

impl OnTheWay {
    pub(super) fn open(&mut self, connection: u64, client: ClientIndex) {
        let sent =
            Sent { client, bytes: 0, requests: VecDeque::new(), is_garbled: false, is_over: false };
        self.0.insert(connection, sent);
    }

    /// A request of so many bytes was handed to the network.
    pub(super) fn send(&mut self, connection: u64, asked: usize, bytes: usize, is_garbage: bool) {
        let Some(sent) = self.0.get_mut(&connection) else { return };
        sent.bytes += bytes;
        if !sent.is_garbled {
            sent.requests.push_back((sent.bytes, asked));
        }
        sent.is_garbled |= is_garbage;
    }

    /// What is sent on that connection from now on cannot be understood.
    pub(super) fn break_off(&mut self, connection: u64) {
        self.0.entry(connection).and_modify(|sent| sent.is_garbled = true);
    }

    /// Whether nothing was sent on that connection yet.
    pub(super) fn is_new(&self, connection: u64) -> bool {
        self.0.get(&connection).is_none_or(|sent| sent.bytes == 0)
    }

    /// What was sent on that connection and has not taken effect, as ordinals of events.
    pub(super) fn on(&self, connection: u64) -> impl Iterator<Item = usize> {
        let sent = self.0.get(&connection).filter(|sent| !sent.is_over);
        sent.into_iter().flat_map(|sent| sent.requests.iter().map(|(_, asked)| *asked))
    }

    /// The broker is gone: nothing arrives any more.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Stage<'_> {
    /// Notes what has arrived since the last time, in order.
    pub(super) fn note_arrivals(&mut self) {
        for progress in self.links.take_progress() {
            match progress {
                Progress::TookIn { connection, packets } => {
                    (0..packets).for_each(|_| self.note_taken_in(connection));
                }
                Progress::Unread { connection, bytes } => self.note_unread(connection, bytes),
                Progress::Ended { connection } => {
                    self.note_stopped();
                    if let Some(sent) = self.on_the_way.0.get_mut(&connection)
                        && !std::mem::replace(&mut sent.is_over, true)
                    {
                        let client = sent.client;
                        self.note_arrived(client, connection, None);
                    }
                }
            }
        }
        self.note_stopped();
    }

    /// A broker that is told to stop does so when it has its turn: what is handed in before that
    /// in the same turn still takes effect.
    fn note_stopped(&mut self) {
        if std::mem::take(&mut self.is_stop_unheard) {
            self.note(What::BrokerStopped);
        }
    }

    fn note_taken_in(&mut self, connection: u64) {
        if let Some(sent) = self.on_the_way.0.get_mut(&connection)
            && let Some((_, asked)) = sent.requests.pop_front()
        {
            let client = sent.client;
            if self.zones[self.scenario.clients[client].zone].to_clients_held_until.is_some() {
                self.marks.hit(Mark::HeardUnhearing);
            }
            self.note_arrived(client, connection, Some(asked));
        }
    }

    /// What had come to the broker's host when it gave the connection up.
    fn note_unread(&mut self, connection: u64, bytes: usize) {
        while let Some(sent) = self.on_the_way.0.get_mut(&connection)
            && let Some((_, asked)) = sent.requests.pop_front_if(|(end, _)| *end <= bytes)
        {
            let client = sent.client;
            self.history.note(self.now, Some(client), What::Unread { asked, connection });
        }
    }

    fn note_arrived(&mut self, client: ClientIndex, connection: u64, asked: Option<usize>) {
        self.history.note(self.now, Some(client), What::Arrived { asked, connection });
    }
}
