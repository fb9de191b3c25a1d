//! A connection inside the process: packets to and from the machine without bytes or a worker.
//!
//! For the program that embeds the broker; `broker.rs` makes publishing and subscribing of it.
//! What waits for it stays in the machine, bounded like every session, until it is pulled.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;

use super::shared::Shared;
use crate::machine::{Closing, ConnectionId, Input, Outgoing, Remaining};
use crate::mqtt::types::{Reason, Text, Version};
use crate::mqtt::wire::{Connect, ConnectProperties, Packet};

/// Bytes pulled from the machine at once.
const PULL_BYTES: usize = 64 * 1024;

/// A connection inside the process. Gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Local<A> {
    id: ConnectionId,
    shared: Arc<Shared<A>>,
    woken: Arc<Notify>,
    pulled: VecDeque<Outgoing>,
    /// Why it is closed, when it is: by the machine, or because that has panicked.
    closed: Option<Closing>,
}

impl<A> Local<A> {
    /// Connects with a client id that the broker assigns and a session that ends with the
    /// connection.
    ///
    /// # Errors
    /// The reason why the broker refuses it; none if the broker has stopped.
    pub(crate) fn open(shared: Arc<Shared<A>>) -> Result<Local<A>, Option<Reason>> {
        let woken = Arc::new(Notify::new());
        let id = shared.enter(woken.clone());
        shared.visit_from_outside(|machine, now| {
            machine.handle(Input::Opened { connection: id, listener: None }, now);
        });
        let mut local = Local { id, shared, woken, pulled: VecDeque::new(), closed: None };
        local.hand_in(Packet::Connect(Box::new(connect())));
        local.pull(); // the answer is there at once
        match local.pulled.pop_front() {
            Some(Outgoing::Packet(Packet::ConnAck(answer))) if !answer.reason.is_error() => {
                Ok(local)
            }
            Some(Outgoing::Packet(Packet::ConnAck(answer))) => Err(refusal(answer.reason)),
            _ => Err(None),
        }
    }

    /// Why the broker closed the connection; none if it has not, or because it stops.
    pub(crate) fn refusal(&self) -> Option<Reason> {
        match self.closed? {
            Closing::Left => None,
            Closing::Because(reason) => refusal(reason),
        }
    }

    /// Hands a packet to the broker. False if that has closed the connection, or has stopped.
    pub(crate) fn hand_in(&self, packet: Packet) -> bool {
        let (connection, packets) = (self.id, &mut vec![packet]);
        while !packets.is_empty() {
            let is_taken = self.shared.visit_from_outside(|machine, now| {
                let is_open = machine.is_open(connection);
                machine.handle(Input::Received { connection, packets }, now);
                is_open
            });
            if is_taken != Some(true) {
                return false;
            }
        }
        true
    }

    /// The next that the broker sends; none when it has closed the connection. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Option<Outgoing> {
        loop {
            match self.pulled.pop_front() {
                Some(Outgoing::Close(why)) => self.closed = Some(why),
                Some(outgoing) => return Some(outgoing),
                None if self.closed.is_some() || self.shared.has_failed() => return None,
                None if self.pull() => {}
                None => self.woken.notified().await,
            }
        }
    }

    /// Pulls from the machine. Returns whether there was anything, or may be at the next pull:
    /// while something remains, the machine wakes nobody.
    fn pull(&mut self) -> bool {
        let mut out = Vec::from(std::mem::take(&mut self.pulled));
        let remaining = self.shared.visit_from_outside(|machine, now| {
            machine.poll_transmit(self.id, PULL_BYTES, &mut out, now)
        });
        self.pulled = VecDeque::from(out);
        !self.pulled.is_empty() || remaining == Some(Remaining::More)
    }
}

impl<A> Drop for Local<A> {
    fn drop(&mut self) {
        self.shared.leave(self.id);
        self.shared.visit_from_outside(|machine, now| {
            machine.handle(Input::Closed { connection: self.id }, now);
        });
    }
}

/// A reason to refuse a connection; none if the broker only stops.
fn refusal(reason: Reason) -> Option<Reason> {
    let is_stopping = matches!(reason, Reason::ServerShuttingDown | Reason::ServerUnavailable);
    (!is_stopping).then_some(reason)
}

fn connect() -> Connect {
    Connect {
        version: Version::V5,
        client_id: Text::default(),
        clean_start: true,
        keep_alive: 0,
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;

    use super::*;
    use crate::config::Config;
    use crate::machine::Timestamp;
    use crate::mqtt::topic::{Filter, TopicName};
    use crate::mqtt::types::PacketId;
    use crate::mqtt::wire::{
        Delivery, Publish, Subscribe, SubscriptionOptions, SubscriptionRequest,
    };
    use crate::server::{Clock, shared};

    fn retained(topic: &str) -> Packet {
        Packet::Publish(Publish {
            delivery: Delivery::AtMostOnce,
            retain: true,
            topic: Some(TopicName::try_from(topic).expect("a valid name")),
            topic_alias: None,
            subscription_ids: Vec::new(),
            properties: None,
            payload: Bytes::from_static(b"x"),
        })
    }

    /// The next without waiting, if there is one.
    fn next(local: &mut Local<()>) -> Option<Outgoing> {
        let mut context = Context::from_waker(Waker::noop());
        match pin!(local.next()).poll(&mut context) {
            Poll::Ready(outgoing) => outgoing,
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_retained_message_behind_many_that_do_not_match_comes() {
        let clock = Clock::starting_at(Timestamp(1_000_000));
        let shared: Arc<Shared<()>> =
            shared(&Config::default(), [7; 32], clock, 1).expect("an open broker");
        let publisher = Local::open(shared.clone()).expect("there is room");
        for number in 0..5_000 {
            publisher.hand_in(retained(&format!("a{number}/no")));
        }
        publisher.hand_in(retained("z/yes"));
        let mut local = Local::open(shared).expect("there is room");
        let filter = Filter::try_from("+/yes");
        local.hand_in(Packet::Subscribe(Box::new(Subscribe {
            id: PacketId::FIRST,
            subscription_id: None,
            user_properties: Vec::new(),
            requests: vec![SubscriptionRequest {
                filter: Ok(filter.expect("a valid filter")),
                options: SubscriptionOptions::default(),
            }]
            .into(),
        })));
        assert!(matches!(next(&mut local), Some(Outgoing::Packet(Packet::SubAck(_)))));
        assert!(matches!(next(&mut local), Some(Outgoing::Deliver(_))), "nobody would wake it");
    }
}
