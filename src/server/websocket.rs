//! MQTT in the frames of WebSocket (MQTT 5.0, section 6): bytes on one side, frames on the
//! other.
//!
//! How packets are cut into frames means nothing [MQTT-6.0.0-2], and no frame is held until it
//! is whole: `websocket/frames.rs` takes them apart. Pings are answered; anything but binary data
//! ends the connection [MQTT-6.0.0-1]. There is no compression.

mod frames;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use self::frames::{End, Frames};
use super::transport::Rewound;
use crate::plant::{self, Plant};

/// The names of MQTT as a subprotocol, the preferred one first; the second is that of 3.1.
/// [MQTT-6.0.0-3]
const PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
/// Bytes of data in one frame to a client.
const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Reads without data in one turn.
const EMPTY_READS_MAX: usize = 4;
/// Bytes of the longest request to upgrade.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// The end of a request without a body (RFC 9112, section 2.1).
const HEAD_END: &[u8] = b"\r\n\r\n";
/// Why a request is answered with 400.
const NO_UPGRADE: &str = "only upgrades to WebSocket, of at most 8 KiB, are answered here";
const NO_MQTT: &str = "the WebSocket subprotocol must be mqtt";
/// Time for a client to take such an answer.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Where proxies write whom they speak for.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Bytes of memory that a connection keeps for frames when none waits.
const KEPT_BYTES_MAX: usize = 1_024;

/// A stream of bytes in the frames of a WebSocket.
pub(super) struct WebSocket<S> {
    stream: S,
    incoming: Frames,
    /// What the stream below has not taken yet: whole frames, but for the first.
    outgoing: BytesMut,
    /// Our goodbye is among what was sent.
    has_said_goodbye: bool,
}

/// Answers the upgrade, or anything else with 400. Beside the stream, the values of
/// `X-Forwarded-For`, which anybody can have written.
///
/// # Errors
/// It is no upgrade to MQTT, its head is too long, or the connection failed.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
) -> io::Result<(WebSocket<Rewound<S>>, Vec<String>)> {
    let read = read_head(&mut stream).await?;
    let upgrade = match read {
        Some((head, rest)) => upgrade(&head).map(|upgrade| (upgrade, rest)),
        None => Err(NO_UPGRADE),
    };
    let (Upgrade { answer, forwarded }, rest) = match upgrade {
        Ok(upgrade) => upgrade,
        Err(cause) => {
            refuse(&mut stream, cause).await;
            return Err(io::Error::new(io::ErrorKind::InvalidData, cause));
        }
    };
    stream.write_all(&answer).await?;
    stream.flush().await?;
    let stream = Rewound::new(rest, stream);
    let (incoming, outgoing) = (Frames::default(), BytesMut::new());
    Ok((WebSocket { stream, incoming, outgoing, has_said_goodbye: false }, forwarded))
}

/// What an upgrade is answered with, and for whom it says that it speaks.
struct Upgrade {
    answer: Vec<u8>,
    forwarded: Vec<String>,
}

/// Reads the request, in however many pieces it comes, and what comes behind it. None if it is no
/// request to upgrade, or too long for one.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<(Bytes, Bytes)>> {
    let mut head = BytesMut::with_capacity(1_024);
    loop {
        let seen = head.len().saturating_sub(HEAD_END.len() - 1);
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = head[seen..].windows(HEAD_END.len()).position(|window| window == HEAD_END);
        let length = end.map(|end| seen + end + HEAD_END.len());
        let is_get = b"GET ".starts_with(&head[..head.len().min(4)]);
        if length.unwrap_or(head.len()) > HEAD_BYTES_MAX || !is_get {
            return Ok(None);
        }
        if let Some(length) = length {
            let rest = head.split_off(length);
            return Ok(Some((head.freeze(), rest.freeze())));
        }
        head.reserve(1_024);
    }
}

/// What a request is answered with; if it is no upgrade to MQTT, why not.
fn upgrade(head: &[u8]) -> Result<Upgrade, &'static str> {
    let (_, request) = Request::try_parse(head).ok().flatten().ok_or(NO_UPGRADE)?;
    if !request.headers().get(header::SEC_WEBSOCKET_KEY).is_some_and(is_key) {
        return Err(NO_UPGRADE);
    }
    let mut response = create_response(&request).map_err(|_| NO_UPGRADE)?;
    let protocol = choose_protocol(&request).ok_or(NO_MQTT)?;
    let protocol = HeaderValue::from_static(protocol);
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    let mut answer = Vec::new();
    write_response(&mut answer, &response).map_err(|_| NO_UPGRADE)?;
    let values = request.headers().get_all(FORWARDED_FOR).into_iter();
    // Whatever the client wrote there itself: what its proxy added stands behind it.
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let forwarded = values.map(text).collect();
    Ok(Upgrade { answer, forwarded })
}

/// Whether this stands for 16 bytes in base64 (RFC 6455, section 4.2.1).
fn is_key(value: &HeaderValue) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let digits = value.as_bytes().strip_suffix(b"==");
    digits.is_some_and(|digits| digits.len() == 22 && digits.iter().all(is_digit))
}

/// The first of MQTT's names that the client offers, in whatever order it has them.
/// [MQTT-6.0.0-4]
fn choose_protocol(request: &Request) -> Option<&'static str> {
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let offers = offers.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    let offers: Vec<&str> = offers.map(str::trim).collect();
    PROTOCOLS.into_iter().find(|name| offers.contains(name))
}

/// Says no, and which version of WebSocket there is (RFC 6455, section 4.4), and reads on for a
/// moment: a close with input unread is a reset, which could take the
/// answer away from the client.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, cause: &str) {
    let length = cause.len() + 1;
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nSec-WebSocket-Version: 13\r\n\
         Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{cause}\n"
    );
    let refused = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut unread = BytesMut::with_capacity(1_024);
        while stream.read_buf(&mut unread).await? > 0 {
            unread.clear();
            yield_now().await; // however fast it sends
        }
        io::Result::Ok(())
    };
    // It fails only for who is gone, or for who takes too long.
    let _ = timeout(REFUSAL_TIMEOUT, refused).await;
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Puts a frame behind what waits, with so many bytes of these.
    fn push(&mut self, opcode: OpCode, slices: &[io::IoSlice<'_>], count: usize) {
        let header = FrameHeader { opcode, ..FrameHeader::default() };
        let length = count as u64;
        self.outgoing.reserve(header.len(length) + count);
        let written = header.format(length, &mut (&mut self.outgoing).writer());
        written.expect("memory takes all");
        let mut left = count;
        for slice in slices {
            let part = slice.len().min(left);
            self.outgoing.extend_from_slice(&slice[..part]);
            left -= part;
        }
    }

    fn push_control(&mut self, kind: Control, payload: &[u8]) {
        self.push(OpCode::Control(kind), &[io::IoSlice::new(payload)], payload.len());
    }

    /// Says goodbye, unless that is done.
    fn push_goodbye(&mut self, code: Option<CloseCode>) {
        if !std::mem::replace(&mut self.has_said_goodbye, true) {
            let code = code.map(|code| u16::from(code).to_be_bytes());
            let payload = code.as_ref().map_or(&[][..], |code| code);
            self.push_control(Control::Close, payload);
        }
    }

    /// Has the stream below take what waits. An answer to a ping waits behind that, one at most.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.outgoing.is_empty() {
                let polled = Pin::new(&mut self.stream).poll_write(context, &self.outgoing);
                match ready!(polled)? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => self.outgoing.advance(count),
                }
            }
            if self.outgoing.capacity() > KEPT_BYTES_MAX {
                self.outgoing = BytesMut::new();
            }
            match self.incoming.take_ping().filter(|_| !self.has_said_goodbye) {
                Some(payload) => self.push_control(Control::Pong, &payload),
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Hands on what the stream below takes now; the rest is tried again with the next read or
    /// write.
    fn drain(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.poll_drain(context) {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(()),
        }
    }

    /// Reads and forgets what comes behind frames that make no sense, until the peer has ended.
    fn poll_unread(
        &mut self,
        buffer: &mut ReadBuf<'_>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        for _ in 0..EMPTY_READS_MAX {
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            if buffer.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            buffer.set_filled(before);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Answers what ends the connection.
    fn end(&mut self, end: End, context: &mut Context<'_>) -> io::Result<()> {
        match end {
            End::Closed(code) => {
                let none = plant::is_on(Plant::NoCodeEchoed).then_some(CloseCode::Status);
                self.push_goodbye(code.or(none));
                let _ = self.drain(context);
                Ok(())
            }
            End::Broken(code) => {
                self.push_goodbye(Some(code));
                let _ = self.drain(context);
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        for _ in 0..EMPTY_READS_MAX {
            // Whoever takes nothing any more may still have sent something.
            let _ = this.drain(context);
            match this.incoming.end() {
                Some(End::Broken(_)) if this.has_said_goodbye => {
                    return this.poll_unread(buffer, context);
                }
                Some(end) => return Poll::Ready(this.end(end, context)),
                None => {}
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            let came = &mut buffer.filled_mut()[before..];
            if came.is_empty() {
                return Poll::Ready(Ok(())); // without a goodbye
            }
            let count = this.incoming.take(came);
            buffer.set_filled(before + count);
            if count > 0 {
                return Poll::Ready(Ok(()));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(context))?;
        if self.has_said_goodbye {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let all: usize = slices.iter().map(|slice| slice.len()).sum();
        let count = all.min(FRAME_BYTES_MAX);
        if count > 0 {
            self.push(OpCode::Data(Data::Binary), slices, count);
            self.drain(context)?;
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Says goodbye. The stream below ends behind the peer's answer: until that is here, what is
    /// not in a frame any more cannot be half-closed.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.push_goodbye(Some(CloseCode::Normal));
        ready!(self.as_mut().poll_flush(context))?;
        match self.incoming.end() {
            Some(_) => Pin::new(&mut self.stream).poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }
}
