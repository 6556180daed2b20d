//! What changes become in the store: the one place where the machine's changes are written as operations of a
//! batch.
//!
//! What is appended is written as it comes. Records that change many times within a batch are written once,
//! at its end, with their last value; the trims of an inbox become one range.

use super::fetch;
use super::names;
use super::set::Changed;
use super::table::Slot;
use super::tails::Tails;
use crate::machine::codec::put_number;
use crate::machine::{Change, Chat, Conversation, Fate, Group, Membership, Receipt, Tie, User};
use crate::session_store::space;
use bytes::Bytes;
use chasqui_proto::limits::DEDUPE_IDS_PER_DEVICE;
use chasqui_proto::{ChatName, ConversationId, GroupId, Seq, UserId};
use chasqui_storage::Batch;

/// Writes what is written as it comes.
pub(super) fn write(batch: &mut Batch, change: &Change) {
    match change {
        Change::AppendMessage { conversation, seq, message, .. } => {
            batch.append(&names::conversation(conversation), seq.0, message);
        }
        Change::AppendInbox { user, position, entry } => {
            batch.append(&names::inbox(user), *position, entry);
        }
        Change::PushRing { user, device, item } => {
            let mut stored = Vec::with_capacity(64);
            item.encode(&mut stored);
            batch.ring_push(&names::ring(user, device), DEDUPE_IDS_PER_DEVICE as u32, &stored);
        }
        Change::EraseMessage { conversation, seq, message } => {
            batch.rewrite(&names::conversation(conversation), seq.0, message);
        }
        Change::EraseEntry { user, position, entry } => {
            batch.rewrite(&names::inbox(user), *position, entry);
        }
        Change::HideMessage { owner, life, chat, seq } => {
            batch.ordered_put(space::HIDDEN, &names::hidden(owner, *life, chat, *seq), &[]);
        }
        Change::StarMessage { owner, life, chat, seq, starred } => {
            let name = names::hidden(owner, *life, chat, *seq);
            if *starred {
                batch.ordered_put(space::STARRED, &name, &[]);
            } else {
                batch.ordered_remove(space::STARRED, &name);
            }
        }
        Change::ExpireAt { at_ms, conversation, seq } => {
            batch.ordered_put(space::EXPIRIES, &names::expiry(*at_ms, conversation, *seq), &[]);
        }
        Change::Expired { at_ms, conversation, seq } => {
            batch.ordered_remove(space::EXPIRIES, &names::expiry(*at_ms, conversation, *seq));
        }
        Change::ListChat { user, chat, from, to } => {
            if let Some(from) = from {
                batch.ordered_remove(space::CHATS, &names::listed(user, *from, chat));
            }
            batch.ordered_put(space::CHATS, &names::listed(user, *to, chat), &[]);
        }
        Change::PutReport { id, to } => {
            let mut stored = Vec::new();
            to.encode(&mut stored);
            batch.put(&names::report_record(id), &stored);
        }
        Change::CreateUser { user, at_ms } => {
            let mut stored = vec![fetch::CAME_VERSION];
            put_number(&mut stored, *at_ms);
            batch.put(&names::came_record(user), &stored);
        }
        Change::RemoveUser { user } => {
            batch.delete(&names::came_record(user));
        }
        // These are in the records that they change.
        Change::TrimInbox { .. }
        | Change::AttachDevice { .. }
        | Change::DetachDevice { .. }
        | Change::NoteLost { .. }
        | Change::MoveCursor { .. }
        | Change::PutReceipt { .. }
        | Change::PutGroup { .. }
        | Change::PutMembership { .. }
        | Change::SetTimer { .. }
        | Change::PutShade { .. }
        | Change::PutChat { .. }
        | Change::PutFate { .. }
        | Change::HideReads { .. }
        | Change::PutTie { .. }
        | Change::ShowPresence { .. } => {}
    }
}

/// Writes the records that changed, at the end of a batch; receipts are news for their readers too.
pub(super) struct AtEnd<'a> {
    pub(super) batch: &'a mut Batch,
    pub(super) tails: &'a mut Tails,
    /// Used again for each record.
    pub(super) buffer: &'a mut Vec<u8>,
}

impl Changed for AtEnd<'_> {
    fn user(&mut self, Slot { key, value, before, .. }: &Slot<UserId, User>) {
        self.buffer.clear();
        value.encode(self.buffer);
        self.batch.put(&names::user_record(key), self.buffer);
        if value.trimmed > *before {
            self.batch.trim(&names::inbox(key), before + 1, value.trimmed + 1);
        }
    }

    fn conversation(&mut self, Slot { key, value, .. }: &Slot<ConversationId, Conversation>) {
        self.buffer.clear();
        value.encode(self.buffer);
        self.batch.put(&names::conversation_record(key), self.buffer);
    }

    fn receipt(
        &mut self,
        Slot { key: (owner, chat), value, before, .. }: &Slot<(UserId, ChatName), Receipt>,
    ) {
        self.buffer.clear();
        value.encode(self.buffer);
        let topic = names::receipt_topic(owner, chat);
        let previous = (*before > 0).then_some(*before);
        self.batch.set_state(
            &names::receipts(owner),
            topic.as_bytes(),
            value.position,
            self.buffer,
            previous,
        );
        self.tails.receipt(owner, chat, value.position, Bytes::copy_from_slice(self.buffer));
    }

    fn group(&mut self, Slot { key, value, .. }: &Slot<GroupId, Group>) {
        self.buffer.clear();
        value.encode(self.buffer);
        self.batch.put(&names::group_record(key), self.buffer);
    }

    fn membership(&mut self, Slot { key: (group, user), value, .. }: &Slot<(GroupId, UserId), Membership>) {
        self.buffer.clear();
        value.encode(self.buffer);
        self.batch.put(&names::membership_record(group, user), self.buffer);
    }

    fn chat(&mut self, Slot { key: (owner, chat), value, .. }: &Slot<(UserId, ChatName), Chat>) {
        self.buffer.clear();
        value.encode(self.buffer);
        self.batch.put(&names::chat_record(owner, chat), self.buffer);
    }

    fn fate(&mut self, Slot { key: (conversation, seq), value, .. }: &Slot<(ConversationId, Seq), Fate>) {
        self.buffer.clear();
        value.encode(self.buffer);
        self.batch.put(&names::fate_record(conversation, *seq), self.buffer);
    }

    fn tie(&mut self, Slot { key: (owner, other), value, .. }: &Slot<(UserId, UserId), Tie>) {
        let record = names::tie_record(owner, other);
        if !value.is_kept() {
            self.batch.delete(&record);
            return;
        }
        self.buffer.clear();
        value.encode(self.buffer);
        self.batch.put(&record, self.buffer);
    }
}
