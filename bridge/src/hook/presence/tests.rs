use super::core::{Core, Update};
use super::watcher::{Begins, Shown, Ties};
use crate::machine::record::Audience;
use crate::sequencer::Notice;
use chasqui_proto::UserId;
use chasqui_proto::limits::{
    PRESENCE_GRACE_MS, PRESENCE_INTERVAL_MS, PRESENCE_PER_SECOND, PRESENCE_WATCHES_PER_CONNECTION,
};
use std::collections::BTreeMap;

const START_MS: u64 = 1_795_000_000_000;

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

/// A core whose time is in the hands of the test, and what it has sent.
struct Scene {
    core: Core,
    now_ms: u64,
}

impl Scene {
    fn new() -> Scene {
        Scene { core: Core::new(1_000), now_ms: START_MS }
    }

    fn comes(&mut self, name: &str, connection: u64) {
        self.core.connected(&user(name), connection, self.now_ms);
    }

    fn goes(&mut self, name: &str, connection: u64) {
        self.core.disconnected(&user(name), connection, self.now_ms);
    }

    /// A connection of `name` begins to watch somebody who shows themselves to everybody and has no ties.
    fn watches(&mut self, name: &str, connection: u64, target: &str) {
        self.begins(name, connection, target, Begins::Retained);
    }

    fn begins(&mut self, name: &str, connection: u64, target: &str, begins: Begins) {
        assert!(self.core.watch(connection, &user(name), (&user(target), false), begins));
        self.core.learn_audience(&user(name), Audience::Everyone);
        self.core.learn_audience(&user(target), Audience::Everyone);
        self.core.learn_ties(connection, &user(target), Ties::default());
        self.core.granted(connection, &[user(target)], self.now_ms);
    }

    fn audience(&mut self, name: &str, to: Audience) {
        self.core.notice(&Notice::Audience { user: user(name), to }, self.now_ms);
    }

    fn tie(&mut self, owner: &str, other: &str, contact: bool, blocked: bool) {
        let notice = Notice::Tie { owner: user(owner), other: user(other), contact, blocked };
        self.core.notice(&notice, self.now_ms);
    }

    fn removed(&mut self, name: &str) {
        self.core.notice(&Notice::Removed { user: user(name) }, self.now_ms);
    }

    fn later(&mut self, by_ms: u64) {
        self.now_ms += by_ms;
    }

    fn updates(&mut self) -> Vec<Update> {
        self.core.updates(self.now_ms, usize::MAX)
    }

    /// What is sent now, of whom and what.
    fn shown(&mut self) -> Vec<(String, Shown)> {
        let updates = self.updates().into_iter();
        updates.map(|update| (update.target.as_str().to_owned(), update.shown)).collect()
    }

    /// What is sent within a second from now, of one whom there is a watch of.
    fn soon(&mut self) -> Vec<Shown> {
        let mut shown = self.shown();
        self.later(PRESENCE_INTERVAL_MS);
        shown.extend(self.shown());
        shown.into_iter().map(|(_, shown)| shown).collect()
    }
}

#[test]
fn somebody_comes_and_goes_and_a_moment_away_is_no_change() {
    let mut scene = Scene::new();
    scene.comes("alice", 1);
    scene.watches("alice", 1, "bob");
    assert_eq!(scene.soon(), [Shown::Nothing], "never seen");
    scene.comes("bob", 2);
    assert_eq!(scene.soon(), [Shown::Online]);
    // Another device of his changes nothing, neither way.
    scene.comes("bob", 3);
    scene.goes("bob", 2);
    assert_eq!(scene.soon(), []);
    // Away for not quite ten seconds.
    scene.goes("bob", 3);
    scene.later(PRESENCE_GRACE_MS - 1);
    assert_eq!(scene.shown(), []);
    scene.comes("bob", 4);
    scene.later(PRESENCE_GRACE_MS);
    assert_eq!(scene.shown(), []);
    // And for good.
    scene.goes("bob", 4);
    let left_ms = scene.now_ms;
    scene.later(PRESENCE_GRACE_MS - 1);
    assert_eq!(scene.shown(), []);
    scene.later(1);
    assert_eq!(scene.soon(), [Shown::Since(left_ms)]);
    // Who asks later is told the same.
    scene.comes("carol", 5);
    scene.watches("carol", 5, "bob");
    assert_eq!(scene.soon(), [Shown::Since(left_ms)]);
}

#[test]
fn the_first_value_is_retained_and_the_others_are_not() {
    for (begins, expected) in [
        (Begins::Retained, vec![(true, Shown::Nothing), (false, Shown::Online)]),
        (Begins::Live, vec![(false, Shown::Nothing), (false, Shown::Online)]),
        (Begins::Quietly, vec![(false, Shown::Online)]),
    ] {
        let mut scene = Scene::new();
        scene.comes("alice", 1);
        scene.begins("alice", 1, "bob", begins);
        let mut updates = scene.updates();
        scene.later(PRESENCE_INTERVAL_MS);
        scene.comes("bob", 2);
        updates.extend(scene.updates());
        let got: Vec<_> = updates.iter().map(|update| (update.retain, update.shown)).collect();
        assert_eq!(got, expected, "{begins:?}");
        // What finds no room comes again as it was.
        let first = updates.remove(0);
        scene.core.missed(&first, scene.now_ms);
        scene.later(PRESENCE_INTERVAL_MS);
        let again = scene.updates();
        assert_eq!(again, [Update { shown: Shown::Online, ..first }], "{begins:?}");
    }
}

#[test]
fn nothing_is_sent_before_the_watch_is_granted_and_all_is_known() {
    let mut scene = Scene::new();
    scene.comes("alice", 1);
    scene.comes("bob", 2);
    let (alice, bob) = (user("alice"), user("bob"));
    assert!(scene.core.watch(1, &alice, (&bob, false), Begins::Retained));
    scene.goes("bob", 2);
    scene.comes("bob", 3);
    assert_eq!(scene.shown(), []);
    // What is said meanwhile is newer than what was read.
    scene.audience("bob", Audience::Nobody);
    scene.core.learn_audience(&alice, Audience::Everyone);
    scene.core.learn_audience(&bob, Audience::Everyone);
    assert_eq!(scene.shown(), []);
    scene.tie("bob", "alice", true, false);
    scene.core.learn_ties(1, &bob, Ties::default());
    scene.core.granted(1, std::slice::from_ref(&bob), scene.now_ms);
    assert_eq!(scene.soon(), [Shown::Nothing]);
    scene.audience("bob", Audience::Contacts);
    assert_eq!(scene.soon(), [Shown::Online]);
}

#[test]
fn who_sees_whom() {
    use Audience::{Contacts, Everyone, Nobody};
    // The watcher's own audience, the target's, whether the target has the watcher as a contact and blocks them, and whether they see.
    let rows = [
        (Everyone, Everyone, false, false, true),
        (Everyone, Everyone, true, false, true),
        (Everyone, Everyone, true, true, false),
        (Everyone, Everyone, false, true, false),
        (Everyone, Contacts, false, false, false),
        (Everyone, Contacts, true, false, true),
        (Everyone, Contacts, true, true, false),
        (Everyone, Nobody, false, false, false),
        (Everyone, Nobody, true, false, false),
        (Contacts, Everyone, false, false, true),
        (Contacts, Contacts, true, false, true),
        (Nobody, Everyone, true, false, false),
        (Nobody, Contacts, true, false, false),
    ];
    for row in rows {
        let (own, theirs, contact, blocked, sees) = row;
        // As it was when the watch began.
        let mut scene = Scene::new();
        let (alice, bob) = (user("alice"), user("bob"));
        scene.comes("alice", 1);
        scene.comes("bob", 2);
        scene.core.watch(1, &alice, (&bob, false), Begins::Retained);
        scene.core.learn_audience(&alice, own);
        scene.core.learn_audience(&bob, theirs);
        scene.core.learn_ties(1, &bob, Ties { contact, blocked });
        scene.core.granted(1, std::slice::from_ref(&bob), scene.now_ms);
        let expected = if sees { Shown::Online } else { Shown::Nothing };
        assert_eq!(scene.soon(), [expected], "{row:?}");
        // And the other way round, at once.
        let mut scene = Scene::new();
        scene.comes("alice", 1);
        scene.comes("bob", 2);
        scene.watches("alice", 1, "bob");
        assert_eq!(scene.soon(), [Shown::Online]);
        scene.audience("alice", own);
        scene.audience("bob", theirs);
        scene.tie("bob", "alice", contact, blocked);
        let expected: &[Shown] = if sees { &[] } else { &[Shown::Nothing] };
        assert_eq!(scene.soon(), expected, "{row:?}");
        // What alice thinks of bob is nothing to it.
        scene.tie("alice", "bob", true, true);
        assert_eq!(scene.soon(), []);
    }
}

#[test]
fn one_sees_oneself_whatever_one_hides() {
    let mut scene = Scene::new();
    scene.comes("alice", 1);
    scene.watches("alice", 1, "alice");
    scene.audience("alice", Audience::Nobody);
    assert_eq!(scene.soon(), [Shown::Online]);
}

#[test]
fn a_topic_gets_one_value_a_second_and_none_that_it_has() {
    let mut scene = Scene::new();
    scene.comes("alice", 1);
    scene.comes("bob", 2);
    scene.watches("alice", 1, "bob");
    assert_eq!(scene.shown(), [("bob".to_owned(), Shown::Online)]);
    for _ in 0..10 {
        scene.later(90);
        scene.audience("bob", Audience::Nobody);
        assert_eq!(scene.shown(), []);
        scene.audience("bob", Audience::Everyone);
        assert_eq!(scene.shown(), []);
    }
    scene.audience("bob", Audience::Nobody);
    scene.later(99);
    assert_eq!(scene.shown(), []);
    scene.later(1);
    assert_eq!(scene.shown(), [("bob".to_owned(), Shown::Nothing)]);
    scene.audience("bob", Audience::Everyone);
    scene.audience("bob", Audience::Nobody);
    scene.later(10_000);
    assert_eq!(scene.shown(), [], "it is what it was");
}

#[test]
fn who_was_removed_is_as_if_never_there_and_the_next_of_the_name_is_another() {
    let mut scene = Scene::new();
    scene.comes("alice", 1);
    scene.watches("alice", 1, "bob");
    scene.tie("bob", "alice", true, false);
    scene.comes("bob", 2);
    assert_eq!(scene.soon(), [Shown::Online]);
    scene.removed("bob");
    assert_eq!(scene.soon(), [Shown::Nothing], "his connection is on its way out");
    // One of the new bob's comes before the old one is gone.
    scene.comes("bob", 3);
    assert_eq!(scene.soon(), [Shown::Online]);
    scene.audience("bob", Audience::Contacts);
    assert_eq!(scene.soon(), [Shown::Nothing], "alice is no contact of this one's");
    scene.audience("bob", Audience::Everyone);
    assert_eq!(scene.soon(), [Shown::Online]);
    scene.goes("bob", 2);
    scene.later(2 * PRESENCE_GRACE_MS);
    assert_eq!(scene.shown(), [], "the old one's connection says nothing of the new one");
    scene.goes("bob", 3);
    let left_ms = scene.now_ms;
    scene.later(PRESENCE_GRACE_MS);
    assert_eq!(scene.soon(), [Shown::Since(left_ms)]);
    scene.removed("bob");
    assert_eq!(scene.soon(), [Shown::Nothing]);
}

#[test]
fn a_watch_that_is_given_up_brings_nothing_and_nothing_is_left_of_anybody() {
    let mut scene = Scene::new();
    scene.comes("alice", 1);
    for target in ["bob", "carol"] {
        scene.watches("alice", 1, target);
    }
    scene.core.unwatch(1, &user("bob"), false);
    scene.core.unwatch(1, &user("bob"), false);
    scene.core.unwatch(1, &user("dave"), true);
    assert_eq!(scene.shown(), [("carol".to_owned(), Shown::Nothing)]);
    scene.comes("bob", 2);
    scene.comes("carol", 3);
    scene.later(PRESENCE_INTERVAL_MS);
    assert_eq!(scene.shown(), [("carol".to_owned(), Shown::Online)]);
    scene.goes("carol", 3);
    scene.goes("alice", 1);
    scene.goes("bob", 2);
    scene.later(PRESENCE_GRACE_MS);
    assert_eq!(scene.shown(), []);
    assert_eq!(scene.core.sizes(), [0; 4]);
}

#[test]
fn a_connection_watches_so_many_and_not_one_more() {
    let mut scene = Scene::new();
    scene.comes("alice", 1);
    let watch = |scene: &mut Scene, n: usize, json| {
        let target = user(&format!("user-{n}"));
        scene.core.watch(1, &user("alice"), (&target, json), Begins::Retained)
    };
    assert!((0..PRESENCE_WATCHES_PER_CONNECTION).all(|n| watch(&mut scene, n, false)));
    assert!(!watch(&mut scene, 0, true) && !watch(&mut scene, 1_000_000, false));
    assert!(watch(&mut scene, 7, false), "what it has it keeps");
    scene.core.unwatch(1, &user("user-7"), false);
    assert!(watch(&mut scene, 0, true));
    assert!(!watch(&mut scene, 7, false));
}

#[test]
fn a_clock_set_back_loses_nothing() {
    let mut scene = Scene::new();
    scene.comes("alice", 1);
    scene.comes("bob", 2);
    scene.watches("alice", 1, "bob");
    assert_eq!(scene.shown(), [("bob".to_owned(), Shown::Online)]);
    scene.audience("bob", Audience::Nobody);
    scene.now_ms -= 3_600_000;
    assert_eq!(scene.shown(), [("bob".to_owned(), Shown::Nothing)]);
    scene.audience("bob", Audience::Everyone);
    assert_eq!(scene.soon(), [Shown::Online]);
    scene.goes("bob", 2);
    let left_ms = scene.now_ms;
    scene.now_ms -= 3_600_000;
    assert_eq!(scene.soon(), [Shown::Since(left_ms)]);
}

#[test]
fn who_looked_at_the_clock_before_and_comes_later_does_not_set_it_back() {
    let mut scene = Scene::new();
    scene.comes("alice", 1);
    for n in 0..=PRESENCE_PER_SECOND {
        scene.watches("alice", 1, &format!("user-{n}"));
    }
    scene.comes("bob", 2);
    scene.comes("carol", 3);
    scene.watches("carol", 3, "bob");
    scene.later(5);
    assert_eq!(scene.updates().len(), PRESENCE_PER_SECOND + 1);
    scene.goes("bob", 2);
    let (before_ms, left_ms) = (scene.now_ms - 5, scene.now_ms);
    assert_eq!(scene.core.updates(before_ms, usize::MAX), []);
    scene.later(PRESENCE_GRACE_MS - 1);
    assert_eq!(scene.updates().len(), 1, "the last of those whom alice watches");
    scene.later(1);
    assert_eq!(scene.shown(), [("bob".to_owned(), Shown::Since(left_ms))]);
}

/// How much a watcher is told in any second, at most.
fn most_in_a_second(times: &[u64]) -> usize {
    let within = |from: &u64| times.iter().filter(|at| (*from..*from + 1_000).contains(at)).count();
    times.iter().map(within).max().unwrap_or_default()
}

/// Synapse 14090: many contacts who come online at once were a storm of updates that nothing else got through.
#[test]
fn presence_storms_synapse_14090() {
    const CONTACTS: usize = 1_000;
    let mut scene = Scene::new();
    let name = |n: usize| format!("contact-{n}");
    scene.comes("alice", 1);
    for n in 0..CONTACTS {
        scene.watches("alice", 1, &name(n));
    }
    let mut told: BTreeMap<String, Shown> = BTreeMap::new();
    let mut times = Vec::new();
    let tick = |scene: &mut Scene, times: &mut Vec<u64>, told: &mut BTreeMap<String, Shown>| {
        for (target, shown) in scene.shown() {
            assert_ne!(told.insert(target, shown), Some(shown), "what is known is not said again");
            times.push(scene.now_ms);
        }
        scene.later(50);
    };
    while told.len() < CONTACTS {
        tick(&mut scene, &mut times, &mut told);
    }
    assert!(told.values().all(|shown| *shown == Shown::Nothing));
    assert!(times.len() <= CONTACTS, "each once");
    // All of them at once; then half of them go again, some while alice has not even heard that they came.
    for n in 0..CONTACTS {
        scene.comes(&name(n), 10 + n as u64);
    }
    let left_ms = scene.now_ms;
    for n in (0..CONTACTS).step_by(2) {
        scene.goes(&name(n), 10 + n as u64);
    }
    let expected = |n: usize| if n.is_multiple_of(2) { Shown::Since(left_ms) } else { Shown::Online };
    let begun_ms = scene.now_ms;
    while (0..CONTACTS).any(|n| told[&name(n)] != expected(n)) {
        assert!(scene.now_ms < begun_ms + 60_000, "in the end all is known");
        tick(&mut scene, &mut times, &mut told);
    }
    assert_eq!(most_in_a_second(&times), PRESENCE_PER_SECOND);
    // Of what came and went before there was room for it, only the end was told.
    assert!(times.len() < CONTACTS + CONTACTS + CONTACTS / 2, "{}", times.len());
    scene.later(3_600_000);
    assert_eq!(scene.shown(), []);
}

/// The same from the side of one who is watched by many: each is told once, and a tick has its bound.
#[test]
fn one_whom_many_watch_is_shown_to_all_of_them() {
    const WATCHERS: u64 = 3_000;
    let mut scene = Scene::new();
    for n in 0..WATCHERS {
        scene.comes(&format!("fan-{n}"), 1 + n);
        scene.watches(&format!("fan-{n}"), 1 + n, "star");
    }
    assert_eq!(scene.updates().len(), WATCHERS as usize);
    scene.later(PRESENCE_INTERVAL_MS);
    scene.comes("star", 100_000);
    let mut told = Vec::new();
    loop {
        let updates = scene.core.updates(scene.now_ms, 128);
        assert!(updates.len() <= 128);
        if updates.is_empty() {
            break;
        }
        told.extend(updates.into_iter().map(|update| update.connection));
    }
    told.sort_unstable();
    assert_eq!(told, (1..=WATCHERS).collect::<Vec<_>>());
}
