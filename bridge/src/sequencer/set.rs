//! The working set: the records at hand.
//!
//! It answers the machine's questions and takes its changes. Records that changed are pinned until the batch
//! with the change is durable, the others may be evicted when there are too many. A change needs its record
//! at hand, so a record that is *not* at hand has all its changes in durable batches, which readers see; and
//! as only one fetch of a record is under way at a time, what it brings is the newest there is. No position
//! has to be compared. What came in since the oldest waiting command began to wait stays too, or commands
//! that need much could wait for each other's records for ever.

use super::table::{Evictable, Kept, Slot, Table};
use crate::machine::{
    Chat, Conversation, Fate, Group, Key, Membership, Missing, Receipt, Record, Records, Ring, Tie, User,
    View,
};
use chasqui_proto::{ChatName, ConversationId, DeviceId, GroupId, Seq, UserId};

impl Kept for User {
    fn weight(&self) -> usize {
        User::weight(self)
    }

    /// Up to where the inbox was trimmed.
    fn mark(&self) -> u64 {
        self.trimmed
    }
}

impl Kept for Conversation {
    fn weight(&self) -> usize {
        Conversation::weight(self)
    }
}

impl Kept for Ring {
    fn weight(&self) -> usize {
        Ring::weight(self)
    }
}

impl Kept for Group {
    fn weight(&self) -> usize {
        Group::weight(self)
    }
}

impl Kept for Membership {
    fn weight(&self) -> usize {
        Membership::weight(self)
    }
}

impl Kept for Chat {
    fn weight(&self) -> usize {
        Chat::weight(self)
    }
}

impl Kept for Fate {
    fn weight(&self) -> usize {
        Fate::weight(self)
    }
}

impl Kept for Tie {
    fn weight(&self) -> usize {
        0
    }
}

impl Kept for Receipt {
    fn weight(&self) -> usize {
        Receipt::weight(self)
    }

    /// Where it stood in its owner's receipts.
    fn mark(&self) -> u64 {
        self.position
    }
}

/// How many tables there are, for the hand.
const TABLES: u8 = 9;

/// The records at hand.
pub(super) struct WorkingSet {
    users: Table<UserId, User>,
    conversations: Table<ConversationId, Conversation>,
    rings: Table<(UserId, DeviceId), Ring>,
    receipts: Table<(UserId, ChatName), Receipt>,
    groups: Table<GroupId, Group>,
    memberships: Table<(GroupId, UserId), Membership>,
    chats: Table<(UserId, ChatName), Chat>,
    fates: Table<(ConversationId, Seq), Fate>,
    ties: Table<(UserId, UserId), Tie>,
    /// The batch that is being filled; counts from 1.
    batch: u64,
    /// Which table the hand is at, and where.
    hand: (u8, usize),
}

/// Takes the records that changed in a batch.
pub(super) trait Changed {
    fn user(&mut self, slot: &Slot<UserId, User>);
    fn conversation(&mut self, slot: &Slot<ConversationId, Conversation>);
    fn receipt(&mut self, slot: &Slot<(UserId, ChatName), Receipt>);
    fn group(&mut self, slot: &Slot<GroupId, Group>);
    fn membership(&mut self, slot: &Slot<(GroupId, UserId), Membership>);
    fn chat(&mut self, slot: &Slot<(UserId, ChatName), Chat>);
    fn fate(&mut self, slot: &Slot<(ConversationId, Seq), Fate>);
    fn tie(&mut self, slot: &Slot<(UserId, UserId), Tie>);
}

impl WorkingSet {
    pub(super) fn new() -> WorkingSet {
        WorkingSet {
            users: Table::new(),
            conversations: Table::new(),
            rings: Table::new(),
            receipts: Table::new(),
            groups: Table::new(),
            memberships: Table::new(),
            chats: Table::new(),
            fates: Table::new(),
            ties: Table::new(),
            batch: 1,
            hand: (0, 0),
        }
    }

    /// The number of the batch that is being filled.
    pub(super) fn batch(&self) -> u64 {
        self.batch
    }

    /// Bytes that the records take.
    pub(super) fn weight(&self) -> usize {
        self.users.weight()
            + self.conversations.weight()
            + self.rings.weight()
            + self.receipts.weight()
            + self.groups.weight()
            + self.memberships.weight()
            + self.chats.weight()
            + self.fates.weight()
            + self.ties.weight()
    }

    /// How many records are at hand.
    pub(super) fn len(&self) -> usize {
        self.users.len()
            + self.conversations.len()
            + self.rings.len()
            + self.receipts.len()
            + self.groups.len()
            + self.memberships.len()
            + self.chats.len()
            + self.fates.len()
            + self.ties.len()
    }

    /// Puts a fetched record at hand.
    pub(super) fn insert(&mut self, key: Key, record: Record) {
        let batch = self.batch;
        match (key, record) {
            (Key::User(id), Record::User(user)) => self.users.insert(batch, id, user),
            (Key::Conversation(id), Record::Conversation(conversation)) => {
                self.conversations.insert(batch, id, conversation);
            }
            (Key::Ring(user, device), Record::Ring(ring)) => self.rings.insert(batch, (user, device), ring),
            (Key::Receipt { owner, chat }, Record::Receipt(receipt)) => {
                self.receipts.insert(batch, (owner, chat), receipt);
            }
            (Key::Group(id), Record::Group(group)) => self.groups.insert(batch, id, group),
            (Key::Membership(group, user), Record::Membership(membership)) => {
                self.memberships.insert(batch, (group, user), membership);
            }
            (Key::Chat { owner, chat }, Record::Chat(kept)) => {
                self.chats.insert(batch, (owner, chat), kept);
            }
            (Key::Fate(conversation, seq), Record::Fate(fate)) => {
                self.fates.insert(batch, (conversation, seq), fate);
            }
            (Key::Tie(owner, other), Record::Tie(tie)) => self.ties.insert(batch, (owner, other), tie),
            (key, _) => unreachable!("a fetch brings the kind of record it was asked for: {key:?}"),
        }
    }

    /// Gives out what changed since the last batch, each record once, and begins the next batch.
    pub(super) fn finish_batch(&mut self, out: &mut impl Changed) {
        self.users.drain_changed(|slot| out.user(slot));
        self.conversations.drain_changed(|slot| out.conversation(slot));
        // What was pushed to a ring is in the batch already.
        self.rings.drain_changed(|_| {});
        self.receipts.drain_changed(|slot| out.receipt(slot));
        self.groups.drain_changed(|slot| out.group(slot));
        self.memberships.drain_changed(|slot| out.membership(slot));
        self.chats.drain_changed(|slot| out.chat(slot));
        self.fates.drain_changed(|slot| out.fate(slot));
        self.ties.drain_changed(|slot| out.tie(slot));
        self.batch += 1;
    }

    /// Evicts until at most `limit` bytes are held, looking at no more than `visits` records.
    pub(super) fn evict(&mut self, limit: usize, may: Evictable, visits: usize) {
        for _ in 0..visits {
            if self.weight() <= limit {
                return;
            }
            let (table, place) = self.hand;
            let len = match table {
                0 => self.users.len(),
                1 => self.conversations.len(),
                2 => self.rings.len(),
                3 => self.receipts.len(),
                4 => self.groups.len(),
                5 => self.memberships.len(),
                6 => self.chats.len(),
                7 => self.fates.len(),
                _ => self.ties.len(),
            };
            if place >= len {
                self.hand = ((table + 1) % TABLES, 0);
                continue;
            }
            let evicted = match table {
                0 => self.users.sweep(place, may),
                1 => self.conversations.sweep(place, may),
                2 => self.rings.sweep(place, may),
                3 => self.receipts.sweep(place, may),
                4 => self.groups.sweep(place, may),
                5 => self.memberships.sweep(place, may),
                6 => self.chats.sweep(place, may),
                7 => self.fates.sweep(place, may),
                _ => self.ties.sweep(place, may),
            };
            if !evicted {
                self.hand.1 += 1;
            }
        }
    }
}

impl View for WorkingSet {
    fn user(&self, id: &UserId) -> Result<&User, Missing> {
        self.users.get(id, |key| key == id).ok_or_else(|| Missing::one(Key::User(id.clone())))
    }

    fn conversation(&self, id: &ConversationId) -> Result<&Conversation, Missing> {
        self.conversations.get(id, |key| key == id).ok_or_else(|| Missing::one(Key::Conversation(id.clone())))
    }

    fn ring(&self, user: &UserId, device: &DeviceId) -> Result<&Ring, Missing> {
        let is = |key: &(UserId, DeviceId)| key.0 == *user && key.1 == *device;
        let missing = || Missing::one(Key::Ring(user.clone(), device.clone()));
        self.rings.get((user, device), is).ok_or_else(missing)
    }

    fn receipt(&self, owner: &UserId, chat: &ChatName) -> Result<&Receipt, Missing> {
        let is = |key: &(UserId, ChatName)| key.0 == *owner && key.1 == *chat;
        let missing = || Missing::one(Key::Receipt { owner: owner.clone(), chat: chat.clone() });
        self.receipts.get((owner, chat), is).ok_or_else(missing)
    }

    fn group(&self, id: &GroupId) -> Result<&Group, Missing> {
        self.groups.get(id, |key| key == id).ok_or_else(|| Missing::one(Key::Group(id.clone())))
    }

    fn membership(&self, group: &GroupId, user: &UserId) -> Result<&Membership, Missing> {
        let is = |key: &(GroupId, UserId)| key.0 == *group && key.1 == *user;
        let missing = || Missing::one(Key::Membership(group.clone(), user.clone()));
        self.memberships.get((group, user), is).ok_or_else(missing)
    }

    fn chat(&self, owner: &UserId, chat: &ChatName) -> Result<&Chat, Missing> {
        let is = |key: &(UserId, ChatName)| key.0 == *owner && key.1 == *chat;
        let missing = || Missing::one(Key::Chat { owner: owner.clone(), chat: chat.clone() });
        self.chats.get((owner, chat), is).ok_or_else(missing)
    }

    fn fate(&self, conversation: &ConversationId, seq: Seq) -> Result<&Fate, Missing> {
        let is = |key: &(ConversationId, Seq)| key.0 == *conversation && key.1 == seq;
        let missing = || Missing::one(Key::Fate(conversation.clone(), seq));
        self.fates.get((conversation, seq), is).ok_or_else(missing)
    }

    fn tie(&self, owner: &UserId, other: &UserId) -> Result<&Tie, Missing> {
        let is = |key: &(UserId, UserId)| key.0 == *owner && key.1 == *other;
        let missing = || Missing::one(Key::Tie(owner.clone(), other.clone()));
        self.ties.get((owner, other), is).ok_or_else(missing)
    }
}

const READ_FIRST: &str = "a change names only records that were read to decide it, and those are at hand";

impl Records for WorkingSet {
    fn user_mut(&mut self, id: &UserId) -> &mut User {
        self.users.get_mut(self.batch, id, |key| key == id).expect(READ_FIRST)
    }

    fn conversation_mut(&mut self, id: &ConversationId) -> &mut Conversation {
        self.conversations.get_mut(self.batch, id, |key| key == id).expect(READ_FIRST)
    }

    fn ring_mut(&mut self, user: &UserId, device: &DeviceId) -> &mut Ring {
        let is = |key: &(UserId, DeviceId)| key.0 == *user && key.1 == *device;
        self.rings.get_mut(self.batch, (user, device), is).expect(READ_FIRST)
    }

    fn receipt_mut(&mut self, owner: &UserId, chat: &ChatName) -> &mut Receipt {
        let is = |key: &(UserId, ChatName)| key.0 == *owner && key.1 == *chat;
        self.receipts.get_mut(self.batch, (owner, chat), is).expect(READ_FIRST)
    }

    fn group_mut(&mut self, id: &GroupId) -> &mut Group {
        self.groups.get_mut(self.batch, id, |key| key == id).expect(READ_FIRST)
    }

    fn membership_mut(&mut self, group: &GroupId, user: &UserId) -> &mut Membership {
        let is = |key: &(GroupId, UserId)| key.0 == *group && key.1 == *user;
        self.memberships.get_mut(self.batch, (group, user), is).expect(READ_FIRST)
    }

    fn chat_mut(&mut self, owner: &UserId, chat: &ChatName) -> &mut Chat {
        let is = |key: &(UserId, ChatName)| key.0 == *owner && key.1 == *chat;
        self.chats.get_mut(self.batch, (owner, chat), is).expect(READ_FIRST)
    }

    fn fate_mut(&mut self, conversation: &ConversationId, seq: Seq) -> &mut Fate {
        let is = |key: &(ConversationId, Seq)| key.0 == *conversation && key.1 == seq;
        self.fates.get_mut(self.batch, (conversation, seq), is).expect(READ_FIRST)
    }

    fn tie_mut(&mut self, owner: &UserId, other: &UserId) -> &mut Tie {
        let is = |key: &(UserId, UserId)| key.0 == *owner && key.1 == *other;
        self.ties.get_mut(self.batch, (owner, other), is).expect(READ_FIRST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: usize) -> UserId {
        UserId::parse(&format!("user-{n}")).unwrap()
    }

    fn upto(durable: u64) -> Evictable {
        Evictable { durable, came_before: u64::MAX }
    }

    struct Nobody;
    impl Changed for Nobody {
        fn user(&mut self, _: &Slot<UserId, User>) {}
        fn conversation(&mut self, _: &Slot<ConversationId, Conversation>) {}
        fn receipt(&mut self, _: &Slot<(UserId, ChatName), Receipt>) {}
        fn group(&mut self, _: &Slot<GroupId, Group>) {}
        fn membership(&mut self, _: &Slot<(GroupId, UserId), Membership>) {}
        fn chat(&mut self, _: &Slot<(UserId, ChatName), Chat>) {}
        fn fate(&mut self, _: &Slot<(ConversationId, Seq), Fate>) {}
        fn tie(&mut self, _: &Slot<(UserId, UserId), Tie>) {}
    }

    #[test]
    fn a_changed_record_stays_until_its_batch_is_durable() {
        let mut set = WorkingSet::new();
        for n in 0..100 {
            set.insert(Key::User(user(n)), Record::User(User::default()));
        }
        set.user_mut(&user(7)).exists = true;
        let batch = set.batch();
        set.finish_batch(&mut Nobody);
        set.evict(0, upto(batch - 1), 1_000);
        assert_eq!(set.len(), 1);
        assert!(set.user(&user(7)).unwrap().exists);
        set.evict(0, upto(batch), 1_000);
        assert_eq!((set.len(), set.weight()), (0, 0));
        assert_eq!(set.user(&user(7)), Err(Missing::one(Key::User(user(7)))));
    }

    #[test]
    fn what_is_in_use_stays_longest() {
        let mut set = WorkingSet::new();
        for n in 0..100 {
            set.insert(Key::User(user(n)), Record::User(User::default()));
        }
        let limit = set.weight() / 2;
        // One round of the hand takes the marks of the insertion away; then some are looked at.
        set.evict(0, upto(0), 106);
        for n in 0..40 {
            set.user(&user(n)).unwrap();
        }
        set.evict(limit, upto(0), 1_000);
        assert!(set.weight() <= limit);
        assert!((0..40).all(|n| set.user(&user(n)).is_ok()), "what was looked at is here");
    }

    #[test]
    fn the_cost_of_a_record_at_hand() {
        // The figures in the documentation of `Options::working_set_bytes`.
        let (user, conversation) =
            (size_of::<Slot<UserId, User>>(), size_of::<Slot<ConversationId, Conversation>>());
        let ring = size_of::<Slot<(UserId, DeviceId), Ring>>();
        let receipt = size_of::<Slot<(UserId, ChatName), Receipt>>();
        assert_eq!((user, conversation, ring, receipt), (200, 144, 184, 184));
        assert_eq!((user, conversation, ring, receipt), (200, 144, 184, 184));
    }
}
