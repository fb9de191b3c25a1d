//! Rare situations that runs should meet: which a run met, and how often.
//!
//! A generator that never brings two sessions of a shared group down at once proves nothing
//! about it; so each run counts what it met, and a sweep over many seeds prints the sum and
//! fails on a zero. Plain data of each run: nothing global.

use std::fmt;

/// Declares [`Mark`] with the words of each.
macro_rules! marks {
    ($($name:ident $words:literal,)+) => {
        /// A rare situation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(usize)]
        pub enum Mark {
            $(#[doc = $words] $name,)+
        }

        impl Mark {
            /// All of them.
            pub const ALL: &'static [Mark] = &[$(Mark::$name,)+];

            /// What it is, in words.
            pub fn words(self) -> &'static str {
                match self {
                    $(Mark::$name => $words,)+
                }
            }
        }
    };
}

marks! {
    SessionResumed "a session was taken up again",
    TakenOver "a connection was taken over",
    ResentPublish "a client sent a message again",
    ResentRelease "a client sent PUBREL again",
    DupDelivered "a message came again, with DUP",
    Qos2Repeated "a QoS 2 message came again before PUBREL",
    PublishDenied "a PUBLISH was answered with an error",
    NobodySubscribed "a PUBLISH was answered with 'no matching subscribers'",
    SubscribeDenied "a filter was refused",
    ConnectRefused "a CONNECT was refused",
    UserRefused "a CONNECT was refused for what its user is",
    RetainedDelivered "a retained message was sent to a new subscription",
    WillDelivered "the message of a will was delivered",
    AliasDelivered "a message came with an alias and no topic",
    KeepAliveClosed "a connection was closed for its keep alive",
    BrokerDisconnected "the broker sent DISCONNECT",
    SharedDelivered "a message came through a shared subscription",
    SeveralIds "a message came with several subscription ids",
    Crashed "the broker crashed with clients connected",
    CrashedUnsynced "the broker crashed with records on their way to the disk",
    CrashedAmid "the broker crashed at the moment when it had written something",
    SyncFailed "a sync failed",
    SyncStalled "a sync did not end for a while",
    Stopped "the broker stopped with clients connected",
    ClockSet "the wall clock was set while the broker ran",
    ClockSetMeanwhile "the wall clock was set back while the broker was down",
    OutcomeUnknown "what became of a message is not known",
    PulledInParts "the broker had more to send than it was asked for",
    HeardUnhearing "the broker heard a client that could not hear it",
    HearingUnheard "a client heard the broker, which could not hear it",
    UserPropertiesDelivered "a message came with several user properties",
    SysDelivered "what the broker says of itself was delivered",
    AnsweredLate "a client answered what came on an earlier connection",
    QuotaReached "a client waited for the broker's Receive Maximum",
}

/// How often a run, or many, met each situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks([u64; Mark::ALL.len()]);

impl Default for Marks {
    fn default() -> Marks {
        Marks([0; Mark::ALL.len()])
    }
}

impl Marks {
    /// It was met.
    pub fn hit(&mut self, mark: Mark) {
        self.0[mark as usize] += 1;
    }

    /// How often it was met.
    pub fn get(&self, mark: Mark) -> u64 {
        self.0[mark as usize]
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Marks) {
        self.0.iter_mut().zip(&other.0).for_each(|(sum, more)| *sum += more);
    }

    /// What was never met.
    pub fn missed(&self) -> Vec<Mark> {
        Mark::ALL.iter().copied().filter(|mark| self.get(*mark) == 0).collect()
    }
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Mark::ALL
            .iter()
            .try_for_each(|mark| writeln!(f, "{:>10}  {}", self.get(*mark), mark.words()))
    }
}
