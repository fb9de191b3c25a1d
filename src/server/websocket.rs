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

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_tungstenite::accept_hdr_async_with_config;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use self::frames::{End, Frames};
use super::transport::Rewound;

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

/// Answers the upgrade. Beside the stream, the values of `X-Forwarded-For`, which anybody can
/// have written.
///
/// # Errors
/// It is no upgrade to MQTT, its head is too long, or the connection failed.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
) -> io::Result<(WebSocket<Rewound<S>>, Vec<String>)> {
    let (head, rest) = read_head(&mut stream).await?;
    // What the library keeps for frames is not used: it only shakes hands.
    let config = WebSocketConfig::default().read_buffer_size(0).write_buffer_size(0);
    let mut forwarded = Vec::new();
    #[expect(clippy::result_large_err, reason = "the type is that of the library's callback")]
    let answer = |request: &Request, response| {
        let values = request.headers().get_all(FORWARDED_FOR).into_iter();
        forwarded.extend(values.filter_map(|value| value.to_str().ok()).map(str::to_owned));
        choose_protocol(request, response)
    };
    let stream = Rewound { unread: head, stream };
    let upgraded = accept_hdr_async_with_config(stream, answer, Some(config)).await;
    let mut stream = upgraded.map_err(io_error)?.into_inner();
    stream.unread = rest;
    let outgoing = BytesMut::new();
    let websocket =
        WebSocket { stream, incoming: Frames::default(), outgoing, has_said_goodbye: false };
    Ok((websocket, forwarded))
}

/// Reads the request, in however many pieces it comes, and what comes behind it. The library
/// would take many small pieces for an attack, and much larger ones.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<(Bytes, Bytes)> {
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
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no request to upgrade"));
        }
        if let Some(length) = length {
            let rest = head.split_off(length);
            return Ok((head.freeze(), rest.freeze()));
        }
        head.reserve(1_024);
    }
}

/// Chooses the first of MQTT's names that the client offers, in whatever order it has them.
/// [MQTT-6.0.0-4]
#[expect(clippy::result_large_err, reason = "the type is that of the library's callback")]
fn choose_protocol(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let offers = offers.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    let offers: Vec<&str> = offers.map(str::trim).collect();
    let Some(chosen) = PROTOCOLS.into_iter().find(|name| offers.contains(name)) else {
        let words = "the WebSocket subprotocol must be mqtt".to_owned();
        let mut refusal = ErrorResponse::new(Some(words));
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return Err(refusal);
    };
    let value = HeaderValue::from_static(chosen);
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    Ok(response)
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::NotConnected.into(),
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
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

    /// Answers what ends the connection.
    fn end(&mut self, end: End, context: &mut Context<'_>) -> io::Result<()> {
        match end {
            End::Closed(code) => {
                self.push_goodbye(code);
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
            if let Some(end) = this.incoming.end() {
                return Poll::Ready(this.end(end, context));
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

    /// Says goodbye. What is not in a frame any more cannot be half-closed.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.push_goodbye(Some(CloseCode::Normal));
        self.poll_flush(context)
    }
}
