//! What sessions read: inboxes and receipts, and what one device sees of an item.

use super::{HeadsOf, device_of, refused, user_of};
use crate::entry::{self, Rendered};
use crate::machine::Receipt;
use crate::sequencer::{NewItems, Source, names};
use bytes::Bytes;
use chasqui_broker::codec::{ByteStr, QoS};
use chasqui_broker::hook::{Client, Grant};
use chasqui_broker::message::{Identifiers, Message};
use chasqui_broker::source::{Item, Read, ReadLimit, SourceGrant, SourceId, SourceKind, Tail, View};
use chasqui_broker::store::StoreError;
use chasqui_proto::filter::OwnFilter;
use chasqui_proto::topic::RowKind;
use chasqui_proto::{ConversationId, ErrorCode, Seq, Topic, UserId, json, v1};
use chasqui_storage::{LogId, Reader};
use std::sync::Arc;

/// Payloads as protobuf.
const PROTOBUF: u8 = 0;
/// Payloads as proto3 JSON, under the `json/` twin of the topic.
const JSON: u8 = 1;

/// The names of sources are those of what they read in the store.
const INBOX: &str = "in/";
const RECEIPTS: &str = "receipts/";

fn source_id(source: &Source) -> SourceId {
    match source {
        Source::Inbox(user) => SourceId(Arc::from(format!("{INBOX}{user}"))),
        Source::Receipts(user) => SourceId(Arc::from(format!("{RECEIPTS}{user}"))),
    }
}

/// The user whose inbox a source is.
pub(super) fn inbox_owner(source: &SourceId) -> Option<UserId> {
    UserId::parse(source.0.strip_prefix(INBOX)?).ok()
}

/// What a filter under the user's own root reads.
pub(super) fn grant_own(own: &OwnFilter, json: bool, user: &UserId, heads: HeadsOf) -> Grant {
    let filter: Arc<str> = Arc::from(own.as_str());
    let encoding = if json { JSON } else { PROTOBUF };
    let mut sources = Vec::new();
    if own.covers_in() {
        sources.push(SourceGrant {
            source: source_id(&Source::Inbox(user.clone())),
            kind: SourceKind::Log,
            start: heads.start,
            retained_up_to: 0,
            filter: Arc::clone(&filter),
            encoding,
        });
    }
    if own.reaches(RowKind::UserReceipts) {
        sources.push(SourceGrant {
            source: source_id(&Source::Receipts(user.clone())),
            kind: SourceKind::State,
            start: 0,
            retained_up_to: heads.state_head,
            filter,
            encoding,
        });
    }
    if sources.is_empty() {
        return refused(ErrorCode::NotSupported);
    }
    Grant::Granted { qos: QoS::ExactlyOnce, plain: false, sources }
}

/// New items, as the broker takes them.
pub(super) fn tail(new: NewItems) -> Tail {
    let topic = match &new.source {
        Source::Inbox(user) => Some(text(&Topic::Inbox { user: user.clone() }.to_string())),
        Source::Receipts(_) => None,
    };
    let items = new.items.into_iter().map(|item| Item {
        position: item.position,
        topic: match (&topic, &new.source, &item.chat) {
            (Some(topic), ..) => topic.clone(),
            (None, Source::Receipts(user), Some(chat)) => text(&names::receipt_topic(user, chat)),
            _ => ByteStr::default(),
        },
        stored: item.stored,
        message: None,
    });
    Tail { source: source_id(&new.source), items: items.collect() }
}

/// A topic of ours: ids and slashes.
fn text(topic: &str) -> ByteStr {
    ByteStr::try_from(topic).expect("ids have no U+0000 and topics of ours are short")
}

/// Reads what is behind a position.
pub(super) fn read(
    reader: &Reader,
    source: &SourceId,
    after: u64,
    limit: ReadLimit,
) -> Result<Read, StoreError> {
    let failed = |error: chasqui_storage::KvError| StoreError::new(error.to_string());
    let mut gap = false;
    let items: Vec<Item> = if let Some(user) = inbox_owner(source) {
        let topic = text(&Topic::Inbox { user: user.clone() }.to_string());
        let entries = reader
            .read_log(&names::inbox(&user), after.saturating_add(1), limit.items, limit.bytes)
            .map_err(failed)?;
        // Positions of an inbox have no gaps of their own: where one is, entries are gone.
        gap = entries.first().is_some_and(|(first, _)| *first > after + 1);
        entries
            .into_iter()
            .map(|(position, stored)| Item { position, topic: topic.clone(), stored, message: None })
            .collect()
    } else {
        let states =
            reader.read_states(source.0.as_bytes(), Some(after), limit.items, limit.bytes).map_err(failed)?;
        states
            .into_iter()
            .map(|state| {
                let topic =
                    ByteStr::try_from(state.topic).map_err(|error| StoreError::new(error.to_string()))?;
                Ok(Item { position: state.position, topic, stored: state.value, message: None })
            })
            .collect::<Result<_, StoreError>>()?
    };
    let bytes: usize = items.iter().map(|item| item.stored.len()).sum();
    // A page that neither bound has cut is the last one.
    let end = items.is_empty() || (items.len() < limit.items && bytes < limit.bytes);
    Ok(Read { next: items.last().map_or(after, |item| item.position), end, gap, items })
}

/// What a client sees of an item. What is stored and cannot be read is logged and skipped: it must not stop what is behind it.
pub(super) fn view(reader: &Reader, client: &Client, grant: &SourceGrant, item: &Item) -> View {
    let payload = match grant.kind {
        SourceKind::State => Receipt::payload(&item.stored).map(Some).map_err(|error| error.to_string()),
        SourceKind::Log | SourceKind::Queue => inbox_payload(reader, client, item),
    };
    let payload = payload.and_then(|payload| match (payload, grant.encoding, grant.kind) {
        (Some(payload), JSON, SourceKind::State) => json::from_protobuf::<v1::Receipt>(&payload)
            .map(|json| Some(json.into()))
            .map_err(|e| e.to_string()),
        (Some(payload), JSON, _) => json::from_protobuf::<v1::Event>(&payload)
            .map(|json| Some(json.into()))
            .map_err(|e| e.to_string()),
        (payload, ..) => Ok(payload),
    });
    let payload: Bytes = match payload {
        Ok(Some(payload)) => payload,
        Ok(None) => return View::Skip,
        Err(error) => {
            tracing::error!(
                source = &*grant.source.0,
                position = item.position,
                "an item was left out: {error}"
            );
            return View::Skip;
        }
    };
    let topic =
        if grant.encoding == JSON { text(&format!("json/{}", &*item.topic)) } else { item.topic.clone() };
    View::Send(Message {
        topic,
        payload,
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        received_ms: 0,
        identifiers: Identifiers::new(),
    })
}

fn inbox_payload(reader: &Reader, client: &Client, item: &Item) -> Result<Option<Bytes>, String> {
    let (Some(owner), Some(device)) = (user_of(&client.session), device_of(client)) else { return Ok(None) };
    let fetch =
        |conversation: &ConversationId, seq: Seq| -> Result<Option<Bytes>, chasqui_storage::KvError> {
            let log: LogId = names::conversation(conversation);
            let entries = reader.read_log(&log, seq.0, 1, usize::MAX)?;
            Ok(entries.into_iter().find(|(found, _)| *found == seq.0).map(|(_, stored)| stored))
        };
    match entry::render(&item.stored, &owner, &device, fetch).map_err(|error| error.to_string())? {
        Rendered::Skip => Ok(None),
        Rendered::Event(payload) => Ok(Some(payload)),
    }
}
