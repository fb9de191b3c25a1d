//! A running broker that is given another configuration: all of it is in force, or nothing.

use std::net::SocketAddr;

use stormpetrel::Broker;
use stormpetrel::access::{Authorise, Decision, Origin, Question};
use stormpetrel::config::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::PATIENCE;

const IN: u8 = 0;

fn config(text: &str) -> Config {
    let text = format!("listeners: {{default: {{bind: '127.0.0.1:0'}}}}\n{text}");
    Config::from_yaml(&text, "test").unwrap().config
}

async fn start(text: &str) -> (Broker, SocketAddr) {
    let broker = Broker::new(config(text)).start().await.unwrap();
    let address = broker.addresses()[0];
    (broker, address)
}

/// Connects with 3.1.1, and gives what CONNACK says.
async fn connect(address: SocketAddr, user: &str, password: &str) -> (TcpStream, u8) {
    let mut body = b"\x00\x04MQTT\x04\xC2\x00\x00\x00\x00".to_vec();
    for text in [user, password] {
        body.extend([0, u8::try_from(text.len()).unwrap()]);
        body.extend(text.as_bytes());
    }
    let mut packet = vec![0x10, u8::try_from(body.len()).unwrap()];
    packet.extend(body);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let answer: [u8; 4] = ask(&mut stream, &packet).await;
    (stream, answer[3])
}

async fn ask<const LENGTH: usize>(stream: &mut TcpStream, packet: &[u8]) -> [u8; LENGTH] {
    stream.write_all(packet).await.unwrap();
    let mut answer = [0; LENGTH];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    answer
}

/// What SUBACK says to `a`.
async fn subscribe(stream: &mut TcpStream) -> u8 {
    ask::<5>(stream, b"\x82\x06\x00\x01\x00\x01a\x00").await[4]
}

#[tokio::test]
async fn passwords_are_read_again_and_nobody_is_disconnected() {
    let folder = std::env::temp_dir().join(format!("stormpetrel-reload-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("passwords");
    let hash = |word| format!("ann:{}\n", bcrypt::hash(word, 4).unwrap());
    std::fs::write(&file, hash("old")).unwrap();
    let text = format!("auth: {{plugins: [auth_file], password-file: '{}'}}", file.display());
    let (broker, address) = start(&text).await;
    let (mut before, reason) = connect(address, "ann", "old").await;
    assert_eq!(reason, IN);

    std::fs::write(&file, "ann:nonsense\n").unwrap();
    assert!(broker.reload(&config(&text)).is_err());
    assert_eq!(connect(address, "ann", "old").await.1, IN, "nothing has changed");
    // It has taken the place of the one before: both are the client of one user.
    drop(before);
    (before, _) = connect(address, "ann", "old").await;

    std::fs::write(&file, hash("new")).unwrap();
    broker.reload(&config(&text)).unwrap();
    assert_ne!(connect(address, "ann", "old").await.1, IN);
    assert_eq!(connect(address, "ann", "new").await.1, IN);
    assert_eq!(subscribe(&mut before).await, 0);
    let _ = std::fs::remove_dir_all(folder);
}

/// The start goes on without such a file, as amqtt does. A broker that runs has users to lose.
#[tokio::test]
async fn users_are_not_lost_with_a_file_that_cannot_be_read_now() {
    let folder = std::env::temp_dir().join(format!("stormpetrel-users-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (file, away) = (folder.join("passwords"), folder.join("away"));
    std::fs::write(&file, format!("ann:{}\n", bcrypt::hash("word", 4).unwrap())).unwrap();
    let text = format!("auth: {{allow-anonymous: false, password-file: '{}'}}", file.display());
    let (broker, address) = start(&text).await;
    std::fs::rename(&file, &away).unwrap();
    let error = broker.reload(&config(&text)).unwrap_err().to_string();
    assert!(error.contains("passwords: cannot be read: "), "{error}");
    assert_eq!(connect(address, "ann", "word").await.1, IN);
    std::fs::rename(&away, &file).unwrap();
    broker.reload(&config(&text)).unwrap();
    assert_eq!(connect(address, "ann", "word").await.1, IN);
    let _ = std::fs::remove_dir_all(folder);
}

#[tokio::test]
async fn rules_change_for_who_is_connected() {
    const OPEN: &str = "auth: {plugins: [auth_anonymous]}\n";
    let with = |acl: &str| {
        format!("{OPEN}topic-check: {{enabled: true, plugins: [topic_acl], subscribe-acl: {acl}}}")
    };
    let (broker, address) = start(&with("{ann: [b]}")).await;
    let (mut ann, reason) = connect(address, "ann", "any").await;
    assert_eq!(reason, IN);
    assert_eq!(subscribe(&mut ann).await, 0x80);
    broker.reload(&config(&with("{ann: [a]}"))).unwrap();
    assert_eq!(subscribe(&mut ann).await, 0);
    broker.reload(&config(OPEN)).unwrap();
    assert_eq!(subscribe(&mut ann).await, 0);
    broker.reload(&config(&with("{ann: [b]}"))).unwrap();
    assert_eq!(subscribe(&mut ann).await, 0x80);
}

#[tokio::test]
async fn clients_are_judged_from_now_on_or_not_any_more() {
    let open = "auth: {plugins: [auth_anonymous]}";
    let (broker, address) = start(open).await;
    let closed = "auth: {plugins: [auth_anonymous], allow-anonymous: false}";
    broker.reload(&config(closed)).unwrap();
    assert_ne!(connect(address, "", "").await.1, IN);
    broker.reload(&config(open)).unwrap();
    assert_eq!(connect(address, "", "").await.1, IN);
}

#[tokio::test]
async fn a_rule_of_addresses_holds_for_whoever_is_let_in_unasked() {
    let rules = "auth: {plugins: [auth_anonymous]}\n\
                 rules: [{allow: all, address: [127.0.0.0/8]}]";
    let (broker, address) = start(rules).await;
    let (mut ann, _) = connect(address, "ann", "any").await;
    assert_eq!(subscribe(&mut ann).await, 0);
    broker.reload(&config(&rules.replace("127.0.0.0/8", "10.0.0.0/8"))).unwrap();
    assert_eq!(subscribe(&mut ann).await, 0x80);
}

/// What a program that embeds the broker may bring along.
#[derive(Debug)]
struct NobodyMay(Origin);

impl Authorise for NobodyMay {
    fn decide(&self, _: &Question<'_>) -> Decision<'_> {
        Decision::denied(&self.0)
    }
}

#[tokio::test]
async fn the_rules_of_the_program_stay_in_force() {
    const OPEN: &str = "auth: {plugins: [auth_anonymous]}";
    let plugin = NobodyMay(Origin::built_in("the program's"));
    let broker = Broker::new(config(OPEN)).authorise(plugin).start().await.unwrap();
    let (mut ann, _) = connect(broker.addresses()[0], "ann", "any").await;
    assert_eq!(subscribe(&mut ann).await, 0x80);
    broker.reload(&config(OPEN)).unwrap();
    assert_eq!(subscribe(&mut ann).await, 0x80);
}
