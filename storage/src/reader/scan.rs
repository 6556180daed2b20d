//! What is kept in order: changed states, due times, sessions, ordered records.
//!
//! Every scan is bounded by `max` and continued from the last thing it gave.

use super::Reader;
use crate::{
    key::{self, Kind, due, ordered, session, state_change, state_value},
    kv::KvError,
};
use bytes::Bytes;
use std::ops::ControlFlow;

/// The latest value of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// Where it was set: continue behind it.
    pub position: u64,
    /// Its topic within the group.
    pub topic: Bytes,
    /// Its value.
    pub value: Bytes,
}

/// Something that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// What.
    pub id: Bytes,
    /// The value it was put with.
    pub value: Bytes,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose it is.
    pub owner: Bytes,
    /// Its name among its owner's.
    pub name: Bytes,
    /// Its value.
    pub value: Bytes,
}

impl Reader {
    /// The topics of `group` that were set behind `after` (`None`: all of them), each with its latest value and once, in the
    /// order they were set. At most `max_items`, and at most `max_bytes` of values unless the first alone is larger.
    pub fn read_states(
        &self,
        group: &[u8],
        after: Option<u64>,
        max_items: usize,
        max_bytes: usize,
    ) -> Result<Vec<StateChange>, KvError> {
        let mut states = Vec::new();
        let first = match after {
            None => 0,
            Some(u64::MAX) => return Ok(states),
            Some(after) => after + 1,
        };
        if max_items == 0 {
            return Ok(states);
        }
        let layers = self.stack.layers();
        let (mut bytes_left, mut failed) = (max_bytes, None);
        let from = state_change::key(group, first);
        let to = key::behind(state_change::prefix(group).as_bytes());
        self.scan(&layers, from.as_bytes(), to.as_bytes(), max_items, &mut |index, topic| {
            let Some((_, position)) = state_change::parse(index) else { return ControlFlow::Continue(()) };
            let found = match self.state_in(&layers, &state_value::key(group, topic.bytes())) {
                Ok(found) => found,
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            };
            // Set again, or removed, since the index was read: its newer change comes later.
            let Some((_, value)) = found.filter(|found| found.0 == position) else {
                return ControlFlow::Continue(());
            };
            if value.len() > bytes_left && !states.is_empty() {
                return ControlFlow::Break(());
            }
            bytes_left = bytes_left.saturating_sub(value.len());
            states.push(StateChange { position, topic: topic.to_bytes(), value });
            if states.len() == max_items { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed.map_or(Ok(states), Err)
    }

    /// What is due at or before `at_ms` (Unix milliseconds), earliest first. `due_before(u64::MAX, 1)` is what is due next.
    pub fn due_before(&self, at_ms: u64, max: usize) -> Result<Vec<Due>, KvError> {
        self.due_between(0, at_ms, max)
    }

    /// What is due from one time to another (Unix milliseconds), both included, earliest first.
    pub fn due_between(&self, from_ms: u64, to_ms: u64, max: usize) -> Result<Vec<Due>, KvError> {
        let to = match to_ms.checked_add(1) {
            Some(behind) => due::key(behind, b""),
            None => key::behind(&[Kind::Due as u8]),
        };
        self.collect(due::key(from_ms, b"").as_bytes(), to.as_bytes(), max, |key, value| {
            let (at_ms, id) = due::parse(key)?;
            Some(Due { at_ms, id: Bytes::copy_from_slice(id), value })
        })
    }

    /// The sessions of `owner` whose names are behind `after`, in the order of names.
    pub fn sessions(&self, owner: &[u8], after: Option<&[u8]>, max: usize) -> Result<Vec<Session>, KvError> {
        let first = match after {
            None => session::prefix(owner),
            Some(name) => following(session::key(owner, name).as_bytes()),
        };
        let to = key::behind(session::prefix(owner).as_bytes());
        self.collect(first.as_bytes(), to.as_bytes(), max, session_from)
    }

    /// All sessions behind that of owner and name `after`, owner by owner.
    pub fn all_sessions(&self, after: Option<(&[u8], &[u8])>, max: usize) -> Result<Vec<Session>, KvError> {
        let all = [Kind::Session as u8];
        let first = match after {
            None => all[..].into(),
            Some((owner, name)) => following(session::key(owner, name).as_bytes()),
        };
        self.collect(first.as_bytes(), key::behind(&all).as_bytes(), max, session_from)
    }

    /// The first ordered record of `space` whose id is `from` or sorts behind it: its id and its value.
    pub fn ordered_seek(&self, space: u8, from: &[u8]) -> Result<Option<(Bytes, Bytes)>, KvError> {
        Ok(self.ordered_range(space, from, None, 1)?.pop())
    }

    /// The ordered records of `space` with ids in `from..to` (`None`: to the end), in order. To continue, start from the
    /// last id with a zero byte added.
    pub fn ordered_range(
        &self,
        space: u8,
        from: &[u8],
        to: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        let first = ordered::key(space, from);
        let to = match to {
            Some(to) => ordered::key(space, to),
            None => key::behind(ordered::prefix(space).as_bytes()),
        };
        self.collect(first.as_bytes(), to.as_bytes(), max, |key, value| {
            let (_, id) = ordered::parse(key)?;
            Some((Bytes::copy_from_slice(id), value))
        })
    }

    fn collect<T>(
        &self,
        from: &[u8],
        to: &[u8],
        max: usize,
        parse: impl Fn(&[u8], Bytes) -> Option<T>,
    ) -> Result<Vec<T>, KvError> {
        let mut all = Vec::new();
        if max > 0 {
            self.scan(&self.stack.layers(), from, to, max, &mut |key, value| {
                all.extend(parse(key, value.to_bytes()));
                if all.len() == max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        }
        Ok(all)
    }
}

/// The first key behind `key`.
fn following(key: &[u8]) -> key::Key {
    key::Key::from(&[key, &[0]].concat()[..])
}

fn session_from(key: &[u8], value: Bytes) -> Option<Session> {
    let (owner, name) = session::parse(key)?;
    Some(Session { owner: Bytes::copy_from_slice(owner), name: Bytes::copy_from_slice(name), value })
}
