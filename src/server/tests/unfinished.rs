//! Packets that begin to come and do not end.

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::access::HttpSettings;
use crate::config::{Admission, Authentication};

/// As large as a packet may be here.
const LARGE: usize = 20_000;

fn with_little_room<F: Future<Output = ()>>(scenario: impl FnOnce(World) -> F) {
    let mut config = Config::default();
    config.limits.packet_bytes = LARGE as u32;
    config.limits.total_bytes = 100_000;
    with_plugins(&config, Plugins::default(), scenario);
}

/// The beginning of a large message, and its end.
fn halves() -> (BytesMut, BytesMut) {
    let mut first = bytes_of(&publish("t", vec![b'x'; LARGE - 100]));
    let last = first.split_off(LARGE / 2);
    (first, last)
}

/// So many clients, each of whom has sent the beginning a moment after the one before.
async fn beginners(world: &World, count: usize, first: &[u8]) -> Vec<Client> {
    let mut clients = Vec::new();
    for number in 0..count {
        let mut client = world.connect(&format!("c{number}"), 100_000).await;
        client.stream.write_all(first).await.expect("the broker reads");
        tokio::time::sleep(Duration::from_millis(1)).await;
        clients.push(client);
    }
    clients
}

#[test]
fn whoever_has_left_a_packet_unfinished_for_longest_makes_room_for_others() {
    with_little_room(async |world| {
        let (first, last) = halves();
        let mut clients = beginners(&world, 12, &first).await;
        let mut newest = clients.pop().expect("there are twelve");
        let mut oldest = clients.remove(0);
        match timeout(Duration::from_secs(9), oldest.recv()).await.expect("it is told") {
            Some(Packet::Disconnect(said)) => assert_eq!(said.reason, Reason::QuotaExceeded),
            other => panic!("a DISCONNECT was to come, not {other:?}"),
        }
        assert!(oldest.recv().await.is_none(), "and nothing after it");
        newest.stream.write_all(&last).await.expect("the broker reads");
        newest.subscribe("t").await;
    });
}

/// Each of them keeps a byte. They came first, and their end would make no room.
#[test]
fn who_keeps_next_to_nothing_is_not_sent_away_instead_of_those_who_keep_much() {
    with_little_room(async |world| {
        let mut small = Vec::new();
        for number in 0..20 {
            let mut client = world.connect(&format!("small{number}"), 1_000).await;
            client.stream.write_all(b"\x30").await.expect("the broker reads");
            small.push(client);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let (first, _) = halves();
        let mut large = beginners(&world, 20, &first).await;
        for mut client in small {
            client.stream.write_all(b"\x04\x00\x01t\x00").await.expect("the broker reads");
            client.subscribe("t").await;
        }
        let told = timeout(Duration::from_secs(9), large[0].recv()).await.expect("it is told");
        assert!(matches!(told, Some(Packet::Disconnect(_))), "{told:?}");
    });
}

/// A SUBSCRIBE so large is taken in very many parts.
#[test]
fn large_packets_that_the_machine_has_not_taken_yet_have_a_bound() {
    let mut config = Config { effort_max: 1, ..Config::default() };
    config.limits.packet_bytes = 100_000;
    config.limits.total_bytes = 1_000_000;
    with_plugins(&config, Plugins::default(), async |world| {
        let filter = |_| SubscriptionRequest {
            filter: Ok(Filter::new(text("filter")).expect("a filter")),
            options: SubscriptionOptions::default(),
        };
        let packet = Packet::Subscribe(Box::new(Subscribe {
            id: PacketId::FIRST,
            subscription_id: None,
            user_properties: Vec::new(),
            requests: (0..10_000).map(filter).collect(),
        }));
        let mut clients = Vec::new();
        for number in 0..10 {
            clients.push(world.connect(&format!("c{number}"), 200_000).await);
        }
        for client in &mut clients {
            client.send(&packet).await;
        }
        let (mut served, mut sent_away) = (0, 0);
        for mut client in clients {
            match client.recv().await {
                Some(Packet::SubAck(answers)) if answers.reasons.len() == 10_000 => served += 1,
                Some(Packet::Disconnect(said)) => {
                    assert_eq!(said.reason, Reason::QuotaExceeded);
                    sent_away += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(served >= 4 && sent_away >= 1, "{served} served, {sent_away} sent away");
        world.connect("later", 1_000).await.subscribe("t").await;
    });
}

#[test]
fn what_is_never_finished_is_forgotten_with_its_connection() {
    with_little_room(async |world| {
        let (first, last) = halves();
        for _ in 0..40 {
            drop(beginners(&world, 1, &first).await);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut client = world.connect("last", 100_000).await;
        client.stream.write_all(&first).await.expect("the broker reads");
        tokio::time::sleep(Duration::from_millis(1)).await;
        client.stream.write_all(&last).await.expect("the broker reads");
        client.subscribe("t").await;
    });
}

/// Nobody has let them in yet, and a web server takes its time to say who may come: what they have
/// said, and go on to say, has a bound too.
#[test]
fn clients_that_are_judged_keep_no_more_together_than_others() {
    let mut settings = HttpSettings::new("there", 80);
    settings.timeout = 9;
    let authentication = vec![Authentication::Http(settings)];
    let mut config =
        Config { authentication, admission: Admission::unlimited(), ..Config::default() };
    config.limits.packet_bytes = LARGE as u32;
    config.limits.total_bytes = 100_000;
    with_plugins(&config, Plugins::default(), async |world| {
        let mut clients = Vec::new();
        for number in 0..12 {
            let mut connect = connect(&format!("c{number}"));
            connect.username = Some(text("ann"));
            // It is large itself, or what is behind it is.
            let large = vec![b'x'; LARGE / 2];
            let (password, behind) = match number % 2 {
                0 => (large, Vec::new()),
                _ => (vec![b'x'], large),
            };
            connect.password = Some(Bytes::from(password));
            let mut client = world.open(100_000);
            client.send(&Packet::Connect(Box::new(connect))).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            client.stream.write_all(&behind).await.expect("the broker reads");
            tokio::time::sleep(Duration::from_millis(1)).await;
            clients.push(client);
        }
        let newest = clients.pop().expect("there are twelve");
        let told = timeout(Duration::from_secs(5), clients[0].recv()).await;
        assert!(told.expect("the first one is sent away").is_none(), "it is no client yet");
        for client in [&mut clients[10], &mut { newest }] {
            let told = timeout(Duration::from_secs(1), client.recv()).await;
            assert!(told.is_err(), "there is room for the last ones, and not {told:?}");
        }
    });
}
