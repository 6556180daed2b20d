//! What changes: the values that a decision consists of, and the fold that carries them out on the records.
//!
//! Changes are versioned and serialisable, so that the same history can be folded again elsewhere. What they
//! become in the store is written in one place, the sequencer's `ops.rs`.

mod encoding;

use super::Records;
use super::record::{
    Audience, Chat, Device, Fate, Group, LostDevice, Membership, Receipt, Report, ReportId, RingItem, Shade,
    Tie,
};
use bytes::Bytes;
use chasqui_proto::limits::DEVICES_PER_USER;
use chasqui_proto::{ChatName, ConversationId, DeviceId, GroupId, Seq, UserId};

/// One change. Fields named `user`, `device`, `conversation` say where it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Change {
    /// There is such a user now, since then.
    CreateUser { user: UserId, at_ms: u64 },
    /// There is no such user any more: no devices, an empty inbox.
    RemoveUser { user: UserId },
    /// A conversation's log grows by a [`StoredMessage`](super::stored::StoredMessage).
    AppendMessage { conversation: ConversationId, seq: Seq, time_ms: u64, message: Bytes },
    /// A user's inbox grows by an [`entry`](crate::entry).
    AppendInbox { user: UserId, position: u64, entry: Bytes },
    /// Inbox entries up to this position are needed by nobody.
    TrimInbox { user: UserId, up_to: u64 },
    /// A device's message is remembered by its id.
    PushRing { user: UserId, device: DeviceId, item: RingItem },
    /// A device begins to read behind this position.
    AttachDevice { user: UserId, device: DeviceId, start: u64 },
    /// A device is gone.
    DetachDevice { user: UserId, device: DeviceId },
    /// The device that is gone is to be told so when it comes again.
    NoteLost { user: UserId, device: DeviceId, at_ms: u64 },
    /// A device has everything up to this position.
    MoveCursor { user: UserId, device: DeviceId, acked: u64 },
    /// The owner is shown new marks, at the position that `receipt` has.
    PutReceipt { owner: UserId, chat: ChatName, receipt: Receipt },
    /// A group is another.
    PutGroup { group: GroupId, to: Box<Group> },
    /// What a user has to do with a group is another.
    PutMembership { group: GroupId, user: UserId, to: Membership },
    /// What a user keeps about a conversation is another.
    PutChat { owner: UserId, chat: ChatName, to: Box<Chat> },
    /// What was said is no more: this stands in its place.
    EraseMessage { conversation: ConversationId, seq: Seq, message: Bytes },
    /// What an inbox has of it is no more, either.
    EraseEntry { user: UserId, position: u64, entry: Bytes },
    /// What became of a message is something else.
    PutFate { conversation: ConversationId, seq: Seq, to: Fate },
    /// A user of this life does not see a message any more.
    HideMessage { owner: UserId, life: u32, chat: ChatName, seq: Seq },
    /// What is said in a conversation from now on is there for so many seconds; 0 for ever.
    SetTimer { conversation: ConversationId, seconds: u32 },
    /// What the sides of a direct conversation do not see of each other is something else.
    PutShade { conversation: ConversationId, to: Option<Box<Shade>> },
    /// The time of a message will be over.
    ExpireAt { at_ms: u64, conversation: ConversationId, seq: Seq },
    /// The time of a message was over, and it is no more.
    Expired { at_ms: u64, conversation: ConversationId, seq: Seq },
    /// A user of this life wants to find a message again, or no more.
    StarMessage { owner: UserId, life: u32, chat: ChatName, seq: Seq, starred: bool },
    /// A conversation stands elsewhere in the list of a user's, which is by the [hour](hour_of) of the newest message.
    ListChat { user: UserId, chat: ChatName, from: Option<u32>, to: u32 },
    /// What a user reads is hidden, both ways, or is no more.
    HideReads { user: UserId, hides: bool },
    /// Something else is somebody to `owner`, to whom so many others are something then.
    PutTie { owner: UserId, other: UserId, to: Tie, ties: u32 },
    /// Somebody has reported something to who runs the server.
    PutReport { id: ReportId, to: Box<Report> },
    /// Others see whether a user is there, or no more.
    ShowPresence { user: UserId, to: Audience },
}

/// Folds a change into the records.
pub fn apply(records: &mut impl Records, change: &Change) {
    match change {
        Change::CreateUser { user, at_ms } => {
            let user = records.user_mut(user);
            user.exists = true;
            // The first of a name sees all there is.
            user.since_ms = if user.lives > 0 { *at_ms } else { 0 };
        }
        Change::RemoveUser { user } => {
            let user = records.user_mut(user);
            user.exists = false;
            user.hides_reads = false;
            user.lives += 1;
            user.devices.clear();
            // What somebody wanted is not what the next one of the name wants.
            (user.hides_reads, user.presence, user.ties) = (false, Audience::default(), 0);
            user.lost = Box::default();
            (user.floor, user.trimmed) = (user.inbox_head, user.inbox_head);
        }
        Change::AppendMessage { conversation, seq, time_ms, .. } => {
            let conversation = records.conversation_mut(conversation);
            debug_assert_eq!(*seq, conversation.head.next(), "numbers of a conversation have no gap");
            conversation.head = *seq;
            conversation.last_time_ms = *time_ms;
        }
        Change::AppendInbox { user, position, .. } => {
            let user = records.user_mut(user);
            debug_assert_eq!(*position, user.inbox_head + 1, "positions of an inbox have no gap");
            user.inbox_head = *position;
        }
        Change::TrimInbox { user, up_to } => records.user_mut(user).trimmed = *up_to,
        Change::PushRing { user, device, item } => records.ring_mut(user, device).push(item),
        Change::AttachDevice { user, device, start } => {
            let user = records.user_mut(user);
            if user.lost(device).is_some() {
                user.lost = user.lost.iter().filter(|lost| lost.id != *device).cloned().collect();
            }
            let devices = &mut user.devices;
            let at = devices.partition_point(|other| other.id < *device);
            devices.insert(at, Device { id: device.clone(), acked: *start });
        }
        Change::DetachDevice { user, device } => {
            records.user_mut(user).devices.retain(|other| other.id != *device);
        }
        Change::NoteLost { user, device, at_ms } => {
            let user = records.user_mut(user);
            let others = user.lost.iter().filter(|lost| lost.id != *device).cloned();
            let mut lost: Vec<LostDevice> = others.collect();
            // The oldest are forgotten altogether.
            lost.drain(..(lost.len() + 1).saturating_sub(DEVICES_PER_USER));
            lost.push(LostDevice { id: device.clone(), at_ms: *at_ms });
            user.lost = lost.into();
        }
        Change::MoveCursor { user, device, acked } => {
            let user = records.user_mut(user);
            user.floor = user.floor.max(*acked);
            if let Some(device) = user.devices.iter_mut().find(|other| other.id == *device) {
                device.acked = *acked;
            }
        }
        Change::PutReceipt { owner, chat, receipt } => {
            let head = &mut records.user_mut(owner).state_head;
            *head = (*head).max(receipt.position);
            *records.receipt_mut(owner, chat) = receipt.clone();
        }
        Change::PutGroup { group, to } => records.group_mut(group).clone_from(to),
        Change::PutMembership { group, user, to } => {
            records.membership_mut(group, user).clone_from(to);
        }
        Change::PutChat { owner, chat, to } => records.chat_mut(owner, chat).clone_from(to),
        Change::PutFate { conversation, seq, to } => records.fate_mut(conversation, *seq).clone_from(to),
        Change::SetTimer { conversation, seconds } => {
            records.conversation_mut(conversation).timer_s = *seconds;
        }
        Change::PutShade { conversation, to } => {
            records.conversation_mut(conversation).shade.clone_from(to);
        }
        // No decision looks at these.
        Change::EraseMessage { .. }
        | Change::EraseEntry { .. }
        | Change::HideMessage { .. }
        | Change::StarMessage { .. }
        | Change::PutReport { .. }
        | Change::ExpireAt { .. }
        | Change::Expired { .. }
        | Change::ListChat { .. } => {}
        Change::HideReads { user, hides } => records.user_mut(user).hides_reads = *hides,
        Change::PutTie { owner, other, to, ties } => {
            records.user_mut(owner).ties = *ties;
            *records.tie_mut(owner, other) = *to;
        }
        Change::ShowPresence { user, to } => records.user_mut(user).presence = *to,
    }
}

/// The hour that a time in Unix milliseconds is in.
pub fn hour_of(time_ms: u64) -> u32 {
    u32::try_from(time_ms / 3_600_000).unwrap_or(u32::MAX)
}
