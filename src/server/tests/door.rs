//! Clients at the door: judged before anything of theirs reaches the machine, however long the
//! plugins take.

use super::*;
use crate::config::Authentication;

/// Takes as many seconds as the user name says, then has the password decide.
struct Slow;

impl Authenticate for Slow {
    async fn authenticate(&self, request: &ConnectRequest) -> Verdict {
        let secs = request.username.as_deref().and_then(|name| name.parse().ok());
        tokio::time::sleep(Duration::from_secs(secs.unwrap_or(0))).await;
        match request.password.as_deref() {
            Some(b"good") => Verdict::Proven,
            Some(_) => Verdict::Refused(Refusal::BadCredentials),
            None => Verdict::Abstains,
        }
    }
}

fn with_door<F: Future<Output = ()>>(scenario: impl FnOnce(World) -> F) {
    let authentication = vec![Authentication::Named("slow".to_owned())];
    let mut plugins = Plugins::default();
    plugins.register("slow", Slow);
    with_plugins(&Config { authentication, ..Config::default() }, plugins, scenario);
}

fn asks(secs: u64, password: Option<&'static str>) -> Packet {
    let mut connect = connect("c");
    connect.username = Some(text(&secs.to_string()));
    connect.password = password.map(|word| Bytes::from_static(word.as_bytes()));
    Packet::Connect(Box::new(connect))
}

fn reason_of(answer: Option<Packet>) -> Reason {
    match answer {
        Some(Packet::ConnAck(answer)) => answer.reason,
        answer => panic!("a CONNACK was to come, not {answer:?}"),
    }
}

#[test]
fn the_verdict_decides_who_comes_in() {
    with_door(async |world| {
        for (password, want) in [
            (Some("good"), Reason::Success),
            (Some("bad"), Reason::BadUserNameOrPassword),
            (None, Reason::NotAuthorized),
        ] {
            let mut client = world.open(1_000);
            client.send(&asks(3, password)).await;
            let asked = Instant::now();
            assert_eq!(reason_of(client.recv().await), want);
            assert_eq!(asked.elapsed().as_secs(), 3);
            if want != Reason::Success {
                assert_eq!(client.recv().await, None, "and is closed");
            }
        }
    });
}

#[test]
fn what_comes_behind_a_connect_waits_for_the_verdict() {
    with_door(async |world| {
        for (password, is_let_in) in [("good", true), ("bad", false)] {
            let mut client = world.open(100_000);
            let packets = [asks(5, Some(password)), Packet::PingReq, Packet::PingReq];
            let bytes: Vec<u8> = packets.iter().flat_map(bytes_of).collect();
            client.stream.write_all(&bytes).await.expect("the broker reads");
            assert_eq!(reason_of(client.recv().await) == Reason::Success, is_let_in);
            let answers = (client.recv().await, client.recv().await);
            let want = is_let_in.then_some(Packet::PingResp);
            assert_eq!(answers, (want.clone(), want));
        }
    });
}

#[test]
fn the_deadline_for_connect_holds_for_the_verdict_too() {
    with_door(async |world| {
        let mut client = world.open(1_000);
        let opened = Instant::now();
        client.send(&asks(1_000_000, Some("good"))).await;
        assert_eq!(client.recv().await, None);
        assert_eq!(opened.elapsed().as_secs(), 10);
    });
}

#[test]
fn a_stopping_broker_waits_for_no_verdict() {
    with_door(async |world| {
        let mut client = world.open(1_000);
        client.send(&asks(9, Some("good"))).await;
        tokio::task::yield_now().await;
        world.shared.stop();
        let _ = client.recv().await;
        timeout(Duration::from_secs(8), world.broker).await.expect("in time").expect("no panic");
    });
}

#[test]
fn a_plugin_that_nobody_brought_keeps_the_broker_from_starting() {
    let authentication = vec![Authentication::Named("mine".to_owned())];
    let config = Config { authentication, ..Config::default() };
    let clock = Clock::starting_at(Timestamp(1));
    let shared: Result<Arc<Shared<()>>, _> =
        shared_with(&config, &Plugins::default(), Seed::default(), clock, 1);
    let error = shared.expect_err("there is none").to_string();
    assert!(error.contains("no authentication plugin \"mine\""), "{error}");
}
