//! The rules of how far somebody is: what devices have, what was read and played, and what the others are told of it.

use super::ask::{Answer, Ask};
use super::state::{Entry, Model, Person, To, key};
use chasqui_proto::v1::event::Event as Kind;
use chasqui_proto::{ErrorCode, v1};
use std::collections::BTreeMap;

/// Which mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Delivered,
    Read,
    Played,
}

/// Members who are named one by one, besides who is told; of more it is counted how many are where.
const NAMED: usize = 32;

/// A member's mark has moved.
#[derive(Clone, Copy)]
struct Moved<'a> {
    of: &'a Person,
    which: Which,
    before: u64,
    up_to: u64,
    /// The newest of who is told that it may have come to cover.
    newest: u64,
}

impl Model {
    /// A device has so many entries of the inbox.
    pub(crate) fn acknowledge(&mut self, ask: &Ask, had: usize) -> Answer {
        let me = self.person(&ask.user);
        let user = self.user(&ask.user);
        match user.devices.get_mut(&ask.device) {
            Some(before) if *before < had => *before = had,
            _ => return Answer::Done,
        }
        let floor = user.floor;
        user.floor = floor.max(had);
        // The newest that came to a device for the first time, of each sender in each conversation.
        let mut newest: BTreeMap<(String, Person), u64> = BTreeMap::new();
        for (at, entry) in user.log.iter().enumerate().take(had).skip(floor) {
            if ask.brought.contains(&at)
                && let Some((key, sender, seq)) = entry.brings.clone()
            {
                let newest = newest.entry((key, sender)).or_default();
                *newest = (*newest).max(seq);
            }
        }
        let mut reached: BTreeMap<String, u64> = BTreeMap::new();
        for ((key, sender), seq) in &newest {
            if key.starts_with("g/") {
                let reached = reached.entry(key.clone()).or_default();
                *reached = (*reached).max(*seq);
            } else if self.is_alive(sender) {
                self.tell_mark(sender, &me, Which::Delivered, *seq);
            }
        }
        for (group, up_to) in reached {
            let marks = self.user(&ask.user).marks.entry(group.clone()).or_default();
            let before = marks.delivered;
            marks.delivered = before.max(up_to);
            for ((_, sender), seq) in newest.iter().filter(|((key, _), _)| *key == group) {
                if *seq > before && self.is_member(&group, sender) && self.is_member(&group, &me) {
                    let moved = Moved { of: &me, which: Which::Delivered, before, up_to, newest: *seq };
                    self.tell_member_mark(sender, &group, moved);
                }
            }
        }
        Answer::Done
    }

    /// Somebody says how far they have read, or played.
    pub(crate) fn read(
        &mut self,
        ask: &Ask,
        chat: &str,
        up_to: u64,
        which: Which,
    ) -> Result<Answer, ErrorCode> {
        let me = self.person(&ask.user);
        let key = key(&ask.user, chat);
        let is_member = self.is_member(chat, &me);
        let there = if chat.starts_with("g/") && !is_member {
            self.seen_by(&me, &key).any(|(seq, _)| seq == up_to)
        } else {
            let newest = self.newest_seen(&me, &key);
            (is_member || newest > 0) && up_to <= newest
        };
        if !there {
            return Err(ErrorCode::NoSuchMessage);
        }
        self.keep_mark(ask, chat, up_to, which);
        if self.user(&ask.user).hides_reads {
            return Ok(Answer::Done);
        }
        if let Some(peer) = chat.strip_prefix("u/") {
            let hides = self.users.get(peer).is_none_or(|peer| peer.hides_reads || !peer.exists);
            if peer != ask.user && !hides {
                self.tell_mark(&self.person(peer), &me, which, up_to);
            }
            return Ok(Answer::Done);
        }
        let marks = self.user(&ask.user).marks.get(chat).copied().unwrap_or_default();
        let before = if which == Which::Read { marks.read } else { marks.played };
        if !is_member || up_to <= before {
            return Ok(Answer::Done);
        }
        for sender in self.members(chat).into_iter().map(|member| member.person) {
            // Of reading they are told who have said something since the mark before.
            let theirs =
                self.said(chat).iter().rposition(|message| message.is_said && message.sender == sender);
            let newest = theirs.map_or(0, |at| at as u64 + 1);
            if sender != me && newest > before && !self.user(&sender.name).hides_reads {
                self.tell_member_mark(&sender, chat, Moved { of: &me, which, before, up_to, newest });
            }
        }
        let marks = self.user(&ask.user).marks.entry(chat.to_owned()).or_default();
        *(if which == Which::Read { &mut marks.read } else { &mut marks.played }) = up_to;
        Ok(Answer::Done)
    }

    /// One's own devices agree on it, whoever else may know.
    fn keep_mark(&mut self, ask: &Ask, chat: &str, up_to: u64, which: Which) {
        let kept = self.user(&ask.user).kept.entry(chat.to_owned()).or_default();
        let mark = if which == Which::Read { &mut kept.read } else { &mut kept.played };
        if up_to <= *mark {
            return;
        }
        *mark = up_to;
        let (read_seq, played_seq) =
            if which == Which::Read { (Some(up_to), None) } else { (None, Some(up_to)) };
        let news = v1::Chat { conversation: chat.to_owned(), read_seq, played_seq, ..v1::Chat::default() };
        self.tell_other_devices(ask, Kind::Chat(news));
    }

    /// What one device did, for the others; nothing where there is no other.
    pub(crate) fn tell_other_devices(&mut self, ask: &Ask, event: Kind) {
        if self.user(&ask.user).devices.keys().any(|other| *other != ask.device) {
            let to = To::Others(ask.device.clone());
            self.enter(&ask.user, Entry { event, to, brings: None });
        }
    }

    /// Somebody is told how far the other side of a direct chat is. Marks only grow.
    fn tell_mark(&mut self, owner: &Person, of: &Person, which: Which, up_to: u64) {
        let (chat, now_ms) = (format!("u/{}", of.name), self.now_ms);
        let receipt = self.user(&owner.name).receipts.entry(chat.clone()).or_default();
        let (mark, at_ms) = marks_of(receipt, which);
        if up_to > *mark {
            (*mark, *at_ms) = (up_to, now_ms.cast_signed());
            self.news.receipts.insert((owner.name.clone(), chat));
        }
        self.user(&owner.name).receipts.retain(|_, receipt| *receipt != v1::Receipt::default());
    }

    /// Somebody is told how many members are as far as the newest message that anybody has.
    fn tell_count(&mut self, owner: &Person, group: &str, members: usize, moved: Moved<'_>) {
        let Moved { which, before, up_to, newest, .. } = moved;
        let now_ms = self.now_ms.cast_signed();
        let receipts = &mut self.user(&owner.name).receipts;
        let mut receipt = receipts.get(group).cloned().unwrap_or_default();
        let counts = receipt.counts.take().unwrap_or_default();
        let counts = if newest > counts.seq && newest <= up_to {
            v1::ReceiptCounts { seq: newest, ..v1::ReceiptCounts::default() }
        } else if before < counts.seq && counts.seq <= up_to {
            counts
        } else {
            return;
        };
        let one = |counted| u32::from(which == counted);
        receipt.counts = Some(v1::ReceiptCounts {
            members: members as u32,
            delivered: counts.delivered + one(Which::Delivered),
            read: counts.read + one(Which::Read),
            played: counts.played + one(Which::Played),
            at_ms: now_ms,
            ..counts
        });
        receipt.members.clear();
        receipts.insert(group.to_owned(), receipt);
        self.counted += 1;
        self.news.receipts.insert((owner.name.clone(), group.to_owned()));
    }

    /// Somebody is told how far a member of a group is.
    fn tell_member_mark(&mut self, owner: &Person, group: &str, moved: Moved<'_>) {
        // Whose account was removed is among them until something is said, or changes.
        let members = self.groups[group].members.len() - 1;
        if members > NAMED {
            return self.tell_count(owner, group, members, moved);
        }
        let Moved { of, which, up_to, .. } = moved;
        let now_ms = self.now_ms;
        let others: Vec<String> = self
            .members(group)
            .into_iter()
            .map(|member| member.person.name)
            .filter(|name| *name != owner.name)
            .collect();
        let receipt = self.user(&owner.name).receipts.entry(group.to_owned()).or_default();
        let mut members: BTreeMap<String, v1::MemberReceipt> =
            receipt.members.drain(..).map(|member| (member.user.clone(), member)).collect();
        let member = members
            .entry(of.name.clone())
            .or_insert_with(|| v1::MemberReceipt { user: of.name.clone(), ..v1::MemberReceipt::default() });
        let (mark, at_ms) = member_marks_of(member, which);
        let is_news = up_to > *mark;
        if is_news {
            (*mark, *at_ms) = (up_to, now_ms.cast_signed());
            // Of who is no member any more nothing is told.
            members.retain(|name, _| others.contains(name));
            let far = |name: &String| {
                members.get(name).map_or(0, |member| *member_marks_of(&mut member.clone(), which).0)
            };
            let all = others.iter().map(far).min().unwrap_or(0);
            let (mark, at_ms) = marks_of(receipt, which);
            if all > *mark {
                (*mark, *at_ms) = (all, now_ms.cast_signed());
            }
            self.news.receipts.insert((owner.name.clone(), group.to_owned()));
        }
        let receipt = self.user(&owner.name).receipts.entry(group.to_owned()).or_default();
        receipt.members = members.into_values().collect();
        if is_news {
            receipt.counts = None;
        }
        if !is_news
            && receipt.members.iter().all(|member| member.delivered + member.read + member.played == 0)
        {
            self.user(&owner.name).receipts.remove(group);
        }
    }
}

fn marks_of(receipt: &mut v1::Receipt, which: Which) -> (&mut u64, &mut i64) {
    match which {
        Which::Delivered => (&mut receipt.delivered, &mut receipt.delivered_at_ms),
        Which::Read => (&mut receipt.read, &mut receipt.read_at_ms),
        Which::Played => (&mut receipt.played, &mut receipt.played_at_ms),
    }
}

fn member_marks_of(member: &mut v1::MemberReceipt, which: Which) -> (&mut u64, &mut i64) {
    match which {
        Which::Delivered => (&mut member.delivered, &mut member.delivered_at_ms),
        Which::Read => (&mut member.read, &mut member.read_at_ms),
        Which::Played => (&mut member.played, &mut member.played_at_ms),
    }
}
