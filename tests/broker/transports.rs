//! TLS and WebSocket, over real sockets, with clients that others wrote: what is served, what is
//! refused, and in what words.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use stormpetrel::Broker;
use stormpetrel::access::{Authenticate, ConnectRequest, Verdict};
use stormpetrel::config::{Authentication, Bind, Certificates, Config, Listener};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::{CONNACK, CONNECT, PATIENCE};

const PINGREQ: &[u8] = b"\xC0\x00";
const PINGRESP: &[u8] = b"\xD0\x00";

/// An authority, and files of certificates that it made. Gone with it.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let (params, key) = Authority::params(name);
        Authority::of(name, CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// One for which this one vouches.
    fn vouched(&self, name: &str) -> Authority {
        let (params, key) = Authority::params(name);
        Authority::of(name, CertifiedIssuer::signed_by(params, key, &self.issuer).unwrap())
    }

    fn params(name: &str) -> (CertificateParams, KeyPair) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params, KeyPair::generate().unwrap())
    }

    fn of(name: &str, issuer: CertifiedIssuer<'static, KeyPair>) -> Authority {
        let folder = format!("stormpetrel-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Authority { issuer, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a certificate for `localhost` and its key.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (certfile, keyfile) =
            (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        std::fs::write(&certfile, certificate.pem()).unwrap();
        std::fs::write(&keyfile, key.serialize_pem()).unwrap();
        (certfile, keyfile)
    }

    /// What a broker needs.
    fn server(&self) -> Certificates {
        let (certfile, keyfile) = self.issue("broker");
        Certificates { certfile, keyfile, ..Certificates::default() }
    }

    /// A client that knows the authority, and shows a certificate of `shows`.
    fn client(&self, shows: Option<&Authority>) -> TlsConnector {
        self.client_with(shows, &[])
    }

    /// The same, which sends certificates of others along.
    fn client_with(&self, shows: Option<&Authority>, others: &[&Authority]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let config = match shows.map(|authority| authority.issue("client")) {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let mut chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
                chain.extend(others.iter().map(|other| other.issuer.der().clone()));
                let key = PrivateKeyDer::from_pem_file(key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn start(listener: impl FnOnce(&mut Listener)) -> (Broker, SocketAddr) {
    let bind = Bind { host: Some("127.0.0.1".to_owned()), port: 0 };
    let mut only = Listener::tcp("test", bind);
    listener(&mut only);
    let config = Config { listeners: vec![only], ..Config::default() };
    let broker = Broker::new(config).start().await.unwrap();
    let address = broker.addresses()[0];
    (broker, address)
}

async fn refused(certificates: Certificates) -> String {
    let bind = Bind { host: Some("127.0.0.1".to_owned()), port: 0 };
    let listener = Listener { certificates: Some(certificates), ..Listener::tcp("secure", bind) };
    let config = Config { listeners: vec![listener], ..Config::default() };
    Broker::new(config).start().await.expect_err("no broker").to_string()
}

async fn tls(
    address: SocketAddr,
    connector: &TlsConnector,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    timeout(PATIENCE, connector.connect(name, stream)).await.unwrap()
}

/// Connects, pings, and sees both answers.
async fn speaks_mqtt(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    for (asked, want) in [(CONNECT, CONNACK), (PINGREQ, PINGRESP)] {
        stream.write_all(asked).await.unwrap();
        stream.flush().await.unwrap();
        let mut got = vec![0; want.len()];
        timeout(PATIENCE, stream.read_exact(&mut got)).await.unwrap().unwrap();
        assert_eq!(got, want);
    }
}

/// Whether the broker ends the connection without an answer to CONNECT.
async fn is_refused(stream: std::io::Result<TlsStream<TcpStream>>) -> bool {
    let Ok(mut stream) = stream else { return true };
    let _ = stream.write_all(CONNECT).await;
    let mut got = [0; 4];
    timeout(PATIENCE, stream.read_exact(&mut got)).await.unwrap().is_err()
}

async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    protocol: Option<&'static str>,
) -> Result<WebSocketStream<S>, Error> {
    let mut request = "ws://localhost/any/path".into_client_request().unwrap();
    if let Some(protocol) = protocol {
        let value = HeaderValue::from_static(protocol);
        request.headers_mut().insert("sec-websocket-protocol", value);
    }
    let upgraded = timeout(PATIENCE, client_async(request, stream)).await.unwrap();
    let (frames, response) = upgraded?;
    // Whatever else is offered, and in whatever order. [MQTT-6.0.0-4]
    let chosen = response.headers().get("sec-websocket-protocol");
    let offers_mqtt = protocol.is_some_and(|names| names.split(", ").any(|name| name == "mqtt"));
    assert!(!offers_mqtt || chosen.is_some_and(|name| name == "mqtt"), "{chosen:?}");
    Ok(frames)
}

async fn websocket(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    upgrade(stream, Some("mqtt")).await.unwrap()
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(frames: &mut WebSocketStream<S>) -> Message {
    timeout(PATIENCE, frames.next()).await.unwrap().expect("it is open").unwrap()
}

fn binary(bytes: &'static [u8]) -> Message {
    Message::Binary(Bytes::from_static(bytes))
}

#[tokio::test]
async fn mqtt_travels_in_tls() {
    let authority = Authority::new("tls");
    let files = authority.server();
    let (_broker, address) = start(|listener| listener.certificates = Some(files)).await;
    speaks_mqtt(tls(address, &authority.client(None)).await.unwrap()).await;
}

#[tokio::test]
async fn a_message_larger_than_every_buffer_passes_tls() {
    let authority = Authority::new("large");
    let files = authority.server();
    let (_broker, address) = start(|listener| listener.certificates = Some(files)).await;
    let mut stream = tls(address, &authority.client(None)).await.unwrap();
    stream.write_all(CONNECT).await.unwrap();
    stream.write_all(b"\x82\x06\x00\x01\x00\x01a\x00").await.unwrap();
    let mut answers = [0; 9];
    timeout(PATIENCE, stream.read_exact(&mut answers)).await.unwrap().unwrap();
    // 1,000,000 bytes in all behind the fixed header.
    let mut publish = b"\x30\xC0\x84\x3D\x00\x01a".to_vec();
    publish.extend((0..1_000_000_u32 - 3).map(|place| place.to_le_bytes()[0]));
    let mut got = vec![0; publish.len()];
    let (mut reading, mut writing) = tokio::io::split(stream);
    let sent = async {
        writing.write_all(&publish).await.unwrap();
        writing.flush().await.unwrap();
    };
    let received = async { timeout(PATIENCE, reading.read_exact(&mut got)).await.unwrap() };
    let ((), received) = tokio::join!(sent, received);
    received.unwrap();
    assert!(got == publish, "it is not what was sent");
}

#[tokio::test]
async fn a_clients_certificate_is_checked_and_may_be_required() {
    let (authority, stranger) = (Authority::new("client"), Authority::new("stranger"));
    let another = Authority::new("another");
    for is_required in [false, true] {
        for by in 0..4 {
            let mut files = Certificates { is_required, ..authority.server() };
            let ca = authority.path("ca.pem");
            let folder = authority.path("authorities");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::copy(&ca, folder.join("ca.pem")).unwrap();
            std::fs::write(folder.join("README"), "no certificate").unwrap();
            match by {
                0 => files.cafile = Some(ca),
                1 => files.capath = Some(folder),
                2 => {
                    // All of them count.
                    files.cafile = Some(another.path("ca.pem"));
                    files.capath = Some(folder);
                }
                _ => files.cadata = Some(std::fs::read_to_string(ca).unwrap()),
            }
            let (_broker, address) = start(|listener| listener.certificates = Some(files)).await;
            let with = |shows| authority.client(shows);
            speaks_mqtt(tls(address, &with(Some(&authority))).await.unwrap()).await;
            assert!(is_refused(tls(address, &with(Some(&stranger))).await).await);
            assert_eq!(is_refused(tls(address, &with(None)).await).await, is_required);
        }
    }
}

/// What the broker answers to CONNECT in WebSocket in TLS, if it lets the client shake hands.
async fn enters(address: SocketAddr, connector: &TlsConnector) -> Option<Message> {
    let stream = tls(address, connector).await.ok()?;
    let mut frames = upgrade(stream, Some("mqtt")).await.ok()?;
    frames.send(binary(CONNECT)).await.ok()?;
    timeout(PATIENCE, frames.next()).await.unwrap()?.ok()
}

/// One verifier for all transports, also after the first try (CL 1.5.4, CL 2.0.9 #2130).
#[tokio::test]
async fn a_clients_certificate_is_checked_in_websocket_too() {
    let (authority, stranger) = (Authority::new("wss-client"), Authority::new("wss-stranger"));
    for is_required in [false, true] {
        let cafile = Some(authority.path("ca.pem"));
        let files = Certificates { is_required, cafile, ..authority.server() };
        let (_broker, address) = start(|listener| {
            listener.is_websocket = true;
            listener.certificates = Some(files);
        })
        .await;
        for _ in 0..3 {
            let connacked = Some(binary(CONNACK));
            let known = authority.client(Some(&authority));
            assert_eq!(enters(address, &known).await, connacked);
            assert_eq!(enters(address, &authority.client(Some(&stranger))).await, None);
            let nameless = enters(address, &authority.client(None)).await;
            assert_eq!(nameless, connacked.filter(|_| !is_required));
        }
    }
}

/// By `openssl x509 -req` without extensions.
const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIHkMIGXAhQvkSFAFL0UMtAJJZMuOaxv+I81cDAFBgMrZXAwFDESMBAGA1UEAwwJ
bG9jYWxob3N0MCAXDTI2MTEyNzE0Mzk0OFoYDzIxMjYxMTAzMTQzOTQ4WjAUMRIw
EAYDVQQDDAlsb2NhbGhvc3QwKjAFBgMrZXADIQBJ5XEGJQBXXffnf6WGsF1dlSza
ODZYTesDHbqMJ3X4xTAFBgMrZXADQQBZoR+cin2mjtXE7HFpY4icl5ymVVtmJvcu
rDsPkTWjqqbnSuYaTNAoFAdddJP/qDnSsfgb7Qyn4Sb8fgjOF0kE
-----END CERTIFICATE-----
";

#[tokio::test]
async fn certificates_that_cannot_be_used_are_named() {
    let authority = Authority::new("bad");
    let good = authority.server();
    let (_, other_key) = authority.issue("other");
    let encrypted = authority.path("encrypted.key");
    let text = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    std::fs::write(&encrypted, text).unwrap();
    let missing = PathBuf::from("/nowhere/file.pem");
    let (empty, bare) = (authority.path("empty.pem"), authority.path("bare"));
    std::fs::write(&empty, "").unwrap();
    let old = authority.path("old.pem");
    std::fs::write(&old, VERSION_1).unwrap();
    std::fs::create_dir_all(&bare).unwrap();
    let with = |change: &dyn Fn(&mut Certificates)| {
        let mut files = good.clone();
        change(&mut files);
        files
    };
    let cases = [
        (with(&|f| f.certfile = missing.clone()), "certfile: /nowhere/file.pem cannot be read"),
        (with(&|f| f.certfile = old.clone()), "certificate of X.509 version 1"),
        (with(&|f| f.keyfile = missing.clone()), "keyfile: /nowhere/file.pem cannot be read"),
        (with(&|f| f.keyfile = encrypted.clone()), "is encrypted: write it without a password"),
        (with(&|f| f.keyfile = good.certfile.clone()), "there is no private key in PEM in"),
        (with(&|f| f.certfile = good.keyfile.clone()), "there is no certificate in PEM in"),
        (with(&|f| f.keyfile = other_key.clone()), "cannot be used"),
        (with(&|f| f.cafile = Some(missing.clone())), "cafile: /nowhere/file.pem cannot be read"),
        (
            with(&|f| f.cafile = Some(empty.clone())),
            "secure.cafile: there is no certificate in PEM in",
        ),
        (with(&|f| f.capath = Some(missing.clone())), "belongs under `cadata`"),
        (
            with(&|f| f.capath = Some(bare.clone())),
            "secure.capath: there is no certificate in PEM in",
        ),
        (
            with(&|f| f.cadata = Some(String::new())),
            "secure.cadata: there is no certificate in PEM in",
        ),
        (with(&|f| f.cadata = Some("ca.pem".to_owned())), "not the name of a file"),
        (with(&|f| f.is_required = true), "require-certificate: it needs"),
    ];
    for (files, want) in cases {
        let words = refused(files).await;
        assert!(words.starts_with("listeners.secure.") && words.contains(want), "{words}");
    }
}

#[tokio::test]
async fn what_is_not_tls_is_closed_and_harms_nobody() {
    let authority = Authority::new("garbage");
    let files = authority.server();
    let (_broker, address) = start(|listener| listener.certificates = Some(files)).await;
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(CONNECT).await.unwrap();
    let mut answer = Vec::new();
    // An alert, or nothing.
    let _ = timeout(PATIENCE, plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(CONNACK), "{answer:?}");
    speaks_mqtt(tls(address, &authority.client(None)).await.unwrap()).await;
}

#[tokio::test]
async fn one_deadline_covers_handshakes_too() {
    let authority = Authority::new("deadline");
    for is_websocket in [false, true] {
        let bind = Bind { host: Some("127.0.0.1".to_owned()), port: 0 };
        let certificates = (!is_websocket).then(|| authority.server());
        let listener = Listener { is_websocket, certificates, ..Listener::tcp("test", bind) };
        let mut config = Config { listeners: vec![listener], ..Config::default() };
        config.limits.connect_timeout = 50;
        let broker = Broker::new(config).start().await.unwrap();
        let mut silent = TcpStream::connect(broker.addresses()[0]).await.unwrap();
        let begun: &[u8] = if is_websocket { b"G" } else { b"\x16" };
        silent.write_all(begun).await.unwrap();
        let ended = timeout(PATIENCE, silent.read(&mut [0])).await.unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
}

#[tokio::test]
async fn mqtt_travels_in_websocket_however_it_is_cut() {
    let (_broker, address) = start(|listener| listener.is_websocket = true).await;
    let mut frames = websocket(address).await;
    for byte in 0..CONNECT.len() {
        frames.send(Message::Binary(Bytes::new())).await.unwrap();
        frames.send(binary(&CONNECT[byte..=byte])).await.unwrap();
    }
    assert_eq!(next(&mut frames).await, binary(CONNACK));
    frames.send(binary(b"\xC0\x00\xC0\x00\xC0")).await.unwrap();
    let mut answers = Vec::new();
    while answers.len() < 4 {
        answers.extend_from_slice(&next(&mut frames).await.into_data());
    }
    assert_eq!(answers, b"\xD0\x00\xD0\x00");
    frames.send(binary(b"\x00")).await.unwrap();
    assert_eq!(next(&mut frames).await, binary(PINGRESP));
}

#[tokio::test]
async fn mqtt_travels_in_websocket_in_tls() {
    let authority = Authority::new("wss");
    let files = authority.server();
    let (_broker, address) = start(|listener| {
        listener.is_websocket = true;
        listener.certificates = Some(files);
    })
    .await;
    let stream = tls(address, &authority.client(None)).await.unwrap();
    let mut frames = upgrade(stream, Some("mqttv3.1, mqtt")).await.unwrap();
    frames.send(binary(CONNECT)).await.unwrap();
    assert_eq!(next(&mut frames).await, binary(CONNACK));
}

#[tokio::test]
async fn only_upgrades_to_mqtt_are_answered() {
    let (_broker, address) = start(|listener| listener.is_websocket = true).await;
    for protocol in [None, Some("chat"), Some("MQTT")] {
        let stream = TcpStream::connect(address).await.unwrap();
        match upgrade(stream, protocol).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), 400, "{protocol:?}"),
            other => panic!("{protocol:?}: {other:?}"),
        }
    }
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(CONNECT).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(CONNACK), "{answer:?}");
}

#[tokio::test]
async fn text_ends_the_connection_and_pings_are_answered() {
    let (_broker, address) = start(|listener| listener.is_websocket = true).await;
    let mut frames = websocket(address).await;
    frames.send(binary(CONNECT)).await.unwrap();
    assert_eq!(next(&mut frames).await, binary(CONNACK));
    for _ in 0..1_000 {
        frames.send(Message::Ping(Bytes::from_static(b"x"))).await.unwrap();
    }
    assert_eq!(next(&mut frames).await, Message::Pong(Bytes::from_static(b"x")));
    frames.send(Message::Text("\u{10}".into())).await.unwrap();
    loop {
        match next(&mut frames).await {
            Message::Pong(_) => {}
            Message::Close(Some(close)) => break assert_eq!(close.code, CloseCode::Unsupported),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_goodbye_in_websocket_is_answered_with_one() {
    let (_broker, address) = start(|listener| listener.is_websocket = true).await;
    let mut frames = websocket(address).await;
    frames.send(binary(CONNECT)).await.unwrap();
    assert_eq!(next(&mut frames).await, binary(CONNACK));
    frames.send(binary(b"\xE0\x00")).await.unwrap(); // DISCONNECT
    assert!(matches!(next(&mut frames).await, Message::Close(_)));

    let mut frames = websocket(address).await;
    frames.close(None).await.unwrap();
    assert!(matches!(next(&mut frames).await, Message::Close(_)));
}

/// A plugin that lets everybody in, and remembers how each came.
#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<String>>>);

impl Authenticate for Witness {
    async fn authenticate(&self, request: &ConnectRequest) -> Verdict {
        let name = request.certificate.as_ref().and_then(|shown| shown.common_name.clone());
        let name = name.unwrap_or_default();
        self.0.lock().unwrap().push(format!("{} {name}", request.address.unwrap()));
        Verdict::Admitted
    }
}

impl Witness {
    async fn start(&self, listener: impl FnOnce(&mut Listener)) -> (Broker, SocketAddr) {
        let bind = Bind { host: Some("127.0.0.1".to_owned()), port: 0 };
        let mut only = Listener::tcp("test", bind);
        listener(&mut only);
        let authentication = vec![Authentication::Named("witness".to_owned())];
        let config = Config { listeners: vec![only], authentication, ..Config::default() };
        let broker = Broker::new(config).plugin("witness", self.clone()).start().await.unwrap();
        let address = broker.addresses()[0];
        (broker, address)
    }

    /// Whom it saw since the last time.
    fn saw(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[tokio::test]
async fn plugins_see_the_names_in_a_clients_certificate() {
    let authority = Authority::new("names");
    let files = Certificates { cafile: Some(authority.path("ca.pem")), ..authority.server() };
    let witness = Witness::default();
    let (_broker, address) = witness.start(|listener| listener.certificates = Some(files)).await;
    for (shows, want) in [(Some(&authority), "127.0.0.1 client"), (None, "127.0.0.1 ")] {
        speaks_mqtt(tls(address, &authority.client(shows)).await.unwrap()).await;
        assert_eq!(witness.saw(), [want]);
    }
}

/// Sends the bytes, one at a time if so, and then speaks MQTT or sees the connection end.
async fn introduces(address: SocketAddr, header: &[u8], is_slow: bool) -> bool {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let bytes = [header, CONNECT].concat();
    let pieces = if is_slow { 1 } else { bytes.len() };
    for piece in bytes.chunks(pieces) {
        let _ = stream.write_all(piece).await; // it may be closed already
    }
    let mut got = [0; 4];
    timeout(PATIENCE, stream.read_exact(&mut got)).await.unwrap().is_ok() && got == CONNACK
}

#[tokio::test]
async fn a_trusted_proxy_says_where_a_client_connects_from() {
    let witness = Witness::default();
    let (_broker, address) = witness
        .start(|listener| {
            listener.is_proxied = true;
            listener.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        })
        .await;
    let second =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\x09\x08\x07\x06\x05\x06\x07\x08\x00\x50\x07\x5B";
    for (header, want) in [
        (&b"PROXY TCP4 9.8.7.6 127.0.0.1 80 1883\r\n"[..], "9.8.7.6 "),
        (b"PROXY TCP6 ::9 ::1 80 1883\r\n", "::9 "),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1 "),
        (second, "9.8.7.6 "),
    ] {
        for is_slow in [false, true] {
            assert!(introduces(address, header, is_slow).await, "{header:?}");
            assert_eq!(witness.saw(), [want]);
        }
    }
    for header in [&b""[..], b"PROXY TCP4 x y 1 2\r\n", b"GET / HTTP/1.1\r\n\r\n", &[b'P'; 9_000]] {
        assert!(!introduces(address, header, false).await, "{header:?}");
    }
    assert!(witness.saw().is_empty());
}

#[tokio::test]
async fn whoever_is_no_trusted_proxy_is_not_believed() {
    let witness = Witness::default();
    let stranger = vec!["10.0.0.0/8".parse().unwrap()];
    let trusted_proxies = stranger.clone();
    let (_broker, address) = witness
        .start(|listener| {
            listener.is_proxied = true;
            listener.trusted_proxies = trusted_proxies;
        })
        .await;
    let header = b"PROXY TCP4 9.8.7.6 127.0.0.1 80 1883\r\n";
    assert!(!introduces(address, header, false).await);
    assert!(witness.saw().is_empty());

    let trusted = vec!["127.0.0.1".parse().unwrap()];
    for (trusted_proxies, header, want) in [
        (stranger, "", "127.0.0.1 "),
        (trusted.clone(), "", "9.8.7.6 "),
        // Who a proxy says it is may be another one, or not.
        (trusted.clone(), "PROXY TCP4 127.0.0.1 127.0.0.1 80 1883\r\n", "9.8.7.6 "),
        (trusted, "PROXY TCP4 5.5.5.5 127.0.0.1 80 1883\r\n", "5.5.5.5 "),
    ] {
        let (_broker, address) = witness
            .start(|listener| {
                listener.is_websocket = true;
                listener.is_proxied = !header.is_empty();
                listener.trusted_proxies = trusted_proxies;
            })
            .await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The client's own words come first, and may be anything.
        let forwarded = "X-Forwarded-For: \u{e9}, 6.6.6.6, 9.8.7.6:51000";
        let request = format!("{header}{UPGRADE}{forwarded}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let mut frames = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        frames.send(binary(CONNECT)).await.unwrap();
        assert_eq!(next(&mut frames).await, binary(CONNACK));
        assert_eq!(witness.saw(), [want]);
    }
}

const UPGRADE: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n";

/// What the broker answers to these bytes: the first line.
async fn first_line(address: SocketAddr, request: &str, is_slow: bool) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let pieces = if is_slow { 1 } else { request.len() };
    for piece in request.as_bytes().chunks(pieces) {
        let _ = stream.write_all(piece).await; // it may be closed already
    }
    let mut answer = [0; 64];
    let count = timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap_or(0);
    let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn an_upgrade_may_come_in_any_pieces_but_not_at_any_length() {
    let (_broker, address) = start(|listener| listener.is_websocket = true).await;
    let switching = "HTTP/1.1 101 Switching Protocols";
    let padded = |bytes: usize| format!("{UPGRADE}X: {}\r\n\r\n", "x".repeat(bytes));
    let many = format!("{UPGRADE}{}\r\n", "X: y\r\n".repeat(1_000));
    let plain = format!("{UPGRADE}\r\n");
    for (request, want) in [(&plain, switching), (&padded(7_000), switching)] {
        for is_slow in [false, true] {
            assert_eq!(first_line(address, request, is_slow).await, want);
        }
    }
    let refused = "HTTP/1.1 400 Bad Request";
    for request in [padded(8_192), padded(1 << 20), many, "\0".repeat(9_000)] {
        assert_eq!(first_line(address, &request, false).await, refused, "{}", &request[..20]);
    }
    speaks_mqtt_in(websocket(address).await).await;
}

/// All that the broker answers to these bytes before it closes.
async fn whole_answer(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn what_is_no_upgrade_is_answered_with_400() {
    let (_broker, address) = start(|listener| listener.is_websocket = true).await;
    let without = |header: &str| {
        let lines = UPGRADE.split_inclusive('\n').filter(|line| !line.starts_with(header));
        lines.collect::<String>() + "\r\n"
    };
    for request in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "POST /mqtt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        "GET\u{1} / HTTP/1.1\r\n\r\n".to_owned(),
        without("Upgrade:"),
        without("Connection:"),
        without("Sec-WebSocket-Key:"),
        without("Sec-WebSocket-Version:"),
        without("Sec-WebSocket-Protocol:"),
        UPGRADE.replace("Version: 13", "Version: 8") + "\r\n",
        UPGRADE.replace("25jZQ==", "25jQ==") + "\r\n",
        UPGRADE.replace("25jZQ==", "25j.Q==") + "\r\n",
    ] {
        let answer = whole_answer(address, &request).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect(&request);
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some("HTTP/1.1 400 Bad Request"), "{request}");
        let lines: Vec<&str> = lines.collect();
        assert!(lines.contains(&"Connection: close"), "{lines:?}");
        assert!(lines.contains(&"Sec-WebSocket-Version: 13"), "{lines:?}");
        assert!(lines.contains(&&*format!("Content-Length: {}", body.len())), "{lines:?}");
    }
    speaks_mqtt_in(websocket(address).await).await;
}

async fn speaks_mqtt_in<S: AsyncRead + AsyncWrite + Unpin>(mut frames: WebSocketStream<S>) {
    frames.send(binary(CONNECT)).await.unwrap();
    assert_eq!(next(&mut frames).await, binary(CONNACK));
}

#[tokio::test]
async fn certificates_are_changed_without_ending_a_connection() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let bind = Bind { host: Some("127.0.0.1".to_owned()), port: 0 };
    let with = |files: Certificates| {
        let bind = bind.clone();
        let listener = Listener { certificates: Some(files), ..Listener::tcp("test", bind) };
        Config { listeners: vec![listener], ..Config::default() }
    };
    let broker = Broker::new(with(old.server())).start().await.unwrap();
    let address = broker.addresses()[0];
    let mut before = tls(address, &old.client(None)).await.unwrap();
    before.write_all(CONNECT).await.unwrap();
    let mut got = [0; 4];
    timeout(PATIENCE, before.read_exact(&mut got)).await.unwrap().unwrap();
    let pings = async |stream: &mut TlsStream<TcpStream>| {
        stream.write_all(PINGREQ).await.unwrap();
        let mut got = [0; 2];
        timeout(PATIENCE, stream.read_exact(&mut got)).await.unwrap().unwrap();
        got == PINGRESP
    };

    let broken = Certificates { keyfile: old.path("missing"), ..new.server() };
    assert!(broker.reload(&with(broken)).is_err());
    assert!(tls(address, &old.client(None)).await.is_ok(), "nothing has changed");

    broker.reload(&with(new.server())).unwrap();
    assert!(pings(&mut before).await);
    assert!(tls(address, &old.client(None)).await.is_err(), "it shows the old certificate");
    assert!(tls(address, &new.client(None)).await.is_ok());
    assert!(pings(&mut before).await);
}

/// A port that is encrypted stays so until a restart, and one that is not does too.
#[tokio::test]
async fn a_reload_takes_tls_from_no_listener_and_gives_it_to_none() {
    let authority = Authority::new("stays");
    let files = authority.server();
    let bind = || Bind { host: Some("127.0.0.1".to_owned()), port: 0 };
    let with = |secure: Option<Certificates>, plain: Option<Certificates>, is_proxied| {
        let listener = |name: &str, certificates| Listener {
            certificates,
            is_proxied,
            is_websocket: is_proxied,
            ..Listener::tcp(name, bind())
        };
        let listeners = vec![listener("secure", secure), listener("plain", plain)];
        Config { listeners, ..Config::default() }
    };
    let broker = Broker::new(with(Some(files.clone()), None, false)).start().await.unwrap();
    let [secure, plain] = broker.addresses() else { panic!("two listeners") };
    broker.reload(&with(None, Some(files), true)).unwrap();
    assert!(tls(*secure, &authority.client(None)).await.is_ok(), "it is not encrypted any more");
    let mut stream = TcpStream::connect(*plain).await.unwrap();
    stream.write_all(CONNECT).await.unwrap();
    let mut got = [0; 4];
    timeout(PATIENCE, stream.read_exact(&mut got)).await.unwrap().unwrap();
    assert_eq!(got, [0x20, 2, 0, 0]);
}

/// The broker's command with a configuration, and the file that has it. Killed when dropped.
struct Running {
    child: std::process::Child,
    address: SocketAddr,
    config: PathBuf,
}

impl Running {
    async fn start(folder: &Authority, tls: &str) -> Running {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let config = folder.path("broker.yaml");
        write(&config, address, tls);
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_stormpetrel"))
            .arg("--config")
            .arg(&config)
            .stderr(std::process::Stdio::null())
            .spawn();
        let mut running = Running { child: child.unwrap(), address, config };
        until("it listens", async || TcpStream::connect(address).await.is_ok()).await;
        assert!(running.child.try_wait().unwrap().is_none(), "it has ended");
        running
    }

    /// Has it read another configuration.
    fn reload(&self, tls: &str) {
        write(&self.config, self.address, tls);
        let pid = self.child.id().to_string();
        let status = std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(config: &std::path::Path, address: SocketAddr, tls: &str) {
    let text = format!("listeners: {{default: {{bind: '{address}', ssl: on, {tls}}}}}\n");
    std::fs::write(config, text).unwrap();
}

/// Asks again and again, in vain at most for as long as anything may take.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asked = timeout(PATIENCE, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await; // between two looks
        }
    });
    assert!(asked.await.is_ok(), "in vain: {what}");
}

#[tokio::test]
async fn a_signal_changes_certificate_key_and_authority_and_ends_no_connection() {
    let (old, new) = (Authority::new("hup-old"), Authority::new("hup-new"));
    let lines = |authority: &Authority, key: &str, ca: &str| {
        authority.issue("broker");
        let path = |name: &str| authority.path(name);
        format!(
            "certfile: {:?}, keyfile: {:?}, cafile: {:?}, require-certificate: on",
            path("broker.pem"),
            path(key),
            path(ca)
        )
    };
    let broker = Running::start(&old, &lines(&old, "broker.key", "ca.pem")).await;
    let address = broker.address;
    let mut before = tls(address, &old.client(Some(&old))).await.unwrap();
    before.write_all(b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01b").await.unwrap();
    let mut got = [0; 4];
    timeout(PATIENCE, before.read_exact(&mut got)).await.unwrap().unwrap();
    let pings = async |stream: &mut TlsStream<TcpStream>| {
        stream.write_all(PINGREQ).await.unwrap();
        let mut got = [0; 2];
        timeout(PATIENCE, stream.read_exact(&mut got)).await.unwrap().unwrap();
        assert_eq!(got, PINGRESP);
    };

    broker.reload(&lines(&new, "broker.key", "ca.pem"));
    let enters = async |knows: &Authority, shows: &Authority| {
        !is_refused(tls(address, &knows.client(Some(shows))).await).await
    };
    until("the new certificate is shown", async || enters(&new, &new).await).await;
    assert!(!enters(&old, &old).await, "it shows the old certificate");
    assert!(!enters(&new, &old).await, "it believes the old authority");
    pings(&mut before).await;

    // One of these is of no use, so nothing changes; then all of them are.
    std::fs::write(new.path("empty.pem"), "").unwrap();
    broker.reload(&lines(&new, "missing.key", "ca.pem"));
    broker.reload(&lines(&new, "broker.key", "empty.pem"));
    assert!(enters(&new, &new).await);
    broker.reload(&lines(&old, "broker.key", "ca.pem"));
    until("the old certificate is back", async || enters(&old, &old).await).await;
    pings(&mut before).await;
}

/// A certificate proves who its bearer is, over TLS and over WebSocket in TLS; one of a stranger
/// proves nothing on either. What the bearer may do, the rules say by that name.
#[tokio::test]
async fn a_certificate_says_which_user_a_client_is() {
    let (authority, stranger) = (Authority::new("users"), Authority::new("pretenders"));
    let files = authority.server();
    let tls_keys = format!(
        "bind: '127.0.0.1:0', ssl: on, certfile: '{}', keyfile: '{}', cafile: '{}'",
        files.certfile.display(),
        files.keyfile.display(),
        authority.path("ca.pem").display()
    );
    let yaml = format!(
        "listeners: {{default: {{{tls_keys}}}, web: {{type: ws}}}}\n\
         auth: {{plugins: [auth_certificate], certificate: {{user: common-name}}}}\n\
         rules: [{{allow: all, user: client, filters: '%u/#'}}]\n"
    );
    let config = Config::from_yaml(&yaml, "broker.yaml").unwrap().config;
    let broker = Broker::new(config).start().await.unwrap();
    let [plain, web] = *broker.addresses() else { panic!("two listeners") };
    /// SUBSCRIBE to two filters, and that the first is granted.
    const SUBSCRIBE: &[u8] = b"\x82\x15\x00\x01\x00\x08client/#\x00\x00\x05other\x00";
    const SUBACK: &[u8] = b"\x90\x04\x00\x01\x00\x80";
    const REFUSED: &[u8] = b"\x20\x02\x00\x05";

    let with = |shows| authority.client(shows);
    // Who vouches for a client, and is sent along, is not the client.
    let between = authority.vouched("between");
    let by_another = authority.client_with(Some(&between), &[&between]);
    for known in [with(Some(&authority)), by_another] {
        let mut stream = tls(plain, &known).await.unwrap();
        for (asked, want) in [(CONNECT, CONNACK), (SUBSCRIBE, SUBACK)] {
            stream.write_all(asked).await.unwrap();
            let mut got = vec![0; want.len()];
            timeout(PATIENCE, stream.read_exact(&mut got)).await.unwrap().unwrap();
            assert_eq!(got, want);
        }
    }
    let mut stream = tls(plain, &with(None)).await.unwrap();
    stream.write_all(CONNECT).await.unwrap();
    let mut got = [0; 4];
    timeout(PATIENCE, stream.read_exact(&mut got)).await.unwrap().unwrap();
    assert_eq!(got, REFUSED);
    assert!(is_refused(tls(plain, &with(Some(&stranger))).await).await);

    for (shows, want) in [(Some(&authority), CONNACK), (None, REFUSED)] {
        let stream = tls(web, &with(shows)).await.unwrap();
        let mut frames = upgrade(stream, Some("mqtt")).await.unwrap();
        frames.send(binary(CONNECT)).await.unwrap();
        assert_eq!(next(&mut frames).await, binary(want));
    }
    let is_let_in = match tls(web, &with(Some(&stranger))).await {
        Ok(stream) => upgrade(stream, Some("mqtt")).await.is_ok(),
        Err(_) => false,
    };
    assert!(!is_let_in, "nobody checked the certificate");
}
