//! What sessions read: inboxes, groups and receipts, and what one device sees of an item.

use super::grants::{HeadsOf, refused};
use super::{device_of, group_log, user_of};
use crate::entry::{self, Rendered};
use crate::machine::Receipt;
use crate::sequencer::{NewItems, Source, fetch, names};
use bytes::Bytes;
use chasqui_broker::codec::{ByteStr, QoS};
use chasqui_broker::hook::{Client, Grant};
use chasqui_broker::message::{Identifiers, Message};
use chasqui_broker::source::{Item, Read, ReadLimit, SourceGrant, SourceId, SourceKind, Tail, View};
use chasqui_broker::store::StoreError;
use chasqui_proto::filter::{GroupFilter, OwnFilter};
use chasqui_proto::topic::RowKind;
use chasqui_proto::{ConversationId, ErrorCode, GroupId, Seq, Topic, UserId, json, v1};
use chasqui_storage::{LogId, Reader};
use std::sync::Arc;

/// Payloads as protobuf.
const PROTOBUF: u8 = 0;
/// Payloads as proto3 JSON, under the `json/` twin of the topic.
const JSON: u8 = 1;

/// The names of sources are those of what they read in the store.
const INBOX: &str = "in/";
const RECEIPTS: &str = "receipts/";
const GROUP: &str = "group/";

fn source_id(source: &Source) -> SourceId {
    match source {
        Source::Inbox(user) => SourceId(Arc::from(format!("{INBOX}{user}"))),
        Source::Receipts(user) => SourceId(Arc::from(format!("{RECEIPTS}{user}"))),
        Source::Group(group) => SourceId(Arc::from(format!("{GROUP}{group}"))),
    }
}

/// The user whose inbox a source is.
pub(super) fn inbox_owner(source: &SourceId) -> Option<UserId> {
    UserId::parse(source.0.strip_prefix(INBOX)?).ok()
}

/// The user whose receipts a source is.
fn receipts_owner(source: &SourceId) -> Option<UserId> {
    UserId::parse(source.0.strip_prefix(RECEIPTS)?).ok()
}

/// The group whose log a source is.
fn group_of(source: &SourceId) -> Option<GroupId> {
    GroupId::parse(source.0.strip_prefix(GROUP)?).ok()
}

/// The log that a source is, and the topic of what it holds; `None` of receipts, which have a topic each.
fn log_of(source: &SourceId) -> Option<(LogId, ByteStr)> {
    let (log, topic) = match (inbox_owner(source), group_of(source)) {
        (Some(user), _) => (names::inbox(&user), Topic::Inbox { user }),
        (None, Some(group)) => {
            (names::conversation(&ConversationId::Group(group.clone())), Topic::GroupLog { group })
        }
        (None, None) => return None,
    };
    Some((log, text(&topic.to_string())))
}

/// What a filter under `g/` reads, where a cursor in the group's log may start there.
pub(super) fn grant_group(filter: &GroupFilter, json: bool, start: Option<u64>) -> Grant {
    let source = filter.group.clone().map(|group| source_id(&Source::Group(group)));
    match source {
        Some(source) => group_log::grant(filter, start, source, if json { JSON } else { PROTOBUF }),
        None => refused(ErrorCode::NotSupported),
    }
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
    if own.reaches(RowKind::UserReceipts) || own.reaches(RowKind::GroupReceipts) {
        sources.push(SourceGrant {
            source: source_id(&Source::Receipts(user.clone())),
            kind: SourceKind::State,
            start: 0,
            retained_up_to: heads.state_head,
            filter,
            encoding,
        });
    }
    // Replies and signals come to the connection itself.
    let live = [RowKind::Reply, RowKind::TypingUser, RowKind::TypingMember];
    if sources.is_empty() && !live.into_iter().any(|kind| own.reaches(kind)) {
        return refused(ErrorCode::NotSupported);
    }
    Grant::Granted { qos: QoS::ExactlyOnce, plain: false, sources }
}

/// New items, as the broker takes them.
pub(super) fn tail(new: NewItems) -> Tail {
    let topic = match &new.source {
        Source::Inbox(user) => Some(text(&Topic::Inbox { user: user.clone() }.to_string())),
        Source::Group(group) => Some(text(&Topic::GroupLog { group: group.clone() }.to_string())),
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
    let mut items: Vec<Item> = if let Some((log, topic)) = log_of(source) {
        let entries =
            reader.read_log(&log, after.saturating_add(1), limit.items, limit.bytes).map_err(failed)?;
        // Positions of a log have no gaps of their own: where one is, entries are gone.
        gap = entries.first().is_some_and(|(first, _)| *first > after.saturating_add(1));
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
    let next = items.last().map_or(after, |item| item.position);
    // A page ends before an item that does not fit: that it is not full does not say that nothing is behind it.
    let end = items.is_empty() || (items.len() < limit.items && !has_behind(reader, source, next)?);
    if let Some(user) = receipts_owner(source) {
        // What another of the name before was told is none of theirs.
        let user = fetch::user(reader, &user).map_err(|error| StoreError::new(error.to_string()))?;
        if user.since_ms > 0 {
            items.retain(|item| Receipt::is_since(&item.stored, user.since_ms));
        }
    }
    Ok(Read { next, end, gap, items })
}

/// Whether a source holds something behind a position.
fn has_behind(reader: &Reader, source: &SourceId, position: u64) -> Result<bool, StoreError> {
    let found = match log_of(source) {
        Some((log, _)) => {
            reader.read_log(&log, position.saturating_add(1), 1, 1).map(|entries| !entries.is_empty())
        }
        None => {
            reader.read_states(source.0.as_bytes(), Some(position), 1, 1).map(|states| !states.is_empty())
        }
    };
    found.map_err(|error| StoreError::new(error.to_string()))
}

/// What a client sees of an item.
pub(super) fn view(
    reader: &Reader,
    client: &Client,
    grant: &SourceGrant,
    item: &Item,
    now_ms: impl FnOnce() -> u64,
) -> View {
    let payload = match grant.kind {
        SourceKind::State => Receipt::payload(&item.stored).map(Some).map_err(|error| error.to_string()),
        SourceKind::Log | SourceKind::Queue => match group_of(&grant.source) {
            None => inbox_payload(reader, client, item, now_ms),
            Some(group) => user_of(&client.session).map_or(Ok(None), |user| {
                let message = (Seq(item.position), &item.stored);
                group_log::payload(reader, &user, &group, message, now_ms())
                    .map_err(|error| error.to_string())
            }),
        },
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
        Err(error) => return View::Failed(StoreError::new(error)),
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
        share: None,
    })
}

fn inbox_payload(
    reader: &Reader,
    client: &Client,
    item: &Item,
    now_ms: impl FnOnce() -> u64,
) -> Result<Option<Bytes>, String> {
    if let Some(payload) = entry::same_for_all(&item.stored).map_err(|error| error.to_string())? {
        return Ok(Some(payload));
    }
    let (Some(owner), Some(device)) = (user_of(&client.session), device_of(client)) else { return Ok(None) };
    let fetch =
        |conversation: &ConversationId, seq: Seq| -> Result<Option<Bytes>, chasqui_storage::KvError> {
            let log: LogId = names::conversation(conversation);
            let entries = reader.read_log(&log, seq.0, 1, usize::MAX)?;
            Ok(entries.into_iter().find(|(found, _)| *found == seq.0).map(|(_, stored)| stored))
        };
    match entry::render(&item.stored, &owner, &device, now_ms(), fetch).map_err(|error| error.to_string())? {
        Rendered::Skip => Ok(None),
        Rendered::Event(payload) => Ok(Some(payload)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chasqui_proto::ChatName;
    use chasqui_storage::clock::SystemClock;
    use chasqui_storage::disk::RamDisk;
    use chasqui_storage::kv::ram::RamKv;
    use chasqui_storage::{Batch, Options, Storage};

    /// Reads to the end as a session does, whatever its buffer has room for; the positions it saw.
    fn positions(reader: &Reader, source: &SourceId, limit: ReadLimit) -> Vec<u64> {
        let (mut seen, mut after) = (Vec::new(), 0);
        loop {
            let page = read(reader, source, after, limit).unwrap();
            seen.extend(page.items.iter().map(|item| item.position));
            after = page.next;
            if page.end {
                return seen;
            }
        }
    }

    #[test]
    fn a_page_that_room_has_cut_is_not_the_last() {
        let bob = UserId::parse("bob").unwrap();
        let (disk, kv, clock) = (RamDisk::new(), RamKv::new(), SystemClock);
        let storage =
            Storage::open_with(Arc::new(disk), Arc::new(kv), Arc::new(clock), Options::default()).unwrap();
        let mut batch = Batch::new();
        for position in 1..=9 {
            batch.append(&names::inbox(&bob), position, &[b'x'; 300]);
            let chat = ChatName::parse(&format!("u/peer-{position}")).unwrap();
            let topic = names::receipt_topic(&bob, &chat);
            batch.set_state(&names::receipts(&bob), topic.as_bytes(), position, &[b'x'; 300], None);
        }
        storage.commit_and_wait(batch).unwrap();
        let all: Vec<u64> = (1..=9).collect();
        for source in [Source::Inbox(bob.clone()), Source::Receipts(bob)] {
            for bytes in [1, 299, 300, 301, 500, 1_000, 2_699, 2_700, 10_000] {
                for items in [1, 2, 9, 32] {
                    let limit = ReadLimit { items, bytes };
                    assert_eq!(positions(&storage.reader(), &source_id(&source), limit), all, "{limit:?}");
                }
            }
        }
    }
}
