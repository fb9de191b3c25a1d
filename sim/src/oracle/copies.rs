//! C2, I4: how often a message may come. Once for all own subscriptions of a session together,
//! once for each group that it is a member of, and once for each new subscription that the
//! message is retained for. At QoS 1 a copy may come again after a reconnect, and says DUP then.

use super::deliveries::{Delivery, retained_ways};
use super::disk::asks_to_last;
use super::facts::{Span, Wish};
use super::messages::Message;
use super::subscriptions::may_be;
use super::{Case, Wrong, topic};
use crate::history::AckKind;
use crate::scenario::Qos;
use crate::survival::Durability;
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    let all = &case.deliveries.all;
    for delivery in all {
        check_dup(case, delivery, wrong);
    }
    let mut copies: Vec<(usize, usize, usize)> = Vec::with_capacity(all.len());
    for (place, delivery) in all.iter().enumerate() {
        let is_counted = delivery.repeats.is_none()
            && !delivery.saw.topic.as_deref().is_some_and(topic::is_the_brokers);
        if let (Some(message), true) = (delivery.message, is_counted) {
            copies.push((message, delivery.session, place));
        }
    }
    copies.sort_unstable();
    for of_message in copies.chunk_by(|a, b| a.0 == b.0) {
        let mut beyond_own = 0;
        for of_session in of_message.chunk_by(|a, b| a.1 == b.1) {
            beyond_own += check_session(case, of_session, wrong);
        }
        if beyond_own > 1 {
            check_groups(case, of_message, beyond_own, wrong);
        }
    }
}

fn check_dup(case: &Case<'_>, delivery: &Delivery<'_>, wrong: &mut Wrong) {
    let client = case.client(delivery.connection);
    let saw = delivery.saw;
    if saw.dup && saw.qos == Qos::AtMostOnce {
        let words = "received a message of QoS 0 with DUP".to_owned();
        wrong.add(Promise::I4, "dup-at-qos0", client, words, &[delivery.at]);
    }
    let is_first = case.sessions.all[delivery.session].connections[0] == delivery.connection;
    let has_doubts = !case.sessions.all[delivery.session].doubts.is_empty();
    if saw.dup
        && is_first
        && !has_doubts
        && !case.facts.connections[delivery.connection].may_have_found_session()
    {
        let words = format!("packet {:?} says DUP on the first connection of its session", saw.id);
        wrong.add(Promise::I4, "dup-without-reconnect", client, words, &[delivery.at]);
    }
    let Some(first) = delivery.repeats.map(|place| &case.deliveries.all[place]) else { return };
    let kind = if saw.qos == Qos::ExactlyOnce { AckKind::PubRec } else { AckKind::PubAck };
    let acknowledged = acknowledged(case, first, kind);
    if let Some(acknowledged) = acknowledged.filter(|at| *at < delivery.at && !has_doubts) {
        let words = format!("packet {:?} was sent again after it was acknowledged", saw.id);
        let events = [first.at, acknowledged, delivery.at];
        wrong.add(Promise::I4, "resent-after-acknowledgement", client, words, &events);
    }
}

/// The ordinal of the acknowledgement of a delivery that the broker surely has, and had before
/// the connection ended.
fn acknowledged(case: &Case<'_>, delivery: &Delivery<'_>, kind: AckKind) -> Option<usize> {
    let requests = &case.facts.connections[delivery.connection].requests;
    let mut after = requests.iter().filter(|request| request.asked > delivery.at);
    let is_meant = |wish: Wish<'_>| matches!(wish, Wish::Ack(ack) if ack.kind == kind && Some(ack.id) == delivery.saw.id);
    let request = after.find(|request| is_meant(request.wish))?;
    request.span.filter(|span| span.is_sure).map(|_| request.asked)
}

/// The copies of one message in one session. How many of them cannot have come by the session's
/// own subscriptions.
fn check_session(case: &Case<'_>, copies: &[(usize, usize, usize)], wrong: &mut Wrong) -> usize {
    let (message, session, _) = copies[0];
    let message = &case.messages.all[message];
    let topic = message.topic_place;
    let last = &case.deliveries.all[copies[copies.len() - 1].2];
    let (mut own, mut by_groups) = (0, 0);
    for effect in message.effects.iter().filter(|effect| effect.span.from < last.at) {
        let since = Span { to: last.at, ..effect.span };
        let mut has_own = false;
        for (filter, changes) in case.subscriptions.matching(session, topic) {
            if filter.is_shared {
                // What a member did not acknowledge may come to it by turns again.
                by_groups += usize::from(may_be(changes, since));
            } else {
                has_own |= may_be(changes, effect.span);
            }
        }
        own += usize::from(has_own);
    }
    let is_at_qos0 =
        |copy: &(usize, usize, usize)| case.deliveries.all[copy.2].saw.qos == Qos::AtMostOnce;
    if case.facts.is_durable() && copies.iter().any(is_at_qos0) {
        // What was sent at QoS 0 of a message that a crash undid may come once more.
        let undone = case.facts.lives.len() - 1;
        let may_come = undone * (own + by_groups);
        own += may_come.min(copies.iter().filter(|copy| is_at_qos0(copy)).count());
    }
    own += retained_copies(case, session, topic, message, last.at);
    let beyond_own = copies.len().saturating_sub(own);
    let is_redistributed = by_groups > 0 && message.qos == Qos::AtLeastOnce;
    if copies.len() > own + by_groups && own + by_groups > 0 && !is_redistributed {
        let (promise, rule) = match last.saw.qos {
            Qos::AtMostOnce => (Promise::I4, "qos0-delivered-twice"),
            Qos::AtLeastOnce => (Promise::I4, "qos1-delivered-twice"),
            Qos::ExactlyOnce => (Promise::C2, "qos2-delivered-twice"),
        };
        let count = copies.len();
        let words = format!(
            "received message {} on '{}' {count} times, of which {} are too many",
            message.number,
            message.topic,
            count - own - by_groups
        );
        let mut events = vec![message.asked];
        events.extend(copies.iter().map(|copy| case.deliveries.all[copy.2].at));
        wrong.add(promise, rule, case.client(last.connection), words, &events);
    }
    beyond_own
}

fn retained_copies(
    case: &Case<'_>,
    session: usize,
    topic: usize,
    message: &Message<'_>,
    seen: usize,
) -> usize {
    if !message.retain {
        return 0;
    }
    let Some(first) = message.effects.first() else { return 0 };
    let plain = case.subscriptions.matching(session, topic).filter(|(filter, _)| !filter.is_shared);
    plain.map(|(_, changes)| retained_ways(changes, first.span, seen).count()).sum()
}

/// Exactly one member of a group gets a message. At QoS 1 what a member did not acknowledge may
/// go to another; so only if no member has gone.
fn check_groups(
    case: &Case<'_>,
    copies: &[(usize, usize, usize)],
    count: usize,
    wrong: &mut Wrong,
) {
    let message = &case.messages.all[copies[0].0];
    let topic = message.topic_place;
    let Some(last) = copies.iter().map(|copy| case.deliveries.all[copy.2].at).max() else { return };
    let mut groups: Vec<&str> = Vec::new();
    let (mut may_redistribute, mut are_all_kept) = (false, true);
    for (session, facts) in case.sessions.all.iter().enumerate() {
        for (filter, changes) in case.subscriptions.matching(session, topic) {
            let is_member = message
                .effects
                .iter()
                .any(|effect| may_be(changes, Span { to: last, ..effect.span }));
            if filter.is_shared && is_member {
                groups.push(filter.text);
                are_all_kept &= facts.connections.iter().all(|&on| asks_to_last(case, on));
                let mut perhaps = facts.doubts.iter().chain(&facts.gaps);
                let may_have_ended = perhaps.any(|span| span.from < last);
                // 3.1 does not say whether it was there.
                let over = facts.ended.from.min(facts.may_be_over);
                may_redistribute |= over < last || may_have_ended;
            }
        }
    }
    groups.sort_unstable();
    groups.dedup();
    let has_qos1 = copies.iter().any(|c| case.deliveries.all[c.2].saw.qos == Qos::AtLeastOnce);
    // Who keeps nothing may have got it in each life, and so may anybody if nobody waits for the
    // disk.
    let is_at_qos0 = copies.iter().any(|c| case.deliveries.all[c.2].saw.qos == Qos::AtMostOnce);
    let is_once = are_all_kept
        && !is_at_qos0
        && case.facts.scenario.broker.store.is_some_and(|it| it.durability == Durability::Sync);
    let times = match case.facts.is_durable() && !is_once {
        true => case.facts.lives.len(),
        false => 1,
    };
    let allowed = times * groups.len() * message.effects.len();
    if count <= allowed || (has_qos1 && may_redistribute) || groups.is_empty() {
        return;
    }
    let promise = if message.qos == Qos::ExactlyOnce { Promise::C2 } else { Promise::I4 };
    let words = format!(
        "message {} on '{}' was delivered {count} times through {} shared subscription(s)",
        message.number,
        message.topic,
        groups.len()
    );
    let mut events = vec![message.asked];
    events.extend(copies.iter().map(|copy| case.deliveries.all[copy.2].at));
    wrong.add(promise, "shared-delivered-twice", None, words, &events);
}
