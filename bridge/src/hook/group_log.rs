//! `g/{group}/in`: the log of one group, for devices and bots that want that group and nothing else.
//!
//! It is the conversation's own log, whoever reads it: nothing is written for a reader. So what a reader may see is asked for each message when
//! it is shown, and holds at once for what waits in a connection, for what is read later and for what is sent again.

use super::grants::refused;
use super::history;
use super::sight::Sight;
use crate::machine::stored::StoredMessage;
use crate::sequencer::fetch::{self, FetchError};
use bytes::Bytes;
use chasqui_broker::codec::QoS;
use chasqui_broker::hook::{Grant, Occasion};
use chasqui_broker::source::{SourceGrant, SourceId, SourceKind};
use chasqui_proto::filter::GroupFilter;
use chasqui_proto::wire::{put_length, put_number, varint_len};
use chasqui_proto::{ChatName, ConversationId, ErrorCode, GroupId, Seq, Topic, UserId, v1};
use chasqui_storage::Reader;
use prost::Message as _;

/// The field of an `Event` that holds where it stands.
const EVENT_POSITION: u32 = 1;
/// The field of an `Event` that holds a message.
const EVENT_MESSAGE: u32 = 2;

/// Where a new cursor of a user in the log that a filter names starts: behind the newest message. `None` where they may not read it, and
/// where the filter names no log.
pub(super) fn start(
    reader: &Reader,
    filter: &GroupFilter,
    user: &UserId,
    occasion: Occasion,
) -> Result<Option<u64>, FetchError> {
    let Some(group) = filter.group.as_ref().filter(|_| filter.log) else { return Ok(None) };
    let membership = fetch::membership(reader, group, user)?;
    let is_of_another = membership.life != fetch::user(reader, user)?.lives;
    let may = match occasion {
        _ if is_of_another || membership.stays.is_empty() => false,
        Occasion::Subscribe => membership.ended().is_none(),
        // What they may see still waits for a session that was away when they went.
        Occasion::Resume => true,
    };
    if !may {
        return Ok(None);
    }
    let conversation = fetch::conversation(reader, &ConversationId::Group(group.clone()))?;
    Ok(Some(conversation.head.0))
}

/// What a filter under `g/` gets, where [`start`] found this.
pub(super) fn grant(filter: &GroupFilter, start: Option<u64>, source: SourceId, encoding: u8) -> Grant {
    let (Some(group), true) = (&filter.group, filter.log) else { return refused(ErrorCode::NotSupported) };
    // The same for a group that is not there and for one that is none of theirs.
    let Some(start) = start else { return refused(ErrorCode::Forbidden) };
    let filter = Topic::GroupLog { group: group.clone() }.to_string().into();
    let log = SourceGrant { source, kind: SourceKind::Log, start, retained_up_to: 0, filter, encoding };
    Grant::Granted { qos: QoS::ExactlyOnce, plain: false, sources: vec![log] }
}

/// What a user sees of a message of a group, as an encoded `Event`; `None` where they do not see it.
pub(super) fn payload(
    reader: &Reader,
    user: &UserId,
    group: &GroupId,
    (seq, stored): (Seq, &Bytes),
    now_ms: u64,
) -> Result<Option<Bytes>, FetchError> {
    let chat = ChatName::Group(group.clone());
    let me = fetch::user(reader, user)?;
    let cleared = fetch::kept(reader, user, &chat)?.of_life(me.lives).cleared;
    let sight = Sight::load(reader, (user, &me), &chat, now_ms)?.behind(cleared);
    let is_seen = sight.visible.iter().any(|range| range.contains(&seq.0));
    if !is_seen || !sight.hidden(reader, user, &chat, seq.0..=seq.0)?.is_empty() {
        return Ok(None);
    }
    let Some(message) = history::shown(&chat, user, seq, stored, &sight)? else { return Ok(None) };
    let position = seq.0;
    if StoredMessage::decode(stored)?.is_gone(now_ms) {
        let gone = v1::Gone { conversation: chat.to_string(), seq: seq.0 };
        let event = v1::Event { position, event: Some(v1::event::Event::Gone(gone)) };
        return Ok(Some(event.encode_to_vec().into()));
    }
    let mut event = Vec::with_capacity(message.len() + 2 + 2 * varint_len(u64::MAX));
    put_number(&mut event, EVENT_POSITION, position);
    put_length(&mut event, EVENT_MESSAGE, message.len());
    event.extend_from_slice(&message);
    Ok(Some(event.into()))
}
