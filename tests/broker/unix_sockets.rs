//! MQTT over Unix sockets: plain, in WebSocket, behind a proxy; and what becomes of the files.

#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use stormpetrel::Broker;
use stormpetrel::access::{Authenticate, ConnectRequest, Verdict};
use stormpetrel::config::{Authentication, Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::{CONNACK, CONNECT, PATIENCE};

/// A path where no file is.
fn path(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("stormpetrel-sockets-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    let _ = std::fs::remove_file(&path);
    path
}

fn yaml(path: &Path, keys: &str) -> String {
    let path = path.display();
    format!(
        "listeners: {{local: {{bind: 'unix:{path}', {keys}}}}}\nauth: {{plugins: [auth_anonymous]}}"
    )
}

async fn start(path: &Path, keys: &str) -> Broker {
    Broker::from_yaml(&yaml(path, keys)).unwrap().start().await.unwrap()
}

/// Sends what is given and then CONNECT; whether CONNACK comes.
async fn connects(path: &Path, before: &[u8]) -> bool {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(&[before, CONNECT].concat()).await.unwrap();
    let mut got = [0; 4];
    let read = timeout(PATIENCE, stream.read_exact(&mut got)).await.unwrap();
    read.is_ok() && got == CONNACK
}

#[tokio::test]
async fn mqtt_is_spoken_and_the_file_goes_with_the_broker() {
    let path = path("plain");
    let broker = start(&path, "mode: 0600").await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(broker.addresses().is_empty());
    assert!(connects(&path, b"").await);

    let mut subscription = broker.subscribe("a", Default::default()).await.unwrap();
    let mut client = UnixStream::connect(&path).await.unwrap();
    // A message larger than every buffer.
    let mut publish = b"\x30\xC0\x84\x3D\x00\x01a".to_vec();
    publish.resize(7 + 1_000_000 - 3, b'x');
    client.write_all(&[CONNECT, &publish].concat()).await.unwrap();
    let message = timeout(PATIENCE, subscription.recv()).await.unwrap().unwrap();
    assert_eq!(message.payload.len(), 1_000_000 - 3);

    assert!(broker.shut_down_and_wait().await);
    assert!(!path.exists());
}

#[tokio::test]
async fn websocket_is_spoken_too() {
    let path = path("websocket");
    let _broker = start(&path, "type: ws").await;
    let mut request = "ws://localhost/mqtt".into_client_request().unwrap();
    let protocol = HeaderValue::from_static("mqtt");
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    let stream = UnixStream::connect(&path).await.unwrap();
    let upgraded = timeout(PATIENCE, tokio_tungstenite::client_async(request, stream)).await;
    let (mut frames, _) = upgraded.unwrap().unwrap();
    frames.send(Message::Binary(Bytes::from_static(CONNECT))).await.unwrap();
    let answer = timeout(PATIENCE, frames.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(answer, Message::Binary(Bytes::from_static(CONNACK)));
}

#[tokio::test]
async fn two_brokers_do_not_share_a_file_and_a_broken_start_leaves_none() {
    let (path, other) = (path("taken"), path("other"));
    let _broker = start(&path, "").await;
    let both = format!(
        "listeners: {{a: {{bind: 'unix:{}'}}, b: {{bind: 'unix:{}'}}}}",
        other.display(),
        path.display()
    );
    let error = Broker::from_yaml(&both).unwrap().start().await.unwrap_err().to_string();
    let want = format!("listeners.b.bind: cannot listen on unix:{}: another", path.display());
    assert!(error.starts_with(&want), "{error}");
    assert!(!other.exists());
    assert!(connects(&path, b"").await, "the first is not disturbed");
}

/// Whom the broker believes to talk to.
#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<Option<String>>>>);

impl Authenticate for Witness {
    async fn authenticate(&self, request: &ConnectRequest) -> Verdict {
        self.0.lock().unwrap().push(request.address.map(|address| address.to_string()));
        Verdict::Admitted
    }
}

#[tokio::test]
async fn a_proxy_says_where_its_clients_connect_from() {
    let path = path("proxied");
    for (keys, header, want) in [
        ("", &b""[..], None),
        ("proxy-protocol: on", b"PROXY TCP4 9.8.7.6 127.0.0.1 80 1883\r\n", Some("9.8.7.6")),
        ("proxy-protocol: on", b"PROXY UNKNOWN\r\n", None),
    ] {
        let witness = Witness::default();
        let config = Config::from_yaml(&yaml(&path, keys), "test").unwrap().config;
        let authentication = vec![Authentication::Named("witness".to_owned())];
        let config = Config { authentication, ..config };
        let builder = Broker::new(config).plugin("witness", witness.clone());
        let broker = builder.start().await.unwrap();
        assert!(connects(&path, header).await);
        assert_eq!(*witness.0.lock().unwrap(), [want.map(str::to_owned)]);
        assert!(broker.shut_down_and_wait().await);
    }
}

/// The binary, killed as by a lack of memory.
#[tokio::test]
async fn a_broker_that_was_killed_leaves_a_file_that_the_next_replaces() {
    let (socket, config) = (path("killed"), path("killed.yaml"));
    std::fs::write(&config, yaml(&socket, "")).unwrap();
    let mut killed = Command::new(env!("CARGO_BIN_EXE_stormpetrel"))
        .arg("--config")
        .arg(&config)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let listening = async {
        while UnixStream::connect(&socket).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await; // between two looks
        }
    };
    timeout(PATIENCE, listening).await.unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(socket.exists());
    let broker = start(&socket, "").await;
    assert!(connects(&socket, b"").await);
    assert!(broker.shut_down_and_wait().await);
    assert!(!socket.exists());
}
