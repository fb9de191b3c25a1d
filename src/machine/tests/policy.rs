//! What clients may do: that it is asked wherever it matters, and anew when the rules change.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use super::super::*;
use super::harness::{Broker, settings};
use super::packets::*;
use crate::access::{Action, Decision, Judgement, Origin, Question};

/// Denies actions (`p`, `s`, `r`) to topics that begin with a letter, each as `pa` or `bob:pa`.
#[derive(Debug)]
struct Denies(&'static [&'static str], Origin);

impl Authorise for Denies {
    fn decide(&self, question: &Question<'_>) -> Decision<'_> {
        let action = &question.action.name()[..1];
        let user = question.identity.user.as_deref().unwrap_or("-");
        let is_denied = self.0.iter().any(|denied| {
            let (who, what) = denied.split_once(':').unwrap_or((user, denied));
            who == user && what.starts_with(action) && question.topic.starts_with(&what[1..])
        });
        Decision { is_allowed: !is_denied, rule: &self.1 }
    }
}

fn denies(denied: &'static [&'static str]) -> Option<Arc<dyn Authorise>> {
    Some(Arc::new(Denies(denied, Origin::built_in("a test"))))
}

fn broker(denied: &'static [&'static str]) -> Broker {
    let access = Access { is_judged: false, authorise: denies(denied) };
    Broker::new(Settings { access, ..settings() })
}

fn publish(name: &str, qos: QoS, number: u16, payload: &str) -> Packet {
    match qos {
        QoS::AtMostOnce => qos0(name, payload),
        QoS::AtLeastOnce => qos1(number, name, payload),
        QoS::ExactlyOnce => qos2(number, name, payload),
    }
}

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

#[test]
fn a_denied_publish_is_answered_as_its_version_can_and_goes_nowhere() {
    let mut broker = broker(&["px"]);
    let listener = broker.connect(v5("listener"));
    broker.ask(listener, subscribe("#", QoS::ExactlyOnce));
    for (joining, wants) in [
        (v5("new"), ["", "PUBACK 1 NotAuthorized", "PUBREC 2 NotAuthorized"]),
        (v311("old"), ["", "PUBACK 1", "PUBREC 2"]),
    ] {
        let client = broker.connect(joining);
        for (id, (qos, want)) in (0..).zip(QOS.into_iter().zip(wants)) {
            let seen = broker.ask(client, publish("x", qos, id.max(1), "m"));
            assert!(seen.starts_with(want) && (want.is_empty() == seen.is_empty()), "{seen}");
        }
        assert_eq!(broker.see(listener), "");
    }
    assert_eq!(broker.machine.ledger().denials.get(Action::Publish), 6);
    let mut denials = Vec::new();
    broker.machine.poll_denials(&mut denials);
    let told: Vec<&str> = denials.iter().map(|denial| &*denial.client_id).collect();
    assert_eq!((told, &*denials[0].rule), (vec!["new", "old"], "a test"), "once for each client");
}

#[test]
fn a_denied_filter_is_answered_alone() {
    let mut broker = broker(&["sx"]);
    for (joining, want) in [(v5("new"), "NotAuthorized"), (v311("old"), "UnspecifiedError")] {
        let client = broker.connect(joining);
        let seen = broker.ask(client, subscribe("x/#", QoS::AtLeastOnce));
        assert!(seen.contains(want), "{seen}");
        let seen = broker.ask(client, subscribe("$share/g/x", QoS::AtLeastOnce));
        assert!(seen.contains(want), "{seen}");
        let seen = broker.ask(client, subscribe("y", QoS::AtLeastOnce));
        assert!(seen.contains("GrantedQoS1") || !seen.contains(want), "{seen}");
    }
    assert_eq!(broker.machine.subscriptions(), 2);
    assert_eq!(broker.machine.ledger().denials.get(Action::Subscribe), 4);
}

#[test]
fn what_may_not_be_received_is_not_sent_retained_or_not() {
    let mut broker = broker(&["rx"]);
    let (sender, receiver) = (broker.connect(v5("sender")), broker.connect(v5("receiver")));
    broker.ask(sender, retained(qos0("x/kept", "m")));
    broker.ask(sender, retained(qos0("y/kept", "m")));
    let seen = broker.ask(receiver, subscribe("#", QoS::AtMostOnce));
    assert!(seen.contains("y/kept") && !seen.contains("x/kept"), "{seen}");
    broker.ask(sender, publish("x", QoS::AtMostOnce, 1, "m"));
    assert_eq!(broker.see(receiver), "");
    assert_eq!(broker.dropped("receiver", DropReason::Forbidden), 1);
}

#[test]
fn a_will_is_judged_when_it_is_published() {
    let mut broker = broker(&[]);
    let receiver = broker.connect(v5("receiver"));
    broker.ask(receiver, subscribe("#", QoS::AtMostOnce));
    let dying = broker.connect(v5("dying").will("x", 0));
    broker.handle(Input::PolicyChanged(denies(&["px"])));
    broker.close(dying);
    assert_eq!(broker.see(receiver), "");
    assert_eq!(broker.machine.ledger().denials.get(Action::Publish), 1);
}

#[test]
fn new_rules_are_for_what_waits_and_for_what_is_subscribed_to() {
    let mut broker = broker(&[]);
    let (sender, receiver) = (broker.connect(v5("sender")), broker.connect(v5("r").expiry(60)));
    for filter in ["a/#", "b", "a/both"] {
        broker.ask(receiver, subscribe(filter, QoS::AtLeastOnce));
    }
    broker.close(receiver);
    let send = |broker: &mut Broker| {
        for topic in ["a/1", "b", "a/both"] {
            broker.ask(sender, publish(topic, QoS::AtLeastOnce, 1, topic));
        }
    };
    send(&mut broker);
    broker.handle(Input::PolicyChanged(denies(&["rb", "sa/#"])));
    assert_eq!(broker.dropped("r", DropReason::Forbidden), 2);
    send(&mut broker);
    assert_eq!(broker.dropped("r", DropReason::Forbidden), 3, "b; a/1 matches nothing now");
    broker.handle(Input::PolicyChanged(None));
    send(&mut broker);
    let receiver = broker.connect(v5("r").expiry(60));
    let seen = broker.see(receiver);
    let topics: Vec<&str> = ["a/1", "b", "a/both"]
        .into_iter()
        .flat_map(|topic| {
            vec![topic; seen.split("; ").filter(|m| m.starts_with(&format!("{topic}="))).count()]
        })
        .collect();
    assert_eq!(topics, ["a/1", "b", "a/both", "a/both", "a/both"], "{seen}");
}

#[test]
fn what_may_no_longer_be_seen_is_not_sent_again() {
    let mut broker = broker(&[]);
    let (sender, receiver) = (broker.connect(v5("sender")), broker.connect(v5("r").expiry(60)));
    broker.ask(receiver, subscribe("#", QoS::ExactlyOnce));
    for (topic, qos) in [("a", QoS::AtLeastOnce), ("b", QoS::ExactlyOnce), ("c", QoS::AtLeastOnce)]
    {
        broker.ask(sender, publish(topic, qos, 1, "m"));
        broker.ask(sender, pubrel(1));
    }
    assert_eq!(broker.see(receiver).matches("=m").count(), 3);
    broker.handle(Input::PolicyChanged(denies(&["ra", "rb"])));
    broker.close(receiver);
    let receiver = broker.connect(v5("r").expiry(60));
    let seen = broker.see(receiver);
    assert!(seen.matches("=m").count() == 1 && seen.contains("c=m"), "{seen}");
    assert_eq!(broker.dropped("r", DropReason::Forbidden), 2);
}

/// Each message is held against filters that open hundreds of nodes for it.
#[test]
fn filters_made_to_cost_much_do_not_hold_up_new_rules() {
    let mut broker = broker(&[]);
    let (sender, receiver) = (broker.connect(v5("sender")), broker.connect(v5("r").expiry(60)));
    for number in 0..256 {
        let levels = (0..8).map(|bit| if number >> bit & 1 == 0 { "a" } else { "+" });
        let filter = format!("a/{}/+", levels.collect::<Vec<_>>().join("/"));
        broker.ask(receiver, subscribe(&filter, QoS::AtLeastOnce));
    }
    broker.close(receiver);
    for _ in 0..300 {
        broker.ask(sender, publish("a/a/a/a/a/a/a/a/a/b", QoS::AtLeastOnce, 1, "m"));
    }
    let before = broker.machine.effort();
    broker.handle(Input::PolicyChanged(denies(&["sa"])));
    let spent = broker.machine.effort() - before;
    assert!((40_000..60_000).contains(&spent), "{spent}");
    assert_eq!(broker.dropped("r", DropReason::Forbidden), 300);
}

#[test]
fn a_group_gives_to_members_who_may() {
    let mut broker = broker(&["bob:rx"]);
    let join = |broker: &mut Broker, id, user: &str| {
        let connection = broker.open();
        let Packet::Connect(connect) = v5(id).packet() else { panic!("a client that connects") };
        broker.knows(connection, connect.version);
        let identity = Identity { user: Some(user.into()), ..Identity::default() };
        let judgement = Judgement::Accepted(identity);
        broker.handle(Input::Connecting { connection, connect, judgement });
        broker.ask(connection, subscribe("$share/g/#", QoS::AtLeastOnce));
        connection
    };
    let (bob, amy) = (join(&mut broker, "b", "bob"), join(&mut broker, "a", "amy"));
    let sender = broker.connect(v5("sender"));
    for _ in 0..4 {
        broker.ask(sender, publish("x", QoS::AtLeastOnce, 1, "m"));
    }
    assert_eq!((broker.see(bob), broker.see(amy).matches("=m").count()), (String::new(), 4));
    for _ in 0..4 {
        broker.ask(sender, publish("y", QoS::AtLeastOnce, 1, "m"));
    }
    let counts = [bob, amy].map(|client| broker.see(client).matches("=m").count());
    assert_eq!(counts, [2, 2], "and its turn was kept");
    broker.handle(Input::PolicyChanged(denies(&["s"])));
    let seen = broker.ask(sender, publish("y", QoS::AtLeastOnce, 1, "m"));
    assert!(seen.contains("NoMatchingSubscribers"), "{seen}");
}

#[test]
fn who_comes_back_to_a_session_of_another_gets_what_it_may() {
    let mut broker = broker(&["bob:rx", "bob:sy"]);
    broker.machine.settings.access.is_judged = true;
    let enter = |broker: &mut Broker, user: &str| {
        let connection = broker.open();
        let joining = v5("c").expiry(60);
        let Packet::Connect(connect) = joining.packet() else { panic!("a client that connects") };
        broker.knows(connection, connect.version);
        let identity = Identity { user: Some(user.into()), ..Identity::default() };
        let judgement = Judgement::Accepted(identity);
        broker.handle(Input::Connecting { connection, connect, judgement });
        connection
    };
    let amy = enter(&mut broker, "amy");
    for filter in ["x", "y", "z"] {
        broker.ask(amy, subscribe(filter, QoS::AtLeastOnce));
    }
    broker.close(amy);
    let sender = enter_as_sender(&mut broker);
    for topic in ["x", "y", "z"] {
        broker.ask(sender, publish(topic, QoS::AtLeastOnce, 1, "m"));
    }
    let bob = enter(&mut broker, "bob");
    let seen = broker.see(bob);
    assert!(seen.matches("=m").count() == 1 && seen.contains("z=m"), "{seen}");
}

/// Counts how often it is asked, and only knows who is at home.
#[derive(Debug, Default)]
struct Counts(AtomicUsize);

impl Authorise for Counts {
    fn decide(&self, _: &Question<'_>) -> Decision<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Decision::allowed(&RULE)
    }

    fn tells_apart(&self, one: &Identity, other: &Identity) -> bool {
        let is_home = |of: &Identity| of.address == Some(HOME);
        is_home(one) != is_home(other)
    }
}

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
static RULE: LazyLock<Origin> = LazyLock::new(|| Origin::built_in("a test's"));

#[test]
fn what_a_session_has_is_judged_anew_only_where_that_makes_a_difference() {
    let rules = Arc::new(Counts::default());
    let access = Access { is_judged: true, authorise: Some(rules.clone()) };
    let mut broker = Broker::new(Settings { access, ..settings() });
    let mut asked_from = |address: IpAddr| {
        let before = rules.0.load(Ordering::Relaxed);
        let connection = broker.open();
        let Packet::Connect(connect) = v5("c").expiry(60).packet() else { panic!("a CONNECT") };
        broker.knows(connection, connect.version);
        let identity = Identity { address: Some(address), ..Identity::default() };
        let judgement = Judgement::Accepted(identity);
        broker.handle(Input::Connecting { connection, connect, judgement });
        let asked = rules.0.load(Ordering::Relaxed) - before;
        broker.ask(connection, subscribe("x", QoS::AtLeastOnce));
        broker.close(connection);
        asked
    };
    assert_eq!(asked_from(HOME), 0, "nothing is there yet");
    assert_eq!(asked_from(HOME), 0);
    assert_eq!(asked_from(IpAddr::from([10, 0, 0, 1])), 1);
    assert_eq!(asked_from(IpAddr::from([10, 0, 0, 2])), 0, "to the rules it is the same");
    assert_eq!(asked_from(HOME), 1);
}

fn enter_as_sender(broker: &mut Broker) -> ConnectionId {
    let connection = broker.open();
    let Packet::Connect(connect) = v5("sender").packet() else { panic!("a client that connects") };
    broker.knows(connection, connect.version);
    let judgement = Judgement::Accepted(Identity::default());
    broker.handle(Input::Connecting { connection, connect, judgement });
    broker.see(connection);
    connection
}

#[test]
fn the_program_itself_may_do_everything() {
    let mut broker = broker(&["p", "s", "r"]);
    let inside = broker.open_at(None);
    broker.send(inside, v5("inside").packet());
    broker.see(inside);
    let seen = broker.ask(inside, subscribe("a", QoS::AtMostOnce));
    assert!(!seen.contains("NotAuthorized"), "{seen}");
    assert!(broker.ask(inside, publish("a", QoS::AtMostOnce, 1, "m")).contains("a=m"));
}
