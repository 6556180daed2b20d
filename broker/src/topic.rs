//! The grammar of topic names and topic filters (section 4.7 of the standard), as pure functions.
//!
//! Levels are separated by `/` and may be empty. [`matches()`] is the reference that every index is tested against.
//! Texts come in as `str`, so well-formed UTF-8 is given; U+0000 is refused here too.

use crate::mutation::{Mutation, mutated};
use thiserror::Error;

/// What a shared subscription begins with.
pub const SHARE_PREFIX: &str = "$share/";

/// The first level of what the server says about itself.
pub const SYSTEM_LEVEL: &str = "$SYS";

/// The longest topic name or filter, in bytes.
pub const MAX_TOPIC_LEN: usize = u16::MAX as usize;

/// Why a text is not a topic name or topic filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TopicError {
    /// Nothing in it [MQTT-4.7.3-1].
    #[error("it is empty")]
    Empty,
    /// More than 65,535 bytes [MQTT-4.7.3-3].
    #[error("it is longer than 65,535 bytes")]
    TooLong,
    /// U+0000 [MQTT-4.7.3-2].
    #[error("it contains the character U+0000")]
    Nul,
    /// More levels than this server takes.
    #[error("it has more levels than this server accepts")]
    TooManyLevels,
    /// `#` or `+` in a topic name [MQTT-3.3.2-2].
    #[error("it contains a wildcard, which only a topic filter may")]
    Wildcard,
    /// `#` or `+` beside other characters of a level [MQTT-4.7.1-1], [MQTT-4.7.1-2].
    #[error("a wildcard does not stand alone in its level")]
    WildcardNotAlone,
    /// `#` before the last level [MQTT-4.7.1-1].
    #[error("'#' is not in the last level")]
    HashNotLast,
    /// `$share/` without a name, or a name with a wildcard [MQTT-4.8.2-1], [MQTT-4.8.2-2].
    #[error("the share name is empty or contains a wildcard")]
    ShareName,
    /// `$share/name` without a filter behind it [MQTT-4.8.2-2].
    #[error("no topic filter follows the share name")]
    ShareFilterMissing,
}

/// A shared subscription, `$share/{group}/{filter}`, in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SharedFilter<'a> {
    /// The share name: not empty, no `/`, `+` or `#`.
    pub group: &'a str,
    /// The filter that the group subscribes to; not checked beyond being there.
    pub filter: &'a str,
}

impl<'a> SharedFilter<'a> {
    /// Takes a filter apart; `None` if it does not begin with `$share/`.
    pub fn parse(text: &'a str) -> Result<Option<Self>, TopicError> {
        let Some(rest) = text.strip_prefix(SHARE_PREFIX) else { return Ok(None) };
        let (group, filter) = match rest.split_once('/') {
            Some((group, filter)) => (group, Some(filter)),
            None => (rest, None),
        };
        if group.is_empty() || group.contains(['+', '#']) {
            return Err(TopicError::ShareName);
        }
        match filter {
            Some(filter) if !filter.is_empty() => Ok(Some(Self { group, filter })),
            _ => Err(TopicError::ShareFilterMissing),
        }
    }
}

/// Whether a valid filter of a subscription is a shared one.
pub fn is_shared(filter: &str) -> bool {
    filter.starts_with(SHARE_PREFIX)
}

/// The part of a valid filter of a subscription that selects topics: what is behind the share name, where there is one.
pub fn selector(filter: &str) -> &str {
    SharedFilter::parse(filter).ok().flatten().map_or(filter, |shared| shared.filter)
}

/// The levels of a name or filter, from the first; one more than it has slashes.
pub fn levels(topic: &str) -> impl DoubleEndedIterator<Item = &str> + Clone {
    topic.split('/')
}

/// Whether the text can be published to.
pub fn validate_name(name: &str, max_levels: usize) -> Result<(), TopicError> {
    check_common(name, max_levels)?;
    if memchr::memchr2(b'+', b'#', name.as_bytes()).is_some() {
        return Err(TopicError::Wildcard);
    }
    Ok(())
}

/// Whether the text can be subscribed to; `$share/` has no meaning here (see [`validate_subscription`]).
pub fn validate_filter(filter: &str, max_levels: usize) -> Result<(), TopicError> {
    check_common(filter, max_levels)?;
    if memchr::memchr2(b'+', b'#', filter.as_bytes()).is_none() {
        return Ok(());
    }
    let mut levels = levels(filter).peekable();
    while let Some(level) = levels.next() {
        match level {
            "#" if levels.peek().is_some() => return Err(TopicError::HashNotLast),
            "+" | "#" => {}
            _ if mutated(Mutation::TakesWildcardInLevel) => {}
            _ if level.contains(['+', '#']) => return Err(TopicError::WildcardNotAlone),
            _ => {}
        }
    }
    Ok(())
}

/// Whether the text can be subscribed to on MQTT 5.0, where `$share/{group}/{filter}` has a grammar of its own; gives
/// its parts if it is one. The levels of the filter behind the share name count.
pub fn validate_subscription(
    filter: &str,
    max_levels: usize,
) -> Result<Option<SharedFilter<'_>>, TopicError> {
    if filter.len() > MAX_TOPIC_LEN {
        return Err(TopicError::TooLong);
    }
    let shared = SharedFilter::parse(filter)?;
    if let Some(SharedFilter { group, .. }) = shared
        && memchr::memchr(0, group.as_bytes()).is_some()
    {
        return Err(TopicError::Nul);
    }
    validate_filter(shared.map_or(filter, |shared| shared.filter), max_levels)?;
    Ok(shared)
}

/// Whether a topic name, or all that a filter selects that is no shared one, is what the server says about itself.
pub fn is_system(topic: &str) -> bool {
    topic.strip_prefix(SYSTEM_LEVEL).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a valid filter selects a valid topic name.
///
/// A wildcard in the first level does not match a name that begins with `$` [MQTT-4.7.2-1]; `a/#` matches `a` too.
pub fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = levels(name);
    for level in levels(filter) {
        if level == "#" {
            return true;
        }
        match names.next() {
            Some(_) if level == "+" => {}
            Some(name) if name == level => {}
            // Either another level, or the name ends here; `a/#` after `a` has returned before.
            _ => return false,
        }
    }
    names.next().is_none()
}

fn check_common(text: &str, max_levels: usize) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_TOPIC_LEN {
        return Err(TopicError::TooLong);
    }
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return Err(TopicError::Nul);
    }
    if memchr::memchr_iter(b'/', text.as_bytes()).count() >= max_levels {
        return Err(TopicError::TooManyLevels);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANY: usize = usize::MAX;

    #[test]
    fn names() {
        let longest = "a".repeat(MAX_TOPIC_LEN);
        let too_long = "a".repeat(MAX_TOPIC_LEN + 1);
        let cases: &[(&str, Result<(), TopicError>)] = &[
            ("a", Ok(())),
            ("/", Ok(())),
            ("//", Ok(())),
            ("a//b", Ok(())),
            ("/finance", Ok(())),
            (" ", Ok(())),
            ("Accounts payable", Ok(())),
            ("$SYS/uptime", Ok(())),
            ("$share/g/a", Ok(())),
            ("ü/日本", Ok(())),
            (&longest, Ok(())),
            ("", Err(TopicError::Empty)),
            ("a\0", Err(TopicError::Nul)),
            ("#", Err(TopicError::Wildcard)),
            ("a/+", Err(TopicError::Wildcard)),
            ("a+b", Err(TopicError::Wildcard)),
            (&too_long, Err(TopicError::TooLong)),
        ];
        for (name, expected) in cases {
            assert_eq!(validate_name(name, ANY), *expected, "{name}");
        }
    }

    #[test]
    fn filters() {
        let cases: &[(&str, Result<(), TopicError>)] = &[
            ("a", Ok(())),
            ("#", Ok(())),
            ("+", Ok(())),
            ("/", Ok(())),
            ("/+", Ok(())),
            ("+/+/#", Ok(())),
            ("a/+/b", Ok(())),
            ("a//#", Ok(())),
            ("$SYS/#", Ok(())),
            ("$share/a", Ok(())),
            ("", Err(TopicError::Empty)),
            ("a\0/#", Err(TopicError::Nul)),
            ("a#", Err(TopicError::WildcardNotAlone)),
            ("a/b#", Err(TopicError::WildcardNotAlone)),
            ("a/#b", Err(TopicError::WildcardNotAlone)),
            ("##", Err(TopicError::WildcardNotAlone)),
            ("a+", Err(TopicError::WildcardNotAlone)),
            ("+a/b", Err(TopicError::WildcardNotAlone)),
            ("a/++/b", Err(TopicError::WildcardNotAlone)),
            ("+#", Err(TopicError::WildcardNotAlone)),
            ("#/", Err(TopicError::HashNotLast)),
            ("#/a", Err(TopicError::HashNotLast)),
            ("a/#/b", Err(TopicError::HashNotLast)),
            ("#/#", Err(TopicError::HashNotLast)),
        ];
        for (filter, expected) in cases {
            assert_eq!(validate_filter(filter, ANY), *expected, "{filter}");
        }
    }

    #[test]
    fn levels_are_counted_and_limited() {
        for (topic, count) in [("a", 1), ("/", 2), ("a/b", 2), ("//", 3), ("a/b/c/d", 4)] {
            assert_eq!(levels(topic).count(), count);
            assert_eq!(validate_name(topic, count), Ok(()));
            assert_eq!(validate_filter(topic, count), Ok(()));
            assert_eq!(validate_name(topic, count - 1), Err(TopicError::TooManyLevels));
            assert_eq!(validate_filter(topic, count - 1), Err(TopicError::TooManyLevels));
            let shared = format!("$share/g/{topic}");
            assert!(validate_subscription(&shared, count).is_ok());
            assert_eq!(validate_subscription(&shared, count - 1), Err(TopicError::TooManyLevels));
        }
    }

    #[test]
    fn shared_subscriptions() {
        let shared = |group, filter| Ok(Some(SharedFilter { group, filter }));
        let cases: &[(&str, Result<Option<SharedFilter<'_>>, TopicError>)] = &[
            ("a/b", Ok(None)),
            ("$share", Ok(None)),
            ("$shared/g/a", Ok(None)),
            ("a/$share/g/a", Ok(None)),
            ("$SHARE/g/a", Ok(None)),
            ("$share/g/a", shared("g", "a")),
            ("$share/g/a/+/#", shared("g", "a/+/#")),
            ("$share/g/#", shared("g", "#")),
            ("$share/g//", shared("g", "/")),
            ("$share/g/$share/h/a", shared("g", "$share/h/a")),
            ("$share/grüße/a", shared("grüße", "a")),
            ("$share/", Err(TopicError::ShareName)),
            ("$share//a", Err(TopicError::ShareName)),
            ("$share/+/a", Err(TopicError::ShareName)),
            ("$share/#", Err(TopicError::ShareName)),
            ("$share/g+/a", Err(TopicError::ShareName)),
            ("$share/g", Err(TopicError::ShareFilterMissing)),
            ("$share/g/", Err(TopicError::ShareFilterMissing)),
            ("$share/g\0/a", Err(TopicError::Nul)),
            ("$share/g/a\0", Err(TopicError::Nul)),
            ("$share/g/a#", Err(TopicError::WildcardNotAlone)),
            ("$share/g/#/a", Err(TopicError::HashNotLast)),
        ];
        for (filter, expected) in cases {
            assert_eq!(validate_subscription(filter, ANY), *expected, "{filter}");
            if let Ok(shared) = expected {
                assert_eq!(selector(filter), shared.map_or(*filter, |shared| shared.filter));
                assert_eq!(is_shared(filter), shared.is_some());
            }
        }
    }

    /// The examples of section 4.7, and what lies between them.
    #[test]
    fn matching() {
        let yes = [
            ("sport/tennis/player1/#", "sport/tennis/player1"),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking"),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
            ("sport/#", "sport"),
            ("#", "a"),
            ("#", "/"),
            ("sport/tennis/+", "sport/tennis/player1"),
            ("sport/+", "sport/"),
            ("+/+", "/finance"),
            ("/+", "/finance"),
            ("+", "a"),
            ("+/tennis/#", "sport/tennis"),
            ("$SYS/#", "$SYS/"),
            ("$SYS/#", "$SYS"),
            ("$SYS/monitor/+", "$SYS/monitor/Clients"),
            ("a/+/#", "a/b"),
            ("a/#", "a/$b"),
            ("a//b", "a//b"),
            ("a/+/b", "a//b"),
        ];
        let no = [
            ("sport/tennis/+", "sport/tennis/player1/ranking"),
            ("sport/+", "sport"),
            ("sport/#", "sports"),
            ("+", "/finance"),
            ("+", "a/b"),
            ("#", "$SYS/a"),
            ("+/monitor/Clients", "$SYS/monitor/Clients"),
            ("+/#", "$SYS"),
            ("a", "A"),
            ("a", "a/"),
            ("a/", "a"),
            ("/a", "a"),
            ("a/b", "a"),
            ("a/b/#", "a"),
            ("a/+/#", "a"),
            ("$SYS", "$SYS/a"),
        ];
        for (filter, name) in yes {
            assert!(matches(filter, name), "{filter} should match {name}");
        }
        for (filter, name) in no {
            assert!(!matches(filter, name), "{filter} should not match {name}");
        }
    }

    /// The definition, level by level, without a thought for cost.
    fn selects(filter: &[&str], name: &[&str]) -> bool {
        match (filter, name) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, name @ ..]) => selects(filter, name),
            ([level, filter @ ..], [same, name @ ..]) if level == same => selects(filter, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_follows_the_definition(filter in "[a$/+#]{1,7}", name in "[a$/]{1,6}") {
            prop_assume!(validate_filter(&filter, ANY).is_ok());
            let hidden = name.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#'));
            let selected = selects(&levels(&filter).collect::<Vec<_>>(), &levels(&name).collect::<Vec<_>>());
            prop_assert_eq!(matches(&filter, &name), selected && !hidden);
        }

        #[test]
        fn a_name_widened_still_matches(name in "[a-c]{0,2}(/[a-c]{0,2}){0,4}", plus: [bool; 5], hash in 0_usize..6) {
            prop_assume!(!name.is_empty());
            let mut filter: Vec<_> = levels(&name).collect();
            for (level, plus) in filter.iter_mut().zip(plus) {
                if plus {
                    *level = "+";
                }
            }
            if hash <= filter.len() {
                filter.truncate(hash);
                filter.push("#");
            }
            let filter = filter.join("/");
            prop_assert_eq!(validate_filter(&filter, ANY), Ok(()));
            prop_assert!(matches(&filter, &name), "{} {}", filter, name);
        }

        #[test]
        fn a_valid_name_is_a_filter_for_itself_alone(name in "[a/$]{1,6}", other in "[a/$]{1,6}") {
            prop_assert_eq!(validate_filter(&name, ANY), Ok(()));
            prop_assert_eq!(matches(&name, &other), name == other);
        }
    }
}
