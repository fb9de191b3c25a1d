//! Strangers at the door: how many, how fast, and how often they may guess.

use super::*;
use crate::access::Whose;
use crate::config::{Admission, Authentication, Listener};
use crate::machine::{Limits, Shed};
use crate::server::load::Usage;

const HERE: &str = "192.0.2.1";
const THERE: &str = "2001:db8::1";

/// A broker whose clients must know a password: "good".
fn with_admission<F: Future<Output = ()>>(
    change: impl FnOnce(&mut Config),
    scenario: impl FnOnce(World) -> F,
) {
    with_judge(Password, change, scenario);
}

/// One whose clients must please that judge.
fn with_judge<F: Future<Output = ()>>(
    judge: impl Authenticate,
    change: impl FnOnce(&mut Config),
    scenario: impl FnOnce(World) -> F,
) {
    let authentication = vec![Authentication::Named("judge".to_owned())];
    let admission = Admission { exempt_addresses: Vec::new(), ..Admission::unlimited() };
    let mut config = Config { authentication, admission, ..Config::default() };
    change(&mut config);
    let mut plugins = Plugins::default();
    plugins.register("judge", judge);
    with_plugins(&config, plugins, scenario);
}

/// The first listener believes the proxies of a network.
fn trust_proxies(config: &mut Config) {
    let Listener { is_proxied, trusted_proxies, .. } = &mut config.listeners[0];
    *is_proxied = true;
    *trusted_proxies = vec!["10.0.0.0/8".parse().expect("a subnet")];
}

impl World {
    /// Opens a connection for a client of that address, through a proxy that is believed.
    async fn open_proxied(&self, address: &str) -> Client {
        let mut client = self.open_from("10.0.0.1", 1_000);
        let header = format!("PROXY TCP4 {address} 10.0.0.1 80 1883\r\n");
        client.stream.write_all(header.as_bytes()).await.expect("the broker reads");
        client
    }

    fn sheds(&self, reason: Shed) -> u64 {
        self.shared.readings(Usage::default()).sheds.get(reason)
    }

    /// Logs in from there; none if the connection is closed without an answer.
    async fn log_in(&self, address: &str, user: &str, password: &str) -> (Client, Option<Reason>) {
        let mut client = self.open_from(address, 1_000);
        let reason = client.log_in(user, password).await;
        (client, reason)
    }

    /// So many clients log in from there, all at once and with one name.
    async fn log_in_at_once(
        &self,
        address: &str,
        password: &'static str,
        count: usize,
    ) -> Vec<Option<Reason>> {
        let all: Vec<_> = (0..count)
            .map(|_| {
                let mut client = self.open_from(address, 1_000);
                tokio::task::spawn_local(async move { client.log_in("ann", password).await })
            })
            .collect();
        let mut answers = Vec::new();
        for one in all {
            answers.push(one.await.expect("no panic"));
        }
        answers
    }
}

impl Client {
    async fn log_in(&mut self, user: &str, password: &str) -> Option<Reason> {
        // It may be closed already.
        let _ = self.stream.write_all(&bytes_of(&login(user, password))).await;
        match self.recv().await {
            Some(Packet::ConnAck(answer)) => Some(answer.reason),
            None => None,
            other => panic!("a CONNACK was to come, not {other:?}"),
        }
    }
}

/// The CONNECT of a client that has a user.
fn login(user: &str, password: &str) -> Packet {
    let mut connect = connect(&format!("{user}-{password}"));
    connect.will = None;
    connect.username = Some(text(user));
    connect.password = Some(Bytes::copy_from_slice(password.as_bytes()));
    Packet::Connect(Box::new(connect))
}

#[test]
fn an_address_has_so_many_connections_and_gets_places_back() {
    with_admission(
        |config| config.admission.connections_per_address = 2,
        async |world| {
            let first = world.log_in(HERE, "a", "good").await;
            let second = world.log_in(HERE, "b", "good").await;
            assert_eq!((first.1, second.1), (Some(Reason::Success), Some(Reason::Success)));
            assert_eq!(world.log_in(HERE, "c", "good").await.1, None, "closed without a word");
            assert_eq!(world.sheds(Shed::AddressConnections), 1);
            let other = world.log_in(THERE, "c", "good").await;
            assert_eq!(other.1, Some(Reason::Success));
            // Of one network of IPv6 all count together.
            let third = world.log_in("2001:db8::ffff", "d", "good").await;
            assert_eq!(third.1, Some(Reason::Success));
            assert_eq!(world.log_in("2001:db8::2", "e", "good").await.1, None);
            drop(first);
            while world.connections() > 3 {
                tokio::task::yield_now().await;
            }
            assert_eq!(world.log_in(HERE, "c", "good").await.1, Some(Reason::Success));
        },
    );
}

#[test]
fn exempt_addresses_are_not_limited() {
    with_admission(
        |config| {
            config.admission.connections_per_address = 1;
            config.admission.connection_rate_per_address = 1;
            config.admission.failed_logins = 1;
            config.admission.exempt_addresses = vec!["192.0.2.0/24".parse().expect("a subnet")];
        },
        async |world| {
            for _ in 0..50 {
                let failed = world.log_in(HERE, "a", "bad").await.1;
                assert_eq!(failed, Some(Reason::BadUserNameOrPassword));
            }
            assert_eq!(world.shared.readings(Usage::default()).failed_logins, 50);
        },
    );
}

#[test]
fn connections_of_an_address_come_at_a_rate() {
    with_admission(
        |config| config.admission.connection_rate_per_address = 3,
        async |world| {
            let mut clients = Vec::new();
            for number in 0..40 {
                clients.push(world.log_in(HERE, &number.to_string(), "good").await);
            }
            let admitted = clients.iter().filter(|client| client.1.is_some()).count();
            assert_eq!((admitted, world.sheds(Shed::AddressRate)), (30, 10));
            assert!(world.log_in(THERE, "x", "good").await.1.is_some());
            tokio::time::sleep(Duration::from_secs(1)).await;
            for is_admitted in [true, true, true, false] {
                assert_eq!(world.log_in(HERE, "y", "good").await.1.is_some(), is_admitted);
            }
        },
    );
}

#[test]
fn those_who_do_not_log_in_are_few_and_go_in_time() {
    with_admission(
        |config| {
            config.admission.unauthenticated_per_address = 3;
            config.admission.unauthenticated = 6;
        },
        async |world| {
            // Who is in does not count.
            for user in ["a", "b", "c", "d", "e", "f", "g"] {
                let (client, reason) = world.log_in(HERE, user, "good").await;
                assert_eq!(reason, Some(Reason::Success));
                std::mem::forget(client);
            }
            let silent: Vec<Client> = (0..3).map(|_| world.open_from(HERE, 100)).collect();
            assert_eq!(world.log_in(HERE, "x", "good").await.1, None);
            assert_eq!(world.sheds(Shed::AddressUnauthenticated), 1);
            // Who has most there makes room for others, until each has one.
            let others: Vec<Client> =
                (0..5).map(|n| world.open_from(&format!("192.0.2.{}", 9 + n), 100)).collect();
            assert_eq!(world.log_in(THERE, "x", "good").await.1, None);
            assert_eq!((world.sheds(Shed::Silent), world.sheds(Shed::Unauthenticated)), (2, 1));
            // The time for CONNECT, and that for the peer to close too.
            tokio::time::sleep(Duration::from_millis(12_001)).await;
            assert_eq!(world.log_in(THERE, "x", "good").await.1, Some(Reason::Success));
            assert_eq!(world.log_in(HERE, "x", "good").await.1, Some(Reason::Success));
            drop((silent, others));
        },
    );
}

#[test]
fn who_has_been_silent_longest_makes_room() {
    with_admission(
        |config| config.admission.unauthenticated = 3,
        async |world| {
            let mut silent = Vec::new();
            for address in ["192.0.2.7", "192.0.2.8", "192.0.2.9"] {
                silent.push(world.open_from(address, 1_000));
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            for round in 0..2 {
                let (_client, answer) = world.log_in(HERE, "a", "good").await;
                assert_eq!(answer, Some(Reason::Success));
                assert_eq!(silent[round].recv().await, None, "it came first");
                assert_eq!(world.sheds(Shed::Silent), round as u64 + 1);
                assert_eq!(world.shared.unauthenticated(), 2);
                silent.push(world.open_from(&format!("192.0.2.{}", 20 + round), 1_000));
            }
            assert_eq!(world.log_in(HERE, "a", "good").await.1, None, "nobody is silent for long");
            assert_eq!((world.sheds(Shed::Unauthenticated), world.sheds(Shed::Silent)), (1, 2));
            drop(silent);
            while world.connections() > 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(world.shared.unauthenticated(), 0);
        },
    );
}

#[test]
fn who_is_being_judged_or_came_a_moment_ago_makes_no_room() {
    let change = |config: &mut Config| config.admission.unauthenticated = 2;
    with_judge(After(3_000, 3_000), change, async |world| {
        let mut judged = world.open_from(HERE, 1_000);
        let asking = async { judged.log_in("ann", "good").await };
        let meanwhile = async {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            let _young = world.open_from("192.0.2.8", 1_000);
            tokio::time::sleep(Duration::from_millis(999)).await;
            assert_eq!(world.log_in(THERE, "bob", "good").await.1, None);
            assert_eq!((world.sheds(Shed::Unauthenticated), world.sheds(Shed::Silent)), (1, 0));
            tokio::time::sleep(Duration::from_millis(1)).await;
            let answer = world.log_in(THERE, "bob", "bad").await.1;
            assert_eq!(answer, Some(Reason::BadUserNameOrPassword));
            assert_eq!(world.sheds(Shed::Silent), 1);
        };
        let (answer, ()) = tokio::join!(biased; asking, meanwhile);
        assert_eq!(answer, Some(Reason::Success));
    });
}

/// Far above the limit of connections, the same is so.
#[test]
fn a_full_house_is_told_to_who_knocks_however_many_are_silent() {
    with_admission(
        |config| config.limits = Limits { connections: 1, ..Limits::default() },
        async |world| {
            let (mut inside, answer) = world.log_in(HERE, "in", "good").await;
            assert_eq!(answer, Some(Reason::Success));
            let addresses = (0..1_000).map(|n| format!("198.51.{}.{}", n / 250, n % 250));
            let silent: Vec<Client> = addresses.map(|from| world.open_from(&from, 10)).collect();
            assert_eq!(world.log_in(HERE, "a", "good").await.1, None, "they are left a second");
            assert_eq!(world.sheds(Shed::Connections), 1);
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut late = Vec::new();
            for n in 0..300 {
                let from = format!("203.0.{}.{}", 113 + n / 250, n % 250);
                let (client, answer) = world.log_in(&from, "a", "good").await;
                assert_eq!(answer, Some(Reason::QuotaExceeded));
                late.push(client);
            }
            assert_eq!(world.sheds(Shed::Silent), 300);
            inside.send(&Packet::PingReq).await;
            assert_eq!(inside.recv().await, Some(Packet::PingResp));
            drop(inside);
            while world.log_in(HERE, "a", "good").await.1 != Some(Reason::Success) {}
            drop((silent, late));
        },
    );
}

#[test]
fn who_guesses_waits_and_nobody_else_does() {
    with_admission(
        |config| {
            config.admission.failed_logins = 3;
            config.admission.failed_logins_per_user = 10;
        },
        async |world| {
            const BAD: Option<Reason> = Some(Reason::BadUserNameOrPassword);
            const LATER: Option<Reason> = Some(Reason::ConnectionRateExceeded);
            for _ in 0..3 {
                assert_eq!(world.log_in(HERE, "ann", "bad").await.1, BAD);
            }
            for password in ["bad", "good"] {
                assert_eq!(world.log_in(HERE, "ann", password).await.1, LATER);
            }
            let asked = Instant::now();
            assert_eq!(world.log_in(HERE, "bob", "good").await.1, Some(Reason::Success));
            assert_eq!(world.log_in(THERE, "ann", "good").await.1, Some(Reason::Success));
            assert_eq!(asked.elapsed(), Duration::ZERO);
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(world.log_in(HERE, "ann", "bad").await.1, BAD);
            tokio::time::sleep(Duration::from_millis(1_999)).await;
            assert_eq!(world.log_in(HERE, "ann", "good").await.1, LATER);
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(world.log_in(HERE, "ann", "good").await.1, Some(Reason::Success));
            assert_eq!(world.sheds(Shed::Logins), 3);

            // Many guess: a stranger is answered late, who is known there is not.
            for guesser in 0..20 {
                world.log_in(&format!("192.0.2.{}", 100 + guesser), "ann", "bad").await;
            }
            for (address, secs) in [(THERE, 0), ("198.51.100.1", 5), ("198.51.100.1", 0)] {
                let asked = Instant::now();
                assert_eq!(world.log_in(address, "ann", "good").await.1, Some(Reason::Success));
                assert_eq!(asked.elapsed().as_secs(), secs, "{address}");
            }
        },
    );
}

#[test]
fn who_guesses_without_a_name_waits_too() {
    with_admission(
        |config| config.admission.failed_logins = 3,
        async |world| {
            let log_in = async |client_id: &str, password: &'static str| {
                let mut client = world.open_from(HERE, 1_000);
                let mut connect = connect(client_id);
                connect.will = None;
                connect.password = Some(Bytes::from_static(password.as_bytes()));
                let _ = client.stream.write_all(&bytes_of(&Packet::Connect(connect.into()))).await;
                match client.recv().await {
                    Some(Packet::ConnAck(answer)) => answer.reason,
                    other => panic!("a CONNACK was to come, not {other:?}"),
                }
            };
            for _ in 0..3 {
                assert_eq!(log_in("c", "bad").await, Reason::BadUserNameOrPassword);
            }
            assert_eq!(log_in("c", "good").await, Reason::ConnectionRateExceeded);
            assert_eq!(log_in("d", "good").await, Reason::Success);
            // A user of that name is somebody else.
            assert_eq!(world.log_in(HERE, "c", "good").await.1, Some(Reason::Success));
        },
    );
}

/// As [`Password`], so many milliseconds later: one that is right, and one that is wrong.
struct After(u64, u64);

impl Authenticate for After {
    async fn authenticate(&self, request: &ConnectRequest) -> Verdict {
        let verdict = Password.authenticate(request).await;
        let wrong = matches!(verdict, Verdict::Refused(_));
        tokio::time::sleep(Duration::from_millis(if wrong { self.1 } else { self.0 })).await;
        verdict
    }
}

#[test]
fn guesses_at_once_are_no_more_guesses_and_a_fleet_with_one_name_is_let_in() {
    let change = |config: &mut Config| config.admission.failed_logins = 5;
    with_judge(After(100, 100), change, async |world| {
        let answers = world.log_in_at_once(HERE, "bad", 200).await;
        let of = |reason| answers.iter().filter(|answer| **answer == Some(reason)).count();
        assert_eq!(of(Reason::BadUserNameOrPassword), 5);
        assert_eq!(of(Reason::ConnectionRateExceeded), 195);

        let started = Instant::now();
        let answers = world.log_in_at_once(THERE, "good", 200).await;
        assert!(answers.iter().all(|answer| *answer == Some(Reason::Success)), "{answers:?}");
        assert_eq!(started.elapsed().as_millis() / 100, 40, "five at once");

        // They have ten seconds. Who has not been judged in time leaves the others their turn.
        let answers = world.log_in_at_once("198.51.100.1", "good", 600).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_some()).count(), 500);
        assert_eq!(world.log_in("198.51.100.1", "ann", "good").await.1, Some(Reason::Success));
    });
}

#[test]
fn who_goes_while_it_is_judged_leaves_its_turn_to_others() {
    let change = |config: &mut Config| config.admission.failed_logins = 1;
    with_judge(After(3_000, 3_000), change, async |world| {
        for _ in 0..3 {
            for _ in 0..3 {
                let mut client = world.open_from(HERE, 1_000);
                let asks = client.log_in("ann", "good");
                let asked = timeout(Duration::from_millis(10), asks).await;
                assert!(asked.is_err(), "it is being judged");
            }
            let started = Instant::now();
            let answer = world.log_in(HERE, "ann", "good").await.1;
            assert_eq!(answer, Some(Reason::Success), "one at a time");
            assert_eq!(started.elapsed().as_millis(), 3_000, "nobody else is there");
        }
    });
}

#[test]
fn who_is_not_judged_in_time_leaves_its_turn_to_others_though_it_stays() {
    let change = |config: &mut Config| config.admission.failed_logins = 1;
    with_judge(After(0, 60_000), change, async |world| {
        let mut client = world.open_from(HERE, 1_000);
        let asks = client.log_in("ann", "bad");
        assert!(timeout(Duration::from_millis(9_500), asks).await.is_err(), "it has ten seconds");
        let started = Instant::now();
        let answer = world.log_in(HERE, "ann", "good").await.1;
        assert_eq!(answer, Some(Reason::Success));
        assert_eq!(started.elapsed().as_millis(), 500, "not when its connection is forgotten");
    });
}

#[test]
fn what_is_said_before_the_verdict_counts_even_if_its_client_has_gone() {
    with_judge(
        After(3_000, 3_000),
        |_| (),
        async |world| {
            let mut hearer = world.open_from(HERE, 1_000);
            hearer.log_in("ann", "good").await.expect("an answer");
            hearer.subscribe("t").await;
            for (user, payload) in [("bob", "one read behind it"), ("cy", "beside it")] {
                let mut client = world.open_from(HERE, 1_000);
                let connect = bytes_of(&login(user, "good"));
                let said = bytes_of(&publish("t", payload));
                if user == "bob" {
                    client.stream.write_all(&connect).await.expect("the broker reads");
                    tokio::task::yield_now().await;
                    client.stream.write_all(&said).await.expect("the broker reads");
                } else {
                    let all = [connect, said].concat();
                    client.stream.write_all(&all).await.expect("the broker reads");
                }
                drop(client);
                let heard = timeout(Duration::from_secs(60), hearer.message()).await;
                assert_eq!(heard.expect("it comes").as_deref(), Some(payload.as_bytes()));
            }
        },
    );
}

/// The delay leaves time to be judged.
#[test]
fn a_login_that_is_answered_late_is_answered_in_time() {
    with_admission(
        |config| {
            config.admission.failed_logins_per_user = 1;
            config.limits = Limits { connect_timeout: 1_000, ..Limits::default() };
        },
        async |world| {
            for _ in 0..3 {
                world.log_in(HERE, "ann", "bad").await;
            }
            let asked = Instant::now();
            assert_eq!(world.log_in(THERE, "ann", "good").await.1, Some(Reason::Success));
            assert_eq!(asked.elapsed().as_millis(), 500);
        },
    );
}

#[test]
fn behind_a_proxy_its_clients_are_limited_and_it_is_not() {
    with_admission(
        |config| {
            config.admission.connections_per_address = 2;
            config.admission.failed_logins = 1;
            trust_proxies(config);
        },
        async |world| {
            let mut clients = Vec::new();
            for number in 0..20 {
                for want in [Some(Reason::Success), Some(Reason::Success), None] {
                    let mut client = world.open_proxied(&format!("192.0.2.{number}")).await;
                    let user = clients.len().to_string();
                    assert_eq!(client.log_in(&user, "good").await, want);
                    clients.push(client);
                }
            }
            assert_eq!(world.sheds(Shed::AddressConnections), 20);
            drop(clients);
            while world.connections() > 0 {
                tokio::task::yield_now().await;
            }
            for (address, want) in [
                ("192.0.2.1", Reason::BadUserNameOrPassword),
                ("192.0.2.1", Reason::ConnectionRateExceeded),
                ("192.0.2.2", Reason::BadUserNameOrPassword),
            ] {
                let mut client = world.open_proxied(address).await;
                assert_eq!(client.log_in("ann", "bad").await, Some(want));
            }
        },
    );
}

#[test]
fn an_exempt_client_of_a_proxy_is_not_limited() {
    with_admission(
        |config| {
            config.admission.failed_logins = 1;
            config.admission.exempt_addresses = vec!["192.0.2.0/24".parse().expect("a subnet")];
            trust_proxies(config);
        },
        async |world| {
            for (address, reason) in [
                (HERE, Reason::BadUserNameOrPassword),
                (HERE, Reason::BadUserNameOrPassword),
                ("198.51.100.1", Reason::BadUserNameOrPassword),
                ("198.51.100.1", Reason::ConnectionRateExceeded),
            ] {
                let mut client = world.open_proxied(address).await;
                assert_eq!(client.log_in("ann", "bad").await, Some(reason), "{address}");
            }
        },
    );
}

/// Who trusts proxies where none can speak has named its clients' network.
#[test]
fn where_no_proxy_can_speak_nobody_is_trusted() {
    with_admission(
        |config| {
            config.admission.failed_logins = 1;
            config.admission.connections_per_address = 3;
            config.listeners[0].trusted_proxies = vec!["192.0.2.0/24".parse().expect("a subnet")];
        },
        async |world| {
            let mut clients = Vec::new();
            for want in [
                Some(Reason::BadUserNameOrPassword),
                Some(Reason::ConnectionRateExceeded),
                Some(Reason::ConnectionRateExceeded),
                None,
            ] {
                let (client, answer) = world.log_in(HERE, "ann", "bad").await;
                assert_eq!(answer, want);
                clients.push(client);
            }
        },
    );
}

/// Of whom a proxy speaks, and who cannot speak for others after that, is a client like any.
#[test]
fn a_client_in_the_network_of_its_proxy_is_limited() {
    with_admission(
        |config| {
            config.admission.failed_logins = 1;
            trust_proxies(config);
        },
        async |world| {
            for want in [Reason::BadUserNameOrPassword, Reason::ConnectionRateExceeded] {
                let mut client = world.open_proxied("10.2.3.4").await;
                assert_eq!(client.log_in("ann", "bad").await, Some(want));
            }
        },
    );
}

/// It may be a proxy itself, which WebSocket would say, and did not.
#[test]
fn a_client_that_a_proxy_names_is_limited_in_websocket_too() {
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    with_admission(
        |config| {
            config.admission.connections_per_address = 1;
            trust_proxies(config);
            config.listeners[0].is_websocket = true;
        },
        async |world| {
            let mut clients = Vec::new();
            let for_another = "X-Forwarded-For: 192.0.2.7\r\n";
            for (forwarded, is_let_in) in [("", true), ("", false), (for_another, true)] {
                let mut client = world.open_proxied("10.2.3.4").await;
                let request = format!("{upgrade}{forwarded}\r\n");
                client.stream.write_all(request.as_bytes()).await.expect("the broker reads");
                // The answer may be on its way before it is clear who asks.
                let ended =
                    async { while client.stream.read(&mut [0; 64]).await.unwrap_or(0) > 0 {} };
                let waited = tokio::time::timeout(Duration::from_millis(100), ended).await;
                assert_eq!(waited.is_err(), is_let_in, "{forwarded}");
                clients.push(client);
            }
        },
    );
}

/// As [`Password`], and takes down whose work there would be.
#[derive(Clone, Default)]
struct Noting(Arc<std::sync::Mutex<Vec<Whose>>>);

impl Authenticate for Noting {
    async fn authenticate(&self, request: &ConnectRequest) -> Verdict {
        self.0.lock().expect("no panic").push(request.whose);
        Password.authenticate(request).await
    }
}

#[test]
fn those_who_do_costly_work_are_told_who_is_known_where() {
    let noting = Noting::default();
    let change = |config: &mut Config| {
        config.admission.exempt_addresses = vec!["10.0.0.0/8".parse().expect("a subnet")];
    };
    with_judge(noting.clone(), change, async |world| {
        for (address, user, password, want) in [
            (HERE, "ann", "bad", (HERE, false)),
            (HERE, "ann", "good", (HERE, false)),
            (HERE, "ann", "bad", (HERE, true)),
            (HERE, "bob", "good", (HERE, false)),
            ("2001:db8::7", "ann", "good", ("2001:db8::", false)),
            (THERE, "ann", "good", ("2001:db8::", true)),
            ("10.0.0.1", "ann", "bad", ("10.0.0.1", true)),
        ] {
            world.log_in(address, user, password).await;
            let whose = noting.0.lock().expect("no panic").pop().expect("it was asked");
            let of = whose.address.map(|address| address.to_string());
            assert_eq!((of.as_deref(), whose.is_known), (Some(want.0), want.1), "{address} {user}");
        }
    });
}

#[test]
fn a_lack_of_descriptors_is_waited_for_and_passes() {
    with_broker(async |world| {
        let started = Instant::now();
        for _ in 0..50 {
            let lack = io::Error::other("no descriptor is left");
            world.outgoing.send(Err(lack)).expect("the broker accepts");
        }
        let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
        world.outgoing.send(Err(aborted)).expect("the broker accepts");
        world.connect("c", 1_000).await;
        assert_eq!(started.elapsed().as_millis() / 100, 50, "not at once, and no longer");
    });
}
