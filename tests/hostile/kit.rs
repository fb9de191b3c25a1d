//! A broker to be mistreated, connections that mistreat it, and the check that it still serves.
//!
//! Every read has a deadline; nothing waits by sleeping.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use bytes::Bytes;
use socket2::{Domain, Socket, Type};
use stormpetrel::Broker;
use stormpetrel::config::Config;
use stormpetrel::machine::Limits;
use stormpetrel::mqtt::types::Version;
use stormpetrel::mqtt::wire::{Decoder, Packet, Publish, Sender};

use crate::raw::{self, BOTH, Connect, Level};
use crate::transport::{Line, Transport};

/// Time for any answer, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[expect(clippy::disallowed_methods, reason = "a test has no clock but the machine's")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// A broker, and where it is.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    /// What its only listener's connections travel in.
    via: Transport,
    /// None if it is another process.
    broker: Option<Broker>,
}

impl Site {
    /// A broker in this process, with the default limits.
    pub(crate) fn start(via: Transport) -> Site {
        Site::with_limits(via, |_| {})
    }

    /// A broker in this process.
    pub(crate) fn with_limits(via: Transport, change: impl FnOnce(&mut Limits)) -> Site {
        Site::with_config(via, |config| change(&mut config.limits))
    }

    /// A broker in this process.
    pub(crate) fn with_config(via: Transport, change: impl FnOnce(&mut Config)) -> Site {
        let mut config = Config { listeners: vec![via.listener()], ..Config::default() };
        change(&mut config);
        Site::run(via, config)
    }

    /// A broker in this process, which is told this of who may connect and do what.
    pub(crate) fn with_yaml(access: &str) -> Site {
        Site::run(Transport::Tcp, config_of(access))
    }

    /// On two threads, so that clients meet on different ones.
    fn run(via: Transport, config: Config) -> Site {
        let config = Config { threads: NonZeroU16::new(2), ..config };
        let broker = runtime().block_on(Broker::new(config).start()).unwrap();
        Site { address: broker.addresses()[0], via, broker: Some(broker) }
    }

    /// Tells the broker something else of who may connect and do what.
    pub(crate) fn reload(&self, access: &str) {
        self.broker.as_ref().unwrap().reload(&config_of(access)).unwrap();
    }

    /// A broker that runs elsewhere.
    pub(crate) fn at(address: SocketAddr, via: Transport) -> Site {
        Site { address, via, broker: None }
    }

    /// A connection on which nothing was sent yet.
    pub(crate) fn open(&self, level: Level) -> Peer {
        let socket = TcpStream::connect_timeout(&self.address, PATIENCE).unwrap();
        Peer::new(Line::new(socket, self.via), level)
    }

    /// The same, from an address of this machine.
    pub(crate) fn open_from(&self, from: IpAddr, level: Level) -> Peer {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        socket.connect_timeout(&self.address.into(), PATIENCE).unwrap();
        Peer::new(Line::new(socket.into(), self.via), level)
    }

    /// A client that is connected.
    pub(crate) fn client(&self, level: Level, client_id: &str) -> Peer {
        self.client_by(&Connect::new(level, client_id))
    }

    /// A client that is connected by this CONNECT.
    pub(crate) fn client_by(&self, connect: &Connect) -> Peer {
        let mut peer = self.open(connect.level);
        peer.send(&connect.bytes());
        assert_eq!(peer.connack(), 0, "the connection is refused");
        peer
    }

    /// Fresh clients of both versions connect, subscribe, publish at QoS 1 and receive.
    pub(crate) fn check(&self) {
        for level in BOTH {
            let mut client = self.client(level, &format!("kit-{level}"));
            client.subscribe("kit/+");
            client.send(&raw::publish(level, "kit/check", 7, b"still here"));
            let (mut is_acknowledged, mut is_received) = (false, false);
            while !(is_acknowledged && is_received) {
                match client.next().expect("the connection stays") {
                    Packet::PubAck(ack) => is_acknowledged = ack.id.get() == 7,
                    Packet::Publish(publish) => is_received = publish.payload == "still here",
                    other => panic!("unexpected {other:?}"),
                }
            }
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            assert!(broker.shut_down());
        }
    }
}

/// One listener, and this.
fn config_of(access: &str) -> Config {
    let yaml = format!("listeners: {{default: {{bind: '127.0.0.1:0'}}}}\n{access}\n");
    Config::from_yaml(&yaml, "broker.yaml").unwrap().config
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// One connection to the broker, read by the codec and written byte by byte.
pub(crate) struct Peer {
    pub(crate) line: Line,
    level: Level,
    decoder: Decoder,
    received: Vec<u8>,
}

impl Peer {
    fn new(line: Line, level: Level) -> Peer {
        let version = if level == 5 { Version::V5 } else { Version::V311 };
        let decoder = Decoder::with_version(Sender::Broker, version, u32::MAX);
        Peer { line, level, decoder, received: Vec::new() }
    }

    /// Sends bytes. The broker may have closed the connection: what it said before is still
    /// read.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.line.send(bytes);
    }

    /// As much as the broker takes before it stops reading for that long.
    pub(crate) fn send_for(&mut self, bytes: &[u8], patience: Duration) -> bool {
        self.line.set_write_timeout(patience);
        self.line.send(bytes).is_ok()
    }

    /// The next packet; none when the broker has closed the connection.
    pub(crate) fn next(&mut self) -> Option<Packet> {
        let deadline = now() + PATIENCE;
        loop {
            if let Some(packet) = self.decode() {
                return Some(packet);
            }
            let left = deadline.saturating_duration_since(now());
            assert!(!left.is_zero(), "neither an answer nor a close in time");
            match self.read(left) {
                Some(true) => {}
                Some(false) => return None,
                None => panic!("neither an answer nor a close in time"),
            }
        }
    }

    fn decode(&mut self) -> Option<Packet> {
        let mut input = Bytes::copy_from_slice(&self.received);
        let decoded = self.decoder.decode(&mut input);
        let received = &self.received;
        let packet = decoded.unwrap_or_else(|error| panic!("{error}: {received:02X?}"))?;
        let taken = self.received.len() - input.len();
        self.received.drain(..taken);
        Some(packet)
    }

    /// Reads once: whether bytes came or the connection ended; none: neither within that time.
    pub(crate) fn read(&mut self, patience: Duration) -> Option<bool> {
        self.line.read(&mut self.received, patience)
    }

    /// The code of the CONNACK that comes next.
    pub(crate) fn connack(&mut self) -> u8 {
        match self.next() {
            // The codec shows the codes of 3.1.1 as the reasons of 5.0.
            Some(Packet::ConnAck(answer)) => answer.reason.code(),
            other => panic!("no CONNACK but {other:?}"),
        }
    }

    /// The same; none if the connection is closed instead.
    pub(crate) fn connack_or_close(&mut self) -> Option<u8> {
        match self.next()? {
            Packet::ConnAck(answer) => Some(answer.reason.code()),
            other => panic!("no CONNACK but {other:?}"),
        }
    }

    /// Subscribes at QoS 1. The reason code of SUBACK.
    pub(crate) fn subscribe(&mut self, filter: &str) -> u8 {
        self.send(&raw::subscribe(self.level, filter));
        match self.next() {
            Some(Packet::SubAck(answers)) => answers.reasons[0].code(),
            other => panic!("no SUBACK but {other:?}"),
        }
    }

    /// The message that comes next.
    pub(crate) fn message(&mut self) -> Publish {
        match self.next() {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("no PUBLISH but {other:?}"),
        }
    }

    /// The reason code of the PUBACK that comes next.
    pub(crate) fn puback(&mut self) -> u8 {
        match self.next() {
            Some(Packet::PubAck(ack)) => ack.reason.code(),
            other => panic!("no PUBACK but {other:?}"),
        }
    }

    /// The connection is open and served.
    pub(crate) fn expect_served(&mut self) {
        self.send(&[0xC0, 0]);
        assert_eq!(self.next(), Some(Packet::PingResp));
    }

    /// The connection ends without a word.
    pub(crate) fn expect_closed(&mut self) {
        assert_eq!(self.next(), None);
    }

    /// The connection ends; a client of 5.0 is told why.
    pub(crate) fn expect_refused(&mut self, code: u8) {
        if self.level == 5 {
            match self.next() {
                Some(Packet::Disconnect(disconnect)) => {
                    assert_eq!(disconnect.reason.code(), code, "{:?}", disconnect.reason);
                }
                other => panic!("no DISCONNECT but {other:?}"),
            }
        }
        self.expect_closed();
    }
}
