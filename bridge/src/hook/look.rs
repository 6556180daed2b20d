//! What is asked for and only read: it changes nothing and is not decided by the machine. What is durable is read on the connection's thread,
//! at a cost that follows what is asked for.

use super::contacts::{self, ContactsAsked};
use super::{devices, history, starred, sync};
use crate::sequencer::fetch::FetchError;
use bytes::Bytes;
use chasqui_proto::{DeviceId, ErrorCode, Refusal, UserId};
use chasqui_storage::Reader;
use prost::Message as _;

/// The field of a `Reply` that holds a page of messages.
const REPLY_MESSAGES: u32 = 19;
/// The field of a `Reply` that holds devices.
const REPLY_DEVICES: u32 = 23;
/// The field of a `Reply` that holds a page of contacts.
const REPLY_TIES: u32 = 30;
/// The field of a `Reply` that holds a page of conversations.
const REPLY_CHATS: u32 = 21;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Query {
    /// A page of what was said in a conversation.
    History(history::Query),
    /// A page of a user's conversations.
    Sync(sync::Query),
    /// A page of the user's contacts and of whom they block.
    Contacts(ContactsAsked),
    /// A page of the messages that the user has marked.
    Starred(starred::Query),
    /// The user's devices.
    Devices,
}

/// A page, as a `Reply` holds it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// The field of `Reply` that the items are in.
    pub(super) field: u32,
    /// What is on it, each encoded.
    pub(super) items: Vec<Bytes>,
    /// Whether there is more in the direction that was asked for.
    pub(super) more: bool,
    /// Where the next page begins, where a name for it is needed.
    pub(super) next: Bytes,
}

impl Query {
    /// Reads what is asked for at a time in Unix milliseconds, when these devices of the user are connected.
    pub(super) fn look(
        &self,
        reader: &Reader,
        user: &UserId,
        now_ms: u64,
        is_there: impl Fn(&DeviceId) -> bool,
    ) -> Result<Looked, Refusal> {
        let found = match self {
            Query::History(query) => history::read(reader, user, query, now_ms).map(|found| {
                found.map(|page| Looked {
                    field: REPLY_MESSAGES,
                    items: page.messages,
                    more: page.more,
                    ..Looked::default()
                })
            }),
            Query::Contacts(asked) => contacts::read(reader, user, asked).map(|page| {
                let items = page.ties.iter().map(|tie| tie.encode_to_vec().into()).collect();
                Ok(Looked { field: REPLY_TIES, items, more: page.more, ..Looked::default() })
            }),
            Query::Starred(query) => starred::read(reader, user, query, now_ms).map(|page| {
                let (items, next) = (page.messages, page.next);
                Ok(Looked { field: REPLY_MESSAGES, items, more: !next.is_empty(), next })
            }),
            Query::Devices => devices::read(reader, user, is_there).map(|devices| {
                let items = devices.iter().map(|device| device.encode_to_vec().into()).collect();
                Ok(Looked { field: REPLY_DEVICES, items, ..Looked::default() })
            }),
            Query::Sync(query) => sync::read(reader, user, query, now_ms).map(|page| {
                Ok(Looked {
                    field: REPLY_CHATS,
                    items: page.chats,
                    more: page.next.is_some(),
                    next: page.next.map(|place| place.token()).unwrap_or_default(),
                })
            }),
        };
        found.unwrap_or_else(|error: FetchError| {
            tracing::error!("what was asked for could not be read: {error}");
            Err(ErrorCode::Internal.into())
        })
    }
}
