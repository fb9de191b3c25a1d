//! Faults to plant into the broker: what brokers really get wrong, each a single line where it
//! would be made. `cargo sim plants` turns on one at a time and counts the seeds that find it; one
//! that is not found is a hole in the simulator.
//!
//! Only with the feature `plants`, which no build without debug assertions can have; else
//! [`is_on`] is a constant, and nothing is left of any of it. The one exception to the rule that
//! the pure folders see nothing of the world: which fault is on is kept for each thread, because
//! it is no state of the broker and no input of its.

#[cfg(all(feature = "plants", not(debug_assertions)))]
compile_error!("a broker with planted faults is for the simulator only");

/// Declares [`Plant`] with the words of each.
macro_rules! plants {
    ($($name:ident $layer:ident $words:literal,)+) => {
        /// A fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(not(feature = "plants"), allow(unreachable_pub, reason = "the simulator's"))]
        pub enum Plant {
            $(#[doc = $words] $name,)+
        }

        #[cfg(feature = "plants")]
        impl Plant {
            /// All of them.
            pub const ALL: &'static [Plant] = &[$(Plant::$name,)+];

            /// What is wrong with the broker, in words.
            pub fn words(self) -> &'static str {
                match self {
                    $(Plant::$name => $words,)+
                }
            }

            /// Where it is.
            pub fn layer(self) -> Layer {
                match self {
                    $(Plant::$name => Layer::$layer,)+
                }
            }
        }
    };
}

/// Where a fault is.
#[cfg(feature = "plants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// In the machine, or in what it is made of.
    Machine,
    /// In the codec: not met where packets are not encoded.
    Wire,
    /// In the shell: met on a network only.
    Server,
}

plants! {
    LostPubAck Machine "no PUBACK for a message that nobody is subscribed to",
    LostPubComp Machine "no PUBCOMP for a packet id that is not in use",
    DeniedRouted Machine "a message that may not be published is routed all the same",
    ReceiveNotJudged Machine "whether a client may receive a message is not asked",
    WillNotJudged Machine "whether a client may publish its will is not asked",
    ReloadNotJudged Machine "new rules are not applied to what sessions have already",
    UserReparsed Machine "a user name that is a wildcard is one in access rules",
    Qos2Doubled Machine "a QoS 2 message that comes again before PUBREL is taken again",
    Qos2Forgotten Machine "unreleased QoS 2 ids are forgotten when the connection ends",
    ReleaseNotResent Machine "PUBREL is not sent again",
    ResentBackwards Machine "what is in flight is resent in reverse order",
    QueueBackwards Machine "the newest message that waits is sent first",
    ResentWithoutDup Machine "what is sent again does not say DUP",
    ReleaseTooSoon Machine "PUBREL follows PUBLISH at once, without waiting for PUBREC",
    NothingResent Machine "what is in flight is not sent again",
    PacketIdReused Machine "packet ids are given again while in flight",
    RetainedStale Machine "the first retained message of a topic is never replaced",
    RetainedNotCleared Machine "an empty retained message does not remove the last one",
    RetainedEmptyKept Machine "an empty retained message is kept as one",
    EmptyNotForwarded Machine "an empty retained message is not forwarded to subscribers",
    RetainedNeverExpires Machine "expired retained messages are delivered",
    RetainHandlingIgnored Machine "retained messages are sent again though the subscription is not new",
    RetainedUnmarked Machine "retained messages go to new subscriptions without RETAIN",
    WillOnGoodbye Machine "the will is published after DISCONNECT",
    WillLost Machine "no will when a connection is taken over",
    WillAtOnce Machine "the will's delay is ignored",
    WillAfterReturn Machine "a delayed will is published when the client comes back in time",
    WillPropertiesLost Machine "the properties of a will are lost",
    WillNotRetained Machine "RETAIN of a will is ignored",
    ConnectionsOneMore Machine "one connection above the limit is let in",
    OldPlaceLost Machine "a take-over that finds no place takes that of the older connection",
    SlotLeaked Machine "a client whose connection is lost keeps its place",
    SilentCounted Machine "a connection that never sent CONNECT takes a place",
    SessionKeptOnCleanStart Machine "Clean Start does not end the session",
    SessionPresentLies Machine "Session Present is said to whoever does not start clean",
    SessionPresentNever Machine "Session Present is never said",
    StrangerLetIn Machine "a proven user's session is whoever's gives its client id",
    SessionNeverEnds Machine "sessions that outlive their connection never end",
    SessionEndsSoon Machine "sessions that outlive their connection end after a second",
    TakeoverSilent Machine "a connection that is taken over is not told why",
    CloseForgotten Machine "a connection that the broker gives up is not closed",
    GoodbyeExpiryIgnored Machine "the session expiry in DISCONNECT is ignored",
    NoLocalIgnored Machine "No Local is ignored",
    RetainAsPublishedIgnored Machine "Retain As Published is ignored",
    RetainForwarded Machine "RETAIN is always forwarded as published",
    SubscriptionIdLost Machine "the subscription id of the second match is left out",
    SubscriptionIdStale Machine "a subscription that is replaced keeps its subscription id",
    QosNotLowered Machine "a message is delivered with a higher QoS than the one granted",
    QosGrantedTooHigh Machine "the broker's highest QoS does not lower what is granted",
    OverlapDoubled Machine "a session with two matching subscriptions gets the message twice",
    ExpiredDelivered Machine "expired messages are delivered",
    ExpiryNotReduced Machine "the expiry that is forwarded is not reduced by the time waited",
    KeepAliveTwice Machine "a client is given 2 times its keep alive",
    KeepAliveExact Machine "a client is given no more than its keep alive",
    KeepAliveNotHeld Machine "only PINGREQ counts for the keep alive",
    ReceiveMaximumOneMore Machine "one message above the client's Receive Maximum is in flight",
    WindowAfterResume Machine "Receive Maximum is ignored for what is sent again",
    ShareToTwo Machine "a shared subscription's message goes to two members",
    ShareSticks Machine "a shared subscription only knows its first member, connected or not",
    ShareLost Machine "what a shared subscription's member did not get is lost when it leaves",
    AliasWrongTopic Machine "a topic alias that is set again keeps its first topic",
    AliasOutlives Machine "an alias that did not fit counts as known to the client",
    LeftAloneForgotten Machine "what is left of a message whose client goes is given to nobody",
    UnsubscribeIgnored Machine "UNSUBSCRIBE has no effect",
    RetainedGoesOn Machine "retained messages go on to be sent after UNSUBSCRIBE",
    UnsubscribeSaysNone Machine "UNSUBACK says success where there was no subscription",
    SubscribeForgotten Machine "the third subscription of a session is acknowledged and forgotten",
    QueueUnbounded Machine "the limit of messages that wait in a session is ignored",
    RefusedMessagesUncounted Machine "messages that are refused are not counted",
    DropUncounted Machine "messages that do not fit are dropped without being counted",
    OfflineLost Machine "QoS 1 messages do not wait for a session that is not connected",
    DollarMatchesWildcard Machine "topics that begin with $ match #",
    HashNotParent Machine "a/# does not match a",
    PlusNotEmpty Machine "+ does not match an empty level",
    UserPropertiesSorted Machine "user properties are sorted by their names",
    UserPropertyOnce Machine "of user properties with the same name in a row only the first is kept",
    AckBeforeDurable Machine "what needs records is acknowledged before they are durable",
    SentNotRecorded Machine "that a delivery of QoS 2 has a packet id is not recorded",
    FinishedNotRecorded Machine "that a delivery was acknowledged is not recorded",
    ReleasedNotRecorded Machine "PUBREL of a publisher is not recorded",
    RetainedNotRecorded Machine "what is retained is not recorded",
    WillStaysRecorded Machine "that a will went out is not recorded",
    EndNotRecorded Machine "that a session has ended is not recorded",
    SubscriptionNotRecorded Machine "subscriptions are not recorded",
    UnsubscribeNotRecorded Machine "UNSUBSCRIBE is not recorded",
    Qos2IdApart Machine "a QoS 2 message and its packet id are two records",
    TroubleForGood Machine "that the disk works again is not noticed",
    TroubleIgnored Machine "what must be kept is taken though the disk is full or fails",
    TroubleRefusesAll Machine "QoS 0 is refused too while the disk is full or fails",
    InflightNotRestored Machine "what was in flight is gone after a restart",
    ExpiryRestarts Machine "a restart begins the expiry of every session anew",
    RewriteForgetsQueue Machine "what waits is left out when the log is written anew",
    RewriteForgetsGroup Machine "a group is left out when what waits is written anew",
    RewriteTakenForDone Machine "a rewrite that goes on after a restart leaves out what it was at",
    ReleaseWaits Machine "PUBREL that is sent again waits for the client's window",
    OldCursorGoesOn Machine "what a subscription was still to be sent comes, though it was made anew",
    WithdrawnForGood Machine "what rules withdrew in flight is not sent again when others allow it",
    ClockNotRecorded Machine "that the wall clock was set is not recorded",
    RewriteForgetsClock Machine "that the wall clock was set is left out when the log is written anew",
    ClockBehindLog Machine "a wall clock that shows an earlier time than the log is believed",
    WillNotForgotten Machine "the will of who said goodbye is there again after a restart",
    RetainedCountedTwice Machine "a message that takes the place of a retained one counts as one more",
    ResponseTopicLost Wire "the response topic is not forwarded",
    ReasonsForced Machine "reasons in words go to who asked for none",
    EverybodyWaits Machine "every answer waits for what others have to keep",
    SysWritable Machine "clients may publish to $SYS",
    PacketTooLarge Machine "a packet is sent that is larger than the client takes",
    AnswerTooLarge Machine "an answer is sent that is larger than the client takes",
    VarintBoundary Wire "a length of 128 is written in one byte",
    LargeVarintBoundary Wire "a length of 16,384 is written in two bytes",
    ReturnCodeWrong Wire "before 5.0 who finds no place is told not to be authorised",
    SessionPresentIn31 Wire "3.1 is told Session Present, which it does not have",
    PropertiesSwapped Wire "content type and response topic have each other's number",
    PropertyTwiceTaken Wire "a property that comes twice is taken",
    UserValueIsName Wire "a user property's value is written as its name",
    DupUnwritten Wire "DUP is not written",
    PacketIdTurned Wire "the bytes of packet ids are written in the wrong order",
    PacketIdZeroTaken Wire "packet id 0 is taken for 1",
    HeaderFlagsIgnored Wire "the flags of a fixed header are not checked",
    OptionBitsIgnored Wire "the reserved bits of subscription options are not checked",
    ShortAckRefused Wire "an acknowledgement with a reason and no properties is refused",
    KeepAliveTurned Wire "the bytes of the keep alive are read in the wrong order",
    WillDelayIsExpiry Wire "a will's delay is read as its expiry",
    GoodbyePropertyUnread Wire "the session expiry of DISCONNECT is not read",
    Version31Refused Wire "3.1 is not served",
    ReadIsPacket Server "what is read in one go is taken to be whole packets",
    CloseBeforeFlush Server "a connection closes before its last bytes are sent",
    ShortWriteRepeated Server "what a short write left over is sent from its beginning",
    WakeLost Server "a connection that has more to send is not asked again",
    RestDropped Server "what a stream does not take at once is lost",
    RestToNext Server "what a failed stream did not take goes to another connection",
    LostBeforeMalformed Server "packets that come together with a malformed one are lost",
    BehindConnectLost Server "what came behind a CONNECT that was judged is lost",
    EndNotTold Server "the machine is not told that a connection has ended",
    LingerLost Server "a connection closes on bytes that it has not read",
    ProxyUnheard Server "what a proxy says of where a client comes from is read and forgotten",
    TextTaken Server "WebSocket's text is taken for what MQTT travels in",
    FrameBeginsAnew Server "a message of WebSocket that goes on may begin anew",
    ForwardedTooFar Server "of X-Forwarded-For is believed what anybody wrote before the proxies",
    ConnectTimeoutLost Server "a connection may wait for ever with CONNECT",
    VersionLate Server "everybody is answered in 3.1.1",
    TurnForgotten Server "a connection with more to read than one turn takes is not asked again",
    WriterNotWoken Server "a stream that takes more again wakes nobody",
    GoodbyeUnread Server "what a client sent before it left is not read once writing has failed",
    CloseNotSeen Server "a connection that is to close is not asked to",
    ProgressUnseen Server "a client that takes what it is sent slowly counts as one that takes nothing",
    CloseCodeOther Server "WebSocket's text is answered as if it were no frame",
    FlushTimeoutLost Server "a connection waits for ever for its last bytes to be taken",
    TimerNotRearmed Server "the timer does not hear of an earlier deadline",
    MailMissed Server "a worker is not notified of those who are woken",
    StopNotTold Server "clients are not told that the broker stops",
    SyncPutOff Server "each batch that nobody waits for puts the next sync off",
    UnwrittenCounted Server "what nobody waits for counts as written before it is",
    SyncFailureIgnored Server "a sync that failed counts as one that succeeded",
    SyncRepeated Server "a sync that failed is done again, in place of what it should have kept",
    RoomForgotten Server "a broker that starts on a full disk does not say so",
    DeadKept Server "dead records are never removed from the log",
    ReserveEmpty Server "what is kept free for a full disk is an empty file",
    ConnectionKept Server "a connection that is gone stays in the table",
    FailuresKept Server "a login that succeeds does not make up for those that failed",
    RateUnheld Server "one address may come as often as it likes",
    SourceTurnsKept Server "who is judged is still counted where it comes from once it is judged",
    SourceFailuresUncounted Server "logins that fail are counted for their names only",
    AcceptGivenUp Server "a listener ends with the first error",
    UnavailableCounts Server "a login on which nobody could decide counts as one that failed",
    CertificateOptional Server "where clients have to show a certificate, they may show none",
    LastFlushLeftOut Server "a worker that ends does not write what was woken last",
    NetworksByHost Server "of an IPv6 address the last 64 bits are where it comes from",
    RememberedByName Server "who was let in by auth_http comes in again with any password",
    UnknownUserKnown Server "auth_file lets in an unknown user with somebody's password",
    NoCodeEchoed Server "a Close frame without a code is answered by one with code 1005",
    ReloadByHalves Server "passwords are in force though the rest that was loaded with them is bad",
    NameFailuresUncounted Server "failures with a name count only where they come from",
    KnownForgotten Server "who has logged in before waits for what others do where he is",
    TurnsUncounted Server "passwords are looked at, however many others are being looked at",
    OldPasswords Server "other passwords that are loaded are not in force",
    OldCertificate Server "another certificate that is loaded is shown to nobody",
    RefusedUncounted Server "who is not let in is not counted",
    SentUncounted Server "bytes that are sent are not counted",
    DoorHeld Server "whoever goes before it is let in keeps its place at the door",
}

/// Whether this fault is on.
#[cfg(not(feature = "plants"))]
#[inline]
pub(crate) const fn is_on(_: Plant) -> bool {
    false
}

/// Whether this fault is on.
#[cfg(feature = "plants")]
#[inline]
pub(crate) fn is_on(plant: Plant) -> bool {
    chosen::get() == Some(plant)
}

#[cfg(feature = "plants")]
pub use chosen::choose;

#[cfg(feature = "plants")]
mod chosen {
    use std::cell::Cell;

    use super::Plant;

    thread_local! {
        static CHOSEN: Cell<Option<Plant>> = const { Cell::new(None) };
    }

    /// Plants a fault into every broker of this thread, in place of the one before; none: into
    /// none.
    pub fn choose(plant: Option<Plant>) {
        CHOSEN.set(plant);
    }

    pub(super) fn get() -> Option<Plant> {
        CHOSEN.get()
    }
}
