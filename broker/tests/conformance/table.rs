//! Holds `conformance.md` against the lists of the standards and against the tests that there are.

use crate::statements::{self, V5, V311};
use std::collections::BTreeSet;

/// One row: the numbers of its statements in both standards, and who shows them.
#[derive(Debug)]
struct Row {
    v311: Vec<String>,
    v5: Vec<String>,
    says: String,
    shown_by: String,
}

impl Row {
    /// The tests it names.
    fn tests(&self) -> Vec<String> {
        let quoted = self.shown_by.split('`').skip(1).step_by(2);
        quoted.filter(|name| name.contains("::")).map(str::to_owned).collect()
    }
}

fn text() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance.md"))
        .expect("the table can be read")
}

fn numbers(cell: &str) -> Vec<String> {
    cell.split(',').map(str::trim).filter(|number| !number.is_empty()).map(str::to_owned).collect()
}

fn rows() -> Vec<Row> {
    let text = text();
    let lines = text.lines().filter(|line| line.starts_with('|'));
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    let rows = cells.filter(|cells| cells[0] != "3.1.1" && !cells[0].starts_with("---"));
    rows.map(|cells| {
        assert_eq!(cells.len(), 4, "a row has four cells: {cells:?}");
        let (says, shown_by) = (cells[2].to_owned(), cells[3].to_owned());
        Row { v311: numbers(cells[0]), v5: numbers(cells[1]), says, shown_by }
    })
    .collect()
}

/// What the table says about one standard: the numbers in its rows and those that bind the client alone, in the order written.
fn listed(version: &str, column: impl Fn(&Row) -> &Vec<String>) -> Vec<String> {
    let mut listed: Vec<String> = rows().iter().flat_map(|row| column(row).clone()).collect();
    let text = text();
    for line in text.lines().filter_map(|line| line.strip_prefix("Bind the client alone: ")) {
        for of in line.trim_end_matches('.').split(" · ") {
            let (standard, list) = of.split_once(": ").expect("a standard and its numbers");
            assert!(matches!(standard, "3.1.1" | "5.0"), "{line}");
            if standard == version {
                listed.extend(numbers(list));
            }
        }
    }
    listed
}

fn is_complete(version: &str, column: impl Fn(&Row) -> &Vec<String>, all: &[String]) {
    let listed = listed(version, column);
    let once: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(once.len(), listed.len(), "{version}: a statement is there twice in {listed:?}");
    let unknown: Vec<_> = listed.iter().filter(|number| !all.contains(number)).collect();
    assert!(unknown.is_empty(), "{version} has no statements {unknown:?}");
    let missing: Vec<_> = all.iter().filter(|number| !once.contains(number)).collect();
    assert!(missing.is_empty(), "{version}: no row for {missing:?}");
}

#[test]
fn every_statement_of_3_1_1_is_in_the_table_once() {
    let all = statements::all(V311);
    assert_eq!(all.len(), 141);
    is_complete("3.1.1", |row| &row.v311, &all);
}

#[test]
fn every_statement_of_5_0_is_in_the_table_once() {
    let all = statements::all(V5);
    assert_eq!(all.len(), 251);
    is_complete("5.0", |row| &row.v5, &all);
}

#[test]
fn every_row_names_a_test_or_a_reason() {
    for row in rows() {
        assert!(!row.v311.is_empty() || !row.v5.is_empty(), "a row without a statement: {row:?}");
        assert!(!row.says.is_empty(), "{row:?}");
        match row.shown_by.strip_prefix("— ") {
            Some(reason) => {
                assert!(reason.split_whitespace().count() >= 5, "a reason is a sentence: {row:?}");
            }
            None => assert!(!row.tests().is_empty(), "neither a test nor a reason: {row:?}"),
        }
    }
}

/// The names of all tests in this binary that show a statement, as the test runner lists them.
fn existing() -> BTreeSet<String> {
    let this = std::env::current_exe().expect("a test knows its binary");
    let output =
        std::process::Command::new(this).args(["--list", "--format", "terse"]).output().expect("it runs");
    let output = String::from_utf8(output.stdout).expect("names are UTF-8");
    let names = output.lines().filter_map(|line| line.strip_suffix(": test"));
    let names = names.filter(|name| !name.starts_with("table::") && !name.starts_with("mutants::"));
    names.map(str::to_owned).collect()
}

#[test]
fn every_test_that_is_named_exists_and_every_test_is_named() {
    let existing = existing();
    let named: BTreeSet<String> = rows().iter().flat_map(Row::tests).collect();
    let missing: Vec<_> = named.difference(&existing).collect();
    assert!(missing.is_empty(), "there are no tests {missing:?}");
    let unnamed: Vec<_> = existing.difference(&named).collect();
    assert!(unnamed.is_empty(), "no row names {unnamed:?}");
}

/// Whether the row of a statement names a test.
#[cfg(feature = "mutations")]
pub(crate) fn shows(version: &str, number: &str, test: &str) -> bool {
    let column = |row: &Row| if version == "5.0" { row.v5.clone() } else { row.v311.clone() };
    rows()
        .iter()
        .any(|row| column(row).iter().any(|of| of == number) && row.tests().iter().any(|of| of == test))
}
