//! What a client may not send, whatever came before: for each the broker must close the
//! connection (MQTT 5.0, section 4.13).

use stormpetrel::mqtt::types::Reason;

use crate::dice::Dice;
use crate::scenario::ProtocolVersion;

/// In every version.
const ALWAYS: &[&[u8]] = &[
    b"\x00\x00",                         // reserved type
    b"\x30\xFF\xFF\xFF\xFF",             // a length that does not end
    b"\x36\x07\x00\x01a\x00\x05\x00x",   // QoS 3
    b"\xC1\x00",                         // flags of PINGREQ
    b"\xC0\x01\x00",                     // PINGREQ with contents
    b"\xD0\x00",                         // PINGRESP
    b"\x20\x02\x00\x00",                 // CONNACK
    b"\xB0\x02\x00\x01",                 // UNSUBACK
    b"\x30\x03\x00\x05a",                // a topic that is longer than the packet
    b"\x30\x01\x00",                     // half a length
    b"\x30\x06\x00\x03a/+\x00",          // + in a topic
    b"\x30\x04\x00\x01#\x00",            // # in a topic
    b"\x30\x05\x00\x02a\x00\x00",        // NUL in a topic
    b"\x30\x05\x00\x02\xC3\x28\x00",     // no UTF-8
    b"\x30\x05\x00\x02\xC0\xAF\x00",     // UTF-8 that is longer than it needs
    b"\x30\x06\x00\x03\xED\xA0\x80\x00", // half of a surrogate pair
    b"\x32\x06\x00\x01a\x00\x00\x00",    // QoS 1 with packet id 0
    b"\x34\x06\x00\x01a\x00\x00\x00",    // QoS 2 with packet id 0
    b"\x32\x03\x00\x01a",                // QoS 1 without packet id
    b"\x41\x02\x00\x07",                 // flags of PUBACK
    b"\x40\x02\x00\x00",                 // PUBACK for packet id 0
    b"\x40\x01\x00",                     // half a packet id
    b"\x51\x02\x00\x07",                 // flags of PUBREC
    b"\x50\x02\x00\x00",                 // PUBREC for packet id 0
    b"\x60\x02\x00\x07",                 // flags of PUBREL
    b"\x62\x02\x00\x00",                 // PUBREL for packet id 0
    b"\x72\x02\x00\x07",                 // flags of PUBCOMP
    b"\x70\x02\x00\x00",                 // PUBCOMP for packet id 0
    b"\xE1\x00",                         // flags of DISCONNECT
    b"\x38\x05\x00\x01a\x00x",           // DUP at QoS 0
];

/// In 3.1 and 3.1.1.
const BEFORE_5: &[&[u8]] = &[
    b"\x30\x02\x00\x00",                     // no topic
    b"\x40\x03\x00\x07\x00",                 // PUBACK with a reason
    b"\x62\x03\x00\x07\x00",                 // PUBREL with a reason
    b"\x80\x06\x00\x07\x00\x01a\x00",        // flags of SUBSCRIBE
    b"\x82\x06\x00\x00\x00\x01a\x00",        // SUBSCRIBE with packet id 0
    b"\x82\x02\x00\x07",                     // SUBSCRIBE without filters
    b"\x82\x05\x00\x07\x00\x01a",            // a filter without QoS
    b"\x82\x06\x00\x07\x00\x01a\x03",        // a filter with QoS 3
    b"\x82\x06\x00\x07\x00\x01a\x04",        // No Local is of 5.0
    b"\x82\x06\x00\x07\x00\x01a\x80",        // a reserved bit
    b"\x82\x07\x00\x07\x00\x02\xC3\x28\x00", // a filter that is no text
    b"\xA0\x05\x00\x07\x00\x01a",            // flags of UNSUBSCRIBE
    b"\xA2\x05\x00\x00\x00\x01a",            // UNSUBSCRIBE with packet id 0
    b"\xA2\x02\x00\x07",                     // UNSUBSCRIBE without filters
    b"\xE0\x01\x00",                         // DISCONNECT with a reason
    b"\xF0\x00",                             // AUTH
];

/// In 5.0.
const IN_5: &[&[u8]] = &[
    b"\x30\x03\x00\x01a",                                          // no properties
    b"\x30\x06\x00\x01a\x02\x7F\x00",                              // no such property
    b"\x30\x06\x00\x01a\x02\x01\x02",                              // a payload format of 2
    b"\x30\x06\x00\x01a\x03\x01\x00", // properties that are longer than the packet
    b"\x30\x06\x00\x01a\x02\x0B\x05", // a subscription id from a client
    b"\x30\x09\x00\x01a\x05\x18\x00\x00\x00\x01", // a will's delay
    b"\x30\x09\x00\x01a\x05\x11\x00\x00\x00\x01", // a session's expiry
    b"\x30\x07\x00\x01a\x03\x21\x00\x01", // Receive Maximum
    b"\x30\x07\x00\x01a\x03\x22\x00\x01", // Topic Alias Maximum
    b"\x30\x08\x00\x01a\x04\x08\x00\x01#", // a response topic with a wildcard
    b"\x30\x09\x00\x01a\x05\x03\x00\x02\xC3\x28", // a content type that is no text
    b"\x30\x08\x00\x01a\x04\x26\x00\x01n", // a user property without value
    b"\x30\x0B\x00\x01a\x07\x26\x00\x01\xFF\x00\x01v", // a user property whose name is no text
    b"\x30\x0B\x00\x01a\x07\x26\x00\x01n\x00\x01\x00", // NUL in its value
    b"\x30\x08\x00\x01a\x04\x08\x00\x01\xFF", // a response topic that is no text
    b"\x82\x0E\x00\x07\x07\x26\x00\x01\x00\x00\x01v\x00\x01a\x00", // NUL in one of SUBSCRIBE
    b"\x82\x0E\x00\x07\x07\x26\x00\x01n\x00\x01\xFF\x00\x01a\x00", // no text in that
    b"\x82\x08\x00\x07\x00\x00\x02\xC3\x28\x00", // a filter that is no text
    b"\xA2\x0D\x00\x07\x07\x26\x00\x01n\x00\x01\xFF\x00\x01a", // the same in UNSUBSCRIBE
    b"\xA2\x07\x00\x07\x00\x00\x02\xC3\x28", // a filter there
    b"\x40\x08\x00\x07\x00\x04\x1F\x00\x01\xFF", // PUBACK with a reason in words that are none
    b"\x62\x0B\x00\x07\x00\x07\x26\x00\x01n\x00\x01\xFF", // a user property of PUBREL
    b"\xE0\x06\x00\x04\x1F\x00\x01\xFF", // such words in DISCONNECT
    b"\xE0\x09\x00\x07\x26\x00\x01\xFF\x00\x01v", // a user property of that
    b"\x30\x07\x00\x01a\xFF\xFF\xFF\x80", // no length of properties
    b"\x40\x03\x00\x07\x01",          // PUBACK with a reason of SUBACK
    b"\x40\x03\x00\x07\x10",          // PUBACK with a reason of brokers
    b"\x40\x06\x00\x07\x00\x02\x01\x00", // PUBACK with a payload format
    b"\x50\x03\x00\x07\x92",          // PUBREC with a reason of PUBREL
    b"\x62\x03\x00\x07\x80",          // PUBREL with a reason of PUBREC
    b"\x70\x03\x00\x07\x80",          // PUBCOMP with a reason of PUBREC
    b"\x80\x07\x00\x07\x00\x00\x01a\x00", // flags of SUBSCRIBE
    b"\x82\x07\x00\x00\x00\x00\x01a\x00", // SUBSCRIBE with packet id 0
    b"\x82\x06\x00\x07\x00\x00\x01a", // a filter without options
    b"\x82\x07\x00\x07\x00\x00\x01a\x40", // a reserved bit
    b"\x82\x07\x00\x07\x00\x00\x01a\x80", // the other one
    b"\x82\x0C\x00\x07\x05\x02\x00\x00\x00\x01\x00\x01a\x00", // a message's expiry
    b"\xA0\x06\x00\x07\x00\x00\x01a", // flags of UNSUBSCRIBE
    b"\xA2\x06\x00\x00\x00\x00\x01a", // UNSUBSCRIBE with packet id 0
    b"\xA2\x08\x00\x07\x02\x0B\x01\x00\x01a", // a subscription id in UNSUBSCRIBE
    b"\xE0\x01\x01",                  // DISCONNECT with a reason of SUBACK
    b"\xE0\x01\x8B",                  // DISCONNECT with a reason of brokers
    b"\xE0\x06\x00\x04\x1C\x00\x01s", // a server reference from a client
    b"\xC0\x80\x00",                  // a length that is longer than it needs
    b"\x30\x05\x00\x01a\x80\x00",     // so is that of properties
];

/// In 5.0, where the standard says that it is a Protocol Error.
const PROTOCOL_ERRORS_IN_5: &[&[u8]] = &[
    b"\x30\x03\x00\x00\x00",                  // neither topic nor alias
    b"\x30\x08\x00\x01a\x04\x01\x00\x01\x00", // payload format twice
    b"\x30\x0E\x00\x01a\x0A\x02\x00\x00\x00\x09\x02\x00\x00\x00\x09", // expiry twice
    b"\x30\x0C\x00\x01a\x08\x03\x00\x01t\x03\x00\x01t", // content type twice
    b"\x30\x0A\x00\x01a\x06\x09\x00\x00\x09\x00\x00", // correlation data twice
    b"\x82\x03\x00\x07\x00",                  // SUBSCRIBE without filters
    b"\x82\x07\x00\x07\x00\x00\x01a\x03",     // QoS 3
    b"\x82\x07\x00\x07\x00\x00\x01a\x30",     // retain handling 3
    b"\x82\x10\x00\x07\x00\x00\x0A$share/g/a\x04", // No Local in a shared subscription
    b"\x82\x09\x00\x07\x02\x0B\x00\x00\x01a\x00", // subscription id 0
    b"\x82\x0B\x00\x07\x04\x0B\x01\x0B\x01\x00\x01a\x00", // two subscription ids
    b"\xA2\x03\x00\x07\x00",                  // UNSUBSCRIBE without filters
    b"\x40\x0C\x00\x07\x00\x08\x1F\x00\x01r\x1F\x00\x01r", // a reason in words twice
    b"\xE0\x0C\x00\x0A\x11\x00\x00\x00\x01\x11\x00\x00\x00\x01", // expiry twice
    b"\xF0\x02\x18\x00",                      // AUTH without a method
];

/// In place of CONNECT, in 3.1 and 3.1.1.
const FIRST_BEFORE_5: &[&[u8]] = &[
    b"\xC0\x00",                                                      // PINGREQ
    b"\x10\xFF\xFF\xFF\xFF",                                          // a length that does not end
    b"\x10\x0C\x00\x04MQTT\x04\x03\x00\x00\x00\x00",                  // the reserved flag
    b"\x11\x0C\x00\x04MQTT\x04\x02\x00\x00\x00\x00",                  // flags of CONNECT
    b"\x10\x0C\x00\x04MQTX\x04\x02\x00\x00\x00\x00",                  // another protocol
    b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x00\x00",              // more than there is
    b"\x10\x0B\x00\x04MQTT\x04\x02\x00\x00\x00",                      // half a client id
    b"\x10\x0C\x00\x04MQTT\x04\x22\x00\x00\x00\x00",                  // Will Retain without a will
    b"\x10\x0C\x00\x04MQTT\x04\x0A\x00\x00\x00\x00",                  // a will's QoS without a will
    b"\x10\x11\x00\x04MQTT\x04\x1E\x00\x00\x00\x00\x00\x01a\x00\x00", // a will at QoS 3
    b"\x10\x11\x00\x04MQTT\x04\x06\x00\x00\x00\x00\x00\x01#\x00\x00", // a will to a filter
    b"\x10\x0C\x00\x04MQTT\x04\x82\x00\x00\x00\x00", // no user where one is said to be
    b"\x10\x0F\x00\x04MQTT\x04\x42\x00\x00\x00\x00\x00\x01x", // a password without a user
    b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01\x00", // NUL in the client id
    b"\x10\x0C\x00\x04MQTT\x02\x02\x00\x00\x00\x00", // a version that is none
    b"\x10\x0C\x00\x04MQTT\x84\x02\x00\x00\x00\x00", // how bridges say 3.1.1
];

/// In place of CONNECT, in 5.0.
const FIRST_IN_5: &[&[u8]] = &[
    b"\xC0\x00",                                                                  // PINGREQ
    b"\x10\x0C\x00\x04MQTT\x05\x02\x00\x00\x00\x00", // no client id in 5.0
    b"\x10\x10\x00\x04MQTT\x05\x02\x00\x00\x03\x21\x00\x00\x00\x00", // Receive Maximum 0
    b"\x10\x12\x00\x04MQTT\x05\x02\x00\x00\x05\x27\x00\x00\x00\x00\x00\x00", // no packet fits
    b"\x10\x0F\x00\x04MQTT\x05\x02\x00\x00\x02\x17\x02\x00\x00", // neither yes nor no
    b"\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x04\x17\x01\x17\x01\x00\x00", // said twice
    b"\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x04\x16\x00\x01x\x00\x00", // data without a method
    b"\x10\x0F\x00\x04MQTT\x05\x02\x00\x00\x02\x01\x00\x00\x00", // a payload format
    b"\x10\x14\x00\x04MQTT\x05\x02\x00\x00\x07\x26\x00\x01n\x00\x01\xFF\x00\x00", // no text
    b"\x10\x18\x00\x04MQTT\x05\x06\x00\x00\x00\x00\x00\x05\x03\x00\x02\xC3\x28\x00\x01a\x00\x00", // of a will
    b"\x10\x0D\x00\x04MQTT\x06\x02\x00\x00\x00\x00\x00", // a version that is not known
];

/// In place of CONNECT, in 5.0: well formed, and with an authentication method that nobody knows.
const UNKNOWN_METHOD: &[u8] = b"\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x04\x15\x00\x01x\x00\x00";

/// One of what may not come first.
pub(crate) fn malformed_first(version: ProtocolVersion, dice: &mut Dice) -> &'static [u8] {
    match version.is_v5() {
        true if dice.chance(100) => UNKNOWN_METHOD,
        true => dice.one_of(FIRST_IN_5),
        false => dice.one_of(FIRST_BEFORE_5),
    }
}

/// One of them, and the reason for which a connection is closed, if the standard leaves no choice.
pub(crate) fn malformed(
    version: ProtocolVersion,
    dice: &mut Dice,
) -> (&'static [u8], Option<Reason>) {
    let tables = tables(version);
    let many: usize = tables.iter().map(|(table, _)| table.len()).sum();
    let place = dice.below(many as u64) as usize;
    let mut all =
        tables.iter().flat_map(|&(table, reason)| table.iter().map(move |&it| (it, reason)));
    all.nth(place).expect("it is below their number")
}

fn tables(version: ProtocolVersion) -> [(&'static [&'static [u8]], Option<Reason>); 3] {
    match version.is_v5() {
        true => [(ALWAYS, None), (IN_5, None), (PROTOCOL_ERRORS_IN_5, Some(Reason::ProtocolError))],
        false => [(ALWAYS, None), (BEFORE_5, None), (&[], None)],
    }
}

/// All of what may not come first.
#[cfg(test)]
pub(super) fn all_first() -> impl Iterator<Item = &'static [u8]> {
    FIRST_BEFORE_5.iter().chain(FIRST_IN_5).copied()
}

/// All of what may not come later.
#[cfg(test)]
pub(super) fn all(version: ProtocolVersion) -> impl Iterator<Item = &'static [u8]> {
    tables(version).into_iter().flat_map(|(table, _)| table).copied()
}
