//! This codec against another one, `mqtt-proto`: on valid packets and on damaged ones both must say the same, but for the
//! differences that are listed with their reasons.

#[path = "codec/build.rs"]
#[allow(dead_code)]
mod build;
#[path = "codec/corpus.rs"]
#[allow(dead_code)]
mod corpus;
#[path = "codec/known.rs"]
mod known;
#[path = "codec/oracle.rs"]
mod oracle;
#[path = "../src/codec/sample.rs"]
#[allow(dead_code)]
mod sample;

/// What `sample` knows the codec as.
mod codec {
    pub(crate) use chasqui_broker::codec::*;
}

use std::collections::HashSet;

use corpus::{Case, Random, broken, valid};
use oracle::{Verdict, ask};

const DAMAGED: usize = 500_000;

/// Whether both say the same: they refuse, they wait for more, or they have read the same. What the oracle has read is seen by
/// reading what it writes.
fn agree(case: &Case, theirs: &Verdict) -> bool {
    match (case.decode(), theirs) {
        (Ok(Some((packet, len))), Verdict::Accepts { used, written }) => {
            let again = Case { bytes: written.clone(), ..case.clone() };
            len == *used && again.decode() == Ok(Some((packet, written.len())))
        }
        (Ok(None), Verdict::Incomplete) | (Err(_), Verdict::Refuses(_)) => true,
        _ => false,
    }
}

/// The place in the list of known differences, if they differ; an unlisted difference fails.
fn difference(case: &Case, known: &[known::Known]) -> Option<usize> {
    let theirs = ask(case);
    if agree(case, &theirs) {
        return None;
    }
    let ours = case.decode();
    let place = known.iter().position(|known| (known.covers)(case, &ours, &theirs));
    assert!(
        place.is_some(),
        "a difference that is not listed:\n{case:02X?}\nours   {ours:?}\ntheirs {theirs:?}"
    );
    place
}

#[test]
fn every_known_difference_is_one() {
    let known = known::all();
    let mut reasons = HashSet::new();
    for (place, one) in known.iter().enumerate() {
        assert_eq!(difference(&one.example, &known), Some(place), "{}: {:02X?}", one.why, one.example);
        assert!(reasons.insert(one.why), "{} is there twice", one.why);
    }
}

#[test]
fn valid_packets_are_read_the_same() {
    let known = known::all();
    let mut agreed = 0;
    let cases = valid(200);
    for case in &cases {
        let ours = case.decode();
        assert!(matches!(ours, Ok(Some(_))), "{case:02X?} {ours:?}");
        agreed += usize::from(difference(case, &known).is_none());
    }
    assert!(agreed > cases.len() * 9 / 10, "{agreed} of {}", cases.len());
}

#[test]
fn damaged_packets_are_judged_the_same() {
    let known = known::all();
    let cases = valid(60);
    let mut random = Random(2);
    let mut found = vec![0; known.len()];
    let mut agreed = 0;
    for _ in 0..DAMAGED {
        let case = &cases[random.below(cases.len())];
        let other = &cases[random.below(cases.len())];
        match difference(&broken(case, other, &mut random), &known) {
            Some(place) => found[place] += 1,
            None => agreed += 1,
        }
    }
    assert!(agreed > DAMAGED * 8 / 10, "{agreed} of {DAMAGED}; {found:?}");
}
