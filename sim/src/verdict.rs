//! What is wrong with a run: which promise was broken, to whom, and which events show it.
//!
//! Only the words; `oracle/` finds what is wrong, and the levels report panics here too.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::history::History;
use crate::marks::Marks;
use crate::scenario::ClientIndex;

/// What became of a scenario at either level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// What everybody asked and saw.
    pub history: History,
    /// Simulated milliseconds that it took.
    pub elapsed_ms: u64,
    /// What is wrong whatever the history says: a panic, a broken invariant of the machine's, a
    /// broker that did not stop. The oracle's findings are not here.
    pub failure: Option<Violation>,
    /// The rare situations that it met.
    pub marks: Marks,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// What was promised.
    pub promise: Promise,
    /// A short name of the rule that was broken, the same for every run that breaks it in the
    /// same way: `qos2-delivered-twice`. For a panic: where it was.
    pub rule: Cow<'static, str>,
    /// To whom; none: to everybody.
    pub client: Option<ClientIndex>,
    /// What happened instead, in words.
    pub words: String,
    /// The ordinals of the events that show it.
    pub events: Vec<usize>,
}

/// What makes two failures the same failure: a run that is made smaller must keep it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Class {
    /// What was promised.
    pub promise: Promise,
    /// The rule that was broken.
    pub rule: Cow<'static, str>,
}

impl Violation {
    /// What it has in common with the same failure of other runs.
    pub fn class(&self) -> Class {
        Class { promise: self.promise, rule: self.rule.clone() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {}", self.promise, self.rule, self.words)?;
        if let Some(client) = self.client {
            write!(f, " (client {client})")?;
        }
        if !self.events.is_empty() {
            write!(f, " (events {:?})", self.events)?;
        }
        Ok(())
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.promise, self.rule)
    }
}

/// Declares [`Promise`] with the sentence of each.
macro_rules! promises {
    ($($name:ident $sentence:literal,)+) => {
        /// What the broker promises: the contract (C) and what follows for each part of MQTT (I).
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Promise {
            $(#[doc = $sentence] $name,)+
        }

        impl Promise {
            /// All of them.
            pub const ALL: &'static [Promise] = &[$(Promise::$name,)+];

            /// What is promised, in words.
            pub fn sentence(self) -> &'static str {
                match self {
                    $(Promise::$name => $sentence,)+
                }
            }
        }
    };
}

promises! {
    C1 "QoS 1: after PUBACK every matching session gets the message at least once.",
    C2 "QoS 2: after PUBREC every matching session gets the message exactly once.",
    C3 "First deliveries come in the order published, resends in the original order.",
    C4 "No message is dropped without a reason that is counted.",
    C5 "A subscription is effective before SUBACK, its end before UNSUBACK.",
    C6 "A new subscription gets the last retained message of each matching topic.",
    C7 "Session Present tells the truth.",
    C8 "At most one connection per client id; a takeover loses nothing in flight.",
    C9 "A will is published once if and only if MQTT says so, when it says so.",
    C10 "Nobody receives, publishes or retains what the policy forbids.",
    C11 "Limits hold, and the one over the limit gets the right reason code.",
    C12 "Memory is bounded by configuration.",
    C13 "Once faults stop, everything drains and every client gets back in.",
    C14 "The same seed gives the same run.",
    I1 "Nothing is invented: what is received was sent, topic, payload and properties unchanged.",
    I2 "What is received was subscribed to when it was published.",
    I3 "QoS, RETAIN, subscription ids, No Local and Retain As Published are right.",
    I4 "QoS 0 comes at most once; what comes again at QoS 1 says DUP, after a reconnect.",
    I5 "Order is kept for each publisher, topic, QoS and subscriber.",
    I6 "Packet ids are not reused while in flight; Receive Maximum holds; QoS 2 has its order.",
    I7 "CONNACK comes first, and sessions start and end when they should.",
    I8 "A takeover closes the older connection and tells it why.",
    I9 "The connection above the limit is refused, and places come back.",
    I10 "Every decision of the policy is the one written down.",
    I11 "Wills go out after an ungraceful end, and never after DISCONNECT 0x00.",
    I12 "Retained messages: the last of each topic, cleared by an empty one.",
    I13 "Keep alive closes a connection after 1.5 times its interval, never before.",
    I14 "Accepted messages are delivered, waiting, in flight or dropped with a reason.",
    I15 "What was acknowledged survives a power cut.",
    I16 "Bad input closes its own connection with the right reason; nothing ever panics.",
    I17 "Queues, memory and timers are bounded, and return to what they were.",
}
