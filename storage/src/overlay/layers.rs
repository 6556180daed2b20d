//! The layers above the key-value store, and the store itself: what readers look through, and what the writer changes.
//!
//! A reader takes a snapshot of the list of layers and keeps it while it reads: a layer that goes down meanwhile is still
//! in its hands, so nothing is lost between leaving the overlay and arriving in the key-value store. What a reader sees is
//! at least as new as [`Stack::applied`] was before it took the snapshot.
//!
//! **Invariants.** Only between batches is a layer sealed, so the position a layer is sealed at is the end of a batch.
//! A sealed layer never changes. There is at most one, and it leaves only when the store holds it durably.

use super::{Overlay, ring_part};
use crate::{
    Position,
    key::{self, Key},
    kv::{KeyValue, KvError},
    mutation::{Mutation, mutated},
    op::OpError,
    record::RecordError,
};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// One layer.
#[derive(Default)]
pub(crate) struct Layer {
    /// The end of the last batch before it: everything up to there is in the layers below.
    start: Position,
    /// Locked for the application of one payload, and for copies out of memory; never over I/O.
    overlay: RwLock<Overlay>,
}

impl Layer {
    fn new(start: Position) -> Arc<Layer> {
        Arc::new(Layer { start, overlay: RwLock::default() })
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Overlay> {
        self.overlay.read()
    }

    /// Whether something written when the store stood at `position` has this layer's changes in it.
    pub(crate) fn is_within(&self, position: Position) -> bool {
        position > self.start
    }
}

/// The layers of a moment, newest first.
#[derive(Clone)]
pub(crate) struct Layers {
    pub(crate) active: Arc<Layer>,
    pub(crate) sealed: Option<Sealed>,
}

/// A layer on its way down.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub(crate) layer: Arc<Layer>,
    /// The end of the last batch in it.
    pub(crate) upto: Position,
}

/// Layers over a key-value store.
pub(crate) struct Stack {
    kv: Arc<dyn KeyValue>,
    layers: RwLock<Arc<Layers>>,
    /// Held while a batch is applied and while a layer is sealed.
    writer: Mutex<()>,
    /// Held while a layer goes down.
    down: Mutex<()>,
    applied: AtomicU64,
    durable: AtomicU64,
    chunks: AtomicU64,
    chunk_ops: AtomicU64,
}

/// Figures of a [`Stack`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) active_bytes: usize,
    pub(crate) sealed_bytes: usize,
    pub(crate) chunks: u64,
    pub(crate) chunk_ops: u64,
}

impl Stack {
    /// An empty overlay over `kv`.
    pub(crate) fn new(kv: Arc<dyn KeyValue>) -> Stack {
        let applied = u64::from(kv.applied());
        let layers = Layers { active: Layer::new(kv.applied()), sealed: None };
        Stack {
            kv,
            layers: RwLock::new(Arc::new(layers)),
            writer: Mutex::new(()),
            down: Mutex::new(()),
            applied: AtomicU64::new(applied),
            durable: AtomicU64::new(applied),
            chunks: AtomicU64::new(0),
            chunk_ops: AtomicU64::new(0),
        }
    }

    pub(crate) fn kv(&self) -> &dyn KeyValue {
        &*self.kv
    }

    /// The end of the last batch that readers see.
    pub(crate) fn applied(&self) -> Position {
        Position::from(self.applied.load(Ordering::Acquire))
    }

    /// The position up to which the key-value store holds everything durably.
    pub(crate) fn durable(&self) -> Position {
        Position::from(self.durable.load(Ordering::Acquire))
    }

    /// The layers of this moment.
    pub(crate) fn layers(&self) -> Arc<Layers> {
        Arc::clone(&self.layers.read())
    }

    /// Applies the payloads of a batch that ends at `position`. Each payload becomes visible whole.
    pub(crate) fn apply(&self, position: Position, payloads: &[Bytes]) -> Result<(), OpError> {
        let _writer = self.writer.lock();
        let layers = self.layers();
        for payload in payloads {
            layers.active.overlay.write().apply(payload)?;
        }
        self.applied.store(position.into(), Ordering::Release);
        Ok(())
    }

    /// Whether the active layer holds `bytes` or more, in memory or in payloads.
    pub(crate) fn is_filled(&self, bytes: usize) -> bool {
        self.filling() >= bytes
    }

    /// What fills the active layer: its memory, or what of it would have to be replayed, whichever is more.
    pub(crate) fn filling(&self) -> usize {
        let layers = self.layers();
        let active = layers.active.read();
        active.bytes().max(active.payload_bytes())
    }

    /// Writes a copy of the key-value store into `dir`; answers the position the copy stands for.
    pub(crate) fn checkpoint(&self, dir: &Path) -> Result<Position, KvError> {
        let _down = self.down.lock();
        self.kv.checkpoint(dir)?;
        Ok(self.durable())
    }

    /// Whether the active layer has changes.
    pub(crate) fn is_touched(&self) -> bool {
        !self.layers().active.read().is_untouched()
    }

    /// Whether a layer is on its way down.
    pub(crate) fn is_going_down(&self) -> bool {
        self.layers.read().sealed.is_some()
    }

    /// Seals the active layer and starts an empty one. Does nothing if the active layer is empty or another is still
    /// sealed; answers whether a layer was sealed.
    pub(crate) fn seal(&self) -> bool {
        let _writer = self.writer.lock();
        let mut layers = self.layers.write();
        if layers.sealed.is_some() || layers.active.read().is_untouched() {
            return false;
        }
        let upto = self.applied();
        let sealed = Sealed { layer: Arc::clone(&layers.active), upto };
        *layers = Arc::new(Layers { active: Layer::new(upto), sealed: Some(sealed) });
        true
    }

    /// Writes the sealed layer into the key-value store, makes it durable and lets it go; answers the position the store
    /// then stands for, or `None` if no layer is sealed. After an error the layer stays, and readers still see it.
    pub(crate) fn write_down(&self) -> Result<Option<Position>, KvError> {
        let _down = self.down.lock();
        let Some(sealed) = self.layers().sealed.clone() else { return Ok(None) };
        let mut ring_base = |ring: &Key| Ok(stored_ring(&*self.kv, ring)?.1);
        let chunk = sealed.layer.read().chunk(sealed.upto, &mut ring_base)?;
        self.kv.write(&chunk, sealed.upto)?;
        if !mutated(Mutation::SkipsStateFlush) {
            self.kv.flush()?;
        }
        self.durable.store(sealed.upto.into(), Ordering::Release);
        self.chunks.fetch_add(1, Ordering::Relaxed);
        self.chunk_ops.fetch_add(chunk.ops.len() as u64, Ordering::Relaxed);
        let mut layers = self.layers.write();
        *layers = Arc::new(Layers { active: Arc::clone(&layers.active), sealed: None });
        Ok(Some(sealed.upto))
    }

    pub(crate) fn figures(&self) -> Figures {
        let layers = self.layers();
        Figures {
            active_bytes: layers.active.read().bytes(),
            sealed_bytes: layers.sealed.as_ref().map_or(0, |sealed| sealed.layer.read().bytes()),
            chunks: self.chunks.load(Ordering::Relaxed),
            chunk_ops: self.chunk_ops.load(Ordering::Relaxed),
        }
    }
}

impl Layers {
    /// The layers, newest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Layer> + '_ {
        std::iter::once(&*self.active).chain(self.sealed.iter().map(|sealed| &*sealed.layer))
    }
}

/// The items of a ring in the key-value store, and the position up to which pushes are in them.
pub(crate) fn stored_ring(kv: &dyn KeyValue, key: &Key) -> Result<(Position, Vec<Bytes>), KvError> {
    match kv.get(key.as_bytes())? {
        None => Ok((Position::default(), Vec::new())),
        Some(stored) => ring_part::decode(&stored)
            .ok_or_else(|| KvError::Record(RecordError::Damaged { key: key::describe(key.as_bytes()) })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{key::Kind, key::RecordKey, kv::ram::RamKv, op::Batch};

    fn put(value: &[u8]) -> Bytes {
        let mut batch = Batch::new();
        batch.put(&RecordKey::record(b"key"), value);
        batch.into_payload()
    }

    #[test]
    fn a_layer_goes_down_in_two_steps_and_is_seen_all_the_time() {
        let kv = RamKv::new();
        let stack = Stack::new(Arc::new(kv.clone()));
        assert!(!stack.seal(), "nothing to seal");
        stack.apply(Position::from(10), &[put(b"one")]).unwrap();
        assert!(stack.seal());
        stack.apply(Position::from(20), &[put(b"two")]).unwrap();
        assert!(!stack.seal(), "one at a time");
        let held = stack.layers();
        assert_eq!(stack.write_down(), Ok(Some(Position::from(10))));
        assert_eq!((stack.applied(), stack.durable()), (Position::from(20), Position::from(10)));
        assert_eq!(stack.write_down(), Ok(None));
        let key = RecordKey::record(b"key");
        assert_eq!(kv.get(key.as_bytes()).unwrap().as_deref(), Some(&b"one"[..]));
        let sealed = held.sealed.as_ref().expect("the snapshot keeps the layer that went down");
        let seen = sealed.layer.read().slot(Kind::Record, key.as_bytes()).cloned();
        assert_eq!(seen.unwrap().value().unwrap(), "one");
        assert_eq!(kv.counts().flushes, 1);
    }

    #[test]
    fn a_layer_that_cannot_go_down_stays() {
        let kv = RamKv::new();
        let stack = Stack::new(Arc::new(kv.clone()));
        stack.apply(Position::from(10), &[put(b"one")]).unwrap();
        stack.seal();
        kv.fail_flush_after(0);
        assert!(stack.write_down().is_err());
        assert!(stack.is_going_down());
        assert_eq!(stack.durable(), Position::default());
        assert_eq!(stack.figures().chunks, 0);
    }
}
