//! The shell as a whole, on a network of pipes and with paused time: real bytes, real machine.
//!
//! What MQTT says is tested in the machine; here it is about bytes that come in pieces, peers
//! that do not read or go without a word, and about time.

mod admission;
mod asking;
mod door;
mod layered;
mod logs;
mod small_disk;
mod unfinished;

use std::future::{Future, pending, ready};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::door::Plugins;
use super::{Clock, Network, Peer, Shared, run, shared_with};
use crate::access::{Authenticate, ConnectRequest, Refusal, Verdict};
use crate::config::{Config, Endpoint};
use crate::machine::{Drops, Seed, Timestamp};
use crate::mqtt::topic::{Filter, TopicName};
use crate::mqtt::types::{PacketId, QoS, Reason, Text, Version};
use crate::mqtt::wire::{
    Ack, Connect, ConnectProperties, Decoder, Delivery, Disconnect, Packet, Publish, Sender,
    Subscribe, SubscriptionOptions, SubscriptionRequest, Unsubscribe, Will, encode,
};

/// Lets in who says "good".
struct Password;

impl Authenticate for Password {
    async fn authenticate(&self, request: &ConnectRequest) -> Verdict {
        match request.password.as_deref() {
            Some(b"good") => Verdict::Proven,
            _ => Verdict::Refused(Refusal::BadCredentials),
        }
    }
}

/// A network whose connections are pipes.
#[derive(Clone)]
struct Pipes {
    incoming: Incoming,
    /// The far ends of connections to the server `there`, port 80.
    servers: mpsc::UnboundedSender<DuplexStream>,
    wall: Wall,
    clock: Clock,
}

/// How many milliseconds the wall clock is ahead of the broker's; none: there is none.
type Wall = Arc<std::sync::Mutex<Option<i64>>>;

/// What `accept` gives, one after the other.
type Incoming = Arc<Mutex<mpsc::UnboundedReceiver<io::Result<(DuplexStream, Peer)>>>>;

impl Network for Pipes {
    type Listener = Incoming;
    type Accepted = DuplexStream;
    type Stream = DuplexStream;

    async fn bind(&self, _endpoint: &Endpoint) -> io::Result<Vec<Self::Listener>> {
        Ok(vec![self.incoming.clone()])
    }

    fn address(&self, _listener: &Self::Listener) -> io::Result<Option<SocketAddr>> {
        Ok(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 1883))))
    }

    async fn accept(&self, listener: &Self::Listener) -> io::Result<(DuplexStream, Peer)> {
        match listener.lock().await.recv().await {
            Some(accepted) => accepted,
            None => pending().await,
        }
    }

    fn adopt(&self, accepted: DuplexStream) -> io::Result<DuplexStream> {
        Ok(accepted)
    }

    fn connect(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<DuplexStream>> + 'static {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let is_there = host == "there" && port == 80;
        let reached = if is_there { self.servers.send(theirs).is_ok() } else { false };
        ready(if reached { Ok(ours) } else { Err(io::ErrorKind::ConnectionRefused.into()) })
    }

    fn date(&self) -> Option<Duration> {
        let ahead = (*self.wall.lock().expect("no panic"))?;
        let shown = self.clock.now().shifted(ahead);
        Some(Duration::from_millis(shown.0))
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }
}

/// A running broker.
struct World {
    shared: Arc<Shared<DuplexStream>>,
    outgoing: mpsc::UnboundedSender<io::Result<(DuplexStream, Peer)>>,
    broker: JoinHandle<()>,
    /// Connections of the broker to the server `there`.
    asked: Mutex<mpsc::UnboundedReceiver<DuplexStream>>,
    /// It is there if it is set before the broker has its first turn.
    wall: Wall,
}

/// A client's end of a pipe.
struct Client {
    stream: DuplexStream,
    decoder: Decoder,
    received: BytesMut,
}

/// Runs a broker and `scenario` on one thread. Time passes only while everybody waits.
fn with_broker<F: Future<Output = ()>>(scenario: impl FnOnce(World) -> F) {
    with_plugins(&Config::default(), Plugins::default(), scenario);
}

/// The same, with plugins that the configuration names.
fn with_plugins<F: Future<Output = ()>>(
    config: &Config,
    plugins: Plugins,
    scenario: impl FnOnce(World) -> F,
) {
    let config = config.clone();
    let mut builder = Builder::new_current_thread();
    let builder = builder.enable_time().start_paused(true);
    let runtime = builder.build_local(LocalOptions::default()).expect("a runtime");
    runtime.block_on(async {
        let (outgoing, incoming) = mpsc::unbounded_channel();
        let (servers, asked) = mpsc::unbounded_channel();
        let clock = Clock::starting_at(Timestamp(1_700_000_000_000));
        let wall = Wall::default();
        let incoming = Arc::new(Mutex::new(incoming));
        let network = Pipes { incoming, servers, wall: wall.clone(), clock };
        let shared = shared_with(&config, &plugins, Seed::default(), clock, 1)
            .expect("the configuration is good");
        let of_broker = shared.clone();
        let broker = tokio::task::spawn_local(async move {
            run(network, &config, of_broker).await.expect("pipes can always be bound");
        });
        scenario(World { shared, outgoing, broker, asked: Mutex::new(asked), wall }).await;
    });
}

impl World {
    /// A connection that holds `capacity` bytes each way.
    fn open(&self, capacity: usize) -> Client {
        self.open_from("127.0.0.1", capacity)
    }

    /// The same, from that address.
    fn open_from(&self, address: &str, capacity: usize) -> Client {
        let (ours, theirs) = tokio::io::duplex(capacity);
        let peer = SocketAddr::new(address.parse().expect("an address"), 50_000);
        self.outgoing.send(Ok((theirs, peer.into()))).expect("the broker accepts");
        let decoder = Decoder::with_version(Sender::Broker, Version::V5, u32::MAX);
        Client { stream: ours, decoder, received: BytesMut::new() }
    }

    /// A client that is connected.
    async fn connect(&self, client_id: &str, capacity: usize) -> Client {
        let mut client = self.open(capacity);
        client.send(&Packet::Connect(Box::new(connect(client_id)))).await;
        let answer = client.recv().await;
        assert!(matches!(&answer, Some(Packet::ConnAck(a)) if a.reason == Reason::Success));
        client
    }

    fn connections(&self) -> usize {
        self.shared.visit(|machine, _| machine.connections()).expect("the machine is sound")
    }
}

impl Client {
    async fn send(&mut self, packet: &Packet) {
        self.stream.write_all(&bytes_of(packet)).await.expect("the broker reads");
    }

    /// The next packet; none when the broker has closed the connection.
    async fn recv(&mut self) -> Option<Packet> {
        loop {
            let mut whole = Bytes::copy_from_slice(&self.received);
            if let Some(packet) = self.decoder.decode(&mut whole).expect("whole packets") {
                self.received = BytesMut::from(&whole[..]);
                return Some(packet);
            }
            if self.stream.read_buf(&mut self.received).await.ok()? == 0 {
                return None;
            }
        }
    }

    async fn subscribe(&mut self, filter: &str) {
        self.send(&subscribe(filter)).await;
        assert!(matches!(self.recv().await, Some(Packet::SubAck(_))));
    }

    /// The payload of the next message. Everything else is passed over.
    async fn message(&mut self) -> Option<Bytes> {
        loop {
            if let Packet::Publish(publish) = self.recv().await? {
                return Some(publish.payload);
            }
        }
    }
}

fn text(text: &str) -> Text {
    Text::try_from(text).expect("a text")
}

fn bytes_of(packet: &Packet) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode(packet, Version::V5, &mut bytes).expect("not too large");
    bytes
}

/// Clean start, no keep alive, and a will on `will/CLIENT_ID`.
fn connect(client_id: &str) -> Connect {
    let will = Will {
        topic: TopicName::try_from(&*format!("will/{client_id}")).expect("a topic"),
        payload: Bytes::from_static(b"gone"),
        qos: QoS::AtMostOnce,
        retain: false,
        delay: 0,
        properties: Default::default(),
    };
    Connect {
        version: Version::V5,
        client_id: text(client_id),
        clean_start: true,
        keep_alive: 0,
        will: Some(Box::new(will)),
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

fn subscribe(filter: &str) -> Packet {
    let filter = Filter::new(text(filter)).expect("a filter");
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    Packet::Subscribe(Box::new(Subscribe {
        id: PacketId::FIRST,
        subscription_id: None,
        user_properties: Vec::new(),
        requests: vec![SubscriptionRequest { filter: Ok(filter), options }].into(),
    }))
}

fn publish(topic: &str, payload: impl Into<Bytes>) -> Packet {
    Packet::Publish(Publish {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic: Some(TopicName::try_from(topic).expect("a topic")),
        topic_alias: None,
        subscription_ids: Vec::new(),
        properties: None,
        payload: payload.into(),
    })
}

#[test]
fn packets_may_come_in_pieces_and_all_at_once() {
    with_broker(|world| async move {
        let mut client = world.open(64 * 1024);
        for byte in &bytes_of(&Packet::Connect(Box::new(connect("a")))) {
            client.stream.write_all(&[*byte]).await.expect("open");
            tokio::task::yield_now().await;
        }
        assert!(matches!(client.recv().await, Some(Packet::ConnAck(_))));
        client.subscribe("t/#").await;

        let mut bytes = BytesMut::new();
        for number in 0..2_000u32 {
            bytes.extend_from_slice(&bytes_of(&publish("t/x", number.to_string())));
        }
        for piece in bytes.chunks(7_001) {
            client.stream.write_all(piece).await.expect("open");
        }
        for number in 0..2_000u32 {
            assert_eq!(client.message().await, Some(Bytes::from(number.to_string())));
        }
    });
}

#[test]
fn a_visit_may_always_cost_something() {
    let config = Config { effort_max: 0, ..Config::default() };
    assert_eq!(super::settings(&config).effort_max, 1);
}

#[test]
fn large_payloads_pass_between_small_ones() {
    with_broker(|world| async move {
        let mut subscriber = world.connect("subscriber", 1_000).await;
        subscriber.subscribe("#").await;
        let mut publisher = world.connect("publisher", 70_000).await;
        let sizes = [3, 16 * 1024 - 1, 16 * 1024, 9, 900_000, 100_000, 0, 1];
        let sending = async {
            for (fill, size) in (0u8..).zip(sizes) {
                publisher.send(&publish("t", vec![fill; size])).await;
            }
        };
        let receiving = async {
            for (fill, size) in (0u8..).zip(sizes) {
                assert_eq!(subscriber.message().await, Some(Bytes::from(vec![fill; size])));
            }
        };
        tokio::join!(biased; sending, receiving);
    });
}

#[test]
fn a_connection_without_connect_is_closed_in_time_however_it_dribbles() {
    with_broker(|world| async move {
        let mut client = world.open(1_000);
        let start = Instant::now();
        let bytes = bytes_of(&Packet::Connect(Box::new(connect("late"))));
        let mut rest = bytes.iter();
        while let Ok(()) = client.stream.write_all(&[*rest.next().expect("time ends first")]).await
        {
            tokio::time::sleep(Duration::from_millis(700)).await;
            if timeout(Duration::ZERO, client.stream.read_u8()).await.is_ok() {
                break;
            }
        }
        let seconds = start.elapsed().as_secs();
        assert!((10..=11).contains(&seconds), "{seconds}");
        drop(client);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(world.connections(), 0);
    });
}

#[test]
fn disconnect_right_before_the_end_keeps_the_will_unsaid() {
    with_broker(|world| async move {
        let mut watcher = world.connect("watcher", 10_000).await;
        watcher.subscribe("will/#").await;
        let mut polite = world.connect("polite", 10_000).await;
        polite.send(&Packet::Disconnect(Box::new(Disconnect::new(Reason::Success)))).await;
        drop(polite);
        let rude = world.connect("rude", 10_000).await;
        drop(rude);
        match watcher.recv().await {
            Some(Packet::Publish(will)) => assert_eq!(will.topic.as_deref(), Some("will/rude")),
            other => panic!("{other:?}"),
        }
        assert_eq!(world.connections(), 1);
    });
}

/// A pipe is closed as a whole, so that the write fails while DISCONNECT has not been read.
#[test]
fn disconnect_counts_even_if_writing_fails_first() {
    with_broker(|world| async move {
        let mut watcher = world.connect("watcher", 10_000).await;
        watcher.subscribe("will/#").await;
        let mut reader = world.connect("reader", 100).await;
        reader.subscribe("flood").await;
        watcher.send(&publish("flood", vec![0; 1_000])).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        reader.send(&Packet::Disconnect(Box::new(Disconnect::new(Reason::Success)))).await;
        drop(reader);
        let will = timeout(Duration::from_secs(60), watcher.recv()).await;
        assert!(will.is_err(), "{will:?}");
        assert_eq!(world.connections(), 1);
    });
}

#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    with_broker(|world| async move {
        let mut stuck = world.connect("stuck", 1_000).await;
        stuck.subscribe("flood").await;
        let mut publisher = world.connect("publisher", 100_000).await;
        publisher.send(&publish("flood", vec![0; 50_000])).await;
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert_eq!(world.connections(), 2);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(world.connections(), 1);
    });
}

/// What it does not take waits where there is a limit, and not in the shell.
#[test]
fn a_reader_that_takes_nothing_has_what_is_above_its_limit_dropped() {
    let mut config = Config::default();
    config.limits.queue_messages = 10;
    with_plugins(&config, Plugins::default(), async |world| {
        let mut slow = world.connect("slow", 1_000).await;
        slow.subscribe("flood").await;
        let mut publisher = world.connect("publisher", 100_000).await;
        for _ in 0..1_000 {
            publisher.send(&publish("flood", vec![0; 1_000])).await;
            publisher.send(&Packet::PingReq).await;
            assert_eq!(publisher.recv().await, Some(Packet::PingResp));
        }
        let drops = world.shared.visit(|machine, _| machine.drops_of("slow").map(Drops::total));
        let dropped = drops.flatten().expect("it is connected");
        assert!(dropped > 980, "{dropped} are dropped");
    });
}

#[test]
fn a_slow_reader_is_served_and_its_pings_are_heard() {
    with_broker(|world| async move {
        let mut slow = world.open(1_000);
        let keep_alive = Connect { keep_alive: 15, ..connect("slow") };
        slow.send(&Packet::Connect(Box::new(keep_alive))).await;
        assert!(matches!(slow.recv().await, Some(Packet::ConnAck(_))));
        slow.subscribe("flood").await;
        let mut publisher = world.connect("publisher", 100_000).await;
        publisher.send(&publish("flood", vec![0; 50_000])).await;
        let mut received = vec![0; 0];
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            slow.send(&Packet::PingReq).await;
            slow.stream.read_buf(&mut received).await.expect("open");
        }
        assert_eq!(world.connections(), 2);
        slow.received.extend_from_slice(&received);
        assert_eq!(slow.message().await.map(|payload| payload.len()), Some(50_000));
        for _ in 0..6 {
            assert_eq!(slow.recv().await, Some(Packet::PingResp));
        }
    });
}

/// One large message takes it long, and it has something to say all the while.
#[test]
fn who_takes_what_comes_is_read_however_long_that_takes() {
    with_broker(|world| async move {
        const STEPS: usize = 400;
        const STEP_BYTES: usize = 1_500;
        let mut slow = world.connect("slow", 1_000).await;
        slow.subscribe("large").await;
        let mut other = world.connect("other", 1_000_000).await;
        other.send(&publish("large", vec![b'x'; STEPS * STEP_BYTES])).await;
        let few = bytes_of(&publish("news", "more")).repeat(5);
        for step in 0..STEPS {
            let mut taken = vec![0; STEP_BYTES];
            slow.stream.read_exact(&mut taken).await.expect("more comes");
            let said = timeout(Duration::from_secs(5), slow.stream.write_all(&few)).await;
            assert!(said.is_ok(), "it is not read any more after {step} steps");
        }
    });
}

/// A peer that asks and asks and never reads is not read any more.
#[test]
fn a_peer_that_does_not_take_answers_is_not_read() {
    with_broker(|world| async move {
        let mut greedy = world.connect("greedy", 1_000).await;
        let pings = bytes_of(&Packet::PingReq).repeat(10_000);
        let sent = timeout(Duration::from_secs(20), greedy.stream.write_all(&pings)).await;
        assert!(sent.is_err(), "everything was read");
        let mut answers = Vec::new();
        let reading = timeout(Duration::from_secs(1), greedy.stream.read_to_end(&mut answers));
        assert!(reading.await.is_err(), "closed");
        assert!(answers.len() > 2 * 1_024, "{}", answers.len());
    });
}

#[test]
fn what_cannot_be_decoded_is_told_so_and_what_was_whole_before_it_counts() {
    with_broker(|world| async move {
        let mut watcher = world.connect("watcher", 10_000).await;
        watcher.subscribe("t").await;
        let mut broken = world.connect("broken", 10_000).await;
        let mut bytes = bytes_of(&publish("t", "last words"));
        bytes.extend_from_slice(&[0xF7, 0xFF, 0xFF, 0xFF, 0xFF]);
        broken.stream.write_all(&bytes).await.expect("open");
        assert_eq!(watcher.message().await, Some(Bytes::from_static(b"last words")));
        match broken.recv().await {
            Some(Packet::Disconnect(last)) => assert_eq!(last.reason, Reason::MalformedPacket),
            other => panic!("{other:?}"),
        }
        assert_eq!(broken.recv().await, None);
    });
}

#[test]
fn a_broker_that_stops_tells_everyone_and_waits_for_nobody_long() {
    with_broker(|mut world| async move {
        let mut quick = world.connect("quick", 10_000).await;
        let mut stuck = world.connect("stuck", 100).await;
        stuck.subscribe("#").await;
        quick.send(&publish("flood", vec![0; 5_000])).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let start = Instant::now();
        world.shared.stop();
        match quick.recv().await {
            Some(Packet::Disconnect(last)) => assert_eq!(last.reason, Reason::ServerShuttingDown),
            other => panic!("{other:?}"),
        }
        assert_eq!(quick.recv().await, None);
        assert!(start.elapsed() < Duration::from_secs(1));
        drop(quick);
        (&mut world.broker).await.expect("no panic");
        let seconds = start.elapsed().as_secs();
        assert!((4..=6).contains(&seconds), "{seconds}");
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(world.connections(), 0);
    });
}

#[test]
fn a_broker_that_has_stopped_does_not_linger() {
    with_broker(|world| async move {
        let mut late = world.connect("late", 100).await;
        late.subscribe("#").await;
        late.send(&publish("flood", vec![0; 5_000])).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let start = Instant::now();
        world.shared.stop();
        tokio::time::sleep(Duration::from_millis(4_500)).await;
        while late.recv().await.is_some() {}
        late.stream.write_all(b"?").await.expect("the broker waits for the end");
        world.broker.await.expect("no panic");
        tokio::time::sleep(Duration::from_millis(1)).await;
        late.stream.write_all(b"?").await.expect_err("the broker waits no more");
        assert_eq!(start.elapsed().as_secs(), 5);
    });
}

#[test]
fn keep_alive_ends_a_connection_even_if_its_output_is_stuck() {
    with_broker(|world| async move {
        let mut stuck = world.open(100);
        let keep_alive = Connect { keep_alive: 4, ..connect("stuck") };
        stuck.send(&Packet::Connect(Box::new(keep_alive))).await;
        assert!(matches!(stuck.recv().await, Some(Packet::ConnAck(_))));
        stuck.subscribe("#").await;
        let mut publisher = world.connect("publisher", 100_000).await;
        publisher.send(&publish("flood", vec![0; 5_000])).await;
        publisher.send(&publish("flood", vec![0; 200_000])).await;
        tokio::time::sleep(Duration::from_millis(5_900)).await;
        assert_eq!(world.connections(), 2);
        tokio::time::sleep(Duration::from_millis(5_000)).await;
        assert_eq!(world.connections(), 2, "it may still take what is owed");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(world.connections(), 1);
    });
}

#[test]
fn a_silent_client_is_told_why_even_if_it_takes_its_last_bytes_late() {
    with_broker(|world| async move {
        let mut late = world.open(1_000);
        let keep_alive = Connect { keep_alive: 4, ..connect("late") };
        late.send(&Packet::Connect(Box::new(keep_alive))).await;
        assert!(matches!(late.recv().await, Some(Packet::ConnAck(_))));
        late.subscribe("flood").await;
        let mut publisher = world.connect("publisher", 100_000).await;
        publisher.send(&publish("flood", vec![0; 50_000])).await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!(late.message().await.map(|payload| payload.len()), Some(50_000));
        let last = late.recv().await;
        assert!(
            matches!(&last, Some(Packet::Disconnect(d)) if d.reason == Reason::KeepAliveTimeout),
            "{last:?}"
        );
        assert_eq!(late.recv().await, None);
    });
}

#[test]
fn others_are_served_while_a_very_large_subscribe_is_seen_to() {
    with_broker(|world| async move {
        let mut greedy = world.connect("greedy", 1_000_000).await;
        let mut other = world.connect("other", 1_000).await;
        let requests = (0..20_000).map(|number| SubscriptionRequest {
            filter: Filter::try_from(format!("f/{number}").as_str()).map_err(|_| text("")),
            options: SubscriptionOptions::default(),
        });
        greedy
            .send(&Packet::Subscribe(Box::new(Subscribe {
                id: PacketId::FIRST,
                subscription_id: None,
                user_properties: Vec::new(),
                requests: requests.collect(),
            })))
            .await;
        greedy.send(&Packet::PingReq).await;
        let shared = world.shared.clone();
        let pings = tokio::task::spawn_local(async move {
            let subscriptions = || shared.visit(|machine, _| machine.subscriptions());
            let (mut pings, mut seen) = (0, Some(0));
            while subscriptions() < Some(20_000) {
                other.send(&Packet::PingReq).await;
                assert_eq!(other.recv().await, Some(Packet::PingResp));
                pings += usize::from(subscriptions() > seen);
                seen = subscriptions();
            }
            pings
        });
        let pings = pings.await.expect("it does not panic");
        assert!(pings > 5, "only {pings} pings were answered meanwhile");
        let answer = greedy.recv().await;
        assert!(matches!(&answer, Some(Packet::SubAck(a)) if a.reasons.len() == 20_000));
        assert_eq!(greedy.recv().await, Some(Packet::PingResp));
    });
}

#[test]
fn more_than_one_flush_takes_is_sent_all_the_same() {
    with_broker(|world| async move {
        let mut publisher = world.connect("publisher", 64 * 1024).await;
        for number in 0..900 {
            let mut message = publish(&format!("t/{number}"), "m");
            if let Packet::Publish(publish) = &mut message {
                publish.retain = true;
            }
            publisher.send(&message).await;
        }
        let mut clients = Vec::new();
        for number in 0..40 {
            clients.push(world.connect(&format!("client-{number}"), 64 * 1024).await);
        }
        for client in &mut clients {
            client.send(&subscribe("t/#")).await;
        }
        for client in &mut clients {
            for _ in 0..900 {
                let message = timeout(Duration::from_secs(1), client.message()).await;
                assert!(message.expect("in time").is_some());
            }
        }
    });
}

#[test]
fn a_broker_whose_machine_panics_stops_and_closes_its_connections() {
    with_broker(|world| async move {
        let mut client = world.connect("client", 1_000).await;
        let panics = || world.shared.visit(|_, _| panic!("a test"));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).expect_err("it panics");
        world.shared.failed().await;
        world.broker.await.expect("the shell itself does not panic");
        assert_eq!(client.recv().await, None);
        assert!(world.shared.visit(|_, _| ()).is_none(), "it decides nothing any more");
    });
}

#[test]
fn an_acknowledged_publish_is_answered_in_the_same_order() {
    with_broker(|world| async move {
        let mut client = world.connect("client", 100_000).await;
        let mut bytes = BytesMut::new();
        let ids = || (1..=700u16).filter_map(PacketId::new);
        for id in ids() {
            let Packet::Publish(mut publish) = publish("t", "x") else { unreachable!() };
            publish.delivery = Delivery::AtLeastOnce { id, dup: false };
            bytes.extend_from_slice(&bytes_of(&Packet::Publish(publish)));
        }
        client.stream.write_all(&bytes).await.expect("open");
        for id in ids() {
            let answer = client.recv().await;
            assert!(
                matches!(&answer, Some(Packet::PubAck(Ack { id: got, .. })) if *got == id),
                "{answer:?}"
            );
        }
    });
}

#[test]
fn a_client_that_takes_no_answers_is_not_read_for_long_however_large_they_are() {
    with_broker(|world| async move {
        let mut client = world.connect("c", 4_096).await;
        let filters = (0..5_000).map(|_| Filter::try_from("a").map_err(|_| text(""))).collect();
        let unsubscribe = Packet::Unsubscribe(Box::new(Unsubscribe {
            id: PacketId::FIRST,
            user_properties: Vec::new(),
            filters,
        }));
        let bytes = bytes_of(&unsubscribe);
        let mut taken = 0;
        while taken < 300
            && timeout(Duration::from_secs(1), client.stream.write_all(&bytes)).await.is_ok()
        {
            taken += 1;
        }
        assert!(taken < 100, "5,000 bytes of answer wait for each of {taken}");
    });
}
