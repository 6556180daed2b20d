//! What is new for readers since the last batch, gathered by source.

use super::{NewItem, NewItems, Source};
use bytes::Bytes;
use chasqui_proto::{ChatName, UserId};
use hashbrown::HashMap;

/// The new items of one batch.
#[derive(Default)]
pub(super) struct Tails {
    sources: Vec<NewItems>,
    inboxes: HashMap<UserId, usize, foldhash::fast::RandomState>,
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
            for at in self.inboxes.values() {
                self.sources[*at].items.sort_by_key(|item| item.position);
            }
        }
        self.inboxes.clear();
        self.receipts.clear();
        std::mem::take(&mut self.sources)
    }
}
