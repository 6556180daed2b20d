//! Reading: the layers of the overlay, then the key-value store, merged as if they were one.
//!
//! A [`Reader`] is cheap to clone and used from any thread. Take [`Reader::position`] *before* a value to know that the value
//! is at least as new as that position. One call sees one list of layers; two calls may see different moments.
//!
//! [`log`] reads logs, [`scan`] what is kept in order, [`merge`] is what the latter stands on.

mod log;
mod merge;
mod scan;

use crate::{
    Position,
    key::{Key, Kind, RecordKey, ring, state_value},
    kv::KvError,
    op::STATE_HEADER,
    overlay::layers::{Layer, Layers, Stack, stored_ring},
};
use bytes::{Buf, Bytes};
use std::sync::Arc;

pub use scan::{Due, Session, StateChange};

/// Reads everything that was committed.
#[derive(Clone)]
pub struct Reader {
    stack: Arc<Stack>,
}

impl Reader {
    pub(crate) fn new(stack: Arc<Stack>) -> Reader {
        Reader { stack }
    }

    /// The end of the last batch whose changes are seen by every read that starts from now on.
    pub fn position(&self) -> Position {
        self.stack.applied()
    }

    /// The value of a record, session or ordered record.
    pub fn get(&self, key: &RecordKey) -> Result<Option<Bytes>, KvError> {
        let bytes = key.as_bytes();
        let kind = Kind::from_byte(bytes[0]).expect("a record key starts with its kind");
        self.look_up(&self.stack.layers(), kind, bytes)
    }

    /// The latest value of `topic` in `group`, and the position it was set at.
    pub fn state(&self, group: &[u8], topic: &[u8]) -> Result<Option<(u64, Bytes)>, KvError> {
        self.state_in(&self.stack.layers(), &state_value::key(group, topic))
    }

    /// The items of a ring, oldest first.
    pub fn ring(&self, id: &[u8]) -> Result<Vec<Bytes>, KvError> {
        let layers = self.stack.layers();
        let whole = |layer: &Layer| layer.read().ring_part(id).is_some_and(|part| !part.needs_base());
        let (upto, base) = if layers.iter().any(whole) {
            (Position::default(), Vec::new())
        } else {
            stored_ring(self.stack.kv(), &ring::key(id))?
        };
        // A layer may have arrived in the store since the snapshot was taken.
        let missing = layers.iter().rev().filter(|layer| !layer.is_within(upto));
        Ok(missing.fold(base, |items, layer| match layer.read().ring_part(id) {
            Some(part) => part.onto(items),
            None => items,
        }))
    }

    fn look_up(&self, layers: &Layers, kind: Kind, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        for layer in layers.iter() {
            if let Some(slot) = layer.read().slot(kind, key) {
                return Ok(slot.value().cloned());
            }
        }
        self.stack.kv().get(key)
    }

    fn state_in(&self, layers: &Layers, key: &Key) -> Result<Option<(u64, Bytes)>, KvError> {
        Ok(self.look_up(layers, Kind::StateValue, key.as_bytes())?.and_then(split_state))
    }
}

/// The position and the value of a stored state. The header is always there: the operation that set it was checked.
fn split_state(mut stored: Bytes) -> Option<(u64, Bytes)> {
    let position = u64::from_be_bytes(*stored.first_chunk::<STATE_HEADER>()?);
    stored.advance(STATE_HEADER);
    Some((position, stored))
}
