//! Tokens and web servers from end to end: who gets in, and what a token lets its bearer do.
//!
//! What tokens and answers mean is tested beside the code, in `src/access/`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::kit::Site;
use crate::raw;

const SECRET: &str = "a secret of two and thirty bytes";
const NOT_AUTHORIZED: u8 = 0x87;
const BAD_CREDENTIALS: u8 = 0x86;
const UNAVAILABLE: u8 = 0x88;

fn token(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

/// The code of the CONNACK.
fn knock(site: &Site, client: &str, user: Option<&str>, password: Option<&str>) -> u8 {
    let mut peer = site.open(5);
    peer.send(&raw::Connect::new(5, client).by(user, password).bytes());
    peer.connack()
}

#[test]
fn a_token_lets_its_bearer_in_while_it_is_valid() {
    let auth = format!("auth: {{plugins: [auth_jwt], jwt: {{secret-key: {SECRET}}}}}");
    let site = Site::with_yaml(&auth);
    // Far from now on both sides.
    let good = token(&json!({"sub": "ann", "nbf": 1_000_000_000, "exp": 32_000_000_000_u64}));
    let expired = token(&json!({"sub": "ann", "exp": 1_000_000_000}));
    let early = token(&json!({"sub": "ann", "nbf": 32_000_000_000_u64}));
    for (user, password, want) in [
        (Some("ann"), Some(&good), 0),
        (None, Some(&good), 0),
        (Some("bob"), Some(&good), BAD_CREDENTIALS),
        (Some("ann"), Some(&expired), BAD_CREDENTIALS),
        (Some("ann"), Some(&early), BAD_CREDENTIALS),
        (Some("ann"), None, BAD_CREDENTIALS),
        (None, Some(&expired), NOT_AUTHORIZED),
        (None, None, NOT_AUTHORIZED),
    ] {
        let got = knock(&site, "c", user, password.map(String::as_str));
        assert_eq!(got, want, "{user:?} {password:?}");
    }
}

#[test]
fn a_token_says_which_topics_its_bearer_may_use() {
    const USER: &str = "amqtt.contrib.jwt.UserAuthJwtPlugin";
    const TOPIC: &str = "amqtt.contrib.jwt.TopicAuthJwtPlugin";
    let plugins = format!(
        "plugins: {{{USER}: {{secret_key: {SECRET}, user_claim: username}}, {TOPIC}: {{secret_key: \
         {SECRET}, publish_claim: pub, subscribe_claim: sub, receive_claim: rec}}}}"
    );
    let site = Site::with_yaml(&plugins);
    let client = |name: &str, claims: Value| {
        let connect = raw::Connect::new(5, name).by(Some(name), Some(&token(&claims)));
        site.client_by(&connect)
    };
    let claims = json!({"username": "ann", "pub": ["up/#"], "sub": ["down/+"], "rec": ["down/a"]});
    let mut ann = client("ann", claims);
    let mut root = client("root", json!({"username": "root", "pub": ["#"], "sub": [], "rec": []}));
    for (filter, want) in [("down/+", 1), ("down/a", 1), ("down/#", NOT_AUTHORIZED), ("#", 0x87)] {
        assert_eq!(ann.subscribe(filter), want, "{filter}");
    }
    assert_eq!(root.subscribe("down/a"), NOT_AUTHORIZED);
    for (topic, is_allowed) in [("up/x", true), ("up", true), ("down/a", false)] {
        ann.send(&raw::publish(5, topic, 1, b"x"));
        assert_eq!(ann.puback() < 0x80, is_allowed, "{topic}");
    }
    for (topic, text) in [("down/b", "not for ann"), ("down/a", "for ann")] {
        root.send(&raw::publish(5, topic, 1, text.as_bytes()));
        assert!(root.puback() < 0x80);
    }
    assert_eq!(ann.message().payload, "for ann");
    // The same client with a token that grants less: what it was subscribed to is judged anew.
    drop(ann);
    let mut ann = client("ann", json!({"username": "ann", "pub": ["up/#"], "sub": [], "rec": []}));
    assert_eq!(ann.subscribe("down/a"), NOT_AUTHORIZED);
}

/// A web server that answers every question by its body, on a port of its own.
struct Judge {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Judge {
    fn start(tls: Option<Arc<ServerConfig>>, answer: fn(&str) -> String) -> Judge {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let judge = Judge { port: listener.local_addr().unwrap().port(), asked: Arc::default() };
        let asked = judge.asked.clone();
        thread::Builder::new()
            .spawn(move || {
                for stream in listener.incoming() {
                    asked.fetch_add(1, Ordering::Relaxed);
                    match &tls {
                        None => serve(stream.unwrap(), answer),
                        Some(config) => {
                            let tls = ServerConnection::new(config.clone()).unwrap();
                            serve(StreamOwned::new(tls, stream.unwrap()), answer);
                        }
                    }
                }
            })
            .unwrap();
        judge
    }
}

/// One question and its answer. The asker may leave at any time.
fn serve(stream: impl Read + Write, answer: fn(&str) -> String) {
    let mut stream = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while stream.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    if stream.read_exact(&mut body).is_ok() {
        let answer = answer(&String::from_utf8(body).unwrap());
        let _ = stream.get_mut().write_all(answer.as_bytes());
        let _ = stream.get_mut().flush();
    }
}

fn says(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Only ann with her password gets in; it breaks at a mad user, and is silent about a shy one.
fn judgement(asked: &str) -> String {
    let asked: Value = serde_json::from_str(asked).unwrap();
    match (asked["username"].as_str(), asked["password"].as_str()) {
        (Some("ann"), Some("word")) => says(r#"{"ok": true}"#),
        (Some("shy"), _) => says(r#"{"ok": null}"#),
        (Some("mad"), _) => "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => says(r#"{"ok": false}"#),
    }
}

#[test]
fn a_web_server_says_who_gets_in_and_is_not_asked_twice_in_a_row() {
    let judge = Judge::start(None, judgement);
    let site = Site::with_yaml(&format!(
        "plugins: {{amqtt.contrib.http.UserAuthHttpPlugin: {{host: 127.0.0.1, port: {}, user_uri: \
         /user, request_method: post, params_mode: json, response_mode: json, timeout: 20}}}}",
        judge.port
    ));
    for (user, password, want) in [
        (Some("ann"), Some("word"), 0),
        (Some("ann"), Some("wrong"), BAD_CREDENTIALS),
        (Some("bob"), Some("word"), BAD_CREDENTIALS),
        (None, None, NOT_AUTHORIZED),
        (Some("shy"), Some("word"), NOT_AUTHORIZED),
        (Some("mad"), Some("word"), UNAVAILABLE),
    ] {
        assert_eq!(knock(&site, "c", user, password), want, "{user:?} {password:?}");
    }
    let asked = judge.asked.load(Ordering::Relaxed);
    assert_eq!(knock(&site, "c", Some("ann"), Some("word")), 0);
    assert_eq!(judge.asked.load(Ordering::Relaxed), asked, "she is remembered");
    assert_eq!(knock(&site, "c", Some("ann"), Some("wrong")), BAD_CREDENTIALS);
}

#[test]
fn a_web_server_that_is_not_there_lets_nobody_in_whatever_other_plugins_say() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let site = Site::with_yaml(&format!(
        "auth: {{plugins: [auth_http, auth_anonymous], http: {{host: 127.0.0.1, port: {nobody}}}}}"
    ));
    assert_eq!(knock(&site, "c", Some("ann"), Some("word")), UNAVAILABLE);
    assert_eq!(knock(&site, "c", None, None), UNAVAILABLE);
}

#[test]
fn a_web_server_is_asked_over_tls_if_its_certificate_is_good() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let cafile = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("judge-ca.pem");
    std::fs::write(&cafile, authority.pem()).unwrap();
    for (name, want) in [("localhost", 0), ("elsewhere.lan", UNAVAILABLE)] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let judge = Judge::start(Some(Arc::new(config)), judgement);
        let site = Site::with_yaml(&format!(
            "auth: {{plugins: [auth_http], http: {{host: localhost, port: {}, with-tls: true, \
             cafile: '{}', timeout: 20}}}}",
            judge.port,
            cafile.display()
        ));
        assert_eq!(knock(&site, "c", Some("ann"), Some("word")), want, "{name}");
    }
}

/// A server that accepts and never says a word: its clients wait, and nobody else does.
#[test]
fn a_web_server_that_hangs_holds_up_nobody_else() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let site = Site::with_yaml(&format!(
        "auth: {{plugins: [auth_http], http: {{host: 127.0.0.1, port: {port}, response-mode: \
         status}}}}"
    ));
    let connect = raw::Connect::new(5, "inside").by(Some("ann"), Some("word"));
    let mut inside = site.open(5);
    inside.send(&connect.bytes());
    let (mut question, _) = silent.accept().unwrap();
    // An answer that comes before its question is none.
    let mut asked = Vec::new();
    while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut some = [0; 1_024];
        let bytes = question.read(&mut some).unwrap();
        asked.extend_from_slice(&some[..bytes]);
        assert!(bytes > 0, "it asks before it goes");
    }
    question.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    assert_eq!(inside.connack(), 0);
    let waiting: Vec<_> = (0..100)
        .map(|number| {
            let mut peer = site.open(5);
            let connect = raw::Connect::new(5, &format!("c{number}")).by(Some("bob"), Some("x"));
            peer.send(&connect.bytes());
            peer
        })
        .collect();
    let _held: TcpStream = silent.accept().unwrap().0;
    for _ in 0..100 {
        inside.expect_served();
    }
    drop(waiting);
}
