//! Which topics a filter matches, as MQTT 5.0 says it in section 4.7, and nothing of how the
//! broker finds out.
//!
//! Plain text in, yes or no out. Names and filters are short here: no tree, no cache.

/// The group and the filter of `$share/group/filter`; none if the filter is not shared.
pub(super) fn shared(filter: &str) -> Option<(&str, &str)> {
    filter.strip_prefix("$share/")?.split_once('/')
}

/// Whether it is a filter: wildcards stand alone in their level, `#` in the last one; a shared
/// one has a group without wildcards and a filter behind it.
pub(super) fn is_filter(filter: &str) -> bool {
    if filter.starts_with("$share/") {
        return shared(filter).is_some_and(|(group, rest)| {
            !group.is_empty() && !group.contains(['+', '#']) && is_plain_filter(rest)
        });
    }
    is_plain_filter(filter)
}

fn is_plain_filter(filter: &str) -> bool {
    let last = filter.split('/').count() - 1;
    let is_level = |(place, level): (usize, &str)| match level {
        "#" => place == last,
        level => level == "+" || !level.contains(['+', '#']),
    };
    !filter.is_empty() && !filter.contains('\0') && filter.split('/').enumerate().all(is_level)
}

/// Whether a filter matches a topic; of a shared one, what is behind its group.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    let filter = shared(filter).map_or(filter, |(_, behind)| behind);
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Whether only the broker speaks there.
pub(super) fn is_the_brokers(topic: &str) -> bool {
    topic == "$SYS" || topic.starts_with("$SYS/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_the_standard_says() {
        let yes = [
            ("a/b", "a/b"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("#", "a//b"),
            ("+", "a"),
            ("+/+", "/a"),
            ("/+", "/a"),
            ("a/+/c", "a//c"),
            ("$x/#", "$x/a"),
            ("$share/g/a/+", "a/b"),
            ("sport/+", "sport/"),
        ];
        let no = [
            ("a/b", "a"),
            ("a", "a/b"),
            ("a/+", "a"),
            ("+", "/a"),
            ("#", "$x/a"),
            ("+/a", "$x/a"),
            ("a/+", "a/b/c"),
            ("$share/g/#", "$x/a"),
            ("A", "a"),
        ];
        for (filter, topic) in yes {
            assert!(matches(filter, topic), "{filter} matches {topic}");
        }
        for (filter, topic) in no {
            assert!(!matches(filter, topic), "{filter} does not match {topic}");
        }
    }

    #[test]
    fn wildcards_stand_alone() {
        for filter in
            ["a", "/", "#", "+/#", "a/+/b", "$share/g/#", "$SYS/#", "$share/g//", "$share"]
        {
            assert!(is_filter(filter), "{filter}");
        }
        for filter in ["", "a#", "a/#/b", "+a", "$share/g", "$share//a", "$share/+/a"] {
            assert!(!is_filter(filter), "{filter}");
        }
    }
}
