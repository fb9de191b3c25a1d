//! What a proxy in front of the broker says about a client: where it really connects from.
//!
//! The PROXY protocol (versions 1 and 2, haproxy's specification) precedes everything else on a
//! connection; `X-Forwarded-For` is a header of WebSocket's upgrade. Both are believed only if
//! the connection comes from a proxy that the configuration trusts: anybody can write them.

use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::config::Subnet;
use crate::plant::{self, Plant};

/// Bytes of the longest header that is read: version 2 with a great many extensions.
const HEADER_BYTES_MAX: usize = 4 * 1024;
/// Bytes read at once: most headers are shorter.
const READ_BYTES: usize = 256;

/// Reads the header of the PROXY protocol. Where the client connects from, none if the proxy
/// speaks for itself (a health check), and what followed the header.
///
/// # Errors
/// There is no such header, or the connection failed.
pub(super) async fn header<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> io::Result<(Option<SocketAddr>, BytesMut)> {
    let mut read = BytesMut::with_capacity(READ_BYTES);
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
        match ProxyHeader::parse(&read, config) {
            Ok((header, length)) => {
                let client = header.proxied_address().map(|proxied| proxied.source);
                let rest = read.split_off(length);
                return Ok((client, rest));
            }
            Err(Error::BufferTooShort) if read.len() < HEADER_BYTES_MAX => {
                read.reserve(READ_BYTES);
            }
            Err(_) => {
                let cause = "the PROXY protocol's header is missing or wrong";
                return Err(io::Error::new(io::ErrorKind::InvalidData, cause));
            }
        }
    }
}

/// Where the client connects from, by the values of `X-Forwarded-For`: each proxy adds the
/// address it sees at the end, so the last one that is no trusted proxy is the client's. What is no
/// address, and all before it, says nothing.
pub(super) fn forwarded_for<'v>(
    values: impl DoubleEndedIterator<Item = &'v str>,
    trusted: &[Subnet],
) -> Option<SocketAddr> {
    let mut farthest = None;
    for text in values.rev().flat_map(|value| value.rsplit(',')) {
        let Some(address) = forwarded_address(text.trim()) else { break };
        farthest = Some(address);
        if !is_trusted(address.ip(), trusted) && !plant::is_on(Plant::ForwardedTooFar) {
            break;
        }
    }
    farthest
}

/// An address as proxies write it: with the port or without, which then is 0, and one of version 6
/// in brackets or without.
fn forwarded_address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let without_port = bare.parse().ok().map(|address: IpAddr| SocketAddr::new(address, 0));
    without_port.or_else(|| text.parse().ok())
}

/// Whether the address is that of a proxy that is believed.
pub(super) fn is_trusted(address: IpAddr, trusted: &[Subnet]) -> bool {
    trusted.iter().any(|subnet| subnet.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut bytes: &[u8]) -> Option<(Option<SocketAddr>, BytesMut)> {
        header(&mut bytes).await.ok()
    }

    const V2: &[u8] =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\x01\x02\x03\x04\x05\x06\x07\x08\x00\x50\x07\x5B";

    #[tokio::test]
    async fn headers_of_both_versions_are_read() {
        let client = |text: &str| Some(text.parse().expect("an address"));
        for (bytes, want) in [
            (&b"PROXY TCP4 1.2.3.4 5.6.7.8 80 1883\r\n"[..], client("1.2.3.4:80")),
            (b"PROXY TCP6 ::1 ::2 80 1883\r\n", client("[::1]:80")),
            (b"PROXY UNKNOWN\r\n", None),
            (V2, client("1.2.3.4:80")),
            (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", None),
        ] {
            let with_rest = [bytes, b"rest"].concat();
            let (got, rest) = read(&with_rest).await.expect("a header");
            assert_eq!((got, &rest[..]), (want, &b"rest"[..]), "{bytes:?}");
            for length in 0..bytes.len() {
                assert!(read(&bytes[..length]).await.is_none(), "{bytes:?} {length}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xFF\xFF", &[0; 70_000][..]].concat();
        for bytes in [
            &b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01c"[..],
            b"PROXY TCP4 1.2.3.4 5.6.7.8 80\r\n",
            b"PROXY TCP4 1.2.3.4.5 5.6.7.8 80 80\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 80 99999\r\n",
            &[b'P'; 10_000],
            &long,
        ] {
            assert!(read(bytes).await.is_none(), "{:?}", &bytes[..13]);
        }
    }

    #[test]
    fn the_last_address_that_no_proxy_has_is_the_clients() {
        let trusted = ["10.0.0.0/8".parse().expect("a subnet")];
        for (values, want) in [
            (&["1.2.3.4"][..], Some("1.2.3.4:0")),
            (&["6.6.6.6, 1.2.3.4"], Some("1.2.3.4:0")),
            (&["6.6.6.6", "1.2.3.4, 10.0.0.1"], Some("1.2.3.4:0")),
            (&["10.0.0.2,10.0.0.1"], Some("10.0.0.2:0")),
            (&["::1"], Some("[::1]:0")),
            (&["1.2.3.4:55000, 10.0.0.1:80"], Some("1.2.3.4:55000")),
            (&["[::1]:55000"], Some("[::1]:55000")),
            (&["[::1]"], Some("[::1]:0")),
            (&["1.2.3.4:x"], None),
            (&["[::1"], None),
            (&["6.6.6.6, unknown"], None),
            (&["6.6.6.6, unknown, 10.0.0.5"], Some("10.0.0.5:0")),
            (&[""], None),
            (&[], None),
        ] {
            let want = want.map(|text| text.parse::<SocketAddr>().expect("an address"));
            assert_eq!(forwarded_for(values.iter().copied(), &trusted), want, "{values:?}");
        }
    }
}
