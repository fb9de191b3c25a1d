//! Bytes to records. `encode.rs` is its counterpart and says how they look.
//!
//! What comes from a disk may be anything: every length is checked before it is believed, and
//! everything is parsed as if a client had sent it.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::encode::tag;
use super::{
    Body, Lsn, Record, RetainedLeft, SessionState, SessionUid, Subscribed, Taken, Waiting,
};
use crate::access::{self, Action, Grants, Identity, Pattern};
use crate::machine::Timestamp;
use crate::mqtt::message::{Holders, Message, MessageProperties};
use crate::mqtt::topic::{Filter, TopicFilter, TopicName};
use crate::mqtt::types::{PacketId, QoS, Text};
use crate::mqtt::wire::{RetainHandling, SubscriptionId, SubscriptionOptions, Will};

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// They end too early.
    #[error("the record ends too early")]
    Truncated,
    /// They go on behind the record.
    #[error("there is something behind the record")]
    Trailing,
    /// A kind of record that this version does not know.
    #[error("a kind of record that this version does not know: {0}")]
    Unknown(u8),
    /// A field cannot have this value.
    #[error("a field of the record cannot be what it is: {0}")]
    Value(&'static str),
}

impl Record {
    /// The record that these bytes are. Payloads are views into them.
    ///
    /// # Errors
    /// They are none.
    pub fn decode(bytes: Bytes) -> Result<Record, RecordError> {
        let mut fields = Fields(bytes);
        let record = fields.record()?;
        if fields.0.is_empty() { Ok(record) } else { Err(RecordError::Trailing) }
    }
}

/// What is left of a record.
struct Fields(Bytes);

impl Fields {
    fn record(&mut self) -> Result<Record, RecordError> {
        Ok(match self.u8()? {
            tag::SESSION => Record::Session(Box::new(self.session_state(true)?)),
            tag::SESSION_1 => Record::Session(Box::new(self.session_state(false)?)),
            tag::DETACHED => Record::Detached {
                session: self.uid()?,
                expiry: self.u32()?,
                ends_at: self.option(Fields::timestamp)?,
                will_due: self.option(Fields::timestamp)?,
            },
            tag::ENDED => Record::Ended { session: self.uid()? },
            tag::WILL_GONE => Record::WillGone { session: self.uid()? },
            tag::SUBSCRIBED => Record::Subscribed(Box::new(self.subscription()?)),
            tag::UNSUBSCRIBED => {
                Record::Unsubscribed { session: self.uid()?, filter: Box::new(self.filter()?) }
            }
            tag::RETAINED_SENT => Record::RetainedSent {
                session: self.uid()?,
                filter: Box::new(self.topic_filter()?),
            },
            tag::MESSAGE => Record::Message(Box::new(self.message_record()?)),
            tag::SENT => {
                Record::Sent { session: self.uid()?, number: self.u64()?, id: self.packet_id()? }
            }
            tag::DROPPED => Record::Dropped { session: self.uid()?, number: self.u64()? },
            tag::FINISHED => Record::Finished { session: self.uid()?, id: self.packet_id()? },
            tag::RECEIVED => Record::Received { session: self.uid()?, id: self.packet_id()? },
            tag::RELEASED => Record::Released { session: self.uid()?, id: self.packet_id()? },
            tag::CLOCK => Record::Clock { at: self.timestamp()?, offset: self.i64()? },
            tag::REWRITE_BEGUN => Record::RewriteBegun,
            tag::REWRITTEN => Record::Rewritten {
                sessions: self.list(Fields::uid)?,
                part: self.option(|fields| Ok((fields.uid()?, fields.u64()?)))?,
                retained: self.option(Fields::topic)?,
                bytes: self.u64()?,
            },
            tag::REWRITE_ENDED => Record::RewriteEnded,
            unknown => return Err(RecordError::Unknown(unknown)),
        })
    }

    fn grants(&mut self) -> Result<Grants, RecordError> {
        let mut grants = Grants::default();
        for action in Action::ALL {
            for filter in self.list(Fields::pattern)? {
                grants.add(action, filter);
            }
        }
        Ok(grants)
    }

    fn pattern(&mut self) -> Result<Pattern, RecordError> {
        Pattern::literal(self.text()?.as_str()).map_err(|_| RecordError::Value("grant"))
    }

    fn identity(&mut self, has_address: bool) -> Result<Identity, RecordError> {
        let mut identity = Identity {
            user: self.option(|fields| Ok(Arc::from(fields.text()?.as_str())))?,
            is_proven: self.boolean()?,
            grants: self.option(|fields| fields.grants().map(Arc::new))?,
            address: None,
        };
        if has_address {
            let address =
                |octets: &[u8]| access::address(octets).ok_or(RecordError::Value("address"));
            identity.address = self.option(|fields| address(&fields.data()?))?;
        }
        Ok(identity)
    }

    /// The first kind of these had no address.
    fn session_state(&mut self, has_address: bool) -> Result<SessionState, RecordError> {
        Ok(SessionState {
            session: self.uid()?,
            client_id: Arc::from(self.text()?.as_str()),
            identity: self.identity(has_address)?,
            expiry: self.u32()?,
            is_whole: self.boolean()?,
            is_attached: self.boolean()?,
            ends_at: self.option(Fields::timestamp)?,
            will: self.option(|fields| fields.will().map(Box::new))?,
            will_due: self.option(Fields::timestamp)?,
            next_id: self.packet_id()?,
            next_number: self.u64()?,
            unreleased: self.list(Fields::packet_id)?,
            unfinished: self.list(Fields::packet_id)?,
        })
    }

    fn will(&mut self) -> Result<Will, RecordError> {
        Ok(Will {
            topic: self.topic()?,
            payload: self.data()?,
            qos: self.qos()?,
            retain: self.boolean()?,
            delay: self.u32()?,
            properties: self.properties()?,
        })
    }

    fn subscription(&mut self) -> Result<Subscribed, RecordError> {
        let (session, filter) = (self.uid()?, self.filter()?);
        let (options, id) = self.terms()?;
        let retained = self.option(|fields| {
            let (after, until) = (fields.option(Fields::topic)?, fields.u64()?);
            let (options, id) = fields.terms()?;
            Ok(RetainedLeft { after, until, options, id })
        })?;
        Ok(Subscribed { session, filter, options, id, retained })
    }

    fn terms(&mut self) -> Result<(SubscriptionOptions, Option<SubscriptionId>), RecordError> {
        let options = self.options()?;
        let id = match self.u32()? {
            0 => None,
            number => Some(subscription_id(number)?),
        };
        Ok((options, id))
    }

    fn options(&mut self) -> Result<SubscriptionOptions, RecordError> {
        let options = self.u8()?;
        let retain_handling = match options >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(RecordError::Value("retain handling")),
        };
        Ok(SubscriptionOptions {
            qos: QoS::from_number(options & 3).ok_or(RecordError::Value("qos"))?,
            no_local: options & 4 != 0,
            retain_as_published: options & 8 != 0,
            retain_handling,
        })
    }

    fn message_record(&mut self) -> Result<Taken, RecordError> {
        let message = match self.boolean()? {
            true => Body::Here(Arc::new(self.message()?)),
            false => Body::In(Lsn(self.u64()?)),
        };
        Ok(Taken {
            message,
            expires_at: self.option(Fields::timestamp)?,
            retained: self.option(Fields::u64)?,
            from: self.option(|fields| Ok((fields.uid()?, fields.packet_id()?)))?,
            will_of: self.option(Fields::uid)?,
            instead_of: self.option(|fields| Ok((fields.uid()?, fields.u64()?)))?,
            cursor: self.option(|fields| Ok((fields.uid()?, fields.topic_filter()?)))?,
            deliveries: self.list(Fields::waiting)?.into(),
        })
    }

    fn message(&mut self) -> Result<Message, RecordError> {
        let message = Message {
            topic: self.topic()?,
            payload: self.data()?,
            qos: self.qos()?,
            retain: self.boolean()?,
            properties: self.option(|fields| fields.properties().map(Box::new))?,
            holders: Holders::default(),
        };
        Ok(message.detached())
    }

    fn properties(&mut self) -> Result<MessageProperties, RecordError> {
        Ok(MessageProperties {
            payload_is_text: self.option(Fields::boolean)?,
            expiry: self.option(Fields::u32)?,
            content_type: self.option(Fields::text)?,
            response_topic: self.option(Fields::topic)?,
            correlation_data: self.option(Fields::data)?,
            user_properties: self
                .list(|fields| Ok((fields.text()?, fields.text()?)))?
                .into_iter()
                .collect(),
        })
    }

    fn waiting(&mut self) -> Result<Waiting, RecordError> {
        let (session, number) = (self.uid()?, self.u64()?);
        let (qos, retain) = (self.qos()?, self.boolean()?);
        let ids = self.list(|fields| subscription_id(fields.u32()?))?;
        Ok(Waiting {
            session,
            number,
            qos,
            retain,
            subscription_ids: (!ids.is_empty()).then(|| Arc::from(ids)),
            share: self.option(|fields| fields.filter().map(Box::new))?,
            sent: PacketId::new(self.u16()?),
        })
    }

    fn need(&self, count: usize) -> Result<(), RecordError> {
        if self.0.len() < count { Err(RecordError::Truncated) } else { Ok(()) }
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        self.need(1)?;
        Ok(self.0.get_u8())
    }

    fn u16(&mut self) -> Result<u16, RecordError> {
        self.need(2)?;
        Ok(self.0.get_u16_le())
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        self.need(4)?;
        Ok(self.0.get_u32_le())
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        self.need(8)?;
        Ok(self.0.get_u64_le())
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        self.need(8)?;
        Ok(self.0.get_i64_le())
    }

    fn boolean(&mut self) -> Result<bool, RecordError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RecordError::Value("yes or no")),
        }
    }

    fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Fields) -> Result<T, RecordError>,
    ) -> Result<Option<T>, RecordError> {
        Ok(if self.boolean()? { Some(read(self)?) } else { None })
    }

    fn list<T>(
        &mut self,
        read: impl Fn(&mut Fields) -> Result<T, RecordError>,
    ) -> Result<Vec<T>, RecordError> {
        let count = self.u32()?;
        // Not allocated at once: the count may be anything.
        (0..count).map(|_| read(self)).collect()
    }

    fn data(&mut self) -> Result<Bytes, RecordError> {
        let length = self.u32()? as usize;
        self.need(length)?;
        Ok(self.0.split_to(length))
    }

    fn text(&mut self) -> Result<Text, RecordError> {
        let text = Text::from_bytes(self.data()?).map_err(|_| RecordError::Value("text"))?;
        Ok(text.detached())
    }

    fn topic(&mut self) -> Result<TopicName, RecordError> {
        TopicName::new(self.text()?).map_err(|_| RecordError::Value("topic"))
    }

    fn filter(&mut self) -> Result<Filter, RecordError> {
        Filter::new(self.text()?).map_err(|_| RecordError::Value("filter"))
    }

    fn topic_filter(&mut self) -> Result<TopicFilter, RecordError> {
        TopicFilter::new(self.text()?).map_err(|_| RecordError::Value("topic filter"))
    }

    fn uid(&mut self) -> Result<SessionUid, RecordError> {
        Ok(SessionUid(Lsn(self.u64()?)))
    }

    fn timestamp(&mut self) -> Result<Timestamp, RecordError> {
        Ok(Timestamp(self.u64()?))
    }

    fn packet_id(&mut self) -> Result<PacketId, RecordError> {
        PacketId::new(self.u16()?).ok_or(RecordError::Value("packet id"))
    }

    fn qos(&mut self) -> Result<QoS, RecordError> {
        QoS::from_number(self.u8()?).ok_or(RecordError::Value("qos"))
    }
}

fn subscription_id(number: u32) -> Result<SubscriptionId, RecordError> {
    SubscriptionId::new(number).ok_or(RecordError::Value("subscription id"))
}
