//! How far the members of a group are with each other's messages: each of them, and all together.
//!
//! What a member has, reads or plays is kept with their membership, and told to who sent something that it newly covers. Up to
//! [`RECEIPT_MAX_MEMBERS`] members are named one by one; of a larger group it is counted how many are as far as the newest message
//! that anybody has.

use super::{is_alive, living};
use crate::machine::command::{Missing, View};
use crate::machine::record::{Counts, Group, Mark, Member, MemberMarks, Members, Receipt};
use crate::machine::{Change, Env};
use crate::mutation::{Mutation, mutated};
use chasqui_proto::limits::RECEIPT_MAX_MEMBERS;
use chasqui_proto::{ChatName, GroupId, Seq, UserId};
use std::borrow::Cow;

/// Which mark moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Which {
    /// A device has it.
    Delivered,
    /// It was read.
    Read,
    /// It was played.
    Played,
}

/// A member's mark has moved.
pub(in super::super) struct Moved<'a> {
    pub(in super::super) group: &'a GroupId,
    pub(in super::super) member: &'a UserId,
    pub(in super::super) which: Which,
    /// Where it was before.
    pub(in super::super) before: Seq,
    /// Where it is now.
    pub(in super::super) mark: Mark,
}

impl Moved<'_> {
    /// Tells a sender, whose newest message that the mark may have come to cover is `newest`; nothing where it says nothing new to them.
    /// `position` is the one of the last receipt they have, counted on.
    pub(in super::super) fn tell(
        &self,
        group: &Group,
        sender: &UserId,
        newest: Seq,
        receipt: &Receipt,
        position: &mut u64,
    ) -> Option<Change> {
        let others = group.members.len().saturating_sub(1);
        let mut told = Receipt { members: None, ..receipt.clone() };
        let members = if others <= RECEIPT_MAX_MEMBERS {
            let named = self.named(group, receipt)?;
            let everybody = self.everybody(group, sender, &named);
            let mark = match self.which {
                Which::Delivered => &mut told.delivered,
                Which::Read => &mut told.read,
                Which::Played => &mut told.played,
            };
            // Who comes later takes nothing back.
            if everybody > mark.up_to {
                *mark = Mark { up_to: everybody, at_ms: self.mark.at_ms };
            }
            Members::Named(named)
        } else {
            Members::Counted(self.counted(others, newest, receipt)?)
        };
        *position += 1;
        told.position = *position;
        told.members = Some(Box::new(members));
        Some(Change::PutReceipt {
            owner: sender.clone(),
            chat: ChatName::Group(self.group.clone()),
            receipt: told,
        })
    }

    /// How far all members but the sender are.
    fn everybody(&self, group: &Group, sender: &UserId, named: &[MemberMarks]) -> Seq {
        let far = |member: &Member| {
            let place = named.binary_search_by(|marks| marks.user.cmp(&member.user));
            place.map_or(Seq::NONE, |at| self.of(&named[at]).up_to)
        };
        let others = group.members.iter().filter(|member| member.user != *sender);
        others.map(far).min().unwrap_or_default()
    }

    fn of(&self, marks: &MemberMarks) -> Mark {
        match self.which {
            Which::Delivered => marks.delivered,
            Which::Read => marks.read,
            Which::Played => marks.played,
        }
    }

    fn named(&self, group: &Group, receipt: &Receipt) -> Option<Vec<MemberMarks>> {
        let mut named = match receipt.members.as_deref() {
            Some(Members::Named(named)) => named.clone(),
            Some(Members::Counted(_)) | None => Vec::new(),
        };
        let place = named.binary_search_by(|marks| marks.user.cmp(self.member));
        let at = place.unwrap_or_else(|at| {
            let [delivered, read, played] = [Mark::default(); 3];
            named.insert(at, MemberMarks { user: self.member.clone(), delivered, read, played });
            at
        });
        let mark = match self.which {
            Which::Delivered => &mut named[at].delivered,
            Which::Read => &mut named[at].read,
            Which::Played => &mut named[at].played,
        };
        if mark.up_to >= self.mark.up_to {
            return None;
        }
        *mark = self.mark;
        // Of who is no member any more nothing is told.
        named.retain(|marks| group.member(&marks.user).is_some() || mutated(Mutation::CountsWhoLeft));
        Some(named)
    }

    fn counted(&self, others: usize, newest: Seq, receipt: &Receipt) -> Option<Counts> {
        let before = match receipt.members.as_deref() {
            Some(Members::Counted(counts)) => *counts,
            Some(Members::Named(_)) | None => Counts::default(),
        };
        let mut counts = Counts { members: others as u32, at_ms: self.mark.at_ms, ..before };
        if newest > counts.seq && newest <= self.mark.up_to {
            // Nobody was as far as this before.
            counts = Counts { seq: newest, delivered: 0, read: 0, played: 0, ..counts };
        } else if !(self.before < counts.seq && counts.seq <= self.mark.up_to) {
            return None;
        }
        let count = match self.which {
            Which::Delivered => &mut counts.delivered,
            Which::Read => &mut counts.read,
            Which::Played => &mut counts.played,
        };
        *count += 1;
        Some(counts)
    }
}

/// A group as those who are named one by one make it up: without those whose accounts were removed. In a larger one, where members are
/// counted, that is not looked at for every mark: it is when something is said there, or the group changes.
pub(in super::super) fn living_few<'g>(
    view: &impl View,
    group: &'g Group,
    env: &Env,
) -> Result<Cow<'g, Group>, Missing> {
    if group.members.len() > RECEIPT_MAX_MEMBERS + 1 {
        Ok(Cow::Borrowed(group))
    } else {
        living(view, group, env)
    }
}

/// A member says how far they have read, or played: the others are told, as far as neither side hides it.
pub(in super::super) fn said(
    view: &impl View,
    group: &Group,
    moved: &Moved<'_>,
    env: &Env,
) -> Result<Vec<Change>, Missing> {
    let mut missing = Missing::default();
    let mut changes = Vec::new();
    let group = &*living_few(view, group, env)?;
    for Member { user: sender, .. } in group.members.iter().filter(|member| member.user != *moved.member) {
        let Some(sent) = missing.note(view.membership(moved.group, sender)).map(|membership| membership.sent)
        else {
            continue;
        };
        if sent <= moved.before {
            continue;
        }
        let chat = ChatName::Group(moved.group.clone());
        let owner = missing.note(view.user(sender));
        let receipt = missing.note(view.receipt(sender, &chat));
        let (Some(owner), Some(receipt)) = (owner, receipt) else { continue };
        let alive = group.member(sender).is_some_and(|member| is_alive(member, owner, env.dev));
        if owner.hides_reads || !alive {
            continue;
        }
        let mut position = owner.state_head;
        changes.extend(moved.tell(group, sender, sent, &receipt.since(owner.since_ms), &mut position));
    }
    if missing.0.is_empty() { Ok(changes) } else { Err(missing) }
}
