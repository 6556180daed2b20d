//! Names of users and client ids in access rules, where `*` stands for any text.

use std::fmt;

/// A text in which `*` stands for any text, also for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Box<str>);

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Glob {
    /// Every text is one.
    pub fn new(text: &str) -> Glob {
        Glob(text.into())
    }

    /// Whether it stands for this name. Costs at most the one length times the other.
    pub fn matches(&self, name: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else { return *self.0 == *name };
        let Some(mut name) = name.strip_prefix(start) else { return false };
        let mut parts = rest.split('*');
        // There is a last part, if only an empty one.
        let Some(end) = parts.next_back() else { return false };
        for part in parts {
            // The first place will do: what is behind it may be anything up to the next part.
            match name.split_once(part) {
                Some((_, behind)) => name = behind,
                None => return false,
            }
        }
        name.ends_with(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By trying everything.
    fn naive(glob: &str, name: &str) -> bool {
        match glob.chars().next() {
            None => name.is_empty(),
            Some('*') => {
                let mut rests = name.char_indices().map(|(at, _)| at).chain([name.len()]);
                rests.any(|at| naive(&glob[1..], &name[at..]))
            }
            Some(letter) => {
                name.strip_prefix(letter).is_some_and(|rest| naive(&glob[letter.len_utf8()..], rest))
            }
        }
    }

    #[test]
    fn a_star_is_any_text() {
        for (glob, yes, no) in [
            ("bob", &["bob"][..], &["bobby", "bo", ""][..]),
            ("*", &["", "anything/+/#"], &[]),
            ("dev-*", &["dev-", "dev-1"], &["dev", "adev-1"]),
            ("*-dev", &["a-dev", "-dev"], &["-devs"]),
            ("a*b*c", &["abc", "axbxc", "abbcc"], &["ab", "acb"]),
            ("a*a", &["aa", "aba"], &["a"]),
        ] {
            assert!(yes.iter().all(|name| Glob::new(glob).matches(name)), "{glob}");
            assert!(!no.iter().any(|name| Glob::new(glob).matches(name)), "{glob}");
        }
    }

    proptest! {
        #[test]
        fn the_first_place_will_do(glob in "[ab*é]{0,8}", name in "[abé]{0,10}") {
            prop_assert_eq!(Glob::new(&glob).matches(&name), naive(&glob, &name));
        }
    }
}
