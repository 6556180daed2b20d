//! What is new for readers since the last batch, gathered by source.

use super::{NewItem, NewItems, Source};
use bytes::Bytes;
use chasqui_proto::{ChatName, GroupId, Seq, UserId};
use hashbrown::HashMap;

/// The new items of one batch.
#[derive(Default)]
pub(super) struct Tails {
    sources: Vec<NewItems>,
    inboxes: HashMap<UserId, usize, foldhash::fast::RandomState>,
    groups: HashMap<GroupId, usize, foldhash::fast::RandomState>,
    receipts: HashMap<UserId, usize, foldhash::fast::RandomState>,
    has_erased: bool,
}

impl Tails {
    /// An inbox has a new entry.
    pub(super) fn inbox(&mut self, user: UserId, position: u64, stored: Bytes) {
        let at = *self.inboxes.entry(user).or_insert_with_key(|user| {
            self.sources.push(NewItems { source: Source::Inbox(user.clone()), items: Vec::new() });
            self.sources.len() - 1
        });
        self.sources[at].items.push(NewItem { position, chat: None, stored });
    }

    /// An inbox has another entry at a position than it had.
    pub(super) fn erased(&mut self, user: UserId, position: u64, stored: Bytes) {
        self.inbox(user, position, stored);
        self.has_erased = true;
    }

    /// Something was said in a group.
    pub(super) fn group(&mut self, group: GroupId, seq: Seq, stored: Bytes) {
        let at = *self.groups.entry(group).or_insert_with_key(|group| {
            self.sources.push(NewItems { source: Source::Group(group.clone()), items: Vec::new() });
            self.sources.len() - 1
        });
        self.sources[at].items.push(NewItem { position: seq.0, chat: None, stored });
    }

    /// Something that was said in a group is no more.
    pub(super) fn erased_in_group(&mut self, group: GroupId, seq: Seq, stored: Bytes) {
        self.group(group, seq, stored);
        self.has_erased = true;
    }

    /// A receipt has a new value.
    pub(super) fn receipt(&mut self, owner: &UserId, chat: &ChatName, position: u64, stored: Bytes) {
        let at = *self.receipts.entry(owner.clone()).or_insert_with(|| {
            self.sources.push(NewItems { source: Source::Receipts(owner.clone()), items: Vec::new() });
            self.sources.len() - 1
        });
        self.sources[at].items.push(NewItem { position, chat: Some(chat.clone()), stored });
    }

    /// All of it, in order of position within each source.
    pub(super) fn take(&mut self) -> Vec<NewItems> {
        // Entries come in order, but for those that stand for earlier ones. Receipts come in the order in which each was first changed in the batch.
        for at in self.receipts.values() {
            self.sources[*at].items.sort_unstable_by_key(|item| item.position);
        }
        if std::mem::take(&mut self.has_erased) {
            for at in self.inboxes.values().chain(self.groups.values()) {
                self.sources[*at].items.sort_by_key(|item| item.position);
            }
        }
        self.inboxes.clear();
        self.groups.clear();
        self.receipts.clear();
        std::mem::take(&mut self.sources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_more_comes_behind_what_it_was_and_before_what_is_newer() {
        let hikers = || GroupId::parse("hikers").unwrap();
        let mut tails = Tails::default();
        tails.group(hikers(), Seq(3), Bytes::from_static(b"goes"));
        tails.group(hikers(), Seq(4), Bytes::from_static(b"stays"));
        tails.erased_in_group(hikers(), Seq(3), Bytes::from_static(b"gone"));
        tails.erased_in_group(hikers(), Seq(2), Bytes::from_static(b"gone"));
        let [group] = &tails.take()[..] else { panic!("one source has news") };
        assert_eq!(group.source, Source::Group(hikers()));
        let items: Vec<_> = group.items.iter().map(|item| (item.position, &item.stored[..])).collect();
        assert_eq!(items, [(2, &b"gone"[..]), (3, b"goes"), (3, b"gone"), (4, b"stays")]);
        tails.group(hikers(), Seq(5), Bytes::from_static(b"later"));
        assert_eq!(tails.take()[0].items[0].position, 5, "each batch tells of what is new in it alone");
        assert!(tails.take().is_empty());
    }
}
