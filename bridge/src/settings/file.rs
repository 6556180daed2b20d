//! Settings from a TOML file: which line said what.

use super::value::Raw;
use toml::de::{DeTable, DeValue};

/// One value of the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// `section.name` or `name`.
    pub(super) key: String,
    /// The value.
    pub(super) raw: Raw,
    /// The line of the key, from 1.
    pub(super) line: usize,
}

/// A file that is not TOML: the line, and what the parser says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) line: usize,
    pub(super) message: String,
}

/// All values of a file, in no particular order. Tables deeper than a section come back as [`Raw::Other`].
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, Malformed> {
    let document = DeTable::parse(text).map_err(|error| Malformed {
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        message: error.message().trim_end().replace('\n', ", "),
    })?;
    let mut entries = Vec::new();
    for (name, value) in document.into_inner() {
        let line = line_of(text, name.span().start);
        let name = name.into_inner().into_owned();
        match value.into_inner() {
            DeValue::Table(section) => {
                for (inner, value) in section {
                    entries.push(Entry {
                        key: format!("{name}.{}", inner.get_ref()),
                        line: line_of(text, inner.span().start),
                        raw: raw(value.into_inner()),
                    });
                }
            }
            value => entries.push(Entry { key: name, line, raw: raw(value) }),
        }
    }
    Ok(entries)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).split('\n').count()
}

fn raw(value: DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Raw::Number(number),
            Err(_) => Raw::Other("a number that does not fit 64 bits"),
        },
        DeValue::Boolean(switch) => Raw::Switch(switch),
        DeValue::Array(items) => {
            let texts = items.into_iter().map(|item| match item.into_inner() {
                DeValue::String(text) => Some(text.into_owned()),
                _ => None,
            });
            texts
                .collect::<Option<Vec<_>>>()
                .map_or(Raw::Other("a list of other things than texts"), Raw::List)
        }
        DeValue::Float(_) => Raw::Other("a number with a decimal point"),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_with_their_lines() {
        let text = "# a comment\nlisten = [\"a\", \"b\"]\n\n[limits]\nn = 0x10\nsize = \"1 MiB\"\n\n[log]\non = true\n";
        let mut entries = entries(text).unwrap();
        entries.sort_by_key(|entry| entry.line);
        let found: Vec<_> = entries.into_iter().map(|entry| (entry.key, entry.line, entry.raw)).collect();
        assert_eq!(
            found,
            [
                ("listen".to_owned(), 2, Raw::List(vec!["a".into(), "b".into()])),
                ("limits.n".to_owned(), 5, Raw::Number(16)),
                ("limits.size".to_owned(), 6, Raw::Text("1 MiB".into())),
                ("log.on".to_owned(), 9, Raw::Switch(true)),
            ]
        );
    }

    #[test]
    fn what_no_setting_takes_is_named() {
        for (text, kind) in [
            ("a = 1.5", "a number with a decimal point"),
            ("a = 2024-01-01", "a date"),
            ("a = [1]", "a list of other things than texts"),
            ("[a.b]\nc = 1", "a table"),
            ("a = 99999999999999999999", "a number that does not fit 64 bits"),
        ] {
            assert_eq!(entries(text).unwrap()[0].raw, Raw::Other(kind), "{text}");
        }
    }

    #[test]
    fn a_file_that_is_not_toml_is_refused_with_its_line() {
        assert_eq!(entries("a = 1\nb = \n").unwrap_err().line, 2);
        assert_eq!(entries("a = 1\n\na = 2\n").unwrap_err().line, 3);
        assert!(!entries("=").unwrap_err().message.is_empty());
    }
}
