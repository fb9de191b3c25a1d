//! The report as a page: `page.html` filled in.
//!
//! One file without any other: it can be kept with a failure, and opened years later.

use std::collections::BTreeSet;

use askama::Template;

use super::guide::{self, Guide};
use super::timeline::Timeline;
use super::{Report, plan_yaml, words};

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    report: &'a Report,
    timeline: Timeline,
    guide: Option<&'static Guide>,
    /// To whom.
    whom: Option<String>,
    plan: Option<String>,
    scenario: String,
}

pub(super) fn page(report: &Report) -> String {
    let events = report.run.history.events();
    let first = report.violations.first();
    let relevant: BTreeSet<usize> = first
        .map(|first| report.relevant(first))
        .into_iter()
        .flat_map(|relevant| relevant.long_ago.into_iter().chain(relevant.trace))
        .map(|event| event.ordinal)
        .collect();
    let whom = first.and_then(|first| first.client);
    let page = Page {
        report,
        timeline: Timeline::new(&report.scenario, events, first, relevant),
        guide: first.map(guide::guide),
        whom: whom.map(|client| words::about(&report.scenario, client)),
        plan: report.plan.as_ref().map(plan_yaml),
        scenario: report.scenario.to_yaml(),
    };
    page.render().expect("text can always be written to memory")
}
