//! I2, I3, C5, C10: what is received was subscribed to when it was published, and comes with the
//! QoS, RETAIN and subscription ids that MQTT says.

use super::deliveries::{Delivery, Difference, retained_ways};
use super::facts::{Ordinal, Wish};
use super::messages::Message;
use super::{Case, Wrong, topic};
use crate::history::Outcome;
use crate::scenario::Qos;
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
    if explanation.retained && !explanation.own && !explanation.shared {
        return check_goes_on(case, delivery, message, wrong);
    }
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

/// What comes only because it was retained comes for a subscription that is still there. What was
/// on its way before UNSUBACK came before that, but for messages that had a packet id and waited
/// for the disk. [MQTT-3.10.4-2]
fn check_goes_on(
    case: &Case<'_>,
    delivery: &Delivery<'_>,
    message: &Message<'_>,
    wrong: &mut Wrong,
) {
    if delivery.saw.dup {
        return;
    }
    let mut ended = None;
    for (filter, changes) in case.subscriptions.matching(delivery.session, message.topic_place) {
        if filter.is_shared {
            continue;
        }
        for effect in message.effects.iter().filter(|effect| effect.span.from < delivery.at) {
            for made in retained_ways(changes, effect.span, delivery.at) {
                let Some(end) = end_of(case, delivery.connection, filter.text, made.asked) else {
                    return;
                };
                ended = ended.max(Some(end));
            }
        }
    }
    let Some((answered, asked)) = ended.filter(|(at, _)| surely_follows(case, delivery, *at))
    else {
        return;
    };
    let words = format!(
        "received the retained message {} on '{}' (QoS {}) after UNSUBACK",
        message.number, message.topic, delivery.saw.qos
    );
    let events = [message.asked, asked, answered, delivery.at];
    let client = case.client(delivery.connection);
    wrong.add(Promise::C5, "retained-after-unsubscribing", client, words, &events);
}

/// When the first UNSUBACK came on a connection that ended a subscription which was asked for
/// before, and when that was asked.
fn end_of(case: &Case<'_>, on: usize, filter: &str, made: Ordinal) -> Option<(Ordinal, Ordinal)> {
    case.facts.connections[on].requests.iter().find_map(|request| {
        let Wish::Unsubscribe { filters, .. } = request.wish else { return None };
        let place = filters.iter().position(|other| &**other == filter)?;
        let is_done = request.reasons.get(place).is_none_or(|reason| *reason < 0x80);
        let (answered, _) = request.answer.filter(|_| is_done && request.asked > made)?;
        Some((answered, request.asked))
    })
}

/// Whether a first copy was not sent, or about to be, when that UNSUBACK was: as many as the client
/// takes at once may have had their packet ids, and waited for the disk.
fn surely_follows(case: &Case<'_>, delivery: &Delivery<'_>, answered: Ordinal) -> bool {
    if delivery.at < answered {
        return false;
    }
    let facts = &case.facts;
    if delivery.saw.qos == Qos::AtMostOnce || facts.scenario.broker.store.is_none() {
        return true;
    }
    let connect = facts.connections[delivery.connection].connect;
    let told =
        connect.and_then(|it| it.receive_maximum).filter(|_| facts.is_v5(delivery.connection));
    let max = told.unwrap_or(u16::MAX).min(facts.scenario.broker.inflight.unwrap_or(u16::MAX));
    let since = case.deliveries.to(delivery.session).iter().filter(|other| {
        let is_first = other.repeats.is_none() && other.saw.id.is_some();
        other.connection == delivery.connection
            && is_first
            && other.at > answered
            && other.at < delivery.at
    });
    since.count() >= usize::from(max)
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
