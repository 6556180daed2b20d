//! What each user may do in a time: messages, groups, invites, adds, reports, with less for accounts that are new.
//!
//! A rate makes somebody wait before it refuses: what is owed for up to [`RATE_WAIT_MAX_MS`] is carried out, and the connection read more
//! slowly; what would have to wait longer is refused, says how long, and takes nothing. All of it is in memory, and stands before the
//! sequencer, so that what is too much costs it nothing but the refusal. Retries count like anything else.
//!
//! Users whose buckets are full again are forgotten. Where more than [`MOST`] are not, others of them are, which forgives them.

use super::ChatHook;
use super::commands::Asked;
use crate::machine::Command;
use crate::machine::command::{
    Act, Caller, GroupAdd, GroupEdit, GroupInvite, GroupJoin, GroupRemove, GroupRoles, MakeReport, Reject,
    Send, SetTies, SetTimer, What,
};
use crate::sequencer::fetch;
use chasqui_broker::hook::Client;
use chasqui_broker::{Bucket, Rate};
use chasqui_proto::limits::RATE_WAIT_MAX_MS;
use chasqui_proto::{ClientMsgId, ErrorCode, Refusal, UserId};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::hash::BuildHasher;

/// Kinds of things that are counted.
const KINDS: usize = 5;
/// Shards of the table.
const SHARDS: usize = 16;
/// Users of one shard beyond which those whose buckets are full are looked for.
const MANY: usize = 256;
/// Users of one shard at most.
const MOST: usize = 65_536;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What becomes a message: sent, edited, deleted for everyone, a sign, a change of a group.
    Messages,
    /// Groups made.
    Groups,
    /// Links asked for, and groups joined by one.
    Invites,
    /// Users put into groups and on contact lists.
    Adds,
    /// Reports.
    Reports,
}

impl Kind {
    /// What is said to who does too much of it.
    fn sentence(self) -> &'static str {
        match self {
            Kind::Messages => "this user sends too much",
            Kind::Groups => "this user makes too many groups",
            Kind::Invites => "this user asks for too many invite links, or joins too many groups",
            Kind::Adds => "this user adds too many users to groups and contacts",
            Kind::Reports => "this user reports too much",
        }
    }
}

/// So much of a kind.
type Cost = (Kind, u32);

/// The rates of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserRates {
    /// What becomes a message.
    pub messages: Rate,
    /// Groups made.
    pub groups: Rate,
    /// Links asked for, and groups joined by one.
    pub invites: Rate,
    /// Users put into groups and on contact lists.
    pub adds: Rate,
    /// Reports.
    pub reports: Rate,
    /// How long an account is new, in milliseconds.
    pub new_for_ms: u64,
    /// Hundredths of each rate that a new account has.
    pub new_percent: u32,
}

impl UserRates {
    fn of(&self, kind: Kind) -> Rate {
        match kind {
            Kind::Messages => self.messages,
            Kind::Groups => self.groups,
            Kind::Invites => self.invites,
            Kind::Adds => self.adds,
            Kind::Reports => self.reports,
        }
    }

    fn is_limited(&self) -> bool {
        [self.messages, self.groups, self.invites, self.adds, self.reports]
            .iter()
            .any(|rate| rate.is_limited())
    }
}

/// What becomes of something that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is within the rates.
    Within,
    /// It is carried out, and nothing more is read until then, in Unix milliseconds.
    Owed(u64),
    /// It would have to wait so long, in milliseconds: for this.
    TooMuch(Kind, u64),
}

/// What a user has used.
#[derive(Debug, Clone, Copy)]
struct Used {
    buckets: [Bucket; KINDS],
    /// Until when the account is new, Unix milliseconds.
    new_until_ms: u64,
}

impl Used {
    fn is_as_new(&self, now_ms: u64) -> bool {
        self.buckets.iter().all(|bucket| bucket.is_full(now_ms))
    }
}

#[derive(Default)]
struct Shard {
    users: HashMap<UserId, Used, foldhash::fast::RandomState>,
    /// How many there are before it is looked again for those that can go: twice as many as were left the last time.
    sweep_at: usize,
}

/// What all users have used.
pub(super) struct Rates {
    limits: UserRates,
    shards: Vec<Mutex<Shard>>,
    hasher: foldhash::fast::RandomState,
}

impl Rates {
    pub(super) fn new(rates: UserRates) -> Rates {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Rates { limits: rates, shards, hasher: foldhash::fast::RandomState::default() }
    }

    fn shard(&self, user: &UserId) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(user) as usize % SHARDS]
    }

    /// Forgets a user: who comes under the name later is somebody else.
    pub(super) fn forget(&self, user: &UserId) {
        self.shard(user).lock().users.remove(user);
    }

    /// Takes what something costs, all of it or nothing. `came_ms` says since when there is this user: asked where it is not known.
    fn take(&self, user: &UserId, costs: &[Cost], now_ms: u64, came_ms: impl FnOnce() -> u64) -> Verdict {
        let known = self.shard(user).lock().users.get(user).map(|used| used.new_until_ms);
        // It may be read from the disk: not under the lock.
        let new_until_ms = known.unwrap_or_else(|| came_ms().saturating_add(self.limits.new_for_ms));
        let mut shard = self.shard(user).lock();
        let used = shard.used(user, new_until_ms, now_ms);
        let mut after = used.buckets;
        let mut ready_ms = 0;
        for &(kind, units) in costs {
            let rate = self.limits.of(kind);
            if !rate.is_limited() {
                continue;
            }
            let rate = if now_ms < used.new_until_ms { rate.percent(self.limits.new_percent) } else { rate };
            let bucket = &mut after[kind as usize];
            // What is more than there ever is at once takes all there is.
            bucket.take_within(rate, u64::from(units.min(rate.burst())), now_ms, RATE_WAIT_MAX_MS);
            let at_ms = bucket.ready_ms(rate);
            if at_ms > now_ms + RATE_WAIT_MAX_MS {
                return Verdict::TooMuch(kind, at_ms - now_ms);
            }
            ready_ms = ready_ms.max(at_ms);
        }
        used.buckets = after;
        if ready_ms > now_ms { Verdict::Owed(ready_ms) } else { Verdict::Within }
    }
}

impl Shard {
    fn used(&mut self, user: &UserId, new_until_ms: u64, now_ms: u64) -> &mut Used {
        if self.users.len() >= self.sweep_at.max(MANY) && !self.users.contains_key(user) {
            self.users.retain(|_, used| !used.is_as_new(now_ms));
            self.sweep_at = (2 * self.users.len()).min(MOST);
            if self.users.len() >= MOST {
                // An eighth at once, so that the next ones do not look through all of them again.
                let mut place = 0;
                self.users.retain(|_, _| {
                    place += 1;
                    place % 8 != 0
                });
            }
        }
        if !self.users.contains_key(user) {
            let used = Used { buckets: [Bucket::default(); KINDS], new_until_ms };
            self.users.insert(user.clone(), used);
        }
        self.users.get_mut(user).expect("it was put there where it was not")
    }
}

/// Who asks for something that is counted, its `client_msg_id`, and what it costs.
fn cost(command: &Command) -> Option<(&Caller, Option<ClientMsgId>, [Cost; 2])> {
    let one = |caller, kind, units| Some((caller, None, [(kind, units), (kind, 0)]));
    let count = |users: &Vec<UserId>| u32::try_from(users.len()).unwrap_or(u32::MAX);
    match command {
        Command::Send(Send { caller, message, .. }) => {
            Some((caller, message.client_msg_id, [(Kind::Messages, 1), (Kind::Messages, 0)]))
        }
        Command::Act(act) => {
            let Act { caller, .. } = &**act;
            one(caller, Kind::Messages, 1)
        }
        Command::SetTimer(SetTimer { caller, .. })
        | Command::GroupRemove(GroupRemove { caller, .. })
        | Command::GroupRoles(GroupRoles { caller, .. }) => one(caller, Kind::Messages, 1),
        Command::GroupEdit(edit) => {
            let GroupEdit { caller, .. } = &**edit;
            one(caller, Kind::Messages, 1)
        }
        Command::GroupCreate(create) => {
            Some((&create.caller, None, [(Kind::Groups, 1), (Kind::Adds, count(&create.members))]))
        }
        Command::GroupAdd(GroupAdd { caller, users, .. })
        | Command::SetTies(SetTies { caller, users, what: What::Contact(true) }) => {
            one(caller, Kind::Adds, count(users))
        }
        Command::GroupInvite(GroupInvite { caller, .. }) | Command::GroupJoin(GroupJoin { caller, .. }) => {
            one(caller, Kind::Invites, 1)
        }
        Command::MakeReport(MakeReport { caller, .. }) => one(caller, Kind::Reports, 1),
        _ => None,
    }
}

/// Seconds, as they are said.
fn seconds(wait_ms: u64) -> u64 {
    wait_ms.div_ceil(1_000)
}

impl ChatHook {
    /// Holds what is asked for to the rates of its user: the connection waits, or something else is asked instead, that says why it is refused.
    pub(super) fn at_its_rate(&self, client: &Client, asked: Asked) -> Asked {
        match self.over_rate(client, &asked.command) {
            None => asked,
            Some(reject) => Asked { command: reject.into(), ..asked },
        }
    }

    /// The refusal of what is more than its user may.
    pub(super) fn over_rate(&self, client: &Client, command: &Command) -> Option<Reject> {
        if !self.rates.limits.is_limited() {
            return None;
        }
        let (caller, client_msg_id, costs) = cost(command)?;
        let now_ms = self.now_ms();
        match self.rates.take(&caller.user, &costs, now_ms, || self.came_ms(&caller.user, now_ms)) {
            Verdict::Within => None,
            Verdict::Owed(until_ms) => {
                client.slow_down(until_ms);
                None
            }
            Verdict::TooMuch(kind, wait_ms) => {
                if let Some(broker) = self.broker() {
                    broker.stats().publishes_refused_rate.count();
                    broker.stats().publishes_refused.count();
                }
                let sentence = format!("{}; try again in {} s", kind.sentence(), seconds(wait_ms));
                let retry_after_ms = u32::try_from(wait_ms).unwrap_or(u32::MAX);
                let refusal =
                    Refusal { retry_after_ms, ..Refusal::because(ErrorCode::RateLimited, sentence) };
                Some(Reject { caller: caller.clone(), client_msg_id, refusal })
            }
        }
    }

    /// Since when there is this user, Unix milliseconds: 0 where nobody knows, and now where there is none yet.
    fn came_ms(&self, user: &UserId, now_ms: u64) -> u64 {
        let came = fetch::came_ms(&self.reader, user).and_then(|came| match came {
            Some(came_ms) => Ok(came_ms),
            None => fetch::user(&self.reader, user).map(|known| if known.exists { 0 } else { now_ms }),
        });
        came.unwrap_or_else(|error| {
            tracing::error!("since when there is a user could not be read: {error}");
            0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    const NOW_MS: u64 = 1_795_000_000_000;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    /// Ten messages a second, ten groups and a hundred adds an hour; a tenth of it for the first day.
    fn rates() -> Rates {
        Rates::new(UserRates {
            messages: Rate::per_second(10),
            groups: Rate::per(3_600, 10),
            adds: Rate::per(3_600, 100),
            new_for_ms: 24 * HOUR_MS,
            new_percent: 10,
            ..UserRates::default()
        })
    }

    #[test]
    fn a_little_too_much_is_waited_for_and_much_too_much_is_refused() {
        let rates = rates();
        let say = |now_ms| rates.take(&user("alice"), &[(Kind::Messages, 1)], now_ms, || 0);
        assert!((0..10).all(|_| say(NOW_MS) == Verdict::Within));
        for owed in 1..=50 {
            assert_eq!(say(NOW_MS), Verdict::Owed(NOW_MS + owed * 100));
        }
        assert_eq!(say(NOW_MS), Verdict::TooMuch(Kind::Messages, 5_100));
        assert_eq!(say(NOW_MS), Verdict::TooMuch(Kind::Messages, 5_100), "a refusal takes nothing");
        assert_eq!(say(NOW_MS + 100), Verdict::Owed(NOW_MS + 5_100));
        assert_eq!(say(NOW_MS + 5_100 + 1_000), Verdict::Within);
        let bob = rates.take(&user("bob"), &[(Kind::Messages, 1)], NOW_MS, || 0);
        assert_eq!(bob, Verdict::Within, "each has their own");
    }

    #[test]
    fn a_new_account_may_less_until_it_is_none() {
        let rates = rates();
        let mut asked = 0;
        let mut make = |now_ms| {
            rates.take(&user("alice"), &[(Kind::Groups, 1), (Kind::Adds, 3)], now_ms, || {
                asked += 1;
                NOW_MS
            })
        };
        assert_eq!(make(NOW_MS), Verdict::Within);
        assert_eq!(make(NOW_MS), Verdict::TooMuch(Kind::Groups, HOUR_MS));
        let old = NOW_MS + 24 * HOUR_MS;
        assert!((0..10).all(|_| make(old) == Verdict::Within));
        assert_eq!(make(old), Verdict::TooMuch(Kind::Groups, HOUR_MS / 10));
        assert_eq!(asked, 1, "since when there is a user is read once");
    }

    #[test]
    fn what_costs_two_things_takes_both_or_neither() {
        let rates = rates();
        let take = |costs: &[Cost]| rates.take(&user("alice"), costs, NOW_MS, || 0);
        assert_eq!(take(&[(Kind::Adds, 98)]), Verdict::Within);
        for _ in 0..20 {
            let verdict = take(&[(Kind::Groups, 1), (Kind::Adds, 3)]);
            assert!(matches!(verdict, Verdict::TooMuch(Kind::Adds, _)), "{verdict:?}");
        }
        assert!((0..10).all(|_| take(&[(Kind::Groups, 1), (Kind::Adds, 0)]) == Verdict::Within));
    }

    #[test]
    fn one_command_that_names_many_is_possible_once() {
        let rates = rates();
        let take = || rates.take(&user("alice"), &[(Kind::Adds, 256)], NOW_MS, || 0);
        assert_eq!(take(), Verdict::Within);
        assert_eq!(take(), Verdict::TooMuch(Kind::Adds, HOUR_MS));
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait_longer() {
        let rates = rates();
        let say = |now_ms| rates.take(&user("alice"), &[(Kind::Messages, 1)], now_ms, || 0);
        assert!((0..60).all(|_| !matches!(say(NOW_MS), Verdict::TooMuch(..))));
        assert!(matches!(say(NOW_MS - 10 * HOUR_MS), Verdict::TooMuch(_, 5_100)));
    }

    #[test]
    fn users_who_have_used_nothing_lately_are_forgotten_and_there_are_never_too_many() {
        let rates = rates();
        let held = |rates: &Rates| rates.shards.iter().map(|shard| shard.lock().users.len()).sum::<usize>();
        for n in 0..100_000 {
            // One each millisecond: a message is forgotten after a tenth of a second.
            rates.take(&user(&format!("user-{n}")), &[(Kind::Messages, 1)], NOW_MS + n, || 0);
        }
        assert!(held(&rates) <= SHARDS * 2 * MANY, "{}", held(&rates));
        let shard = &mut *rates.shards[0].lock();
        for n in 0..=MOST {
            let used = shard.used(&user(&format!("busy-{n}")), 0, NOW_MS);
            used.buckets[0].take_within(Rate::per(3_600, 1), 1, NOW_MS, 0);
        }
        assert!(shard.users.len() <= MOST, "{}", shard.users.len());
    }

    #[test]
    fn who_comes_under_a_name_later_begins_anew() {
        let rates = rates();
        let make = |came_ms| rates.take(&user("alice"), &[(Kind::Groups, 5)], NOW_MS, || came_ms);
        assert_eq!(make(0), Verdict::Within);
        rates.forget(&user("alice"));
        assert_eq!(make(NOW_MS), Verdict::Within);
        assert!(matches!(make(0), Verdict::TooMuch(Kind::Groups, _)), "this one is new");
    }
}
