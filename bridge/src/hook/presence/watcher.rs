//! A connection that watches: what it was shown, and what is to be shown to it.

use super::pace::Pace;
use chasqui_proto::UserId;
use chasqui_proto::limits::PRESENCE_INTERVAL_MS;
use std::collections::{BTreeMap, VecDeque};

/// What is shown of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// Nothing: they do not say, or nothing is known.
    Nothing,
    /// They are there.
    Online,
    /// They are not, and left then: Unix milliseconds.
    Since(u64),
}

/// What the watcher is to the one who is watched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ties {
    pub(super) contact: bool,
    pub(super) blocked: bool,
}

/// What a watch begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    /// With the value there is, as a retained message.
    Retained,
    /// With the value there is: the session was there before.
    Live,
    /// With the next change.
    Quietly,
}

/// One presence topic that a connection has subscribed to.
#[derive(Debug)]
pub(super) struct Watch {
    /// Granted: before, nothing is sent.
    pub(super) active: bool,
    pub(super) begins: Begins,
    /// What was sent last, if anything, and when.
    pub(super) shown: Option<Shown>,
    pub(super) at_ms: Option<u64>,
    /// Whether it stands among those that wait.
    pub(super) waits: bool,
}

/// Somebody who is watched by this connection: by the plain topic, by its JSON twin, or both.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// Not known before it is read.
    pub(super) ties: Option<Ties>,
    forms: [Option<Watch>; 2],
}

impl Watched {
    pub(super) fn form(&mut self, json: bool) -> &mut Option<Watch> {
        &mut self.forms[usize::from(json)]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.forms.iter().all(Option::is_none)
    }
}

/// See the module.
pub(super) struct Watcher {
    pub(super) user: UserId,
    /// In order, so that what is sent depends on nothing but what happened.
    pub(super) watches: BTreeMap<UserId, Watched>,
    pub(super) count: usize,
    /// Topics that may have something new, each once.
    pub(super) waiting: VecDeque<(UserId, bool)>,
    pub(super) pace: Pace,
    /// Where it stands in the agenda.
    pub(super) due_ms: Option<u64>,
}

impl Watcher {
    pub(super) fn new(user: UserId) -> Watcher {
        Watcher {
            user,
            watches: BTreeMap::new(),
            count: 0,
            waiting: VecDeque::new(),
            pace: Pace::default(),
            due_ms: None,
        }
    }

    /// There may be something new about somebody. When this connection is to be looked at because of it, if at all.
    pub(super) fn mark(&mut self, target: &UserId, now_ms: u64) -> Option<u64> {
        let Watcher { watches, waiting, pace, .. } = self;
        let watched = watches.get_mut(target)?;
        let mut due_ms: Option<u64> = None;
        for json in [false, true] {
            let Some(watch) = watched.form(json).as_mut().filter(|watch| watch.active) else { continue };
            if !watch.waits {
                watch.waits = true;
                waiting.push_back((target.clone(), json));
            }
            let at_ms = watch.free_at(now_ms).max(pace.free_at(now_ms));
            due_ms = Some(due_ms.map_or(at_ms, |due_ms| due_ms.min(at_ms)));
        }
        due_ms
    }
}

impl Watch {
    pub(super) fn new(begins: Begins) -> Watch {
        Watch { active: false, begins, shown: None, at_ms: None, waits: false }
    }

    /// When its topic may have another value: now, or later.
    pub(super) fn free_at(&self, now_ms: u64) -> u64 {
        match self.at_ms {
            Some(at_ms) if now_ms.abs_diff(at_ms) < PRESENCE_INTERVAL_MS => at_ms + PRESENCE_INTERVAL_MS,
            _ => now_ms,
        }
    }
}
