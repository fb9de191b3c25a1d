//! MQTT in the frames of WebSocket (MQTT 5.0, section 6): bytes on one side, messages on the
//! other.
//!
//! How packets are cut into frames means nothing [MQTT-6.0.0-2]. Pings are answered; anything
//! but binary data ends the connection [MQTT-6.0.0-1]. There is no compression.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::transport::Rewound;

/// The names of MQTT as a subprotocol; the second is that of 3.1. [MQTT-6.0.0-3]
const PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
/// Bytes of one frame to a client.
const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Frames without data that are taken in one turn.
const EMPTY_FRAMES_MAX: usize = 64;
/// Bytes of the longest request to upgrade.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// The end of a request without a body (RFC 9112, section 2.1).
const HEAD_END: &[u8] = b"\r\n\r\n";
/// Where proxies write whom they speak for.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// A stream of bytes in the frames of a WebSocket.
pub(super) struct WebSocket<S> {
    frames: WebSocketStream<S>,
    /// What is left of the last frame.
    unread: Bytes,
    /// The stream below has not taken everything yet.
    is_unflushed: bool,
}

/// Answers the upgrade. Beside the stream, the values of `X-Forwarded-For`, which anybody can
/// have written.
///
/// # Errors
/// It is no upgrade to MQTT, its head is too long, or the connection failed.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    bytes_max: usize,
) -> io::Result<(WebSocket<Rewound<S>>, Vec<String>)> {
    let unread = read_head(&mut stream).await?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(bytes_max))
        .max_frame_size(Some(bytes_max));
    let mut forwarded = Vec::new();
    #[expect(clippy::result_large_err, reason = "the type is that of the library's callback")]
    let answer = |request: &Request, response| {
        let values = request.headers().get_all(FORWARDED_FOR).into_iter();
        forwarded.extend(values.filter_map(|value| value.to_str().ok()).map(str::to_owned));
        choose_protocol(request, response)
    };
    let stream = Rewound { unread, stream };
    let upgraded = accept_hdr_async_with_config(stream, answer, Some(config)).await;
    let frames = upgraded.map_err(io_error)?;
    Ok((WebSocket { frames, unread: Bytes::new(), is_unflushed: false }, forwarded))
}

/// Reads the request, in however many pieces it comes. The library would take many small ones
/// for an attack, and much larger ones.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Bytes> {
    let mut head = BytesMut::with_capacity(1_024);
    loop {
        let seen = head.len().saturating_sub(HEAD_END.len() - 1);
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let is_whole = head[seen..].windows(HEAD_END.len()).any(|window| window == HEAD_END);
        if head.len() > HEAD_BYTES_MAX || !b"GET ".starts_with(&head[..head.len().min(4)]) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no request to upgrade"));
        }
        if is_whole {
            return Ok(head.freeze());
        }
        head.reserve(1_024);
    }
}

/// Chooses the first of the client's subprotocols that is MQTT. [MQTT-6.0.0-4]
#[expect(clippy::result_large_err, reason = "the type is that of the library's callback")]
fn choose_protocol(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let offers = offers.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    let chosen = offers.map(str::trim).find(|offer| PROTOCOLS.contains(offer));
    let Some(value) = chosen.and_then(|name| HeaderValue::from_str(name).ok()) else {
        let words = "the WebSocket subprotocol must be mqtt".to_owned();
        let mut refusal = ErrorResponse::new(Some(words));
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return Err(refusal);
    };
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
    fn frames(&mut self) -> Pin<&mut WebSocketStream<S>> {
        Pin::new(&mut self.frames)
    }

    fn push(&mut self, message: Message, context: &mut Context<'_>) -> io::Result<()> {
        self.frames().start_send(message).map_err(io_error)?;
        self.flush(context)
    }

    /// Hands on what the stream below takes now.
    fn flush(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.frames().poll_flush(context) {
            Poll::Ready(result) => {
                self.is_unflushed = false;
                result.map_err(io_error)
            }
            Poll::Pending => {
                self.is_unflushed = true;
                Ok(())
            }
        }
    }

    /// The next frame with data. None: the connection is over.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        for _ in 0..EMPTY_FRAMES_MAX {
            match ready!(self.frames().poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) if bytes.is_empty() => {}
                Some(Ok(Message::Binary(bytes))) => return Poll::Ready(Ok(Some(bytes))),
                Some(Ok(Message::Text(_))) => {
                    let reason = "MQTT is binary".into();
                    let close = CloseFrame { code: CloseCode::Unsupported, reason };
                    self.push(Message::Close(Some(close)), context)?;
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                // The answer is written already, and waits to be handed on.
                Some(Ok(_)) => self.flush(context)?,
                None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => {
                    return Poll::Ready(Ok(None));
                }
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        copy: impl FnOnce() -> Bytes,
    ) -> Poll<io::Result<usize>> {
        ready!(self.frames().poll_ready(context)).map_err(io_error)?;
        let bytes = copy();
        let count = bytes.len();
        self.push(Message::Binary(bytes), context)?;
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_unflushed {
            self.flush(context)?;
        }
        if self.unread.is_empty() {
            match ready!(self.poll_frame(context))? {
                Some(bytes) => self.unread = bytes,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..count]);
        self.unread.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = bytes.len().min(FRAME_BYTES_MAX);
        self.poll_send(context, || Bytes::copy_from_slice(&bytes[..count]))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, || {
            let all = slices.iter().flat_map(|slice| slice.iter().copied());
            all.take(FRAME_BYTES_MAX).collect()
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.frames().poll_flush(context).map_err(io_error)
    }

    /// Says goodbye. What is not in a frame any more cannot be half-closed.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.frames().poll_close(context).map_err(io_error)
    }
}
