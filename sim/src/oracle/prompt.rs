//! C13: what is asked is answered at once, and what is published delivered, not when something
//! else happens to wake the broker up.

use super::deliveries::Delivery;
use super::disk::keeps_nothing;
use super::facts::{Request, Wish};
use super::lost::takes_at_once;
use super::{Case, Wrong};
use crate::scenario::Qos;
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    let all = case.facts.connections.iter().enumerate();
    let calm = all.filter(|(_, it)| case.calm.has(it.client));
    for (place, connection) in calm.filter(|(_, it)| it.is_accepted() && !it.has_guessed()) {
        for request in connection.requests.iter().filter(|it| is_answered_once(it.wish)) {
            check_answer(case, place, request, wrong);
        }
        for request in connection.requests.iter().filter(|it| it.answer.is_none()) {
            check_unanswered(case, place, request, wrong);
        }
    }
    for delivery in &case.deliveries.all {
        check_delivery(case, delivery, wrong);
    }
}

fn check_answer(case: &Case<'_>, place: usize, request: &Request<'_>, wrong: &mut Wrong) {
    let Some((answered, _)) = request.answer else { return };
    if let Some(late_ms) = waited_too_long(case, place, request, case.facts.ms(answered)) {
        let words = format!("was answered after {late_ms} ms");
        let events = [request.asked, answered];
        let client = case.client(place);
        wrong.add(Promise::C13, "answered-late", client, words, &events);
    }
}

/// However often it asks, while its connection stands. What is never answered though all is quiet
/// in the end is `liveness.rs`'s.
fn check_unanswered(case: &Case<'_>, place: usize, request: &Request<'_>, wrong: &mut Wrong) {
    let facts = &case.facts;
    let connection = &facts.connections[place];
    let takes_all = connection.connect.is_none_or(|connect| connect.packet_bytes_max.is_none());
    if !takes_all || connection.opened > facts.liveness_from {
        return;
    }
    let (Some(name), Some(last)) = (request.wish.name(), facts.events.last()) else { return };
    let open_until = connection.ending.map_or(last.at_ms, |(at, _)| facts.ms(at));
    if let Some(open_ms) = waited_too_long(case, place, request, open_until) {
        let words = format!("{name} was not answered for {open_ms} ms");
        wrong.add(Promise::C13, "left-unanswered", connection.client, words, &[request.asked]);
    }
}

/// Milliseconds that a request has waited until then; none, if that is not too long.
fn waited_too_long(
    case: &Case<'_>,
    place: usize,
    request: &Request<'_>,
    until_ms: u64,
) -> Option<u64> {
    // Some ask before they are let in.
    let let_in = case.facts.connections[place].answer?;
    let asked_ms = case.facts.ms(request.asked.max(let_in.at));
    let due_ms = asked_ms + case.calm.at_once_ms();
    let is_late = until_ms > due_ms
        && (case.facts.is_disk_prompt(asked_ms, due_ms) || keeps_nothing(case, place));
    is_late.then(|| until_ms - asked_ms)
}

/// A message that nothing keeps from a connection: that was there when it was published, and its
/// client takes all at once.
fn check_delivery(case: &Case<'_>, delivery: &Delivery<'_>, wrong: &mut Wrong) {
    let facts = &case.facts;
    let connection = &facts.connections[delivery.connection];
    let why = &delivery.explanation;
    let is_first = why.own && !why.shared && !why.retained && delivery.repeats.is_none();
    let (Some(place), Some(let_in), true) = (delivery.message, connection.answer, is_first) else {
        return;
    };
    let message = &case.messages.all[place];
    let Some(during) = message.span() else { return };
    let was_there = let_in.at < during.from && takes_at_once(case, delivery.connection);
    let published_ms = facts.ms(during.to);
    let due_ms = published_ms.saturating_add(case.calm.at_once_ms());
    let is_late = facts.ms(delivery.at) > due_ms && facts.is_disk_prompt(published_ms, due_ms);
    if is_late && was_there && message.will_of.is_none() {
        let late_ms = facts.ms(delivery.at) - published_ms;
        let words = format!("message {} came {late_ms} ms after it was published", message.number);
        let events = [message.asked, during.to, delivery.at];
        wrong.add(Promise::C13, "delivered-late", connection.client, words, &events);
    }
}

/// Whether it is asked once, and answered by one packet.
fn is_answered_once(wish: Wish<'_>) -> bool {
    match wish {
        Wish::Publish(publish) => publish.qos > Qos::AtMostOnce && !publish.dup,
        Wish::Subscribe { .. } | Wish::Unsubscribe { .. } | Wish::Ping => true,
        _ => false,
    }
}
