//! How the machine's things are named in the store. Names are on disk: they never change.

use crate::machine::record::ReportId;
use crate::session_store::space;
use chasqui_proto::{ChatName, ConversationId, DeviceId, GroupId, Seq, UserId};
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

/// The record of what a user keeps about a conversation.
pub(super) fn chat_record(owner: &UserId, chat: &ChatName) -> RecordKey {
    RecordKey::record(&joined(&[b"k/", owner.as_bytes(), b"/", chat.to_string().as_bytes()]))
}

/// The record of what became of a message.
pub(super) fn fate_record(conversation: &ConversationId, seq: Seq) -> RecordKey {
    let mut name = Vec::with_capacity(64);
    name.extend_from_slice(b"f/");
    conversation.write_key(&mut name);
    name.push(0);
    name.extend_from_slice(&seq.0.to_be_bytes());
    RecordKey::record(&name)
}

/// That a user does not see a message any more, or has marked it, among all of these of a conversation in the order of their numbers.
pub fn hidden(owner: &UserId, life: u32, chat: &ChatName, seq: Seq) -> SmallVec<[u8; 96]> {
    let (life, seq) = (life.to_be_bytes(), seq.0.to_be_bytes());
    joined(&[owner.as_bytes(), b"/", &life, chat.to_string().as_bytes(), b"\0", &seq])
}

/// What the names of [`hidden`] messages of a user begin with.
pub fn hidden_of(owner: &UserId, life: u32) -> SmallVec<[u8; 96]> {
    joined(&[owner.as_bytes(), b"/", &life.to_be_bytes()])
}

/// The conversation and the number of a message that [`hidden`] names.
pub fn parse_hidden(owner: &UserId, name: &[u8]) -> Option<(ChatName, Seq)> {
    let rest = name.strip_prefix(owner.as_bytes())?.strip_prefix(b"/")?.get(4..)?;
    let (chat, seq) = rest.split_last_chunk()?;
    let chat = ChatName::parse(std::str::from_utf8(chat.strip_suffix(b"\0")?).ok()?).ok()?;
    Some((chat, Seq(u64::from_be_bytes(*seq))))
}

/// The number of a message that [`hidden`] names.
pub fn hidden_seq(name: &[u8]) -> Option<Seq> {
    name.last_chunk().map(|seq| Seq(u64::from_be_bytes(*seq)))
}

/// That the time of a message will be over, among all of these in the order of the times.
pub fn expiry(at_ms: u64, conversation: &ConversationId, seq: Seq) -> Vec<u8> {
    let mut name = Vec::with_capacity(64);
    name.extend_from_slice(&at_ms.to_be_bytes());
    conversation.write_key(&mut name);
    name.push(0);
    name.extend_from_slice(&seq.0.to_be_bytes());
    name
}

/// What [`expiry`] names.
pub fn parse_expiry(name: &[u8]) -> Option<(u64, ConversationId, Seq)> {
    let (at_ms, rest) = name.split_first_chunk()?;
    let (rest, seq) = rest.split_last_chunk()?;
    let conversation = ConversationId::parse(std::str::from_utf8(rest.strip_suffix(b"\0")?).ok()?).ok()?;
    Some((u64::from_be_bytes(*at_ms), conversation, Seq(u64::from_be_bytes(*seq))))
}

/// Where a conversation stands in the list of a user's, by the [hour](crate::machine::change::hour_of) of its newest message, the newest first.
pub fn listed(user: &UserId, hour: u32, chat: &ChatName) -> SmallVec<[u8; 96]> {
    joined(&[&listed_in(user, hour), chat.to_string().as_bytes()])
}

/// Where those of an hour begin in the list of a user's conversations.
pub fn listed_in(user: &UserId, hour: u32) -> SmallVec<[u8; 96]> {
    joined(&[user.as_bytes(), b"/", &(u32::MAX - hour).to_be_bytes()])
}

/// Behind all of a user's conversations.
pub fn listed_end(user: &UserId) -> SmallVec<[u8; 96]> {
    // '0' is the byte after '/'.
    joined(&[user.as_bytes(), b"0"])
}

/// The hour and the name of a conversation in the list of `user`'s; `None` for what is no place in it.
pub fn parse_listed(user: &UserId, place: &[u8]) -> Option<(u32, ChatName)> {
    let rest = place.strip_prefix(user.as_bytes())?.strip_prefix(b"/")?;
    let (hour, chat) = rest.split_first_chunk()?;
    Some((u32::MAX - u32::from_be_bytes(*hour), ChatName::parse(std::str::from_utf8(chat).ok()?).ok()?))
}

/// The record of when a user came. It stands apart from the user's own, which is written with each message and has no need of it.
pub(super) fn came_record(user: &UserId) -> RecordKey {
    RecordKey::ordered(space::CAME, user.as_bytes())
}

/// A report, among all of them in the order of their ids.
pub(crate) fn report_record(id: &ReportId) -> RecordKey {
    RecordKey::ordered(space::REPORTS, &id.0)
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
        let chat = ChatName::Group(GroupId::parse("hikers").unwrap());
        assert_eq!(chat_record(&alice, &chat).record_id(), Some(&b"k/alice/g/hikers"[..]));
        let fate = fate_record(&direct, Seq(3));
        assert_eq!(fate.record_id(), Some(&b"f/d/alice/bob\0\0\0\0\0\0\0\0\x03"[..]));
        let name = hidden(&alice, 1, &chat, Seq(3));
        assert_eq!(&name[..], b"alice/\0\0\0\x01g/hikers\0\0\0\0\0\0\0\0\x03");
        assert_eq!(hidden_seq(&name), Some(Seq(3)));
        assert_eq!(parse_hidden(&alice, &name), Some((chat.clone(), Seq(3))));
        assert!(name.starts_with(&hidden_of(&alice, 1)));
        let name = expiry(2, &direct, Seq(3));
        assert_eq!(&name[..], b"\0\0\0\0\0\0\0\x02d/alice/bob\0\0\0\0\0\0\0\0\x03");
        assert_eq!(parse_expiry(&name), Some((2, direct.clone(), Seq(3))));
        assert!(name < expiry(3, &direct, Seq(1)), "the earliest first");
        let place = listed(&alice, 1, &chat);
        assert_eq!(&place[..], b"alice/\xff\xff\xff\xfeg/hikers");
        assert_eq!(parse_listed(&alice, &place), Some((1, chat)));
        assert!(listed_in(&alice, 2) < place && place < listed_end(&alice), "the newest first");
        assert_eq!(tie_record(&alice, &bob()), RecordKey::ordered(16, b"alice/bob"));
        assert_eq!(report_record(&ReportId([7; 16])), RecordKey::ordered(21, &[7; 16]));
        assert_eq!(came_record(&alice), RecordKey::ordered(20, b"alice"));
        assert_eq!(&ring(&alice, &DeviceId::parse("phone").unwrap())[..], b"sent/alice/phone");
    }
}
