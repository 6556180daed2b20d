//! Promises of the server that are broken on purpose: the simulation finds each within so many seeds, and says which promise it is.
//!
//! A mutation is named by a variable that a process reads once, so each is a process of its own: `make mutations`.

#![cfg(feature = "mutations")]

use chasqui_bridge::mutation::Mutation as Service;
use chasqui_broker::mutation::Mutation as Broker;
use chasqui_storage::mutation::Mutation as Store;
use std::collections::BTreeSet;
use std::process::Command;

/// Seeds within which each must be found.
const WITHIN: u64 = 200;

/// A mutation, and words of what is to be said about it.
const MUTANTS: &[(&str, &str)] = &[
    ("SkipsFlush", ""),
    ("SkipsStateFlush", ""),
    ("GoesOnAfterFailure", ""),
    ("ForgetsAcceptedIds", "a message is in its conversation once"),
    ("TakesAllForDelivered", ""),
    ("TellsAheadOfDelivery", "receipts are true"),
    ("TellsOlderReads", "receipts "),
    ("EvictsWhatIsUnderWay", ""),
    ("WritesCursorsAhead", ""),
    ("KeepsRemovedMembers", "who is no member gets nothing"),
];

/// Those that the model test finds (`bridge/tests/model.rs`): they break what no client here asks for.
const BY_THE_MODEL: &[&str] = &["ShowsLaterHistory", "CountsWhoLeft", "TakesEditsOfOthers"];

/// What the program says when a mutation is on; `None` when it finds nothing.
fn found(mutation: &str) -> Option<String> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_chasqui-sim"));
    let output = program.args(["--seeds", &WITHIN.to_string()]).env("CHASQUI_MUTATION", mutation).output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (!output.status.success()).then_some(said)
}

#[test]
fn heavy_every_mutation_is_found() {
    assert_eq!(found(""), None, "nothing is broken, and nothing is found");
    let mut wrong = Vec::new();
    for (mutation, words) in MUTANTS {
        match found(mutation) {
            Some(said) if said.contains(words) => println!("{mutation}: {said}"),
            Some(said) => {
                wrong.push(format!("{mutation} is found, and nothing is said of \"{words}\": {said}"));
            }
            None => wrong.push(format!("{mutation} is not found within {WITHIN} seeds")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_mutation_has_its_line() {
    let lines = MUTANTS.iter().map(|(mutation, _)| *mutation).chain(BY_THE_MODEL.iter().copied());
    let lines: BTreeSet<&str> = lines.collect();
    assert_eq!(lines.len(), MUTANTS.len() + BY_THE_MODEL.len(), "a mutation is there twice");
    let all = Store::ALL.iter().map(|(name, _)| *name).chain(Service::ALL.iter().map(|(name, _)| *name));
    for mutation in all {
        assert!(lines.contains(mutation), "{mutation} has no line");
    }
    // One variable names them all.
    assert!(
        Broker::ALL.iter().all(|(name, _)| !lines.contains(name)),
        "a rule of the broker has the same name"
    );
}
