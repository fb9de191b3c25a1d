//! Events, and what goes with them and is none: what clients do that nobody hears of, and what the
//! broker logs. One line each, in order.

use super::{Report, words};
use crate::history::Event;
use crate::log::Logged;
use crate::scenario::{ClientIndex, Op};

/// Lines of the log that go with a part of a trace, at most, the last ones: more would hide the rest.
const LOG_LINES_MAX: usize = 60;

/// What is wanted of what is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    All,
    /// What goes with these events, as far as that is not too much.
    Part,
}

/// These events, those among them marked that show what is wrong, and what these clients do beside.
pub(super) fn lines(
    report: &Report,
    events: &[&Event],
    shown: &[usize],
    extent: Extent,
    matters: impl Fn(ClientIndex) -> bool,
) -> Vec<String> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Vec::new() };
    let during = match extent {
        Extent::All => 0..=u64::MAX,
        // Where no event shows it, it may show in the log.
        Extent::Part if shown.is_empty() => first.at_ms..=u64::MAX,
        Extent::Part => first.at_ms..=last.at_ms,
    };
    let line = |at_ms, who: &str, what: &str| format!("{:>7}  {at_ms:>9} ms  {who:<12} {what}", "");
    let deed = |op: &Op| {
        let what = words::deed(&op.action).filter(|_| during.contains(&op.at_ms))?;
        let who = words::name(&report.scenario, op.client);
        matters(op.client).then(|| (op.at_ms, 0, line(op.at_ms, &who, &what)))
    };
    let mark = |event: &Event| if shown.contains(&event.ordinal) { "*" } else { " " };
    let event = |it: &&Event| (it.at_ms, 1, format!("{}{}", mark(it), report.line(it)));
    let mut logged: Vec<&Logged> =
        report.log.iter().filter(|it| during.contains(&it.at_ms)).collect();
    let surplus = match extent {
        Extent::Part => logged.len().saturating_sub(LOG_LINES_MAX),
        Extent::All => 0,
    };
    logged.drain(..surplus);
    let log = |it: &Logged| (it.at_ms, 2, line(it.at_ms, "log", &it.line));
    let mut all: Vec<(u64, u8, String)> = report.scenario.ops.iter().filter_map(deed).collect();
    all.extend(events.iter().map(event));
    all.extend(logged.into_iter().map(log));
    all.sort_by_key(|(at_ms, rank, _)| (*at_ms, *rank));
    let mut lines: Vec<String> = all.into_iter().map(|(.., line)| line).collect();
    if surplus > 0 {
        lines
            .push(format!("(more of the log is left out: {surplus} lines, which `--trace` shows)"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{History, What};
    use crate::scenario::{Action, Client, Manners, Scenario};
    use crate::verdict::Run;

    /// The broker starts, and a second later all is quiet. Meanwhile the second client takes nothing,
    /// and the broker logs that often.
    fn report(log_lines: usize) -> Report {
        let mut history = History::default();
        history.note(0, None, What::BrokerStarted);
        history.note(1_000, None, What::Ended { is_quiet: true });
        let scenario = Scenario {
            clients: ["a", "b"].map(Client::named).into(),
            ops: vec![
                Op { at_ms: 0, client: 0, action: Action::Behave(Manners::default()) },
                Op { at_ms: 500, client: 1, action: Action::Pause },
                Op { at_ms: 2_000, client: 1, action: Action::Resume },
            ],
            ..Scenario::default()
        };
        let line = "INFO something".to_owned();
        let log = vec![Logged { at_ms: 600, line }; log_lines];
        let run = Run { history, ..Run::default() };
        Report { scenario, run, log, ..Report::default() }
    }

    fn told(report: &Report, extent: Extent, of: ClientIndex) -> Vec<String> {
        let events: Vec<&Event> = report.run.history.events().iter().collect();
        let lines = lines(report, &events, &[1], extent, |client| client == of);
        lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn what_is_no_event_stands_where_it_was() {
        let paused = "500 ms 1:b takes nothing from its connection from now on";
        let expected = ["0 0 ms - the broker starts", paused, "600 ms log INFO something"];
        assert_eq!(told(&report(1), Extent::Part, 1)[..3], expected);
        assert_eq!(told(&report(1), Extent::Part, 1)[3], "* 1 1000 ms - all is quiet");
        let all = told(&report(1), Extent::All, 1);
        assert_eq!(all[4], "2000 ms 1:b takes what comes again");
        assert_eq!(told(&report(0), Extent::Part, 0)[0], "0 ms 0:a behaves from now on: honestly");
    }

    #[test]
    fn a_long_log_does_not_hide_a_part_of_a_trace() {
        let part = told(&report(LOG_LINES_MAX), Extent::Part, 1);
        assert_eq!(part.len(), 3 + LOG_LINES_MAX);
        let part = told(&report(LOG_LINES_MAX + 1), Extent::Part, 1);
        assert_eq!(part.len(), 4 + LOG_LINES_MAX);
        let last = part.last().map(String::as_str);
        assert_eq!(last, Some("(more of the log is left out: 1 lines, which `--trace` shows)"));
        let all = told(&report(LOG_LINES_MAX + 1), Extent::All, 1);
        assert_eq!(all.len(), 4 + LOG_LINES_MAX + 1);
    }
}
