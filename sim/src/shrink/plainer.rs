//! Changes that make the values of a scenario plainer: defaults in place of settings, less time,
//! shorter names.
//!
//! Each only ever goes one way, so that making plainer comes to an end. Whether the scenario still
//! fails then is `mod.rs`'s to find out.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::properties::Properties;
use crate::scenario::{
    Action, Broker, Client, Connect, Fault, FaultKind, Manners, Op, ProtocolVersion, Publish, Qos,
    Scenario, Subscribe, Subscription, Weather,
};
use crate::transport::Transport;

/// One change. Does nothing where it does not apply.
pub(super) enum Edit {
    All(fn(&mut Scenario)),
    Client(usize, fn(&mut Client)),
    Op(usize, fn(&mut Op)),
    Fault(usize, fn(&mut Fault)),
    /// Lets this operation and all that come later happen that much earlier, per cent of the
    /// time since the one before.
    Sooner(usize, u64),
}

/// Every change there is to this scenario, the coarse ones first.
pub(super) fn edits(scenario: &Scenario) -> Vec<Edit> {
    let mut edits: Vec<Edit> = ALL.iter().map(|edit| Edit::All(*edit)).collect();
    let mut of_each = |len: usize, make: &dyn Fn(usize) -> Vec<Edit>| {
        edits.extend((0..len).flat_map(make));
    };
    let (clients, faults, ops) =
        (scenario.clients.len(), scenario.faults.len(), scenario.ops.len());
    of_each(clients, &|at| CLIENT.iter().map(|edit| Edit::Client(at, *edit)).collect());
    of_each(faults, &|at| FAULT.iter().map(|edit| Edit::Fault(at, *edit)).collect());
    of_each(ops, &|at| OP.iter().map(|edit| Edit::Op(at, *edit)).collect());
    of_each(ops, &|at| vec![Edit::Sooner(at, 100), Edit::Sooner(at, 50)]);
    edits.extend(LAST.iter().map(|edit| Edit::All(*edit)));
    edits
}

impl Edit {
    /// Makes the change.
    pub(super) fn apply(&self, scenario: &mut Scenario) {
        match *self {
            Edit::All(edit) => edit(scenario),
            Edit::Client(at, edit) => scenario.clients.get_mut(at).into_iter().for_each(edit),
            Edit::Op(at, edit) => scenario.ops.get_mut(at).into_iter().for_each(edit),
            Edit::Fault(at, edit) => scenario.faults.get_mut(at).into_iter().for_each(edit),
            Edit::Sooner(at, percent) => sooner(scenario, at, percent),
        }
    }
}

const ALL: &[fn(&mut Scenario)] = &[
    |s| s.liveness_ms = 0,
    |s| s.weather = Weather::default(),
    |s| s.weather.chaos = 0,
    |s| s.weather.spikes = 0,
    |s| s.weather.pull_bytes_max = None,
    |s| s.weather.sip_bytes = None,
    |s| s.weather.step_ms = Weather::default().step_ms,
    |s| s.weather.latency_max_ms = s.weather.latency_min_ms,
    |s| s.broker = Broker::default(),
    |s| s.broker.connections = None,
    |s| s.broker.packet_bytes = None,
    |s| s.broker.connect_timeout_ms = None,
    |s| s.broker.keep_alive_max_s = None,
    |s| s.broker.disconnect_delay_s = None,
    |s| s.broker.inflight = None,
    |s| s.broker.queue_messages = None,
    |s| s.broker.queue_bytes = None,
    |s| s.broker.total_bytes = None,
    |s| s.broker.subscriptions = None,
    |s| s.broker.topic_bytes = None,
    |s| s.broker.topic_levels = None,
    |s| s.broker.retained_messages = None,
    |s| s.broker.retained_bytes = None,
    |s| s.broker.session_expiry_max_s = None,
    |s| s.broker.session_expiry_s = None,
    |s| s.broker.held_to_tokens.clear(),
    |s| s.broker.failed_logins = None,
    |s| s.broker.failed_logins_per_address = None,
    |s| s.broker.failed_logins_per_user = None,
    |s| s.broker.opinions.clear(),
    |s| drop(s.broker.opinions.pop()),
    |s| s.broker.policies.clear(),
    |s| drop(s.broker.policies.pop()),
    |s| s.broker.policies.iter_mut().for_each(drop_first),
    |s| s.broker.policies.iter_mut().for_each(drop_last),
    |s| s.broker.store = None,
    |s| s.broker.store.iter_mut().for_each(|store| store.sync_ms_max = 0),
    |s| s.broker.log_bytes = None,
    |s| s.broker.door = None,
    |s| s.broker.max_qos = None,
    |s| s.broker.sys_interval_s = None,
    |s| s.broker.effort_max = None,
    |s| s.clients.iter_mut().for_each(|client| client.manners = Manners::default()),
    |s| s.clients.iter_mut().for_each(|client| client.zone = 0),
    |s| s.clients.iter_mut().for_each(|client| client.reuses_ids = false),
    |s| s.clients.iter_mut().for_each(|client| client.sips = false),
    |s| s.clients.iter_mut().for_each(|client| client.is_mistaken = false),
    |s| s.broker.is_behind_proxies = false,
    come_plainly,
    |s| s.safety_ms = s.safety_ms.min(last_ms(s) + 1_000),
    |s| s.safety_ms = (s.safety_ms / 2).max(last_ms(s) + 1),
];

/// Without a transport that can say so, nobody is behind a proxy.
fn come_plainly(scenario: &mut Scenario) {
    scenario.broker.is_behind_proxies = false;
    scenario.clients.iter_mut().for_each(|client| client.transport = Transport::Tcp);
}

/// Those that change much and explain little come last.
const LAST: &[fn(&mut Scenario)] = &[shorten_topics];

const CLIENT: &[fn(&mut Client)] = &[
    |c| c.manners = Manners::default(),
    |c| c.manners.acks = Manners::default().acks,
    |c| c.manners.ack_delay_ms = 0,
    |c| c.manners.pings = true,
    |c| c.manners.resends = true,
    |c| c.manners.duplicates = false,
    |c| c.manners.answers_late = false,
    |c| c.manners.keeps_quota = true,
    |c| c.manners.aliases = false,
    |c| c.version = ProtocolVersion::V5,
    |c| c.zone = 0,
    |c| c.reuses_ids = false,
    |c| c.sips = false,
    |c| c.user = None,
    |c| c.is_mistaken = false,
    |c| c.transport = Transport::Tcp,
];

const FAULT: &[fn(&mut Fault)] = &[|fault| match &mut fault.kind {
    FaultKind::Crash { down_ms, .. }
    | FaultKind::CrashAmid { down_ms, .. }
    | FaultKind::Stop { down_ms } => *down_ms /= 2,
    FaultKind::Hold { for_ms, .. }
    | FaultKind::Partition { for_ms, .. }
    | FaultKind::Disk { for_ms, .. } => *for_ms /= 2,
    FaultKind::SetClock { by_ms } => *by_ms /= 2,
    FaultKind::Cut { .. }
    | FaultKind::Rewrite
    | FaultKind::Reload { .. }
    | FaultKind::Passwords
    | FaultKind::Certificate => {}
}];

const OP: &[fn(&mut Op)] = &[
    |op| {
        connect(op, |c| {
            *c = Connect { clean_start: c.clean_start, expiry_s: c.expiry_s, ..Connect::default() };
        });
    },
    |op| connect(op, |c| c.will = None),
    |op| connect(op, |c| c.will.iter_mut().for_each(|will| will.delay_s = 0)),
    |op| connect(op, |c| c.expiry_s = None),
    |op| connect(op, |c| c.clean_start = true),
    |op| connect(op, |c| c.keep_alive_s = 0),
    |op| connect(op, |c| c.receive_maximum = None),
    |op| connect(op, |c| c.packet_bytes_max = None),
    |op| connect(op, |c| c.topic_alias_maximum = 0),
    |op| connect(op, |c| c.declines_reasons = false),
    |op| publish(op, |p| p.retain = false),
    |op| publish(op, |p| p.expiry_s = None),
    |op| publish(op, |p| p.properties = None),
    |op| properties(op, |p| p.is_text = None),
    |op| properties(op, |p| p.content_type = None),
    |op| properties(op, |p| p.response_topic = None),
    |op| properties(op, |p| p.correlation = None),
    |op| properties(op, |p| drop_first(&mut p.user)),
    |op| properties(op, |p| drop_last(&mut p.user)),
    |op| publish(op, |p| p.bytes = 0),
    |op| publish(op, |p| p.bytes /= 2),
    |op| publish(op, |p| p.qos = Qos::AtMostOnce),
    |op| publish(op, |p| p.qos = p.qos.min(Qos::AtLeastOnce)),
    |op| subscribe(op, |s| s.subscription_id = None),
    |op| subscribe(op, |s| s.filters.truncate(1)),
    |op| subscribe(op, |s| drop_first(&mut s.filters)),
    |op| subscribe(op, |s| drop_last(&mut s.filters)),
    |op| filters(op, |f| f.no_local = false),
    |op| filters(op, |f| f.retain_as_published = false),
    |op| filters(op, |f| f.retain_handling = 0),
    |op| filters(op, |f| f.qos = Qos::AtMostOnce),
    |op| filters(op, |f| f.qos = f.qos.min(Qos::AtLeastOnce)),
    |op| match &mut op.action {
        Action::Unsubscribe { filters } => drop_first(filters),
        Action::Behave(manners) => *manners = Manners::default(),
        Action::Disconnect { expiry_s, .. } => *expiry_s = None,
        _ => {}
    },
    |op| match &mut op.action {
        Action::Unsubscribe { filters } => drop_last(filters),
        Action::Disconnect { reason, .. } => *reason = 0,
        Action::Dribble => op.action = Action::Linger,
        Action::Close => op.action = Action::Cut,
        Action::Chatter { .. } => op.action = Action::Ping,
        _ => {}
    },
];

fn connect(op: &mut Op, edit: fn(&mut Connect)) {
    if let Action::Connect(connect) = &mut op.action {
        edit(connect);
    }
}

/// Of a PUBLISH, and of a will.
fn publish(op: &mut Op, edit: fn(&mut Publish)) {
    match &mut op.action {
        Action::Publish(publish) => edit(publish),
        Action::Connect(connect) => {
            connect.will.iter_mut().for_each(|will| edit(&mut will.message));
        }
        _ => {}
    }
}

fn properties(op: &mut Op, edit: fn(&mut Properties)) {
    let edit = |said: &mut Arc<Properties>| edit(Arc::make_mut(said));
    match &mut op.action {
        Action::Publish(publish) => publish.properties.iter_mut().for_each(edit),
        Action::Connect(connect) => {
            let wills = connect.will.iter_mut();
            wills.filter_map(|will| will.message.properties.as_mut()).for_each(edit);
        }
        _ => {}
    }
}

fn subscribe(op: &mut Op, edit: fn(&mut Subscribe)) {
    if let Action::Subscribe(subscribe) = &mut op.action {
        edit(subscribe);
    }
}

fn filters(op: &mut Op, edit: fn(&mut Subscription)) {
    if let Action::Subscribe(subscribe) = &mut op.action {
        subscribe.filters.iter_mut().for_each(edit);
    }
}

fn drop_first<T>(list: &mut Vec<T>) {
    if list.len() > 1 {
        list.remove(0);
    }
}

fn drop_last<T>(list: &mut Vec<T>) {
    if list.len() > 1 {
        list.pop();
    }
}

/// When the last operation or fault happens.
fn last_ms(scenario: &Scenario) -> u64 {
    let ops = scenario.ops.iter().map(|op| op.at_ms);
    let faults = scenario.faults.iter().map(|fault| fault.at_ms);
    ops.chain(faults).max().unwrap_or(0)
}

fn sooner(scenario: &mut Scenario, at: usize, percent: u64) {
    let Some(then) = scenario.ops.get(at).map(|op| op.at_ms) else { return };
    let before = if at == 0 { 0 } else { scenario.ops[at - 1].at_ms };
    let less = then.saturating_sub(before) * percent / 100;
    scenario.ops[at..].iter_mut().for_each(|op| op.at_ms -= less);
    let later = scenario.faults.iter_mut().filter(|fault| fault.at_ms >= then);
    later.for_each(|fault| fault.at_ms -= less);
}

/// Names every topic and filter of one level `a`, `b`, and so on if no filter has wildcards or a
/// group; else every level of theirs.
fn shorten_topics(scenario: &mut Scenario) {
    let mut names = BTreeMap::new();
    let topics: Vec<&mut Arc<str>> = scenario.ops.iter_mut().flat_map(topics_of).collect();
    let is_plain = |topic: &Arc<str>| !topic.contains(['+', '#', '$']);
    if topics.iter().all(|topic| is_plain(topic)) {
        for topic in topics {
            *topic = shortened(topic, &mut names);
        }
        return;
    }
    for topic in topics {
        let levels = topic.split('/').map(|level| match level {
            "" | "+" | "#" => Arc::from(level),
            _ if level.starts_with('$') => Arc::from(level),
            _ => shortened(level, &mut names),
        });
        let levels: Vec<Arc<str>> = levels.collect();
        *topic = Arc::from(levels.join("/"));
    }
}

/// The next letter for a name that is new; after 26 of them, the name itself.
fn shortened(name: &str, names: &mut BTreeMap<String, Arc<str>>) -> Arc<str> {
    let next = (b'a'..=b'z').nth(names.len()).map(|letter| char::from(letter).to_string());
    let new = || Arc::from(next.as_deref().unwrap_or(name));
    Arc::clone(names.entry(name.to_owned()).or_insert_with(new))
}

fn topics_of(op: &mut Op) -> Vec<&mut Arc<str>> {
    match &mut op.action {
        Action::Publish(publish) => vec![&mut publish.topic],
        Action::Connect(connect) => {
            connect.will.iter_mut().map(|will| &mut will.message.topic).collect()
        }
        Action::Subscribe(subscribe) => {
            subscribe.filters.iter_mut().map(|subscription| &mut subscription.filter).collect()
        }
        Action::Unsubscribe { filters } => filters.iter_mut().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_topics(topics: &[&str]) -> Scenario {
        let filters = topics.iter().map(|topic| Arc::from(*topic)).collect();
        let op = Op { at_ms: 0, client: 0, action: Action::Unsubscribe { filters } };
        Scenario { ops: vec![op], ..Scenario::default() }
    }

    #[test]
    fn topics_are_shortened_alike() {
        let cases: [(&[&str], &[&str]); 4] = [
            (&["x/y", "x", "x/y"], &["a", "b", "a"]),
            (&["x/y", "x/+", "y"], &["a/b", "a/+", "b"]),
            (&["x//y/#", "/y"], &["a//b/#", "/b"]),
            (&["$share/g/x", "x"], &["$share/a/b", "b"]),
        ];
        for (topics, want) in cases {
            let mut scenario = with_topics(topics);
            shorten_topics(&mut scenario);
            assert_eq!(scenario, with_topics(want), "{topics:?}");
        }
    }

    #[test]
    fn sooner_moves_all_that_is_later() {
        let op = |at_ms| Op { at_ms, client: 0, action: Action::Ping };
        let fault = |at_ms| Fault { at_ms, kind: FaultKind::Cut { zone: 0 } };
        let mut scenario = Scenario {
            ops: vec![op(10), op(50), op(60)],
            faults: vec![fault(20), fault(55)],
            ..Scenario::default()
        };
        Edit::Sooner(1, 50).apply(&mut scenario);
        assert_eq!(scenario.ops, [op(10), op(30), op(40)]);
        assert_eq!(scenario.faults, [fault(20), fault(35)]);
    }
}
