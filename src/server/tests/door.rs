//! Clients at the door: judged before anything of theirs reaches the machine, however long the
//! plugins take.

use super::*;
use crate::access::Door;
use crate::config::{Admission, Authentication};

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

/// A door with this plugin.
fn door_of(plugin: impl Authenticate) -> Door {
    let mut door = Door::default();
    door.add(plugin);
    door
}

/// Always says the same, a second after it was asked.
struct Says(Verdict);

impl Authenticate for Says {
    async fn authenticate(&self, _: &ConnectRequest) -> Verdict {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.0.clone()
    }
}

#[test]
fn the_door_that_is_there_last_has_the_last_word() {
    const NOT: Verdict = Verdict::Refused(Refusal::NotAuthorized);
    for (password, doors, want) in [
        ("good", vec![NOT], Reason::NotAuthorized),
        ("bad", vec![Verdict::Proven], Reason::Success),
        ("good", vec![Verdict::Proven, NOT], Reason::NotAuthorized),
        ("good", vec![NOT, Verdict::Proven], Reason::Success),
    ] {
        with_door(async |world| {
            let mut client = world.open(1_000);
            client.send(&asks(2, Some(password))).await;
            // Each comes while the one before is asked.
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            let count = doors.len() as u64;
            let asked = Instant::now();
            for verdict in doors {
                world.shared.change_door(door_of(Says(verdict)));
                tokio::time::sleep(Duration::from_millis(999)).await;
            }
            assert_eq!(reason_of(client.recv().await), want);
            assert_eq!(asked.elapsed().as_millis(), u128::from(500 + 1_000 * count));
        });
    }
}

/// Lets in until that date, in milliseconds since the broker started.
struct Until(u64);

impl Authenticate for Until {
    async fn authenticate(&self, request: &ConnectRequest) -> Verdict {
        let started = Duration::from_millis(1_700_000_000_000);
        assert_eq!(request.now, request.date, "a network without a calendar");
        match request.date < started + Duration::from_millis(self.0) {
            true => Verdict::Proven,
            false => Verdict::Refused(Refusal::BadCredentials),
        }
    }
}

#[test]
fn who_waits_is_judged_by_the_door_and_the_date_after_that() {
    let authentication = vec![Authentication::Named("slow".to_owned())];
    let mut admission = Admission { exempt_addresses: Vec::new(), ..Admission::unlimited() };
    admission.failed_logins_per_user = 1;
    let config = Config { authentication, admission, ..Config::default() };
    let mut plugins = Plugins::default();
    plugins.register("slow", Slow);
    with_plugins(&config, plugins, async |world| {
        for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            let mut client = world.open_from(address, 1_000);
            client.send(&asks(0, Some("bad"))).await;
            assert_eq!(reason_of(client.recv().await), Reason::BadUserNameOrPassword);
        }
        // With a name under attack, a stranger is judged some seconds late.
        for (until_secs, want) in [(30, Reason::Success), (9, Reason::BadUserNameOrPassword)] {
            world.shared.change_door(door_of(Says(Verdict::Proven)));
            let mut client = world.open_from(&format!("198.51.100.{until_secs}"), 1_000);
            client.send(&asks(0, Some("good"))).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.shared.change_door(door_of(Until(1_000 * until_secs)));
            assert_eq!(reason_of(client.recv().await), want);
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
