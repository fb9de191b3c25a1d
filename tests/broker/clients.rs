//! rumqttc, a client that others wrote, against the broker inside this process: MQTT 3.1.1 and
//! 5.0, every QoS both ways, sessions, retained messages, wills, order.
//!
//! Nothing here knows the broker's own codec. More clients are in `tests/interop`, which needs
//! them installed.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use rumqttc::v5;
use stormpetrel::Broker;
use stormpetrel::config::{Bind, Config, Listener};
use stormpetrel::mqtt::types::QoS;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::PATIENCE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V311,
    V5,
}

const VERSIONS: [Version; 2] = [Version::V311, Version::V5];
const EVERY_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// What a client saw, in either version.
#[derive(Debug, PartialEq)]
enum Event {
    Connected {
        session_present: bool,
    },
    Subscribed,
    /// PUBACK or PUBCOMP.
    Acknowledged,
    Message(Message),
}

#[derive(Debug, PartialEq)]
struct Message {
    topic: String,
    payload: String,
    qos: u8,
    retain: bool,
}

/// How a client connects.
#[derive(Clone, Copy, Debug)]
struct Options {
    version: Version,
    client_id: &'static str,
    is_clean: bool,
    has_will: bool,
}

impl Options {
    fn new(version: Version, client_id: &'static str) -> Options {
        Options { version, client_id, is_clean: true, has_will: false }
    }
}

enum Handle {
    V311(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

struct Client {
    handle: Handle,
    events: mpsc::UnboundedReceiver<Event>,
    /// The task that drives the connection; it ends with the client.
    driver: JoinSet<()>,
    session_present: bool,
}

impl Client {
    async fn connect(address: SocketAddr, options: Options) -> Client {
        let (sender, events) = mpsc::unbounded_channel();
        let mut driver = JoinSet::new();
        let handle = match options.version {
            Version::V311 => {
                let (client, events) = rumqttc::AsyncClient::new(options_311(address, options), 64);
                driver.spawn(drive_311(events, sender));
                Handle::V311(client)
            }
            Version::V5 => {
                let (client, events) = v5::AsyncClient::new(options_5(address, options), 64);
                driver.spawn(drive_5(events, sender));
                Handle::V5(client)
            }
        };
        let mut client = Client { handle, events, driver, session_present: false };
        match client.next().await {
            Event::Connected { session_present } => client.session_present = session_present,
            other => panic!("no CONNACK but {other:?}"),
        }
        client
    }

    async fn next(&mut self) -> Event {
        let event = timeout(PATIENCE, self.events.recv()).await;
        event.expect("nothing came in time").expect("the connection ended")
    }

    async fn message(&mut self) -> Message {
        loop {
            if let Event::Message(message) = self.next().await {
                return message;
            }
        }
    }

    async fn subscribe(&mut self, filter: &str, qos: QoS) {
        match &self.handle {
            Handle::V311(client) => client.subscribe(filter, qos_311(qos)).await.unwrap(),
            Handle::V5(client) => client.subscribe(filter, qos_5(qos)).await.unwrap(),
        }
        while self.next().await != Event::Subscribed {}
    }

    /// Hands a message to the client's own queue.
    async fn send(&self, topic: &str, qos: QoS, retain: bool, payload: String) {
        match &self.handle {
            Handle::V311(client) => {
                client.publish(topic, qos_311(qos), retain, payload).await.unwrap();
            }
            Handle::V5(client) => {
                client.publish(topic, qos_5(qos), retain, payload).await.unwrap();
            }
        }
    }

    /// Publishes a message, and waits until it is acknowledged if it ever is.
    async fn publish(&mut self, topic: &str, qos: QoS, retain: bool, payload: &str) {
        self.send(topic, qos, retain, payload.to_owned()).await;
        if qos > QoS::AtMostOnce {
            while self.next().await != Event::Acknowledged {}
        }
    }

    /// Says goodbye, and waits until the connection has ended.
    async fn leave(mut self) {
        match &self.handle {
            Handle::V311(client) => client.disconnect().await.unwrap(),
            Handle::V5(client) => client.disconnect().await.unwrap(),
        }
        let ended = async { while self.events.recv().await.is_some() {} };
        timeout(PATIENCE, ended).await.expect("the broker closes the connection");
    }

    /// Ends the connection without a word.
    async fn vanish(mut self) {
        self.driver.shutdown().await;
    }
}

fn options_311(address: SocketAddr, options: Options) -> rumqttc::MqttOptions {
    let mut mqtt = rumqttc::MqttOptions::new(options.client_id, "127.0.0.1", address.port());
    mqtt.set_keep_alive(Duration::from_secs(30)).set_clean_session(options.is_clean);
    if options.has_will {
        let qos = rumqttc::QoS::AtLeastOnce;
        mqtt.set_last_will(rumqttc::LastWill::new("will", "gone", qos, false));
    }
    mqtt
}

fn options_5(address: SocketAddr, options: Options) -> v5::MqttOptions {
    let mut mqtt = v5::MqttOptions::new(options.client_id, "127.0.0.1", address.port());
    mqtt.set_keep_alive(Duration::from_secs(30)).set_clean_start(options.is_clean);
    mqtt.set_session_expiry_interval(Some(if options.is_clean { 0 } else { 60 }));
    if options.has_will {
        let qos = v5::mqttbytes::QoS::AtLeastOnce;
        let will = v5::mqttbytes::v5::LastWill::new("will", "gone", qos, false, None);
        mqtt.set_last_will(will);
    }
    mqtt
}

fn qos_311(qos: QoS) -> rumqttc::QoS {
    rumqttc::qos(qos.number()).unwrap()
}

fn qos_5(qos: QoS) -> v5::mqttbytes::QoS {
    v5::mqttbytes::qos(qos.number()).unwrap()
}

async fn drive_311(mut events: rumqttc::EventLoop, sender: mpsc::UnboundedSender<Event>) {
    use rumqttc::{Event as Happened, Packet};
    while let Ok(happened) = events.poll().await {
        let event = match happened {
            Happened::Incoming(Packet::ConnAck(answer)) => {
                Event::Connected { session_present: answer.session_present }
            }
            Happened::Incoming(Packet::SubAck(_)) => Event::Subscribed,
            Happened::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => Event::Acknowledged,
            Happened::Incoming(Packet::Publish(publish)) => Event::Message(Message {
                topic: publish.topic,
                payload: text(&publish.payload),
                qos: publish.qos as u8,
                retain: publish.retain,
            }),
            _ => continue,
        };
        let _ = sender.send(event); // the test may be over
    }
}

async fn drive_5(mut events: v5::EventLoop, sender: mpsc::UnboundedSender<Event>) {
    use v5::{Event as Happened, mqttbytes::v5::Packet};
    while let Ok(happened) = events.poll().await {
        let event = match happened {
            Happened::Incoming(Packet::ConnAck(answer)) => {
                Event::Connected { session_present: answer.session_present }
            }
            Happened::Incoming(Packet::SubAck(_)) => Event::Subscribed,
            Happened::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => Event::Acknowledged,
            Happened::Incoming(Packet::Publish(publish)) => Event::Message(Message {
                topic: text(&publish.topic),
                payload: text(&publish.payload),
                qos: publish.qos as u8,
                retain: publish.retain,
            }),
            _ => continue,
        };
        let _ = sender.send(event); // the test may be over
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn start() -> (Broker, SocketAddr) {
    let listener = Listener::tcp("test", Bind { host: Some("127.0.0.1".to_owned()), port: 0 });
    // Two threads, so that clients meet on different ones.
    let threads = NonZeroU16::new(2);
    let config = Config { listeners: vec![listener], threads, ..Config::default() };
    let broker = Broker::new(config).start().await.unwrap();
    let address = broker.addresses()[0];
    (broker, address)
}

#[tokio::test]
async fn every_qos_arrives_as_the_lower_of_published_and_granted() {
    let (broker, address) = start().await;
    for version in VERSIONS {
        let mut subscriber = Client::connect(address, Options::new(version, "subscriber")).await;
        let mut publisher = Client::connect(address, Options::new(version, "publisher")).await;
        for granted in EVERY_QOS {
            let topic = format!("granted/{granted:?}");
            subscriber.subscribe(&topic, granted).await;
            for qos in EVERY_QOS {
                publisher.publish(&topic, qos, false, "hello").await;
                let want = Message {
                    topic: topic.clone(),
                    payload: "hello".to_owned(),
                    qos: qos.min(granted).number(),
                    retain: false,
                };
                assert_eq!(subscriber.message().await, want, "{version:?}");
            }
        }
        subscriber.leave().await;
        publisher.leave().await;
    }
    assert!(broker.shut_down_and_wait().await);
}

#[tokio::test]
async fn a_thousand_messages_come_in_order_at_every_qos() {
    let (broker, address) = start().await;
    for version in VERSIONS {
        let mut subscriber = Client::connect(address, Options::new(version, "subscriber")).await;
        let publisher = Client::connect(address, Options::new(version, "publisher")).await;
        for qos in EVERY_QOS {
            let topic = format!("order/{qos:?}");
            subscriber.subscribe(&topic, qos).await;
            let sending = async {
                for number in 0..1_000 {
                    publisher.send(&topic, qos, false, number.to_string()).await;
                }
            };
            let receiving = async {
                for number in 0..1_000 {
                    let message = subscriber.message().await;
                    assert_eq!(message.payload, number.to_string(), "{version:?} {qos:?}");
                }
            };
            tokio::join!(sending, receiving);
        }
        subscriber.leave().await;
        publisher.leave().await;
    }
    assert!(broker.shut_down_and_wait().await);
}

#[tokio::test]
async fn a_session_that_is_resumed_gets_what_came_meanwhile() {
    let (broker, address) = start().await;
    for version in VERSIONS {
        let options = Options { is_clean: false, ..Options::new(version, "sleeper") };
        let clean = Options::new(version, "sleeper");
        Client::connect(address, clean).await.leave().await;

        let mut client = Client::connect(address, options).await;
        assert!(!client.session_present, "{version:?}");
        client.subscribe("dream", QoS::ExactlyOnce).await;
        client.leave().await;

        let mut publisher = Client::connect(address, Options::new(version, "publisher")).await;
        for (number, qos) in [QoS::AtLeastOnce, QoS::ExactlyOnce].into_iter().enumerate() {
            publisher.publish("dream", qos, false, &number.to_string()).await;
        }
        let mut client = Client::connect(address, options).await;
        assert!(client.session_present, "{version:?}");
        for (number, qos) in [1, 2].into_iter().enumerate() {
            let message = client.message().await;
            assert_eq!((message.payload, message.qos), (number.to_string(), qos), "{version:?}");
        }
        client.leave().await;

        let client = Client::connect(address, clean).await;
        assert!(!client.session_present, "a clean start ends the session: {version:?}");
        client.leave().await;
        publisher.leave().await;
    }
    assert!(broker.shut_down_and_wait().await);
}

#[tokio::test]
async fn a_retained_message_comes_with_the_subscription_until_it_is_removed() {
    let (broker, address) = start().await;
    for version in VERSIONS {
        let mut publisher = Client::connect(address, Options::new(version, "publisher")).await;
        for payload in ["first", "last"] {
            publisher.publish("keep", QoS::AtLeastOnce, true, payload).await;
        }
        let mut client = Client::connect(address, Options::new(version, "subscriber")).await;
        client.subscribe("keep", QoS::AtLeastOnce).await;
        let message = client.message().await;
        assert!(message.retain && message.payload == "last", "{version:?} {message:?}");
        client.leave().await;

        publisher.publish("keep", QoS::AtLeastOnce, true, "").await;
        let mut client = Client::connect(address, Options::new(version, "subscriber")).await;
        client.subscribe("keep", QoS::AtLeastOnce).await;
        publisher.publish("keep", QoS::AtLeastOnce, false, "live").await;
        let message = client.message().await;
        assert!(!message.retain && message.payload == "live", "{version:?} {message:?}");
        client.leave().await;
        publisher.leave().await;
    }
    assert!(broker.shut_down_and_wait().await);
}

#[tokio::test]
async fn a_will_comes_if_its_client_vanishes_and_not_if_it_leaves() {
    let (broker, address) = start().await;
    for version in VERSIONS {
        let mut watcher = Client::connect(address, Options::new(version, "watcher")).await;
        watcher.subscribe("will", QoS::AtLeastOnce).await;
        let options = |client_id| Options { has_will: true, ..Options::new(version, client_id) };
        Client::connect(address, options("polite")).await.leave().await;
        watcher.publish("will", QoS::AtLeastOnce, false, "none so far").await;
        assert_eq!(watcher.message().await.payload, "none so far", "{version:?}");
        Client::connect(address, options("rude")).await.vanish().await;
        assert_eq!(watcher.message().await.payload, "gone", "{version:?}");
        watcher.leave().await;
    }
    assert!(broker.shut_down_and_wait().await);
}
