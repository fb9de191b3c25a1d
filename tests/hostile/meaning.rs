//! Good packets with a meaning that brokers fell over: odd topics, shares, repeated packets.

use super::VIA;
use crate::kit::Site;
use crate::raw::{self, BOTH, Connect, data, packet, publish_as};

const NOT_AUTHORIZED: u8 = 0x87;
const UNSPECIFIED: u8 = 0x80;
const TOPIC_FILTER_INVALID: u8 = 0x8F;

/// Row 9: CVE-2018-12543.
#[test]
fn a_topic_that_begins_with_a_dollar_is_an_ordinary_one() {
    let site = Site::start(VIA);
    for level in BOTH {
        let mut client = site.client(level, "dollar");
        for topic in ["$", "$/", "$weird/x", "$SYSTEM/x", "$share", "$queue/a"] {
            assert!(client.subscribe(topic) < 0x80, "{topic}");
            client.send(&raw::publish(level, topic, 0, b"x"));
            assert_eq!(client.message().topic.unwrap().as_str(), topic);
        }
    }
    site.check();
}

/// Row 9: what is the broker's own is refused; 3.1.1 has no word for it.
#[test]
fn a_client_may_not_publish_below_sys() {
    let site = Site::start(VIA);
    for topic in ["$SYS", "$SYS/", "$SYS/broker/version"] {
        let mut old = site.client(4, "forger");
        old.send(&raw::publish(4, topic, 1, b"forged"));
        old.puback();
        let mut new = site.client(5, "forger");
        new.send(&raw::publish(5, topic, 1, b"forged"));
        assert_eq!(new.puback(), NOT_AUTHORIZED);
        new.expect_served();
    }
    let mut reader = site.client(4, "reader");
    reader.subscribe("$SYS/broker/version");
    assert!(reader.message().payload.starts_with(b"Stormpetrel"));
    site.check();
}

/// Row 10: CVE-2024-42644, CVE-2024-42645, CVE-2026-42209.
#[test]
fn odd_retained_messages_are_kept_and_sent() {
    let site = Site::start(VIA);
    let longest = "x".repeat(65_535);
    let topics = ["/", "//", "/a", "a/", " ", "$", "a//b", "\u{10FFFD}", &longest];
    for level in BOTH {
        let mut client = site.client(level, "keeper");
        for topic in topics {
            for payload in [&b""[..], b"x", b""] {
                client.send(&publish_as(0x33, level, topic.as_bytes(), 1, &[], payload));
                client.puback();
            }
            client.send(&publish_as(0x31, level, topic.as_bytes(), 0, &[], b"kept"));
            client.subscribe(topic);
            let message = client.message();
            assert!(message.retain && message.payload == "kept", "{}", topic.len());
            client.send(&raw::unsubscribe(level, topic));
            client.next();
        }
    }
    // Expired as it comes.
    let mut client = site.client(5, "keeper");
    client.send(&publish_as(0x33, 5, b"now", 1, &[0x02, 0, 0, 0, 0], b"x"));
    client.puback();
    client.subscribe("now");
    client.expect_served();
    site.check();
}

/// Row 12: CVE-2019-11778. The session ends first, and takes its will with it, once.
#[test]
fn a_will_whose_delay_is_longer_than_its_session_comes_when_that_ends() {
    let site = Site::start(VIA);
    let mut watcher = site.client(5, "watcher");
    watcher.subscribe("gone");
    let delay = [0x18, 0, 0, 0xFF, 0xFF];
    let payload = [data("doomed"), raw::properties(5, &delay), data("gone"), data("now")].concat();
    let doomed = Connect { flags: 0x06, payload, ..Connect::new(5, "") };
    drop(site.client_by(&doomed));
    assert_eq!(watcher.message().payload, "now");
    watcher.expect_served();
    site.check();
}

/// Row 12: mismatched subscribe and unsubscribe of shared and ordinary filters.
#[test]
fn a_share_and_a_subscription_of_the_same_filter_are_two() {
    let site = Site::start(VIA);
    for level in BOTH {
        let mut client = site.client(level, "both");
        let publish = raw::publish(level, "t", 0, b"x");
        client.subscribe("$share/g/t");
        client.send(&raw::unsubscribe(level, "t"));
        client.next();
        client.subscribe("t");
        client.send(&raw::unsubscribe(level, "$share/g/t"));
        client.next();
        client.send(&publish);
        client.message();
        client.expect_served();
        for filter in ["t", "t", "$share/g/t", "$share/other/t"] {
            client.send(&raw::unsubscribe(level, filter));
            client.next();
        }
        client.send(&publish);
        client.expect_served();
    }
    site.check();
}

/// Row 14: hbmqtt #23.
#[test]
fn a_publish_repeated_with_dup_is_answered_each_time() {
    let site = Site::start(VIA);
    for level in BOTH {
        let mut subscriber = site.client(level, "subscriber");
        subscriber.subscribe("again");
        let mut client = site.client(level, "repeater");
        client.send(&publish_as(0x34, level, b"again", 5, &[], b"once"));
        client.next().expect("a PUBREC");
        for _ in 0..50 {
            client.send(&publish_as(0x3C, level, b"again", 5, &[], b"once"));
            client.next().expect("a PUBREC");
        }
        client.send(&[0x62, 2, 0, 5]);
        client.next().expect("a PUBCOMP");
        client.expect_served();
        assert_eq!(subscriber.message().payload, "once");
        subscriber.expect_served(); // QoS 2: not a second time
    }
    site.check();
}

/// Row 17: CVE-2025-68699. Refused where it is asked for, and never matched.
#[test]
fn a_malformed_share_is_refused_and_matches_nothing() {
    let site = Site::start(VIA);
    for level in BOTH {
        let code = if level == 5 { TOPIC_FILTER_INVALID } else { UNSPECIFIED };
        let mut client = site.client(level, "sharer");
        for filter in
            ["$share/ab", "$share/", "$share//a", "$share/a+/x", "$share/#/x", "$share/g/"]
        {
            assert_eq!(client.subscribe(filter), code, "{filter}");
            client.send(&raw::unsubscribe(level, filter));
            client.next().expect("an UNSUBACK");
        }
        for topic in ["ab", "a", "x", "$share/ab"] {
            client.send(&raw::publish(level, topic, 0, b"x"));
        }
        client.expect_served();
    }
    // No Local has no meaning for a group.
    let mut client = site.client(5, "sharer");
    let body = [&[0, 1, 0][..], &data("$share/g/t"), &[0x04]].concat();
    client.send(&packet(0x82, &body));
    client.expect_refused(0x82);
    site.check();
}

/// Row 23: CVE-2019-11779. 200 levels are served, more are refused.
#[test]
fn a_filter_or_topic_of_very_many_levels_is_refused() {
    let site = Site::start(VIA);
    for level in BOTH {
        let mut client = site.client(level, "deep");
        for levels in [201, 65_401] {
            let topic = "/".repeat(levels - 1);
            let code = if level == 5 { TOPIC_FILTER_INVALID } else { UNSPECIFIED };
            assert_eq!(client.subscribe(&topic), code);
            let publish = raw::publish(level, &topic, 1, b"x");
            if level == 5 {
                client.send(&publish);
                assert_eq!(client.puback(), 0x90);
            } else {
                let mut publisher = site.client(level, "deep-publisher");
                publisher.send(&publish);
                publisher.expect_closed();
            }
        }
        let topic = "/".repeat(199);
        assert!(client.subscribe(&topic) < 0x80);
        client.send(&raw::publish(level, &topic, 0, b"deep"));
        assert_eq!(client.message().payload, "deep");
    }
    site.check();
}
