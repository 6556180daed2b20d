//! A scan over the layers and the key-value store at once: each key once, the newest value, nothing that was deleted.
//!
//! The layers are copied out page by page, so that no lock is held while the store is read. A page of a layer ends
//! somewhere; the merge goes no further than the first such end before it takes the next page.

use super::Reader;
use crate::{
    key::Key,
    kv::{Direction, KvError},
    overlay::{
        Slot,
        layers::{Layer, Layers},
    },
};
use bytes::Bytes;
use std::{cmp::Ordering, ops::ControlFlow};

/// Fewest slots copied out of a layer at a time.
const PAGE: usize = 32;
/// Most slots copied out of a layer at a time.
const MAX_PAGE: usize = 1024;

/// A value that was found: in memory, or in a buffer of the store's that is gone after the visit.
#[derive(Clone, Copy)]
pub(super) enum Found<'a> {
    Memory(&'a Bytes),
    Store(&'a [u8]),
}

impl Found<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Found::Memory(value) => value,
            Found::Store(value) => value,
        }
    }

    pub(super) fn to_bytes(self) -> Bytes {
        match self {
            Found::Memory(value) => value.clone(),
            Found::Store(value) => Bytes::copy_from_slice(value),
        }
    }
}

impl Reader {
    /// Shows `visit` what is in `from..to`, in order, until it breaks. `expected` is how many it will want, about.
    pub(super) fn scan(
        &self,
        layers: &Layers,
        from: &[u8],
        to: &[u8],
        expected: usize,
        visit: &mut dyn FnMut(&[u8], Found<'_>) -> ControlFlow<()>,
    ) -> Result<(), KvError> {
        let mut size = expected.clamp(PAGE, MAX_PAGE);
        let mut from = from.to_vec();
        while &from[..] < to {
            let (page, end) = page(layers, &from, to, size);
            let end = end.unwrap_or_else(|| to.to_vec());
            if self.merge(&page, &from, &end, visit)?.is_break() {
                return Ok(());
            }
            from = end;
            size = (size * 2).min(MAX_PAGE);
        }
        Ok(())
    }

    /// Merges a page of the layers with the store, over `from..to`.
    fn merge(
        &self,
        page: &[(Key, Slot)],
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], Found<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, KvError> {
        let mut page = page.iter().peekable();
        let mut flow = ControlFlow::Continue(());
        self.stack.kv().scan(from, to, Direction::Forward, &mut |key, value| {
            flow = (|| {
                while let Some((upper, slot)) = page.next_if(|(upper, _)| upper.as_bytes() <= key) {
                    if let Some(value) = slot.value() {
                        visit(upper.as_bytes(), Found::Memory(value))?;
                    }
                    if upper.as_bytes() == key {
                        return ControlFlow::Continue(());
                    }
                }
                visit(key, Found::Store(value))
            })();
            flow
        })?;
        if flow.is_continue() {
            for (upper, slot) in page {
                if let Some(value) = slot.value()
                    && visit(upper.as_bytes(), Found::Memory(value)).is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(flow)
    }
}

/// The slots of all layers in `from..end`, the newest of each key; `end` is `None` if that is all up to `to`.
fn page(layers: &Layers, from: &[u8], to: &[u8], size: usize) -> (Vec<(Key, Slot)>, Option<Vec<u8>>) {
    let (mut newer, mut end) = copy(&layers.active, from, to, size);
    let Some(sealed) = &layers.sealed else { return (newer, end) };
    let (mut older, older_end) = copy(&sealed.layer, from, to, size);
    end = match (end, older_end) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    if let Some(end) = &end {
        newer.truncate(newer.partition_point(|(key, _)| key.as_bytes() < &end[..]));
        older.truncate(older.partition_point(|(key, _)| key.as_bytes() < &end[..]));
    }
    (join(newer, older), end)
}

/// Up to `size` slots of a layer, and the key behind the last of them if there may be more.
fn copy(layer: &Layer, from: &[u8], to: &[u8], size: usize) -> (Vec<(Key, Slot)>, Option<Vec<u8>>) {
    let layer = layer.read();
    let slots: Vec<_> =
        layer.range(from, to).take(size).map(|(key, slot)| (key.clone(), slot.clone())).collect();
    let end = match slots.last() {
        Some((last, _)) if slots.len() == size => Some([last.as_bytes(), &[0]].concat()),
        _ => None,
    };
    (slots, end)
}

/// Merges two sorted lists; where both have a key, `newer` wins.
fn join(newer: Vec<(Key, Slot)>, older: Vec<(Key, Slot)>) -> Vec<(Key, Slot)> {
    if older.is_empty() {
        return newer;
    }
    let mut joined = Vec::with_capacity(newer.len() + older.len());
    let (mut newer, mut older) = (newer.into_iter().peekable(), older.into_iter().peekable());
    loop {
        let order = match (newer.peek(), older.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return joined,
        };
        if order == Ordering::Equal {
            older.next();
        }
        joined.extend(if order == Ordering::Greater { older.next() } else { newer.next() });
    }
}
