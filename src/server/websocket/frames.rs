//! WebSocket's frames (RFC 6455, section 5), taken apart as they come.
//!
//! Data is handed on where it lies, and at once: neither a frame nor a message is ever held, so
//! that what a client announces costs nothing. Only the beginning of a header and the few bytes
//! of a control frame are kept. Knows nothing of streams; `websocket.rs` reads and answers.

use std::io::Cursor;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::plant::{self, Plant};

/// Bytes of the longest header.
const HEADER_BYTES_MAX: usize = 14;
/// Bytes of the longest control frame (section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;
/// Frames of one message. Whoever cuts it smaller wants work done, not data taken.
const FRAGMENTS_MAX: u32 = 10_000;

/// Why nothing more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client said goodbye, with this code.
    Closed(Option<CloseCode>),
    /// It did what it must not, which is answered with this code.
    Broken(CloseCode),
}

/// The frames of one client.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The beginning of a header.
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    /// What the frame is whose payload is read; none: a header comes.
    current: Option<Kind>,
    /// Bytes of the payload that have not come.
    left: u64,
    /// Of the next byte and the three after it.
    mask: [u8; 4],
    /// The payload of a control frame, as far as it has come.
    control: Vec<u8>,
    /// Frames of the message that is not over; none: a new one begins.
    fragments: Option<u32>,
    /// The last ping that was not answered yet.
    ping: Option<Vec<u8>>,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Ping,
    Pong,
    Close,
}

impl Frames {
    /// Takes what came and leaves the data in it, at its beginning. Its length.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> usize {
        let (mut read, mut written) = (0, 0);
        while read < bytes.len() && self.end.is_none() {
            let Some(kind) = self.current else {
                read += self.take_header(&bytes[read..]);
                continue;
            };
            let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - read);
            unmask(&mut bytes[read..read + count], &mut self.mask);
            if kind == Kind::Data {
                bytes.copy_within(read..read + count, written);
                written += count;
            } else {
                self.control.extend_from_slice(&bytes[read..read + count]);
            }
            read += count;
            self.left -= count as u64;
            self.finish(kind);
        }
        written
    }

    /// The payload of the last ping, if it is not answered yet (section 5.5.3).
    pub(super) fn take_ping(&mut self) -> Option<Vec<u8>> {
        self.ping.take()
    }

    /// Why nothing more is read; none: more is.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// Takes bytes of a header, at most up to its end. How many.
    fn take_header(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while self.header_bytes < header_length(&self.header[..self.header_bytes]) {
            let Some(byte) = bytes.get(taken) else { return taken };
            self.header[self.header_bytes] = *byte;
            self.header_bytes += 1;
            taken += 1;
        }
        let mut header = Cursor::new(&self.header[..self.header_bytes]);
        let parsed = FrameHeader::parse(&mut header);
        self.header_bytes = 0;
        let begun = match parsed {
            Ok(Some((header, length))) => self.begin(&header, length),
            Ok(None) | Err(_) => Err(CloseCode::Protocol),
        };
        if let Err(code) = begun {
            self.end = Some(End::Broken(code));
        }
        taken
    }

    /// Begins a frame, if it may come now.
    fn begin(&mut self, header: &FrameHeader, length: u64) -> Result<(), CloseCode> {
        let is_extended = header.rsv1 || header.rsv2 || header.rsv3;
        let Some(mask) = header.mask.filter(|_| !is_extended && length >> 63 == 0) else {
            return Err(CloseCode::Protocol);
        };
        let kind = match header.opcode {
            OpCode::Data(Data::Text) if plant::is_on(Plant::TextTaken) => Kind::Data,
            OpCode::Data(Data::Text) if plant::is_on(Plant::CloseCodeOther) => {
                return Err(CloseCode::Protocol);
            }
            OpCode::Data(Data::Text) => return Err(CloseCode::Unsupported), // [MQTT-6.0.0-1]
            OpCode::Data(Data::Binary) if self.fragments.is_none() => Kind::Data,
            OpCode::Data(Data::Binary) if plant::is_on(Plant::FrameBeginsAnew) => Kind::Data,
            OpCode::Data(Data::Continue) if self.fragments.is_some() => Kind::Data,
            OpCode::Control(_) if !header.is_final || length > CONTROL_BYTES_MAX => {
                return Err(CloseCode::Protocol);
            }
            OpCode::Control(Control::Ping) => Kind::Ping,
            OpCode::Control(Control::Pong) => Kind::Pong,
            OpCode::Control(Control::Close) => Kind::Close,
            OpCode::Data(_) | OpCode::Control(_) => return Err(CloseCode::Protocol),
        };
        if kind == Kind::Data {
            let fragments = self.fragments.unwrap_or(0) + 1;
            if fragments > FRAGMENTS_MAX {
                return Err(CloseCode::Policy);
            }
            self.fragments = Some(fragments).filter(|_| !header.is_final);
        }
        (self.current, self.left, self.mask) = (Some(kind), length, mask);
        self.control.clear();
        self.finish(kind);
        Ok(())
    }

    /// Ends the frame if all of it has come.
    fn finish(&mut self, kind: Kind) {
        if self.left > 0 {
            return;
        }
        self.current = None;
        match kind {
            Kind::Ping => self.ping = Some(std::mem::take(&mut self.control)),
            Kind::Close => self.end = Some(goodbye(&self.control)),
            Kind::Data | Kind::Pong => {}
        }
    }
}

/// What a client means that says goodbye (section 5.5.1).
fn goodbye(payload: &[u8]) -> End {
    match payload {
        [] => End::Closed(None),
        [high, low, reason @ ..] => {
            let code = CloseCode::from(u16::from_be_bytes([*high, *low]));
            let is_sound = code.is_allowed() && std::str::from_utf8(reason).is_ok();
            if is_sound { End::Closed(Some(code)) } else { End::Broken(CloseCode::Protocol) }
        }
        [_] => End::Broken(CloseCode::Protocol),
    }
}

/// Bytes of the header that begins so, as far as is known.
fn header_length(beginning: &[u8]) -> usize {
    let Some(second) = beginning.get(1) else { return 2 };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    match second & 0x7F {
        126 => 4 + mask,
        127 => 10 + mask,
        _ => 2 + mask,
    }
}

/// Takes the mask off, and turns it to where the next byte begins (section 5.3).
fn unmask(bytes: &mut [u8], mask: &mut [u8; 4]) {
    let mut words = bytes.chunks_exact_mut(4);
    for word in &mut words {
        word.iter_mut().zip(&*mask).for_each(|(byte, mask)| *byte ^= mask);
    }
    let rest = words.into_remainder();
    rest.iter_mut().zip(&*mask).for_each(|(byte, mask)| *byte ^= mask);
    let turn = rest.len();
    mask.rotate_left(turn);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    const FINAL: u8 = 0x80;
    const BINARY: u8 = 2;
    const PING: u8 = FINAL | 9;

    /// A frame of a client's.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
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
        bytes.extend(MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// The data in the bytes, if they come in pieces of that size; and how it ended.
    fn taken(bytes: &[u8], piece: usize) -> (Vec<u8>, Frames) {
        let (mut data, mut frames) = (Vec::new(), Frames::default());
        for piece in bytes.chunks(piece) {
            let mut piece = piece.to_vec();
            let count = frames.take(&mut piece);
            data.extend_from_slice(&piece[..count]);
        }
        (data, frames)
    }

    #[test]
    fn data_is_the_same_however_frames_and_reads_are_cut() {
        let long: Vec<u8> = (0..70_000_u32).map(|place| place.to_le_bytes()[0]).collect();
        let bytes = [
            frame(FINAL | BINARY, b"ab"),
            frame(FINAL | BINARY, b""),
            frame(BINARY, b"cde"),
            frame(PING, b"1"),
            frame(0, &long[..300]),
            frame(PING, b"last"),
            frame(FINAL, &long),
            frame(FINAL | 10, b"a pong that nobody asked for"),
            frame(FINAL | BINARY, b"z"),
        ]
        .concat();
        let want = [&b"abcde"[..], &long[..300], &long, b"z"].concat();
        for piece in [1, 2, 3, 5, 7, 1_000, bytes.len()] {
            let (data, mut frames) = taken(&bytes, piece);
            assert!(data == want, "in pieces of {piece}");
            assert_eq!(frames.take_ping().as_deref(), Some(&b"last"[..]));
            assert_eq!((frames.take_ping(), frames.end()), (None, None));
        }
    }

    #[test]
    fn what_no_client_may_send_ends_the_connection() {
        let unmasked = vec![FINAL | BINARY, 1, b'x'];
        let endless = [&[FINAL | BINARY, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1][..], &MASK].concat();
        let good = frame(FINAL | BINARY, b"good");
        for (bytes, code) in [
            (frame(FINAL | 1, b"text"), CloseCode::Unsupported),
            (frame(1, b"text"), CloseCode::Unsupported),
            (frame(FINAL, b"goes on"), CloseCode::Protocol),
            ([frame(BINARY, b""), frame(FINAL | BINARY, b"x")].concat(), CloseCode::Protocol),
            (frame(FINAL | 0x40 | BINARY, b"deflated"), CloseCode::Protocol),
            (frame(FINAL | 3, b""), CloseCode::Protocol),
            (frame(FINAL | 11, b""), CloseCode::Protocol),
            (frame(9, b"in parts"), CloseCode::Protocol),
            (frame(PING, &[0; 126]), CloseCode::Protocol),
            (frame(FINAL | 8, b"1"), CloseCode::Protocol),
            (frame(FINAL | 8, &[0, 7]), CloseCode::Protocol),
            (frame(FINAL | 8, &[3, 232, 0xFF]), CloseCode::Protocol),
            (unmasked, CloseCode::Protocol),
            (endless, CloseCode::Protocol),
        ] {
            for piece in [1, 10_000] {
                let all = [&good[..], &bytes, &good].concat();
                let (data, frames) = taken(&all, piece);
                assert_eq!(frames.end(), Some(End::Broken(code)), "{bytes:?}");
                assert_eq!(data, b"good", "what came before counts, what comes after does not");
            }
        }
    }

    #[test]
    fn a_goodbye_is_heard_and_nothing_after_it() {
        for (payload, code) in [(&b""[..], None), (&[3, 232, b'x'], Some(CloseCode::Normal))] {
            let bytes = [frame(FINAL | 8, payload), frame(FINAL | BINARY, b"late")].concat();
            let (data, frames) = taken(&bytes, 3);
            assert_eq!((data, frames.end()), (Vec::new(), Some(End::Closed(code))));
        }
    }

    #[test]
    fn a_message_has_so_many_frames_and_no_more() {
        let most = (FRAGMENTS_MAX - 2) as usize;
        let begin = [frame(BINARY, b"x"), frame(0, b"").repeat(most)].concat();
        let whole = [&begin[..], &frame(FINAL, b"y")].concat();
        assert_eq!(taken(&whole.repeat(2), 4_096).1.end(), None);
        let more = [&begin[..], &frame(0, b"y"), &frame(FINAL, b"z")].concat();
        assert_eq!(taken(&more, 4_096).1.end(), Some(End::Broken(CloseCode::Policy)));
    }
}
