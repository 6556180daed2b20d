//! Random histories of a few users, against a model that knows all of it and forgets nothing.

use super::core::{Core, Update};
use super::watcher::{Begins, Shown, Ties};
use crate::machine::record::Audience;
use crate::sequencer::Notice;
use chasqui_proto::UserId;
use chasqui_proto::limits::{PRESENCE_GRACE_MS, PRESENCE_INTERVAL_MS, PRESENCE_PER_SECOND};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const USERS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Come(usize),
    Go(prop::sample::Index),
    Watch(prop::sample::Index, usize, bool, u8),
    Unwatch(prop::sample::Index, usize, bool),
    Audience(usize, u8),
    Tie(usize, usize, bool, bool),
    Remove(usize),
    Wait(u64),
    /// Updates are taken, so many at most.
    Tick(usize),
    /// The next update finds no room.
    Crowded,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let who = || 0..USERS;
    prop_oneof![
        6 => who().prop_map(Step::Come),
        5 => index().prop_map(Step::Go),
        8 => (index(), who(), any::<bool>(), 0u8..3).prop_map(|(on, of, json, how)| Step::Watch(on, of, json, how)),
        2 => (index(), who(), any::<bool>()).prop_map(|(on, of, json)| Step::Unwatch(on, of, json)),
        3 => (who(), 0u8..3).prop_map(|(user, to)| Step::Audience(user, to)),
        4 => (who(), who(), any::<bool>(), any::<bool>()).prop_map(|(a, b, contact, blocked)| Step::Tie(a, b, contact, blocked)),
        1 => who().prop_map(Step::Remove),
        6 => prop_oneof![0u64..1_500, 9_000u64..11_000].prop_map(Step::Wait),
        9 => prop_oneof![Just(usize::MAX), 1usize..4].prop_map(Step::Tick),
        1 => Just(Step::Crowded),
    ]
}

fn user(n: usize) -> UserId {
    UserId::parse(&format!("user-{n}")).unwrap()
}

/// What is known of one user.
#[derive(Default, Clone)]
struct Someone {
    /// Connections, and when the last one went.
    here: BTreeSet<u64>,
    /// Of those who had the name before.
    others: BTreeSet<u64>,
    left_ms: Option<u64>,
    audience: Audience,
}

/// What was shown last, and when.
type Known = (Option<Shown>, Option<u64>);

#[derive(Default)]
struct Model {
    now_ms: u64,
    people: [Someone; USERS],
    ties: BTreeMap<(usize, usize), Ties>,
    /// Watches by connection, target and encoding.
    watches: BTreeMap<(u64, usize, bool), Known>,
    owners: BTreeMap<u64, usize>,
    sent: BTreeMap<u64, Vec<u64>>,
}

impl Model {
    /// What a user sees of another now.
    fn truth(&self, watcher: usize, target: usize) -> Shown {
        let (me, them) = (&self.people[watcher], &self.people[target]);
        let ties = self.ties.get(&(target, watcher)).copied().unwrap_or_default();
        let shown = match them.audience {
            Audience::Everyone => true,
            Audience::Contacts => ties.contact,
            Audience::Nobody => false,
        };
        if watcher != target && (!shown || ties.blocked || me.audience == Audience::Nobody) {
            return Shown::Nothing;
        }
        match them.left_ms {
            _ if !them.here.is_empty() => Shown::Online,
            None => Shown::Nothing,
            Some(left_ms) if self.now_ms < left_ms + PRESENCE_GRACE_MS => Shown::Online,
            Some(left_ms) => Shown::Since(left_ms),
        }
    }

    fn check(&mut self, update: &Update) {
        let Update { connection, target, json, shown, .. } = update;
        let target = (0..USERS).find(|n| user(*n) == *target).unwrap();
        let owner = self.owners[connection];
        assert_eq!(update.user, user(owner));
        assert_eq!(*shown, self.truth(owner, target), "what is sent is true, and for the watcher to see");
        let now_ms = self.now_ms;
        let (known, at_ms) =
            self.watches.get_mut(&(*connection, target, *json)).expect("who does not watch is told nothing");
        assert_ne!(*known, Some(*shown), "what is known is not said again");
        assert!(at_ms.is_none_or(|at_ms| now_ms - at_ms >= PRESENCE_INTERVAL_MS), "one value a second");
        (*known, *at_ms) = (Some(*shown), Some(now_ms));
        let times = self.sent.entry(*connection).or_default();
        times.push(now_ms);
        let lately = times.iter().filter(|at_ms| now_ms - **at_ms < PRESENCE_INTERVAL_MS).count();
        assert!(lately <= PRESENCE_PER_SECOND);
    }

    fn go(&mut self, connection: u64) {
        let owner = self.owners.remove(&connection).unwrap();
        let (now_ms, someone) = (self.now_ms, &mut self.people[owner]);
        someone.others.remove(&connection);
        if someone.here.remove(&connection) && someone.here.is_empty() {
            someone.left_ms = Some(now_ms);
        }
        self.watches.retain(|(on, ..), _| *on != connection);
    }
}

fn pick(model: &Model, index: prop::sample::Index) -> Option<(u64, usize)> {
    let all: Vec<(u64, usize)> =
        model.owners.iter().map(|(connection, owner)| (*connection, *owner)).collect();
    (!all.is_empty()).then(|| all[index.index(all.len())])
}

proptest! {
    #[test]
    fn everybody_is_shown_what_is_true_and_nothing_else(steps in prop::collection::vec(step(), 1..120)) {
        let mut core = Core::new(1_000);
        let mut model = Model { now_ms: 1_000_000, ..Model::default() };
        let mut next = 1;
        let mut crowded = false;
        let quiet = [Step::Wait(2 * PRESENCE_GRACE_MS), Step::Tick(usize::MAX), Step::Wait(2_000), Step::Tick(usize::MAX)];
        for step in steps.into_iter().chain(quiet) {
            let now_ms = model.now_ms;
            match step {
                Step::Come(who) => {
                    core.connected(&user(who), next, now_ms);
                    model.people[who].here.insert(next);
                    model.owners.insert(next, who);
                    next += 1;
                }
                Step::Go(index) => {
                    let Some((connection, owner)) = pick(&model, index) else { continue };
                    core.disconnected(&user(owner), connection, now_ms);
                    model.go(connection);
                }
                Step::Watch(index, target, json, how) => {
                    let Some((connection, owner)) = pick(&model, index) else { continue };
                    let begins = [Begins::Retained, Begins::Live, Begins::Quietly][usize::from(how)];
                    let topic = user(target);
                    prop_assert!(core.watch(connection, &user(owner), (&topic, json), begins));
                    core.learn_audience(&user(owner), model.people[owner].audience);
                    core.learn_audience(&topic, model.people[target].audience);
                    core.learn_ties(connection, &topic, model.ties.get(&(target, owner)).copied().unwrap_or_default());
                    core.granted(connection, &[topic], now_ms);
                    let key = (connection, target, json);
                    let is_new = !model.watches.contains_key(&key);
                    model.watches.entry(key).or_default();
                    if is_new && begins == Begins::Quietly {
                        // What there is counts as shown; it is looked at when the connection has its turn.
                        for update in core.updates_for(connection, now_ms, usize::MAX) {
                            model.check(&update);
                        }
                        let truth = model.truth(owner, target);
                        model.watches.get_mut(&key).unwrap().0 = Some(truth);
                    }
                }
                Step::Unwatch(index, target, json) => {
                    let Some((connection, _)) = pick(&model, index) else { continue };
                    core.unwatch(connection, &user(target), json);
                    model.watches.remove(&(connection, target, json));
                }
                Step::Audience(who, to) => {
                    let to = Audience::from_number(to).unwrap();
                    model.people[who].audience = to;
                    core.notice(&Notice::Audience { user: user(who), to }, now_ms);
                }
                Step::Tie(owner, other, contact, blocked) if owner != other => {
                    model.ties.insert((owner, other), Ties { contact, blocked });
                    let notice = Notice::Tie { owner: user(owner), other: user(other), contact, blocked };
                    core.notice(&notice, now_ms);
                }
                Step::Tie(..) => {}
                Step::Remove(who) => {
                    model.ties.retain(|(owner, _), _| *owner != who);
                    let someone = &mut model.people[who];
                    let here = std::mem::take(&mut someone.here);
                    someone.others.extend(here);
                    (someone.left_ms, someone.audience) = (None, Audience::default());
                    core.notice(&Notice::Removed { user: user(who) }, now_ms);
                }
                Step::Wait(by_ms) => model.now_ms += by_ms,
                Step::Crowded => crowded = true,
                Step::Tick(most) => loop {
                    let updates = core.updates(now_ms, most);
                    for update in &updates {
                        model.check(update);
                        if std::mem::take(&mut crowded) {
                            core.missed(update, now_ms);
                            let target = (0..USERS).find(|n| user(*n) == update.target).unwrap();
                            model.watches.get_mut(&(update.connection, target, update.json)).unwrap().0 = None;
                        }
                    }
                    if updates.len() < most {
                        break;
                    }
                },
            }
        }
        for ((connection, target, _), (known, _)) in &model.watches {
            let truth = model.truth(model.owners[connection], *target);
            prop_assert_eq!(*known, Some(truth), "in the end all is known");
        }
        // When all have gone, nothing is left of them.
        let owners: Vec<(u64, usize)> = model.owners.iter().map(|(a, b)| (*a, *b)).collect();
        for (connection, owner) in owners {
            core.disconnected(&user(owner), connection, model.now_ms);
        }
        prop_assert_eq!(core.updates(model.now_ms + PRESENCE_GRACE_MS, usize::MAX), []);
        prop_assert_eq!(core.sizes(), [0; 4]);
    }
}
