//! Records to bytes. `decode.rs` is its counterpart.
//!
//! A tag, then the fields in the order of the type; numbers are little endian, what may be
//! absent has a byte before it that says so. A new kind of record gets a new tag; the fields of
//! a tag never change.

use bytes::BufMut;

use super::{Body, Record, SessionState, SessionUid, Subscribed, Taken, Waiting};
use crate::access::{self, Action, Grants, Identity};
use crate::machine::Timestamp;
use crate::mqtt::message::{Message, MessageProperties};
use crate::mqtt::wire::{RetainHandling, SubscriptionId, SubscriptionOptions, Will};

/// The first byte of each kind of record.
pub(super) mod tag {
    /// A session without its client's address.
    pub(in super::super) const SESSION_1: u8 = 1;
    pub(in super::super) const DETACHED: u8 = 2;
    pub(in super::super) const ENDED: u8 = 3;
    pub(in super::super) const WILL_GONE: u8 = 4;
    pub(in super::super) const SUBSCRIBED: u8 = 5;
    pub(in super::super) const UNSUBSCRIBED: u8 = 6;
    pub(in super::super) const RETAINED_SENT: u8 = 7;
    pub(in super::super) const MESSAGE: u8 = 8;
    pub(in super::super) const SENT: u8 = 9;
    pub(in super::super) const DROPPED: u8 = 10;
    pub(in super::super) const FINISHED: u8 = 11;
    pub(in super::super) const RECEIVED: u8 = 12;
    pub(in super::super) const RELEASED: u8 = 13;
    pub(in super::super) const REWRITE_BEGUN: u8 = 14;
    pub(in super::super) const REWRITE_ENDED: u8 = 15;
    pub(in super::super) const SESSION: u8 = 16;
    pub(in super::super) const CLOCK: u8 = 17;
    pub(in super::super) const REWRITTEN: u8 = 18;
}

impl Record {
    /// Appends the record's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Record::Session(state) => {
                out.put_u8(tag::SESSION);
                session_state(state, out);
            }
            Record::Detached { session, expiry, ends_at, will_due } => {
                begin(tag::DETACHED, *session, out);
                out.put_u32_le(*expiry);
                option(*ends_at, out, timestamp);
                option(*will_due, out, timestamp);
            }
            Record::Ended { session } => begin(tag::ENDED, *session, out),
            Record::WillGone { session } => begin(tag::WILL_GONE, *session, out),
            Record::Subscribed(subscribed) => {
                begin(tag::SUBSCRIBED, subscribed.session, out);
                subscription(subscribed, out);
            }
            Record::Unsubscribed { session, filter } => {
                begin(tag::UNSUBSCRIBED, *session, out);
                data(filter.to_string().as_bytes(), out);
            }
            Record::RetainedSent { session, filter } => {
                begin(tag::RETAINED_SENT, *session, out);
                data(filter.as_bytes(), out);
            }
            Record::Message(taken) => {
                out.put_u8(tag::MESSAGE);
                message_record(taken, out);
            }
            Record::Sent { session, number, id } => {
                begin(tag::SENT, *session, out);
                out.put_u64_le(*number);
                out.put_u16_le(id.get());
            }
            Record::Dropped { session, number } => {
                begin(tag::DROPPED, *session, out);
                out.put_u64_le(*number);
            }
            Record::Finished { session, id } => {
                begin(tag::FINISHED, *session, out);
                out.put_u16_le(id.get());
            }
            Record::Received { session, id } => {
                begin(tag::RECEIVED, *session, out);
                out.put_u16_le(id.get());
            }
            Record::Released { session, id } => {
                begin(tag::RELEASED, *session, out);
                out.put_u16_le(id.get());
            }
            Record::Clock { at, offset } => {
                out.put_u8(tag::CLOCK);
                timestamp(*at, out);
                out.put_i64_le(*offset);
            }
            Record::RewriteBegun => out.put_u8(tag::REWRITE_BEGUN),
            Record::Rewritten { sessions, part, retained, bytes } => {
                out.put_u8(tag::REWRITTEN);
                list(sessions, out, |session, out| uid(*session, out));
                option(*part, out, |(session, number), out| {
                    uid(session, out);
                    out.put_u64_le(number);
                });
                option(retained.as_ref(), out, |topic, out| data(topic.as_bytes(), out));
                out.put_u64_le(*bytes);
            }
            Record::RewriteEnded => out.put_u8(tag::REWRITE_ENDED),
        }
    }
}

fn begin(tag: u8, session: SessionUid, out: &mut Vec<u8>) {
    out.put_u8(tag);
    uid(session, out);
}

fn uid(session: SessionUid, out: &mut Vec<u8>) {
    out.put_u64_le(session.0.0);
}

fn timestamp(at: Timestamp, out: &mut Vec<u8>) {
    out.put_u64_le(at.0);
}

fn option<T>(value: Option<T>, out: &mut Vec<u8>, put: impl FnOnce(T, &mut Vec<u8>)) {
    out.put_u8(u8::from(value.is_some()));
    if let Some(value) = value {
        put(value, out);
    }
}

/// Bytes with their length before them.
fn data(bytes: &[u8], out: &mut Vec<u8>) {
    out.put_u32_le(length(bytes.len()));
    out.put_slice(bytes);
}

fn list<T>(items: &[T], out: &mut Vec<u8>, put: impl Fn(&T, &mut Vec<u8>)) {
    out.put_u32_le(length(items.len()));
    items.iter().for_each(|item| put(item, out));
}

fn length(length: usize) -> u32 {
    u32::try_from(length).expect("nothing that came in a packet is that long")
}

fn grants(grants: &Grants, out: &mut Vec<u8>) {
    for action in Action::ALL {
        list(grants.filters(action), out, |filter, out| data(filter.as_str().as_bytes(), out));
    }
}

fn identity(identity: &Identity, out: &mut Vec<u8>) {
    option(identity.user.as_deref(), out, |user, out| data(user.as_bytes(), out));
    out.put_u8(u8::from(identity.is_proven));
    option(identity.grants.as_deref(), out, grants);
    option(identity.address, out, |address, out| data(&access::octets(address), out));
}

fn session_state(state: &SessionState, out: &mut Vec<u8>) {
    uid(state.session, out);
    data(state.client_id.as_bytes(), out);
    identity(&state.identity, out);
    out.put_u32_le(state.expiry);
    out.put_u8(u8::from(state.is_whole));
    out.put_u8(u8::from(state.is_attached));
    option(state.ends_at, out, timestamp);
    option(state.will.as_deref(), out, will);
    option(state.will_due, out, timestamp);
    out.put_u16_le(state.next_id.get());
    out.put_u64_le(state.next_number);
    list(&state.unreleased, out, |id, out| out.put_u16_le(id.get()));
    list(&state.unfinished, out, |id, out| out.put_u16_le(id.get()));
}

fn will(will: &Will, out: &mut Vec<u8>) {
    data(will.topic.as_bytes(), out);
    data(&will.payload, out);
    out.put_u8(will.qos.number());
    out.put_u8(u8::from(will.retain));
    out.put_u32_le(will.delay);
    properties(&will.properties, out);
}

fn subscription(subscribed: &Subscribed, out: &mut Vec<u8>) {
    data(subscribed.filter.to_string().as_bytes(), out);
    terms(subscribed.options, subscribed.id, out);
    option(subscribed.retained.as_ref(), out, |left, out| {
        option(left.after.as_ref(), out, |after, out| data(after.as_bytes(), out));
        out.put_u64_le(left.until);
        terms(left.options, left.id, out);
    });
}

fn terms(granted: SubscriptionOptions, id: Option<SubscriptionId>, out: &mut Vec<u8>) {
    out.put_u8(options(granted));
    out.put_u32_le(id.map_or(0, |id| id.get()));
}

/// Subscription options, as SUBSCRIBE has them (MQTT 5.0, section 3.8.3.1).
fn options(options: SubscriptionOptions) -> u8 {
    let handling = match options.retain_handling {
        RetainHandling::Send => 0,
        RetainHandling::SendIfNew => 1,
        RetainHandling::DoNotSend => 2,
    };
    options.qos.number()
        | u8::from(options.no_local) << 2
        | u8::from(options.retain_as_published) << 3
        | handling << 4
}

fn message_record(taken: &Taken, out: &mut Vec<u8>) {
    match &taken.message {
        Body::Here(body) => {
            out.put_u8(1);
            message(body, out);
        }
        Body::In(lsn) => {
            out.put_u8(0);
            out.put_u64_le(lsn.0);
        }
    }
    option(taken.expires_at, out, timestamp);
    option(taken.retained, out, |sequence, out| out.put_u64_le(sequence));
    option(taken.from, out, |(session, id), out| {
        uid(session, out);
        out.put_u16_le(id.get());
    });
    option(taken.will_of, out, uid);
    option(taken.instead_of, out, |(session, number), out| {
        uid(session, out);
        out.put_u64_le(number);
    });
    option(taken.cursor.as_ref(), out, |(session, filter), out| {
        uid(*session, out);
        data(filter.as_bytes(), out);
    });
    list(&taken.deliveries, out, waiting);
}

fn message(message: &Message, out: &mut Vec<u8>) {
    data(message.topic.as_bytes(), out);
    data(&message.payload, out);
    out.put_u8(message.qos.number());
    out.put_u8(u8::from(message.retain));
    option(message.properties.as_deref(), out, properties);
}

fn properties(properties: &MessageProperties, out: &mut Vec<u8>) {
    option(properties.payload_is_text, out, |is_text, out| out.put_u8(u8::from(is_text)));
    option(properties.expiry, out, |secs, out| out.put_u32_le(secs));
    option(properties.content_type.as_ref(), out, |text, out| data(text.as_bytes(), out));
    option(properties.response_topic.as_ref(), out, |topic, out| data(topic.as_bytes(), out));
    option(properties.correlation_data.as_ref(), out, |bytes, out| data(bytes, out));
    let pairs: Vec<(&str, &str)> = properties.user_properties.iter().collect();
    list(&pairs, out, |(name, value), out| {
        data(name.as_bytes(), out);
        data(value.as_bytes(), out);
    });
}

fn waiting(waiting: &Waiting, out: &mut Vec<u8>) {
    uid(waiting.session, out);
    out.put_u64_le(waiting.number);
    out.put_u8(waiting.qos.number());
    out.put_u8(u8::from(waiting.retain));
    let ids = waiting.subscription_ids.as_deref().unwrap_or_default();
    list(ids, out, |id, out| out.put_u32_le(id.get()));
    option(waiting.share.as_ref(), out, |share, out| data(share.to_string().as_bytes(), out));
    out.put_u16_le(waiting.sent.map_or(0, |id| id.get()));
}
