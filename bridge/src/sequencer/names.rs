//! How the machine's things are named in the store. Names are on disk: they never change.

use crate::session_store::space;
use chasqui_proto::{ChatName, ConversationId, DeviceId, GroupId, UserId};
use chasqui_storage::{LogId, RecordKey};
use smallvec::SmallVec;

/// Room for a name with ids as they usually are.
type Name = SmallVec<[u8; 96]>;

fn joined(parts: &[&[u8]]) -> Name {
    let mut name = Name::new();
    for part in parts {
        name.extend_from_slice(part);
    }
    name
}

/// The log of a user's inbox.
pub fn inbox(user: &UserId) -> LogId {
    LogId::new(joined(&[b"in/", user.as_bytes()]))
}

/// The log of a conversation.
pub fn conversation(conversation: &ConversationId) -> LogId {
    let mut name = Vec::with_capacity(64);
    name.extend_from_slice(b"c/");
    conversation.write_key(&mut name);
    LogId::new(name)
}

/// The group of a user's receipts.
pub fn receipts(user: &UserId) -> SmallVec<[u8; 96]> {
    joined(&[b"receipts/", user.as_bytes()])
}

/// The topic of a receipt within [`receipts`], which is the topic it is published to.
pub fn receipt_topic(owner: &UserId, chat: &ChatName) -> String {
    format!("u/{owner}/receipts/{chat}")
}

/// The record of a user.
pub(super) fn user_record(user: &UserId) -> RecordKey {
    RecordKey::record(&joined(&[b"u/", user.as_bytes()]))
}

/// The record of a conversation.
pub(super) fn conversation_record(conversation: &ConversationId) -> RecordKey {
    let mut name = Vec::with_capacity(64);
    name.extend_from_slice(b"c/");
    conversation.write_key(&mut name);
    RecordKey::record(&name)
}

/// The record of a group.
pub(crate) fn group_record(group: &GroupId) -> RecordKey {
    RecordKey::record(&joined(&[b"g/", group.as_bytes()]))
}

/// The record of what a user has to do with a group.
pub(super) fn membership_record(group: &GroupId, user: &UserId) -> RecordKey {
    RecordKey::record(&joined(&[b"m/", group.as_bytes(), b"/", user.as_bytes()]))
}

/// The record of what `other` is to `owner`, in order with what others are.
pub(super) fn tie_record(owner: &UserId, other: &UserId) -> RecordKey {
    RecordKey::ordered(space::TIES, &joined(&[&ties_of(owner), other.as_bytes()]))
}

/// What the ids of a user's ties begin with, among those of [`space::TIES`].
pub(crate) fn ties_of(owner: &UserId) -> SmallVec<[u8; 96]> {
    joined(&[owner.as_bytes(), b"/"])
}

/// The ring of a device's accepted messages.
pub(super) fn ring(user: &UserId, device: &DeviceId) -> SmallVec<[u8; 96]> {
    joined(&[b"sent/", user.as_bytes(), b"/", device.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_disk() {
        let bob = || UserId::parse("bob").unwrap();
        let alice = UserId::parse("alice").unwrap();
        let direct = ConversationId::direct(&bob(), &alice);
        assert_eq!(inbox(&alice).as_bytes(), b"in/alice");
        assert_eq!(conversation(&direct).as_bytes(), b"c/d/alice/bob");
        assert_eq!(&receipts(&alice)[..], b"receipts/alice");
        assert_eq!(receipt_topic(&alice, &ChatName::User(bob())), "u/alice/receipts/u/bob");
        assert_eq!(user_record(&alice).record_id(), Some(&b"u/alice"[..]));
        assert_eq!(conversation_record(&direct).record_id(), Some(&b"c/d/alice/bob"[..]));
        let hikers = GroupId::parse("hikers").unwrap();
        assert_eq!(group_record(&hikers).record_id(), Some(&b"g/hikers"[..]));
        assert_eq!(membership_record(&hikers, &alice).record_id(), Some(&b"m/hikers/alice"[..]));
        assert_eq!(conversation(&ConversationId::Group(hikers)).as_bytes(), b"c/g/hikers");
        assert_eq!(tie_record(&alice, &bob()), RecordKey::ordered(16, b"alice/bob"));
        assert_eq!(&ring(&alice, &DeviceId::parse("phone").unwrap())[..], b"sent/alice/phone");
    }
}
