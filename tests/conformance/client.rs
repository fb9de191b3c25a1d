//! A raw client: it sends what it is told to, packets or bytes, and says what came.
//!
//! It answers nothing by itself and checks nothing but that what came are packets which a broker
//! may send. Everything that is waited for comes within [`DEADLINE`] or the test fails; that
//! nothing comes is shown by PINGREQs whose answers are the next packets. Nothing here says how
//! soon something comes: a machine has its hands full at times. That is tested where time is
//! simulated.

use std::fmt::Debug;
use std::future::Future;
use std::io::ErrorKind;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use stormpetrel::mqtt::types::{QoS, Reason, Version};
use stormpetrel::mqtt::wire::{
    Ack, Answers, ConnAck, Connect, Decoder, Disconnect, PACKET_BYTES_MAX, Packet, Publish, Sender,
    Subscribe, encode,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::broker::Running;
use crate::packets::{id, pubrel, request, subscribe};

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// By how much the broker may be early: it counts in whole milliseconds, from when it last looked.
pub(crate) const EARLY: Duration = Duration::from_millis(10);

/// The packet id of the requests that [`Client::subscribe`] and [`Client::publish`] send.
const OWN_ID: u16 = 60_000;

/// One connection to a broker.
pub(crate) struct Client {
    stream: TcpStream,
    version: Version,
    decoder: Decoder,
    received: BytesMut,
}

impl Client {
    /// A connection on which nothing has been sent yet.
    pub(crate) async fn open(broker: &Running, version: Version) -> Client {
        let stream = TcpStream::connect(broker.address).await.expect("the broker listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let decoder = Decoder::with_version(Sender::Broker, version, PACKET_BYTES_MAX);
        Client { stream, version, decoder, received: BytesMut::new() }
    }

    /// A client that the broker accepted.
    pub(crate) async fn connect(broker: &Running, connect: Connect) -> Client {
        Client::connect_answered(broker, connect).await.0
    }

    /// A client that the broker accepted, and how it said so.
    pub(crate) async fn connect_answered(broker: &Running, connect: Connect) -> (Client, ConnAck) {
        let mut client = Client::open(broker, connect.version).await;
        client.send(connect).await;
        let answer = client.receive_connack().await;
        assert_eq!(answer.reason, Reason::Success, "the client is accepted");
        (client, answer)
    }

    /// Sends one packet.
    pub(crate) async fn send(&mut self, packet: impl IntoPacket) {
        let mut bytes = BytesMut::new();
        encode(&packet.into_packet(), self.version, &mut bytes).expect("not too large");
        self.send_bytes(&bytes).await;
    }

    /// Sends bytes. A broker that hung up already is no failure here: what is expected next is.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        match within("to send", self.stream.write_all(bytes)).await {
            Ok(()) => {}
            Err(error) if is_hang_up(error.kind()) => {}
            Err(error) => panic!("sending: {error}"),
        }
    }

    /// Ends what is sent, and still receives.
    pub(crate) async fn shut_down_sending(&mut self) {
        self.stream.shutdown().await.expect("the socket is open");
    }

    /// The next packet. Fails where the connection is closed, or what comes is no packet.
    pub(crate) async fn receive(&mut self) -> Packet {
        let frame = self.receive_bytes().await;
        self.decode(frame)
    }

    /// The bytes of the next packet, as they came.
    pub(crate) async fn receive_bytes(&mut self) -> Bytes {
        within("for a packet", self.frame()).await.expect("a packet, but the broker closed")
    }

    /// The bytes of the next packet; none where the broker closed the connection instead.
    pub(crate) async fn receive_bytes_or_end(&mut self) -> Option<Bytes> {
        within("for a packet or the end", self.frame()).await
    }

    async fn frame(&mut self) -> Option<Bytes> {
        loop {
            let length = self.decoder.frame_bytes(&self.received).unwrap_or_else(|error| {
                panic!("the broker sent no packet: {error}: {:?}", self.received)
            });
            if let Some(length) = length.filter(|&length| length <= self.received.len()) {
                return Some(self.received.split_to(length).freeze());
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if is_hang_up(error.kind()) => break,
                Err(error) => panic!("receiving: {error}"),
            }
        }
        assert!(self.received.is_empty(), "closed within a packet: {:?}", self.received);
        None
    }

    fn decode(&mut self, mut frame: Bytes) -> Packet {
        let shown = frame.clone();
        match self.decoder.decode(&mut frame) {
            Ok(Some(packet)) if !frame.has_remaining() => packet,
            other => panic!("the broker sent no packet: {other:?}: {shown:?}"),
        }
    }

    /// The next packet is this one.
    pub(crate) async fn expect(&mut self, expected: impl IntoPacket) {
        assert_eq!(self.receive().await, expected.into_packet());
    }

    /// The next packet has these bytes.
    pub(crate) async fn expect_bytes(&mut self, expected: &[u8]) {
        assert_eq!(&*self.receive_bytes().await, expected);
    }

    /// The next packet is a CONNACK.
    pub(crate) async fn receive_connack(&mut self) -> ConnAck {
        match self.receive().await {
            Packet::ConnAck(answer) => *answer,
            other => unexpected("CONNACK", &other),
        }
    }

    /// The next packet is a PUBLISH.
    pub(crate) async fn receive_publish(&mut self) -> Publish {
        match self.receive().await {
            Packet::Publish(publish) => publish,
            other => unexpected("PUBLISH", &other),
        }
    }

    /// The next packet is a PUBLISH with this payload.
    pub(crate) async fn expect_payload(&mut self, payload: &str) -> Publish {
        let publish = self.receive_publish().await;
        assert_eq!(publish.payload, payload, "{publish:?}");
        publish
    }

    /// The next packet is a SUBACK.
    pub(crate) async fn receive_suback(&mut self) -> Answers {
        match self.receive().await {
            Packet::SubAck(answers) => *answers,
            other => unexpected("SUBACK", &other),
        }
    }

    /// The next packet is an UNSUBACK.
    pub(crate) async fn receive_unsuback(&mut self) -> Answers {
        match self.receive().await {
            Packet::UnsubAck(answers) => *answers,
            other => unexpected("UNSUBACK", &other),
        }
    }

    /// The next packet is a PUBACK.
    pub(crate) async fn receive_puback(&mut self) -> Ack {
        match self.receive().await {
            Packet::PubAck(ack) => ack,
            other => unexpected("PUBACK", &other),
        }
    }

    /// The next packet is a PUBREC.
    pub(crate) async fn receive_pubrec(&mut self) -> Ack {
        match self.receive().await {
            Packet::PubRec(ack) => ack,
            other => unexpected("PUBREC", &other),
        }
    }

    /// The next packet is a DISCONNECT.
    pub(crate) async fn receive_disconnect(&mut self) -> Disconnect {
        match self.receive().await {
            Packet::Disconnect(disconnect) => *disconnect,
            other => unexpected("DISCONNECT", &other),
        }
    }

    /// Nothing is waiting: the answers to two PINGREQs are the next packets. Two, because the
    /// first answer may overtake a PUBLISH.
    pub(crate) async fn expect_nothing(&mut self) {
        for _ in 0..2 {
            self.send(Packet::PingReq).await;
            self.expect(Packet::PingResp).await;
        }
    }

    /// Nothing more comes, and the connection is closed.
    pub(crate) async fn expect_closed(&mut self) {
        if let Some(frame) = within("for the end", self.frame()).await {
            panic!("the end was expected, not {:?}", self.decode(frame));
        }
    }

    /// The broker ends the connection because of the client: with a DISCONNECT of this reason
    /// in 5.0, without a word in 3.1.1.
    pub(crate) async fn expect_disconnected(&mut self, reason: Reason) {
        if self.version.is_v5() {
            assert_eq!(self.receive_disconnect().await.reason, reason);
        }
        self.expect_closed().await;
    }

    /// The broker refuses the CONNECT: CONNACK of this reason, without a session, and the end.
    pub(crate) async fn expect_refused(&mut self, reason: Reason) {
        let answer = self.receive_connack().await;
        assert_eq!((answer.reason, answer.session_present), (reason, false));
        self.expect_closed().await;
    }

    /// Subscribes to a filter, which is granted as asked. Nothing else may be on its way.
    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) {
        self.subscribe_with(subscribe(OWN_ID, vec![request(filter, qos)])).await;
    }

    /// Subscribes to filters, which are granted as asked. Nothing else may be on its way.
    pub(crate) async fn subscribe_with(&mut self, subscribe: Subscribe) {
        let (id, requests) = (subscribe.id, subscribe.requests.clone());
        self.send(subscribe).await;
        let answers = self.receive_suback().await;
        let granted: Vec<_> =
            requests.map(|request| Reason::granted(request.options.qos)).collect();
        assert_eq!((answers.id, answers.reasons), (id, granted));
    }

    /// Publishes a message and returns when the broker has taken it, at QoS 0 as well. Nothing
    /// else may be on its way to this client.
    pub(crate) async fn publish(&mut self, publish: Publish) {
        let packet_id = publish.delivery.id();
        let qos = publish.delivery.qos();
        self.send(publish).await;
        match (qos, packet_id) {
            (QoS::AtLeastOnce, Some(packet_id)) => {
                let ack = self.receive_puback().await;
                assert_eq!(ack.id, packet_id);
                assert!(!ack.reason.is_error(), "the message is taken: {:?}", ack.reason);
            }
            (QoS::ExactlyOnce, Some(packet_id)) => {
                let ack = self.receive_pubrec().await;
                assert_eq!(ack.id, packet_id);
                assert!(!ack.reason.is_error(), "the message is taken: {:?}", ack.reason);
                self.send(pubrel(packet_id.get())).await;
                self.expect(Packet::PubComp(Ack::new(packet_id, Reason::Success))).await;
            }
            _ => self.expect_nothing().await,
        }
    }

    /// Unsubscribes from a filter that was subscribed. Nothing else may be on its way.
    pub(crate) async fn unsubscribe(&mut self, filter: &str) {
        self.send(crate::packets::unsubscribe(OWN_ID, &[filter])).await;
        let answers = self.receive_unsuback().await;
        assert_eq!(answers.id, id(OWN_ID));
        assert!(answers.reasons.iter().all(|&reason| reason == Reason::Success), "{answers:?}");
    }
}

/// Every packet, and what packets are made of.
pub(crate) trait IntoPacket {
    fn into_packet(self) -> Packet;
}

impl IntoPacket for Packet {
    fn into_packet(self) -> Packet {
        self
    }
}

impl IntoPacket for Publish {
    fn into_packet(self) -> Packet {
        Packet::Publish(self)
    }
}

impl IntoPacket for Connect {
    fn into_packet(self) -> Packet {
        Packet::Connect(Box::new(self))
    }
}

impl IntoPacket for Subscribe {
    fn into_packet(self) -> Packet {
        Packet::Subscribe(Box::new(self))
    }
}

impl IntoPacket for Disconnect {
    fn into_packet(self) -> Packet {
        Packet::Disconnect(Box::new(self))
    }
}

/// What comes within the deadline.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {DEADLINE:?} {what}, in vain"),
    }
}

fn is_hang_up(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}

fn unexpected(expected: &str, packet: &impl Debug) -> ! {
    panic!("{expected} was expected, not {packet:?}")
}
