//! What a record says, as JSON.
//!
//! Times are in milliseconds of the broker's own clock, which records of kind `clock` set beside
//! the wall clock. What a record does not say is left out.

use serde_json::{Map, Value, json};
use stormpetrel::access::{Action, Identity};
use stormpetrel::machine::record::{
    Body, Record, RetainedLeft, SessionState, SessionUid, Subscribed, Taken, Waiting,
};
use stormpetrel::mqtt::message::MessageProperties;
use stormpetrel::mqtt::types::PacketId;
use stormpetrel::mqtt::wire::{RetainHandling, SubscriptionId, SubscriptionOptions, Will};

/// All that a record says.
pub(super) fn json(record: &Record) -> Value {
    let fields = match record {
        Record::Session(state) => session(state),
        Record::Detached { session, expiry, ends_at, will_due } => about("detached", *session)
            .with("expiry_secs", *expiry)
            .with_if("ends_at_ms", ends_at.map(|at| at.0))
            .with_if("will_due_ms", will_due.map(|at| at.0)),
        Record::Ended { session } => about("ended", *session),
        Record::WillGone { session } => about("will_gone", *session),
        Record::Subscribed(subscribed) => subscription(subscribed),
        Record::Unsubscribed { session, filter } => {
            about("unsubscribed", *session).with("filter", filter.to_string())
        }
        Record::RetainedSent { session, filter } => {
            about("retained_sent", *session).with("filter", filter.as_str())
        }
        Record::Message(taken) => message(taken),
        Record::Sent { session, number, id } => {
            about("sent", *session).with("number", *number).with("packet_id", id.get())
        }
        Record::Dropped { session, number } => about("dropped", *session).with("number", *number),
        Record::Finished { session, id } => about("finished", *session).with("packet_id", id.get()),
        Record::Received { session, id } => about("received", *session).with("packet_id", id.get()),
        Record::Released { session, id } => about("released", *session).with("packet_id", id.get()),
        Record::Clock { at, offset } => {
            of_kind("clock").with("at_ms", at.0).with("ahead_of_wall_clock_ms", *offset)
        }
        Record::RewriteBegun => of_kind("rewrite_begun"),
        Record::Rewritten { sessions, part, retained, bytes } => of_kind("rewritten")
            .with("sessions", sessions.iter().map(|session| session.0.0).collect::<Vec<_>>())
            .with_if("part_of", part.map(|(session, _)| session.0.0))
            .with_if("part_to_number", part.map(|(_, number)| number))
            .with_if("retained_to", retained.as_ref().map(|topic| topic.as_str()))
            .with("bytes", *bytes),
        Record::RewriteEnded => of_kind("rewrite_ended"),
    };
    fields.object()
}

/// Two digits for each byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The fields of an object, in the making.
#[derive(Default)]
struct Fields(Map<String, Value>);

fn of_kind(kind: &str) -> Fields {
    Fields::default().with("kind", kind)
}

fn about(kind: &str, session: SessionUid) -> Fields {
    of_kind(kind).with("session", session.0.0)
}

impl Fields {
    fn with(mut self, name: &str, value: impl Into<Value>) -> Fields {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    fn with_if(self, name: &str, value: Option<impl Into<Value>>) -> Fields {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// As text if it is some, else in hexadecimal digits under another name.
    fn with_bytes(self, name: &str, bytes: &[u8]) -> Fields {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.with(name, text),
            Err(_) => self.with(&format!("{name}_hex"), hex(bytes)),
        }
    }

    fn with_options(self, options: &SubscriptionOptions, id: Option<SubscriptionId>) -> Fields {
        let retain_handling = match options.retain_handling {
            RetainHandling::Send => 0,
            RetainHandling::SendIfNew => 1,
            RetainHandling::DoNotSend => 2,
        };
        self.with("qos", options.qos as u8)
            .with("no_local", options.no_local)
            .with("retain_as_published", options.retain_as_published)
            .with("retain_handling", retain_handling)
            .with_if("subscription_id", id.map(SubscriptionId::get))
    }

    fn object(self) -> Value {
        Value::Object(self.0)
    }
}

fn session(state: &SessionState) -> Fields {
    about("session", state.session)
        .with("client_id", &*state.client_id)
        .with("identity", identity(&state.identity))
        .with("expiry_secs", state.expiry)
        .with("is_whole", state.is_whole)
        .with("is_attached", state.is_attached)
        .with_if("ends_at_ms", state.ends_at.map(|at| at.0))
        .with_if("will", state.will.as_deref().map(will))
        .with_if("will_due_ms", state.will_due.map(|at| at.0))
        .with("next_packet_id", state.next_id.get())
        .with("next_number", state.next_number)
        .with_if("unreleased", packet_ids(&state.unreleased))
        .with_if("unfinished", packet_ids(&state.unfinished))
}

fn packet_ids(ids: &[PacketId]) -> Option<Vec<u16>> {
    (!ids.is_empty()).then(|| ids.iter().map(|id| id.get()).collect())
}

fn identity(identity: &Identity) -> Value {
    let grants = identity.grants.as_deref().map(|grants| {
        let filters = |action| -> Vec<String> {
            grants.filters(action).iter().map(ToString::to_string).collect()
        };
        json!({
            "publish": filters(Action::Publish),
            "subscribe": filters(Action::Subscribe),
            "receive": filters(Action::Receive),
        })
    });
    Fields::default()
        .with_if("user", identity.user.as_deref())
        .with("is_proven", identity.is_proven)
        .with_if("address", identity.address.map(|address| address.to_string()))
        .with_if("grants", grants)
        .object()
}

fn will(will: &Will) -> Value {
    Fields::default()
        .with("topic", will.topic.as_str())
        .with_bytes("payload", &will.payload)
        .with("qos", will.qos as u8)
        .with("retain", will.retain)
        .with("delay_secs", will.delay)
        .with_if("properties", properties(&will.properties))
        .object()
}

fn subscription(subscribed: &Subscribed) -> Fields {
    about("subscribed", subscribed.session)
        .with("filter", subscribed.filter.to_string())
        .with_options(&subscribed.options, subscribed.id)
        .with_if("retained_left", subscribed.retained.as_ref().map(retained_left))
}

fn retained_left(left: &RetainedLeft) -> Value {
    Fields::default()
        .with_if("after", left.after.as_ref().map(|topic| topic.as_str()))
        .with("until", left.until)
        .with_options(&left.options, left.id)
        .object()
}

fn message(taken: &Taken) -> Fields {
    let fields = of_kind("message");
    let fields = match &taken.message {
        Body::In(lsn) => fields.with("message_in", lsn.0),
        Body::Here(message) => fields
            .with("topic", message.topic.as_str())
            .with_bytes("payload", &message.payload)
            .with("qos", message.qos as u8)
            .with("retain", message.retain)
            .with_if("properties", message.properties.as_deref().and_then(properties)),
    };
    let from =
        taken.from.map(|(session, id)| json!({ "session": session.0.0, "packet_id": id.get() }));
    let instead_of = taken.instead_of;
    let instead_of =
        instead_of.map(|(session, number)| json!({ "session": session.0.0, "number": number }));
    let cursor = taken.cursor.as_ref();
    let cursor =
        cursor.map(|(session, it)| json!({ "session": session.0.0, "filter": it.as_str() }));
    fields
        .with_if("expires_at_ms", taken.expires_at.map(|at| at.0))
        .with_if("retained", taken.retained)
        .with_if("from", from)
        .with_if("will_of", taken.will_of.map(|session| session.0.0))
        .with_if("instead_of", instead_of)
        .with_if("for_new_subscription", cursor)
        .with("deliveries", taken.deliveries.iter().map(delivery).collect::<Vec<Value>>())
}

fn delivery(waiting: &Waiting) -> Value {
    let ids = waiting.subscription_ids.as_deref();
    let ids = ids.map(|ids| ids.iter().map(|id| id.get()).collect::<Vec<u32>>());
    Fields::default()
        .with("session", waiting.session.0.0)
        .with("number", waiting.number)
        .with("qos", waiting.qos as u8)
        .with("retain", waiting.retain)
        .with_if("subscription_ids", ids)
        .with_if("share", waiting.share.as_ref().map(ToString::to_string))
        .with_if("packet_id", waiting.sent.map(PacketId::get))
        .object()
}

/// None: there are none.
fn properties(properties: &MessageProperties) -> Option<Value> {
    if properties.is_empty() {
        return None;
    }
    let user = properties.user_properties.iter();
    let user: Vec<Value> = user.map(|(name, value)| json!([name, value])).collect();
    let fields = Fields::default()
        .with_if("payload_is_text", properties.payload_is_text)
        .with_if("expiry_secs", properties.expiry)
        .with_if("content_type", properties.content_type.as_ref().map(|text| text.as_str()))
        .with_if("response_topic", properties.response_topic.as_ref().map(|it| it.as_str()))
        .with_if("user_properties", (!user.is_empty()).then_some(user));
    let fields = match &properties.correlation_data {
        Some(data) => fields.with_bytes("correlation_data", data),
        None => fields,
    };
    Some(fields.object())
}

#[cfg(test)]
mod tests {
    use stormpetrel::machine::Timestamp;
    use stormpetrel::machine::record::Lsn;
    use stormpetrel::mqtt::topic::{Filter, TopicFilter};

    use super::*;

    #[test]
    fn each_kind_says_what_it_is_about() {
        let session = SessionUid(Lsn(3));
        let id = PacketId::new(5).expect("not zero");
        let plain = TopicFilter::try_from("a/+").expect("a filter");
        let shared = Filter::try_from("$share/g/b").expect("a filter");
        let (ends_at, will_due) = (Some(Timestamp(8)), Some(Timestamp(7)));
        let of_id = |kind| json!({ "kind": kind, "session": 3, "packet_id": 5 });
        for (record, expected) in [
            (
                Record::Detached { session, expiry: 6, ends_at, will_due },
                json!({ "kind": "detached", "session": 3, "expiry_secs": 6, "ends_at_ms": 8, "will_due_ms": 7 }),
            ),
            (Record::Ended { session }, json!({ "kind": "ended", "session": 3 })),
            (Record::WillGone { session }, json!({ "kind": "will_gone", "session": 3 })),
            (
                Record::Unsubscribed { session, filter: Box::new(shared) },
                json!({ "kind": "unsubscribed", "session": 3, "filter": "$share/g/b" }),
            ),
            (
                Record::RetainedSent { session, filter: Box::new(plain) },
                json!({ "kind": "retained_sent", "session": 3, "filter": "a/+" }),
            ),
            (
                Record::Sent { session, number: 4, id },
                json!({ "kind": "sent", "session": 3, "number": 4, "packet_id": 5 }),
            ),
            (
                Record::Dropped { session, number: 4 },
                json!({ "kind": "dropped", "session": 3, "number": 4 }),
            ),
            (Record::Finished { session, id }, of_id("finished")),
            (Record::Received { session, id }, of_id("received")),
            (Record::Released { session, id }, of_id("released")),
            (Record::RewriteBegun, json!({ "kind": "rewrite_begun" })),
            (
                Record::Rewritten {
                    sessions: vec![session],
                    part: Some((session, 7)),
                    retained: None,
                    bytes: 9,
                },
                json!({ "kind": "rewritten", "sessions": [3], "part_of": 3, "part_to_number": 7, "bytes": 9 }),
            ),
            (Record::RewriteEnded, json!({ "kind": "rewrite_ended" })),
        ] {
            assert_eq!(json(&record), expected);
        }
    }
}
