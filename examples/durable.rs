//! How many acknowledged messages a second a broker with a data directory takes, and what each
//! costs it.
//!
//!     cargo build --release --package stormpetrel
//!     cargo run --release --example durable -- target/release/stormpetrel DIR PUBLISHERS WINDOW [sync|async|none]
//!
//! Publishers at QoS 1 keep WINDOW messages of 64 bytes unacknowledged each, for four seconds; one
//! session that stays, and whose client is away, has to get them all: each is kept. The broker is
//! started anew with a directory below DIR. See `commit.rs` for what the disk alone does.

#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::Context;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PAYLOAD: [u8; 64] = [b'x'; 64];
const WARM: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(4);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, directory, publishers, window, rest @ ..] = &arguments[..] else {
        anyhow::bail!("usage: durable BROKER DIR PUBLISHERS WINDOW [sync|async|none]");
    };
    let durability = rest.first().map_or("sync", String::as_str);
    let (publishers, window): (usize, u16) = (publishers.parse()?, window.parse()?);
    anyhow::ensure!(window > 0, "a window of no messages");
    let broker = Broker::start(program, Path::new(directory), durability)?;
    let mut keeper = broker.connect("keeper", false).await?;
    keeper.write_all(&subscribe("t")).await?;
    read_some(&mut keeper, &mut BytesMut::new()).await?;
    drop(keeper);
    let mut tasks = Vec::new();
    let begin = now() + WARM;
    for number in 0..publishers {
        let stream = broker.connect(&format!("p{number}"), true).await?;
        tasks.push(tokio::spawn(publish(stream, window, begin)));
    }
    tokio::time::sleep_until((now() + WARM).into()).await;
    let (before, written_before) = (broker.processor_time()?, broker.writes()?);
    tokio::time::sleep(MEASURED).await;
    let used = broker.processor_time()? - before;
    let groups = broker.writes()? - written_before;
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await??);
    }
    waits.sort_unstable();
    let count: usize = waits.iter().map(|(_, those)| those).sum();
    anyhow::ensure!(count > 0, "nothing was acknowledged");
    let at = |share: usize| {
        let mut left = count * share / 100;
        for (wait, those) in &waits {
            if left <= *those {
                return *wait;
            }
            left -= those;
        }
        Duration::MAX
    };
    let groups = match groups {
        0 => String::new(),
        _ => format!("; written in groups of {:.0}", count as f64 / groups as f64),
    };
    report(&format!(
        "{durability}: {publishers} publishers, window {window}: {:.0} acknowledged a second, {:.2} \
         us of processor time each; acknowledged after {:?} (median), {:?} (99 %){groups}",
        count as f64 / MEASURED.as_secs_f64(),
        used.as_secs_f64() * 1e6 / count as f64,
        at(50),
        at(99),
    ));
    Ok(())
}

fn report(line: &str) {
    println!("{line}");
}

fn now() -> Instant {
    Instant::now()
}

/// A broker in a process of its own. Killed when dropped.
struct Broker {
    child: Child,
    directory: PathBuf,
    address: String,
}

impl Broker {
    fn start(program: &str, below: &Path, durability: &str) -> anyhow::Result<Broker> {
        let directory = below.join(format!("durable-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let free = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = free.local_addr()?.to_string();
        drop(free);
        let config = directory.join("broker.yaml");
        let data = directory.join("data").display().to_string();
        let text = format!(
            "listeners: {{default: {{bind: '{address}'}}}}\nauth: {{plugins: [auth_anonymous]}}\n\
             data-dir: {data}\ndurability: {durability}\nsys_interval: 0\n\
             limits: {{queue-messages: 0, queue-bytes: 0, total-bytes: 0}}\n"
        );
        fs::write(&config, text)?;
        let child = Command::new(program)
            .arg("--config")
            .arg(&config)
            .stderr(Stdio::null())
            .spawn()
            .context("the broker does not start")?;
        Ok(Broker { child, directory, address })
    }

    async fn connect(&self, client_id: &str, is_clean: bool) -> anyhow::Result<TcpStream> {
        let deadline = now() + Duration::from_secs(10);
        let mut stream = loop {
            match TcpStream::connect(&self.address).await {
                Ok(stream) => break stream,
                Err(error) if now() > deadline => return Err(error).context("no broker"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        stream.set_nodelay(true)?;
        let mut packet = vec![0x10, 12 + client_id.len() as u8, 0, 4, b'M', b'Q', b'T', b'T', 4];
        packet.extend([u8::from(is_clean) << 1, 0, 0, 0, client_id.len() as u8]);
        packet.extend(client_id.as_bytes());
        stream.write_all(&packet).await?;
        read_some(&mut stream, &mut BytesMut::new()).await?;
        Ok(stream)
    }

    /// How often it has written to files so far: once for each group of records. It writes to
    /// sockets in another way, and what wakes its threads is written too, and counted where it is.
    fn writes(&self) -> anyhow::Result<u64> {
        let process = format!("/proc/{}", self.child.id());
        let wakes = fs::read_dir(format!("{process}/fdinfo"))?.map(|file| -> io::Result<u64> {
            Ok(number_behind("eventfd-count:", &fs::read_to_string(file?.path())?, 16))
        });
        let wakes = wakes.sum::<io::Result<u64>>()?;
        let io = fs::read_to_string(format!("{process}/io"))?;
        Ok(number_behind("syscw:", &io, 10).saturating_sub(wakes))
    }

    /// Used so far, by all of its threads.
    fn processor_time(&self) -> anyhow::Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let stat = fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += stat.split(' ').next().unwrap_or("0").parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Whatever fails here, the measurement is over.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The number in the line that begins so; 0 if there is none.
fn number_behind(name: &str, lines: &str, radix: u32) -> u64 {
    let number = lines.lines().find_map(|line| line.strip_prefix(name));
    number.and_then(|number| u64::from_str_radix(number.trim(), radix).ok()).unwrap_or(0)
}

fn subscribe(filter: &str) -> Vec<u8> {
    let length = filter.len() as u8;
    let mut packet = vec![0x82, 5 + length, 0, 1, 0, length];
    packet.extend(filter.as_bytes());
    packet.push(1);
    packet
}

async fn read_some(stream: &mut TcpStream, into: &mut BytesMut) -> io::Result<()> {
    match stream.read_buf(into).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// A window of messages, twice: from each of the first ones on there are as many again.
fn messages(window: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for id in (1..=window).chain(1..=window) {
        bytes.extend([0x32, 5 + PAYLOAD.len() as u8, 0, 1, b't']);
        bytes.extend(id.to_be_bytes());
        bytes.extend(PAYLOAD);
    }
    bytes
}

/// Publishes until the time is over. How long the acknowledgements took that came while it was
/// measured, and how many that were each time. Spends as little as it can: it shares the machine
/// with the broker.
async fn publish(
    mut stream: TcpStream,
    window: u16,
    begin: Instant,
) -> anyhow::Result<Vec<(Duration, usize)>> {
    let (messages, window) = (messages(window), usize::from(window));
    let message_bytes = messages.len() / (2 * window);
    let (mut next, mut room, mut came) = (0, window, BytesMut::new());
    let (mut unanswered, mut waits) = (VecDeque::new(), Vec::new());
    let (from, until) = (begin + WARM, begin + WARM + MEASURED);
    let mut at = now();
    loop {
        unanswered.push_back((at, room));
        stream.write_all(&messages[next * message_bytes..][..room * message_bytes]).await?;
        next = (next + room) % window;
        came.reserve(4 * window); // all that can come, in one call
        read_some(&mut stream, &mut came).await?;
        at = now();
        room = came.len() / 4;
        anyhow::ensure!(came.iter().step_by(4).all(|first| *first == 0x40), "not only PUBACK came");
        came.advance(4 * room);
        let mut acknowledged = room;
        while acknowledged > 0 {
            let (sent, count) = unanswered.front_mut().context("nothing was to be acknowledged")?;
            let those = acknowledged.min(*count);
            if (from..until).contains(&at) {
                waits.push((at - *sent, those));
            }
            (*count, acknowledged) = (*count - those, acknowledged - those);
            if *count == 0 {
                unanswered.pop_front();
            }
        }
        if at >= until {
            return Ok(waits);
        }
    }
}
