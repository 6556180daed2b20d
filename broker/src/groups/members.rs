//! The members of a group and whose turn it is: pure, over any handle.
//!
//! Connected members stand in a ring of their own, so that one is found at once however many are offline. Offline ones that
//! messages may wait for (granted QoS 1 or 2) stand in a second ring, the others aside. Each ring is gone round in turn; a member that
//! comes or goes may move another's place in it by one round.
//!
//! Invariants: a member stands in exactly one ring, at the place that `places` says; what has left is never offered anything again.

use crate::router::SubscriptionOptions;
use hashbrown::HashMap;
use std::hash::Hash;

/// How many members that cannot take a message are asked before the next ring is. Bounds what one message costs when all are
/// slow.
const TRIES: usize = 16;

/// What a member says to an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It takes it.
    Taken,
    /// It has no room.
    Full,
    /// It is not connected (in the first ring), or is just ending (in the second).
    Away,
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Connected members alone.
    Connected,
    /// Those first, then offline ones that it may wait for.
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seat {
    Connected,
    Waiting,
    Idle,
}

#[derive(Debug)]
pub(crate) struct Members<H> {
    places: HashMap<H, (Seat, u32), foldhash::fast::RandomState>,
    connected: Ring<H>,
    waiting: Ring<H>,
    idle: Ring<H>,
}

#[derive(Debug)]
struct Ring<H> {
    members: Vec<(H, SubscriptionOptions)>,
    next: usize,
}

impl<H> Default for Ring<H> {
    fn default() -> Ring<H> {
        Ring { members: Vec::new(), next: 0 }
    }
}

impl<H> Default for Members<H> {
    fn default() -> Members<H> {
        Members {
            places: HashMap::default(),
            connected: Ring::default(),
            waiting: Ring::default(),
            idle: Ring::default(),
        }
    }
}

impl<H> Ring<H> {
    /// Whose turn it is; the next one's from now on.
    fn turn(&mut self) -> Option<&(H, SubscriptionOptions)> {
        let at = if self.next < self.members.len() { self.next } else { 0 };
        self.next = at + 1;
        self.members.get(at)
    }
}

impl<H: Clone + Eq + Hash> Members<H> {
    /// Adds a member, or replaces its options and its place. True when it was none.
    pub(crate) fn join(&mut self, member: H, options: SubscriptionOptions, connected: bool) -> bool {
        let seat = match (connected, options.qos) {
            (true, _) => Seat::Connected,
            (false, 0) => Seat::Idle,
            (false, _) => Seat::Waiting,
        };
        if let Some((known, at)) = self.places.get(&member).copied()
            && known == seat
        {
            self.ring(seat).members[at as usize].1 = options;
            return false;
        }
        let new = self.leave(&member).is_none();
        self.sit(member, options, seat);
        new
    }

    /// Takes a member away, with its options.
    pub(crate) fn leave(&mut self, member: &H) -> Option<SubscriptionOptions> {
        let (seat, at) = self.places.remove(member)?;
        let ring = self.ring(seat);
        let (_, options) = ring.members.swap_remove(at as usize);
        let moved = ring.members.get(at as usize).map(|(moved, _)| moved.clone());
        if ring.members.is_empty() {
            *ring = Ring::default();
        }
        if let Some(moved) = moved {
            self.places.insert(moved, (seat, at));
        }
        Some(options)
    }

    /// A member is not connected any more.
    pub(crate) fn away(&mut self, member: &H) {
        if self.places.get(member).is_some_and(|(seat, _)| *seat == Seat::Connected)
            && let Some(options) = self.leave(member)
        {
            self.sit(member.clone(), options, if options.qos == 0 { Seat::Idle } else { Seat::Waiting });
        }
    }

    fn sit(&mut self, member: H, options: SubscriptionOptions, seat: Seat) {
        let ring = self.ring(seat);
        let at = ring.members.len() as u32;
        ring.members.push((member.clone(), options));
        self.places.insert(member, (seat, at));
    }

    fn ring(&mut self, seat: Seat) -> &mut Ring<H> {
        match seat {
            Seat::Connected => &mut self.connected,
            Seat::Waiting => &mut self.waiting,
            Seat::Idle => &mut self.idle,
        }
    }

    /// Offers something to one member after the other, each in its turn, until one takes it. Whether one did. Who is asked hears from
    /// which ring it is: true from the connected ones.
    pub(crate) fn offer(
        &mut self,
        reach: Reach,
        mut ask: impl FnMut(&H, SubscriptionOptions, bool) -> Offered,
    ) -> bool {
        let mut full = 0;
        let mut left = self.connected.members.len();
        while left > 0 && full < TRIES {
            left -= 1;
            let Some((member, options)) = self.connected.turn() else { break };
            match ask(member, *options, true) {
                Offered::Taken => return true,
                Offered::Full => full += 1,
                Offered::Away => {
                    let member = member.clone();
                    // Who is moved to its place has its turn.
                    self.connected.next -= 1;
                    self.away(&member);
                }
            }
        }
        let waiting = if reach == Reach::All { self.waiting.members.len().min(TRIES) } else { 0 };
        (0..waiting).any(|_| {
            let turn = self.waiting.turn();
            turn.is_some_and(|(member, options)| ask(member, *options, false) == Offered::Taken)
        })
    }

    /// Whether anybody is connected.
    pub(crate) fn has_connected(&self) -> bool {
        !self.connected.members.is_empty()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn options(qos: u8) -> SubscriptionOptions {
        SubscriptionOptions { qos, ..SubscriptionOptions::default() }
    }

    fn offer(members: &mut Members<u32>, reach: Reach, full: &[u32]) -> Option<u32> {
        let mut taken = None;
        let given = members.offer(reach, |member, _, _| {
            if full.contains(member) {
                return Offered::Full;
            }
            assert_eq!(taken.replace(*member), None, "one copy");
            Offered::Taken
        });
        assert_eq!(given, taken.is_some());
        taken
    }

    #[test]
    fn connected_members_come_first_and_offline_ones_are_waited_for() {
        let mut members = Members::default();
        members.join(1, options(1), false);
        members.join(2, options(0), false);
        assert_eq!(offer(&mut members, Reach::Connected, &[]), None);
        assert_eq!(offer(&mut members, Reach::All, &[]), Some(1));
        members.join(3, options(0), true);
        assert_eq!(offer(&mut members, Reach::All, &[]), Some(3));
        assert_eq!(offer(&mut members, Reach::All, &[3]), Some(1), "who has no room is passed over");
        members.away(&3);
        assert_eq!(offer(&mut members, Reach::All, &[1]), None, "nobody waits for QoS 0");
        assert!(!members.has_connected());
    }

    #[test]
    fn who_turns_out_to_be_away_is_asked_once() {
        let mut members = Members::default();
        (0..100).for_each(|member| _ = members.join(member, options(1), true));
        let mut asked = 0;
        for _ in 0..50 {
            let taken = members.offer(Reach::Connected, |member, _, _| {
                asked += 1;
                if *member < 99 { Offered::Away } else { Offered::Taken }
            });
            assert!(taken);
        }
        assert_eq!(asked, 99 + 50);
        assert_eq!(members.len(), 100);
    }

    #[test]
    fn what_one_message_costs_is_bounded_when_all_are_full() {
        let mut members = Members::default();
        (0..1_000).for_each(|member| _ = members.join(member, options(1), true));
        let mut asked = 0;
        let taken = members.offer(Reach::All, |_, _, _| {
            asked += 1;
            Offered::Full
        });
        assert_eq!((taken, asked), (false, TRIES));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Join(u32, u8, bool),
        Leave(u32),
        Away(u32),
        Offer(bool, Vec<u32>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let member = 0u32..8;
        prop_oneof![
            (member.clone(), 0u8..3, any::<bool>()).prop_map(|(m, qos, on)| Step::Join(m, qos, on)),
            member.clone().prop_map(Step::Leave),
            member.clone().prop_map(Step::Away),
            (any::<bool>(), prop::collection::vec(member, 0..3))
                .prop_map(|(all, full)| Step::Offer(all, full)),
        ]
    }

    proptest! {
        /// Whatever happens before: one member gets a message, and only one that is there and can take it; someone does whenever
        /// someone can.
        #[test]
        fn exactly_one_member_gets_a_message(steps in prop::collection::vec(step(), 0..80)) {
            let mut members = Members::default();
            let mut known: BTreeMap<u32, (u8, bool)> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Join(member, qos, connected) => {
                        let new = known.insert(member, (qos, connected)).is_none();
                        prop_assert_eq!(members.join(member, options(qos), connected), new);
                    }
                    Step::Leave(member) => {
                        let was = known.remove(&member).map(|(qos, _)| options(qos));
                        prop_assert_eq!(members.leave(&member), was);
                    }
                    Step::Away(member) => {
                        members.away(&member);
                        known.entry(member).and_modify(|(_, connected)| *connected = false);
                    }
                    Step::Offer(all, full) => {
                        let able = |on: bool| known.iter().filter(move |(_, (qos, connected))| {
                            *connected == on && (on || *qos > 0)
                        }).map(|(member, _)| *member).filter(|member| !full.contains(member)).collect::<Vec<_>>();
                        let (connected, waiting) = (able(true), able(false));
                        let reach = if all { Reach::All } else { Reach::Connected };
                        let expected = if connected.is_empty() && all { waiting } else { connected };
                        match offer(&mut members, reach, &full) {
                            Some(taken) => prop_assert!(expected.contains(&taken)),
                            None => prop_assert!(expected.is_empty()),
                        }
                    }
                }
                prop_assert_eq!(members.len(), known.len());
                let connected = known.values().any(|(_, connected)| *connected);
                prop_assert_eq!(members.has_connected(), connected);
            }
        }

        /// While nobody comes or goes, everyone gets the same number, give or take one.
        #[test]
        fn turns_are_fair(connected in 1u32..20, offline in 0u32..20, messages in 0usize..200, before in 0usize..30) {
            let mut members = Members::default();
            (0..connected).for_each(|member| _ = members.join(member, options(1), true));
            (connected..connected + offline).for_each(|member| _ = members.join(member, options(1), false));
            (0..before).for_each(|_| _ = offer(&mut members, Reach::All, &[]));
            let mut got = vec![0usize; connected as usize];
            for _ in 0..messages {
                got[offer(&mut members, Reach::All, &[]).expect("someone is connected") as usize] += 1;
            }
            let (least, most) = (got.iter().min(), got.iter().max());
            prop_assert!(most.unwrap() - least.unwrap() <= 1, "{:?}", got);
        }
    }
}
