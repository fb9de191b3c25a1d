//! The report as a page: `page.html` filled in.
//!
//! One file without any other: it can be kept with a failure, and opened years later.

use askama::Template;

use super::timeline::Timeline;
use super::{Report, plan_yaml};

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    report: &'a Report,
    timeline: Timeline,
    plan: Option<String>,
    scenario: String,
}

pub(super) fn page(report: &Report) -> String {
    let events = report.run.history.events();
    let page = Page {
        report,
        timeline: Timeline::new(&report.scenario, events, report.violations.first()),
        plan: report.plan.as_ref().map(plan_yaml),
        scenario: report.scenario.to_yaml(),
    };
    page.render().expect("text can always be written to memory")
}
