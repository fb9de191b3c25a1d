//! The log from outside, as whoever starts the broker reads it: or does not.
//!
//! Whatever becomes of the standard error, clients are served. What the lines say is tested beside
//! the code that says it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// For what should take no time.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker that listens. Killed when dropped.
struct Broker {
    child: Child,
    address: SocketAddr,
}

impl Broker {
    /// Below what `ulimit` says in bash, and with these lines in the configuration.
    fn start(name: &str, ulimit: &str, yaml: &str, stderr: Stdio) -> Broker {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = free.local_addr().expect("bound");
        drop(free);
        let config = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("log-{name}.yaml"));
        let yaml = format!("listeners: {{default: {{bind: '{address}'}}}}\n{yaml}\n");
        fs::write(&config, yaml).expect("a temporary file can be written");
        let mut child = Command::new("bash")
            .args(["-c", &format!("{ulimit}\nexec \"$0\" --debug --config \"$1\"")])
            .args([env!("CARGO_BIN_EXE_stormpetrel").as_ref(), config.as_os_str()])
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("bash runs");
        // A log that nobody sees cannot say that it listens.
        while TcpStream::connect(address).is_err() {
            assert_eq!(child.try_wait().expect("it is ours"), None, "it has ended");
            std::thread::yield_now();
        }
        Broker { child, address }
    }

    /// Connects as a client of this name, 3.1.1; it is let in.
    fn connect(&self, client_id: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut body = b"\x00\x04MQTT\x04\x02\x00\x00".to_vec();
        push_text(&mut body, client_id);
        send(&mut stream, 0x10, &body);
        assert_eq!(receive::<4>(&mut stream), [0x20, 2, 0, 0], "it is let in");
        stream
    }

    /// Asks it to stop; how it ended.
    fn stop(mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &id]).status().expect("kill is there");
        assert!(killed.success());
        wait(move || self.child.wait().expect("it ends"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What this gives, soon.
fn wait<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let (gives, given) = mpsc::channel();
    std::thread::Builder::new().spawn(move || gives.send(work())).expect("a thread starts");
    given.recv_timeout(PATIENCE).expect("it is soon")
}

fn push_text(body: &mut Vec<u8>, text: &str) {
    body.extend((text.len() as u16).to_be_bytes());
    body.extend(text.as_bytes());
}

/// Sends a packet.
fn send(stream: &mut TcpStream, first: u8, body: &[u8]) {
    let mut packet = vec![first];
    let mut length = body.len();
    while length > 127 {
        packet.push(length as u8 | 128);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend(body);
    stream.write_all(&packet).expect("it reads");
}

fn receive<const LENGTH: usize>(stream: &mut TcpStream) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes).expect("it answers");
    bytes
}

fn dead_pipe() -> OwnedFd {
    std::io::pipe().expect("a pipe").1.into()
}

fn dead_socket() -> OwnedFd {
    UnixStream::pair().expect("sockets").0.into()
}

fn full_device() -> OwnedFd {
    File::options().write(true).open("/dev/full").expect("Linux has it").into()
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    for (name, stderr) in
        [("full", full_device as fn() -> OwnedFd), ("pipe", dead_pipe), ("socket", dead_socket)]
    {
        let broker = Broker::start(name, "", "", stderr().into());
        for number in 0..20 {
            broker.connect(&number.to_string());
        }
        assert_eq!(broker.stop().code(), Some(0), "{name}");
    }
}

/// A broker whose log nobody reads yet, and what it logs then.
fn start_unread(name: &str) -> (Broker, BufReader<PipeReader>) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    (Broker::start(name, "", "", writer.into()), BufReader::new(reader))
}

/// Filters of a SUBSCRIBE, each with a line of the log.
const FILTERS: usize = 16;

/// Fills the log: the client subscribes so often.
fn subscribe(client: &mut TcpStream, count: usize) {
    let mut body = vec![0, 1];
    for number in 0..FILTERS {
        push_text(&mut body, &format!("{}/{number}", "x".repeat(120)));
        body.push(0);
    }
    for _ in 0..count {
        send(client, 0x82, &body);
        assert_eq!(receive::<{ 4 + FILTERS }>(client)[..2], [0x90, 2 + FILTERS as u8]);
    }
}

#[test]
fn a_reader_of_the_log_that_stalls_holds_nobody_up_and_not_the_end() {
    let (broker, unread) = start_unread("stalled");
    for number in 0..500 {
        broker.connect(&format!("{}{number}", "x".repeat(150)));
    }
    assert_eq!(broker.stop().code(), Some(0));
    drop(unread);
}

#[test]
fn a_log_that_is_read_again_says_how_much_is_missing() {
    const COUNT: usize = 500;
    let (broker, mut log) = start_unread("read-again");
    subscribe(&mut broker.connect("talkative"), COUNT);
    // Now somebody reads: as much as the queue held, and then how many lines it did not.
    let (mut told, mut missing) = (0, 0);
    while missing == 0 {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).expect("UTF-8"), 0, "it goes on");
        told += usize::from(line.contains("subscribe") || line.contains("is answered"));
        if line.contains("lines of the log are lost") {
            let (_, count) = line.rsplit_once("count=").expect("it says how many");
            missing = count.trim().parse().expect("a number");
        }
    }
    // The client may have been gone by then: one line more.
    let all = COUNT * (FILTERS + 1);
    assert!((all..=all + 1).contains(&(told + missing)), "{told} and {missing} are {all}");
    assert_eq!(broker.stop().code(), Some(0));
    let mut rest = String::new();
    log.read_to_string(&mut rest).expect("UTF-8");
    assert!(rest.trim_end().ends_with("stopped"), "the last words are written:\n{rest}");
}

#[test]
fn a_file_that_may_not_grow_is_a_full_disk_and_not_the_end() {
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("log-fsize");
    let _ = fs::remove_dir_all(&place);
    fs::create_dir(&place).expect("a temporary folder can be made");
    let yaml = format!("data-dir: '{}'", place.join("data").display());
    let log = place.join("log");
    let stderr = File::create(&log).expect("a temporary file can be written");
    // In kilobytes. Neither what is kept for a full disk nor all of the log fits into that.
    let broker = Broker::start("fsize", "ulimit -f 64", &yaml, stderr.into());
    let mut client = broker.connect("talkative");
    subscribe(&mut client, 50);
    assert_eq!(broker.stop().code(), Some(0));
    let log = fs::read_to_string(&log).expect("UTF-8");
    assert_eq!(log.len(), 64 << 10);
    assert!(log.contains("the disk of `data-dir` is full"), "{log}");
}

#[test]
fn where_a_file_of_the_data_directory_may_not_grow_another_is_begun() {
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("log-fsize-store");
    let _ = fs::remove_dir_all(&place);
    let yaml = format!("data-dir: '{}'", place.display());
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let broker = Broker::start("fsize-store", "ulimit -f 2048", &yaml, writer.into());
    let mut client = broker.connect("diligent");
    let mut body = Vec::new();
    for id in 1..=60 {
        body.clear();
        push_text(&mut body, &format!("kept/{id}"));
        body.extend([0, id]);
        body.resize(100_000, b'x');
        send(&mut client, 0x33, &body);
        assert_eq!(receive::<4>(&mut client), [0x40, 2, 0, id], "it is taken");
    }
    assert_eq!(broker.stop().code(), Some(0));
    drop(reader);
    let segments = fs::read_dir(&place).expect("it is there").flatten();
    let large = segments.filter(|file| file.metadata().is_ok_and(|file| file.len() > 1_500_000));
    assert!(large.count() >= 3, "6 MB are in files of 2 MiB");
}

#[test]
fn what_is_odd_at_the_start_is_a_warning() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let yaml = "limits: {connections: 500}\nfrobnicate: 1";
    let broker = Broker::start("descriptors", "ulimit -n 256", yaml, writer.into());
    let mut log = BufReader::new(reader).lines().map(|line| line.expect("UTF-8"));
    let odd = log.find(|line| line.contains("frobnicate")).expect("it is told");
    assert!(odd.contains(" WARN ") && odd.contains(" warning=") && !odd.contains("error"), "{odd}");
    let line = log.find(|line| line.contains("limits.connections")).expect("it is told");
    let want =
        "limits.connections is 500, but the system's limit of open files, 256, has room for 192";
    assert!(line.contains(" WARN ") && line.contains(want), "{line}");
    drop(broker);
}
