//! Records in maps, for tests: warm, where what was never written is its default, or cold, where it is
//! missing.

use super::{
    Change, Chat, Conversation, Fate, Group, Key, Membership, Missing, Receipt, Record, Records, Ring, Tie,
    User, View, apply,
};
use chasqui_proto::{ChatName, ConversationId, DeviceId, GroupId, Seq, UserId};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Memory {
    cold: bool,
    records: BTreeMap<Key, Record>,
    never: (User, Conversation, Ring, Receipt, Group, Membership, Chat, Fate, Tie),
}

macro_rules! kind {
    ($get:ident, $get_mut:ident, $kind:ident, $never:tt) => {
        fn $get(&self, key: Key) -> Result<&$kind, Missing> {
            match self.records.get(&key) {
                Some(Record::$kind(record)) => Ok(record),
                _ if self.cold => Err(Missing::one(key)),
                _ => Ok(&self.never.$never),
            }
        }

        fn $get_mut(&mut self, key: Key) -> &mut $kind {
            assert!(
                !self.cold || self.records.contains_key(&key),
                "{key:?} was not read to decide this change"
            );
            match self.records.entry(key).or_insert_with(|| Record::$kind($kind::default())) {
                Record::$kind(record) => record,
                other => panic!("another kind of record: {other:?}"),
            }
        }
    };
}

impl Memory {
    kind!(get_user, put_user, User, 0);
    kind!(get_conversation, put_conversation, Conversation, 1);
    kind!(get_ring, put_ring, Ring, 2);
    kind!(get_receipt, put_receipt, Receipt, 3);
    kind!(get_group, put_group, Group, 4);
    kind!(get_membership, put_membership, Membership, 5);
    kind!(get_chat, put_chat, Chat, 6);
    kind!(get_fate, put_fate, Fate, 7);
    kind!(get_tie, put_tie, Tie, 8);

    pub(crate) fn cold() -> Memory {
        Memory { cold: true, ..Memory::default() }
    }

    pub(crate) fn with_users(names: &[&str]) -> Memory {
        let mut memory = Memory::default();
        for name in names {
            memory.set_user(name, User { exists: true, ..User::default() });
        }
        memory
    }

    pub(crate) fn set_user(&mut self, name: &str, user: User) {
        *self.put_user(Key::User(id(name))) = user;
    }

    pub(crate) fn set_conversation(&mut self, one: &str, other: &str, conversation: Conversation) {
        *self.put_conversation(Key::Conversation(ConversationId::direct(&id(one), &id(other)))) =
            conversation;
    }

    pub(crate) fn user(&self, name: &str) -> &User {
        self.get_user(Key::User(id(name))).unwrap()
    }

    pub(crate) fn receipt(&self, owner: &str, chat: &ChatName) -> &Receipt {
        self.get_receipt(Key::Receipt { owner: id(owner), chat: chat.clone() }).unwrap()
    }

    pub(crate) fn group(&self, group: &str) -> &Group {
        self.get_group(Key::Group(GroupId::parse(group).unwrap())).unwrap()
    }

    pub(crate) fn membership(&self, group: &str, user: &str) -> &Membership {
        self.get_membership(Key::Membership(GroupId::parse(group).unwrap(), id(user))).unwrap()
    }

    pub(crate) fn chat(&self, owner: &str, chat: &ChatName) -> &Chat {
        self.get_chat(Key::Chat { owner: id(owner), chat: chat.clone() }).unwrap()
    }

    pub(crate) fn tie(&self, owner: &str, other: &str) -> &Tie {
        self.get_tie(Key::Tie(id(owner), id(other))).unwrap()
    }

    pub(crate) fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            apply(self, change);
        }
    }

    /// Puts a record that was missing at hand.
    pub(crate) fn fetch(&mut self, key: Key) {
        let record = match key {
            Key::User(_) => Record::User(User::default()),
            Key::Conversation(_) => Record::Conversation(Conversation::default()),
            Key::Ring(..) => Record::Ring(Ring::default()),
            Key::Receipt { .. } => Record::Receipt(Receipt::default()),
            Key::Group(_) => Record::Group(Group::default()),
            Key::Membership(..) => Record::Membership(Membership::default()),
            Key::Chat { .. } => Record::Chat(Chat::default()),
            Key::Fate(..) => Record::Fate(Fate::default()),
            Key::Tie(..) => Record::Tie(Tie::default()),
        };
        self.records.entry(key).or_insert(record);
    }
}

fn id(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

impl View for Memory {
    fn user(&self, id: &UserId) -> Result<&User, Missing> {
        self.get_user(Key::User(id.clone()))
    }
    fn conversation(&self, id: &ConversationId) -> Result<&Conversation, Missing> {
        self.get_conversation(Key::Conversation(id.clone()))
    }
    fn ring(&self, user: &UserId, device: &DeviceId) -> Result<&Ring, Missing> {
        self.get_ring(Key::Ring(user.clone(), device.clone()))
    }
    fn receipt(&self, owner: &UserId, chat: &ChatName) -> Result<&Receipt, Missing> {
        self.get_receipt(Key::Receipt { owner: owner.clone(), chat: chat.clone() })
    }
    fn group(&self, id: &GroupId) -> Result<&Group, Missing> {
        self.get_group(Key::Group(id.clone()))
    }
    fn membership(&self, group: &GroupId, user: &UserId) -> Result<&Membership, Missing> {
        self.get_membership(Key::Membership(group.clone(), user.clone()))
    }
    fn chat(&self, owner: &UserId, chat: &ChatName) -> Result<&Chat, Missing> {
        self.get_chat(Key::Chat { owner: owner.clone(), chat: chat.clone() })
    }
    fn fate(&self, conversation: &ConversationId, seq: Seq) -> Result<&Fate, Missing> {
        self.get_fate(Key::Fate(conversation.clone(), seq))
    }

    fn tie(&self, owner: &UserId, other: &UserId) -> Result<&Tie, Missing> {
        self.get_tie(Key::Tie(owner.clone(), other.clone()))
    }
}

impl Records for Memory {
    fn user_mut(&mut self, id: &UserId) -> &mut User {
        self.put_user(Key::User(id.clone()))
    }
    fn conversation_mut(&mut self, id: &ConversationId) -> &mut Conversation {
        self.put_conversation(Key::Conversation(id.clone()))
    }
    fn ring_mut(&mut self, user: &UserId, device: &DeviceId) -> &mut Ring {
        self.put_ring(Key::Ring(user.clone(), device.clone()))
    }
    fn receipt_mut(&mut self, owner: &UserId, chat: &ChatName) -> &mut Receipt {
        self.put_receipt(Key::Receipt { owner: owner.clone(), chat: chat.clone() })
    }
    fn group_mut(&mut self, id: &GroupId) -> &mut Group {
        self.put_group(Key::Group(id.clone()))
    }
    fn membership_mut(&mut self, group: &GroupId, user: &UserId) -> &mut Membership {
        self.put_membership(Key::Membership(group.clone(), user.clone()))
    }
    fn chat_mut(&mut self, owner: &UserId, chat: &ChatName) -> &mut Chat {
        self.put_chat(Key::Chat { owner: owner.clone(), chat: chat.clone() })
    }
    fn fate_mut(&mut self, conversation: &ConversationId, seq: Seq) -> &mut Fate {
        self.put_fate(Key::Fate(conversation.clone(), seq))
    }

    fn tie_mut(&mut self, owner: &UserId, other: &UserId) -> &mut Tie {
        self.put_tie(Key::Tie(owner.clone(), other.clone()))
    }
}
