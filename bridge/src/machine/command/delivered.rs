//! `Delivered`: a device has acknowledged inbox entries, so its cursor moves and the senders are told.

use super::group::is_alive;
use super::group::receipts::{Moved, Which, living_few};
use super::{Decision, Missing, View};
use crate::machine::record::{Group, Membership};
use crate::machine::{Change, Env, Mark, Outcome, Receipt, User};
use crate::mutation::{Mutation, mutated};
use chasqui_proto::{ConversationId, DeviceId, Seq, UserId};
use smallvec::SmallVec;
use std::borrow::Cow;

/// A device has every entry of its user's inbox up to a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Whose device.
    pub user: UserId,
    /// Which. One that is not attached moves nothing.
    pub device: DeviceId,
    /// It has everything up to here.
    pub up_to: u64,
    /// The messages that it acknowledged on the way there; of one sender in one chat the newest is enough. Entries it was not shown are
    /// not among them.
    pub messages: Vec<Acknowledged>,
}

/// A message that a device acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its place in the inbox.
    pub position: u64,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Who sent it.
    pub sender: UserId,
    /// Its number.
    pub seq: Seq,
    /// Its time in Unix milliseconds.
    pub time_ms: u64,
}

/// What one conversation's sender is to be told.
struct News<'a> {
    sender: &'a UserId,
    conversation: &'a ConversationId,
    seq: Seq,
    time_ms: u64,
}

/// How far this user's mark in a group moves.
struct Reached<'a> {
    group: Cow<'a, Group>,
    membership: &'a Membership,
    moved: Moved<'a>,
}

/// Where the receipts of senders stand: one who is told of several conversations is so at one position after the other.
#[derive(Default)]
struct Positions<'a>(SmallVec<[(&'a UserId, u64); 4]>);

impl<'a> Positions<'a> {
    /// The position of the last receipt that a sender has; to be counted on by who gives them another.
    fn last(&mut self, sender: &'a UserId, owner: &User) -> &mut u64 {
        let at = self.0.iter().position(|(other, _)| *other == sender).unwrap_or_else(|| {
            self.0.push((sender, owner.state_head));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

impl Delivered {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let user = view.user(&self.user)?;
        let all = mutated(Mutation::TakesAllForDelivered);
        let up_to = if all { user.inbox_head } else { self.up_to.min(user.inbox_head) };
        let Some(before) =
            user.device(&self.device).map(|device| device.acked).filter(|acked| *acked < up_to)
        else {
            return Ok(Decision::only(Outcome::Done));
        };
        debug_assert!(before <= user.floor, "the floor is the furthest that a device was");

        let (owner, device) = (self.user.clone(), self.device.clone());
        // Mostly a trim and one receipt come behind it.
        let mut changes = Vec::with_capacity(3);
        changes.push(Change::MoveCursor { user: owner, device, acked: up_to });
        let others = user.devices.iter().filter(|device| device.id != self.device);
        let needless = others.map(|device| device.acked).min().map_or(up_to, |least| least.min(up_to));
        if needless > user.trimmed {
            changes.push(Change::TrimInbox { user: self.user.clone(), up_to: needless });
        }
        self.tell_senders(view, user.floor, up_to, env, &mut changes)?;
        Ok(Decision { changes, outcome: Outcome::Done })
    }

    /// What is on a device for the first time, is news to its sender: the entries between the old floor and
    /// the new one.
    fn tell_senders(
        &self,
        view: &impl View,
        floor: u64,
        up_to: u64,
        env: &Env,
        changes: &mut Vec<Change>,
    ) -> Result<(), Missing> {
        let mut missing = Missing::default();
        let news = self.news(floor, up_to);
        let reached = self.reached(view, &news, env, &mut missing);
        let mut positions = Positions::default();
        for News { sender, conversation, seq, time_ms } in &news {
            let Some(chat) = conversation.name_for(sender) else { continue };
            let owner = missing.note(view.user(sender));
            let receipt = missing.note(view.receipt(sender, &chat));
            let (Some(owner), Some(receipt)) = (owner, receipt) else { continue };
            // Who has the name of a sender who was removed is somebody else.
            if !owner.exists || *time_ms < owner.since_ms {
                continue;
            }
            let receipt: &Receipt = &receipt.since(owner.since_ms);
            match conversation {
                ConversationId::Direct(_) if *seq > receipt.delivered.up_to => {
                    let position = positions.last(sender, owner);
                    *position += 1;
                    let told = if mutated(Mutation::TellsAheadOfDelivery) { seq.next() } else { *seq };
                    let delivered = Mark { up_to: told, at_ms: env.now_ms };
                    let receipt = Receipt { position: *position, delivered, ..receipt.clone() };
                    changes.push(Change::PutReceipt { owner: (*sender).clone(), chat, receipt });
                }
                ConversationId::Direct(_) => {}
                ConversationId::Group(id) => {
                    let Some(Reached { group, moved, .. }) = reached.iter().find(|one| one.moved.group == id)
                    else {
                        continue;
                    };
                    let is_member =
                        group.member(sender).is_some_and(|member| is_alive(member, owner, env.dev));
                    if *seq > moved.before && is_member && group.member(&self.user).is_some() {
                        let position = positions.last(sender, owner);
                        changes.extend(moved.tell(group, sender, *seq, receipt, position));
                    }
                }
            }
        }
        for Reached { membership, moved, .. } in &reached {
            if moved.mark.up_to > moved.before {
                let to = Membership { delivered: moved.mark, ..(*membership).clone() };
                changes.push(Change::PutMembership {
                    group: moved.group.clone(),
                    user: self.user.clone(),
                    to,
                });
            }
        }
        if missing.0.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// How far this user's marks move, in each group that there is news of.
    fn reached<'a>(
        &'a self,
        view: &'a impl View,
        news: &[News<'a>],
        env: &Env,
        missing: &mut Missing,
    ) -> SmallVec<[Reached<'a>; 1]> {
        let mut reached: SmallVec<[Reached<'a>; 1]> = SmallVec::new();
        for News { conversation, seq, .. } in news {
            let ConversationId::Group(id) = *conversation else { continue };
            if let Some(known) = reached.iter_mut().find(|known| known.moved.group == id) {
                known.moved.mark.up_to = known.moved.mark.up_to.max(*seq);
                continue;
            }
            let group = missing.note(view.group(id));
            let membership = missing.note(view.membership(id, &self.user));
            let group = group.and_then(|group| missing.note(living_few(view, group, env)));
            let (Some(group), Some(membership)) = (group, membership) else { continue };
            let mark = Mark { up_to: *seq, at_ms: env.now_ms };
            let before = membership.delivered.up_to;
            let moved = Moved { group: id, member: &self.user, which: Which::Delivered, before, mark };
            reached.push(Reached { group, membership, moved });
        }
        reached
    }

    /// The newest message of each conversation and sender within (floor, `up_to`], own ones left out.
    fn news(&self, floor: u64, up_to: u64) -> SmallVec<[News<'_>; 4]> {
        let mut news: SmallVec<[News<'_>; 4]> = SmallVec::new();
        for message in &self.messages {
            if message.position <= floor || message.position > up_to || message.sender == self.user {
                continue;
            }
            let same = |one: &&mut News<'_>| {
                *one.conversation == message.conversation && *one.sender == message.sender
            };
            match news.iter_mut().find(same) {
                Some(one) => {
                    (one.seq, one.time_ms) = (one.seq, one.time_ms).max((message.seq, message.time_ms));
                }
                None => news.push(News {
                    sender: &message.sender,
                    conversation: &message.conversation,
                    seq: message.seq,
                    time_ms: message.time_ms,
                }),
            }
        }
        news
    }
}

#[cfg(test)]
#[allow(clippy::type_complexity)] // The types of tables of cases.
mod tests {
    use super::*;
    use crate::machine::Device;
    use crate::machine::command::tests::{NOW_MS, act, chat, device, env, is_quiet, user};
    use crate::machine::testing::Memory;

    /// bob's inbox has ten entries, some device had the first four.
    fn memory(devices: &[(&str, u64)]) -> Memory {
        let mut memory = Memory::with_users(&["alice", "carol"]);
        let devices = devices.iter().map(|(id, acked)| Device { id: device(id), acked: *acked }).collect();
        let bob = User { exists: true, inbox_head: 10, trimmed: 1, floor: 4, devices, ..User::default() };
        memory.set_user("bob", bob);
        memory
    }

    fn from(sender: &str, position: u64, seq: u64) -> Acknowledged {
        let peer = if sender == "bob" { "alice" } else { sender };
        let conversation = ConversationId::direct(&user("bob"), &user(peer));
        Acknowledged { position, conversation, sender: user(sender), seq: Seq(seq), time_ms: NOW_MS }
    }

    fn delivered(on: &str, up_to: u64, messages: Vec<Acknowledged>) -> Delivered {
        Delivered { user: user("bob"), device: device(on), up_to, messages }
    }

    fn marks(memory: &Memory, owner: &str) -> (u64, u64) {
        let receipt = memory.receipt(owner, &chat("bob"));
        (receipt.delivered.up_to.0, receipt.position)
    }

    #[test]
    fn the_cursor_moves_the_floor_and_the_trim() {
        // (what, devices before, who acknowledges up to where, floor and trim after)
        let rows: [(&str, &[(&str, u64)], (&str, u64), (u64, u64)); 7] = [
            ("the only device", &[("phone", 4)], ("phone", 7), (7, 7)),
            ("a repeat", &[("phone", 4)], ("phone", 4), (4, 1)),
            ("an older one", &[("phone", 4)], ("phone", 2), (4, 1)),
            ("beyond the end", &[("phone", 4)], ("phone", 99), (10, 10)),
            ("one of two, ahead", &[("laptop", 2), ("phone", 4)], ("phone", 8), (8, 2)),
            ("one of two, behind the floor", &[("laptop", 2), ("phone", 4)], ("laptop", 3), (4, 3)),
            ("a session that is no device", &[("phone", 4)], ("tablet", 9), (4, 1)),
        ];
        for (what, devices, (on, up_to), (floor, trimmed)) in rows {
            let mut memory = memory(devices);
            let decision = act(&mut memory, delivered(on, up_to, vec![]), &env());
            assert_eq!(decision.outcome, Outcome::Done, "{what}");
            let bob = memory.user("bob");
            assert_eq!((bob.floor, bob.trimmed), (floor, trimmed), "{what}");
        }
    }

    #[test]
    fn senders_are_told_what_is_on_a_device_for_the_first_time() {
        let both =
            || vec![from("alice", 3, 30), from("alice", 5, 31), from("carol", 6, 8), from("alice", 7, 33)];
        // (what, devices, who acknowledges up to where, messages, alice's mark, carol's mark)
        let rows: [(&str, &[(&str, u64)], (&str, u64), Vec<Acknowledged>, u64, u64); 6] = [
            ("the highest number of each conversation", &[("phone", 2)], ("phone", 7), both(), 33, 8),
            ("nothing below the floor", &[("phone", 2)], ("phone", 4), both(), 0, 0),
            ("nothing that is not acknowledged yet", &[("phone", 2)], ("phone", 5), both(), 31, 0),
            ("not from who is no device", &[("phone", 2)], ("tablet", 7), both(), 0, 0),
            (
                "not for own messages",
                &[("phone", 4)],
                ("phone", 6),
                vec![from("bob", 5, 31), from("carol", 6, 8)],
                0,
                8,
            ),
            (
                "in any order",
                &[("phone", 4)],
                ("phone", 7),
                vec![from("alice", 7, 33), from("alice", 5, 31)],
                33,
                0,
            ),
        ];
        for (what, devices, (on, up_to), messages, alice, carol) in rows {
            let mut memory = memory(devices);
            act(&mut memory, delivered(on, up_to, messages), &env());
            for (owner, expected) in [("alice", alice), ("carol", carol)] {
                assert_eq!(marks(&memory, owner), (expected, u64::from(expected > 0)), "{what}: {owner}");
                let at_ms = if expected > 0 { NOW_MS } else { 0 };
                assert_eq!(memory.receipt(owner, &chat("bob")).delivered.at_ms, at_ms, "{what}: {owner}");
            }
        }
    }

    #[test]
    fn marks_only_grow() {
        let mut memory = memory(&[("phone", 4)]);
        let steps = [(5, 31, (31, 1)), (6, 29, (31, 1)), (7, 32, (32, 2))];
        for (position, seq, expected) in steps {
            act(&mut memory, delivered("phone", position, vec![from("alice", position, seq)]), &env());
            assert_eq!(marks(&memory, "alice"), expected);
        }
        assert_eq!(memory.user("alice").state_head, 2);
    }

    #[test]
    fn a_removed_sender_is_told_nothing() {
        let mut memory = memory(&[("phone", 4)]);
        memory.set_user("alice", User::default());
        act(&mut memory, delivered("phone", 5, vec![from("alice", 5, 31)]), &env());
        assert_eq!(marks(&memory, "alice"), (0, 0));
        assert_eq!(memory.user("bob").floor, 5);
    }

    #[test]
    fn a_second_device_changes_nothing_for_the_senders() {
        let mut memory = memory(&[("laptop", 4), ("phone", 4)]);
        act(&mut memory, delivered("phone", 5, vec![from("alice", 5, 31)]), &env());
        let later = Env { now_ms: NOW_MS + 1_000, ..env() };
        let decision = act(&mut memory, delivered("laptop", 5, vec![from("alice", 5, 31)]), &later);
        assert!(!is_quiet(&decision), "its cursor moves");
        assert_eq!(marks(&memory, "alice"), (31, 1));
        assert_eq!(memory.user("bob").trimmed, 5);
    }
}
