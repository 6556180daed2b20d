//! Messages whose time is over: the server asks itself to erase them, a page at a time, when the time has come or as soon as it runs again. That
//! they are not shown any more does not wait for that.

use super::ChatHook;
use crate::machine::command::Expire;
use crate::machine::stored::{StoredMessage, is_change};
use crate::sequencer::fetch::FetchError;
use crate::sequencer::names;
use crate::session_store::space;
use bytes::Bytes;
use chasqui_proto::{ConversationId, Seq};
use chasqui_storage::Reader;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Messages that are erased at a time, at most.
const PAGE: usize = 1_024;

impl ChatHook {
    /// Erases the messages whose time is over; some of them, where they are many, or none, where the last ones are not done with.
    pub(super) fn expire(&self) {
        if self.expiring.load(Ordering::Acquire) > 0 {
            return;
        }
        match due(&self.reader, self.now_ms()) {
            Ok(due) => {
                self.expiring.store(due.len(), Ordering::Release);
                for expire in due {
                    let expiring: Arc<AtomicUsize> = Arc::clone(&self.expiring);
                    self.ask(0, expire.into(), move |outcome| {
                        expiring.fetch_sub(1, Ordering::AcqRel);
                        // It is asked for again; that the store takes no more writes is said elsewhere, once.
                        if let Err(error) = outcome {
                            tracing::debug!("a message whose time is over could not be erased yet: {error}");
                        }
                    });
                }
            }
            Err(error) => tracing::error!("which messages are over could not be read: {error}"),
        }
    }
}

/// The messages whose time is over; the first of them, where they are many.
///
/// # Errors
/// If something stored cannot be read.
pub fn due(reader: &Reader, now_ms: u64) -> Result<Vec<Expire>, FetchError> {
    let end = now_ms.saturating_add(1).to_be_bytes();
    let found = reader.ordered_range(space::EXPIRIES, &[], Some(&end), PAGE)?;
    let mut due = Vec::with_capacity(found.len());
    for (name, _) in &found {
        let Some((at_ms, conversation, seq)) = names::parse_expiry(name) else { continue };
        let message = stored(reader, &conversation, seq)?;
        due.push(Expire { conversation, seq, at_ms, message });
    }
    Ok(due)
}

/// A message as it is stored, without what it says, but where that is about another message.
fn stored(
    reader: &Reader,
    conversation: &ConversationId,
    seq: Seq,
) -> Result<Option<StoredMessage>, FetchError> {
    let entries = reader.read_log(&names::conversation(conversation), seq.0, 1, usize::MAX)?;
    let Some((_, stored)) = entries.into_iter().find(|(found, _)| *found == seq.0) else { return Ok(None) };
    let message = StoredMessage::decode(&stored)?;
    let content = if is_change(&message.content) { message.content } else { Bytes::new() };
    Ok(Some(StoredMessage { content, ..message }))
}
