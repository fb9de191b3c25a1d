//! I2, I3, C5, C10: what is received was subscribed to when it was published, and comes with the
//! QoS, RETAIN and subscription ids that MQTT says.

use super::deliveries::{Delivery, Difference};
use super::messages::Message;
use super::{Case, Wrong, topic};
use crate::history::Outcome;
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    for delivery in &case.deliveries.all {
        match (delivery.repeats, delivery.message) {
            (Some(first), _) => check_repeated(case, delivery, first, wrong),
            (None, Some(message)) => {
                check_first(case, delivery, &case.messages.all[message], wrong);
            }
            (None, None) if delivery.saw.message == Some(0) => {
                check_clearing(case, delivery, wrong);
            }
            _ => {}
        }
    }
}

fn check_repeated(case: &Case<'_>, again: &Delivery<'_>, first: usize, wrong: &mut Wrong) {
    let first = &case.deliveries.all[first];
    let (a, b) = (first.saw, again.saw);
    let same_ids = a.subscription_ids == b.subscription_ids
        || case.facts.is_v5(first.connection) != case.facts.is_v5(again.connection);
    // After a CONNECT without an answer it may be another session's, and another message.
    let is_one = case.sessions.all[again.session].doubts.is_empty();
    if is_one && (a.topic != b.topic || a.qos != b.qos || a.retain != b.retain || !same_ids) {
        let words = format!("packet {:?} was sent again with other contents", b.id);
        let client = case.client(again.connection);
        wrong.add(Promise::I3, "resent-differently", client, words, &[first.at, again.at]);
    }
}

fn check_first(case: &Case<'_>, delivery: &Delivery<'_>, message: &Message<'_>, wrong: &mut Wrong) {
    let explanation = delivery.explanation;
    let is_invented = message.asked > delivery.at;
    if explanation.is_found() || is_invented || delivery.saw.topic.as_deref() != Some(message.topic)
    {
        return;
    }
    let client = case.client(delivery.connection);
    let saw = delivery.saw;
    let name = format!("message {} on '{}' (QoS {})", message.number, message.topic, message.qos);
    let events = [message.asked, delivery.at];
    let Some(difference) = explanation.but_for else {
        return check_unexplained(case, delivery, message, &name, wrong);
    };
    let (rule, words) = match difference {
        Difference::Qos => {
            ("wrong-qos", format!("received {name} at QoS {}, which was not granted", saw.qos))
        }
        Difference::Retain => {
            ("wrong-retain", format!("received {name} with retain {}", saw.retain))
        }
        Difference::SubscriptionIds => {
            let ids = &saw.subscription_ids;
            ("wrong-subscription-ids", format!("received {name} with subscription ids {ids:?}"))
        }
    };
    wrong.add(Promise::I3, rule, client, words, &events);
}

/// No subscription explains it: was there ever one?
fn check_unexplained(
    case: &Case<'_>,
    delivery: &Delivery<'_>,
    message: &Message<'_>,
    name: &str,
    wrong: &mut Wrong,
) {
    let client = case.client(delivery.connection);
    let events = [message.asked, delivery.at];
    if message.effects.is_empty() {
        if message.will_of.is_some() || message.is_forbidden {
            return; // wills.rs says more of it
        }
        let (promise, why) = match message.outcome {
            Some(Outcome::Denied { .. }) => (Promise::C10, "which the broker had refused"),
            _ if topic::is_the_brokers(message.topic) => {
                (Promise::C10, "where only the broker may publish")
            }
            _ => (Promise::I1, "which never reached the broker"),
        };
        let words = format!("received {name}, {why}");
        return wrong.add(promise, "delivered-though-not-taken", client, words, &events);
    }
    let topic = message.topic_place;
    let ended = case.subscriptions.matching(delivery.session, topic).find_map(|(_, changes)| {
        let mut before = changes.iter().filter(|change| change.span.to < message.asked);
        before.rfind(|change| change.to.is_none())
    });
    if let Some(ended) = ended {
        let words = format!("received {name}, published after the subscription had ended");
        let events = [ended.asked, message.asked, delivery.at];
        return wrong.add(Promise::C5, "received-after-unsubscribing", client, words, &events);
    }
    let is_own = case.sessions.all[delivery.session].identity == message.publisher;
    if is_own && case.subscriptions.matching(delivery.session, topic).next().is_some() {
        let words = format!("received {name}, its own, in spite of No Local");
        return wrong.add(Promise::I3, "no-local", client, words, &events);
    }
    let words = format!("received {name}, to which it was not subscribed when that was published");
    wrong.add(Promise::I2, "not-subscribed", client, words, &events);
}

/// An empty message has no number: some subscription must explain it.
fn check_clearing(case: &Case<'_>, delivery: &Delivery<'_>, wrong: &mut Wrong) {
    let Some(name) = delivery.saw.topic.as_deref() else { return };
    if !case.messages.topics.contains(&name) {
        return;
    }
    let clearing = case.messages.clearing().iter().filter(|message| message.topic == name);
    let mut difference = None;
    for message in clearing {
        let explanation = case.explain(delivery, message);
        if explanation.is_found() {
            return;
        }
        difference = difference.or(explanation.but_for);
    }
    let client = case.client(delivery.connection);
    if let Some(difference) = difference {
        let (retain, ids) = (delivery.saw.retain, &delivery.saw.subscription_ids);
        let words = format!(
            "received an empty message on '{name}' with retain {retain}, QoS {} and ids {ids:?}: {difference:?} is wrong",
            delivery.saw.qos
        );
        return wrong.add(Promise::I3, "wrong-empty-message", client, words, &[delivery.at]);
    }
    let words = format!("received an empty message on '{name}', to which it was not subscribed");
    wrong.add(Promise::I2, "not-subscribed", client, words, &[delivery.at]);
}
