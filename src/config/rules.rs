//! The root key `rules`: ordered rules of who may do what, for what lists of topics cannot say.
//!
//! Only reading: `access/rules.rs` is what they mean.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Authorisation;
use super::problem::Report;
use super::section::{Entry, Section};
use super::subnet::unmapped;
use super::topics::filter;
use super::yaml::Kind;
use crate::access::{Action, Origin, Pattern, Rule, Rules, Who};

/// Reads the key, if it is there.
pub(super) fn read(top: &mut Section<'_>, report: &mut Report) -> Option<Authorisation> {
    let entry = top.entry("rules", report)?;
    let items = entry.list(report)?;
    if items.is_empty() {
        let cause = "there is no rule, so nobody may do anything";
        report.error(entry.spot(), cause, "write `- allow: all`, or remove the key");
    }
    let rules: Vec<Rule> = items.iter().filter_map(|item| rule(item, report)).collect();
    let words = "rules: no rule means this, so it is denied";
    let end = Origin::at(&report.source(), entry.at.line, words);
    Some(Authorisation::Rules(Rules { rules, end }))
}

fn rule(item: &Entry<'_>, report: &mut Report) -> Option<Rule> {
    let mut section = item.section(report)?;
    let (allow, deny) = (section.value("allow", report), section.value("deny", report));
    let (is_allowed, actions) = match (&allow, &deny) {
        (Some(entry), None) => (true, entry),
        (None, Some(entry)) => (false, entry),
        _ => {
            let cause = "a rule either allows or denies";
            let mend = "write `allow: ACTIONS` or `deny: ACTIONS`, of publish, subscribe, receive \
                        and all";
            report.error(item.spot(), cause, mend);
            return None;
        }
    };
    let actions = words(actions, "an action", report);
    let actions: Vec<Action> = actions.iter().flat_map(|word| action(word, report)).collect();
    let origin = origin(item, is_allowed, &actions, report);
    let rule = Rule {
        is_allowed,
        actions,
        users: who(&mut section, report),
        client_ids: names(&mut section, "client-id", "a client id", report),
        addresses: addresses(&mut section, report),
        filters: filters(&mut section, report),
        origin,
    };
    section.finish_strictly(report);
    Some(rule)
}

fn origin(item: &Entry<'_>, is_allowed: bool, actions: &[Action], report: &Report) -> Origin {
    let verb = if is_allowed { "allow" } else { "deny" };
    let mut actions: Vec<&str> = actions.iter().map(|action| action.name()).collect();
    if actions.len() == Action::ALL.len() {
        actions = vec!["all"];
    }
    let words = format!("{}: {verb} {}", item.path, actions.join(", "));
    Origin::at(&report.source(), item.at.line, words)
}

/// One word, or a list of them.
fn words<'n>(entry: &Entry<'n>, expected: &str, report: &mut Report) -> Vec<Entry<'n>> {
    let items = match &entry.node.kind {
        Kind::List(_) => entry.list(report).unwrap_or_default(),
        _ => vec![entry.clone()],
    };
    if items.is_empty() {
        report.error(entry.spot(), format!("expected {expected}, found none"), "name one");
    }
    let is_word = |item: &Entry<'n>| {
        let is_word = item.word().is_some_and(|_| !item.is_placeholder());
        if !is_word {
            item.unexpected(
                expected,
                "write one, in quotes if it looks like anything else",
                report,
            );
        }
        is_word
    };
    items.into_iter().filter(is_word).collect()
}

fn action(item: &Entry<'_>, report: &mut Report) -> Vec<Action> {
    let word = item.word().unwrap_or_default();
    if word == "all" {
        return Action::ALL.to_vec();
    }
    let found = Action::ALL.into_iter().find(|action| action.name() == word);
    if found.is_none() {
        item.unexpected("publish, subscribe, receive or all", "write one of these", report);
    }
    found.into_iter().collect()
}

fn names(
    section: &mut Section<'_>,
    key: &'static str,
    expected: &str,
    report: &mut Report,
) -> Option<Vec<Box<str>>> {
    let entry = given(section, key, report)?;
    let words = words(&entry, expected, report);
    Some(words.iter().filter_map(Entry::word).map(Box::from).collect())
}

/// A key that narrows a rule: null would leave the rule as wide as it is without.
fn given<'n>(
    section: &mut Section<'n>,
    key: &'static str,
    report: &mut Report,
) -> Option<Entry<'n>> {
    let mend = "write what the rule is for, or remove the key to mean everything";
    section.given(key, ("nothing is given", mend), report)
}

fn who(section: &mut Section<'_>, report: &mut Report) -> Who {
    let users = names(section, "user", "a user name", report);
    let anonymous = given(section, "anonymous", report);
    match (users, anonymous) {
        (None, None) => Who::Everybody,
        (Some(users), None) => Who::Users(users),
        (None, Some(entry)) => match entry.boolean(report) {
            Some(false) => Who::Named,
            _ => Who::Anonymous,
        },
        (Some(_), Some(entry)) => {
            let cause = "a rule is either for named users or says whether a client has a name";
            report.error(entry.spot(), cause, "write two rules, or remove one of the keys");
            Who::Everybody
        }
    }
}

fn addresses(section: &mut Section<'_>, report: &mut Report) -> Option<Vec<IpNet>> {
    let entry = given(section, "address", report)?;
    let items = words(&entry, "an address", report);
    let read = |item: &Entry<'_>| {
        let network = network_of(item.word()?);
        if network.is_none() {
            let mend = "write it like 10.0.0.0/8, 192.168.1.7 or fd00::/8";
            item.unexpected("an address or a network", mend, report);
        }
        network
    };
    Some(items.iter().filter_map(read).collect())
}

/// `10.0.0.0/8`, or one address.
fn network_of(text: &str) -> Option<IpNet> {
    let one = || text.parse().ok().map(|address: IpAddr| IpNet::from(address.to_canonical()));
    let network = text.parse().ok().or_else(one)?;
    match unmapped(network.network(), network.prefix_len()) {
        Some((address, bits)) => IpNet::new(address, bits).ok(),
        None => Some(network),
    }
}

fn filters(section: &mut Section<'_>, report: &mut Report) -> Option<Vec<Pattern>> {
    let entry = given(section, "filters", report)?;
    let items = words(&entry, "a topic filter", report);
    Some(items.iter().filter_map(|item| filter(item, Pattern::with_names, report)).collect())
}

#[cfg(test)]
mod tests {
    use crate::access::{Action, Authorise, Identity, Question};
    use crate::config::Config;
    use crate::config::tests::{assert_problems, load};

    const HEAD: &str =
        "listeners: {default: {bind: ':1883'}}\nauth: {plugins: [auth_anonymous]}\nrules:\n";

    /// `USER CLIENT-ID ADDRESS ACTION TOPIC`, with `-` for none.
    fn explain(config: &Config, asked: &str) -> String {
        let words: Vec<&str> = asked.split(' ').collect();
        let given = |word: &str| (word != "-").then(|| word.to_owned());
        let identity = Identity {
            user: given(words[0]).map(Into::into),
            address: given(words[2]).map(|text| text.parse().expect("an address")),
            ..Identity::default()
        };
        let action = Action::ALL.into_iter().find(|action| action.name() == words[3]);
        let action = action.expect("an action");
        let question =
            Question { identity: &identity, client_id: words[1], action, topic: words[4] };
        let policy = config.policy();
        let decision = policy.decide(&question);
        let line = decision.rule.place.as_ref().map_or(0, |(_, line)| *line);
        format!("{} {line}", if decision.is_allowed { "allow" } else { "deny" })
    }

    #[test]
    fn the_first_rule_that_is_meant_decides() {
        let config = load(&format!(
            "{HEAD}- deny: [publish, subscribe]\n  filters: secret/#\n\
             - allow: all\n  user: [root, 0]\n  address: [10.0.0.0/8, '::1']\n\
             - allow: [publish, subscribe]\n  anonymous: false\n  filters: [u/%u/#, c/%c]\n\
             - {{deny: receive, anonymous: true, filters: u/#}}\n\
             - {{allow: receive, client-id: [one, two]}}\n\
             - {{allow: receive, address: '::ffff:12.0.0.0/104'}}\n"
        ));
        for (asked, want) in [
            ("root c 10.1.2.3 publish secret/x", "deny 4"),
            ("root c 10.1.2.3 subscribe #", "deny 4"),
            ("root c 10.1.2.3 subscribe secret/x/y", "deny 4"),
            ("root c 10.1.2.3 subscribe +/y", "deny 4"),
            ("root c 10.1.2.3 subscribe a/#", "allow 6"),
            ("root c ::ffff:10.1.2.3 publish a", "allow 6"),
            ("0 c ::1 receive secret/x", "allow 6"),
            ("root c 11.1.2.3 publish a", "deny 3"),
            ("root c - publish a", "deny 3"),
            ("bob c - publish u/bob/x", "allow 9"),
            ("bob c - subscribe u/bob/#", "allow 9"),
            ("bob c - subscribe u/+/#", "deny 3"),
            ("+ c - subscribe u/+/#", "deny 3"),
            ("+ c - publish u/+/x", "deny 3"),
            ("bob dev - publish c/dev", "allow 9"),
            ("- dev - publish c/dev", "deny 3"),
            ("- one - receive u/x", "deny 12"),
            ("- one - receive v", "allow 13"),
            ("- three - receive v", "deny 3"),
            ("- three 12.9.9.9 receive v", "allow 14"),
            ("- three 13.9.9.9 receive v", "deny 3"),
        ] {
            assert_eq!(explain(&config, asked), want, "{asked}");
        }
        let again = load(&config.to_yaml());
        assert_eq!(again.to_yaml(), config.to_yaml());
    }

    #[test]
    fn an_end_that_allows_everything_asks_nothing() {
        let open = load(&format!(
            "{HEAD}- {{allow: receive}}\n- {{deny: publish, user: a}}\n- allow: all"
        ));
        let policy = open.policy();
        assert!(policy.may_deny(Action::Publish) && !policy.may_deny(Action::Receive));
        assert!(load(&format!("{HEAD}- allow: all\n")).policy().into_authoriser().is_none());
    }

    #[test]
    fn a_rule_that_is_not_understood_is_refused() {
        for (rule, want) in [
            ("{allow: all, deny: all}", "rules[0]: a rule either allows or denies"),
            ("{user: a}", "rules[0]: a rule either allows or denies"),
            ("allow", "rules[0]: expected a section"),
            ("{allow: everything}", "rules[0].allow: expected publish, subscribe, receive or all"),
            ("{allow: []}", "rules[0].allow: expected an action, found none"),
            ("{allow: all, user: }", "rules[0].user: nothing is given"),
            ("{allow: all, user: ...}", "rules[0].user: expected a user name, found `...`"),
            ("{allow: all, user: a, anonymous: no}", "rules[0].anonymous: a rule is either for"),
            ("{allow: all, address: 10.0.0.300}", "rules[0].address: expected an address or a"),
            ("{allow: all, filters: [a/%u-x]}", "rules[0].filters[0]: `a/%u-x` is no topic filter"),
            ("{allow: all, filters: []}", "rules[0].filters: expected a topic filter, found none"),
            ("{allow: all, filter: a}", "rules[0].filter: the key is not known here"),
        ] {
            assert_problems(&format!("{HEAD}- {rule}\n"), &[&format!("error 4: {want}")]);
        }
        let empty = HEAD.trim_end();
        assert_problems(empty, &["error 3: rules: expected a list, found nothing"]);
        assert_problems(&format!("{empty} []"), &["error 3: rules: there is no rule"]);
    }
}
