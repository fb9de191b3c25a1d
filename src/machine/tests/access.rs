//! Who is let in: what a refused client is told, and that it changes nothing
//! (MQTT 5.0, section 3.1.4).

use std::sync::Arc;

use super::super::*;
use super::harness::{Broker, settings};
use super::packets::*;
use crate::access::{Judgement, Refusal};

fn guarded() -> Broker {
    Broker::new(Settings { access: Access { is_judged: true, ..Access::default() }, ..settings() })
}

fn user(name: &str, is_proven: bool) -> Judgement {
    Judgement::Accepted(Identity { user: Some(Arc::from(name)), is_proven, ..Identity::default() })
}

/// A client that connects and was judged so.
fn connect(broker: &mut Broker, joining: Joining, judgement: Judgement) -> ConnectionId {
    let connection = broker.open();
    let Packet::Connect(connect) = joining.packet() else { panic!("a client that connects") };
    broker.knows(connection, connect.version);
    broker.handle(Input::Connecting { connection, connect, judgement });
    connection
}

#[test]
fn a_refused_client_is_told_why_in_the_words_of_its_version() {
    use Refusal::{BadCredentials, Busy, NotAuthorized, Unavailable};
    let cases = [
        (BadCredentials, v5("c"), Reason::BadUserNameOrPassword),
        (NotAuthorized, v5("c"), Reason::NotAuthorized),
        (Busy, v5("c"), Reason::ServerBusy),
        (Unavailable, v5("c"), Reason::ServerUnavailable),
        (BadCredentials, v311("c"), Reason::NotAuthorized), // return code 5, as from amqtt
        (NotAuthorized, v311("c"), Reason::NotAuthorized),
        (Busy, v311("c"), Reason::ServerUnavailable), // return code 3
    ];
    for (refusal, joining, want) in cases {
        let mut broker = guarded();
        let connection = connect(&mut broker, joining.clone(), Judgement::Refused(refusal));
        let seen = broker.see(connection);
        assert!(seen.starts_with(&format!("CONNACK {want:?}; close")), "{joining:?}: {seen}");
    }
}

#[test]
fn a_refused_client_changes_nothing() {
    let mut broker = guarded();
    let owner = connect(&mut broker, v5("c").expiry(60).will("will", 0), user("a", true));
    broker.see(owner);
    broker.ask(owner, subscribe("a/b", QoS::AtLeastOnce));
    for judgement in [
        Judgement::Refused(Refusal::BadCredentials),
        user("b", true),
        user("a", false),
        Judgement::Accepted(Identity::default()),
    ] {
        for joining in [v5("c").clean(), v311("c")] {
            let thief = connect(&mut broker, joining, judgement.clone());
            let seen = broker.see(thief);
            let is_refused = seen.contains("NotAuthorized") || seen.contains("BadUserName");
            assert!(is_refused, "{judgement:?}: {seen}");
            assert_eq!(broker.see(owner), "", "the owner notices nothing");
            broker.close(thief);
        }
    }
    broker.close(owner);
    let thief = connect(&mut broker, v5("c"), user("b", true));
    assert!(broker.see(thief).contains("NotAuthorized"), "nor does it get a session that waits");
    let owner = connect(&mut broker, v5("c"), user("a", true));
    assert!(broker.see(owner).starts_with("CONNACK session present"));
}

#[test]
fn a_session_that_is_over_belongs_to_nobody() {
    let mut broker = guarded();
    let owner = connect(&mut broker, v5("c").expiry(10), user("a", true));
    broker.close(owner);
    broker.now = broker.now.after_secs(10);
    let next = connect(&mut broker, v5("c"), user("b", true));
    assert_eq!(broker.see(next), "CONNACK");
}

#[test]
fn a_user_takes_over_a_session_of_its_own() {
    let mut broker = guarded();
    let old = connect(&mut broker, v5("c"), user("a", true));
    broker.see(old);
    let new = connect(&mut broker, v5("c"), user("a", true));
    assert!(broker.see(new).starts_with("CONNACK"));
    assert!(broker.see(old).contains("SessionTakenOver"));
}

#[test]
fn a_verdict_that_comes_too_late_is_not_heard() {
    let mut broker = guarded();
    let connection = broker.open();
    broker.handle(Input::ConnectTimedOut { connection });
    let Packet::Connect(connect) = v5("c").packet() else { panic!("a client that connects") };
    let before = broker.see(connection);
    broker.handle(Input::Connecting { connection, connect, judgement: user("a", true) });
    assert_eq!(
        (before.as_str(), broker.see(connection).as_str()),
        ("close for MaximumConnectTime", "")
    );
}

#[test]
#[should_panic(expected = "nobody judged it")]
fn a_client_that_nobody_judged_never_comes_in() {
    guarded().try_connect(v5("c"));
}
