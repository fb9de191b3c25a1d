//! The timeline of a run, as places on a page: a lane for the broker and one for each client,
//! time going down, one row for each event.
//!
//! Rows are as far apart as events, not as time: a run is long silences and short storms. Only
//! places and words: `page.html` draws them.

use std::collections::{BTreeMap, BTreeSet};

use super::words;
use crate::history::{Event, Outcome, What};
use crate::scenario::{ClientIndex, FaultKind, Scenario};
use crate::verdict::Violation;

const ROW: f64 = 22.0;
const BROKER_X: f64 = 120.0;
/// From the last lane to the edge: room for its words.
const MARGIN: f64 = 330.0;
/// Room for what is wrong, even if there are few lanes.
const WIDTH_MIN: f64 = 1_000.0;
/// Letters in a line of what is wrong.
const LINE_LETTERS: usize = 100;

/// A letter's width, at most.
const LETTER: f64 = 8.0;
/// Letters of an event.
const WORDS_LETTERS: usize = 56;

/// The number of the lane of those who are no clients.
const NOBODY: i64 = -1;
/// From one label of a band to the next.
const LABEL_EVERY: f64 = 16.0 * ROW;

/// All that is drawn.
pub(super) struct Timeline {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) broker_x: f64,
    pub(super) lanes: Vec<Lane>,
    pub(super) bands: Vec<Band>,
    pub(super) spans: Vec<Span>,
    pub(super) arrows: Vec<Arrow>,
    pub(super) rows: Vec<Row>,
    pub(super) verdict: Option<Verdict>,
}

/// One client.
pub(super) struct Lane {
    pub(super) client: i64,
    pub(super) x: f64,
    pub(super) name: String,
    pub(super) about: String,
}

/// A time in which something was the matter, over some lanes.
pub(super) struct Band {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) client: i64,
    /// `down`, `disk`, `held`, `cut-off` or `calm`.
    pub(super) kind: &'static str,
    pub(super) words: String,
    /// What it is, said again and again on a long way down.
    pub(super) labels: Vec<Label>,
}

/// Words on a band.
pub(super) struct Label {
    pub(super) y: f64,
    pub(super) words: String,
}

/// A connection.
pub(super) struct Span {
    pub(super) client: i64,
    pub(super) x: f64,
    pub(super) from: f64,
    pub(super) to: f64,
}

/// A packet on its way.
pub(super) struct Arrow {
    pub(super) client: i64,
    pub(super) ordinal: usize,
    pub(super) from: (f64, f64),
    pub(super) to: (f64, f64),
    /// `asked`, `saw`, or `lost`.
    pub(super) kind: &'static str,
    /// Whether it carries a message.
    pub(super) is_publish: bool,
    pub(super) is_wrong: bool,
}

/// An event in words.
pub(super) struct Row {
    pub(super) client: i64,
    pub(super) ordinal: usize,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) time: String,
    /// As in the row before.
    pub(super) is_same_time: bool,
    pub(super) words: String,
    /// All of it, with who and when.
    pub(super) title: String,
    /// The event as data.
    pub(super) json: String,
    /// Whether it has to do with what is wrong.
    pub(super) is_relevant: bool,
    pub(super) is_world: bool,
    pub(super) is_publish: bool,
    pub(super) is_wrong: bool,
}

/// What is wrong, in a box below the last event that shows it.
pub(super) struct Verdict {
    pub(super) y: f64,
    pub(super) height: f64,
    pub(super) lines: Vec<(f64, String)>,
}

impl Timeline {
    /// Of a run, with the first thing that is wrong marked in it.
    pub(super) fn new(
        scenario: &Scenario,
        events: &[Event],
        violation: Option<&Violation>,
        relevant: BTreeSet<usize>,
    ) -> Timeline {
        let mut drawing = Drawing::new(scenario, events, violation, relevant);
        drawing.place_rows();
        drawing.draw_arrows();
        drawing.draw_spans();
        drawing.draw_bands();
        let clients = scenario.clients.len();
        let width = (drawing.lane_x(clients.saturating_sub(1)) + MARGIN).max(WIDTH_MIN);
        let height = drawing.bottom + ROW;
        let lanes = (0..clients).map(|client| drawing.lane(client)).collect();
        let Drawing { bands, spans, arrows, rows, verdict, .. } = drawing;
        let broker_x = BROKER_X;
        Timeline { width, height, broker_x, lanes, bands, spans, arrows, rows, verdict }
    }
}

struct Drawing<'a> {
    scenario: &'a Scenario,
    events: &'a [Event],
    violation: Option<&'a Violation>,
    /// The ordinals of events that have to do with it.
    relevant: BTreeSet<usize>,
    /// For what was asked, if it arrived: the event that says so.
    arrivals: BTreeMap<usize, &'a Event>,
    /// From lane to lane.
    step: f64,
    /// Where each event is.
    ys: Vec<f64>,
    bottom: f64,
    bands: Vec<Band>,
    spans: Vec<Span>,
    arrows: Vec<Arrow>,
    rows: Vec<Row>,
    verdict: Option<Verdict>,
}

impl<'a> Drawing<'a> {
    fn new(
        scenario: &'a Scenario,
        events: &'a [Event],
        violation: Option<&'a Violation>,
        relevant: BTreeSet<usize>,
    ) -> Drawing<'a> {
        let arrived = |event: &'a Event| match event.what {
            What::Arrived { asked: Some(asked), .. } => Some((asked, event)),
            _ => None,
        };
        let step = (1_300.0 / (scenario.clients.len() + 1) as f64).clamp(58.0, 260.0);
        Drawing {
            scenario,
            events,
            violation,
            relevant,
            arrivals: events.iter().filter_map(arrived).collect(),
            step,
            ys: Vec::new(),
            bottom: ROW,
            bands: Vec::new(),
            spans: Vec::new(),
            arrows: Vec::new(),
            rows: Vec::new(),
            verdict: None,
        }
    }

    fn lane_x(&self, client: ClientIndex) -> f64 {
        BROKER_X + self.step * (client + 1) as f64
    }

    fn lane(&self, index: ClientIndex) -> Lane {
        let name = words::name(self.scenario, index);
        let about = words::about(self.scenario, index);
        let has_room = name.len() as f64 * LETTER < self.step;
        let name = if has_room { name } else { index.to_string() };
        Lane { client: index as i64, x: self.lane_x(index), name, about }
    }

    fn is_wrong(&self, event: &Event) -> bool {
        self.violation.is_some_and(|violation| violation.events.contains(&event.ordinal))
    }

    /// Gives every event its place, and most of them a row.
    fn place_rows(&mut self) {
        let last_wrong = self.violation.and_then(|v| v.events.iter().max().copied());
        let mut before = None;
        for event in self.events {
            if !has_row(event) {
                self.ys.push(self.bottom - ROW / 2.0);
                continue;
            }
            let is_new = before.replace(event.at_ms) != Some(event.at_ms);
            let row = self.row(event, is_new);
            self.ys.push(row.y);
            self.rows.push(row);
            self.bottom += ROW;
            if last_wrong == Some(event.ordinal) {
                self.place_verdict();
            }
        }
        if self.verdict.is_none() {
            self.place_verdict(); // it names no event: it is about the end
        }
    }

    fn row(&self, event: &Event, is_new: bool) -> Row {
        let said = words::what(&event.what);
        let said = said.trim_start_matches("-> ").trim_start_matches("<- ");
        let mut title = words::line(self.scenario, event);
        if let Some(arrival) = self.arrivals.get(&event.ordinal) {
            title += &format!(", and the broker had it at {} ms", arrival.at_ms);
        }
        Row {
            client: lane_of(event),
            ordinal: event.ordinal,
            x: event.client.map_or(BROKER_X, |client| self.lane_x(client)),
            y: self.bottom,
            time: seconds(event.at_ms),
            is_same_time: !is_new,
            words: shortened(said),
            title,
            json: serde_json::to_string(event).unwrap_or_default(),
            is_relevant: self.relevant.contains(&event.ordinal),
            is_world: event.client.is_none(),
            is_publish: super::message_of(event).is_some(),
            is_wrong: self.is_wrong(event),
        }
    }

    fn place_verdict(&mut self) {
        let Some(violation) = self.violation else { return };
        let top = self.bottom - ROW / 2.0;
        let mut y = top + ROW;
        let mut lines = Vec::new();
        let promise = format!("{:?}: {}", violation.promise, violation.promise.sentence());
        for line in wrapped(&promise).into_iter().chain(wrapped(&violation.words)) {
            lines.push((y, line));
            y += ROW;
        }
        self.verdict = Some(Verdict { y: top, height: y - top - ROW / 3.0, lines });
        self.bottom = y + ROW / 2.0;
    }

    fn draw_arrows(&mut self) {
        for event in self.events {
            let Some(client) = event.client else { continue };
            let (x, y) = (self.lane_x(client), self.ys[event.ordinal]);
            let (from, to, kind) = match &event.what {
                What::Asked { .. } => match self.arrivals.get(&event.ordinal) {
                    Some(arrival) => ((x, y), (BROKER_X, self.ys[arrival.ordinal]), "asked"),
                    // The network level does not know what arrived.
                    None if self.arrivals.is_empty() => {
                        ((x, y), (BROKER_X, y + ROW * 0.4), "asked")
                    }
                    None => ((x, y), (x - self.step * 0.4, y + ROW * 0.3), "lost"),
                },
                What::Saw { .. } => ((BROKER_X, y - ROW * 0.4), (x, y), "saw"),
                _ => continue,
            };
            let is_publish = super::message_of(event).is_some();
            let is_wrong = self.is_wrong(event);
            let (client, ordinal) = (lane_of(event), event.ordinal);
            self.arrows.push(Arrow { client, ordinal, from, to, kind, is_publish, is_wrong });
        }
    }

    fn draw_spans(&mut self) {
        let mut open: BTreeMap<ClientIndex, f64> = BTreeMap::new();
        for event in self.events {
            let Some(client) = event.client else { continue };
            let (x, y) = (self.lane_x(client), self.ys[event.ordinal]);
            let lane = lane_of(event);
            match event.what {
                What::Opened { .. } => {
                    let from = open.insert(client, y);
                    self.spans.extend(from.map(|from| Span { client: lane, x, from, to: y }));
                }
                What::Closed { .. } | What::HalfOpened => {
                    let from = open.remove(&client);
                    self.spans.extend(from.map(|from| Span { client: lane, x, from, to: y }));
                }
                _ => {}
            }
        }
        for (client, from) in open {
            let (x, to) = (self.lane_x(client), self.bottom);
            self.spans.push(Span { client: client as i64, x, from, to });
        }
    }

    fn draw_bands(&mut self) {
        let mut down = None;
        let mut zones: BTreeMap<usize, (f64, &'static str, String)> = BTreeMap::new();
        // Where troubles of the disk began, and until when they last.
        let mut troubles: Vec<(f64, u64, String)> = Vec::new();
        for event in self.events {
            let y = self.ys[event.ordinal];
            for (from, _, words) in troubles.extract_if(.., |(_, to_ms, _)| *to_ms <= event.at_ms) {
                self.band_at_broker(from, y, words);
            }
            match &event.what {
                What::BrokerCrashed | What::BrokerStopped => down = down.or(Some(y)),
                What::BrokerStarted => {
                    let from = down.take();
                    from.into_iter().for_each(|from| self.band_over_all(from, y, "down"));
                }
                What::Fault { kind: kind @ FaultKind::Hold { zone, .. } } => {
                    zones.insert(*zone, (y, "held", words::fault(kind)));
                }
                What::Fault { kind: kind @ FaultKind::Partition { zone, .. } } => {
                    zones.insert(*zone, (y, "cut-off", words::fault(kind)));
                }
                What::Fault { kind: kind @ FaultKind::Disk { for_ms, .. } } => {
                    troubles.push((y, event.at_ms + for_ms, words::fault(kind)));
                }
                What::Healed { zone } => {
                    if let Some(fault) = zones.remove(zone) {
                        self.band_over_zone(*zone, fault, y);
                    }
                }
                What::LivenessBegan => self.band_over_all(y, self.bottom, "calm"),
                _ => {}
            }
        }
        let bottom = self.bottom;
        down.into_iter().for_each(|from| self.band_over_all(from, bottom, "down"));
        for (zone, fault) in zones {
            self.band_over_zone(zone, fault, bottom);
        }
        for (from, _, words) in troubles {
            self.band_at_broker(from, bottom, words);
        }
    }

    /// Beside the broker's lane: its disk is in trouble.
    fn band_at_broker(&mut self, from: f64, to: f64, words: String) {
        self.band(NOBODY, (BROKER_X - 24.0, 24.0), (from, to), "disk", words);
    }

    fn band_over_all(&mut self, from: f64, to: f64, kind: &'static str) {
        let width = self.step * (self.scenario.clients.len() as f64 + 0.5) + MARGIN;
        let words = if kind == "down" { "the broker is down" } else { "faults are over" };
        self.band(NOBODY, (BROKER_X - 24.0, width), (from, to), kind, words.to_owned());
    }

    fn band_over_zone(&mut self, zone: usize, fault: (f64, &'static str, String), to: f64) {
        let (from, kind, words) = fault;
        let clients = self.scenario.clients.iter().enumerate();
        for (client, _) in clients.filter(|(_, client)| client.zone == zone) {
            let x = self.lane_x(client) - 12.0;
            self.band(client as i64, (x, 24.0), (from, to), kind, words.clone());
        }
    }

    fn band(
        &mut self,
        client: i64,
        (x, width): (f64, f64),
        (from, to): (f64, f64),
        kind: &'static str,
        words: String,
    ) {
        let (height, labels) = (to - from, labels(from, to, &words));
        self.bands.push(Band { client, x, y: from, width, height, kind, words, labels });
    }
}

fn lane_of(event: &Event) -> i64 {
    event.client.and_then(|client| i64::try_from(client).ok()).unwrap_or(NOBODY)
}

/// Words on a band, as often as there is room for them.
fn labels(from: f64, to: f64, words: &str) -> Vec<Label> {
    let length = words.chars().count() as f64 * 6.5;
    let mut labels = Vec::new();
    let mut y = from + 6.0;
    while y + length < to {
        labels.push(Label { y, words: words.to_owned() });
        y += length.max(LABEL_EVERY);
    }
    labels
}

/// Whether an event has a row: what only says what is known anyway has none.
fn has_row(event: &Event) -> bool {
    !matches!(
        event.what,
        What::Arrived { .. }
            | What::Done { .. }
            | What::Unread { .. }
            | What::Published { outcome: Outcome::Sent | Outcome::Acked { .. }, .. }
    )
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1_000, ms % 1_000)
}

/// The beginning, if it is too long for the page's edge.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(WORDS_LETTERS) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}

/// Text in lines of bounded length.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + word.len() < LINE_LETTERS {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survival::Trouble;

    #[test]
    fn troubles_of_the_disk_are_drawn_as_long_as_they_last() {
        let event = |at_ms, ordinal, what| Event { at_ms, ordinal, client: None, what };
        let trouble = |trouble, for_ms| What::Fault { kind: FaultKind::Disk { trouble, for_ms } };
        let events = [
            event(10, 0, trouble(Trouble::Full, 20)),
            event(15, 1, trouble(Trouble::Failing, 500)),
            event(20, 2, What::BrokerStarted),
            event(40, 3, What::BrokerStarted),
        ];
        let timeline = Timeline::new(&Scenario::default(), &events, None, BTreeSet::new());
        let drawn: Vec<_> = timeline.bands.iter().map(|band| (band.kind, band.height)).collect();
        let to_the_end = timeline.height - ROW - timeline.rows[1].y;
        assert_eq!(drawn, [("disk", 3.0 * ROW), ("disk", to_the_end)]);
    }

    #[test]
    fn long_words_are_wrapped_and_none_is_lost() {
        let text = "word ".repeat(60);
        let lines = wrapped(&text);
        assert!(lines.len() == 3 && lines.iter().all(|line| line.len() <= LINE_LETTERS));
        assert_eq!(lines.join(" "), text.trim());
    }
}
