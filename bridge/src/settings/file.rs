//! Settings from a TOML file: which line said what.

use super::value::Raw;
use toml::de::{DeArray, DeTable, DeValue};

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

/// One table of a list of tables, `[[name]]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listed {
    /// The name of the list.
    pub(super) list: String,
    /// The line it begins on, from 1.
    pub(super) line: usize,
    /// Its values, in the order of their lines.
    pub(super) entries: Vec<Entry>,
}

/// All that a file says.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Values, in no particular order.
    pub(super) entries: Vec<Entry>,
    /// Tables of lists, each list in order.
    pub(super) listed: Vec<Listed>,
}

/// A file that is not TOML: the line, and what the parser says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) line: usize,
    pub(super) message: String,
}

/// Reads a file. Tables deeper than a section, or than a table of a list, come back as [`Raw::Other`].
pub(super) fn contents(text: &str) -> Result<Contents, Malformed> {
    let document = DeTable::parse(text).map_err(|error| Malformed {
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        message: error.message().trim_end().replace('\n', ", "),
    })?;
    let mut contents = Contents::default();
    for (name, value) in document.into_inner() {
        let line = line_of(text, name.span().start);
        let name = name.into_inner().into_owned();
        match value.into_inner() {
            DeValue::Table(section) => {
                contents.entries.extend(entries(text, section, &format!("{name}.")));
            }
            DeValue::Array(items) if is_list_of_tables(&items) => {
                for item in items {
                    let line = line_of(text, item.span().start);
                    if let DeValue::Table(table) = item.into_inner() {
                        let mut entries: Vec<Entry> = entries(text, table, "").collect();
                        entries.sort_by_key(|entry| entry.line);
                        contents.listed.push(Listed { list: name.clone(), line, entries });
                    }
                }
            }
            value => contents.entries.push(Entry { key: name, line, raw: raw(value) }),
        }
    }
    Ok(contents)
}

fn is_list_of_tables(items: &DeArray<'_>) -> bool {
    !items.is_empty() && items.iter().all(|item| matches!(item.get_ref(), DeValue::Table(_)))
}

/// The values of a table, under their names with this before them.
fn entries<'a>(text: &'a str, table: DeTable<'a>, before: &'a str) -> impl Iterator<Item = Entry> {
    table.into_iter().map(move |(name, value)| Entry {
        key: format!("{before}{}", name.get_ref()),
        line: line_of(text, name.span().start),
        raw: raw(value.into_inner()),
    })
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
        let mut entries = contents(text).unwrap().entries;
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
            assert_eq!(contents(text).unwrap().entries[0].raw, Raw::Other(kind), "{text}");
        }
    }

    #[test]
    fn tables_of_a_list_come_in_their_order_and_with_their_lines() {
        let text = "a = 1\n[[rule]]\nz = true\nb = \"x\"\n\n# more\n[[rule]]\n[other]\nc = 2\n";
        let found = contents(text).unwrap();
        assert_eq!(found.entries.len(), 2);
        let lines: Vec<_> = found.listed.iter().map(|listed| (&*listed.list, listed.line)).collect();
        assert_eq!(lines, [("rule", 2), ("rule", 7)]);
        let first: Vec<_> = found.listed[0].entries.iter().map(|entry| (&*entry.key, entry.line)).collect();
        assert_eq!(first, [("z", 3), ("b", 4)]);
        let inline = contents("rule = [{ a = 1 }, { a = 2 }]").unwrap();
        assert_eq!(inline.listed.len(), 2);
        assert_eq!(contents("rule = []").unwrap().entries[0].raw, Raw::List(Vec::new()));
    }

    #[test]
    fn a_file_that_is_not_toml_is_refused_with_its_line() {
        assert_eq!(contents("a = 1\nb = \n").unwrap_err().line, 2);
        assert_eq!(contents("a = 1\n\na = 2\n").unwrap_err().line, 3);
        assert!(!contents("=").unwrap_err().message.is_empty());
    }
}
