//! What rules say, by example and against a model that goes through all names.

use super::live::LiveRules;
use super::*;
use Action::{All, Publish, Subscribe};
use Effect::{Allow, Deny};
use proptest::prelude::*;

const BOB: Who<'_> = Who { user: Some("bob"), client_id: "bob-phone" };
const ALICE: Who<'_> = Who { user: Some("alice"), client_id: "tablet" };
const NOBODY: Who<'_> = Who { user: None, client_id: "sensor-7" };

fn rule(effect: Effect, action: Action, topics: &[&str]) -> Rule {
    Rule {
        effect,
        action,
        topics: topics.iter().map(|topic| Pattern::parse(topic).unwrap()).collect(),
        users: Vec::new(),
        anonymous: false,
        clients: Vec::new(),
    }
}

fn globs(texts: &[&str]) -> Vec<Glob> {
    texts.iter().map(|text| Glob::new(text)).collect()
}

#[test]
fn the_first_rule_that_has_something_to_say_decides() {
    let rules =
        Rules(vec![rule(Allow, Publish, &["a/b"]), rule(Deny, All, &["a/#"]), rule(Allow, All, &["#"])]);
    assert_eq!(rules.publish(BOB, "a/b"), Some(Allow));
    assert_eq!(rules.publish(BOB, "a/c"), Some(Deny));
    assert_eq!(rules.publish(BOB, "b"), Some(Allow));
    assert_eq!(rules.publish(BOB, "$x/b"), None, "a wildcard in the first level leaves these out");
    assert_eq!(rules.subscribe(BOB, "a/b"), Some(Deny), "the first rule is about publishing");
    assert_eq!(rules.subscribe(BOB, "b/#"), Some(Allow));
    assert_eq!(Rules::default().publish(BOB, "a"), None);
}

#[test]
fn nothing_is_reached_through_a_wildcard_that_is_denied() {
    let rules = Rules(vec![rule(Deny, Subscribe, &["a/secret/#"]), rule(Allow, Subscribe, &["a/#", "b/+"])]);
    for (filter, said) in [
        ("a/open", Some(Allow)),
        ("a/open/#", Some(Allow)),
        ("b/+", Some(Allow)),
        ("a/#", Some(Deny)),
        ("+/secret", Some(Deny)),
        ("#", Some(Deny)),
        ("a/+", Some(Deny)),
        ("a/+/x", Some(Deny)),
        ("a/secret", Some(Deny)),
        ("b/#", None),
        ("+/x", None),
    ] {
        assert_eq!(rules.subscribe(BOB, filter), said, "{filter}");
        // Shared subscriptions get what the filter alone would.
        assert_eq!(rules.subscribe(BOB, &format!("$share/group/{filter}")), said, "{filter}");
    }
    // What an earlier rule allows as a whole is not taken back by a later one.
    let rules = Rules(vec![rule(Allow, All, &["a/#"]), rule(Deny, All, &["a/secret"])]);
    assert_eq!(rules.subscribe(BOB, "a/#"), Some(Allow));
}

#[test]
fn a_rule_is_for_whom_it_names() {
    let who = |users: &[&str], anonymous, clients: &[&str]| {
        let rule =
            Rule { users: globs(users), anonymous, clients: globs(clients), ..rule(Allow, All, &["a"]) };
        [BOB, ALICE, NOBODY].map(|who| Rules(vec![rule.clone()]).publish(who, "a").is_some())
    };
    assert_eq!(who(&[], false, &[]), [true, true, true]);
    assert_eq!(who(&["bob"], false, &[]), [true, false, false]);
    assert_eq!(who(&["bob", "al*"], false, &[]), [true, true, false]);
    assert_eq!(who(&["*"], false, &[]), [true, true, false], "every user, and no anonymous client");
    assert_eq!(who(&[], true, &[]), [false, false, true]);
    assert_eq!(who(&["bob"], true, &[]), [true, false, true]);
    assert_eq!(who(&[], false, &["sensor-*", "tablet"]), [false, true, true]);
    assert_eq!(who(&["*"], false, &["sensor-*", "tablet"]), [false, true, false]);
}

#[test]
fn own_topics_are_told_by_name() {
    let rules = Rules(vec![rule(Allow, All, &["home/%u/#", "dev/%c"])]);
    assert_eq!(rules.publish(BOB, "home/bob/light"), Some(Allow));
    assert_eq!(rules.publish(ALICE, "home/bob/light"), None);
    assert_eq!(rules.subscribe(ALICE, "home/alice/#"), Some(Allow));
    assert_eq!(rules.subscribe(ALICE, "home/+/#"), None);
    assert_eq!(rules.publish(NOBODY, "dev/sensor-7"), Some(Allow));
    assert_eq!(rules.publish(NOBODY, "home//light"), None, "no name is not the empty name");
    for client_id in ["+", "#", "x/y"] {
        let who = Who { client_id, ..NOBODY };
        for filter in ["dev/x", "dev/+", "dev/#", "dev/x/y"] {
            assert_eq!(rules.subscribe(who, filter), None, "{client_id}");
        }
        assert_eq!(rules.publish(who, "dev/x/y"), None, "{client_id}");
    }
}

#[test]
fn what_is_in_effect_can_be_replaced() {
    let live = LiveRules::new(Rules::default(), Deny);
    assert!(!live.may_publish(BOB, "a") && !live.may_subscribe(BOB, "a"));
    let before = live.version();
    live.replace(Rules(vec![rule(Allow, Publish, &["a"])]));
    assert_ne!(live.version(), before);
    assert!(live.may_publish(BOB, "a") && !live.may_subscribe(BOB, "a"));
    let open = LiveRules::new(Rules(vec![rule(Deny, All, &["a"])]), Allow);
    assert!(open.may_publish(BOB, "b") && !open.may_publish(BOB, "a") && !open.may_subscribe(BOB, "#"));
    assert_eq!(open.asked(), 3);
}

fn any_topic(wildcards: bool) -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "c1", "bob", "c2"]);
    let wild = prop::sample::select(vec!["+", "%u", "%c", "x%c"]);
    let level = if wildcards { prop_oneof![2 => level, 1 => wild].boxed() } else { level.boxed() };
    (prop::collection::vec(level, 1..4), any::<bool>())
        .prop_map(move |(levels, hash)| levels.join("/") + if hash && wildcards { "/#" } else { "" })
}

prop_compose! {
    fn any_rule()(
        allow: bool, action in prop::sample::select(vec![Publish, Subscribe, All]),
        topics in prop::collection::vec(any_topic(true), 1..3),
        users in prop::sample::select(vec![&[][..], &["bob"], &["*"]]),
        anonymous: bool,
        clients in prop::sample::select(vec![&[][..], &["c1"], &["c*"]]),
    ) -> Rule {
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let (users, clients) = (globs(users), globs(clients));
        Rule { users, anonymous, clients, ..rule(if allow { Allow } else { Deny }, action, &topics) }
    }
}

/// A client with names that fit into a level; any others are left to the tests of patterns.
fn any_who() -> impl Strategy<Value = (Option<&'static str>, &'static str)> {
    (prop::sample::select(vec![None, Some("bob"), Some("b")]), prop::sample::select(vec!["c1", "c2", "x"]))
}

/// By replacing texts, and looking at one name.
fn model(rules: &Rules, action: Action, who: Who<'_>, name: &str) -> Option<Effect> {
    for rule in &rules.0 {
        let action_fits = rule.action == All || rule.action == action;
        let everyone = rule.users.is_empty() && !rule.anonymous;
        let named = match who.user {
            Some(user) => rule.users.iter().any(|glob| glob.matches(user)),
            None => rule.anonymous,
        };
        let client_fits =
            rule.clients.is_empty() || rule.clients.iter().any(|glob| glob.matches(who.client_id));
        if !(action_fits && (everyone || named) && client_fits) {
            continue;
        }
        for topic in &rule.topics {
            let pattern = topic.to_string();
            if pattern.contains("%u") && who.user.is_none() {
                continue;
            }
            let filter = pattern.replace("%u", who.user.unwrap_or_default()).replace("%c", who.client_id);
            if topic::matches(&filter, name) {
                return Some(rule.effect);
            }
        }
    }
    None
}

proptest! {
    #[test]
    fn publishing_is_what_the_model_says(
        rules in prop::collection::vec(any_rule(), 0..6), (user, client_id) in any_who(), name in any_topic(false),
    ) {
        let (rules, who) = (Rules(rules), Who { user, client_id });
        prop_assert_eq!(rules.publish(who, &name), model(&rules, Publish, who, &name));
    }

    /// A filter that is allowed brings no name that is not.
    #[test]
    fn a_subscription_reaches_no_more_than_its_names_would(
        rules in prop::collection::vec(any_rule(), 0..6), (user, client_id) in any_who(),
        filter in any_topic(true), names in prop::collection::vec(any_topic(false), 32),
    ) {
        let (rules, who) = (Rules(rules), Who { user, client_id });
        let filter = filter.replace('%', "");
        let said = rules.subscribe(who, &filter);
        for name in names.iter().filter(|name| topic::matches(&filter, name)) {
            let of_name = model(&rules, Subscribe, who, name);
            if said == Some(Allow) {
                prop_assert_eq!(of_name, Some(Allow), "{} by {}", name, filter);
            }
            if said.is_none() {
                prop_assert!(of_name != Some(Deny), "{} by {}", name, filter);
            }
        }
        // One name alone is judged alike.
        for name in &names {
            prop_assert_eq!(rules.subscribe(who, name), model(&rules, Subscribe, who, name));
        }
    }
}
