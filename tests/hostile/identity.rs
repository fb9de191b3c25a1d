//! Clients that are not who they say, or may not do what they try: rows 35 to 48.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use stormpetrel::config::Config;
use stormpetrel::mqtt::wire::Packet;

use crate::kit::{Peer, Site};
use crate::raw::{self, BOTH, Connect, Level, data, packet};
use crate::transport::Transport;

const NOT_AUTHORIZED: u8 = 0x87;
/// A session that lives on, in 5.0.
const EXPIRY: [u8; 5] = [0x11, 0xFF, 0xFF, 0xFF, 0xFF];

/// A password file in which each user's password is the user name and `-word`.
fn users(name: &str, users: &[&str]) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let line =
        |user: &&str| format!("{user}:{}\n", bcrypt::hash(format!("{user}-word"), 4).unwrap());
    std::fs::write(&path, users.iter().map(line).collect::<String>()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A CONNECT that resumes its session, in both versions.
fn resuming(level: Level, client: &str) -> Connect {
    let properties = if level == 5 { EXPIRY.to_vec() } else { Vec::new() };
    Connect { flags: 0, properties, ..Connect::new(level, client) }
}

/// What SUBACK and PUBACK say of a denial.
fn denied(level: Level) -> u8 {
    if level == 5 { NOT_AUTHORIZED } else { 0x80 }
}

fn knock(site: &Site, connect: &Connect) -> u8 {
    let mut peer = site.open(connect.level);
    peer.send(&connect.bytes());
    peer.connack()
}

/// Rows 35 and 36: CVE-2017-7650, CVE-2026-44838. A name is one literal level or nothing, never a
/// wildcard, more levels or an expression.
#[test]
fn a_name_in_a_rule_is_one_level_letter_by_letter() {
    let site = Site::with_yaml(
        "auth: {plugins: [auth_anonymous]}\nrules:\n- {allow: all, filters: [u/%u/x, c/%c/x]}\n\
         - {allow: all, client-id: [kit-4, kit-5]}",
    );
    for level in BOTH {
        for name in ["+", "#", "a/b", "a/+", ".*", "%u", "%c", "$share"] {
            let mut client = site.client_by(&Connect::new(level, name).by(Some(name), None));
            for filter in ["u/+/x", "u/#", "#", "u/root/x", "c/+/x", "c/#", "c/root/x", "+/+/x"] {
                assert_eq!(client.subscribe(filter), denied(level), "{name} {filter}");
            }
            if name.contains('#') {
                continue; // `u/#/x` is no filter
            }
            let own = client.subscribe(&format!("u/{name}/x"));
            let is_plain = !name.contains(['+', '/']);
            assert_eq!(own < 0x80, is_plain, "{name}");
        }
    }
    site.check();
}

/// Row 37: CVE-2018-12550, CVE-2018-12551. What lists nobody lets nobody do anything.
#[test]
fn an_empty_list_grants_nothing_and_a_bad_line_makes_no_account() {
    let acl = "topic-check: {enabled: true, plugins: [topic_acl], subscribe-acl: {}}";
    let site = Site::with_yaml(&format!("auth: {{plugins: [auth_anonymous]}}\n{acl}"));
    for level in BOTH {
        let mut client = site.client(level, "c");
        for filter in ["a", "#", "+", "$SYS/#"] {
            assert_eq!(client.subscribe(filter), denied(level), "{filter}");
        }
    }
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("odd-users");
    let good = bcrypt::hash("word", 4).unwrap();
    std::fs::write(&path, format!("\n\n  \n#no:{good}\nann\nbob {good}\nreal:{good}\n")).unwrap();
    let file = path.to_str().unwrap();
    let site = Site::with_yaml(&format!("auth: {{plugins: [auth_file], password-file: '{file}'}}"));
    for user in ["", " ", "ann", "bob", "#no", "no"] {
        for password in [None, Some(""), Some("word")] {
            let code = knock(&site, &Connect::new(5, "c").by(Some(user), password));
            assert!(code >= 0x80, "{user:?} {password:?}");
        }
    }
    assert_eq!(knock(&site, &Connect::new(5, "c").by(Some("real"), Some("word"))), 0);
    // A user without a hash is a broken file, not an account without a password.
    for broken in ["ann:", "ann:word", ":"] {
        std::fs::write(&path, broken).unwrap();
        let read = stormpetrel::access::Passwords::read(&path);
        assert!(read.is_err(), "{broken:?}");
    }
}

/// Row 38: CVE-2018-20145. What is configured listens, nothing else, and all of it asks the same.
#[test]
fn there_is_no_listener_that_was_not_asked_for() {
    let yaml = "listeners:\n  default: {max-connections: 5}\n  a: {bind: '127.0.0.1:0'}\n  \
                b: {bind: '127.0.0.1:0', type: ws}\nauth: {plugins: [auth_anonymous], \
                allow-anonymous: false}\n";
    let config = Config::from_yaml(yaml, "broker.yaml").unwrap().config;
    let names: Vec<&str> = config.listeners.iter().map(|listener| &*listener.name).collect();
    assert_eq!(names, ["a", "b"]);
    let open = Config::default();
    assert!(open.listeners.iter().all(|it| it.bind.to_string().starts_with("127.0.0.1:")));
}

/// Row 39: CVE-2018-12546, CVE-2021-34434, "Burglars' IoT Paradise". A right that is taken away is
/// gone from subscriptions, queues, wills and retained messages too.
#[test]
fn what_is_no_longer_allowed_ends_everywhere() {
    const OPEN: &str = "auth: {plugins: [auth_anonymous], allow-anonymous: false}\nrules: [{allow: \
                        all}]";
    const REVOKED: &str = "auth: {plugins: [auth_anonymous], allow-anonymous: false}\nrules:\n- \
                           {deny: all, user: [fallen], filters: 'secret/#'}\n- {allow: all}";
    for level in BOTH {
        let site = Site::with_yaml(OPEN);
        let fallen = |client: &str| resuming(level, client).by(Some("fallen"), None);
        let other = |client: &str| Connect::new(level, client).by(Some("other"), None);
        // One subscription of a client that is there, one of a client that is away with a queue.
        let mut here = site.client_by(&fallen("here"));
        assert!(here.subscribe("secret/#") < 0x80 && here.subscribe("free") < 0x80);
        let mut away = site.client_by(&fallen("away"));
        assert!(away.subscribe("secret/#") < 0x80 && away.subscribe("free") < 0x80);
        away.send(&[0xE0, 0]);
        away.expect_closed();
        let mut publisher = site.client_by(&other("publisher"));
        let publish = |publisher: &mut Peer, topic: &str, text: &[u8]| {
            publisher.send(&raw::publish(level, topic, 1, text));
            assert!(publisher.puback() < 0x80);
        };
        // Its will, for a topic that it will not be allowed.
        let mut connect = Connect { flags: 0x06, ..Connect::new(level, "willing") };
        connect.payload.extend(raw::properties(level, &[]));
        connect.payload.extend([data("secret/will"), data("from the fallen")].concat());
        let willing = site.client_by(&connect.by(Some("fallen"), None));
        let mut watcher = site.client_by(&other("watcher"));
        assert!(watcher.subscribe("secret/#") < 0x80);
        publish(&mut publisher, "secret/queued", b"before");
        assert_eq!(watcher.message().payload, "before");
        assert_eq!(here.message().payload, "before");

        site.reload(REVOKED);
        publish(&mut publisher, "secret/live", b"after");
        publish(&mut publisher, "free", b"free");
        assert_eq!(watcher.message().payload, "after");
        assert_eq!(here.message().payload, "free", "nothing secret any more");
        assert_eq!(here.subscribe("secret/x"), denied(level));
        here.send(&raw::publish(level, "secret/x", 2, b"by the fallen"));
        here.puback();
        drop(willing);
        publish(&mut publisher, "secret/last", b"last");
        assert_eq!(watcher.message().payload, "last", "neither that nor the will came");
        let mut back = site.client_by(&fallen("away"));
        assert_eq!(back.message().payload, "free", "what was queued is gone");
    }
}

/// Row 40: sol #17, "Burglars' IoT Paradise". Neither another user nor a CONNECT that fails gets
/// anything of a session, or disturbs it.
#[test]
fn a_session_is_its_users_and_a_connect_that_fails_changes_nothing() {
    let file = users("owners", &["owner", "thief"]);
    let site = Site::with_yaml(&format!(
        "auth: {{plugins: [auth_file, auth_anonymous], password-file: '{file}'}}"
    ));
    for level in BOTH {
        let client = format!("contested-{level}");
        let owner = || {
            let mut connect = resuming(level, &client);
            connect.flags |= 0x04;
            connect.payload.extend(raw::properties(level, &[]));
            connect.payload.extend([data("gone"), data("the will")].concat());
            connect.by(Some("owner"), Some("owner-word"))
        };
        let mut own = site.client_by(&owner());
        assert!(own.subscribe("t") < 0x80);
        let mut other = site.client(level, "other");
        assert!(other.subscribe("gone") < 0x80);
        for attacker_level in BOTH {
            for attack in attacks(attacker_level, &client) {
                let mut peer = site.open(attacker_level);
                peer.send(&attack);
                if let Some(Packet::ConnAck(answer)) = peer.next() {
                    assert!(answer.reason.is_error() && !answer.session_present, "{attack:02X?}");
                    peer.expect_closed();
                }
            }
        }
        own.expect_served();
        for text in ["1", "2"] {
            other.send(&raw::publish(level, "t", 1, text.as_bytes()));
            assert!(other.puback() < 0x80);
            assert_eq!(own.message().payload, text);
        }
        other.expect_served(); // and nothing else came: no will
        // Its owner takes it over at once, with what was not acknowledged.
        let mut back = site.open(level);
        back.send(&owner().bytes());
        match back.next() {
            Some(Packet::ConnAck(answer)) => assert!(answer.session_present),
            answer => panic!("{answer:?}"),
        }
        assert_eq!(back.message().payload, "1");
    }
    site.check();
}

/// CONNECTs with the client id of somebody else's session, none of which may succeed.
fn attacks(level: Level, client: &str) -> Vec<Vec<u8>> {
    let connect = || Connect::new(level, client);
    let by_owner = |connect: Connect| connect.by(Some("owner"), Some("owner-word"));
    let will = |topic: &[u8]| {
        let mut connect = Connect { flags: 0x06, ..connect() };
        connect.payload.extend(raw::properties(level, &[]));
        connect.payload.extend([data(topic), data("x")].concat());
        by_owner(connect).bytes()
    };
    let mut attacks = vec![
        // Other users, right and wrong; clean, so that it would end the session.
        connect().bytes(),
        connect().by(Some("thief"), Some("thief-word")).bytes(),
        resuming(level, client).by(Some("thief"), Some("thief-word")).bytes(),
        connect().by(Some("owner"), Some("wrong")).bytes(),
        connect().by(Some("owner"), Some("")).bytes(),
        connect().by(Some("owner"), None).bytes(),
        connect().by(Some("nobody"), Some("owner-word")).bytes(),
        // The owner's, with something wrong behind the right password.
        will(b"a/#"),
        will(b""),
        will(b"\xFF"),
    ];
    // Flags that lie about what follows; the reserved flag; a password without its end.
    let mut reserved = by_owner(connect());
    reserved.flags |= 0x01;
    attacks.push(reserved.bytes());
    let mut lying = by_owner(connect());
    lying.flags |= 0x04;
    attacks.push(lying.bytes());
    let mut long = by_owner(connect());
    long.payload.push(0);
    attacks.push(long.bytes());
    if level == 5 {
        let mut method = by_owner(connect());
        method.properties = [&[0x15][..], &data("SCRAM")].concat();
        attacks.push(method.bytes());
        let mut tiny = by_owner(connect());
        tiny.properties = vec![0x27, 0, 0, 0, 1]; // its CONNACK would be too large for it
        attacks.push(tiny.bytes());
    }
    attacks
}

/// Row 41: what a client may not publish, its will may not say.
#[test]
fn a_will_to_the_brokers_own_topics_is_not_published() {
    let site = Site::start(Transport::Tcp);
    for level in BOTH {
        let mut watcher = site.client(level, "watcher");
        assert!(watcher.subscribe("seen") < 0x80 && watcher.subscribe("$SYS/#") < 0x80);
        let mut connect = Connect { flags: 0x06, ..Connect::new(level, "forger") };
        connect.payload.extend(raw::properties(level, &[]));
        connect.payload.extend([data("$SYS/forged"), data("forged")].concat());
        let mut forger = site.open(level);
        forger.send(&connect.bytes());
        let _ = forger.next();
        drop(forger);
        watcher.send(&raw::publish(level, "seen", 0, b"seen"));
        loop {
            let message = watcher.message();
            assert_ne!(message.payload, "forged");
            if message.payload == "seen" {
                break;
            }
        }
    }
    site.check();
}

/// Row 45: who lists `#` does not see `$SYS`, and rules can keep it from everybody.
#[test]
fn reading_the_brokers_own_topics_takes_a_right() {
    let site = Site::with_yaml(
        "auth: {plugins: [auth_anonymous]}\nrules:\n- {allow: all, user: [root], filters: ['#', \
         '$SYS/#']}\n- {allow: all, filters: '#'}",
    );
    for level in BOTH {
        let mut client = site.client(level, "c");
        assert!(client.subscribe("#") < 0x80);
        for filter in ["$SYS/#", "$SYS/broker/version", "$SYS/+/version"] {
            assert_eq!(client.subscribe(filter), denied(level), "{filter}");
        }
        let mut root = site.client_by(&Connect::new(level, "root").by(Some("root"), None));
        assert!(root.subscribe("$SYS/broker/version") < 0x80);
        assert!(root.message().payload.starts_with(b"Stormpetrel"));
    }
}

/// Row 46: what clients send stands in logs on one line, without control characters.
#[test]
fn nothing_that_a_client_sends_forges_a_line_of_the_log() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("log-injection.yaml");
    let mut file = std::fs::File::create(&config).unwrap();
    let rules = "rules: [{deny: all, user: [\"evil\\nforged user\\e[31m\"]}, {allow: all}]";
    writeln!(file, "listeners: {{default: {{bind: '{address}'}}}}").unwrap();
    writeln!(file, "auth: {{plugins: [auth_anonymous], allow-anonymous: false}}\n{rules}").unwrap();
    let mut broker = Command::new(env!("CARGO_BIN_EXE_stormpetrel"))
        .args(["--debug", "--config"])
        .arg(&config)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    crate::process::wait_until("it listens", || std::net::TcpStream::connect(address).is_ok());
    let site = Site::at(address, Transport::Tcp);
    let evil = "evil\nforged client\u{1b}[31m\r\u{7f}";
    for level in BOTH {
        let connect = Connect::new(level, evil).by(Some("evil\nforged user\u{1b}[31m"), None);
        let mut client = site.client_by(&connect);
        client.send(&raw::publish(level, "t\nforged topic\u{1b}[31m", 1, b"x"));
        client.puback();
        client.subscribe("f\nforged filter\u{1b}[31m");
        client.send(&packet(0x30, b"\xFF")); // malformed: the log says who it was
        while client.next().is_some() {}
        let mut refused = site.open(level);
        refused.send(&Connect::new(level, evil).by(Some(""), Some("\nforged word")).bytes());
        assert_ne!(refused.connack(), 0);
    }
    let id = broker.id().to_string();
    let stopped = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(stopped.success());
    let mut log = String::new();
    std::io::Read::read_to_string(&mut broker.stderr.take().unwrap(), &mut log).unwrap();
    assert!(broker.wait().unwrap().success());
    assert!(log.contains("forged client") && log.contains("forged topic"), "it is told:\n{log}");
    assert!(!log.contains("forged word"), "a password is in the log:\n{log}");
    let is_clean = |c: char| c == '\n' || !c.is_control();
    assert!(log.chars().all(is_clean), "{log:?}");
    for line in log.lines() {
        assert!(!line.trim_start().starts_with("forged"), "a line of its own: {line}");
    }
}

/// Row 47: ids that the broker assigns cannot be guessed.
#[test]
fn assigned_client_ids_are_long_and_never_the_same() {
    let site = Site::start(Transport::Tcp);
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let mut client = site.open(5);
        client.send(&Connect::new(5, "").bytes());
        let Some(Packet::ConnAck(answer)) = client.next() else { panic!("no CONNACK") };
        let id = answer.properties.assigned_client_id.unwrap().to_string();
        let digits = id.strip_prefix("auto-").unwrap();
        assert!(digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && digits.len() * 4 >= 96);
        assert!(ids.insert(id));
    }
}
