//! The tests every [`KeyValue`] passes.

use super::{Chunk, ChunkOp, Direction, FORMAT_VERSION, KeyValue};
use crate::{
    Position,
    key::{self, Key},
};
use bytes::Bytes;
use std::ops::ControlFlow;

/// Runs every test, each on a fresh store from `make`, which is given the test's name.
pub(super) fn run(make: &mut dyn FnMut(&str) -> Box<dyn KeyValue>) {
    fresh(&*make("fresh"));
    put_get_delete(&*make("put_get_delete"));
    scans(&*make("scans"));
    ranges(&*make("ranges"));
    last_keys(&*make("last_keys"));
    positions(&*make("positions"));
    many(&*make("many"));
}

fn put(key: Key, value: &[u8]) -> ChunkOp {
    ChunkOp::Put { key, value: Bytes::copy_from_slice(value) }
}

fn chunk(mut ops: Vec<ChunkOp>) -> Chunk {
    ops.sort_by(|a, b| first(a).cmp(first(b)));
    Chunk { ops }
}

fn first(op: &ChunkOp) -> &Key {
    match op {
        ChunkOp::Put { key, .. } | ChunkOp::Delete { key } | ChunkOp::DeleteRange { from: key, .. } => key,
    }
}

fn seen(
    kv: &dyn KeyValue,
    from: &[u8],
    to: &[u8],
    direction: Direction,
    max: usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut seen = Vec::new();
    kv.scan(from, to, direction, &mut |key, value| {
        seen.push((key.to_vec(), value.to_vec()));
        if seen.len() == max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    seen
}

fn fresh(kv: &dyn KeyValue) {
    assert_eq!(kv.applied(), Position::default());
    assert_eq!(kv.format_version(), None);
    assert_eq!(kv.get(key::record::key(b"a").as_bytes()).unwrap(), None);
    assert!(seen(kv, &[2], &[3], Direction::Forward, 9).is_empty());
}

fn put_get_delete(kv: &dyn KeyValue) {
    let (record, entry) = (key::record::key(b"a"), key::log_entry::key(b"log", 1));
    kv.write(&chunk(vec![put(record.clone(), b"one"), put(entry.clone(), b"")]), Position::from(1)).unwrap();
    assert_eq!(kv.get(record.as_bytes()).unwrap().as_deref(), Some(&b"one"[..]));
    assert_eq!(kv.get(entry.as_bytes()).unwrap().as_deref(), Some(&b""[..]), "an empty value is a value");
    let two = vec![put(record.clone(), b"two"), ChunkOp::Delete { key: entry.clone() }];
    kv.write(&chunk(two), Position::from(2)).unwrap();
    kv.flush().unwrap();
    assert_eq!(kv.get(record.as_bytes()).unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(kv.get(entry.as_bytes()).unwrap(), None);
    kv.write(&chunk(vec![ChunkOp::Delete { key: entry }]), Position::from(3)).unwrap();
}

fn scans(kv: &dyn KeyValue) {
    let keys: Vec<Key> = (0..100).map(|seq| key::log_entry::key(b"log", seq * 10)).collect();
    let other = key::log_entry::key(b"lot", 5);
    let mut ops: Vec<ChunkOp> = keys.iter().map(|key| put(key.clone(), key.as_bytes())).collect();
    ops.push(put(other, b"x"));
    kv.write(&chunk(ops), Position::from(1)).unwrap();
    let at = |seq| key::log_entry::key(b"log", seq);
    let found = |from, to, direction, max| -> Vec<u64> {
        seen(kv, at(from).as_bytes(), at(to).as_bytes(), direction, max)
            .iter()
            .map(|(key, value)| {
                assert_eq!(key, value);
                key::log_entry::parse(key).unwrap().1
            })
            .collect()
    };
    assert_eq!(found(10, 40, Direction::Forward, 99), [10, 20, 30], "from is in, to is not");
    assert_eq!(found(10, 40, Direction::Backward, 99), [30, 20, 10]);
    assert_eq!(found(11, 41, Direction::Forward, 2), [20, 30], "and it stops when told");
    assert_eq!(found(11, 41, Direction::Backward, 1), [40]);
    assert_eq!(found(0, u64::MAX, Direction::Forward, 999).len(), 100);
    assert_eq!(found(0, u64::MAX, Direction::Backward, 999).len(), 100);
    assert_eq!(found(995, u64::MAX, Direction::Backward, 999), []);
    assert_eq!(found(40, 10, Direction::Forward, 999), [], "a range the wrong way round is empty");
}

fn ranges(kv: &dyn KeyValue) {
    let at = |seq| key::log_entry::key(b"log", seq);
    kv.write(&chunk((0..20).map(|seq| put(at(seq), b"old")).collect()), Position::from(1)).unwrap();
    kv.flush().unwrap();
    // What is put within a deleted range, in the same chunk and behind it, stays.
    let ops = vec![ChunkOp::DeleteRange { from: at(5), to: at(15) }, put(at(7), b"new")];
    kv.write(&chunk(ops), Position::from(2)).unwrap();
    let left = || -> Vec<u64> {
        let all = seen(kv, at(0).as_bytes(), at(99).as_bytes(), Direction::Forward, 99);
        all.iter().map(|(key, _)| key::log_entry::parse(key).unwrap().1).collect()
    };
    let expected: Vec<u64> = (0..5).chain([7]).chain(15..20).collect();
    assert_eq!(left(), expected);
    kv.flush().unwrap();
    assert_eq!(left(), expected);
    assert_eq!(kv.get(at(6).as_bytes()).unwrap(), None);
    assert_eq!(kv.get(at(7).as_bytes()).unwrap().as_deref(), Some(&b"new"[..]));
}

fn last_keys(kv: &dyn KeyValue) {
    let at = |log: &[u8], seq| key::log_entry::key(log, seq);
    let last = |log: &[u8], end| {
        let key = kv.last_key(at(log, 0).as_bytes(), at(log, end).as_bytes()).unwrap();
        key.map(|key| key::log_entry::parse(&key).unwrap().1)
    };
    let ops = [b"a", b"c"].iter().flat_map(|log| (1..9).map(|seq| put(at(&log[..], seq), b"x")));
    kv.write(&chunk(ops.collect()), Position::from(1)).unwrap();
    kv.flush().unwrap();
    assert_eq!(
        (last(b"a", 99), last(b"a", 5), last(b"b", 99), last(b"c", 0)),
        (Some(8), Some(4), None, None)
    );
    // What is left, or what went with a range: never one before what is left, and none of another log.
    let trim = |from, to| ChunkOp::DeleteRange { from: at(b"c", from), to: at(b"c", to) };
    for (number, (trimmed, left)) in [(trim(5, 9), Some(4)), (trim(0, 5), None)].into_iter().enumerate() {
        kv.write(&chunk(vec![trimmed]), Position::from(2 + number as u64)).unwrap();
        let found = last(b"c", 99);
        assert!(found >= left && found <= Some(8), "{found:?}, and {left:?} is left");
    }
    assert_eq!(last(b"a", 99), Some(8));
}

fn positions(kv: &dyn KeyValue) {
    kv.write(&Chunk::default(), Position::from(77)).unwrap();
    assert_eq!(kv.applied(), Position::from(77));
    assert_eq!(kv.format_version(), Some(FORMAT_VERSION));
    kv.flush().unwrap();
    kv.flush().unwrap();
    assert_eq!(kv.applied(), Position::from(77));
}

fn many(kv: &dyn KeyValue) {
    for round in 0..5u64 {
        let ops = (0..1000u64)
            .map(|at| put(key::record::key(format!("{at:05}").as_bytes()), &(at * round).to_le_bytes()))
            .collect();
        kv.write(&chunk(ops), Position::from(round + 1)).unwrap();
        kv.flush().unwrap();
    }
    for at in [0u64, 1, 500, 999] {
        let value = kv.get(key::record::key(format!("{at:05}").as_bytes()).as_bytes()).unwrap();
        assert_eq!(value.as_deref(), Some(&(at * 4).to_le_bytes()[..]));
    }
    assert_eq!(seen(kv, &[2], &[3], Direction::Forward, 9999).len(), 1000);
}
