//! Bytes that are no packets: reading past the packet, lengths that lie, packets of the wrong
//! side, text that is none.
//!
//! Row numbers are those of the project's list of known vulnerabilities.

use super::VIA;
use crate::kit::Site;
use crate::raw::{self, BOTH, Connect, Level, data, packet, publish_as, varint};

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;
const TOPIC_NAME_INVALID: u8 = 0x90;
const TOPIC_ALIAS_INVALID: u8 = 0x94;
const TOO_LARGE: u8 = 0x95;

/// After CONNECT the bytes end the connection, with this code in 5.0, while a subscriber to
/// everything notices nothing; before CONNECT they end it without a word. Nothing is waited for
/// that was announced and never comes.
fn is_refused(site: &Site, level: Level, bytes: &[u8], code: u8) {
    let mut watcher = site.client(level, "watcher");
    watcher.subscribe("#");

    let mut client = site.client(level, "hostile");
    client.send(bytes);
    client.expect_refused(code);
    watcher.expect_served();

    if bytes[0] >> 4 != 1 {
        let mut stranger = site.open(level);
        stranger.send(bytes);
        stranger.expect_closed();
    }
}

/// CONNECT is refused: by CONNACK with this code in 5.0, without a word in 3.1.1.
fn connect_is_refused(site: &Site, level: Level, bytes: &[u8], code: u8) {
    let mut client = site.open(level);
    client.send(bytes);
    if level == 5 {
        assert_eq!(client.connack(), code);
    }
    client.expect_closed();
}

/// Row 1: mochi #501, NanoMQ #2268 and #1154.
#[test]
fn a_subscribe_without_its_options_byte_is_malformed() {
    let site = Site::start(VIA);
    is_refused(&site, 4, b"\x82\x05\x00\x01\x00\x01a", MALFORMED);
    is_refused(&site, 5, b"\x82\x06\x00\x01\x00\x00\x01a", MALFORMED);
    // The second filter is cut off too.
    is_refused(&site, 4, b"\x82\x09\x00\x01\x00\x01a\x00\x00\x01b", MALFORMED);
    is_refused(&site, 4, b"\x82\x01\x00", MALFORMED);
    is_refused(&site, 5, b"\x82\x00", MALFORMED);
    site.check();
}

/// Row 2: NanoMQ #2270, aedes #612.
#[test]
fn a_publish_without_its_packet_id_is_malformed() {
    let site = Site::start(VIA);
    for level in BOTH {
        for first in [0x32, 0x34] {
            is_refused(&site, level, &[first, 3, 0, 1, b'a'], MALFORMED);
            is_refused(&site, level, &[first, 4, 0, 1, b'a', 0], MALFORMED);
        }
        is_refused(&site, level, &[0x30, 0], MALFORMED);
        is_refused(&site, level, &[0x30, 3, 0xFF, 0xFF, b'a'], MALFORMED);
        is_refused(&site, level, &[0x62, 1, 0], MALFORMED);
    }
    site.check();
}

/// Row 3: NanoMQ #1169, #1181, #1155.
#[test]
fn properties_that_go_beyond_the_packet_are_malformed() {
    let site = Site::start(VIA);
    is_refused(&site, 5, b"\x30\x05\x00\x01a\x7F\x01", MALFORMED);
    is_refused(&site, 5, b"\x82\x04\x00\x01\xFF\x7F", MALFORMED);
    is_refused(&site, 5, b"\x30\x06\x00\x01a\x02\x7F\x01", MALFORMED); // there is no property 0x7F
    // The list is long enough, what is in it is not.
    is_refused(&site, 5, b"\x30\x07\x00\x01a\x03\x02\x00\x00", MALFORMED);
    is_refused(&site, 5, b"\xE0\x03\x00\x05\x11", MALFORMED);
    site.check();
}

/// Row 3: the same before anybody is known.
#[test]
fn a_connect_whose_properties_go_beyond_it_is_malformed() {
    let site = Site::start(VIA);
    let good = Connect::new(5, "id").bytes();
    for length in [0x7F, 0x03] {
        let mut bad = good.clone();
        bad[12] = length; // of the properties
        connect_is_refused(&site, 5, &bad, MALFORMED);
    }
    for list in [&[0x7F, 0][..], &[0x21, 0], &[0x26, 0, 9, b'a'], &[0x11, 0, 0]] {
        let connect = Connect { properties: list.to_vec(), ..Connect::new(5, "id") };
        connect_is_refused(&site, 5, &connect.bytes(), MALFORMED);
    }
    let zero = Connect { properties: vec![0x21, 0, 0], ..Connect::new(5, "id") };
    connect_is_refused(&site, 5, &zero.bytes(), PROTOCOL_ERROR);
    site.check();
}

/// Row 4: CVE-2026-21888, CVE-2025-66168, CVE-2026-40046. Decided at the fourth byte, without
/// waiting for more.
#[test]
fn a_length_that_goes_on_after_four_bytes_is_malformed() {
    let site = Site::start(VIA);
    for level in BOTH {
        is_refused(&site, level, &[0x30, 0xFF, 0xFF, 0xFF, 0xFF], MALFORMED);
        is_refused(&site, level, &[0x30, 0x80, 0x80, 0x80, 0x80, 0x01], MALFORMED);
        let mut stranger = site.open(level);
        stranger.send(&[0x10, 0xFF, 0xFF, 0xFF, 0xFF]);
        stranger.expect_closed();
    }
    let list = [0x80, 0x80, 0x80, 0x80, 0x00];
    is_refused(&site, 5, &packet(0x30, &[&data("a")[..], &list].concat()), MALFORMED);
    site.check();
}

/// Row 4: a length that is not the shortest hides what a filter before the broker looks for.
#[test]
fn a_length_with_more_bytes_than_it_needs_is_malformed() {
    let site = Site::start(VIA);
    is_refused(&site, 5, &[0xC0, 0x80, 0x00], MALFORMED);
    site.check();
}

/// Row 6: OASIS MQTT-275. Lengths above 2,097,151 have four bytes.
#[test]
fn a_message_above_two_mebibytes_arrives_whole() {
    let site = Site::with_limits(VIA, |limits| limits.packet_bytes = 4_000_000);
    let payload: Vec<u8> = (0..2_200_000_u32).map(|n| n as u8).collect();
    for level in BOTH {
        let mut client = site.client(level, "large");
        client.subscribe("large");
        client.send(&raw::publish(level, "large", 0, &payload));
        assert!(client.message().payload == payload, "the payload changed");
    }
    site.check();
}

/// Row 7: CVE-2021-34432.
#[test]
fn an_empty_topic_is_refused() {
    let site = Site::start(VIA);
    is_refused(&site, 4, &raw::publish(4, "", 0, b"x"), TOPIC_NAME_INVALID);
    is_refused(&site, 4, &raw::publish(4, "", 1, b"x"), TOPIC_NAME_INVALID);
    is_refused(&site, 5, &raw::publish(5, "", 0, b"x"), PROTOCOL_ERROR);
    is_refused(&site, 5, &publish_as(0x30, 5, b"", 0, &[0x23, 0, 1], b"x"), PROTOCOL_ERROR);
    for alias in [[0x23, 0, 0], [0x23, 0xFF, 0xFF]] {
        is_refused(&site, 5, &publish_as(0x30, 5, b"a", 0, &alias, b"x"), TOPIC_ALIAS_INVALID);
    }
    for topic in ["a/#", "+", "#", "a/+/b"] {
        for level in BOTH {
            is_refused(&site, level, &raw::publish(level, topic, 0, b"x"), TOPIC_NAME_INVALID);
        }
    }
    site.check();
}

/// Row 8: CVE-2021-28166, rumqttd #812.
#[test]
fn packets_that_only_a_broker_sends_are_refused() {
    let site = Site::start(VIA);
    for level in BOTH {
        let answers = properties(level);
        is_refused(&site, level, &packet(0x20, &[&[0, 0], &answers[..]].concat()), PROTOCOL_ERROR);
        let body = [&[0, 1], &answers[..], &[0]].concat();
        is_refused(&site, level, &packet(0x90, &body), PROTOCOL_ERROR);
        is_refused(&site, level, &packet(0xB0, &body), PROTOCOL_ERROR);
        is_refused(&site, level, &[0xD0, 0], PROTOCOL_ERROR);
        is_refused(&site, level, &Connect::new(level, "again").bytes(), PROTOCOL_ERROR);
        is_refused(&site, level, &[0x00, 0], MALFORMED); // type 0 is nobody's
        is_refused(&site, level, &[0x8F, 0], MALFORMED); // SUBSCRIBE's flags are wrong
    }
    is_refused(&site, 4, &[0xF0, 0], MALFORMED);
    is_refused(&site, 5, &[0xF0, 0], PROTOCOL_ERROR); // AUTH without a method
    site.check();
}

fn properties(level: Level) -> Vec<u8> {
    raw::properties(level, &[])
}

/// Row 11, the answers: CVE-2017-7654, CVE-2021-34431, CVE-2023-3592.
#[test]
fn a_connect_with_a_bad_will_is_refused() {
    let site = Site::start(VIA);
    let will = |level: Level, flags: u8, list: &[u8], topic: &[u8]| {
        let will = [data("id"), raw::properties(level, list), data(topic), data("gone")].concat();
        Connect { flags, payload: will, ..Connect::new(level, "") }.bytes()
    };
    // Will QoS 3; will QoS without a will; the reserved flag.
    for level in BOTH {
        for flags in [0x1E, 0x0A, 0x22, 0x03] {
            connect_is_refused(&site, level, &will(level, flags, &[], b"t"), MALFORMED);
        }
        connect_is_refused(&site, level, &will(level, 0x06, &[], b"a/#"), TOPIC_NAME_INVALID);
        connect_is_refused(&site, level, &will(level, 0x06, &[], b"\xFF"), MALFORMED);
    }
    let (topic_alias, unknown) = (&[0x23, 0, 1][..], &[0x7E, 0][..]);
    connect_is_refused(&site, 5, &will(5, 0x06, topic_alias, b"t"), MALFORMED);
    connect_is_refused(&site, 5, &will(5, 0x06, unknown, b"t"), MALFORMED);
    let twice = [0x18, 0, 0, 0, 1, 0x18, 0, 0, 0, 1];
    connect_is_refused(&site, 5, &will(5, 0x06, &twice, b"t"), PROTOCOL_ERROR);
    let bad_text = [0x01, 1];
    let payload = [data("id"), raw::properties(5, &bad_text), data("t"), data([0xFF])].concat();
    let connect = Connect { flags: 0x06, payload, ..Connect::new(5, "") };
    connect_is_refused(&site, 5, &connect.bytes(), 0x99);
    site.check();
}

/// Row 11: every cut of a good CONNECT, closed by the client.
#[test]
fn a_connect_that_breaks_off_anywhere_leaves_nothing() {
    let site = Site::start(VIA);
    for level in BOTH {
        let connect = Connect::new(level, "cut").bytes();
        for length in 0..connect.len() {
            site.open(level).send(&connect[..length]);
        }
    }
    site.check();
}

/// Row 15: CVE-2017-7653. The sender is closed; nobody is sent the text.
#[test]
fn text_that_is_not_utf_8_ends_its_senders_connection() {
    let site = Site::start(VIA);
    for level in BOTH {
        // Overlong, a surrogate, beyond the last character, cut off, NUL.
        for text in [&b"\xC0\xAF"[..], b"\xED\xA0\x80", b"\xF4\x90\x80\x80", b"\xE2\x82", b"a\0"] {
            let publish = publish_as(0x30, level, text, 0, &[], b"x");
            is_refused(&site, level, &publish, MALFORMED);
            is_refused(&site, level, &raw::subscribe(level, text), MALFORMED);
            is_refused(&site, level, &raw::unsubscribe(level, text), MALFORMED);
            let connect = Connect { payload: data(text), ..Connect::new(level, "") };
            connect_is_refused(&site, level, &connect.bytes(), MALFORMED);
        }
    }
    site.check();
}

/// Row 16: CVE-2026-67418. What does not belong in a PUBLISH never gets to its subscribers.
#[test]
fn a_property_that_does_not_belong_disturbs_no_subscriber() {
    let site = Site::start(VIA);
    let misplaced: [&[u8]; 5] = [
        &[0x11, 0, 0, 0, 1],    // Session Expiry Interval
        &[0x21, 0, 1],          // Receive Maximum
        &[0x1F, 0, 1, b'a'],    // Reason String
        &[0x24, 1],             // Maximum QoS
        &[0x18, 0, 0, 0, 0x01], // Will Delay Interval
    ];
    for list in misplaced {
        is_refused(&site, 5, &publish_as(0x30, 5, b"a", 0, list, b"x"), MALFORMED);
    }
    let wrong: [&[u8]; 4] = [
        &[0x0B, 1],          // Subscription Identifier, which only the broker sends
        &[0x01, 2],          // Payload Format Indicator
        &[0x01, 0, 0x01, 0], // twice
        &[0x08, 0, 1, b'#'], // Response Topic with a wildcard
    ];
    for list in wrong {
        is_refused(&site, 5, &publish_as(0x30, 5, b"a", 0, list, b"x"), PROTOCOL_ERROR);
    }
    site.check();
}

/// Row 19: CVE-2017-7651, CVE-2023-0809, CVE-2021-33175, CVE-2021-33176. Decided on the fixed
/// header alone: the rest never comes.
#[test]
fn a_huge_length_is_refused_by_the_fixed_header() {
    let site = Site::start(VIA);
    for level in BOTH {
        is_refused(&site, level, &[0x30, 0xFF, 0xFF, 0xFF, 0x7F], TOO_LARGE);
        is_refused(&site, level, &[0x82, 0xFF, 0xFF, 0xFF, 0x7F], TOO_LARGE);
        let above = [&[0x30][..], &varint(2_000_000)].concat();
        is_refused(&site, level, &above, TOO_LARGE);
        // Before CONNECT, the limit is 64 KiB, and for any other packet there is none at all.
        for first in [&[0x10, 0xFF, 0xFF, 0xFF, 0x7F][..], &[0x10, 0x80, 0x80, 0x04], &[0x30]] {
            let mut stranger = site.open(level);
            stranger.send(first);
            stranger.expect_closed();
        }
    }
    site.check();
}

/// Row 20: whoever speaks another protocol is not waited for.
#[test]
fn other_protocols_are_closed_at_once() {
    let site = Site::start(VIA);
    for greeting in [
        &b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03", // TLS
        b"\0\0\0\0",
        b"\r\n\r\n",
    ] {
        let mut stranger = site.open(4);
        stranger.send(greeting);
        stranger.expect_closed();
    }
    let mut stranger = site.open(4);
    stranger.send(&packet(0x10, &[&data("HTTP")[..], &[4, 2, 0, 60, 0, 0]].concat()));
    stranger.expect_closed();
    site.check();
}

/// Levels that are not served are told so in an answer they understand.
#[test]
fn an_unknown_protocol_level_is_refused_with_a_connack() {
    let site = Site::start(VIA);
    for (level, code) in [(0, 0x84), (2, 0x84), (3, 0x84), (6, 0x84), (0x7F, 0x84)] {
        let mut client = site.open(if level > 5 { 5 } else { 4 });
        client.send(&Connect { level, ..Connect::new(4, "id") }.bytes());
        assert_eq!(client.connack(), code, "level {level}");
        client.expect_closed();
    }
    site.check();
}

/// Row 18: FUME, MBFuzzer, MQueez. Good packets with a few bytes changed, while a publisher and
/// a subscriber are connected who must not notice.
#[test]
fn packets_with_bytes_changed_disturb_nobody_else() {
    let site = Site::start(VIA);
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    for level in BOTH {
        let mut subscriber = site.client(level, "subscriber");
        subscriber.subscribe("steady");
        let mut publisher = site.client(level, "publisher");
        for round in 0..400_u32 {
            let mut bytes = Connect::new(level, "mutant").bytes();
            let keep = if draw(4) == 0 { 0 } else { bytes.len() };
            bytes.extend(raw::subscribe(level, "fuzz/+"));
            bytes.extend(raw::publish(level, "fuzz/a", 1, b"x"));
            bytes.extend(publish_as(0x35, level, b"fuzz/b", 2, &[], b"y"));
            bytes.extend([0x62, 2, 0, 2]);
            bytes.extend(raw::unsubscribe(level, "fuzz/+"));
            for _ in 0..=draw(3) {
                let at = keep.min(bytes.len() - 1) + draw(bytes.len() - keep);
                bytes[at] = draw(256) as u8;
            }
            let mut mutant = site.open(level);
            mutant.send(&bytes);

            let payload = round.to_be_bytes();
            publisher.send(&raw::publish(level, "steady", 1, &payload));
            publisher.puback();
            let message = subscriber.message();
            assert_eq!(message.payload, payload[..], "round {round}");
            if let Some(id) = message.delivery.id() {
                subscriber.send(&[&[0x40, 2][..], &id.get().to_be_bytes()].concat());
            }
        }
    }
    site.check();
}
