//! C1, C2: what was acknowledged comes to a member of each group that it is for.
//!
//! Owed if all who may be members were there to the end and drained, and one of them surely was a
//! member, and had room for it. Who gets it is checked by `groups.rs`.

use super::disk::asks_to_last;
use super::facts::Span;
use super::groups::is_away;
use super::lost::is_drained;
use super::messages::Message;
use super::room::Room;
use super::sizes::is_small;
use super::subscriptions::{Change, is_sure, states};
use super::{Case, Wrong, topic};
use crate::access::Wish;
use crate::scenario::Qos;
use crate::verdict::Promise;

pub(super) fn check(case: &Case<'_>, wrong: &mut Wrong) {
    for message in &case.messages.all {
        // In 3.1.1 what is forbidden is acknowledged all the same.
        let is_for_sure = message.number != 0
            && message.expiry_s.is_none()
            && message.qos > Qos::AtMostOnce
            && !message.may_be_forbidden
            && message.is_acked();
        let Some(during) = message.span().filter(|_| is_for_sure) else { continue };
        for group in case.subscriptions.groups(message.topic_place) {
            if is_owed(case, message, group, during) && !has_come(case, message, group) {
                let words = format!(
                    "message {} on '{}' came to no member of '{}'",
                    message.number, message.topic, case.subscriptions.filters[group].text
                );
                let promise =
                    if message.qos == Qos::ExactlyOnce { Promise::C2 } else { Promise::C1 };
                wrong.add(promise, "shared-lost", None, words, &[message.asked]);
            }
        }
    }
}

/// Whether a message may have come to somebody through that group.
fn has_come(case: &Case<'_>, message: &Message<'_>, group: usize) -> bool {
    let number = case.messages.find(message.number);
    let is_one = |session| case.subscriptions.members(group).any(|(member, _)| member == session);
    let mut deliveries = case.deliveries.all.iter();
    deliveries.any(|delivery| {
        let may_be_shared = delivery.explanation.shared || delivery.repeats.is_some();
        delivery.message == number && may_be_shared && is_one(delivery.session)
    })
}

/// What is known of the members together.
#[derive(Default)]
struct Members {
    /// One surely was there and had room.
    has_taken: bool,
    /// One takes it to the end.
    has_heir: bool,
    has_doubtful: bool,
    /// One was away and would have kept nothing.
    has_forgetful: bool,
    has_present: bool,
    /// The session of one has ended, and what it did not take is another's.
    has_ended: bool,
}

fn is_owed(case: &Case<'_>, message: &Message<'_>, group: usize, during: Span) -> bool {
    let since = Span { to: usize::MAX, ..during };
    let filter = case.subscriptions.filters[group].text;
    let mut members = Members::default();
    for (place, changes) in case.subscriptions.members(group) {
        if !states(changes, since).any(|state| state.is_some()) {
            continue;
        }
        let on = case.sessions.all[place].connections[0];
        match may_receive(case, on, filter, message.topic, since) {
            Some(true) => members.add(case, message, (place, changes), during),
            Some(false) => {} // it goes to another
            None => return false,
        }
    }
    // What one leaves that was not sent to it may go to whoever has come in the meantime.
    let is_known = !members.has_forgetful
        || (case.facts.is_exact && !members.has_present && !members.has_ended);
    is_known && members.has_taken && members.has_heir && !members.has_doubtful
}

impl Members {
    fn add(
        &mut self,
        case: &Case<'_>,
        message: &Message<'_>,
        (place, changes): (usize, &[Change]),
        during: Span,
    ) {
        let session = &case.sessions.all[place];
        let is_away = is_away(case, place, during);
        self.has_present |= !is_away;
        let mut then = states(changes, during).flatten();
        if is_away && then.all(|granted| granted.qos == Qos::AtMostOnce) {
            // Whoever is away with a subscription at QoS 0 is not asked.
            self.has_forgetful = true;
            return;
        }
        let since = Span { to: usize::MAX, ..during };
        let takes_all = states(changes, since)
            .all(|state| state.is_some_and(|granted| granted.qos > Qos::AtMostOnce));
        let (is_sure, is_drained) = (is_sure(changes, during), is_drained(case, place));
        let is_handed_on =
            message.qos == Qos::AtLeastOnce && is_handed_on(case, place, changes, since);
        self.has_ended |= is_handed_on;
        self.has_taken |=
            is_sure && session.begun.to <= during.from && case.rooms[place].has_for(during);
        self.has_heir |= is_sure && session.begun.to < during.from && is_drained && takes_all;
        self.has_doubtful |= (!takes_all && !is_handed_on)
            || (session.has_guessed && !case.facts.is_exact)
            || !session.doubts.is_empty()
            || session.may_be_over_during(during)
            || is_small(case, place)
            || !(is_drained || is_handed_on);
    }
}

/// Whether a member may surely have what its group gets, all that time, or surely never; none:
/// nobody knows, or it may lose its subscription.
fn may_receive(
    case: &Case<'_>,
    on: usize,
    filter: &str,
    topic: &str,
    during: Span,
) -> Option<bool> {
    let behind = topic::shared(filter).map_or(filter, |(_, behind)| behind);
    let subscribes = case.facts.may_whoever(on, Wish::Subscribe, behind, during);
    case.facts.may_whoever(on, Wish::Receive, topic, during).filter(|_| subscribes == Some(true))
}

/// Whether what a member did not take before its session ended goes to those that go on; not at
/// QoS 2, where it may have been on its way. [MQTT-4.8.2-5] And what one did not take that is not
/// kept goes down with the broker. There may be no room for it, then.
fn is_handed_on(case: &Case<'_>, place: usize, changes: &[Change], since: Span) -> bool {
    let (facts, session) = (&case.facts, &case.sessions.all[place]);
    facts.is_exact
        && matches!(case.rooms[place], Room::Enough)
        && (!facts.is_durable() || session.connections.iter().all(|on| asks_to_last(case, *on)))
        && states(changes, since).flatten().all(|granted| granted.qos > Qos::AtMostOnce)
        && session.begun.to < since.from
        && session.ended.to < facts.ended.map_or(0, |(at, _)| at)
}
