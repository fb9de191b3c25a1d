//! What each session was subscribed to, and when: for every filter the list of its changes, each
//! between two events.
//!
//! So to "was it subscribed when that was published?" there may be several answers.

use super::facts::{Facts, Ordinal, Span, Wish};
use super::sessions::{Session, Sessions};
use super::topic;
use crate::scenario::{ProtocolVersion, Qos, Subscription};

/// A filter that somebody asked for.
#[derive(Clone, Debug)]
pub(super) struct Filter<'a> {
    pub(super) text: &'a str,
    pub(super) is_shared: bool,
}

/// A subscription as it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) qos: Qos,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    pub(super) retain_handling: u8,
    pub(super) id: Option<u32>,
}

/// A change of one session's subscription to one filter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) filter: usize,
    pub(super) span: Span,
    /// None: there is none from here on.
    pub(super) to: Option<Granted>,
    /// The ordinal of the request.
    pub(super) asked: Ordinal,
}

/// The changes of one session, by filter and then in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    all: Vec<Change>,
    /// For each filter: where its changes begin and end.
    filters: Vec<(usize, usize, usize)>,
}

/// All subscriptions of a run.
#[derive(Debug)]
pub(super) struct Subscriptions<'a> {
    pub(super) filters: Vec<Filter<'a>>,
    /// By session.
    pub(super) of: Vec<Changes>,
    /// By topic and filter.
    matches: Vec<bool>,
}

impl<'a> Subscriptions<'a> {
    pub(super) fn of(facts: &Facts<'a>, sessions: &Sessions, topics: &[&str]) -> Self {
        let mut subscriptions = Subscriptions {
            filters: Vec::new(),
            of: Vec::with_capacity(sessions.all.len()),
            matches: Vec::new(),
        };
        for session in &sessions.all {
            let changes = subscriptions.changes(facts, session);
            subscriptions.of.push(changes);
        }
        subscriptions.matches = topics
            .iter()
            .flat_map(|name| {
                subscriptions.filters.iter().map(|filter| topic::matches(filter.text, name))
            })
            .collect();
        subscriptions
    }

    /// The filters of a session that match the topic at that place, each with its changes.
    pub(super) fn matching(
        &self,
        session: usize,
        topic: usize,
    ) -> impl Iterator<Item = (&Filter<'a>, &[Change])> {
        let changes = &self.of[session];
        let row = &self.matches[topic * self.filters.len()..][..self.filters.len()];
        changes
            .filters
            .iter()
            .filter(|(filter, ..)| row[*filter])
            .map(|&(filter, from, to)| (&self.filters[filter], &changes.all[from..to]))
    }

    /// The shared filters that match the topic at that place.
    pub(super) fn groups(&self, topic: usize) -> impl Iterator<Item = usize> {
        let row = &self.matches[topic * self.filters.len()..][..self.filters.len()];
        (0..self.filters.len()).filter(|&filter| row[filter] && self.filters[filter].is_shared)
    }

    /// The changes of the filter at that place, of all sessions that have any.
    pub(super) fn members(&self, filter: usize) -> impl Iterator<Item = (usize, &[Change])> {
        self.of.iter().enumerate().filter_map(move |(session, changes)| {
            let (_, from, to) = *changes.filters.iter().find(|(known, ..)| *known == filter)?;
            Some((session, &changes.all[from..to]))
        })
    }

    /// The filters of a session, each with its changes.
    pub(super) fn all_of(&self, session: usize) -> impl Iterator<Item = (&'a str, &[Change])> {
        let changes = &self.of[session];
        changes
            .filters
            .iter()
            .map(|&(filter, from, to)| (self.filters[filter].text, &changes.all[from..to]))
    }

    /// The changes of one filter of a session.
    pub(super) fn changes_to(&self, session: usize, text: &str) -> &[Change] {
        self.all_of(session).find(|(filter, _)| *filter == text).map_or(&[], |(_, changes)| changes)
    }

    fn filter(&mut self, text: &'a str) -> usize {
        if let Some(known) = self.filters.iter().position(|filter| filter.text == text) {
            return known;
        }
        self.filters.push(Filter { text, is_shared: topic::shared(text).is_some() });
        self.filters.len() - 1
    }

    fn changes(&mut self, facts: &Facts<'a>, session: &Session) -> Changes {
        let mut all: Vec<Change> = Vec::new();
        let mut doubts = session.doubts.iter().peekable();
        for &on in &session.connections {
            let connection = &facts.connections[on];
            let entry = connection.entry.map_or(connection.opened, |entry| entry.to);
            while let Some(doubt) = doubts.next_if(|doubt| doubt.from <= entry) {
                doubt_all(&mut all, *doubt);
            }
            self.read(facts, on, &mut all);
        }
        doubts.for_each(|doubt| doubt_all(&mut all, *doubt));
        all.sort_by_key(|change| change.filter);
        let mut filters = Vec::new();
        let mut from = 0;
        for same in all.chunk_by(|a, b| a.filter == b.filter) {
            filters.push((same[0].filter, from, from + same.len()));
            from += same.len();
        }
        Changes { all, filters }
    }

    fn read(&mut self, facts: &Facts<'a>, on: usize, all: &mut Vec<Change>) {
        let connection = &facts.connections[on];
        let version = facts.scenario.clients[connection.client].version;
        let max = facts.scenario.broker.max_qos.unwrap_or(Qos::ExactlyOnce);
        let broker = &facts.scenario.broker;
        let may_be_refused = broker.subscriptions.is_some()
            || broker.total_bytes.is_some()
            || broker.topic_bytes.is_some()
            || broker.topic_levels.is_some()
            || !facts.policies.is_none();
        for request in &connection.requests {
            let Some(span) = request.span else { continue };
            let asked = request.asked;
            match request.wish {
                Wish::Subscribe { subscription_id, filters, .. } => {
                    for (place, subscription) in filters.iter().enumerate() {
                        let is_denied =
                            request.reasons.get(place).is_some_and(|reason| *reason >= 0x80);
                        if is_denied || !topic::is_filter(&subscription.filter) {
                            continue;
                        }
                        // Without an answer it was handled, but perhaps refused.
                        let is_sure = match request.answer {
                            Some(_) => span.is_sure,
                            None => span.is_sure && facts.is_exact && !may_be_refused,
                        };
                        let span = Span { is_sure, ..span };
                        let id = subscription_id.filter(|_| version.is_v5());
                        let to = Some(granted(subscription, id, max, version));
                        let filter = self.filter(&subscription.filter);
                        all.push(Change { filter, span, to, asked });
                    }
                }
                Wish::Unsubscribe { filters, .. } => {
                    for text in filters {
                        let filter = self.filter(text);
                        all.push(Change { filter, span, to: None, asked });
                    }
                }
                _ => {}
            }
        }
    }
}

fn granted(asked: &Subscription, id: Option<u32>, max: Qos, version: ProtocolVersion) -> Granted {
    let is_v5 = version.is_v5();
    Granted {
        qos: asked.qos.min(max),
        no_local: is_v5 && asked.no_local,
        retain_as_published: is_v5 && asked.retain_as_published,
        retain_handling: if is_v5 { asked.retain_handling } else { 0 },
        id,
    }
}

/// The session may have been another from there on: every subscription may be gone.
fn doubt_all(all: &mut Vec<Change>, doubt: Span) {
    let mut filters: Vec<usize> = all.iter().map(|change| change.filter).collect();
    filters.sort_unstable();
    filters.dedup();
    let gone = |filter| Change { filter, span: doubt, to: None, asked: doubt.from };
    all.extend(filters.into_iter().map(gone));
}

/// What a subscription may have been during a span, newest first: at least one.
pub(super) fn states(changes: &[Change], during: Span) -> impl Iterator<Item = Option<Granted>> {
    let mut is_known = false;
    let mut rest = changes.iter().rev().filter(move |change| change.span.from <= during.to);
    std::iter::from_fn(move || {
        if is_known {
            return None;
        }
        let Some(change) = rest.next() else {
            is_known = true;
            return Some(None);
        };
        is_known = change.span.is_sure && change.span.to < during.from;
        Some(change.to)
    })
}

/// Whether there was a subscription whichever way it went.
pub(super) fn is_sure(changes: &[Change], during: Span) -> bool {
    states(changes, during).all(|state| state.is_some())
}

/// Whether there may have been one.
pub(super) fn may_be(changes: &[Change], during: Span) -> bool {
    states(changes, during).any(|state| state.is_some())
}
