//! A bounded run of what fuzzers run without end: the same inputs every time, then others, whose seed is printed.
//!
//! `FUZZ_SEED=… cargo test -p chasqui-broker --lib fuzzing` repeats a run; `FUZZ_RUNS=…` makes it longer.

use super::{History, Seen, codec, session};
use crate::codec::client::ServerPacket;
use crate::codec::either::Any;
use crate::codec::{Packet, Sender, Version, sample};
use arbitrary::{Arbitrary, Unstructured};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Histories of each run.
const HISTORIES: usize = 1_500;
/// Inputs of the codec of each run.
const INPUTS: usize = 50_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

fn seeds() -> Vec<u64> {
    let random = number("FUZZ_SEED").unwrap_or_else(|| std::hash::RandomState::new().build_hasher().finish());
    println!("FUZZ_SEED={random}");
    vec![1, random]
}

/// A history of up to so many bytes of chance.
fn history(random: &mut SmallRng) -> History {
    let len = random.random_range(20..1_200);
    let mut bytes = vec![0; len];
    random.fill_bytes(&mut bytes);
    History::arbitrary(&mut Unstructured::new(&bytes)).expect("any bytes are a history")
}

fn outcome(history: &History) -> Result<Seen, String> {
    catch_unwind(AssertUnwindSafe(|| session(history))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(text.or_else(|| panic.downcast_ref().copied()).unwrap_or("it panics").to_owned())
    })
}

/// A fault by its sentence, without what differs from one to the next.
fn kind(sentence: &str) -> String {
    sentence.chars().filter(|one| !one.is_ascii_digit()).take(40).collect()
}

/// The shortest history found that goes wrong in the same way.
fn shortened(mut history: History, fault: &str) -> History {
    let mut step = history.operations.len() / 2;
    while step > 0 {
        let mut at = 0;
        while at < history.operations.len() {
            let mut shorter = history.clone();
            shorter.operations.drain(at..(at + step).min(history.operations.len()));
            if outcome(&shorter).is_err_and(|sentence| kind(&sentence) == fault) {
                history = shorter;
            } else {
                at += step;
            }
        }
        step /= 2;
    }
    history
}

/// Faults that are reported at once, at most.
const FAULTS: usize = 6;

#[test]
fn no_history_breaks_a_rule() {
    let runs = number("FUZZ_RUNS").map_or(HISTORIES, |runs| runs as usize);
    // By their sentences without the numbers, each once.
    let mut faults = BTreeMap::new();
    let mut seen = Seen::default();
    for seed in seeds() {
        let mut random = SmallRng::seed_from_u64(seed);
        for run in 0..runs {
            let history = history(&mut random);
            match outcome(&history) {
                Ok(one) => seen.add(one),
                Err(sentence) if faults.len() < FAULTS => {
                    let kind = kind(&sentence);
                    let report = || {
                        let history = shortened(history.clone(), &kind);
                        let sentence = outcome(&history).err().unwrap_or_default();
                        format!("{sentence}\nseed {seed}, history {run}: {history:?}\n")
                    };
                    faults.entry(kind.clone()).or_insert_with(report);
                }
                Err(_) => {}
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.into_values().collect::<String>());
    println!("{seen:?}");
}

/// Packets to begin with: bytes of chance alone are hardly ever one.
fn packets() -> Vec<Vec<u8>> {
    fn some<S: Strategy>(runner: &mut TestRunner, strategy: &S, make: impl Fn(S::Value) -> Any) -> Vec<Any> {
        (0..20).map(|_| make(strategy.new_tree(runner).expect("filters pass often").current())).collect()
    }
    let runner = &mut TestRunner::deterministic();
    let mut all = some(runner, &sample::connect(), |one| Any::Client(Packet::Connect(Box::new(one))));
    all.extend(some(runner, &sample::publish(), |one| Any::Client(Packet::Publish(one))));
    all.extend(some(runner, &sample::subscribe(), |one| Any::Client(Packet::Subscribe(one))));
    all.extend(some(runner, &sample::unsubscribe(), |one| Any::Client(Packet::Unsubscribe(one))));
    all.extend(some(runner, &sample::disconnect(Sender::Client), |one| Any::Client(Packet::Disconnect(one))));
    all.extend(some(runner, &sample::connack(), |one| Any::Server(ServerPacket::Connack(Box::new(one)))));
    all.extend(some(runner, &sample::suback(), |one| Any::Server(ServerPacket::Suback(one))));
    all.extend(some(runner, &sample::unsuback(), |one| Any::Server(ServerPacket::Unsuback(one))));
    all.extend(some(runner, &sample::auth(), |one| Any::Server(ServerPacket::Auth(Box::new(one)))));
    let of = |version| all.iter().map(move |packet| packet.encode(version));
    of(Version::V311).chain(of(Version::V5)).filter(|bytes| !bytes.is_empty()).collect()
}

#[test]
fn no_bytes_break_the_codec() {
    let packets = packets();
    for seed in seeds() {
        let mut random = SmallRng::seed_from_u64(seed);
        for _ in 0..INPUTS {
            let mut input = vec![random.random()];
            for _ in 0..random.random_range(1..4) {
                input.extend(&packets[random.random_range(0..packets.len())]);
            }
            for _ in 0..random.random_range(0..4) {
                let at = random.random_range(1..input.len());
                input[at] = random.random();
            }
            codec(&input);
        }
    }
}
