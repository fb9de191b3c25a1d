//! The topics and filters of a plan.

use std::sync::Arc;

use super::Generator;
use crate::dice::Dice;

/// What is no filter.
const INVALID: [&str; 13] = [
    "",
    "a/#/b",
    "a+",
    "+a",
    "a#",
    "#/",
    "$share/",
    "$share/g",
    "$share/g/",
    "$share//a",
    "$share/+/a",
    "$share/g#/a",
    "$share/g/a#",
];
/// Filters that match what the broker says of itself, and some that only look like it.
const SYS: [&str; 8] = [
    "$SYS/#",
    "$SYS/broker/version",
    "$SYS/+/clients/+",
    "$share/g/$SYS/#",
    "+/broker/#",
    "+/broker/version",
    "+/#",
    "$SYS",
];

const SHALLOW: [&str; 14] =
    ["a", "a/b", "b", "a/b/c", "a/c", "b/c", "/a", "a/", "c", "a//b", "a.b/c", "a-", "//", "a/$b"];

impl Generator<'_> {
    /// Topics beside others with more levels, in the order of characters: before what is below
    /// those, as '!' is before '/', and behind it.
    pub(super) fn add_neighbours(&mut self, dice: &mut Dice) {
        for place in 0..self.topics.len() {
            let Some((before, rest)) = self.topics[place].split_once('/') else { continue };
            let (more, rest) = (dice.one_of(&["!", "0", "1", "~"]), dice.one_of(&["", "", rest]));
            let slash = if rest.is_empty() { "" } else { "/" };
            self.topics.push(format!("{before}{more}{slash}{rest}").into());
        }
    }

    pub(super) fn topic(&mut self) -> Arc<str> {
        if self.dice.chance(self.plan.deep_topics) {
            let levels = self.dice.between(4, 12);
            let is_hollow = self.words.chance(300);
            let level = |level| if is_hollow { "/".to_owned() } else { format!("/{level}") };
            let deep: String = (0..levels).map(level).collect();
            return Arc::from(format!("d{deep}"));
        }
        if self.dice.chance(self.plan.sys_topics) {
            return self.pick(&["$SYS/broker/version", "$SYS/a", "$SYS"]).into();
        }
        let shallow = self.pick(&SHALLOW);
        if self.dice.chance(self.plan.dollar_topics) {
            return Arc::from(format!("$x/{shallow}"));
        }
        Arc::from(shallow)
    }

    pub(super) fn known_topic(&mut self) -> Arc<str> {
        let place = self.index(self.topics.len());
        Arc::clone(&self.topics[place])
    }

    /// One that was asked for before, by whomever; now and then a new one.
    pub(super) fn known_filter(&mut self) -> Arc<str> {
        if self.filters.is_empty() || self.dice.chance(50) {
            return self.filter();
        }
        let place = self.index(self.filters.len());
        Arc::clone(&self.filters[place])
    }

    pub(super) fn filter(&mut self) -> Arc<str> {
        let mut filter = self.known_topic().to_string();
        if self.dice.chance(self.plan.invalid_filters) {
            let filter = Arc::from(self.pick(&INVALID));
            self.filters.push(Arc::clone(&filter));
            return filter;
        }
        if self.dice.chance(self.plan.sys_filters) {
            return Arc::from(self.pick(&SYS));
        }
        if self.dice.chance(self.plan.wildcards) {
            filter = self.wild(&filter);
        }
        if self.dice.chance(self.plan.shared_filters) {
            let group = self.pick(&["g", "h"]);
            filter = format!("$share/{group}/{filter}");
        }
        let filter: Arc<str> = Arc::from(filter);
        self.filters.push(Arc::clone(&filter));
        filter
    }

    /// A filter with wildcards that matches the topic, mostly.
    fn wild(&mut self, topic: &str) -> String {
        let mut levels: Vec<&str> = topic.split('/').collect();
        let place = self.index(levels.len());
        match self.dice.below(5) {
            0 => return "#".to_owned(),
            1 => levels.truncate(place + 1),
            2 => levels.truncate(place),
            3 => levels[place] = "+",
            _ => levels.fill("+"),
        }
        let is_open = levels.len() < topic.split('/').count() || self.dice.chance(350);
        if is_open {
            levels.push("#");
        }
        levels.join("/")
    }
}
