//! From a layer to the sorted chunk that goes down into the key-value store.

use super::{Overlay, ring_part};
use crate::{
    Position,
    key::{Key, log_entry},
    kv::{Chunk, ChunkOp, KvError},
};
use bytes::Bytes;

/// Widest trim that is written as single deletions, in entries. A range tombstone costs every later read of its file a look;
/// single ones are gone with the next compaction.
const NARROW: u64 = 16;

impl Overlay {
    /// Everything this layer changes, in the order of keys; it ends at `upto`. `ring_base` answers the items a ring has in
    /// the layers below.
    pub(crate) fn chunk(
        &self,
        upto: Position,
        ring_base: &mut dyn FnMut(&Key) -> Result<Vec<Bytes>, KvError>,
    ) -> Result<Chunk, KvError> {
        let logs: usize = self.logs.values().map(super::LogPart::ops).sum();
        let mut ops = Vec::with_capacity(logs + self.rings.len() + self.points.len() + self.sorted.len());
        self.log_ops(&mut ops);
        let records = ops.len();
        for (key, slot) in self.points.iter().chain(&self.sorted) {
            ops.push(match slot.value() {
                Some(value) => ChunkOp::Put { key: key.clone(), value: value.clone() },
                None => ChunkOp::Delete { key: key.clone() },
            });
        }
        for (key, part) in &self.rings {
            let base = if part.needs_base() { ring_base(key)? } else { Vec::new() };
            let items = part.onto(base);
            ops.push(if items.is_empty() {
                ChunkOp::Delete { key: key.clone() }
            } else {
                ChunkOp::Put { key: key.clone(), value: ring_part::encode(upto, &items) }
            });
        }
        ops[records..].sort_unstable_by(|a, b| a.first_key().cmp(b.first_key()));
        Ok(Chunk { ops })
    }

    /// Log by log: what is trimmed, then what is put, so that a put within a trimmed range stays.
    fn log_ops(&self, ops: &mut Vec<ChunkOp>) {
        let mut logs: Vec<_> = self.logs.iter().filter(|(_, part)| part.ops() > 0).collect();
        logs.sort_by_cached_key(|(id, _)| log_entry::prefix(id.as_bytes()));
        for (id, part) in logs {
            let key = |seq| log_entry::key(id.as_bytes(), seq);
            let start = ops.len();
            let overwritten = |seq: u64| part.rewritten(seq).next().is_some_and(|(at, _)| at == seq);
            for (from, to) in part.trimmed().iter() {
                if to - from <= NARROW {
                    let gone = (from..to).filter(|seq| !overwritten(*seq));
                    ops.extend(gone.map(|seq| ChunkOp::Delete { key: key(seq) }));
                } else {
                    ops.push(ChunkOp::DeleteRange { from: key(from), to: key(to) });
                }
            }
            let put = |(seq, value): (u64, &Bytes)| ChunkOp::Put { key: key(seq), value: value.clone() };
            ops.extend(part.rewritten(0).map(put));
            ops.extend(part.fresh(0).map(put));
            // Stable: a range that starts at the key of a put was pushed first and stays in front of it.
            ops[start..].sort_by(|a, b| a.first_key().cmp(b.first_key()));
        }
    }
}

impl ChunkOp {
    /// The key it is sorted by.
    fn first_key(&self) -> &Key {
        match self {
            ChunkOp::Put { key, .. } | ChunkOp::Delete { key } | ChunkOp::DeleteRange { from: key, .. } => {
                key
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::{self, LogId, RecordKey},
        op::Batch,
    };

    fn chunk(build: impl FnOnce(&mut Batch)) -> Vec<ChunkOp> {
        let mut batch = Batch::new();
        build(&mut batch);
        let mut overlay = Overlay::default();
        overlay.apply(&batch.into_payload()).unwrap();
        let base = vec![Bytes::from_static(b"base")];
        let chunk = overlay.chunk(Position::from(7), &mut |_| Ok(base.clone())).unwrap();
        assert!(chunk.ops.is_sorted_by_key(ChunkOp::first_key));
        chunk.ops
    }

    fn put(key: Key, value: &'static [u8]) -> ChunkOp {
        ChunkOp::Put { key, value: Bytes::from_static(value) }
    }

    #[test]
    fn a_delivered_and_trimmed_entry_and_a_moved_cursor_do_not_go_down() {
        let inbox = LogId::new("in/bob");
        let cursor = RecordKey::session(b"bob", b"phone");
        let ops = chunk(|batch| {
            for seq in 1..=100 {
                batch.append(&inbox, seq, b"message").put(&cursor, &[seq as u8]).trim(&inbox, seq, seq + 1);
                batch.set_state(b"receipts", b"alice", seq, &[seq as u8], (seq > 1).then(|| seq - 1));
                batch.due_put(seq, b"retry", b"").due_remove(seq, b"retry");
            }
        });
        let mut state = 100u64.to_be_bytes().to_vec();
        state.push(100);
        let expected = [
            ChunkOp::Put { key: key::state_value::key(b"receipts", b"alice"), value: state.into() },
            put(key::state_change::key(b"receipts", 100), b"alice"),
            put(key::session::key(b"bob", b"phone"), &[100]),
        ];
        assert_eq!(ops, expected, "of 700 operations three are left");
    }

    #[test]
    fn a_wide_trim_is_a_range_and_a_narrow_one_is_not() {
        let log = LogId::new("log");
        let at = |seq| key::log_entry::key(b"log", seq);
        let ops = chunk(|batch| {
            batch
                .trim(&log, 10, 12)
                .rewrite(&log, 11, b"new")
                .trim(&log, 100, 200)
                .rewrite(&log, 100, b"first");
            batch.rewrite(&log, 150, b"in it");
        });
        let expected = [
            ChunkOp::Delete { key: at(10) },
            put(at(11), b"new"),
            ChunkOp::DeleteRange { from: at(100), to: at(200) },
            put(at(100), b"first"),
            put(at(150), b"in it"),
        ];
        assert_eq!(ops, expected);
    }

    #[test]
    fn a_ring_goes_down_with_its_base_unless_that_no_longer_counts() {
        let ops = chunk(|batch| {
            batch.ring_push(b"a", 9, b"new").ring_push(b"b", 1, b"all").ring_remove(b"c");
        });
        let ring = |items: &[&'static [u8]]| {
            ring_part::encode(
                Position::from(7),
                &items.iter().copied().map(Bytes::from_static).collect::<Vec<_>>(),
            )
        };
        let expected = [
            ChunkOp::Put { key: key::ring::key(b"a"), value: ring(&[b"base", b"new"]) },
            ChunkOp::Put { key: key::ring::key(b"b"), value: ring(&[b"all"]) },
            ChunkOp::Delete { key: key::ring::key(b"c") },
        ];
        assert_eq!(ops, expected);
    }
}
