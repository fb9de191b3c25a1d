//! The frames of WebSocket that a client sends (RFC 6455, section 5): sound ones, and those that
//! none may send.

use crate::dice::Dice;

pub(super) const CONTINUED: u8 = 0;
const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;
pub(super) const FINAL: u8 = 0x80;
/// Bytes that a ping says at most (section 5.5).
pub(super) const CONTROL_BYTES_MAX: usize = 125;
/// What is in a frame that is broken: MQTT that is not, so that it shows if it is taken.
const PINGREQ: &[u8] = &[0xC0, 0];

/// A masked frame.
pub(super) fn frame(first: u8, payload: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    let mask = (dice.below(1 << 32) as u32).to_be_bytes();
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Codes with which they are answered (section 7.4.1): it breaks the protocol, or is of a type or
/// a size that the other end does not take.
const PROTOCOL_ERROR: u16 = 1_002;
const UNACCEPTABLE: u16 = 1_003;
const TOO_BIG: u16 = 1_009;

/// A frame that no client may send, and the codes with one of which it is to be answered. In a
/// message that goes on others are wrong than before one.
pub(super) fn broken(is_in_message: bool, dice: &mut Dice) -> (Vec<u8>, &'static [u16]) {
    let (kind, is_first) = (dice.below(10), !is_in_message);
    let due: &[u16] = match kind {
        0 | 1 if is_first => &[UNACCEPTABLE],
        // There it is also not what should follow.
        0 | 1 => &[UNACCEPTABLE, PROTOCOL_ERROR],
        9 => &[PROTOCOL_ERROR, TOO_BIG],
        _ => &[PROTOCOL_ERROR],
    };
    (broken_so(kind, is_in_message, dice), due)
}

fn broken_so(kind: u64, is_in_message: bool, dice: &mut Dice) -> Vec<u8> {
    let (right, wrong) = if is_in_message { (CONTINUED, BINARY) } else { (BINARY, CONTINUED) };
    let right = FINAL | right;
    match kind {
        0 | 1 => frame(FINAL | TEXT, PINGREQ, dice), // [MQTT-6.0.0-1]
        2 => frame(right | dice.one_of(&[0x40, 0x20, 0x10]), PINGREQ, dice), // nobody asked for that
        3 => frame(FINAL | dice.one_of(&[3, 7, 11, 15]), PINGREQ, dice),
        4 => frame(dice.one_of(&[PING, PONG]), b"in parts", dice),
        5 => frame(FINAL | dice.one_of(&[PING, PONG]), &[0; CONTROL_BYTES_MAX + 1], dice),
        // It is not masked.
        6 => [&[right, PINGREQ.len() as u8][..], PINGREQ].concat(),
        7 | 8 => frame(FINAL | wrong, PINGREQ, dice),
        // It would never end: no length has a bit so high.
        _ => [&[right, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0][..], PINGREQ].concat(),
    }
}
