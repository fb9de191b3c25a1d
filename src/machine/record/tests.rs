//! Records and their bytes.

use bytes::Bytes;
use smallvec::smallvec;

use super::*;
use crate::access::{Action, Grants, Identity, Pattern};
use crate::mqtt::message::{Holders, MessageProperties};
use crate::mqtt::types::Text;
use crate::mqtt::wire::RetainHandling;

fn text(text: &str) -> Text {
    Text::try_from(text).expect("plain text")
}

fn topic(name: &str) -> TopicName {
    TopicName::try_from(name).expect("a topic")
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not zero")
}

fn properties() -> MessageProperties {
    MessageProperties {
        payload_is_text: Some(true),
        expiry: Some(60),
        content_type: Some(text("text/plain")),
        response_topic: Some(topic("answers")),
        correlation_data: Some(Bytes::from_static(b"\0\xff")),
        user_properties: [(text("a"), text("1")), (text("a"), text(""))].into_iter().collect(),
    }
}

fn message(properties: Option<MessageProperties>) -> Message {
    Message {
        topic: topic("a/b"),
        payload: Bytes::from_static(b"hello"),
        qos: QoS::ExactlyOnce,
        retain: true,
        properties: properties.map(Box::new),
        holders: Holders::default(),
    }
}

fn state() -> SessionState {
    let will = Will {
        topic: topic("gone"),
        payload: Bytes::new(),
        qos: QoS::AtLeastOnce,
        retain: true,
        delay: 7,
        properties: properties(),
    };
    let mut grants = Grants::default();
    let filter = |text| Pattern::literal(text).expect("a filter");
    grants.add(Action::Publish, filter("up/#"));
    grants.add(Action::Publish, filter("+"));
    grants.add(Action::Receive, filter("down"));
    SessionState {
        session: SessionUid(Lsn(3)),
        client_id: "c1".into(),
        identity: Identity {
            user: Some("alice".into()),
            is_proven: true,
            grants: Some(Arc::new(grants)),
            address: Some([10, 0, 0, 1].into()),
        },
        expiry: u32::MAX,
        is_whole: true,
        is_attached: false,
        ends_at: Some(Timestamp(9)),
        will: Some(Box::new(will)),
        will_due: Some(Timestamp(8)),
        next_id: id(65_535),
        next_number: 12,
        unreleased: vec![id(1), id(2)],
        unfinished: vec![id(9)],
    }
}

fn taken(message: Body) -> Taken {
    let shared = Filter::try_from("$share/g/a/+").expect("a filter");
    let waiting = Waiting {
        session: SessionUid(Lsn(3)),
        number: 11,
        qos: QoS::ExactlyOnce,
        retain: true,
        subscription_ids: Some([SubscriptionId::new(1).expect("in range")].into()),
        share: Some(Box::new(shared)),
        sent: Some(id(4)),
    };
    let plain = Waiting { subscription_ids: None, share: None, sent: None, ..waiting.clone() };
    Taken {
        message,
        expires_at: Some(Timestamp(77)),
        retained: Some(5),
        from: Some((SessionUid(Lsn(3)), id(1))),
        will_of: Some(SessionUid(Lsn(4))),
        instead_of: Some((SessionUid(Lsn(5)), 6)),
        cursor: Some((SessionUid(Lsn(3)), TopicFilter::try_from("a/#").expect("a filter"))),
        deliveries: smallvec![waiting, plain],
    }
}

/// One of each kind, with every field in use, and the poorer ones.
fn samples() -> Vec<Record> {
    let session = SessionUid(Lsn(3));
    let filter = Filter::try_from("a/+/#").expect("a filter");
    let subscribed = Subscribed {
        session,
        filter: filter.clone(),
        options: SubscriptionOptions {
            qos: QoS::ExactlyOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::DoNotSend,
        },
        id: SubscriptionId::new(268_435_455),
        retained: Some(RetainedLeft {
            after: Some(topic("a/b")),
            until: 5,
            options: SubscriptionOptions::default(),
            id: None,
        }),
    };
    let poor = SessionState {
        identity: Identity::default(),
        will: None,
        ends_at: None,
        will_due: None,
        ..state()
    };
    let elsewhere = Identity { address: Some([1; 16].into()), ..Identity::default() };
    let other = SessionState { identity: elsewhere, ..state() };
    vec![
        Record::Session(Box::new(state())),
        Record::Session(Box::new(poor)),
        Record::Session(Box::new(other)),
        Record::Detached { session, expiry: 5, ends_at: None, will_due: Some(Timestamp(1)) },
        Record::Ended { session },
        Record::WillGone { session },
        Record::Subscribed(Box::new(Subscribed { id: None, retained: None, ..subscribed.clone() })),
        Record::Subscribed(Box::new(subscribed)),
        Record::Unsubscribed { session, filter: Box::new(filter) },
        Record::RetainedSent {
            session,
            filter: Box::new(TopicFilter::try_from("#").expect("a filter")),
        },
        Record::Message(Box::new(taken(Body::Here(Arc::new(message(Some(properties()))))))),
        Record::Message(Box::new(taken(Body::Here(Arc::new(message(None)))))),
        Record::Message(Box::new(Taken::of(None))),
        Record::Sent { session, number: 7, id: id(7) },
        Record::Dropped { session, number: 7 },
        Record::Finished { session, id: id(7) },
        Record::Received { session, id: id(7) },
        Record::Released { session, id: id(7) },
        Record::Clock { at: Timestamp(u64::MAX), offset: i64::MIN },
        Record::Clock { at: Timestamp(7), offset: -3 },
        Record::RewriteBegun,
        Record::Rewritten {
            sessions: Vec::new(),
            part: None,
            retained: Some(topic("a/b")),
            bytes: 7,
        },
        Record::Rewritten {
            sessions: vec![session; 3],
            part: Some((session, 5)),
            retained: None,
            bytes: u64::MAX,
        },
        Record::RewriteEnded,
    ]
}

fn bytes_of(record: &Record) -> Bytes {
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    bytes.into()
}

#[test]
fn a_record_is_what_its_bytes_say() {
    for record in samples() {
        assert_eq!(Record::decode(bytes_of(&record)).as_ref(), Ok(&record));
    }
}

#[test]
fn bytes_that_are_cut_or_too_many_are_no_record() {
    for record in samples() {
        let whole = bytes_of(&record);
        for end in 0..whole.len() {
            assert!(Record::decode(whole.slice(..end)).is_err(), "{record:?} cut at {end}");
        }
        let more = [&whole[..], &[0]].concat();
        assert_eq!(Record::decode(more.into()), Err(RecordError::Trailing));
    }
}

#[test]
fn bytes_that_are_damaged_are_another_record_or_none_and_nothing_breaks() {
    for record in samples() {
        let whole = bytes_of(&record);
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.to_vec();
                damaged[place] ^= 1 << bit;
                assert_ne!(Record::decode(damaged.into()).as_ref(), Ok(&record));
            }
        }
    }
}

#[test]
fn a_session_is_read_from_before_there_were_addresses() {
    let state = SessionState { identity: Identity::default(), ..state() };
    let mut bytes = bytes_of(&Record::Session(Box::new(state.clone()))).to_vec();
    let address = 1 + 8 + (4 + state.client_id.len()) + 1 + 1 + 1;
    assert_eq!((bytes[0], bytes.remove(address)), (16, 0));
    bytes[0] = 1;
    assert_eq!(Record::decode(bytes.into()), Ok(Record::Session(Box::new(state))));
}

#[test]
fn an_unknown_kind_is_named() {
    assert_eq!(Record::decode(Bytes::from_static(&[99])), Err(RecordError::Unknown(99)));
}
