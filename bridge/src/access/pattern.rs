//! Topic patterns of access rules: filters in which `%u` stands for the user and `%c` for the client id.
//!
//! Filters are sets of topic names, and rules ask about sets: whether a filter lies within another ([`covers`]) and whether the
//! two have a name in common ([`intersects`]). Both walk level by level, and are tested against all names there are.

use super::Effect;
use chasqui_broker::topic::{self, TopicError, levels};
use chasqui_proto::filter::{FilterScope, ParsedFilter, Reader};
use chasqui_proto::limits;
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// Why a text is no pattern for a rule; the end of a sentence that begins with the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PatternError {
    /// It is no topic filter.
    #[error("is no topic filter: {0}")]
    Grammar(TopicError),
    /// It is a shared subscription.
    #[error("is a shared subscription: write the filter behind the share name, which stands for both")]
    Shared,
    /// It reaches topics with rules of their own.
    #[error("reaches topics of the contract (u/, g/, do/, json/, $SYS/), which rules have no say in")]
    Contract,
}

/// A pattern of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        if text.starts_with(topic::SHARE_PREFIX) {
            return Err(PatternError::Shared);
        }
        topic::validate_filter(text, limits::TOPIC_MAX_LEVELS).map_err(PatternError::Grammar)?;
        let nobody = Reader { user: None, device: None };
        match ParsedFilter::parse(text, nobody).scope {
            FilterScope::Generic => Ok(Pattern(text.into())),
            _ => Err(PatternError::Contract),
        }
    }

    /// The filter it is for a client, for a rule of this effect. `None` where there is none: no user to put in, or, for a rule
    /// that allows, a name that would be more than a part of a level, and so could make the filter wider than whoever wrote it meant. For a
    /// rule that denies such a name makes the level any level: nobody gets round a rule by what it is called.
    pub fn filter_for(&self, effect: Effect, user: Option<&str>, client_id: &str) -> Option<Cow<'_, str>> {
        if !self.0.contains('%') {
            return Some(Cow::Borrowed(&self.0));
        }
        let mut filter = String::with_capacity(self.0.len() + client_id.len());
        for (index, level) in levels(&self.0).enumerate() {
            if index > 0 {
                filter.push('/');
            }
            let begin = filter.len();
            if !put_in(level, &mut filter, user, client_id)? {
                match effect {
                    Effect::Allow => return None,
                    Effect::Deny => filter.replace_range(begin.., "+"),
                }
            }
        }
        Some(Cow::Owned(filter))
    }
}

/// Writes a level with the names in it. False where one of them is no part of a level; `None` where there is no user to put in.
fn put_in(level: &str, into: &mut String, user: Option<&str>, client_id: &str) -> Option<bool> {
    let mut is_part = true;
    let mut rest = level;
    while let Some((before, behind)) = rest.split_once('%') {
        into.push_str(before);
        let (name, variable) = match behind.bytes().next() {
            Some(b'u') => (user?, true),
            Some(b'c') => (client_id, true),
            _ => ("%", false),
        };
        is_part &= !variable || !(name.is_empty() || name.contains(['/', '+', '#']));
        into.push_str(name);
        rest = &behind[usize::from(variable)..];
    }
    into.push_str(rest);
    Some(is_part)
}

/// The levels of a filter. `#` alone is `+/#`: every name has a first level. And `/#` is `/+/#`: the name in front of its `#` would be
/// the empty one, which is none [MQTT-4.7.3-1].
fn levels_of(filter: &str) -> impl Iterator<Item = &str> + Clone {
    levels(match filter {
        "#" => "+/#",
        "/#" => "/+/#",
        _ => filter,
    })
}

/// Whether a wildcard in the first level meets a level that it does not stand for [MQTT-4.7.2-1].
fn is_hidden(first: bool, level: &str) -> bool {
    first && level.starts_with('$')
}

/// Whether every name that `filter` selects is also selected by `pattern`.
pub fn covers(pattern: &str, filter: &str) -> bool {
    let (mut patterns, mut filters) = (levels_of(pattern), levels_of(filter));
    let mut first = true;
    loop {
        match (patterns.next(), filters.next()) {
            // `#` also behind the end of the filter: `a/#` selects `a`.
            (None, None) | (Some("#"), _) => return true,
            (Some("+"), Some(level)) if level != "#" && !is_hidden(first, level) => {}
            (Some(pattern), Some(level)) if pattern == level => {}
            _ => return false,
        }
        first = false;
    }
}

/// Whether some name is selected by both filters.
pub fn intersects(one: &str, other: &str) -> bool {
    let (mut ones, mut others) = (levels_of(one), levels_of(other));
    let mut first = true;
    loop {
        match (ones.next(), others.next()) {
            (None, None) | (Some("#"), _) | (_, Some("#")) => return true,
            (Some("+"), Some(level)) | (Some(level), Some("+")) if !is_hidden(first, level) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_rules_have_no_say_in_is_no_pattern() {
        for good in
            ["#", "+/in", "a", "a/#", "/", "home/%u/#", "dev-%c/+", "%u/#", "100%/x", "$other/x", "users/x"]
        {
            assert_eq!(Pattern::parse(good).map(|pattern| pattern.to_string()), Ok(good.to_owned()));
        }
        for contract in ["u/#", "u/%u/in", "g/x", "do/+", "json/u/+/in", "json/#", "$SYS/#", "u"] {
            assert_eq!(Pattern::parse(contract), Err(PatternError::Contract), "{contract}");
        }
        assert_eq!(Pattern::parse("$share/g/a"), Err(PatternError::Shared));
        for (bad, why) in [
            ("", TopicError::Empty),
            ("a/#/b", TopicError::HashNotLast),
            ("a+", TopicError::WildcardNotAlone),
            ("+%u", TopicError::WildcardNotAlone),
        ] {
            assert_eq!(Pattern::parse(bad), Err(PatternError::Grammar(why)), "{bad}");
        }
    }

    #[test]
    fn names_are_put_in_only_where_they_are_part_of_a_level() {
        let filter = |pattern: &str, user: Option<&str>, client: &str| {
            Pattern::parse(pattern).unwrap().filter_for(Effect::Allow, user, client).map(Cow::into_owned)
        };
        assert_eq!(filter("a/%u/%c/%u-x", Some("bob"), "c1").as_deref(), Some("a/bob/c1/bob-x"));
        assert_eq!(filter("50%/%%c/%x/%", None, "c").as_deref(), Some("50%/%c/%x/%"));
        assert_eq!(filter("a/#", None, "+/#").as_deref(), Some("a/#"));
        assert_eq!(filter("a/%u", None, "c"), None, "an anonymous client has no user");
        assert_eq!(filter("a/%u", Some(""), "c"), None);
        for client in ["+", "#", "a/b", "/", "x#", ""] {
            assert_eq!(filter("a/%c", Some("bob"), client), None, "{client}");
            assert_eq!(filter("a/%u", Some(client), "c"), None, "{client}");
        }
        // A rule that denies is not dodged by a name: its level is then any level.
        let denied = |pattern: &str, user: Option<&str>, client: &str| {
            Pattern::parse(pattern).unwrap().filter_for(Effect::Deny, user, client).map(Cow::into_owned)
        };
        for client in ["+", "a/b", "#", ""] {
            assert_eq!(denied("a/dev-%c/x", Some("bob"), client).as_deref(), Some("a/+/x"), "{client}");
        }
        assert_eq!(denied("a/%c", None, "c").as_deref(), Some("a/c"));
        assert_eq!(denied("a/%u", None, "c"), None);
        // What is put in is not looked at again.
        assert_eq!(filter("a/%c", Some("bob"), "%u").as_deref(), Some("a/%u"));
    }

    #[test]
    fn how_filters_lie_to_each_other() {
        for (pattern, filter) in [
            ("#", "a/b"),
            ("#", "+/#"),
            ("+/#", "#"),
            ("a/#", "a"),
            ("a/#", "a/#"),
            ("a/#", "a/+/b"),
            ("a/+", "a/b"),
            ("a/+/#", "a/b/#"),
            ("/+/#", "/#"),
            ("$x/#", "$x/+"),
        ] {
            assert!(covers(pattern, filter), "{pattern} covers {filter}");
        }
        for (pattern, filter) in
            [("a/+", "a/#"), ("a/+/#", "a/#"), ("a", "+"), ("#", "$x/a"), ("+/a", "$x/a"), ("a/b", "a")]
        {
            assert!(!covers(pattern, filter), "{pattern} does not cover {filter}");
        }
        for (one, other) in [("a/#", "+/b"), ("a/+", "+/b"), ("a", "a/#"), ("#", "a"), ("+/+/c", "a/#")] {
            assert!(intersects(one, other) && intersects(other, one), "{one} meets {other}");
        }
        for (one, other) in
            [("a/b", "a/c"), ("/#", "+"), ("a/+", "a"), ("#", "$x"), ("+/b", "$x/b"), ("a/#", "b/#")]
        {
            assert!(!intersects(one, other) && !intersects(other, one), "{one} misses {other}");
        }
    }

    /// Levels of filters; `c` is in no filter, and stands for all other texts.
    const TEXTS: [&str; 3] = ["a", "", "$x"];
    const DEEPEST: usize = 4;

    fn any_filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![3 => prop::sample::select(&TEXTS[..]), 2 => Just("+")];
        (prop::collection::vec(level, 1..DEEPEST), any::<bool>())
            .prop_map(|(levels, hash)| levels.join("/") + if hash { "/#" } else { "" })
            .prop_filter("an empty text is no filter", |filter| !filter.is_empty())
            .boxed()
            .prop_union(Just("#".to_owned()).boxed())
    }

    /// All names that differ for filters like these: one level deeper than any of them.
    fn names() -> Vec<String> {
        let mut names: Vec<Vec<&str>> = vec![Vec::new()];
        let mut all = Vec::new();
        for _ in 0..=DEEPEST {
            let longer = names.iter().flat_map(|name| {
                TEXTS.iter().chain(&["c"]).map(|level| [&name[..], &[*level]].concat()).collect::<Vec<_>>()
            });
            names = longer.collect();
            all.extend(names.iter().map(|name| name.join("/")).filter(|name| !name.is_empty()));
        }
        all
    }

    proptest! {
        #[test]
        fn sets_are_what_their_names_say(pattern in any_filter(), filter in any_filter()) {
            let names = names();
            let selected = |filter: &str| -> Vec<bool> {
                names.iter().map(|name| topic::matches(filter, name)).collect()
            };
            let (by_pattern, by_filter) = (selected(&pattern), selected(&filter));
            let mut both = by_pattern.iter().zip(&by_filter);
            prop_assert_eq!(covers(&pattern, &filter), both.clone().all(|(pattern, filter)| *pattern || !filter));
            prop_assert_eq!(intersects(&pattern, &filter), both.any(|(pattern, filter)| *pattern && *filter));
        }
    }
}
