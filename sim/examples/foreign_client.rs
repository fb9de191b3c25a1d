//! Your own client against the real broker in a storm.
//!
//! The client here is a foreign one: a few lines of MQTT 3.1.1 written for this file alone, over
//! anything that reads and writes bytes. The broker is the production shell, on a simulated network
//! that tears streams apart, delays, and cuts connections. Put your client in the place of
//! `publisher`: all it needs is a stream, which turmoil gives. The same seed, the same storm:
//!
//! `cargo run -p stormpetrel-sim --example foreign_client -- 7`

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::env;
use std::io;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use stormpetrel::config::{Bind, Config, Listener};
use stormpetrel::machine::Timestamp;
use stormpetrel::server::{self, Clock};
use stormpetrel_sim::{Chaos, Dice, SimNetwork};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use turmoil::net::TcpStream;

const BROKER: &str = "broker";
const EPOCH_S: u64 = 1_700_000_000;
const MESSAGES: u16 = 200;
/// A client that waits longer for an answer takes its connection for dead.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> turmoil::Result {
    let seed = env::args().nth(1).map_or(Ok(7), |seed| seed.parse())?;
    let received = Rc::new(RefCell::new(BTreeSet::new()));
    let mut sim = turmoil::Builder::new()
        .epoch(UNIX_EPOCH + Duration::from_secs(EPOCH_S))
        .tick_duration(Duration::from_millis(5))
        .tcp_capacity(4_096)
        .min_message_latency(Duration::from_millis(5))
        .max_message_latency(Duration::from_millis(150))
        .simulation_duration(Duration::from_secs(600))
        .rng_seed(seed)
        .build();
    sim.host(BROKER, move || broker(seed));
    let seen = Rc::clone(&received);
    sim.client("subscriber", async move { subscriber(seen).await });
    sim.client("publisher", async move { publisher(seed).await });
    sim.run()?;
    let count = received.borrow().len();
    assert_eq!(count, usize::from(MESSAGES), "a message that was acknowledged did not come");
    say(&format!("seed {seed}: all {count} messages came, after {:?}", sim.elapsed()));
    Ok(())
}

/// The broker as it is in production, on a network that treats streams badly.
async fn broker(seed: u64) -> turmoil::Result {
    let chaos = Chaos { short_reads: 300, short_writes: 300, pending: 200, ..Chaos::default() };
    let bind = Bind { host: None, port: Bind::DEFAULT_PORT };
    let listener = Listener::tcp("default", bind);
    let config = Config { listeners: vec![listener], ..Config::default() };
    let clock = Clock::starting_at(Timestamp(EPOCH_S * 1_000));
    let shared = server::shared(&config, Dice::new(seed, "machine", 0).seed(), clock, 1)?;
    Ok(server::run(SimNetwork::new(seed, chaos), &config, shared).await?)
}

/// Publishes every message at QoS 1 until it is acknowledged. Now and then it loses its
/// connection on purpose, in the middle of a message.
async fn publisher(seed: u64) -> turmoil::Result {
    tokio::time::sleep(Duration::from_secs(2)).await; // the subscription stands by then
    let mut dice = Dice::new(seed, "publisher", 0);
    let mut next = 1;
    while next <= MESSAGES {
        let Ok(mut client) = Client::connect("publisher").await else { continue };
        while next <= MESSAGES {
            if client.publish(next).await.is_err() {
                break;
            }
            if dice.chance(100) {
                break; // goes without a word, and does not wait for the answer
            }
            match client.read_until(4).await {
                Ok(_) => next += 1,
                Err(_) => break,
            }
        }
    }
    Ok(())
}

/// Takes messages in a session that lasts, and acknowledges them.
async fn subscriber(received: Rc<RefCell<BTreeSet<u16>>>) -> turmoil::Result {
    while received.borrow().len() < usize::from(MESSAGES) {
        let Ok(mut client) = Client::connect("subscriber").await else { continue };
        if client.subscribe("storm").await.is_err() {
            continue;
        }
        while received.borrow().len() < usize::from(MESSAGES) {
            let Ok((_, body)) = client.read_until(3).await else { break };
            let (_topic, rest) = body.split_at(2 + "storm".len());
            let [id_high, id_low, high, low] = rest else { return Err("a strange PUBLISH".into()) };
            received.borrow_mut().insert(u16::from_be_bytes([*high, *low]));
            if client.send(&[0x40, 2, *id_high, *id_low]).await.is_err() {
                break;
            }
        }
    }
    Ok(())
}

/// The foreign client: MQTT 3.1.1, short packets only. Knows nothing of the broker's code.
struct Client<S>(S);

impl Client<TcpStream> {
    /// Comes in with a session that lasts.
    async fn connect(id: &str) -> io::Result<Client<TcpStream>> {
        let mut client = Client(TcpStream::connect((BROKER, Bind::DEFAULT_PORT)).await?);
        let mut packet = vec![0x10, 12 + id.len() as u8];
        packet.extend_from_slice(b"\x00\x04MQTT\x04\x00\x00\x00\x00");
        packet.push(id.len() as u8);
        packet.extend_from_slice(id.as_bytes());
        client.send(&packet).await?;
        client.read_until(2).await?;
        Ok(client)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        timeout(PATIENCE, self.0.write_all(packet)).await?
    }

    async fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        let mut packet = vec![0x82, 5 + filter.len() as u8, 0, 1, 0, filter.len() as u8];
        packet.extend_from_slice(filter.as_bytes());
        packet.push(1);
        self.send(&packet).await
    }

    /// Publishes a number at QoS 1, with itself as the packet id.
    async fn publish(&mut self, number: u16) -> io::Result<()> {
        let [high, low] = number.to_be_bytes();
        let mut packet = b"\x32\x0b\x00\x05storm".to_vec();
        packet.extend_from_slice(&[high, low, high, low]);
        self.send(&packet).await
    }

    /// Reads packets until one is of this type: its first byte, and what is behind its length.
    async fn read_until(&mut self, wanted: u8) -> io::Result<(u8, Vec<u8>)> {
        loop {
            let (first, body) = timeout(PATIENCE, self.read()).await??;
            if first >> 4 == wanted {
                return Ok((first, body));
            }
        }
    }

    async fn read(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut header = [0; 2];
        self.0.read_exact(&mut header).await?;
        let mut body = vec![0; usize::from(header[1])];
        self.0.read_exact(&mut body).await?;
        Ok((header[0], body))
    }
}

#[expect(clippy::print_stdout, reason = "an example talks to people")]
fn say(words: &str) {
    println!("{words}");
}
