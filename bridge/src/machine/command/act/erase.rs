//! What is taken back: what was said goes from the conversation's log, and from every inbox that still has it, edits of it as well. In each place
//! stands that it is gone.

use crate::entry;
use crate::machine::Change;
use crate::machine::command::{Missing, View};
use crate::machine::places::Places;
use crate::machine::record::{Edition, Fate};
use crate::machine::stored::{StoredMessage, Was};
use bytes::Bytes;
use chasqui_proto::{ConversationId, Seq, UserId};

/// What changes where a message, and what was said instead of it, is no more. What `original` says need not be in it, but where that is about
/// another message.
pub(in super::super) fn erase(
    view: &impl View,
    conversation: &ConversationId,
    seq: Seq,
    original: &StoredMessage,
    fate: &Fate,
) -> Result<Vec<Change>, Missing> {
    let mut changes = Vec::new();
    let mut missing = Missing::default();
    let mut take = |seq: Seq, was: Was, message: &StoredMessage, places: &Bytes| {
        let message = message.encode_gone(was);
        changes.push(Change::EraseMessage { conversation: conversation.clone(), seq, message });
        // Places that cannot be read were written by nobody here: what they say is not guessed.
        for (user, position) in Places::decode(conversation, places).unwrap_or_default() {
            let Some(record) = missing.note(view.user(&user)) else { continue };
            let Some(chat) = conversation.name_for(&user) else { continue };
            // What all their devices have is in no inbox any more.
            if position > record.trimmed {
                let entry = entry::gone(position, &chat, seq);
                changes.push(Change::EraseEntry { user, position, entry });
            }
        }
    };
    take(seq, Was::of(&original.content), original, &original.places);
    for Edition { seq: edit, time_ms, places } in &fate.edits {
        // Only the sender of a message edits it.
        let alone = original.alone || is_alone(conversation, &original.sender, places);
        let message = StoredMessage { time_ms: *time_ms, client_msg_id: None, alone, ..original.clone() };
        take(*edit, Was::EditOf(seq), &message, places);
    }
    if missing.0.is_empty() { Ok(changes) } else { Err(missing) }
}

/// Whether something stands in no inbox but its sender's, who says it to somebody else: they alone see it.
fn is_alone(conversation: &ConversationId, sender: &UserId, places: &Bytes) -> bool {
    let readers = Places::decode(conversation, places).unwrap_or_default();
    matches!(conversation, ConversationId::Direct(_)) && readers.iter().all(|(user, _)| user == sender)
}
