//! How what belongs to a session is named in the store.
//!
//! A session is its owner, a zero byte, and its client id: no MQTT string holds U+0000 [MQTT-1.5.4-2], so the first
//! zero byte is where the owner ends.

use super::space;
use chasqui_broker::store::{Due, DueKind, SessionKey};
use chasqui_storage::{LogId, RecordKey};
use std::sync::Arc;

/// The session as bytes.
pub(super) fn of(session: &SessionKey) -> Vec<u8> {
    joined(&[], session)
}

/// The session that bytes name.
pub(super) fn parse(bytes: &[u8]) -> Option<SessionKey> {
    let (owner, client_id) = std::str::from_utf8(bytes).ok()?.split_once('\0')?;
    Some(SessionKey { owner: Arc::from(owner), client_id: Arc::from(client_id) })
}

/// Its record.
pub(super) fn record(session: &SessionKey) -> RecordKey {
    RecordKey::session(session.owner.as_bytes(), session.client_id.as_bytes())
}

/// The record of its cursors.
pub(super) fn cursors(session: &SessionKey) -> RecordKey {
    RecordKey::ordered(space::CURSORS, &of(session))
}

/// The log of plain messages that wait for it.
pub(super) fn queue(session: &SessionKey) -> LogId {
    LogId::new(joined(b"q/", session))
}

/// A QoS 2 publish of it.
pub(super) fn received(session: &SessionKey, packet_id: u16) -> Vec<u8> {
    let mut id = of(session);
    id.push(0);
    id.extend_from_slice(&packet_id.to_be_bytes());
    id
}

/// That it has had one.
pub(super) fn any_received(session: &SessionKey) -> RecordKey {
    RecordKey::ordered(space::RECEIVED, &of(session))
}

/// Where its QoS 2 publishes begin and end.
pub(super) fn all_received(session: &SessionKey) -> (Vec<u8>, Vec<u8>) {
    let (mut from, mut to) = (of(session), of(session));
    from.push(0);
    to.push(1);
    (from, to)
}

/// The packet id in the name of a QoS 2 publish.
pub(super) fn packet_id(id: &[u8]) -> Option<u16> {
    id.last_chunk::<2>().map(|id| u16::from_be_bytes(*id))
}

/// What falls due for it.
pub(super) fn due(due: &Due) -> Vec<u8> {
    joined(&[due.kind as u8], &due.session)
}

/// The kind and the session of something that falls due.
pub(super) fn parse_due(id: &[u8]) -> Option<(DueKind, SessionKey)> {
    let (kind, session) = id.split_first()?;
    Some((DueKind::from_u8(*kind)?, parse(session)?))
}

fn joined(prefix: &[u8], session: &SessionKey) -> Vec<u8> {
    [prefix, session.owner.as_bytes(), b"\0", session.client_id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(owner in "[^\0]{0,5}", client_id in "[^\0]{0,9}", at_ms: u64, kind in 0u8..3) {
            let session = SessionKey { owner: Arc::from(owner), client_id: Arc::from(client_id) };
            prop_assert_eq!(parse(&of(&session)), Some(session.clone()));
            let (from, to) = all_received(&session);
            let name = received(&session, at_ms as u16);
            prop_assert!(from <= name && name < to);
            prop_assert_eq!(packet_id(&name), Some(at_ms as u16));
            let kind = DueKind::from_u8(kind).unwrap();
            let id = due(&Due { at_ms, kind, session: session.clone() });
            prop_assert_eq!(parse_due(&id), Some((kind, session)));
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = (parse(&bytes), parse_due(&bytes));
        }
    }
}
