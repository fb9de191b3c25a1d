//! What helps with a violation of each rule: what MQTT expects, where it says so, and which part
//! of the broker to look at first.
//!
//! Advice for people, not judgement: a rule that is not here gets that of its promise. Paths are
//! from the root of the repository.

use crate::verdict::{Promise, Violation};

/// Advice for some rules.
#[derive(Debug)]
pub(super) struct Guide {
    rules: &'static [&'static str],
    /// What should have happened.
    pub(super) expected: &'static str,
    /// The statements of the standard, or its section.
    pub(super) standard: &'static str,
    /// Where to look first.
    pub(super) files: &'static [&'static str],
}

const POLICY: &str = "src/machine/policy.rs";
const ROUTE: &str = "src/machine/route.rs";
const CLIENTS: &str = "src/machine/clients.rs";
const CONNECTIONS: &str = "src/machine/connections.rs";
const DEADLINES: &str = "src/machine/deadlines.rs";
const RETAINED: &str = "src/machine/retained.rs";
const SUBSCRIBE: &str = "src/machine/subscribe.rs";
const SUBSCRIPTIONS: &str = "src/machine/subscriptions.rs";
const OUTBOUND: &str = "src/machine/session/outbound.rs";
const TRANSMIT: &str = "src/machine/session/transmit.rs";
const INBOUND: &str = "src/machine/session/inbound.rs";
const ALIAS: &str = "src/machine/session/alias.rs";
const MESSAGE: &str = "src/mqtt/message.rs";
const MATCHING: &str = "src/mqtt/topic/tree/wildcards.rs";
const WIRE_PUBLISH: &str = "src/mqtt/wire/publish.rs";
const DECODE: &str = "src/mqtt/wire/decode.rs";
const MACHINE: &str = "src/machine/mod.rs";
const SHELL: &str = "src/server/connection.rs";
const WEBSOCKET: &str = "src/server/websocket.rs";
const LINGERING: &str = "src/server/connection/lingering.rs";
const OUTPUT: &str = "src/server/output.rs";
const DOOR: &str = "src/server/admission/mod.rs";

/// The last one is for what is not named.
const GUIDES: &[Guide] = &[
    Guide {
        rules: &["never-sent", "received-before-sent", "other-topic", "other-payload"],
        expected: "every message comes as its publisher sent it: same topic, same payload",
        standard: "[MQTT-3.3.2-3], [MQTT-4.5.0-1]",
        files: &[ROUTE, MESSAGE, ALIAS, WIRE_PUBLISH],
    },
    Guide {
        rules: &["other-user-properties", "user-properties-out-of-order", "other-properties"],
        expected: "what a message says beside its payload comes unaltered and in order",
        standard: "[MQTT-3.3.2-4], [MQTT-3.3.2-15], [MQTT-3.3.2-16], [MQTT-3.3.2-17], \
                   [MQTT-3.3.2-18], [MQTT-3.3.2-20]; of wills [MQTT-3.1.3-10]",
        files: &[MESSAGE, WIRE_PUBLISH, ROUTE],
    },
    Guide {
        rules: &["unknown-alias", "alias-too-high"],
        expected: "an alias stands for the topic it was last sent with on this connection, and is \
                   not above the client's Topic Alias Maximum",
        standard: "[MQTT-3.3.2-7], [MQTT-3.1.2-26], [MQTT-3.1.2-27], [MQTT-3.3.2-11]",
        files: &[ALIAS, TRANSMIT],
    },
    Guide {
        rules: &["says-nobody-subscribed", "says-somebody-subscribed", "unknown-reason"],
        expected: "PUBACK and PUBREC say 0x10 if nobody is subscribed to the topic, else 0x00",
        standard: "sections 3.4.2.1 and 3.5.2.1 of MQTT 5.0",
        files: &[ROUTE, SUBSCRIPTIONS],
    },
    Guide {
        rules: &[
            "properties-before-5.0",
            "wrong-assigned-id",
            "assigned-id-twice",
            "wrong-keep-alive",
            "wrong-session-expiry",
            "wrong-receive-maximum",
            "less-than-mqtt",
            "wrong-maximum-packet-size",
        ],
        expected: "CONNACK says what the broker grants where that is not what was asked",
        standard: "section 3.2.2.3 of MQTT 5.0; [MQTT-3.2.2-16], [MQTT-3.2.2-21]",
        files: &[CLIENTS, CONNECTIONS],
    },
    Guide {
        rules: &[
            "let-in-against-the-rules",
            "let-in-to-a-strangers-session",
            "let-in-by-too-much",
            "refused-though-room",
            "silent-connection-kept",
            "closed-too-early",
            "connect-unanswered",
        ],
        expected: "who may come in comes in, and nobody else; who says nothing does not stay, and \
                   who asks is answered",
        standard: "[MQTT-3.1.4-1], [MQTT-3.1.3-8]; the limits `connections`, `connect-timeout`",
        files: &[
            CLIENTS,
            CONNECTIONS,
            DEADLINES,
            "src/server/connection/judging.rs",
            "src/server/transport.rs",
            DOOR,
        ],
    },
    Guide {
        rules: &[
            "let-in-in-trouble",
            "refused-its-own-session",
            "refused-though-nothing-to-keep",
            "taken-in-trouble",
            "unanswered-in-trouble",
        ],
        expected: "while the disk is full or fails, what must be kept is refused, and nothing else",
        standard: "README, \"What survives\"",
        files: &["src/machine/keeping.rs", "src/store/writer.rs", "src/server/keeper.rs"],
    },
    Guide {
        rules: &["nonsense"],
        expected: "the broker sends only what a broker may send, in packets that can be read",
        standard: "section 3 of MQTT 5.0; [MQTT-3.1.2-24] of sizes, [MQTT-3.1.2-29] of reasons in \
                   words",
        files: &["src/mqtt/wire/encode.rs", WIRE_PUBLISH, OUTPUT],
    },
    Guide {
        rules: &["not-subscribed"],
        expected: "a message goes to those who were subscribed to its topic when it was published",
        standard: "[MQTT-3.3.2-3], [MQTT-4.7.2-1], section 4.7",
        files: &[MATCHING, SUBSCRIPTIONS, ROUTE],
    },
    Guide {
        rules: &["received-after-unsubscribing"],
        expected: "after UNSUBACK nothing new is added for that filter",
        standard: "[MQTT-3.10.4-1], [MQTT-3.10.4-2]",
        files: &[SUBSCRIBE, SUBSCRIPTIONS],
    },
    Guide {
        rules: &["retained-after-unsubscribing"],
        expected: "what is retained and was not sent before UNSUBACK is not sent for that filter",
        standard: "[MQTT-3.10.4-2]",
        files: &[SUBSCRIBE, OUTBOUND],
    },
    Guide {
        rules: &["wrong-qos"],
        expected: "QoS is the lower of the published and the granted one; of several \
                   subscriptions, the highest granted",
        standard: "[MQTT-3.8.4-8], [MQTT-3.3.4-2]",
        files: &[ROUTE],
    },
    Guide {
        rules: &["wrong-retain", "wrong-empty-message"],
        expected: "RETAIN is 1 on what comes because it is retained; else it is 0, or as \
                   published with Retain As Published",
        standard: "[MQTT-3.3.1-8], [MQTT-3.3.1-12], [MQTT-3.3.1-13]",
        files: &[ROUTE, TRANSMIT],
    },
    Guide {
        rules: &["wrong-subscription-ids"],
        expected: "a message carries the identifiers of all subscriptions that it matches",
        standard: "[MQTT-3.3.4-3], [MQTT-3.3.4-4]",
        files: &[ROUTE, SUBSCRIPTIONS],
    },
    Guide {
        rules: &["no-local"],
        expected: "a subscription with No Local gets nothing that its own client published",
        standard: "[MQTT-3.8.3-3]",
        files: &[ROUTE],
    },
    Guide {
        rules: &["wrong-expiry", "expired-delivered", "expired-retained", "expiry-not-reduced"],
        expected: "what has expired is not sent, and what is sent says how long it is of use",
        standard: "[MQTT-3.3.2-5], [MQTT-3.3.2-6]",
        files: &[TRANSMIT, OUTBOUND, RETAINED],
    },
    Guide {
        rules: &[
            "delivered-though-not-taken",
            "forbidden-publish-taken",
            "refused-for-no-reason",
            "refused-for-other-reason",
        ],
        expected: "what is allowed is taken, and what is refused goes to nobody",
        standard: "the policy: only the broker publishes to $SYS; section 4.7.2 of MQTT 5.0",
        files: &[ROUTE, CLIENTS],
    },
    Guide {
        rules: &[
            "forbidden-filter-granted",
            "forbidden-message-delivered",
            "forbidden-publish-granted",
            "forbidden-subscription-served",
            "forbidden-topic-received",
        ],
        expected: "the rules in force decide what a client publishes, subscribes to and is sent",
        standard: "the policy of the run: the first rule that is meant decides",
        files: &[POLICY, ROUTE],
    },
    Guide {
        rules: &[
            "qos1-lost",
            "qos2-lost",
            "qos0-lost",
            "empty-lost",
            "shared-lost",
            "shared-with-absent",
            "turn-never-came",
            "never-sent-again",
        ],
        expected: "a message that was acknowledged reaches every session that was subscribed, or \
                   one member of each group, as soon as it can be reached",
        standard: "[MQTT-4.5.0-1], [MQTT-4.3.2-3], [MQTT-4.3.3-3], [MQTT-4.4.0-1]",
        files: &[ROUTE, OUTBOUND, TRANSMIT, CLIENTS],
    },
    Guide {
        rules: &["qos2-delivered-twice"],
        expected: "a QoS 2 message comes once: a repeat before PUBREL is not delivered again",
        standard: "[MQTT-4.3.3-10], [MQTT-4.3.3-6]",
        files: &[ROUTE, INBOUND, TRANSMIT],
    },
    Guide {
        rules: &["qos0-delivered-twice", "qos1-delivered-twice", "shared-delivered-twice"],
        expected: "one copy for all subscriptions of a session, and one for each group",
        standard: "[MQTT-3.3.4-2], [MQTT-4.4.0-1], section 4.8.2",
        files: &[ROUTE, SUBSCRIPTIONS, TRANSMIT],
    },
    Guide {
        rules: &[
            "dup-at-qos0",
            "dup-without-reconnect",
            "resent-after-acknowledgement",
            "resent-differently",
        ],
        expected: "a message comes again only after a reconnect, with DUP, its packet id and its \
                   contents, and only until it is acknowledged",
        standard: "[MQTT-3.3.1-1], [MQTT-3.3.1-2], [MQTT-4.4.0-1], [MQTT-4.4.0-2]",
        files: &[TRANSMIT, OUTBOUND],
    },
    Guide {
        rules: &["out-of-order", "resent-out-of-order"],
        expected: "messages of one publisher, topic and QoS come in the order published; what is \
                   sent again, in the order first sent",
        standard: "[MQTT-4.6.0-5], [MQTT-4.6.0-6]",
        files: &[OUTBOUND, TRANSMIT, ROUTE],
    },
    Guide {
        rules: &["packet-id-reused", "wrong-packet-id"],
        expected: "a message above QoS 0 has a packet id that is not in use",
        standard: "[MQTT-2.2.1-2], [MQTT-2.2.1-4]",
        files: &[TRANSMIT, OUTBOUND],
    },
    Guide {
        rules: &["receive-maximum-exceeded"],
        expected: "no more messages above QoS 0 are in flight than the client takes",
        standard: "[MQTT-3.3.4-9], [MQTT-4.9.0-2]",
        files: &[TRANSMIT],
    },
    Guide {
        rules: &["quota-not-held", "closed-within-quota", "wrong-retained-limit"],
        expected: "the broker takes as much as its limits say, and refuses one more: with 0x93 \
                   what is above its Receive Maximum, with 0x97 what it does not retain",
        standard: "sections 3.3.4 and 4.9 of MQTT 5.0; the limits `inflight`, `retained-messages`",
        files: &[ROUTE, INBOUND, RETAINED],
    },
    Guide {
        rules: &[
            "answer-to-nothing",
            "acknowledged-out-of-order",
            "release-without-receipt",
            "never-released",
            "release-held-back",
            "answer-left-out",
            "wrong-pubcomp",
        ],
        expected: "each acknowledgement answers what was sent, once and in its order; PUBREL \
                   follows PUBREC",
        standard: "[MQTT-2.2.1-5], [MQTT-2.2.1-6], [MQTT-4.3.3-4], [MQTT-4.3.3-8], [MQTT-4.3.3-11]",
        files: &[ROUTE, MACHINE, TRANSMIT],
    },
    Guide {
        rules: &["session-lost", "session-invented", "session-present-on-clean-start"],
        expected: "Session Present is said if the broker held a session and was not asked to \
                   start clean; a session ends with its expiry, not before",
        standard: "[MQTT-3.2.2-2], [MQTT-3.2.2-3], [MQTT-3.1.2-5], [MQTT-4.1.0-2]",
        files: &[CLIENTS, DEADLINES],
    },
    Guide {
        rules: &[
            "packet-before-connack",
            "let-in-without-connect",
            "second-connack",
            "packet-after-refusal",
            "refused-with-session",
            "packet-after-disconnect",
        ],
        expected: "CONNACK comes first and once; nothing follows a refusal or DISCONNECT",
        standard: "[MQTT-3.2.0-1], [MQTT-3.2.0-2], [MQTT-3.2.2-6], [MQTT-3.14.4-1]",
        files: &[CLIENTS, CONNECTIONS],
    },
    Guide {
        rules: &["stale-retained", "retained-lost"],
        expected: "a subscription gets the last retained message of each topic that it matches",
        standard: "[MQTT-3.3.1-5], [MQTT-3.3.1-6], [MQTT-3.3.1-7], [MQTT-3.3.1-9]",
        files: &[RETAINED, SUBSCRIBE, TRANSMIT],
    },
    Guide {
        rules: &["delivered-to-old-connection", "taken-over-left-open"],
        expected: "a client id has one connection: the older one is told 0x8E and closed",
        standard: "[MQTT-3.1.4-3]",
        files: &[CLIENTS, CONNECTIONS],
    },
    Guide {
        rules: &["will-after-disconnect", "will-after-return", "will-too-early"],
        expected: "a will goes out once its connection ended without DISCONNECT 0x00 and its \
                   delay, or the session, is over",
        standard: "[MQTT-3.1.2-8], [MQTT-3.1.3-9], [MQTT-3.14.4-3]",
        files: &[CLIENTS, DEADLINES],
    },
    Guide {
        rules: &[
            "wrong-grant",
            "wrong-number-of-reasons",
            "wrong-unsuback",
            "wrong-subscription-limit",
        ],
        expected: "SUBACK has one reason for each filter: the QoS granted, or why not; UNSUBACK \
                   says whether there was a subscription",
        standard: "[MQTT-3.8.4-6], [MQTT-3.8.4-7], [MQTT-3.9.3-1], [MQTT-3.11.3-2]",
        files: &[SUBSCRIBE, "src/mqtt/topic/filter.rs"],
    },
    Guide {
        rules: &["queue-too-long", "held-too-much"],
        expected: "no more messages wait in a session than the broker is told to keep; what is \
                   above is dropped, and counted",
        standard: "the limits `queue-messages`, `queue-bytes` and `total-bytes`",
        files: &[OUTBOUND, ROUTE, MESSAGE, SHELL],
    },
    Guide {
        rules: &["too-much-retained"],
        expected: "what is retained takes no more bytes than the broker is told to hold: of topics, \
                   payloads and whatever else messages say",
        standard: "the limits `retained-bytes` and `total-bytes`",
        files: &[RETAINED, MESSAGE, ROUTE],
    },
    Guide {
        rules: &["packet-too-large"],
        expected: "no packet is larger than the client takes: a message is dropped, and anything \
                   else is left out",
        standard: "[MQTT-3.1.2-24], [MQTT-3.1.2-25]",
        files: &[TRANSMIT, CONNECTIONS],
    },
    Guide {
        rules: &["too-many-connections", "too-many-of-one-address"],
        expected: "one connection above the limit is refused",
        standard: "the limits of the configuration; 0x97 in section 3.2.2.2 of MQTT 5.0",
        files: &[CONNECTIONS, CLIENTS],
    },
    Guide {
        rules: &["keep-alive-not-enforced"],
        expected: "a connection that is silent for 1.5 times its keep alive is closed, not before",
        standard: "[MQTT-3.1.2-22]",
        files: &[CLIENTS, DEADLINES],
    },
    Guide {
        rules: &["garbage-tolerated"],
        expected: "what is malformed closes its own connection, with the right reason",
        standard: "[MQTT-4.13.1-1], [MQTT-4.13.2-1]",
        files: &[DECODE, MACHINE, SHELL, LINGERING],
    },
    Guide {
        rules: &["closed-for-no-reason", "closed-without-reason", "stopped-without-a-word"],
        expected: "the broker closes no connection without a reason, and says which it was",
        standard: "[MQTT-4.13.1-1], [MQTT-4.13.2-1]; the broker's own promise",
        files: &[SHELL, OUTPUT, "src/server/input.rs", DECODE, MACHINE],
    },
    Guide {
        rules: &[
            "answered-late",
            "left-unanswered",
            "delivered-late",
            "held-back",
            "never-quiet",
            "never-answered",
        ],
        expected: "what is asked is answered and what is published delivered at once; once \
                   nothing goes wrong any more all drains",
        standard: "the broker's own promise; [MQTT-3.12.4-1] of PINGREQ",
        files: &[TRANSMIT, CONNECTIONS, SHELL, OUTPUT, DOOR],
    },
    Guide {
        rules: &["sys-silent"],
        expected: "what the broker says of itself comes each `sys_interval` to its subscribers",
        standard: "nothing: it is the broker's own promise",
        files: &["src/machine/sys.rs", DEADLINES],
    },
    Guide {
        rules: &["count-went-down", "count-too-low", "sum-too-low"],
        expected: "what the broker counts below `$SYS` is what its clients saw at least, and only \
                   goes up while it lives",
        standard: "nothing: it is the broker's own promise",
        files: &["src/machine/sys.rs", "src/server/load.rs", SHELL],
    },
    Guide {
        rules: &["other-certificate"],
        expected: "whoever comes through TLS is shown the certificate that was loaded last",
        standard: "nothing: it is the broker's own promise",
        files: &["src/server/shared.rs", "src/server/tls.rs"],
    },
    Guide {
        rules: &["goodbye-unanswered", "frame-behind-close", "goodbye-answered-badly"],
        expected: "who closes a WebSocket is answered by a Close frame before the connection ends, \
                   and nothing comes behind that",
        standard: "RFC 6455, section 5.5.1",
        files: &[WEBSOCKET, SHELL],
    },
    Guide {
        rules: &["other-close-code"],
        expected: "who sends a frame that no client may send is told with which code that is \
                   answered, and nobody else is",
        standard: "RFC 6455, section 7.4.1; [MQTT-6.0.0-1]",
        files: &[WEBSOCKET, "src/server/websocket/frames.rs"],
    },
    Guide {
        rules: &["ended-too-late", "connection-kept", "stalled-connection-kept"],
        expected: "a connection that is over, or whose client takes nothing, is soon gone",
        standard: "the broker's own promise: 5 s for the last bytes, 2 s for the client's end, 30 s \
                   for a client that takes nothing",
        files: &[SHELL, LINGERING, "src/server/worker.rs"],
    },
    Guide {
        rules: &["left-unread"],
        expected: "what a client sent before it left is handled, though it can be told nothing",
        standard: "[MQTT-3.14.4-3] of DISCONNECT; the broker's own promise",
        files: &[SHELL],
    },
    Guide {
        rules: &["too-large-tolerated", "too-large-answered", "too-large-delivered"],
        expected: "a packet above `packet-bytes` ends its connection with 0x95, and nothing \
                   comes of it",
        standard: "[MQTT-3.2.2-15] of the client; MQTT 5.0, section 4.13",
        files: &["src/mqtt/wire/frame.rs", "src/server/input.rs"],
    },
    Guide {
        rules: &["too-many-a-second"],
        expected: "of one address so many come in ten seconds as the limit lets, and then as many a second",
        standard: "the limit `connection-rate-per-address`",
        files: &["src/server/admission/places.rs"],
    },
    Guide {
        rules: &["too-many-passwords"],
        expected: "after some wrong passwords the next ones are not looked at for a while, which doubles",
        standard: "the limits `failed-logins` and `failed-logins-per-address`",
        files: &["src/server/admission/logins.rs", "src/server/admission/turns.rs"],
    },
    Guide {
        rules: &["judged-too-soon"],
        expected: "after some wrong passwords with a name, from wherever, who comes with it from elsewhere is \
                   judged late: a second, twice as long with each one more, up to five seconds",
        standard: "the limit `failed-logins-per-user`",
        files: &["src/server/admission/logins.rs"],
    },
    Guide {
        rules: &["place-kept"],
        expected: "who is let in or gone has no place among those who are not let in yet",
        standard: "the limits `unauthenticated` and `unauthenticated-per-address`",
        files: &["src/server/admission/places.rs", "src/server/connection.rs"],
    },
    Guide {
        rules: &["log-not-whole"],
        expected: "whatever dies, and whenever: of the log only its end may be gone that was not \
                   synced",
        standard: "README, \"What survives\"",
        files: &["src/store/recovery.rs", "src/store/log.rs", "src/store/writer.rs"],
    },
    Guide {
        rules: &["never-written", "never-synced"],
        expected: "what the broker records is written at once, and synced: before it is \
                   acknowledged, or with `async` once a second",
        standard: "README, \"What survives\"",
        files: &["src/store/writer.rs", "src/store/log.rs", "src/server/keeper.rs"],
    },
    Guide {
        rules: &["log-too-large"],
        expected: "the log is at most three times as large as what lives in it, and \
                   `dead_bytes_max` more: else all of that is written anew, and the rest removed",
        standard: "README, \"What survives\"",
        files: &["src/server/keeper.rs", "src/store/log.rs", "src/machine/rewrite.rs"],
    },
    Guide {
        rules: &["no-reserve"],
        expected: "on a disk that has room the broker keeps 1 MiB free, so that acknowledgements \
                   can be written when it is full",
        standard: "README, \"What survives\"",
        files: &["src/store/reserve.rs", "src/store/writer.rs"],
    },
    Guide {
        rules: &["did-not-stop", "broker-leaked", "host-failed"],
        expected: "the broker stops in time when it is told to, and leaves nothing behind",
        standard: "the broker's own promise",
        files: &["src/server/shared.rs", "src/server/worker.rs", SHELL],
    },
    Guide {
        rules: &[],
        expected: "what is promised above",
        standard: "the broker's own promise",
        files: &[MACHINE],
    },
];

/// The advice for a violation.
pub(super) fn guide(violation: &Violation) -> &'static Guide {
    let rule = &*violation.rule;
    let named = GUIDES.iter().find(|guide| guide.rules.contains(&rule));
    named.unwrap_or_else(|| of_promise(violation.promise))
}

/// That of some rule of the promise.
fn of_promise(promise: Promise) -> &'static Guide {
    let like = match promise {
        Promise::C1 | Promise::C4 | Promise::C5 | Promise::I14 => "qos1-lost",
        Promise::C2 => "qos2-delivered-twice",
        Promise::C3 | Promise::I5 => "out-of-order",
        Promise::C6 | Promise::I12 => "stale-retained",
        Promise::C7 | Promise::I7 => "session-lost",
        Promise::C8 | Promise::I8 => "taken-over-left-open",
        Promise::C9 | Promise::I11 => "will-too-early",
        Promise::C10 | Promise::I10 => "delivered-though-not-taken",
        Promise::C11 => "wrong-grant",
        Promise::I1 => "never-sent",
        Promise::I2 => "not-subscribed",
        Promise::I3 => "wrong-qos",
        Promise::I4 => "dup-without-reconnect",
        Promise::I6 => "answer-to-nothing",
        Promise::I9 => "too-many-connections",
        Promise::I13 => "keep-alive-not-enforced",
        Promise::C13 => "never-quiet",
        Promise::I15 => "log-not-whole",
        Promise::C12 | Promise::C14 | Promise::I16 | Promise::I17 => "",
    };
    let of_like = GUIDES.iter().find(|guide| guide.rules.contains(&like));
    of_like.unwrap_or(&GUIDES[GUIDES.len() - 1])
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::path::Path;

    use super::*;

    fn of(promise: Promise, rule: &'static str) -> &'static Guide {
        let (rule, words) = (Cow::Borrowed(rule), String::new());
        guide(&Violation { promise, rule, client: None, words, events: Vec::new() })
    }

    #[test]
    fn every_file_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for file in GUIDES.iter().flat_map(|guide| guide.files) {
            assert!(root.join(file).is_file(), "{file}");
        }
    }

    #[test]
    fn every_rule_of_the_oracle_has_advice_of_its_own() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/oracle");
        let mut rules = 0;
        let paths = std::fs::read_dir(folder).expect("it is there");
        let paths = paths.map(|entry| entry.expect("readable").path());
        for path in paths.filter(|path| path.is_file()) {
            let text = std::fs::read_to_string(path).expect("text");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for rule in code.split('"').filter(|it| is_rule(it)) {
                let is_named = GUIDES.iter().any(|guide| guide.rules.contains(&rule));
                assert!(is_named, "add advice for '{rule}' to guide.rs");
                rules += 1;
            }
        }
        assert!(rules > 40, "only {rules} rules were found in the oracle");
    }

    /// Names of rules are words with hyphens.
    fn is_rule(text: &str) -> bool {
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        text.contains('-') && text.split('-').all(is_word)
    }

    #[test]
    fn a_rule_that_is_not_known_gets_the_advice_of_its_promise() {
        assert!(std::ptr::eq(
            of(Promise::I13, "new-rule"),
            of(Promise::I13, "keep-alive-not-enforced")
        ));
        assert!(of(Promise::I16, "panic at x.rs:3").rules.is_empty());
    }
}
