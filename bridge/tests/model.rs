//! The machine against a model of the contract: random commands by random users and devices over hours, with crashes, and after each of them
//! both say the same.
//!
//! The [machine](model/rig.rs) is the service below its sockets: payloads as published, sequencer, machine and store, on a disk whose
//! power is cut. The [model](model/rules.rs) is slow and obvious, and written from `topics.md`. What is compared: every answer, what each
//! device is shown, the receipts, the conversations, pages of history, what is marked, devices, and the lists with what is unread.
//!
//! `make test` asks for 20,000 things, `make proof` for a million: `MODEL_COMMANDS` says how many and `MODEL_SEED` where it begins. A
//! world is one seed; that of a disagreement repeats it, byte for byte.

#[path = "model/ask.rs"]
mod ask;
#[path = "model/compare.rs"]
mod compare;
#[path = "model/crowds.rs"]
mod crowds;
#[path = "model/draw.rs"]
mod draw;
#[path = "model/draw_groups.rs"]
mod draw_groups;
#[path = "model/gone.rs"]
mod gone;
#[path = "model/groups.rs"]
mod groups;
#[path = "model/marks.rs"]
mod marks;
#[path = "model/pages.rs"]
mod pages;
#[path = "model/rig.rs"]
mod rig;
#[path = "model/rules.rs"]
mod rules;
#[path = "model/state.rs"]
mod state;
#[path = "model/talk.rs"]
mod talk;
#[path = "model/ties.rs"]
mod ties;
#[path = "model/world.rs"]
mod world;

use ask::{BESIDE, NEVER_REFUSED, OTHER_KINDS};
use chasqui_proto::topic::Verb;
use world::{Tally, World};

/// Things asked in one world: what is compared in full stays small.
const IN_A_WORLD: u64 = 20_000;
/// In a run of a million each kind is to be accepted, and refused, so often; in a shorter one, in proportion, and a quarter of that will do.
const LONG: u64 = 1_000_000;
const OFTEN: u64 = 1_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|number| number.parse().expect("it is a number"))
}

#[test]
fn heavy_machine_and_model_agree_about_everything() {
    let commands = number("MODEL_COMMANDS").unwrap_or(IN_A_WORLD);
    let first: u64 = number("MODEL_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    let mut tally = Tally::default();
    let mut seed = first;
    while tally.commands() < commands {
        let some = IN_A_WORLD.min(commands - tally.commands());
        if let Err(why) = World::new(seed, &mut tally).run(some) {
            panic!(
                "{why}\nMODEL_SEED={seed} MODEL_COMMANDS={IN_A_WORLD} cargo test -p chasqui-bridge --test model"
            );
        }
        seed += 1;
    }
    println!("MODEL_SEED={first}: {} commands in {} worlds", tally.commands(), seed - first);
    println!(
        "{} crashes, {} commands unanswered by them, of which {} had happened; {} retries; {} receipts counted; {} hours",
        tally.crashes,
        tally.unanswered,
        tally.had_happened,
        tally.retries,
        tally.counted,
        tally.virtual_ms / 3_600_000
    );
    println!("| what | accepted | refused |\n|---|---|---|");
    for (kind, (accepted, refused)) in &tally.kinds {
        println!("| `{kind}` | {accepted} | {refused} |");
    }
    let often = if commands >= LONG { OFTEN } else { (commands * OFTEN / LONG / 4).max(1) };
    for kind in
        Verb::ALL.iter().filter(|verb| !BESIDE.contains(verb)).map(|verb| verb.name()).chain(OTHER_KINDS)
    {
        let (accepted, refused) = tally.kinds.get(kind).copied().unwrap_or_default();
        assert!(accepted >= often, "{kind} was accepted {accepted} times, and should be {often} times");
        let enough = NEVER_REFUSED.contains(&kind) || refused >= often;
        assert!(enough, "{kind} was refused {refused} times, and should be {often} times");
    }
    assert!(tally.counted >= often, "{} receipts were counted, and should be {often}", tally.counted);
    assert!(tally.crashes > 0 && tally.had_happened > 0 && tally.retries > 0);
}

/// Promises that the machine breaks, one at a time: `make mutations`. What names one is read once by a process, so each is a process.
#[cfg(feature = "mutations")]
mod mutants {
    use super::IN_A_WORLD;
    use std::process::Command;

    /// Each must be noticed within so many commands.
    const WITHIN: u64 = 4 * IN_A_WORLD;

    /// A mutation, and words of what is said about it.
    const MUTANTS: &[(&str, &str)] = &[
        ("SkipsFlush", ""),
        ("SkipsStateFlush", ""),
        ("ForgetsAcceptedIds", ""),
        ("TakesAllForDelivered", ""),
        ("TellsAheadOfDelivery", "is told of u/"),
        ("TellsOlderReads", "is told of u/"),
        ("EvictsWhatIsUnderWay", ""),
        ("KeepsRemovedMembers", ""),
        ("ShowsLaterHistory", ""),
        ("CountsWhoLeft", "is told of g/"),
        ("TakesEditsOfOthers", "Refused(Forbidden"),
    ];

    /// What the test says when a mutation is on; `None` when it finds nothing.
    fn found(mutation: &str) -> Option<String> {
        let mut test = Command::new(std::env::current_exe().expect("this runs"));
        test.args(["heavy_machine_and_model_agree_about_everything", "--exact", "--nocapture"]);
        test.env("CHASQUI_MUTATION", mutation)
            .env("MODEL_SEED", "1")
            .env("MODEL_COMMANDS", WITHIN.to_string());
        let output = test.output().expect("it runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (!output.status.success()).then_some(said)
    }

    #[test]
    fn heavy_every_mutation_is_noticed() {
        assert_eq!(found(""), None, "nothing is broken, and nothing is found");
        let mut wrong = Vec::new();
        for (mutation, words) in MUTANTS {
            match found(mutation) {
                Some(said) if said.contains(words) => {}
                Some(said) => wrong.push(format!("{mutation}: nothing is said of \"{words}\": {said}")),
                None => wrong.push(format!("{mutation} is not noticed within {WITHIN} commands")),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
