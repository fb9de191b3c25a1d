//! What a client can use up: time, memory, descriptors, places.
//!
//! Row numbers are those of the project's list of known vulnerabilities.

use std::time::Duration;

use super::VIA;
use crate::kit::{PATIENCE, Peer, Site, now};
use crate::process::{Process, wait_until};
use crate::raw::{self, BOTH, Connect, data, packet, publish_as};

const QUOTA_EXCEEDED: u8 = 0x97;
const SERVER_UNAVAILABLE: u8 = 0x88;
const UNSPECIFIED: u8 = 0x80;
const KEEP_ALIVE_TIMEOUT: u8 = 0x8D;
const MEBIBYTE: usize = 1 << 20;

/// Sends one byte after the other, a tenth of a second apart, until the broker closes. How
/// long that took.
fn dribble(peer: &mut Peer, bytes: impl Iterator<Item = u8>) -> Duration {
    let start = now();
    for byte in bytes {
        peer.send(&[byte]);
        if peer.read(Duration::from_millis(100)) == Some(false) {
            return start.elapsed();
        }
        assert!(start.elapsed() < PATIENCE, "the broker listens for ever");
    }
    peer.expect_closed();
    start.elapsed()
}

/// Row 20: SlowITe, SlowTT.
#[test]
fn a_connection_that_says_nothing_is_closed_in_time() {
    let site = Site::with_limits(VIA, |limits| limits.connect_timeout = 1_000);
    let start = now();
    let mut silent = site.open(4);
    let mut half = site.open(5);
    half.send(&Connect::new(5, "half").bytes()[..9]);
    silent.expect_closed();
    half.expect_closed();
    let took = start.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
    site.check();
}

/// Row 20: progress does not move the deadline.
#[test]
fn a_connect_that_dribbles_is_closed_in_time() {
    let site = Site::with_limits(VIA, |limits| limits.connect_timeout = 1_000);
    for level in BOTH {
        let connect = Connect::new(level, &"x".repeat(1_000)).bytes();
        let took = dribble(&mut site.open(level), connect.into_iter());
        assert!(took > Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
    }
    site.check();
}

/// Row 21: only whole packets keep a connection alive.
#[test]
fn a_client_that_dribbles_is_silent_for_its_keep_alive() {
    let site = Site::start(VIA);
    for level in BOTH {
        let connect = Connect { keep_alive: 1, ..Connect::new(level, "slow") };
        let mut client = site.client_by(&connect);
        let publish = raw::publish(level, "t", 0, &[b'x'; 1_000]);
        let took = dribble(&mut client, publish.into_iter());
        assert!(took > Duration::from_millis(1_400) && took < Duration::from_secs(5), "{took:?}");
        if level == 5 {
            client.expect_refused(KEEP_ALIVE_TIMEOUT);
        }
    }
    site.check();
}

/// Row 21: CVE-2020-13849. The broker has the last word on the keep alive.
#[test]
fn a_keep_alive_above_the_limit_is_lowered_or_refused() {
    let site = Site::with_limits(VIA, |limits| limits.keep_alive_max = 1);
    for keep_alive in [0, 2, u16::MAX] {
        let mut old = site.open(4);
        old.send(&Connect { keep_alive, ..Connect::new(4, "idle") }.bytes());
        assert_eq!(old.connack(), 0x85);
        old.expect_closed();
        let mut new = site.client_by(&Connect { keep_alive, ..Connect::new(5, "idle") });
        new.expect_refused(KEEP_ALIVE_TIMEOUT);
    }
    let mut old = site.client_by(&Connect { keep_alive: 1, ..Connect::new(4, "idle") });
    old.expect_closed();
}

/// Row 19: who announces much and sends little costs little.
#[test]
fn announced_lengths_cost_no_memory() {
    let broker = Process::start(VIA, "announced", "", &[]);
    let before = broker.memory();
    let mut peers: Vec<Peer> = Vec::new();
    for number in 0..400 {
        let level = BOTH[number % 2];
        let mut peer = broker.site.client(level, &format!("announcer-{number}"));
        // 1,999,000 bytes, of which three come.
        peer.send(&[&[0x30][..], &raw::varint(1_999_000), &[0, 1, b'a']].concat());
        peers.push(peer);
        let mut stranger = broker.site.open(level);
        stranger.send(&[0x10, 0xFF, 0xFF, 0x03, 0]);
        peers.push(stranger);
    }
    broker.site.check();
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 32 * MEBIBYTE, "{grown} bytes more for 800 announcements");
}

/// Row 11: refused clients leave neither memory nor descriptors behind.
#[test]
fn refused_connects_leak_nothing() {
    let broker = Process::start(VIA, "refused", "", &[]);
    let will = [data("id"), vec![3, 0x23, 0, 1], data("t"), data([b'x'; 4_096])].concat();
    let misplaced = Connect { flags: 0x06, payload: will, ..Connect::new(5, "") }.bytes();
    let cut = [data("id"), data("t"), vec![0xFF, 0xFF, 0]].concat();
    let cut = Connect { flags: 0x06, payload: cut, ..Connect::new(4, "") }.bytes();
    let refuse = |count: usize| {
        for number in 0..count {
            let mut peer = broker.site.open(if number % 2 == 0 { 5 } else { 4 });
            peer.send(if number % 2 == 0 { &misplaced } else { &cut });
            while peer.next().is_some() {}
        }
    };
    broker.site.check();
    let descriptors = broker.descriptors();
    refuse(1_000);
    let plateau = broker.memory();
    refuse(3_000);
    let grown = broker.memory().saturating_sub(plateau);
    assert!(grown < 4 * MEBIBYTE, "{grown} bytes more after 3,000 refusals");
    wait_until("descriptors come back", || broker.descriptors() <= descriptors);
    broker.site.check();
}

/// Row 22: CVE-2021-41039.
#[test]
fn very_many_user_properties_take_little_time() {
    let site = Site::start(VIA);
    let mut client = site.client(5, "properties");
    client.subscribe("many");
    let list = [0x26, 0, 1, b'a', 0, 1, b'b'].repeat(200_000);
    let start = now();
    client.send(&publish_as(0x30, 5, b"many", 0, &list, b"x"));
    // Served or refused: soon.
    client.next();
    let connect = Connect { properties: [0x26, 0, 0, 0, 0].repeat(13_000), ..Connect::new(5, "m") };
    let mut stranger = site.open(5);
    stranger.send(&connect.bytes());
    stranger.next();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    site.check();
}

/// Row 24: subscriptions are bounded for each client, and matching them is quick.
#[test]
fn subscriptions_above_the_limit_are_refused() {
    let site = Site::with_limits(VIA, |limits| limits.subscriptions = 100);
    for level in BOTH {
        let code = if level == 5 { QUOTA_EXCEEDED } else { UNSPECIFIED };
        let mut client = site.client(level, "collector");
        for number in 0..100 {
            assert!(client.subscribe(&format!("f/{number}")) < 0x80);
        }
        assert_eq!(client.subscribe("one/more"), code);
        assert!(client.subscribe("f/7") < 0x80, "it has that one");
        client.send(&raw::unsubscribe(level, "f/8"));
        client.next();
        assert!(client.subscribe("one/more") < 0x80, "a place is free again");
    }
    site.check();
}

/// Row 24: every way of wildcards through twelve levels.
#[test]
fn filters_with_wildcards_everywhere_are_matched_soon() {
    let site = Site::start(VIA);
    let mut client = site.client(4, "bomber");
    for pattern in 0..4_096_u32 {
        let level = |bit: u32| if pattern >> bit & 1 == 1 { "+" } else { "a" };
        let filter: Vec<&str> = (0..12).map(level).collect();
        assert!(client.subscribe(&filter.join("/")) < 0x80);
    }
    let start = now();
    let topic = ["a"; 12].join("/");
    for _ in 0..20 {
        client.send(&raw::publish(4, &topic, 0, b"x"));
        client.message();
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    site.check();
}

/// Row 28: retained messages are bounded, and an empty one makes room.
#[test]
fn retained_messages_above_the_limit_are_refused() {
    let site = Site::with_limits(VIA, |limits| limits.retained_messages = 101); // one is $SYS
    let keep = |level, topic: &str, payload: &[u8]| {
        publish_as(0x33, level, topic.as_bytes(), 1, &[], payload)
    };
    let mut client = site.client(5, "keeper");
    for number in 0..100 {
        client.send(&keep(5, &format!("keep/{number}"), b"x"));
        assert!(client.puback() < 0x80);
    }
    client.send(&keep(5, "keep/more", b"x"));
    assert_eq!(client.puback(), QUOTA_EXCEEDED);
    client.send(&keep(5, "keep/7", b"replaced"));
    assert!(client.puback() < 0x80);
    let mut old = site.client(4, "old-keeper");
    old.send(&keep(4, "keep/more", b"x"));
    old.expect_closed(); // 3.1.1 has no other way to say no
    client.send(&keep(5, "keep/8", b""));
    client.puback();
    client.send(&keep(5, "keep/more", b"x"));
    assert!(client.puback() < 0x80);
    site.check();
}

/// Row 27: EMQX #860, moquette #141, rumqttd #599, aedes #51, Mosquitto #2455.
#[test]
fn a_subscriber_that_never_reads_costs_its_queue_and_no_more() {
    let limits = ["queue-messages: 1000", "queue-bytes: 4mb"];
    let broker = Process::start(VIA, "deaf", "", &limits);
    let mut deaf: Vec<Peer> = Vec::new();
    for level in BOTH {
        let mut peer = broker.site.client(level, &format!("deaf-{level}"));
        peer.subscribe("flood");
        deaf.push(peer);
    }
    let mut reader = broker.site.client(4, "reader");
    reader.subscribe("other");
    let before = broker.memory();
    let mut publisher = broker.site.client(5, "publisher");
    let payload = vec![b'x'; 16 * 1024];
    for round in 0..50_u8 {
        for number in 0..100 {
            // Half of it at QoS 1.
            publisher.send(&raw::publish(5, "flood", number % 2, &payload));
        }
        for _ in 0..50 {
            publisher.puback();
        }
        publisher.send(&raw::publish(5, "other", 0, &[round]));
        assert_eq!(reader.message().payload, [round][..]);
    }
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 48 * MEBIBYTE, "{grown} bytes more for two queues of 4 MB");
    broker.site.check();
}

/// A publisher that never reads its acknowledgements is not read for ever.
#[test]
fn a_publisher_that_never_reads_costs_little() {
    let broker = Process::start(VIA, "mute", "", &[]);
    let before = broker.memory();
    for level in BOTH {
        let mut client = broker.site.client(level, "greedy");
        let batch = [0xC0, 0].repeat(32 * 1024);
        let is_taken = |client: &mut Peer| client.send_for(&batch, Duration::from_millis(500));
        let taken = (0..2_000).take_while(|_| is_taken(&mut client)).count();
        assert!(taken < 2_000, "{taken} batches of pings taken without an answer read");
        broker.site.check();
    }
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 32 * MEBIBYTE, "{grown} bytes more");
}

/// Row 34: the connections above the limit are told so, and places come back.
#[test]
fn connections_above_the_limit_are_refused_and_places_come_back() {
    let site = Site::with_limits(VIA, |limits| limits.connections = 20);
    let mut inside: Vec<Peer> =
        (0..20).map(|number| site.client(4, &format!("inside-{number}"))).collect();
    for _ in 0..3 {
        for number in 0..50 {
            let level = BOTH[number % 2];
            let mut late = site.open(level);
            late.send(&Connect::new(level, "late").bytes());
            assert_eq!(late.connack(), [SERVER_UNAVAILABLE, QUOTA_EXCEEDED][number % 2]);
            late.expect_closed();
        }
        inside.iter_mut().for_each(Peer::expect_served);
        inside.clear();
        wait_until("a place is free", || {
            let mut next = site.open(5);
            next.send(&Connect::new(5, "next").bytes());
            next.connack() == 0
        });
        // Those are in, then: their places would only be free again when the broker has seen it.
        wait_until("all places are free", || {
            inside.clear();
            inside = let_in(&site, 20);
            inside.len() == 20
        });
    }
    drop(inside);
    wait_until("all places are free", || all_connect(&site, 2));
    site.check();
}

fn all_connect(site: &Site, count: usize) -> bool {
    let_in(site, count).len() == count
}

/// So many clients connect at once: those of them that are let in.
fn let_in(site: &Site, count: usize) -> Vec<Peer> {
    let mut peers: Vec<Peer> = (0..count).map(|_| site.open(5)).collect();
    peers.iter_mut().enumerate().for_each(|(number, peer)| {
        peer.send(&Connect::new(5, &format!("all-{number}")).bytes());
    });
    peers.retain_mut(|peer| peer.connack() == 0);
    peers
}

/// Row 34: connections that say nothing hold their places only until the deadline.
#[test]
fn silent_connections_give_their_places_back() {
    let site = Site::with_limits(VIA, |limits| {
        limits.connections = 20;
        limits.connect_timeout = 1_000;
    });
    let silent: Vec<Peer> = (0..200).map(|_| site.open(4)).collect();
    wait_until("all places are free", || all_connect(&site, 20));
    drop(silent);
    wait_until("all places are free", || all_connect(&site, 20));
    wait_until("the broker serves", || all_connect(&site, 2));
}

/// Row 29: Mosquitto #948, nanomsg #152, EMQX #222.
#[test]
fn a_lack_of_descriptors_neither_spins_nor_ends_the_service() {
    let broker = Process::start(VIA, "descriptors", "ulimit -Sn 64; ulimit -Hn 64", &[]);
    let mut inside = broker.site.client(4, "inside");
    inside.subscribe("inside");
    let mut flood: Vec<Peer> = (0..150).map(|_| broker.site.open(4)).collect();
    wait_until("connections have what they may", || broker.descriptors() >= 40);
    // The newest are closed at once, so that descriptors are left for files.
    flood[50..].iter_mut().for_each(Peer::expect_closed);
    assert!(broker.descriptors() < 60, "some are left");

    // Who is in is served.
    let (start, used) = (now(), broker.processor_time());
    let mut rounds = 0;
    while start.elapsed() < Duration::from_secs(2) {
        inside.send(&raw::publish(4, "inside", 0, b"x"));
        inside.message();
        rounds += 1;
        inside.read(Duration::from_millis(50));
    }
    let used = broker.processor_time() - used;
    assert!(rounds > 10, "{rounds}");
    assert!(used < Duration::from_millis(700), "{used:?} of processor time in two seconds");

    drop(flood);
    wait_until("descriptors come back", || broker.descriptors() < 30);
    broker.site.check();
}

/// Row 34: clients that come and go quickly leave nothing behind.
#[test]
fn a_storm_of_connections_leaves_nothing() {
    let broker = Process::start(VIA, "storm", "", &[]);
    broker.site.check();
    let descriptors = broker.descriptors();
    let storm = |count: usize| {
        for number in 0..count {
            let level = BOTH[number % 2];
            let mut peer = broker.site.open(level);
            peer.send(&Connect::new(level, &format!("guest-{number}")).bytes());
            peer.send(&raw::subscribe(level, "storm"));
            if number % 3 == 0 {
                peer.send(&packet(0xE0, &[]));
                while peer.next().is_some() {}
            }
        }
        wait_until("descriptors come back", || broker.descriptors() <= descriptors);
    };
    storm(1_000);
    let plateau = broker.memory();
    storm(2_000);
    let grown = broker.memory().saturating_sub(plateau);
    assert!(grown < 8 * MEBIBYTE, "{grown} bytes more after 2,000 clients");
    broker.site.check();
}
