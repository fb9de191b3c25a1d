//! Who gets in: every combination of plugins, `allow-anonymous` and credentials, through a running
//! broker, in 3.1.1 and 5.0, against amqtt's table (0.11.2 and later) as its users know it.
//!
//! The answers are written down here once more, and not taken from our code.

use std::net::SocketAddr;
use std::path::PathBuf;

use stormpetrel::Broker;
use stormpetrel::config::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// User name and password; `test` has the password `test`.
type Credentials = (Option<&'static str>, Option<&'static str>);

const CREDENTIALS: [Credentials; 7] = [
    (None, None),
    (Some("test"), None),
    (Some("test"), Some("test")),
    (Some("test"), Some("wrong")),
    (Some("nobody"), Some("test")),
    (Some(""), None),
    (Some(""), Some("test")),
];

/// What becomes of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    In,
    /// Its user name and password do not belong together: 0x86.
    Bad,
    /// Clients like it are not let in: 0x87.
    Not,
}

impl Fate {
    /// The code of its CONNACK.
    fn code(self, level: u8) -> u8 {
        match (self, level) {
            (Fate::In, _) => 0,
            (_, 4) => 5,
            (Fate::Bad, _) => 0x86,
            (Fate::Not, _) => 0x87,
        }
    }
}

use Fate::{Bad, In, Not};

/// Which plugins; `allow-anonymous`; what becomes of each of the credentials.
const TABLE: [(Plugins, Option<bool>, [Fate; 7]); 13] = {
    use Plugins::{Anonymous, Both, File, Unnamed};
    let file = [Not, Bad, In, Bad, Bad, Not, Not];
    let everybody = [In; 7];
    let named = [Not, In, In, In, In, Not, Not];
    let open = [In, Bad, In, Bad, Bad, In, In];
    [
        (File, None, file),
        (File, Some(true), file),
        (File, Some(false), file),
        (Anonymous, None, everybody),
        (Anonymous, Some(true), everybody),
        (Anonymous, Some(false), named),
        (Both, None, open),
        (Both, Some(true), open),
        (Both, Some(false), file),
        (Unnamed, None, open),
        (Unnamed, Some(true), open),
        (Unnamed, Some(false), file),
        // The order of the plugins means nothing.
        (Plugins::BothTheOtherWay, Some(false), file),
    ]
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plugins {
    File,
    Anonymous,
    Both,
    BothTheOtherWay,
    /// No `plugins` are given.
    Unnamed,
}

impl Plugins {
    /// In the section `auth`.
    fn section(self, allow: Option<bool>, file: &str) -> String {
        let plugins = match self {
            Plugins::File => "plugins: [auth_file], ",
            Plugins::Anonymous => "plugins: [auth_anonymous], ",
            Plugins::Both => "plugins: [auth_anonymous, auth_file], ",
            Plugins::BothTheOtherWay => "plugins: [auth_file, auth_anonymous], ",
            Plugins::Unnamed => "",
        };
        let allow = allow.map(|allow| format!("allow-anonymous: {allow}, ")).unwrap_or_default();
        format!("auth: {{{plugins}{allow}password-file: '{file}'}}")
    }

    /// As classes; none where they cannot say it.
    fn classes(self, allow: Option<bool>, file: &str) -> Option<String> {
        const MODULE: &str = "amqtt.plugins.authentication";
        let allow = allow.map(|allow| format!("allow_anonymous: {allow}")).unwrap_or_default();
        let anonymous = format!("{MODULE}.AnonymousAuthPlugin: {{{allow}}}");
        let file = format!("{MODULE}.FileAuthPlugin: {{password_file: '{file}'}}");
        let plugins = match self {
            Plugins::File if allow.is_empty() => file,
            Plugins::Anonymous => anonymous,
            Plugins::Both => format!("{anonymous}, {file}"),
            Plugins::BothTheOtherWay => format!("{file}, {anonymous}"),
            Plugins::File | Plugins::Unnamed => return None,
        };
        Some(format!("plugins: {{{plugins}}}"))
    }
}

fn field(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// The code of the CONNACK, and whether it says that there is a session; none: closed without one.
async fn knock(
    address: SocketAddr,
    level: u8,
    client: &str,
    who: Credentials,
) -> Option<(u8, bool)> {
    let (user, password) = who;
    let flags = u8::from(user.is_some()) << 7 | u8::from(password.is_some()) << 6;
    let mut body = [field("MQTT"), vec![level, flags, 0, 60]].concat();
    if level == 5 {
        body.push(0);
    }
    body.extend(field(client));
    for text in [user, password].into_iter().flatten() {
        body.extend(field(text));
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    let packet = [vec![0x10, u8::try_from(body.len()).unwrap()], body].concat();
    stream.write_all(&packet).await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.ok()?;
    assert_eq!(answer[0], 0x20);
    Some((answer[3], answer[2] == 1))
}

async fn start(access: &str) -> Broker {
    let yaml = format!("listeners: {{default: {{bind: '127.0.0.1:0'}}}}\n{access}\n");
    let config = Config::from_yaml(&yaml, "broker.yaml").unwrap().config;
    Broker::new(config).start().await.unwrap()
}

fn password_file(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, format!("test:{}\n", bcrypt::hash("test", 4).unwrap())).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_combination_of_plugins_and_credentials_gets_the_answer_of_the_table() {
    let file = password_file("logins");
    let mut knocks = 0;
    for (plugins, allow, fates) in TABLE {
        let section = Some(plugins.section(allow, &file));
        for access in [section, plugins.classes(allow, &file)].into_iter().flatten() {
            let broker = start(&access).await;
            for (who, fate) in CREDENTIALS.into_iter().zip(fates) {
                for level in [4, 5] {
                    let client = format!("{who:?} {level}");
                    let got = knock(broker.addresses()[0], level, &client, who).await;
                    let want = Some((fate.code(level), false));
                    assert_eq!(got, want, "{who:?} in {level}: {fate:?}\n{access}");
                    knocks += 1;
                }
            }
            assert!(broker.shut_down_and_wait().await);
        }
    }
    assert!(knocks >= 13 * 7 * 2, "only {knocks}: are settings left out?");
}

/// A session of a client is there, and no one who is refused is told about it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_nothing_of_sessions() {
    let file = password_file("logins-sessions");
    let broker = start(&Plugins::File.section(None, &file)).await;
    let address = broker.addresses()[0];
    for level in [4, 5] {
        // In 5.0 the session ends with the connection: only 3.1.1 leaves one.
        knock(address, 4, "known", (Some("test"), Some("test"))).await;
        for who in [(None, None), (Some("test"), Some("wrong")), (Some("nobody"), Some("test"))] {
            let answer = knock(address, level, "known", who).await.unwrap();
            assert!(answer.0 != 0 && !answer.1, "{who:?}");
        }
        let back = knock(address, 4, "known", (Some("test"), Some("test"))).await;
        assert_eq!(back, Some((0, true)), "it is still there");
    }
}

/// 3.1.1 forbids a password without a user name; 5.0 does not, and it is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_without_a_name_proves_nothing() {
    let file = password_file("logins-nameless");
    for (allow, fate) in [(true, In), (false, Not)] {
        let broker = start(&Plugins::Both.section(Some(allow), &file)).await;
        let address = broker.addresses()[0];
        assert_eq!(knock(address, 4, "c", (None, Some("test"))).await, None);
        let answer = knock(address, 5, "c", (None, Some("test"))).await;
        assert_eq!(answer, Some((fate.code(5), false)));
    }
}

/// Plugins that nobody has keep the broker from starting: whatever they were, they may have kept
/// somebody out.
#[test]
fn a_plugin_that_is_not_known_is_never_passed_over() {
    for access in [
        "auth: {plugins: []}",
        "auth: {plugins: [auth_mine]}",
        "auth: {plugins: [auth_anonymous, auth_mine]}",
        "auth: {plugins: [topic_acl]}",
        "auth:",
        "plugins: []",
        "plugins: {}",
        "plugins: [amqtt.plugins.authentication.AnonymousAuthPlugin, mine.Auth]",
        "plugins: [amqtt.plugins.sys.broker.BrokerSysPlugin]",
        "plugins: [amqtt.plugins.authentication.AnonymousAuthPlugin, \
         amqtt.contrib.http.TopicAuthHttpPlugin]",
        "plugins: [amqtt.plugins.authentication.AnonymousAuthPlugin, \
         amqtt.contrib.auth_db.TopicAuthDBPlugin]",
        "auth: {plugins: [auth_anonymous]}\ntopic-check: {enabled: true, plugins: [topic_mine]}",
    ] {
        let yaml = format!("listeners: {{default: {{bind: '127.0.0.1:0'}}}}\n{access}\n");
        assert!(Config::from_yaml(&yaml, "broker.yaml").is_err(), "{access}");
    }
}
