//! What lies between a client's MQTT and the network, as the client has it: TLS, WebSocket, both,
//! or a header of the PROXY protocol.
//!
//! Bytes in, bytes out: `wire.rs` carries them. Written by another hand than the broker's; cuts
//! what is sent into records and frames of any size, with empty frames and pings in between.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, Write};
use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use tokio_rustls::rustls::{ClientConnection, Error as RustlsError};

use super::frames::{self, BINARY, CLOSE, CONTINUED, CONTROL_BYTES_MAX, FINAL, PING, PONG, frame};
use crate::access::address_of;
use crate::cryptography::{Shows, TlsClients};
use crate::dice::Dice;
use crate::history::What;
use crate::proxies::{self, hidden_at};
use crate::transport::{Certificate, Transport, is_blameless_close};

/// The request to upgrade, but for its end, with the key of RFC 6455's example.
const UPGRADE: &str = "GET /mqtt HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// What a stranger asks for whose MQTT travels in nothing else: to be let in without a name.
const CONNECT: &[u8] = b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0";
/// What it is to carry, as a list of one or several, and which of them the broker has to choose.
/// [MQTT-6.0.0-3], [MQTT-6.0.0-4]
const OFFERS: [(&str, &str); 6] = [
    ("mqtt", "mqtt"),
    ("x\r\nSec-WebSocket-Protocol: mqtt", "mqtt"),
    ("x, mqtt", "mqtt"),
    ("mqtt,x", "mqtt"),
    ("mqttv3.1", "mqttv3.1"),
    ("mqttv3.1, mqtt", "mqtt"),
];
/// Requests that must be refused: what they are to carry is not said, or not MQTT.
const FOREIGN: [&str; 4] = [
    "",
    "Sec-WebSocket-Protocol: x\r\n",
    "Sec-WebSocket-Protocol: mqtt5\r\n",
    "Sec-WebSocket-Protocol: x, MQTT3\r\n",
];
/// How such an answer begins.
const REFUSAL: &str = "HTTP/1.1 400 ";
/// Bytes by which requests differ, at most: wherever the network cuts them, it cuts the end of some.
const AGENT_BYTES_MAX: u64 = 40;
/// Bytes of the cookies of those who have some, at most: browsers send them along, and more of them
/// than a broker reads of a request at once.
const COOKIE_BYTES_MAX: u64 = 2_500;
/// What must be in the answer, beside the subprotocol: the first line, the key's digest.
const ANSWER: [&str; 2] = ["HTTP/1.1 101 ", "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="];
/// Bytes that TLS puts into one record at most (RFC 8446, section 5.1).
const RECORD_BYTES_MAX: usize = 1 << 14;

/// The layers of one connection.
pub(super) struct Layers {
    /// Who begins TLS, and whether with 1.3: on the client's host, which has the time.
    begins: Option<(TlsClients, bool)>,
    /// Who knows the broker's certificates, until it was asked which one was shown.
    looks: Option<TlsClients>,
    shows: Shows,
    tls: Option<Box<ClientConnection>>,
    websocket: Option<WebSocket>,
    is_proxied: bool,
    /// A proxy speaks for a client that nobody else knows.
    is_hidden: bool,
    /// Where that is, once it is connected; or where it is not, and says that it is.
    origin: Option<SocketAddr>,
    /// The header that is still to be sent.
    header: Option<Vec<u8>>,
    dice: Dice,
    /// What pings said that nobody has answered.
    pings: VecDeque<Vec<u8>>,
    pinged: u8,
    /// A stranger has asked to be let in.
    has_tried: bool,
    /// The broker has closed TLS.
    has_alert: bool,
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers").field("is_over", &self.is_over()).finish_non_exhaustive()
    }
}

/// A client's end of a WebSocket.
#[derive(Debug, Default)]
struct WebSocket {
    has_asked: bool,
    /// It asks for what is not MQTT.
    is_foreign: bool,
    /// The subprotocol that the broker has to choose.
    chosen: &'static str,
    is_upgraded: bool,
    /// What is read and no whole frame yet.
    unread: BytesMut,
    /// A message that was begun goes on.
    is_in_message: bool,
    /// A frame was sent that no client may send, to be answered with one of these: nothing behind
    /// it is heard.
    due: &'static [u16],
    /// After so many bytes of MQTT comes a frame that no client may send.
    breaks_after: Option<usize>,
    /// The broker has said goodbye.
    has_ended: bool,
    /// What it said in it, until it was asked for that.
    goodbye: Option<BytesMut>,
    /// And more behind that.
    has_gone_on: bool,
    pongs: Vec<Vec<u8>>,
}

impl Layers {
    /// Of a connection that is being opened; none if there are none.
    pub(super) fn new(
        transport: Transport,
        is_hidden: bool,
        clients: Option<&TlsClients>,
        mut dice: Dice,
    ) -> Option<Layers> {
        if transport == Transport::Tcp {
            return None;
        }
        let is_new_version = dice.chance(700);
        let clients = clients.filter(|_| transport.is_encrypted());
        Some(Layers {
            begins: clients.map(|clients| (clients.clone(), is_new_version)),
            looks: clients.cloned(),
            shows: Shows::Certificate,
            tls: None,
            websocket: transport.is_websocket().then(WebSocket::default),
            is_proxied: transport == Transport::Proxied,
            is_hidden,
            origin: None,
            header: None,
            dice,
            pings: VecDeque::new(),
            pinged: 0,
            has_tried: false,
            has_alert: false,
        })
    }

    /// The connection is there, from that address.
    pub(super) fn connected(&mut self, client: SocketAddr) {
        self.origin = self.is_hidden.then(|| hidden_at(client));
        let origin = self.origin.unwrap_or(client);
        let may_be_silent = !self.is_hidden;
        self.header =
            self.is_proxied.then(|| proxies::header(origin, may_be_silent, &mut self.dice));
        if !self.is_hidden && self.websocket.is_some() && self.dice.chance(400) {
            // There is no proxy, and nobody is to believe that.
            let elsewhere = address_of(self.dice.below(3) as usize);
            self.origin = Some(SocketAddr::new(elsewhere, client.port()));
        }
    }

    /// Whether MQTT passes.
    pub(super) fn is_open(&self) -> bool {
        let is_shaking = self.tls.as_ref().is_some_and(|tls| tls.is_handshaking());
        let is_shaking = is_shaking || self.begins.is_some();
        !is_shaking && self.websocket.as_ref().is_none_or(|websocket| websocket.is_upgraded)
    }

    /// Which certificate the broker has shown, once.
    pub(super) fn take_shown(&mut self) -> Option<Certificate> {
        let shown = self.looks.as_ref()?.shown(self.tls.as_ref()?)?;
        self.looks = None;
        Some(shown)
    }

    /// How the broker has closed the WebSocket, once.
    ///
    /// # Errors
    /// None may say goodbye so (RFC 6455, section 5.5.1): in words.
    pub(super) fn take_goodbye(&mut self) -> Result<Option<What>, String> {
        let Some(websocket) = &mut self.websocket else { return Ok(None) };
        let Some(said) = websocket.goodbye.take() else { return Ok(None) };
        let code = match &said[..] {
            [] => None,
            [high, low, why @ ..] if std::str::from_utf8(why).is_ok() => {
                Some(u16::from_be_bytes([*high, *low]))
            }
            _ => return Err(format!("a Close frame that says {said:?}")),
        };
        Ok(Some(What::SaidGoodbye { code, due: websocket.due.into() }))
    }

    /// What is wrong with the broker's answer to its client's goodbye, in words.
    pub(super) fn misspoken(&mut self) -> Option<String> {
        match self.take_goodbye() {
            Ok(Some(What::SaidGoodbye { code: Some(code), due })) => {
                let is_wrong = due.is_empty() && !is_blameless_close(code);
                is_wrong.then(|| format!("code {code}"))
            }
            Ok(_) => None,
            Err(words) => Some(words),
        }
    }

    /// Whether a ping has not been answered.
    pub(super) fn awaits_pong(&self) -> bool {
        !self.pings.is_empty()
    }

    /// Whether nothing more comes.
    pub(super) fn is_over(&self) -> bool {
        self.has_alert || self.websocket.as_ref().is_some_and(|it| it.has_ended)
    }

    /// Whether the broker owes a goodbye.
    pub(super) fn awaits_goodbye(&self) -> bool {
        let owes = |it: &WebSocket| it.is_upgraded && !it.has_ended && it.due.is_empty();
        self.websocket.as_ref().is_some_and(owes)
    }

    /// Whether the broker sent something behind its goodbye (RFC 6455, section 5.5.1).
    pub(super) fn has_gone_on(&self) -> bool {
        self.websocket.as_ref().is_some_and(|it| it.has_gone_on)
    }

    /// Wraps what is to be sent, if it may pass already, and whatever else is due.
    pub(super) fn wrap(&mut self, plain: &mut BytesMut, raw: &mut BytesMut) {
        if let Some((clients, is_new_version)) = self.begins.take() {
            self.tls = Some(Box::new(clients.connect(is_new_version, self.shows)));
        }
        self.flush(raw);
        if self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            return;
        }
        if self.is_stranger()
            && self.websocket.is_none()
            && !std::mem::replace(&mut self.has_tried, true)
        {
            self.emit(CONNECT, raw);
        }
        if let Some(websocket) = &mut self.websocket
            && !std::mem::replace(&mut websocket.has_asked, true)
        {
            let agent = "x".repeat(self.dice.below(AGENT_BYTES_MAX) as usize);
            let (offer, chosen) = self.dice.one_of(&OFFERS);
            websocket.chosen = chosen;
            let mut offer = format!("Sec-WebSocket-Protocol: {offer}\r\n");
            if websocket.is_foreign {
                offer = self.dice.one_of(&FOREIGN).to_owned();
            }
            let cookie = self.cookie();
            let origin = self.origin.map(|origin| proxies::forwarded_for(origin, &mut self.dice));
            let origin = origin.unwrap_or_default();
            let request = format!("{UPGRADE}{offer}{cookie}{origin}User-Agent: {agent}\r\n\r\n");
            // In two parts, so that a part of the second may not fit where the first one did.
            let first = self.dice.below(request.len() as u64) as usize;
            self.emit(&request.as_bytes()[..first], raw);
            self.emit(&request.as_bytes()[first..], raw);
        }
        let pongs = self.websocket.as_mut().map(|websocket| std::mem::take(&mut websocket.pongs));
        for payload in pongs.into_iter().flatten() {
            self.emit_control(PONG, &payload, raw);
        }
        if !plain.is_empty() {
            // Whoever has nothing to say is not announced.
            raw.extend(self.header.take().unwrap_or_default());
        }
        if !self.is_open() {
            return;
        }
        let breaks_after = self.websocket.as_mut().and_then(|it| it.breaks_after.take());
        if let Some(bytes) = breaks_after {
            let mut sound = plain.split_to(bytes);
            self.emit_pieces(&mut sound, raw);
            self.emit_broken(raw);
        }
        self.emit_pieces(plain, raw);
    }

    /// Whether the broker must not let it in, whatever it asks for.
    fn is_stranger(&self) -> bool {
        self.shows != Shows::Certificate
    }

    /// Has a frame that no client may send follow what is to be sent, of which there are so many
    /// bytes, if MQTT travels in frames; or has it ask for what is not MQTT, or shake hands as one
    /// whom the broker does not believe. Whether it does so.
    pub(super) fn break_after(&mut self, bytes: usize) -> bool {
        if self.begins.is_some() && bytes == 0 && self.dice.chance(300) {
            self.shows = self.dice.one_of(&[Shows::Forgery, Shows::Nothing]);
            return true;
        }
        if let Some(websocket) = self.websocket.as_mut().filter(|it| !it.has_asked && bytes == 0) {
            websocket.is_foreign = self.dice.chance(300);
            return websocket.is_foreign;
        }
        let is_open = self.is_open();
        let Some(websocket) = self.websocket.as_mut().filter(|_| is_open) else { return false };
        if websocket.breaks_after.is_none() && self.dice.chance(800) {
            websocket.breaks_after = Some(bytes);
        }
        websocket.breaks_after.is_some()
    }

    fn emit_pieces(&mut self, plain: &mut BytesMut, raw: &mut BytesMut) {
        while !plain.is_empty() {
            let bytes = plain.len() as u64;
            let most = if self.dice.chance(300) { bytes.min(12) } else { bytes };
            let count = if self.dice.chance(500) { bytes } else { self.dice.between(1, most) };
            let piece = plain.split_to(count as usize);
            self.emit_data(&piece, raw);
        }
    }

    fn emit_broken(&mut self, raw: &mut BytesMut) {
        let Some(websocket) = &mut self.websocket else { return };
        let mut bytes = Vec::new();
        if !websocket.is_in_message && self.dice.chance(500) {
            // Within a message others are wrong than before one.
            bytes = frame(BINARY, b"", &mut self.dice);
            websocket.is_in_message = true;
        }
        let (broken, due) = frames::broken(websocket.is_in_message, &mut self.dice);
        bytes.extend(broken);
        if websocket.due.is_empty() {
            websocket.due = due; // nothing behind the first is looked at
        }
        self.emit(&bytes, raw);
    }

    /// A header of its own, if there is one.
    fn cookie(&mut self) -> String {
        if !self.dice.chance(400) {
            return String::new();
        }
        let bytes = self.dice.between(1, COOKIE_BYTES_MAX) as usize;
        format!("Cookie: a={}\r\n", "x".repeat(bytes))
    }

    /// Says goodbye, if there is anybody to say it to.
    pub(super) fn say_goodbye(&mut self, raw: &mut BytesMut) {
        if self.is_open() && self.websocket.is_some() {
            // A reason need not be given (RFC 6455, section 5.5.1).
            let said = 1_000_u16.to_be_bytes();
            let said = if self.dice.chance(300) { &[][..] } else { &said };
            self.emit_control(CLOSE, said, raw);
        }
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.flush(raw);
    }

    /// Unwraps what came.
    ///
    /// # Errors
    /// No broker may send that: in words.
    pub(super) fn unwrap(&mut self, mut came: &[u8], plain: &mut BytesMut) -> Result<(), String> {
        let is_stranger = self.is_stranger();
        let Some(tls) = &mut self.tls else {
            let bytes = came.to_vec();
            return self.unframe(&bytes, plain);
        };
        let mut decrypted = Vec::new();
        while !came.is_empty() {
            let read = tls.read_tls(&mut came).map_err(|error| error.to_string())?;
            let state = match tls.process_new_packets() {
                Err(RustlsError::AlertReceived(_)) if is_stranger => {
                    self.has_alert = true;
                    return Ok(());
                }
                state => state.map_err(|error| format!("what is no TLS: {error}"))?,
            };
            self.has_alert |= state.peer_has_closed();
            while let Ok(some) = tls.reader().fill_buf().map(<[u8]>::to_vec)
                && !some.is_empty()
            {
                tls.reader().consume(some.len());
                decrypted.extend(some);
            }
            if read == 0 {
                break;
            }
        }
        if is_stranger && !decrypted.is_empty() {
            return Err("what nobody may hear who has no certificate".to_owned());
        }
        self.unframe(&decrypted, plain)
    }

    /// Takes the data out of frames.
    fn unframe(&mut self, bytes: &[u8], plain: &mut BytesMut) -> Result<(), String> {
        let Some(websocket) = &mut self.websocket else {
            plain.extend_from_slice(bytes);
            return Ok(());
        };
        websocket.unread.extend_from_slice(bytes);
        if !websocket.is_upgraded && !websocket.read_answer()? {
            return Ok(());
        }
        while let Some((first, payload)) = websocket.next()? {
            if websocket.has_ended {
                websocket.has_gone_on = true;
                return Err(format!("a frame behind Close that begins with {first:#04x}"));
            }
            match first {
                0x82 => plain.extend_from_slice(&payload),
                0x88 => {
                    websocket.has_ended = true;
                    websocket.goodbye = Some(payload);
                }
                0x89 => websocket.pongs.push(payload.to_vec()),
                0x8A => {
                    // Who has several to answer may answer the last one only.
                    let place = self.pings.iter().position(|ping| **ping == *payload);
                    let place = place.ok_or("a pong that says what no ping said")?;
                    self.pings.drain(..=place);
                }
                other => return Err(format!("a frame that begins with {other:#04x}")),
            }
        }
        Ok(())
    }

    fn emit_data(&mut self, piece: &[u8], raw: &mut BytesMut) {
        let Some(websocket) = &mut self.websocket else {
            return self.emit(piece, raw);
        };
        let is_last = self.dice.chance(700);
        let kind = if websocket.is_in_message { CONTINUED } else { BINARY };
        websocket.is_in_message = !is_last;
        let first = if is_last { FINAL | kind } else { kind };
        let data = frame(first, piece, &mut self.dice);
        self.emit(&data, raw);
        if !is_last && self.dice.chance(200) {
            let end = frame(FINAL | CONTINUED, b"", &mut self.dice);
            self.emit(&end, raw);
            if let Some(websocket) = &mut self.websocket {
                websocket.is_in_message = false;
            }
        }
        if self.dice.chance(100) {
            if self.dice.chance(300) {
                self.emit_control(PONG, b"nobody asked", raw); // RFC 6455, section 5.5.3
            }
            let many = self.dice.one_of(&[1, 1, 1, 6]);
            (0..many).for_each(|_| self.ping(raw));
        }
    }

    fn ping(&mut self, raw: &mut BytesMut) {
        // Says something else than those before it, so that it is known which one is answered.
        self.pinged = self.pinged.wrapping_add(1);
        let least = usize::from(!self.pings.is_empty());
        let length = self.dice.one_of(&[least, 1, 1, 4, CONTROL_BYTES_MAX]);
        let said = vec![self.pinged; length];
        self.emit_control(PING, &said, raw);
        self.pings.push_back(said);
    }

    fn emit_control(&mut self, kind: u8, payload: &[u8], raw: &mut BytesMut) {
        let frame = frame(FINAL | kind, payload, &mut self.dice);
        self.emit(&frame, raw);
    }

    /// Puts bytes on their way, in records if there are such.
    fn emit(&mut self, bytes: &[u8], raw: &mut BytesMut) {
        let Some(tls) = &mut self.tls else { return raw.extend_from_slice(bytes) };
        let mut sent = 0;
        while sent < bytes.len() {
            // One record at a time, each of any size.
            let left = (bytes.len() - sent).min(RECORD_BYTES_MAX);
            let some = self.dice.between(1, left as u64) as usize;
            let count = if self.dice.chance(200) { some } else { left };
            tls.writer().write_all(&bytes[sent..sent + count]).expect("memory takes all");
            sent += count;
            write(tls, raw);
        }
    }

    /// Puts on its way what TLS has to say for itself.
    fn flush(&mut self, raw: &mut BytesMut) {
        if let Some(tls) = &mut self.tls {
            write(tls, raw);
        }
    }
}

/// Takes what TLS has to send.
fn write(tls: &mut ClientConnection, raw: &mut BytesMut) {
    let mut out = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut out).expect("memory takes all");
    }
    raw.extend_from_slice(&out);
}

impl WebSocket {
    /// Reads the answer to the request to upgrade; whether all of it has come.
    fn read_answer(&mut self) -> Result<bool, String> {
        let end = self.unread.windows(4).position(|window| window == b"\r\n\r\n");
        let Some(end) = end else { return Ok(false) };
        let head = String::from_utf8_lossy(&self.unread.split_to(end + 4)).into_owned();
        let lower = head.to_lowercase();
        if self.is_foreign {
            self.has_ended = head.starts_with(REFUSAL);
            let said = (!self.has_ended).then(|| format!("no refusal: {head:?}"));
            return said.map_or(Ok(false), Err);
        }
        let chosen = format!("sec-websocket-protocol: {}\r\n", self.chosen);
        let has = |part: &str| lower.contains(&part.to_lowercase());
        if !ANSWER.iter().all(|part| has(part)) || !has(&chosen) {
            return Err(format!("what is no upgrade: {head:?}"));
        }
        self.is_upgraded = true;
        Ok(true)
    }

    /// The next whole frame: its first byte and its payload.
    fn next(&mut self) -> Result<Option<(u8, BytesMut)>, String> {
        let [first, second, ..] = self.unread[..] else { return Ok(None) };
        let header = match second {
            126 => 4,
            127 => 10,
            0x80.. => return Err("a frame of a broker's that is masked".to_owned()),
            _ => 2,
        };
        let Some(length) = self.unread.get(2..header) else { return Ok(None) };
        let length = match length {
            [] => usize::from(second),
            bytes => bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        };
        if self.unread.len() < header + length {
            return Ok(None);
        }
        self.unread.advance(header);
        Ok(Some((first, self.unread.split_to(length))))
    }
}
