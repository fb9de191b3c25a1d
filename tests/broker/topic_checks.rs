//! Every combination of settings of topic checks, in both dialects that have them, against amqtt's
//! rules as its users know them: written down here once more, from its documentation and from
//! what its releases do, and not from our code.

use stormpetrel::access::{Action, Authorise, Identity, Question};
use stormpetrel::config::Config;

/// What is written of one list.
#[derive(Clone, Copy, Debug, PartialEq)]
enum List {
    Absent,
    /// There, with nobody in it.
    Empty,
    /// `alice: [own/#, open]`, `anonymous: [open]`.
    Given,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    is_class: bool,
    /// `enabled`: none, false or true. Of the section only.
    enabled: Option<bool>,
    /// Whether `plugins` names these; none: not given. Of the class: whether it is there.
    plugins: Option<(bool, bool)>,
    acl: List,
    publish: List,
    receive: List,
    acl_publish: Option<&'static str>,
}

const GIVEN: &str = "{alice: ['own/#', open], anonymous: [open]}";
const TABOO: [&str; 3] = ["prohibited", "top-secret", "data/classified"];

fn every_setting() -> Vec<Settings> {
    let lists = [List::Absent, List::Empty, List::Given];
    let plugins = [None, Some((true, false)), Some((false, true)), Some((true, true))];
    let mut all = Vec::new();
    for is_class in [false, true] {
        for enabled in [None, Some(false), Some(true)] {
            for plugins in plugins {
                for (acl, publish) in lists.iter().flat_map(|a| lists.map(|p| (*a, p))) {
                    for receive in [List::Absent, List::Given] {
                        for acl_publish in [None, Some("limit"), Some("allow")] {
                            all.push(Settings {
                                is_class,
                                enabled,
                                plugins,
                                acl,
                                publish,
                                receive,
                                acl_publish,
                            });
                        }
                    }
                }
            }
        }
    }
    // Classes have no `enabled`, and are there or not.
    all.retain(|it| !it.is_class || (it.enabled.is_none() && it.plugins.is_some()));
    all
}

impl Settings {
    fn yaml(&self) -> String {
        let mut keys = Vec::new();
        for (name, list) in
            [("acl", self.acl), ("publish_acl", self.publish), ("receive_acl", self.receive)]
        {
            match list {
                List::Absent => {}
                List::Empty => keys.push(format!("{name}: {{}}")),
                List::Given => keys.push(format!("{name}: {GIVEN}")),
            }
        }
        keys.extend(self.acl_publish.map(|word| format!("acl-publish: {word}")));
        let head = "listeners: {default: {bind: ':1883'}}\n";
        if self.is_class {
            let (is_acl, is_taboo) = self.plugins.expect("a class is there or not");
            let keys = keys.join(", ");
            let mut classes =
                vec!["amqtt.plugins.authentication.AnonymousAuthPlugin: {}".to_owned()];
            if is_acl {
                classes.push(format!(
                    "amqtt.plugins.topic_checking.TopicAccessControlListPlugin: {{{keys}}}"
                ));
            }
            if is_taboo {
                classes.push("amqtt.plugins.topic_checking.TopicTabooPlugin: {}".to_owned());
            }
            return format!("{head}plugins: {{{}}}\n", classes.join(", "));
        }
        keys.extend(self.enabled.map(|enabled| format!("enabled: {enabled}")));
        if let Some((is_acl, is_taboo)) = self.plugins {
            let names = [("topic_acl", is_acl), ("topic_taboo", is_taboo)];
            let names: Vec<&str> =
                names.iter().filter(|(_, is_named)| *is_named).map(|(name, _)| *name).collect();
            keys.push(format!("plugins: [{}]", names.join(", ")));
        }
        let keys = keys.join(", ");
        format!("{head}auth: {{plugins: [auth_anonymous]}}\ntopic-check: {{{keys}}}\n")
    }

    /// What amqtt's user expects.
    fn may(&self, user: Option<&str>, action: Action, topic: &str) -> bool {
        if !self.is_class && self.enabled != Some(true) {
            return true;
        }
        let (is_acl, is_taboo) = self.plugins.unwrap_or((true, true));
        if is_taboo && TABOO.contains(&topic) && user != Some("admin") {
            return false;
        }
        !is_acl || self.is_listed(user, action, topic)
    }

    fn is_listed(&self, user: Option<&str>, action: Action, topic: &str) -> bool {
        let in_list = |list: List| list == List::Given && is_given(user, topic);
        match (action, self.acl, self.publish, self.receive) {
            (Action::Receive, _, _, list) => list == List::Absent || in_list(list),
            // Without a list, classes let nobody subscribe, and sections everybody.
            (Action::Subscribe, List::Absent, _, _) => !self.is_class,
            (Action::Subscribe, list, _, _) => in_list(list),
            // A list for publishing decides alone, and an empty one allows everything.
            (Action::Publish, _, List::Given, _) => in_list(List::Given),
            (Action::Publish, _, List::Empty, _) => true,
            (Action::Publish, List::Absent, List::Absent, _) => true,
            (Action::Publish, list, List::Absent, _) => {
                self.acl_publish == Some("allow") || in_list(list)
            }
        }
    }
}

/// Whether the lists grant it, which only alice and clients without a name are in.
fn is_given(user: Option<&str>, topic: &str) -> bool {
    match user {
        Some("alice") => topic == "open" || topic == "own" || topic.starts_with("own/"),
        None | Some("anonymous") => topic == "open",
        Some(_) => false,
    }
}

#[test]
fn every_combination_of_topic_checks_means_what_it_means_in_amqtt() {
    let users = [None, Some("alice"), Some("admin"), Some("anonymous"), Some("")];
    let names = ["open", "own", "own/a/b", "other", "prohibited", "data/classified"];
    let filters = ["open", "own/#", "own/+", "own", "+", "#", "own/a", "data/#", "top-secret"];
    let mut questions = 0;
    for settings in every_setting() {
        let yaml = settings.yaml();
        let config = Config::from_yaml(&yaml, "broker.yaml").expect("it is in order").config;
        let again = Config::from_yaml(&config.to_yaml(), "again").expect("it is ours").config;
        let policies = [config.policy(), again.policy()];
        for user in users {
            let identity = Identity { user: user.map(Into::into), ..Identity::default() };
            for action in Action::ALL {
                let topics = if action == Action::Subscribe { &filters[..] } else { &names[..] };
                for topic in topics {
                    let want = settings.may(user, action, topic);
                    let question = Question { identity: &identity, client_id: "c", action, topic };
                    for policy in &policies {
                        let got = policy.decide(&question);
                        assert_eq!(
                            got.is_allowed, want,
                            "{user:?} {action} {topic}: {}\n{yaml}",
                            got.rule
                        );
                    }
                    questions += 1;
                }
            }
        }
    }
    assert!(questions > 50_000, "only {questions} questions: are settings left out?");
}
