//! PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 5.0, sections 3.4 to 3.7): all of one form.
//!
//! Knows nothing of what is acknowledged. `reason.rs` says which reasons each may have.

use crate::mqtt::types::{Reason, Version};
use crate::mqtt::wire::decode::Sender;
use crate::mqtt::wire::error::Fault;
use crate::mqtt::wire::frame::PacketType;
use crate::mqtt::wire::packet::{Ack, Details};
use crate::mqtt::wire::property::{self, write_details};
use crate::mqtt::wire::read::Reader;
use crate::mqtt::wire::reason;
use crate::mqtt::wire::write::Sink;
use crate::plant::{self, Plant};

/// All after the fixed header.
pub(super) fn decode(
    packet_type: PacketType,
    body: &mut Reader<'_>,
    version: Version,
    sender: Sender,
) -> Result<Ack, Fault> {
    let id = body.packet_id()?;
    // Without a reason it is success, and without a property length there are no properties
    // (MQTT 5.0, sections 3.4.2.1 and 3.4.2.2.1).
    if !version.is_v5() || body.is_empty() {
        return Ok(Ack::new(id, Reason::Success));
    }
    let reason = reason::checked(body.u8()?, packet_type, sender)?;
    if body.is_empty() && !plant::is_on(Plant::ShortAckRefused) {
        return Ok(Ack::new(id, reason));
    }
    let details = property::details(body)?;
    let details = (details != Details::default()).then(|| Box::new(details));
    Ok(Ack { id, reason, details })
}

/// All after the fixed header, as short as it can be.
pub(super) fn encode(ack: &Ack, version: Version, out: &mut dyn Sink) {
    out.u16(ack.id.get());
    if !version.is_v5() || ack.reason == Reason::Success && ack.details.is_none() {
        return;
    }
    out.u8(ack.reason.code());
    if let Some(details) = &ack.details {
        property::write_list(out, &|list| write_details(details, list));
    }
}
