//! Who is there, who watches them, and what is to be shown to whom and when.
//!
//! No clock, no lock, no store: what happens comes in as calls with the time, what is to be sent comes out as [`Update`]s. What decides who
//! sees whom is read by the driver once, when a watch begins, and kept up by [notices](Core::notice): what a notice has said is not
//! overwritten by what was read, since a notice that comes after a watch has begun is newer.
//!
//! **Invariants.** Nothing is sent of somebody whom the watcher may not see at that time. One topic gets at most one value within
//! [`PRESENCE_INTERVAL_MS`] and one connection at most [`PRESENCE_PER_SECOND`](chasqui_proto::limits::PRESENCE_PER_SECOND) in any second; of
//! what comes meanwhile the newest value is sent, and nothing where it is what was shown before. In the end everybody is shown what is true.
//! Memory follows the connections and the topics that they watch; [`Seen`] has its own bound.

use super::seen::Seen;
use super::watcher::{Begins, Shown, Ties, Watch, Watcher};
use crate::machine::record::Audience;
use crate::sequencer::Notice;
use chasqui_proto::UserId;
use chasqui_proto::limits::{PRESENCE_GRACE_MS, PRESENCE_INTERVAL_MS, PRESENCE_WATCHES_PER_CONNECTION};
use hashbrown::HashMap;
use std::collections::BTreeSet;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// A value to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Update {
    /// To whom: the connection, and its user.
    pub(super) connection: u64,
    pub(super) user: UserId,
    /// Whose presence.
    pub(super) target: UserId,
    /// On the JSON twin of the topic.
    pub(super) json: bool,
    pub(super) shown: Shown,
    pub(super) retain: bool,
}

/// A user who is there, was a moment ago, or is watched.
#[derive(Default)]
struct Person {
    connections: u32,
    /// Connections of a user who was removed, on their way out: those up to this number.
    removed: u32,
    removed_up_to: u64,
    newest: u64,
    /// When the last connection went, while that is not long ago.
    left_ms: Option<u64>,
    /// Not known before it is read or said.
    audience: Option<Audience>,
    links: Option<Box<Links>>,
}

/// Connections by number.
#[derive(Default)]
struct Links {
    /// Those that watch this user.
    watchers: BTreeSet<u64>,
    /// Those of this user that watch somebody.
    watching: BTreeSet<u64>,
}

impl Person {
    fn is_there(&self) -> bool {
        self.connections > 0 || self.left_ms.is_some()
    }

    fn is_idle(&self) -> bool {
        let alone = |links: &Links| links.watchers.is_empty() && links.watching.is_empty();
        !self.is_there() && self.removed == 0 && self.links.as_deref().is_none_or(alone)
    }
}

/// Whether somebody sees whether another is there.
fn sees(watcher: Audience, target: Audience, ties: Ties) -> bool {
    let shown = match target {
        Audience::Everyone => true,
        Audience::Contacts => ties.contact,
        Audience::Nobody => false,
    };
    // Who hides theirs from all sees nobody's.
    shown && !ties.blocked && watcher != Audience::Nobody
}

/// See the module.
pub(super) struct Core {
    people: Map<UserId, Person>,
    watchers: Map<u64, Watcher>,
    seen: Seen,
    /// Those who left a moment ago, by when they count as gone.
    leaving: BTreeSet<(u64, UserId)>,
    /// Connections that are to be looked at, by when.
    agenda: BTreeSet<(u64, u64)>,
    /// See [`Core::clock`].
    now_ms: u64,
}

/// What is due, or was due before the clock was set back: nothing is put down for later than `most` from now.
fn due<T: Clone + Ord>(agenda: &BTreeSet<(u64, T)>, now_ms: u64, most_ms: u64) -> Option<(u64, T)> {
    let ends = agenda.first().into_iter().chain(agenda.last());
    ends.filter(|(at_ms, _)| *at_ms <= now_ms || *at_ms > now_ms + most_ms).min().cloned()
}

impl Core {
    /// Nobody is there; of so many it is kept when they were.
    pub(super) fn new(seen: usize) -> Core {
        Core {
            people: Map::default(),
            watchers: Map::default(),
            seen: Seen::new(seen),
            leaving: BTreeSet::new(),
            agenda: BTreeSet::new(),
            now_ms: 0,
        }
    }

    /// What time it is. Threads that look at the clock one after the other may come here the other way round: time does not go back for that, but
    /// only where the clock was set back.
    fn clock(&mut self, now_ms: u64) -> u64 {
        if now_ms > self.now_ms || now_ms + PRESENCE_GRACE_MS < self.now_ms {
            self.now_ms = now_ms;
        }
        self.now_ms
    }

    fn person(&mut self, user: &UserId) -> &mut Person {
        if !self.people.contains_key(user) {
            self.people.insert(user.clone(), Person::default());
        }
        self.people.get_mut(user).expect("it was put there")
    }

    /// A connection of a user begins.
    pub(super) fn connected(&mut self, user: &UserId, connection: u64, now_ms: u64) {
        let now_ms = self.clock(now_ms);
        let left_ms = self.people.get(user).and_then(|person| person.left_ms);
        if let Some(left_ms) = left_ms.filter(|left_ms| now_ms >= left_ms + PRESENCE_GRACE_MS) {
            // Gone for longer than that, though nobody has looked since.
            self.leaving.remove(&(left_ms + PRESENCE_GRACE_MS, user.clone()));
            self.gone(user, now_ms);
        }
        let person = self.person(user);
        let was_there = person.is_there();
        person.connections += 1;
        person.newest = person.newest.max(connection);
        if let Some(left_ms) = person.left_ms.take() {
            self.leaving.remove(&(left_ms + PRESENCE_GRACE_MS, user.clone()));
        }
        if !was_there {
            self.changed(user, now_ms);
        }
    }

    /// A connection of a user is over, and with it what it watched.
    pub(super) fn disconnected(&mut self, user: &UserId, connection: u64, now_ms: u64) {
        let now_ms = self.clock(now_ms);
        if let Some(watcher) = self.watchers.remove(&connection) {
            if let Some(due_ms) = watcher.due_ms {
                self.agenda.remove(&(due_ms, connection));
            }
            for target in watcher.watches.keys() {
                self.unlink(target, connection);
            }
        }
        let Some(person) = self.people.get_mut(user) else { return };
        if let Some(links) = &mut person.links {
            links.watching.remove(&connection);
        }
        if connection <= person.removed_up_to {
            person.removed = person.removed.saturating_sub(1);
        } else {
            person.connections = person.connections.saturating_sub(1);
            if person.connections == 0 {
                person.left_ms = Some(now_ms);
                self.leaving.insert((now_ms + PRESENCE_GRACE_MS, user.clone()));
            }
        }
        self.tidy(user);
    }

    /// Begins to watch, without a value until it is [granted](Core::granted). False where the connection watches as many as it may; one that it
    /// watches already goes on.
    pub(super) fn watch(
        &mut self,
        connection: u64,
        user: &UserId,
        topic: (&UserId, bool),
        begins: Begins,
    ) -> bool {
        let (target, json) = topic;
        let watcher = self.watchers.entry(connection).or_insert_with(|| Watcher::new(user.clone()));
        let full = watcher.count >= PRESENCE_WATCHES_PER_CONNECTION;
        let watched = watcher.watches.get_mut(target);
        if watched.is_some_and(|watched| watched.form(json).is_some()) {
            return true;
        }
        if full {
            return false;
        }
        watcher.count += 1;
        *watcher.watches.entry(target.clone()).or_default().form(json) = Some(Watch::new(begins));
        self.person(target).links.get_or_insert_default().watchers.insert(connection);
        self.person(user).links.get_or_insert_default().watching.insert(connection);
        true
    }

    /// What was read, for where no notice has said it: who sees the watcher and who sees the target.
    pub(super) fn learn_audience(&mut self, user: &UserId, audience: Audience) {
        if let Some(person) = self.people.get_mut(user) {
            person.audience.get_or_insert(audience);
        }
    }

    /// What was read, for where no notice has said it: what the watcher is to the target.
    pub(super) fn learn_ties(&mut self, connection: u64, target: &UserId, ties: Ties) {
        if let Some(watched) = self.watched(connection, target) {
            watched.ties.get_or_insert(ties);
        }
    }

    fn watched(&mut self, connection: u64, target: &UserId) -> Option<&mut super::watcher::Watched> {
        self.watchers.get_mut(&connection)?.watches.get_mut(target)
    }

    /// What the connection has begun to watch was granted: it is shown what there is.
    pub(super) fn granted(&mut self, connection: u64, targets: &[UserId], now_ms: u64) {
        let now_ms = self.clock(now_ms);
        for target in targets {
            let Some(watched) = self.watched(connection, target) else { continue };
            for json in [false, true] {
                watched.form(json).iter_mut().for_each(|watch| watch.active = true);
            }
            self.mark(connection, target, now_ms);
        }
    }

    /// Watches no more.
    pub(super) fn unwatch(&mut self, connection: u64, target: &UserId, json: bool) {
        let Some(watcher) = self.watchers.get_mut(&connection) else { return };
        let Some(watched) = watcher.watches.get_mut(target) else { return };
        let Some(watch) = watched.form(json).take() else { return };
        watcher.count -= 1;
        if watch.waits {
            watcher.waiting.retain(|(other, twin)| (other, *twin) != (target, json));
        }
        if watched.is_empty() {
            watcher.watches.remove(target);
            self.unlink(target, connection);
        }
    }

    /// Something holds from now on that decides who sees whom.
    pub(super) fn notice(&mut self, notice: &Notice, now_ms: u64) {
        let now_ms = self.clock(now_ms);
        match notice {
            Notice::Audience { user, to } => {
                let Some(person) = self.people.get_mut(user) else { return };
                person.audience = Some(*to);
                self.changed(user, now_ms);
                self.look_again(user, now_ms);
            }
            Notice::Tie { owner, other, contact, blocked } => {
                let ties = Ties { contact: *contact, blocked: *blocked };
                for connection in self.watching(other) {
                    if let Some(watched) = self.watched(connection, owner) {
                        watched.ties = Some(ties);
                        self.mark(connection, owner, now_ms);
                    }
                }
            }
            Notice::Removed { user } => self.removed(user, now_ms),
        }
    }

    fn removed(&mut self, user: &UserId, now_ms: u64) {
        self.seen.remove(user);
        let Some(person) = self.people.get_mut(user) else { return };
        person.removed += std::mem::take(&mut person.connections);
        person.removed_up_to = person.newest;
        person.audience = Some(Audience::default());
        if let Some(left_ms) = person.left_ms.take() {
            self.leaving.remove(&(left_ms + PRESENCE_GRACE_MS, user.clone()));
        }
        for connection in self.watched_by(user) {
            if let Some(watched) = self.watched(connection, user) {
                watched.ties = Some(Ties::default());
            }
        }
        self.changed(user, now_ms);
        self.look_again(user, now_ms);
        self.tidy(user);
    }

    /// What is to be sent now, at most so much.
    pub(super) fn updates(&mut self, now_ms: u64, most: usize) -> Vec<Update> {
        let now_ms = self.clock(now_ms);
        for _ in 0..most {
            let Some((at_ms, user)) = due(&self.leaving, now_ms, PRESENCE_GRACE_MS) else { break };
            self.leaving.remove(&(at_ms, user.clone()));
            self.gone(&user, now_ms);
        }
        let mut updates = Vec::new();
        // Each connection once.
        for _ in 0..self.agenda.len() {
            if updates.len() >= most {
                break;
            }
            let Some((at_ms, connection)) = due(&self.agenda, now_ms, PRESENCE_INTERVAL_MS) else { break };
            self.agenda.remove(&(at_ms, connection));
            self.round(connection, now_ms, most, &mut updates);
        }
        updates
    }

    /// What is to be sent to one connection now, at most so much.
    pub(super) fn updates_for(&mut self, connection: u64, now_ms: u64, most: usize) -> Vec<Update> {
        let now_ms = self.clock(now_ms);
        let mut updates = Vec::new();
        self.round(connection, now_ms, most, &mut updates);
        updates
    }

    /// An update found no room: it is sent again, or what is true then.
    pub(super) fn missed(&mut self, update: &Update, now_ms: u64) {
        let now_ms = self.clock(now_ms);
        let Some(watched) = self.watched(update.connection, &update.target) else { return };
        if let Some(watch) = watched.form(update.json) {
            watch.shown = None;
            if update.retain {
                watch.begins = Begins::Retained;
            }
            self.mark(update.connection, &update.target, now_ms);
        }
    }

    /// Somebody who left is not back in time.
    fn gone(&mut self, user: &UserId, now_ms: u64) {
        let left_ms = self.people.get_mut(user).and_then(|person| person.left_ms.take());
        if let Some(left_ms) = left_ms {
            self.seen.put(user.clone(), left_ms);
            self.changed(user, now_ms);
            self.tidy(user);
        }
    }

    fn watched_by(&self, user: &UserId) -> Vec<u64> {
        let links = self.people.get(user).and_then(|person| person.links.as_deref());
        links.map(|links| links.watchers.iter().copied().collect()).unwrap_or_default()
    }

    fn watching(&self, user: &UserId) -> Vec<u64> {
        let links = self.people.get(user).and_then(|person| person.links.as_deref());
        links.map(|links| links.watching.iter().copied().collect()).unwrap_or_default()
    }

    /// Those who watch a user may have something new to see.
    fn changed(&mut self, user: &UserId, now_ms: u64) {
        for connection in self.watched_by(user) {
            self.mark(connection, user, now_ms);
        }
    }

    /// A user may see others than before.
    fn look_again(&mut self, user: &UserId, now_ms: u64) {
        for connection in self.watching(user) {
            let Some(watcher) = self.watchers.get(&connection) else { continue };
            let targets: Vec<UserId> = watcher.watches.keys().cloned().collect();
            for target in targets {
                self.mark(connection, &target, now_ms);
            }
        }
    }

    fn mark(&mut self, connection: u64, target: &UserId, now_ms: u64) {
        let Some(watcher) = self.watchers.get_mut(&connection) else { return };
        if let Some(at_ms) = watcher.mark(target, now_ms) {
            put_down(&mut self.agenda, connection, watcher, at_ms);
        }
    }

    /// One connection's turn.
    fn round(&mut self, connection: u64, now_ms: u64, most: usize, updates: &mut Vec<Update>) {
        let Core { people, watchers, seen, agenda, .. } = self;
        let Some(watcher) = watchers.get_mut(&connection) else { return };
        if let Some(due_ms) = watcher.due_ms.take() {
            agenda.remove(&(due_ms, connection));
        }
        let Watcher { user, watches, waiting, pace, .. } = &mut *watcher;
        let me = people.get(user).and_then(|person| person.audience);
        let mut next = None;
        for _ in 0..waiting.len() {
            let free_at = pace.free_at(now_ms);
            if updates.len() >= most || free_at > now_ms {
                next = Some(free_at);
                break;
            }
            let Some((target, json)) = waiting.pop_front() else { break };
            let Some(watched) = watches.get_mut(&target) else { continue };
            let ties = watched.ties;
            let Some(watch) = watched.form(json) else { continue };
            let person = people.get(&target);
            let theirs = person.and_then(|person| person.audience);
            let (Some(me), Some(theirs), Some(ties)) = (me, theirs, ties) else {
                // Read only in part: whoever reads the rest says so.
                watch.waits = false;
                continue;
            };
            let sees = target == *user || sees(me, theirs, ties);
            let shown = if sees { state(person, seen, &target, now_ms) } else { Shown::Nothing };
            if watch.begins == Begins::Quietly {
                (watch.begins, watch.shown) = (Begins::Live, Some(shown));
            }
            if watch.shown == Some(shown) {
                watch.waits = false;
                continue;
            }
            let free_at = watch.free_at(now_ms);
            if free_at > now_ms {
                next = Some(next.map_or(free_at, |next: u64| next.min(free_at)));
                waiting.push_back((target, json));
                continue;
            }
            pace.note(now_ms);
            let retain = watch.begins == Begins::Retained;
            *watch = Watch {
                begins: Begins::Live,
                shown: Some(shown),
                at_ms: Some(now_ms),
                waits: false,
                ..*watch
            };
            updates.push(Update { connection, user: user.clone(), target, json, shown, retain });
        }
        if let Some(at_ms) = next {
            put_down(agenda, connection, watcher, at_ms);
        }
    }

    fn unlink(&mut self, target: &UserId, connection: u64) {
        if let Some(links) = self.people.get_mut(target).and_then(|person| person.links.as_mut()) {
            links.watchers.remove(&connection);
        }
        self.tidy(target);
    }

    /// Forgets somebody of whom there is nothing to know.
    fn tidy(&mut self, user: &UserId) {
        if self.people.get(user).is_some_and(Person::is_idle) {
            self.people.remove(user);
        }
    }

    /// How many people, connections that watch, and entries of the agendas there are.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 4] {
        [self.people.len(), self.watchers.len(), self.leaving.len(), self.agenda.len()]
    }
}

/// What there is to see of somebody.
fn state(person: Option<&Person>, seen: &Seen, user: &UserId, now_ms: u64) -> Shown {
    match person {
        Some(Person { connections: 1.., .. }) => Shown::Online,
        Some(Person { left_ms: Some(left_ms), .. }) if now_ms < left_ms + PRESENCE_GRACE_MS => Shown::Online,
        Some(Person { left_ms: Some(left_ms), .. }) => Shown::Since(*left_ms),
        _ => seen.get(user).map_or(Shown::Nothing, Shown::Since),
    }
}

/// A connection is to be looked at then, or earlier.
fn put_down(agenda: &mut BTreeSet<(u64, u64)>, connection: u64, watcher: &mut Watcher, at_ms: u64) {
    if watcher.due_ms.is_some_and(|due_ms| due_ms <= at_ms) {
        return;
    }
    if let Some(due_ms) = watcher.due_ms.replace(at_ms) {
        agenda.remove(&(due_ms, connection));
    }
    agenda.insert((at_ms, connection));
}
