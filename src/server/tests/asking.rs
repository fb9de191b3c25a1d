//! Clients that a web server judges: it may be slow, dead or mad, and nobody else notices.

use std::rc::Rc;

use super::*;
use crate::access::{HttpResponse, HttpSettings};
use crate::config::{Admission, Authentication};

/// A broker that asks the server `there`, on port 80, and takes its status for an answer.
fn with_server<F: Future<Output = ()>>(
    change: impl FnOnce(&mut HttpSettings),
    scenario: impl FnOnce(World) -> F,
) {
    let mut settings = HttpSettings::new("there", 80);
    settings.response = HttpResponse::Status;
    change(&mut settings);
    let authentication = vec![Authentication::Http(settings)];
    let config = Config { authentication, admission: Admission::unlimited(), ..Config::default() };
    with_plugins(&config, Plugins::default(), scenario);
}

fn asks(client_id: &str, user: &str) -> Packet {
    let mut connect = connect(client_id);
    connect.username = Some(text(user));
    connect.password = Some(Bytes::from_static(b"word"));
    Packet::Connect(Box::new(connect))
}

async fn reason(client: &mut Client) -> Reason {
    match client.recv().await {
        Some(Packet::ConnAck(answer)) => answer.reason,
        answer => panic!("a CONNACK was to come, not {answer:?}"),
    }
}

/// The next question as a whole, and where to answer it.
async fn question(world: &World) -> (String, DuplexStream) {
    let mut stream = world.asked.lock().await.recv().await.expect("the broker runs");
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains('}') {
        assert!(stream.read_buf(&mut read).await.expect("a pipe") > 0, "a whole question");
    }
    (String::from_utf8(read).expect("text"), stream)
}

#[test]
fn a_client_is_in_when_the_server_says_so() {
    with_server(
        |_| {},
        async |world| {
            for (status, want) in [
                ("204 No Content", Reason::Success),
                ("403 Forbidden", Reason::BadUserNameOrPassword),
                ("503 Service Unavailable", Reason::ServerUnavailable),
            ] {
                let mut client = world.open(1_000);
                client.send(&asks("c", status)).await;
                let (asked, mut server) = question(&world).await;
                let (head, body) = asked.split_once("\r\n\r\n").expect("a head");
                assert!(head.starts_with("GET /user HTTP/1.1\r\nhost: there:80\r\n"), "{head}");
                assert!(head.contains("user-agent: amqtt\r\n"), "{head}");
                let told =
                    format!(r#"{{"client_id":"c","password":"word","username":"{status}"}}"#);
                assert_eq!(body, told);
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                server.write_all(answer.as_bytes()).await.expect("the broker reads");
                assert_eq!(reason(&mut client).await, want);
            }
        },
    );
}

#[test]
fn a_server_that_is_silent_is_waited_for_as_long_as_is_configured() {
    with_server(
        |settings| settings.timeout = 3,
        async |world| {
            let mut waiting = world.open(1_000);
            let asked = Instant::now();
            waiting.send(&asks("waiting", "ann")).await;
            let (_, _server) = question(&world).await;
            assert_eq!(reason(&mut waiting).await, Reason::ServerUnavailable);
            assert_eq!(asked.elapsed().as_secs(), 3);
        },
    );
}

#[test]
fn what_is_no_answer_refuses_the_client() {
    with_server(
        |_| {},
        async |world| {
            let endless = format!("HTTP/1.1 200 OK\r\nx: {}\r\n", "y".repeat(100_000));
            let long = format!("HTTP/1.1 200 OK\r\n\r\n{}", "y".repeat(100_000));
            for nonsense in ["", "SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\n", &endless, &long] {
                let mut client = world.open(1_000);
                client.send(&asks("c", "ann")).await;
                let (_, mut server) = question(&world).await;
                // The broker may have had enough before it is all told.
                let _ = server.write_all(nonsense.as_bytes()).await;
                drop(server);
                assert_eq!(reason(&mut client).await, Reason::ServerUnavailable, "{nonsense:.20}");
            }
        },
    );
}

#[test]
fn a_server_that_cannot_be_reached_refuses_the_client_at_once() {
    with_server(
        |settings| settings.host = "nowhere".to_owned(),
        async |world| {
            let mut client = world.open(1_000);
            client.send(&asks("c", "ann")).await;
            assert_eq!(reason(&mut client).await, Reason::ServerUnavailable);
        },
    );
}

#[test]
fn a_server_that_hangs_holds_up_nobody_who_was_let_in_and_is_not_asked_without_end() {
    with_server(
        |_| {},
        async |world| {
            let mut inside = world.open(1_000);
            inside.send(&asks("inside", "ann")).await;
            let (_, mut server) = question(&world).await;
            server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("the broker reads");
            drop(server);
            assert_eq!(reason(&mut inside).await, Reason::Success);

            let mut crowd = Vec::new();
            for number in 0..1_200 {
                let mut client = world.open(1_000);
                client.send(&asks(&format!("c{number}"), "bob")).await;
                crowd.push(client);
            }
            inside.send(&Packet::PingReq).await;
            assert_eq!(inside.recv().await, Some(Packet::PingResp));
            let mut asked = Vec::new();
            while let Ok(question) = timeout(Duration::from_millis(1), question(&world)).await {
                asked.push(question);
            }
            assert_eq!(asked.len(), 64, "that many are asked at once");
            let mut busy = 0;
            for client in &mut crowd {
                match reason(client).await {
                    Reason::ServerBusy => busy += 1,
                    Reason::ServerUnavailable => {}
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(busy, 1_200 - 64 - 1_024, "those that found no place");
            // Who was let in is remembered: the server is not needed.
            let mut back = world.open(1_000);
            back.send(&asks("inside", "ann")).await;
            assert_eq!(reason(&mut back).await, Reason::Success);
        },
    );
}

#[test]
fn an_address_that_floods_keeps_others_waiting_for_one_question_of_its_own() {
    with_server(
        |_| {},
        async |world| {
            let mut crowd = Vec::new();
            for number in 0..500 {
                let mut client = world.open_from("192.0.2.1", 1_000);
                client.send(&asks(&format!("c{number}"), "mallory")).await;
                crowd.push(client);
            }
            let mut other = world.open_from("192.0.2.2", 1_000);
            other.send(&asks("other", "ann")).await;
            let mut asked = Vec::new();
            for _ in 0..64 {
                asked.push(question(&world).await);
            }
            let late = timeout(Duration::from_millis(1), question(&world)).await;
            assert!(late.is_err(), "all places are taken");
            for want in ["mallory", "ann", "mallory"] {
                asked.pop();
                let next = question(&world).await;
                assert!(next.0.contains(want), "{}", next.0);
                asked.insert(0, next);
            }
        },
    );
}

#[test]
fn a_client_that_leaves_gives_its_place_to_another() {
    with_server(
        |_| {},
        async |world| {
            let world = Rc::new(world);
            let mut crowd = Vec::new();
            for number in 0..64 {
                let mut client = world.open(1_000);
                client.send(&asks(&format!("c{number}"), "bob")).await;
                crowd.push((client, question(&world).await));
            }
            let mut next = world.open(1_000);
            next.send(&asks("next", "ann")).await;
            let asked = timeout(Duration::from_millis(1), question(&world)).await;
            assert!(asked.is_err(), "all places are taken");
            crowd.pop();
            let (_, mut server) = question(&world).await;
            server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("the broker reads");
            drop(server);
            assert_eq!(reason(&mut next).await, Reason::Success);
        },
    );
}
