//! Strangers at the door: many, silent ones, and those who guess passwords. What is slow inside
//! TLS and WebSocket is in `wrapped.rs`.
//!
//! Row numbers are those of the project's list of known vulnerabilities. Clients connect from
//! several of this machine's addresses, 127.0.0.1 and up, none of which is exempt here.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use stormpetrel::config::{Admission, Authentication, Config};

use crate::kit::{Peer, Site, now};
use crate::process::wait_until;
use crate::raw::{BOTH, Connect, Level, data};
use crate::transport::Transport;

const SUCCESS: u8 = 0;
const BAD_PASSWORD: u8 = 0x86;
const NOT_AUTHORIZED: u8 = 0x87;
const SERVER_UNAVAILABLE: u8 = 0x88;
const QUOTA_EXCEEDED: u8 = 0x97;
const TOO_FAST: u8 = 0x9F;

const HALF_INTRODUCTION: &[u8] = b"PROXY TCP4 1.2.3.4";

fn address(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

/// A broker that exempts nobody, and limits nothing but what is asked for.
fn site(change: impl FnOnce(&mut Config)) -> Site {
    Site::with_config(Transport::Tcp, |config| {
        config.admission = Admission::unlimited();
        config.limits.connect_timeout = 1_000;
        change(config);
    })
}

/// A broker on which `test` has the password `test`, in a file.
fn site_with_passwords(name: &str, change: impl FnOnce(&mut Config)) -> Site {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.passwd"));
    let line = "test:$6$l4zQEHEcowc1Pnv4$HHrh8xnsZoLItQ8BmpFHM4r6q5UqK3DnXp2GaTm5zp5buQ7\
                NheY3Xt9f6godVKbEtA.hOC7IEDwnok3pbAOip.";
    std::fs::write(&path, line).unwrap();
    site(|config| {
        config.limits.connect_timeout = 10_000;
        config.authentication =
            vec![Authentication::PasswordFile { path: Some(path), is_required: true }];
        change(config);
    })
}

/// Tries to log in from there. The code of CONNACK; none if the connection is closed instead.
fn log_in(site: &Site, from: u8, level: Level, password: &str) -> Option<u8> {
    let payload = [data("guest"), data("test"), data(password)].concat();
    let mut peer = site.open_from(address(from), level);
    peer.send(&Connect { flags: 0xC2, payload, ..Connect::new(level, "") }.bytes());
    peer.connack_or_close()
}

fn assert_in_time(took: Duration) {
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
}

/// Row 20: half a header of the PROXY protocol.
#[test]
fn half_an_introduction_is_closed_in_time() {
    let site = site(|config| {
        config.listeners[0].is_proxied = true;
        config.listeners[0].trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let start = now();
    let mut peer = site.open(4);
    peer.send(HALF_INTRODUCTION);
    peer.expect_closed();
    assert_in_time(start.elapsed());
}

/// Row 20: silent connections of one address, and of a few, keep nobody else out.
#[test]
fn silent_connections_are_few_for_each_address() {
    let site = site(|config| {
        config.admission.unauthenticated_per_address = 10;
        config.admission.unauthenticated = 30;
        config.limits.connect_timeout = 10_000;
    });
    // Who is in does not count.
    let inside: Vec<Peer> = (0..20).map(|n| site.client(4, &format!("inside-{n}"))).collect();
    let mut silent: Vec<Peer> = (0..15).map(|_| site.open_from(address(1), 4)).collect();
    for shed in &mut silent[10..] {
        shed.expect_closed();
    }
    for from in 2..5 {
        silent.extend((0..15).map(|_| site.open_from(address(from), 4)));
    }
    for from in 9..14 {
        assert_eq!(connack_from(&site, from), Some(SUCCESS), "it finds a place");
    }
    assert_eq!(connack_from(&site, 1), None, "it has its share");
    drop((silent, inside));
    wait_until("places come back", || connack_from(&site, 1) == Some(SUCCESS));
    site.check();
}

/// Row 20: silent connections of very many addresses keep nobody out for longer than a moment, and
/// of the places for clients they have none.
#[test]
fn silent_connections_make_room() {
    let site = site(|config| {
        config.admission.unauthenticated = 10;
        config.listeners[0].connections_max = 3;
        config.limits.connect_timeout = 60_000;
    });
    let mut silent: Vec<Peer> = (20..30).map(|from| site.open_from(address(from), 4)).collect();
    let mut inside = Vec::new();
    wait_until("three of them make room", || {
        let mut peer = site.open_from(address(1), 5);
        peer.send(&Connect::new(5, "").bytes());
        if peer.connack_or_close() == Some(SUCCESS) {
            inside.push(peer);
        }
        inside.len() == 3
    });
    silent[0].expect_closed();
    assert_eq!(connack_from(&site, 4), Some(QUOTA_EXCEEDED));
    drop((silent, inside));
    wait_until("the broker serves", || connack_from(&site, 1) == Some(SUCCESS));
}

fn connack_from(site: &Site, from: u8) -> Option<u8> {
    let mut peer = site.open_from(address(from), 5);
    peer.send(&Connect::new(5, "").bytes());
    peer.connack_or_close()
}

/// Row 34: connections of one address, above their number and above their rate.
#[test]
fn connections_of_one_address_are_so_many_and_come_so_fast() {
    let limited = site(|config| config.admission.connections_per_address = 20);
    let inside: Vec<Peer> = (0..20).map(|n| limited.client(5, &format!("inside-{n}"))).collect();
    for _ in 0..50 {
        limited.open(4).expect_closed();
    }
    assert_eq!(connack_from(&limited, 2), Some(SUCCESS));
    drop(inside);
    wait_until("places come back", || connack_from(&limited, 1) == Some(SUCCESS));
    limited.check();

    let limited = site(|config| config.admission.connection_rate_per_address = 2);
    let start = now();
    let connected = (0..200).filter(|_| connack_from(&limited, 1).is_some()).count();
    let most = 20 + 2 * (1 + start.elapsed().as_secs() as usize);
    assert!((20..=most).contains(&connected), "{connected}");
    assert_eq!(connack_from(&limited, 2), Some(SUCCESS));
    wait_until("others may come", || connack_from(&limited, 1) == Some(SUCCESS));
}

/// Row 34: a listener's own limit. Who is above it is told so, and places come back.
#[test]
fn a_listener_has_so_many_connections() {
    let site = site(|config| config.listeners[0].connections_max = 3);
    for _ in 0..3 {
        let inside = fill(&site, 3);
        for (level, code) in [(4, SERVER_UNAVAILABLE), (5, QUOTA_EXCEEDED)] {
            let mut late = site.open(level);
            late.send(&Connect::new(level, "late").bytes());
            assert_eq!(late.connack(), code);
            late.expect_closed();
        }
        drop(inside);
    }
    wait_until("the broker serves", || connack_from(&site, 1) == Some(SUCCESS));
}

/// So many clients, as soon as there are places for them.
fn fill(site: &Site, count: usize) -> Vec<Peer> {
    let mut inside = Vec::new();
    wait_until("all places are free", || {
        let mut peer = site.open(5);
        peer.send(&Connect::new(5, "").bytes());
        if peer.connack() == SUCCESS {
            inside.push(peer);
        }
        inside.len() == count
    });
    inside
}

/// Row 34: what is turned away can be seen.
#[test]
fn what_is_turned_away_is_counted() {
    let site = site(|config| {
        config.admission.connections_per_address = 2;
        config.sys_interval = Some(1);
    });
    let mut watcher = site.client(5, "watcher");
    let _other = site.client(5, "other");
    for _ in 0..7 {
        site.open(4).expect_closed();
    }
    watcher.subscribe("$SYS/broker/clients/shed/address-connections");
    wait_until("seven are counted", || watcher.message().payload == "7");
}

/// Guesses are refused unseen while they must wait, and nobody else waits.
#[test]
fn who_guesses_passwords_must_wait_and_nobody_else() {
    for level in BOTH {
        let site = site_with_passwords(&format!("guess-{level}"), |config| {
            config.admission.failed_logins = 3;
        });
        // 3.1.1 has fewer words.
        let (bad, later) = match level {
            5 => (BAD_PASSWORD, TOO_FAST),
            _ => (NOT_AUTHORIZED, SERVER_UNAVAILABLE),
        };
        for _ in 0..3 {
            assert_eq!(log_in(&site, 1, level, "wrong"), Some(bad));
        }
        // One second is not over, unless this machine is very slow.
        let start = now();
        let codes: Vec<_> = (0..50).map(|_| log_in(&site, 1, level, "test")).collect();
        let is_quick = start.elapsed() < Duration::from_millis(500);
        assert!(!is_quick || codes.iter().all(|code| *code == Some(later)), "{codes:?}");
        assert_eq!(log_in(&site, 2, level, "test"), Some(SUCCESS), "from elsewhere");
        wait_until("the wait is over", || log_in(&site, 1, level, "test") == Some(SUCCESS));
    }
}

/// Many guess the password of one user: it is still judged from anywhere, only late.
#[test]
fn a_user_under_attack_is_let_in_from_anywhere() {
    let site = site_with_passwords("attack", |config| {
        config.admission.failed_logins = 2;
        config.admission.failed_logins_per_user = 4;
    });
    assert_eq!(log_in(&site, 1, 5, "test"), Some(SUCCESS));
    for guesser in 10..13 {
        for _ in 0..2 {
            log_in(&site, guesser, 5, "wrong");
        }
        assert_eq!(log_in(&site, guesser, 5, "test"), Some(TOO_FAST));
    }
    let start = now();
    assert_eq!(log_in(&site, 1, 5, "test"), Some(SUCCESS), "known there: at once");
    let at_once = start.elapsed();
    assert_eq!(log_in(&site, 2, 5, "test"), Some(SUCCESS), "a stranger: late");
    let late = start.elapsed() - at_once;
    // The broker counts in whole milliseconds.
    assert!(late >= Duration::from_millis(1_990) && at_once < late, "{at_once:?}, {late:?}");
}
