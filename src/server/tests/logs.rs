//! What the log says of clients: enough to act on, and never as much as a stranger likes.

use std::io::Write;
use std::sync::Mutex;

use tracing::Level;
use tracing::subscriber::{set_default, set_global_default};

use super::*;
use crate::access::{Door, Taboo};
use crate::config::{Admission, Authentication};
use crate::machine::record::{Lsn, Record};
use crate::machine::{Limits, ListenerId, Restorer};

/// Where the log goes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut *self.0.lock().expect("no panic"), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The lines of this level that hold these words.
    fn lines(&self, level: Level, words: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8");
        let is_one = |line: &&str| line.contains(level.as_str()) && line.contains(words);
        text.lines().filter(is_one).map(str::to_owned).collect()
    }
}

/// Runs a broker on one thread, and everything that it logs of this level and above.
fn with_log<F: Future<Output = ()>>(
    level: Level,
    config: &Config,
    scenario: impl FnOnce(World, Log) -> F,
) {
    with_log_in(false, level, config, scenario);
}

/// The same, in JSON or as lines for people.
fn with_log_in<F: Future<Output = ()>>(
    is_json: bool,
    level: Level,
    config: &Config,
    scenario: impl FnOnce(World, Log) -> F,
) {
    let log = Log::default();
    let writer = log.clone();
    listen_everywhere();
    let logs = tracing_subscriber::fmt().with_max_level(level).with_ansi(false);
    let logs = logs.with_writer(move || writer.clone());
    let _guard = match is_json {
        true => set_default(logs.json().finish()),
        false => set_default(logs.finish()),
    };
    let mut plugins = Plugins::default();
    plugins.register("password", Password);
    with_plugins(config, plugins, |world| scenario(world, log));
}

/// Gives threads that nobody listens to a log of their own. The tests share a process, and
/// tracing asks only the thread that comes to a line of the log first whether anybody wants it:
/// a thread without a log would answer for all of them.
fn listen_everywhere() {
    let nowhere = tracing_subscriber::fmt().with_max_level(Level::TRACE).with_writer(io::sink);
    // An error means that another test has done it.
    let _ = set_global_default(nowhere.finish());
}

/// As who is limited, and with what the test needs beside.
fn limited(change: impl FnOnce(&mut Config)) -> Config {
    let admission = Admission { exempt_addresses: Vec::new(), ..Admission::unlimited() };
    let mut config = Config { admission, ..Config::default() };
    change(&mut config);
    config
}

fn with_password(config: &mut Config) {
    config.authentication = vec![Authentication::Named("password".to_owned())];
}

fn named(client_id: &str, user: &str, password: &str) -> Packet {
    Packet::Connect(Box::new(Connect {
        username: Some(text(user)),
        password: Some(Bytes::copy_from_slice(password.as_bytes())),
        will: None,
        ..connect(client_id)
    }))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a thread that nobody listens to is the case")]
fn what_another_thread_logs_first_is_heard_here_too() {
    fn say_it() {
        tracing::info!("said");
    }
    with_log(Level::INFO, &Config::default(), async |_world, log| {
        std::thread::spawn(say_it).join().expect("no panic");
        say_it();
        assert_eq!(log.lines(Level::INFO, "said").len(), 1);
    });
}

#[test]
fn a_goodbye_is_told_as_one_however_soon_the_end_comes() {
    with_log(Level::INFO, &Config::default(), async |world, log| {
        for number in 0..40 {
            let mut client = world.connect(&format!("c{number}"), 10_000).await;
            let mut bytes = bytes_of(&publish("t", "x"));
            bytes.extend(bytes_of(&Packet::Disconnect(Box::new(Disconnect::new(Reason::Success)))));
            client.stream.write_all(&bytes).await.expect("the broker reads");
            drop(client);
            // What is wrong is told too, though nobody is left to take it.
            let mut client = world.connect(&format!("d{number}"), 10_000).await;
            client.stream.write_all(&[0xC2, 0x00]).await.expect("the broker reads");
            drop(client);
            drop(world.connect(&format!("e{number}"), 10_000).await);
        }
        while world.connections() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(log.lines(Level::INFO, "closed").len(), 120);
        let malformed = log.lines(Level::INFO, "sent what is malformed");
        assert_eq!(malformed.len(), 40);
        let why = "PINGREQ: reserved bits of the fixed header are set";
        assert!(malformed.iter().all(|line| line.contains(why)), "{malformed:?}");
        for (client_id, reason) in [
            ("\"c", "reason=the client left"),
            ("\"d", "reason=MalformedPacket"),
            ("\"e", "reason=the peer closed the connection"),
        ] {
            let lines = log.lines(Level::INFO, reason);
            assert_eq!(lines.len(), 40, "{reason}");
            assert!(lines.iter().all(|line| line.contains(client_id)), "{lines:?}");
        }
    });
}

#[test]
fn a_failed_login_is_told_with_a_name_and_an_address_and_few_are() {
    with_log(Level::INFO, &limited(with_password), async |world, log| {
        let user = format!("ann\n{}", "x".repeat(60_000));
        for (address, count) in [("192.0.2.1", 30), ("192.0.2.2", 1)] {
            for _ in 0..count {
                let mut client = world.open_from(address, 100_000);
                client.send(&named("thing", &user, "bad")).await;
                assert!(matches!(client.recv().await, Some(Packet::ConnAck(_))));
            }
        }
        let lines = log.lines(Level::INFO, "a login failed");
        assert_eq!(lines.len(), 2, "{lines:?}");
        for (line, words) in lines.iter().zip([&[][..], &["unlogged=29"]]) {
            let always = [r#"client_id="thing""#, r#"user="ann\nxxx"#, "reason=BadUserName"];
            assert!(always.iter().chain(words).all(|word| line.contains(word)), "{line}");
            assert!(!line.contains("unlogged=0") && line.len() < 1_000, "{line}");
        }
        assert!(lines[0].contains("peer=192.0.2.1:50000"), "{lines:?}");
        assert!(log.lines(Level::INFO, "is refused").is_empty(), "once is enough");
    });
}

#[test]
fn who_speaks_something_else_is_told_once_a_minute_and_who_only_knocks_is_not() {
    let config = limited(|config| config.listeners[0].is_websocket = true);
    with_log(Level::INFO, &config, async |world, log| {
        for (address, says) in [
            ("192.0.2.1", "GET / HTTP/1.1\r\n\r\n"),
            ("192.0.2.1", "GET / HTTP/1.1\r\n\r\n"),
            ("192.0.2.2", "\x10\x0c\x00\x04MQTT\r\n\r\n"),
            ("192.0.2.3", "GET / HT"),
        ] {
            let mut client = world.open_from(address, 1_000);
            client.stream.write_all(says.as_bytes()).await.expect("the broker reads");
            client.stream.shutdown().await.expect("it is open");
            let mut answer = Vec::new();
            client.stream.read_to_end(&mut answer).await.expect("an end");
        }
        let lines = log.lines(Level::INFO, "could not be opened");
        let peers = lines.iter().map(|line| line.contains("peer=192.0.2.1:50000"));
        assert_eq!(peers.collect::<Vec<_>>(), [true, false], "{lines:?}");
        assert!(lines[1].contains("peer=192.0.2.2:50000"), "{lines:?}");
    });
}

#[test]
fn an_exempt_client_has_an_address_in_the_log_too() {
    let config = limited(|config| {
        with_password(config);
        config.admission.exempt_addresses = vec!["127.0.0.1".parse().expect("an address")];
    });
    with_log(Level::INFO, &config, async |world, log| {
        let mut client = world.open(1_000);
        client.send(&named("thing", "ann", "bad")).await;
        assert!(matches!(client.recv().await, Some(Packet::ConnAck(_))));
        let lines = log.lines(Level::INFO, "a login failed");
        assert!(lines.len() == 1 && lines[0].contains("peer=127.0.0.1:50000"), "{lines:?}");
    });
}

#[test]
fn who_is_above_the_limit_of_connections_is_told() {
    let config = limited(|config| config.limits = Limits { connections: 2, ..Limits::default() });
    with_log(Level::INFO, &config, async |world, log| {
        let _inside = [world.connect("a", 1_000).await, world.connect("b", 1_000).await];
        for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
            let mut client = world.open_from(address, 1_000);
            client.send(&Packet::Connect(Box::new(connect("late")))).await;
            assert!(matches!(client.recv().await, Some(Packet::ConnAck(_))));
        }
        let lines = log.lines(Level::WARN, "a client is refused");
        assert_eq!(lines.len(), 2, "{lines:?}");
        let words = [r#"client_id="late""#, "peer=192.0.2.1:50000", "reason=QuotaExceeded"];
        assert!(words.iter().all(|word| lines[0].contains(word)), "{lines:?}");
        assert!(lines[1].contains("peer=192.0.2.2") && lines[1].contains("unlogged=1"));
    });
}

#[test]
fn what_clients_call_themselves_is_cut() {
    with_log(Level::DEBUG, &Config::default(), async |world, log| {
        let long = "x".repeat(20_000);
        let mut client = world.connect(&long, 200_000).await;
        client.subscribe(&long).await;
        drop(client);
        while world.connections() > 0 {
            tokio::task::yield_now().await;
        }
        for (level, words) in [
            (Level::INFO, "connected"),
            (Level::INFO, "closed"),
            (Level::DEBUG, "asks to be let in"),
            (Level::DEBUG, "asks to subscribe"),
        ] {
            let lines = log.lines(level, words);
            assert_eq!(lines.len(), 1, "{words}");
            assert!(lines[0].contains("xxx... (20000 bytes)\""), "{words}");
            assert!(lines[0].len() < 1_000, "{words}");
        }
    });
}

#[test]
fn denials_of_ever_new_clients_do_not_fill_the_log() {
    with_log(Level::WARN, &Config::default(), async |world, log| {
        let door = Door::clone(&world.shared.door());
        world.shared.change_access(door, Some(Arc::new(Taboo::default())));
        for number in 0..100 {
            let mut client = world.connect(&number.to_string(), 1_000).await;
            client.subscribe("top-secret").await;
        }
        assert_eq!(log.lines(Level::WARN, "denied").len(), 20);
    });
}

#[test]
fn with_debug_the_log_tells_what_clients_ask_for_and_are_answered() {
    with_log(Level::DEBUG, &Config::default(), async |world, log| {
        let mut client = world.connect("c", 1_000).await;
        client.subscribe("a/+").await;
        for (words, want) in [
            ("asks to be let in", "version=V5 clean_start=true keep_alive=0"),
            ("asks to subscribe", r#"client_id="c" packet_id=1 filter="a/+" qos=AtLeastOnce"#),
            ("is answered", "packet_id=1 reason=[GrantedQoS1]"),
        ] {
            let lines = log.lines(Level::DEBUG, words);
            assert!(lines.len() == 1 && lines[0].contains(want), "{words}: {lines:?}");
        }
    });
}

/// Who reads JSON sees what clients have said, and who reads lines cannot be deceived.
#[test]
fn what_clients_say_is_itself_in_json_and_escaped_in_lines() {
    const EVIL: &str = "a \"b\"\nuser=root";
    /// A field with that, in JSON or in a line.
    fn shown(is_json: bool, field: &str, text: &str) -> String {
        let quoted = format!("{text:?}");
        if is_json { format!("\"{field}\":{quoted}") } else { format!(" {field}={quoted}") }
    }
    for is_json in [true, false] {
        with_log_in(is_json, Level::DEBUG, &limited(with_password), async |world, log| {
            let door = Door::clone(&world.shared.door());
            world.shared.change_access(door, Some(Arc::new(Taboo::default())));
            for (client_id, user, password) in
                [(EVIL, Some(EVIL), "bad"), (EVIL, Some(EVIL), "good"), ("nobody", None, "good")]
            {
                let Packet::Connect(connect) = named(client_id, "", password) else { return };
                let connect = Connect { username: user.map(text), ..*connect };
                let mut client = world.open(10_000);
                client.send(&Packet::Connect(Box::new(connect))).await;
                assert!(matches!(client.recv().await, Some(Packet::ConnAck(_))));
                if password == "good" {
                    client.subscribe("top-secret").await;
                }
            }
            let client_id = shown(is_json, "client_id", EVIL);
            for (level, words, other) in [
                (Level::INFO, "a login failed", shown(is_json, "user", EVIL)),
                (Level::INFO, "connected", String::new()),
                (Level::WARN, "denied", shown(is_json, "user", EVIL)),
                (Level::DEBUG, "asks to subscribe", shown(is_json, "filter", "top-secret")),
            ] {
                let lines = log.lines(level, words);
                assert!(lines[0].contains(&client_id) && lines[0].contains(&other), "{lines:?}");
            }
            let denied = log.lines(Level::WARN, "denied");
            let nobody = shown(is_json, "client_id", "nobody");
            assert!(denied.len() == 2 && denied[1].contains(&nobody), "{denied:?}");
            let has_user = denied[1].contains("\"user\":") || denied[1].contains(" user=");
            assert!(!has_user && !denied[1].contains("None"), "{denied:?}");
        });
    }
}

#[test]
fn who_is_turned_away_for_another_reason_is_told_again() {
    let config = limited(|config| {
        config.limits = Limits { connections: 1, ..Limits::default() };
        config.admission.unauthenticated_per_address = 1;
    });
    with_log(Level::INFO, &config, async |world, log| {
        let peer = Peer::from(SocketAddr::from(([192, 0, 2, 1], 50_000)));
        let arrive = |room| {
            let (_ours, theirs) = tokio::io::duplex(1);
            world.shared.place(theirs, ListenerId(0), peer, room);
        };
        // The system has no descriptors; then there is one waiting already.
        [0, 0, 2_000, 2_000, 2_000].into_iter().for_each(arrive);
        let lines = log.lines(Level::WARN, "turned away");
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("peer=192.0.2.1 reason=descriptors"), "{lines:?}");
        let words = "peer=192.0.2.1 reason=address-unauthenticated unlogged=1";
        assert!(lines[1].contains(words), "{lines:?}");
    });
}

#[test]
fn who_is_refused_for_another_reason_is_told_again() {
    let config = limited(|config| config.limits = Limits { connections: 1, ..Limits::default() });
    with_log(Level::INFO, &config, async |world, log| {
        let _inside = world.connect("a", 1_000).await;
        for method in [None, None, Some("SCRAM"), None, Some("SCRAM")] {
            let mut connect = connect("late");
            connect.properties.authentication_method = method.map(text);
            let mut client = world.open_from("192.0.2.1", 1_000);
            client.send(&Packet::Connect(Box::new(connect))).await;
            assert!(matches!(client.recv().await, Some(Packet::ConnAck(_))));
        }
        let lines = log.lines(Level::INFO, "a client is refused");
        let lines = [log.lines(Level::WARN, "a client is refused"), lines].concat();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("reason=QuotaExceeded") && !lines[0].contains("unlogged"));
        assert!(lines[1].contains("reason=BadAuthenticationMethod unlogged=1"), "{lines:?}");
    });
}

#[test]
fn a_wall_clock_that_is_set_is_told_once_each_time_and_the_machine_knows() {
    with_log(Level::INFO, &Config::default(), async |world, log| {
        let offset = || world.shared.visit(|machine, _| machine.clock_offset());
        let set = async |ahead| {
            *world.wall.lock().expect("no panic") = Some(ahead);
            tokio::time::sleep(Duration::from_millis(3_500)).await;
        };
        for (ahead, known, forward, back) in [
            (0, 0, 0, 0),
            (1_500, 0, 0, 0), // a leap second, and then some
            (2_500, 2_500, 1, 0),
            (-1_700_000_000_000, -1_700_000_000_000, 1, 1),
            (5_000, 5_000, 2, 1),
        ] {
            set(ahead).await;
            let found = offset().expect("the machine is sound");
            assert!(found.abs_diff(-known) < 2_000, "{ahead}: {found}");
            let told = |way: &str| log.lines(Level::WARN, way).len();
            assert_eq!((told("set forward"), told("set back")), (forward, back), "{ahead}");
        }
    });
}

#[test]
fn a_start_that_cannot_go_by_the_wall_clock_says_so() {
    with_log(Level::INFO, &Config::default(), async |_world, log| {
        let mut restorer = Restorer::default();
        restorer.apply(Lsn(1), Record::Clock { at: Timestamp(1_700_000_000_000), offset: 0 });
        let clock = |shows| Clock::starting_at(Timestamp(shows));
        let told = || log.lines(Level::WARN, "how long the broker was down").len();
        let resumed = clock(1_700_000_100_000).resumed(&mut restorer).now();
        assert!(resumed >= Timestamp(1_700_000_100_000) && told() == 0);
        let resumed = clock(1).resumed(&mut restorer).now();
        assert!(resumed >= Timestamp(1_700_000_000_000) && told() == 1);
    });
}
