//! What of a machine's state must survive, in words: two machines with the same picture promise
//! the same.

use std::fmt::Write;

use super::super::session::{Inflight, Queued, Session};
use super::super::*;
use crate::mqtt::topic::Filter;

pub(super) fn picture(machine: &Machine, now: Timestamp) -> String {
    let mut out = String::new();
    let mut keys = machine.clients.keys();
    keys.retain(|key| machine.clients.get(*key).kept.uid().is_some());
    keys.sort_by_key(|key| machine.clients.get(*key).client_id.clone());
    for key in keys {
        say_session(machine, key, now, &mut out);
    }
    let mut after = None;
    while let Some((topic, entry)) = machine.retained.first_after(after.as_deref()) {
        if !topic.starts_with("$SYS") && !entry.is_expired(now) {
            let payload = &entry.message.payload;
            writeln!(out, "retained {topic} {payload:?} {}", entry.sequence).expect("a String");
        }
        after = Some(topic.clone());
    }
    out
}

fn say_session(machine: &Machine, key: SessionKey, now: Timestamp, out: &mut String) {
    let session: &Session = machine.clients.get(key);
    let (next_id, _) = session.outbound.next();
    let will = session.will.as_ref().map(|will| (&will.topic, will.delay));
    if session.kept.whole().is_none() {
        writeln!(out, "{} only {will:?}", session.client_id).expect("a String");
        return;
    }
    let unreleased: std::collections::BTreeSet<_> = session.inbound.ids().collect();
    writeln!(
        out,
        "{} {:?} {:?} {will:?} next {next_id} unreleased {unreleased:?}",
        session.client_id, session.kept, session.expiry
    )
    .expect("a String");
    for text in &session.subscriptions {
        let filter = Filter::try_from(&**text).expect("a filter");
        let found = machine.subscriptions.get(&filter, key).expect("it is subscribed");
        let (qos, id) = (found.qos, found.id);
        let flags = (found.no_local, found.retain_as_published);
        writeln!(out, "  to {filter} {qos:?} {id:?} {flags:?}").expect("a String");
    }
    for queued in session.outbound.waiting_behind(0) {
        if queued.qos > QoS::AtMostOnce && !queued.is_expired(now) {
            writeln!(out, "  waits {}", say(machine, queued)).expect("a String");
        }
    }
    for (index, entry) in session.outbound.inflight.iter().enumerate() {
        let id = session.outbound.id_at(index);
        let what = match entry {
            Inflight::AwaitPubAck(queued) | Inflight::AwaitPubRec(queued) => say(machine, queued),
            Inflight::AwaitPubComp(_) => "only PUBCOMP".to_owned(),
            Inflight::Done => continue,
        };
        writeln!(out, "  sent {id} {what}").expect("a String");
    }
}

fn say(machine: &Machine, queued: &Queued) -> String {
    // Of a group without a member that survives nothing does but what its name comes to.
    let survives = |key| machine.clients.get(key).kept.whole().is_some();
    let share = queued.share.filter(|group| machine.subscriptions.has_member(*group, survives));
    let share = share.and_then(|group| machine.subscriptions.name_of(group));
    format!(
        "{} {:?} {} {:?} {:?} {} {:?} {:?} {:?}",
        queued.number,
        queued.qos,
        queued.message.topic,
        queued.message.payload,
        queued.message.properties,
        queued.retain,
        queued.subscription_ids,
        queued.expires_at,
        share.map(|share| share.to_string()),
    )
}
