//! What the bytes of a hostile client travel in: nothing, TLS, WebSocket, or both.
//!
//! Handshakes are made when the first byte is sent or waited for. Frames are written and read
//! here, not by a library: what is sent is cut in two wherever that means nothing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::ServerName;
use stormpetrel::config::{Bind, Certificates, Listener};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::kit::PATIENCE;

/// What MQTT travels in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Tls,
    Ws,
    Wss,
}

impl Transport {
    pub(crate) fn is_encrypted(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    pub(crate) fn is_websocket(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss)
    }

    /// A listener on a port that the system chooses.
    pub(crate) fn listener(self) -> Listener {
        let bind = Bind { host: Some("127.0.0.1".to_owned()), port: 0 };
        Listener {
            is_websocket: self.is_websocket(),
            certificates: self.is_encrypted().then(|| authority().broker.clone()),
            ..Listener::tcp("test", bind)
        }
    }

    /// The same in a file.
    pub(crate) fn yaml(self) -> String {
        let kind = if self.is_websocket() { "ws" } else { "tcp" };
        if !self.is_encrypted() {
            return format!("type: {kind}");
        }
        let Certificates { certfile, keyfile, .. } = &authority().broker;
        format!("type: {kind}, ssl: on, certfile: {certfile:?}, keyfile: {keyfile:?}")
    }
}

/// Who vouches for the broker of these tests.
pub(crate) struct Authority {
    pub(crate) broker: Certificates,
    clients: Arc<ClientConfig>,
}

/// The same in the whole process.
pub(crate) fn authority() -> &'static Authority {
    static ONLY: OnceLock<Authority> = OnceLock::new();
    ONLY.get_or_init(|| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let file = |kind: &str, text: String| {
            let path = folder.join(format!("hostile-{}.{kind}", process::id()));
            std::fs::write(&path, text).unwrap();
            path
        };
        let certfile = file("pem", certificate.pem());
        let keyfile = file("key", key.serialize_pem());
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let clients = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Authority {
            broker: Certificates { certfile, keyfile, ..Certificates::default() },
            clients: Arc::new(clients),
        }
    })
}

const UPGRADE: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

pub(crate) const CONTINUED: u8 = 0;
pub(crate) const BINARY: u8 = 2;
pub(crate) const FINAL: u8 = 0x80;

/// A client's end of a connection.
pub(crate) struct Line {
    transport: Transport,
    socket: TcpStream,
    tls: Option<Box<StreamOwned<ClientConnection, TcpStream>>>,
    /// What came in frames and is no whole frame yet.
    unread: Vec<u8>,
    has_asked: bool,
    is_upgraded: bool,
    /// The broker has said goodbye.
    is_over: bool,
    /// What the broker said in its goodbye: code and reason.
    pub(crate) goodbye: Option<Vec<u8>>,
}

impl Line {
    pub(crate) fn new(socket: TcpStream, transport: Transport) -> Line {
        socket.set_nodelay(true).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let tls = transport.is_encrypted().then(|| {
            let name = ServerName::try_from("localhost").unwrap();
            let tls = ClientConnection::new(authority().clients.clone(), name).unwrap();
            Box::new(StreamOwned::new(tls, socket.try_clone().unwrap()))
        });
        Line {
            transport,
            socket,
            tls,
            unread: Vec::new(),
            has_asked: false,
            is_upgraded: false,
            is_over: false,
            goodbye: None,
        }
    }

    pub(crate) fn set_write_timeout(&self, patience: Duration) {
        self.socket.set_write_timeout(Some(patience)).unwrap();
    }

    /// Its TLS.
    pub(crate) fn tls(&mut self) -> &mut StreamOwned<ClientConnection, TcpStream> {
        self.tls.as_mut().expect("it is encrypted")
    }

    /// Sends MQTT.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.transport.is_websocket() {
            return self.write(bytes);
        }
        self.upgrade()?;
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        self.write(&[frame(BINARY, head), frame(FINAL | CONTINUED, tail)].concat())
    }

    /// Makes the handshakes.
    pub(crate) fn upgrade(&mut self) -> io::Result<()> {
        self.ask()?;
        let mut received = Vec::new();
        while self.transport.is_websocket() && !self.is_upgraded {
            match self.read(&mut received, PATIENCE) {
                Some(true) => {}
                Some(false) | None => return Err(ErrorKind::NotConnected.into()),
            }
        }
        assert!(received.is_empty(), "nothing was asked yet");
        Ok(())
    }

    fn ask(&mut self) -> io::Result<()> {
        let asks = self.transport.is_websocket() && !std::mem::replace(&mut self.has_asked, true);
        if asks { self.write(UPGRADE) } else { Ok(()) }
    }

    /// Sends bytes that are in frames already.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
            None => self.socket.write_all(bytes),
        }
    }

    /// Reads once: whether bytes came or the connection ended; none: neither within that time.
    pub(crate) fn read(&mut self, received: &mut Vec<u8>, patience: Duration) -> Option<bool> {
        if self.is_over {
            return Some(false);
        }
        let _ = self.ask();
        let mut buffer = [0; 16 * 1024];
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let read = match &mut self.tls {
            Some(tls) => tls.read(&mut buffer),
            None => self.socket.read(&mut buffer),
        };
        match read {
            Ok(0) => Some(false),
            Ok(length) if self.transport.is_websocket() => {
                self.unread.extend_from_slice(&buffer[..length]);
                let before = received.len();
                self.is_over |= !self.unframe(received);
                Some(!self.is_over || received.len() > before)
            }
            Ok(length) => {
                received.extend_from_slice(&buffer[..length]);
                Some(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                None
            }
            Err(_) => Some(false), // a reset is an end too
        }
    }

    /// Takes whole frames apart; false if the broker has said goodbye.
    fn unframe(&mut self, received: &mut Vec<u8>) -> bool {
        if !self.is_upgraded {
            let end = self.unread.windows(4).position(|window| window == b"\r\n\r\n");
            let Some(end) = end else { return true };
            let head: Vec<u8> = self.unread.drain(..end + 4).collect();
            self.is_upgraded = head.starts_with(b"HTTP/1.1 101 ");
            assert!(!String::from_utf8_lossy(&head).contains("xtensions"), "nothing is compressed");
            if !self.is_upgraded {
                return false;
            }
        }
        while self.unread.len() >= 2 {
            let (header, length) = match self.unread[1] {
                126 => (4, self.number(2..4)),
                127 => (10, self.number(2..10)),
                length => (2, Some(length.into())),
            };
            let Some(end) = length.map(|length| header + length) else { return true };
            if self.unread.len() < end {
                return true;
            }
            let frame: Vec<u8> = self.unread.drain(..end).collect();
            match frame[0] {
                0x82 => received.extend_from_slice(&frame[header..]),
                0x88 => {
                    self.goodbye = Some(frame[header..].to_vec());
                    return false;
                }
                first => assert_eq!(first, 0x8A, "what is no answer to a ping"),
            }
        }
        true
    }

    fn number(&self, place: std::ops::Range<usize>) -> Option<usize> {
        let bytes = self.unread.get(place)?;
        Some(bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }
}

/// A masked frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The header of a masked frame, without the mask.
pub(crate) fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(0x80 | length as u8),
        126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes
}
