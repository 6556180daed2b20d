//! Changes as bytes: a [`Batch`] encodes them straight into the payload that goes to the commit log, and the same bytes are
//! decoded to apply them, when they are committed and when the log is replayed.
//!
//! A payload is a version byte, then operations: a tag, then numbers as varints and byte strings with their length in front.
//! Applying a payload needs no look at what is there already: whatever an operation must know about the past (the position a
//! state was set at before, the time something was due) comes with it.

use crate::{
    key::{Kind, LogId, RecordKey},
    varint,
};
use bytes::Bytes;
use thiserror::Error;

/// Version of the payload format.
const VERSION: u8 = 1;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const APPEND: u8 = 3;
const REWRITE: u8 = 4;
const TRIM: u8 = 5;
const SET_STATE: u8 = 6;
const REMOVE_STATE: u8 = 7;
const RING_PUSH: u8 = 8;
const RING_REMOVE: u8 = 9;
const DUE_PUT: u8 = 10;
const DUE_REMOVE: u8 = 11;

/// Bytes of the position in front of a state's value, in the operation and in the store.
pub(crate) const STATE_HEADER: usize = 8;

/// More room than this goes with the batch that needed it, in bytes.
const ROOM_KEPT: usize = 1 << 20;

/// Changes that are committed together: after a crash all of them are there, or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Empty while there is no operation, else the whole payload.
    payload: Vec<u8>,
    ops: usize,
}

impl Batch {
    /// A batch without changes. Submitting one writes nothing, but its turn comes behind everything before it.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// As [`Batch::new`], with room for `bytes` of payload.
    pub fn with_capacity(bytes: usize) -> Batch {
        Batch { payload: Vec::with_capacity(bytes), ops: 0 }
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.ops
    }

    /// Whether there is no operation.
    pub fn is_empty(&self) -> bool {
        self.ops == 0
    }

    /// Bytes of the payload so far.
    pub fn payload_len(&self) -> usize {
        self.payload.len()
    }

    /// Sets a record.
    pub fn put(&mut self, key: &RecordKey, value: &[u8]) -> &mut Batch {
        self.op(PUT).bytes(key.as_bytes()).bytes(value)
    }

    /// Removes a record, whether or not it is there.
    pub fn delete(&mut self, key: &RecordKey) -> &mut Batch {
        self.op(DELETE).bytes(key.as_bytes())
    }

    /// Adds entry `seq` to a log. Sequence numbers of a log only grow and are never used again, not even after a trim:
    /// keep the head of the log in a record of its own.
    pub fn append(&mut self, log: &LogId, seq: u64, value: &[u8]) -> &mut Batch {
        self.op(APPEND).bytes(log.as_bytes()).number(seq).bytes(value)
    }

    /// Replaces an entry that was appended before and not trimmed since.
    pub fn rewrite(&mut self, log: &LogId, seq: u64, value: &[u8]) -> &mut Batch {
        self.op(REWRITE).bytes(log.as_bytes()).number(seq).bytes(value)
    }

    /// Removes the entries `from..to` of a log. Wide ranges are cheaper than many narrow ones.
    pub fn trim(&mut self, log: &LogId, from: u64, to: u64) -> &mut Batch {
        self.op(TRIM).bytes(log.as_bytes()).number(from).number(to)
    }

    /// Sets the latest value of `topic` in `group`. Positions of a group only grow; `previous_position` is the one at which
    /// this topic was set before, if it was: its place in the change index goes.
    pub fn set_state(
        &mut self,
        group: &[u8],
        topic: &[u8],
        position: u64,
        value: &[u8],
        previous_position: Option<u64>,
    ) -> &mut Batch {
        let batch = self.op(SET_STATE).bytes(group).bytes(topic).optional(previous_position);
        // Position and value lie together, so that what is stored is one slice of the payload.
        batch.number((STATE_HEADER + value.len()) as u64);
        batch.payload.extend_from_slice(&position.to_be_bytes());
        batch.payload.extend_from_slice(value);
        batch
    }

    /// Removes a topic from a group; `previous_position` as in [`Batch::set_state`]. Readers are not told: to tell them, set a
    /// value that says so.
    pub fn remove_state(&mut self, group: &[u8], topic: &[u8], previous_position: Option<u64>) -> &mut Batch {
        self.op(REMOVE_STATE).bytes(group).bytes(topic).optional(previous_position)
    }

    /// Adds an item to a ring, which keeps the last `capacity` of them.
    pub fn ring_push(&mut self, ring: &[u8], capacity: u32, item: &[u8]) -> &mut Batch {
        self.op(RING_PUSH).bytes(ring).number(u64::from(capacity)).bytes(item)
    }

    /// Removes a ring with all its items.
    pub fn ring_remove(&mut self, ring: &[u8]) -> &mut Batch {
        self.op(RING_REMOVE).bytes(ring)
    }

    /// Notes that `id` falls due at `at_ms` (Unix milliseconds). One put for each removal: a pair of time and id that is put
    /// twice may come back after it was removed, so who takes what is due looks at the thing itself before acting.
    pub fn due_put(&mut self, at_ms: u64, id: &[u8], value: &[u8]) -> &mut Batch {
        self.op(DUE_PUT).number(at_ms).bytes(id).bytes(value)
    }

    /// Takes `id` off the list of what falls due at `at_ms`.
    pub fn due_remove(&mut self, at_ms: u64, id: &[u8]) -> &mut Batch {
        self.op(DUE_REMOVE).number(at_ms).bytes(id)
    }

    /// Sets the ordered record `id` of `space`: [`Batch::put`] for [`RecordKey::ordered`].
    pub fn ordered_put(&mut self, space: u8, id: &[u8], value: &[u8]) -> &mut Batch {
        self.put(&RecordKey::ordered(space, id), value)
    }

    /// Removes the ordered record `id` of `space`.
    pub fn ordered_remove(&mut self, space: u8, id: &[u8]) -> &mut Batch {
        self.delete(&RecordKey::ordered(space, id))
    }

    /// Adds all operations of `other` behind those that are here.
    pub fn extend(&mut self, other: &Batch) -> &mut Batch {
        if self.payload.is_empty() {
            self.payload.extend_from_slice(&other.payload);
        } else {
            self.payload.extend_from_slice(other.payload.get(1..).unwrap_or_default());
        }
        self.ops += other.ops;
        self
    }

    /// Takes what is there, in just as much memory, and keeps the room for the next: who builds one batch after the other has its memory
    /// at hand, instead of new memory that grows by copying.
    #[must_use]
    pub fn take(&mut self) -> Batch {
        if self.payload.capacity() > ROOM_KEPT {
            return std::mem::take(self);
        }
        let taken = self.clone();
        self.payload.clear();
        self.ops = 0;
        taken
    }

    /// The payload for the commit log; empty if there is no operation.
    pub fn into_payload(self) -> Bytes {
        self.payload.into()
    }

    fn op(&mut self, tag: u8) -> &mut Batch {
        if self.payload.is_empty() {
            self.payload.push(VERSION);
        }
        self.payload.push(tag);
        self.ops += 1;
        self
    }

    fn number(&mut self, value: u64) -> &mut Batch {
        varint::put(&mut self.payload, value);
        self
    }

    fn optional(&mut self, value: Option<u64>) -> &mut Batch {
        match value {
            None => self.payload.push(0),
            Some(value) => {
                self.payload.push(1);
                varint::put(&mut self.payload, value);
            }
        }
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Batch {
        varint::put_bytes(&mut self.payload, bytes);
        self
    }
}

/// One change, as slices of the payload it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are the arguments of the methods of `Batch` with the same names.
pub enum Op<'a> {
    Put { key: &'a [u8], kind: Kind, value: &'a [u8] },
    Delete { key: &'a [u8], kind: Kind },
    Append { log: &'a [u8], seq: u64, value: &'a [u8] },
    Rewrite { log: &'a [u8], seq: u64, value: &'a [u8] },
    Trim { log: &'a [u8], from: u64, to: u64 },
    SetState { group: &'a [u8], topic: &'a [u8], position: u64, previous: Option<u64>, stored: &'a [u8] },
    RemoveState { group: &'a [u8], topic: &'a [u8], previous: Option<u64> },
    RingPush { ring: &'a [u8], capacity: u32, item: &'a [u8] },
    RingRemove { ring: &'a [u8] },
    DuePut { at_ms: u64, id: &'a [u8], value: &'a [u8] },
    DueRemove { at_ms: u64, id: &'a [u8] },
}

/// A payload in the commit log that this program cannot apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpError {
    /// It was written by a newer version.
    #[error(
        "a batch in the commit log has format version {0}, newer than the {VERSION} this program reads; use the program that wrote it, or a newer one"
    )]
    Newer(u8),
    /// It has an operation this version does not know.
    #[error(
        "a batch in the commit log has an operation of unknown type {0}; use the program that wrote it, or a newer one"
    )]
    Unknown(u8),
    /// It ends early or says what no batch says.
    #[error(
        "a batch in the commit log does not make sense at byte {0}, although its checksum matches; please report this"
    )]
    Malformed(usize),
}

/// The operations of a payload, in order. Ends after the first error.
pub fn decode(payload: &[u8]) -> Ops<'_> {
    Ops { whole: payload.len(), rest: payload, started: false }
}

/// See [`decode`].
pub struct Ops<'a> {
    whole: usize,
    rest: &'a [u8],
    started: bool,
}

impl<'a> Ops<'a> {
    #[inline]
    fn take(&mut self) -> Option<Op<'a>> {
        let (tag, rest) = self.rest.split_first()?;
        let input = &mut { rest };
        let op = match *tag {
            PUT => {
                let (key, kind) = take_key(input)?;
                Op::Put { key, kind, value: varint::take_bytes(input)? }
            }
            DELETE => {
                let (key, kind) = take_key(input)?;
                Op::Delete { key, kind }
            }
            APPEND => Op::Append {
                log: varint::take_bytes(input)?,
                seq: varint::take(input)?,
                value: varint::take_bytes(input)?,
            },
            REWRITE => Op::Rewrite {
                log: varint::take_bytes(input)?,
                seq: varint::take(input)?,
                value: varint::take_bytes(input)?,
            },
            TRIM => Op::Trim {
                log: varint::take_bytes(input)?,
                from: varint::take(input)?,
                to: varint::take(input)?,
            },
            SET_STATE => {
                let (group, topic) = (varint::take_bytes(input)?, varint::take_bytes(input)?);
                let previous = take_previous(input)?;
                let stored = varint::take_bytes(input)?;
                let position = u64::from_be_bytes(*stored.first_chunk::<STATE_HEADER>()?);
                Op::SetState { group, topic, position, previous, stored }
            }
            REMOVE_STATE => Op::RemoveState {
                group: varint::take_bytes(input)?,
                topic: varint::take_bytes(input)?,
                previous: take_previous(input)?,
            },
            RING_PUSH => Op::RingPush {
                ring: varint::take_bytes(input)?,
                capacity: varint::take(input)?.try_into().ok()?,
                item: varint::take_bytes(input)?,
            },
            RING_REMOVE => Op::RingRemove { ring: varint::take_bytes(input)? },
            DUE_PUT => Op::DuePut {
                at_ms: varint::take(input)?,
                id: varint::take_bytes(input)?,
                value: varint::take_bytes(input)?,
            },
            DUE_REMOVE => Op::DueRemove { at_ms: varint::take(input)?, id: varint::take_bytes(input)? },
            _ => return None,
        };
        self.rest = input;
        Some(op)
    }

    /// Ends the iteration with an error.
    fn fail(&mut self, error: OpError) -> OpError {
        self.rest = &[];
        error
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Result<Op<'a>, OpError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if !self.started {
            self.started = true;
            let (version, rest) = self.rest.split_first()?;
            match *version {
                VERSION => self.rest = rest,
                0 => return Some(Err(self.fail(OpError::Malformed(0)))),
                newer => return Some(Err(self.fail(OpError::Newer(newer)))),
            }
        }
        let tag = *self.rest.first()?;
        let at = self.whole - self.rest.len();
        Some(match self.take() {
            Some(op) => Ok(op),
            None if tag == 0 || tag > DUE_REMOVE => Err(self.fail(OpError::Unknown(tag))),
            None => Err(self.fail(OpError::Malformed(at))),
        })
    }
}

#[inline]
fn take_key<'a>(input: &mut &'a [u8]) -> Option<(&'a [u8], Kind)> {
    let key = varint::take_bytes(input)?;
    let kind = Kind::from_byte(*key.first()?)?;
    RecordKey::names(kind).then_some((key, kind))
}

#[inline]
#[allow(clippy::option_option, reason = "outside: whether it could be read; inside: what it says")]
fn take_previous(input: &mut &[u8]) -> Option<Option<u64>> {
    match varint::take(input)? {
        0 => Some(None),
        1 => Some(Some(varint::take(input)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_operation_comes_back_as_it_was_put() {
        let log = LogId::new("in/alice");
        let session = RecordKey::session(b"alice", b"phone");
        let mut batch = Batch::new();
        batch
            .put(&session, b"cursor")
            .delete(&session)
            .append(&log, 7, b"entry")
            .rewrite(&log, 6, b"gone")
            .trim(&log, 1, 300)
            .set_state(b"group", b"topic", 9, b"value", Some(4))
            .set_state(b"group", b"topic", 9, b"", None)
            .remove_state(b"group", b"topic", Some(9))
            .ring_push(b"ring", 256, b"item")
            .ring_remove(b"ring")
            .due_put(5, b"id", b"v")
            .due_remove(5, b"id")
            .ordered_put(3, b"a/b", b"retained")
            .ordered_remove(3, b"a/b");
        assert_eq!(batch.len(), 14);
        let payload = batch.into_payload();
        let ops: Vec<Op<'_>> = decode(&payload).collect::<Result<_, _>>().unwrap();
        let (key, ordered) = (session.as_bytes(), RecordKey::ordered(3, b"a/b"));
        let nine: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 9];
        let nine_value = [nine, b"value"].concat();
        let expected = [
            Op::Put { key, kind: Kind::Session, value: b"cursor" },
            Op::Delete { key, kind: Kind::Session },
            Op::Append { log: b"in/alice", seq: 7, value: b"entry" },
            Op::Rewrite { log: b"in/alice", seq: 6, value: b"gone" },
            Op::Trim { log: b"in/alice", from: 1, to: 300 },
            Op::SetState {
                group: b"group",
                topic: b"topic",
                position: 9,
                previous: Some(4),
                stored: &nine_value,
            },
            Op::SetState { group: b"group", topic: b"topic", position: 9, previous: None, stored: nine },
            Op::RemoveState { group: b"group", topic: b"topic", previous: Some(9) },
            Op::RingPush { ring: b"ring", capacity: 256, item: b"item" },
            Op::RingRemove { ring: b"ring" },
            Op::DuePut { at_ms: 5, id: b"id", value: b"v" },
            Op::DueRemove { at_ms: 5, id: b"id" },
            Op::Put { key: ordered.as_bytes(), kind: Kind::Ordered, value: b"retained" },
            Op::Delete { key: ordered.as_bytes(), kind: Kind::Ordered },
        ];
        assert_eq!(ops, expected);
    }

    #[test]
    fn an_empty_batch_has_an_empty_payload() {
        assert!(Batch::new().is_empty());
        assert!(Batch::new().into_payload().is_empty());
        assert_eq!(decode(&[]).count(), 0);
    }

    #[test]
    fn batches_join() {
        let (mut one, mut two, mut both) = (Batch::new(), Batch::new(), Batch::new());
        one.due_remove(1, b"a");
        two.due_remove(2, b"b");
        both.due_remove(1, b"a").due_remove(2, b"b");
        let mut joined = Batch::new();
        joined.extend(&Batch::new()).extend(&one).extend(&Batch::new()).extend(&two);
        assert_eq!(joined, both);
    }

    #[test]
    fn a_newer_version_and_an_unknown_operation_are_named() {
        assert_eq!(decode(&[2, 1]).next(), Some(Err(OpError::Newer(2))));
        assert_eq!(decode(&[VERSION, 99]).next(), Some(Err(OpError::Unknown(99))));
        let mut ops = decode(&[VERSION, RING_REMOVE, 3, b'a']);
        assert_eq!(ops.next(), Some(Err(OpError::Malformed(1))));
        assert_eq!(ops.next(), None, "nothing follows an error");
    }

    #[test]
    fn a_put_cannot_name_what_is_not_a_record() {
        let mut payload = vec![VERSION, PUT, 2, Kind::Meta as u8, b'x', 0];
        assert_eq!(decode(&payload).next(), Some(Err(OpError::Malformed(1))));
        payload[3] = Kind::Record as u8;
        assert!(decode(&payload).next().unwrap().is_ok());
    }

    proptest! {
        #[test]
        fn any_payload_is_answered(mut payload: Vec<u8>) {
            if let Some(first) = payload.first_mut() {
                *first = VERSION;
            }
            prop_assert!(decode(&payload).count() <= payload.len());
        }

        #[test]
        fn any_cut_of_a_payload_is_answered(cut: prop::sample::Index) {
            let mut batch = Batch::new();
            batch.set_state(b"g", b"t", 300, b"value", Some(200)).ring_push(b"r", 9, b"item").due_put(5, b"i", b"");
            let payload = batch.into_payload();
            let cut = cut.index(payload.len());
            let ops: Vec<_> = decode(&payload[..cut]).collect();
            prop_assert!(ops.iter().take(ops.len().saturating_sub(1)).all(Result::is_ok));
            prop_assert!(ops.iter().filter(|op| op.is_ok()).count() < 3);
        }
    }
}
