//! A session's record: what outlives a connection, beside the cursors. Versioned binary encoding.
//!
//! Lengths are little-endian `u32`, so that a record is read without allocation beyond its strings. An unknown version or a short
//! record is refused, never guessed at.

use super::StoreError;
use crate::codec::{QoS, Will};
use crate::message::{Identifiers, Message};
use crate::source::SourceId;
use bytes::Bytes;
use std::sync::Arc;

/// The version written by this program.
const VERSION: u8 = 2;
/// The oldest version it reads.
const OLDEST: u8 = 1;

/// All that is stored of a session, beside its cursors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SessionRecord {
    /// Session expiry interval in seconds, from the last disconnect; `u32::MAX`: never [MQTT-3.1.2-23].
    pub expiry_s: u32,
    /// When the network connection was closed, Unix milliseconds; 0 while it is open.
    pub disconnected_ms: u64,
    /// True when the last connection ended in an orderly way, so that `in_flight` and `last_packet_id` hold.
    pub clean_stop: bool,
    /// What is subscribed.
    pub subscriptions: Vec<StoredSubscription>,
    /// The will of the connection, until it is published or discarded [MQTT-3.1.2-8].
    pub will: Option<StoredWill>,
    /// QoS 1 messages sent and not acknowledged when the connection ended, in the order sent [MQTT-4.6.0-1]. Those of QoS 2 are with
    /// the cursors: [`Cursors::flights`](super::Cursors::flights).
    pub in_flight: Vec<InFlight>,
    /// How far the sources were read whose cursor stands further back: what lies between and is not in flight is done with.
    pub read: Vec<(SourceId, u64)>,
    /// The packet id used last.
    pub last_packet_id: u16,
    /// Tells this session from one that had its name before: the connection that began it.
    pub born: u64,
    /// Messages in the session's queue up to here may have been put there for a filter that was revoked since: each is delivered
    /// only if a filter that is left matches it.
    pub revoked_up_to: u64,
}

/// One subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSubscription {
    /// The filter as written.
    pub filter: Arc<str>,
    /// The QoS granted.
    pub qos: QoS,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// The subscription identifier.
    pub identifier: Option<u32>,
    /// Whether the filter stands in the router's index.
    pub plain: bool,
}

/// A message in flight to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    /// The packet id it was sent with; used again for the resend [MQTT-4.4.0-1].
    pub packet_id: u16,
    /// The source it came from.
    pub source: SourceId,
    /// Its position there.
    pub position: u64,
}

/// A will with what is needed to publish it without its connection.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredWill {
    /// The message to publish.
    pub message: Message,
    /// Seconds between disconnect and publication.
    pub delay_s: u32,
    /// The connection that left it: whoever publishes it, and however often, it is the will of this one.
    pub connection: u64,
}

impl StoredWill {
    /// The stored form of a CONNECT's will.
    pub fn new(will: &Will, connection: u64) -> StoredWill {
        let message = Message {
            topic: will.topic.detached(),
            payload: Bytes::copy_from_slice(&will.payload),
            qos: will.qos,
            retain: will.retain,
            properties: will.publish_properties(),
            received_ms: 0,
            identifiers: Identifiers::new(),
            share: None,
        };
        StoredWill { message, delay_s: will.delay_interval(), connection }
    }
}

impl SessionRecord {
    /// Whether the session ends with its connection.
    pub fn ends_with_connection(&self) -> bool {
        self.expiry_s == 0
    }

    /// When the session expires, Unix milliseconds; `None` while connected or when it never does.
    pub fn expires_at_ms(&self) -> Option<u64> {
        (self.disconnected_ms != 0 && self.expiry_s != u32::MAX)
            .then(|| self.disconnected_ms.saturating_add(u64::from(self.expiry_s) * 1000))
    }

    /// When the will is published if the client does not come back, Unix milliseconds: after its delay, or when the session
    /// ends, whichever is first [MQTT-3.1.3-9].
    pub fn will_at_ms(&self) -> Option<u64> {
        let will = self.will.as_ref()?;
        let delay = u64::from(will.delay_s.min(self.expiry_s)) * 1000;
        (self.disconnected_ms != 0).then(|| self.disconnected_ms.saturating_add(delay))
    }

    /// The record as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(128));
        out.u8(VERSION);
        out.u32(self.expiry_s);
        out.u64(self.disconnected_ms);
        out.u8(u8::from(self.clean_stop));
        out.u16(self.last_packet_id);
        out.u64(self.revoked_up_to);
        out.u64(self.born);
        out.u32(self.subscriptions.len() as u32);
        for subscription in &self.subscriptions {
            out.bytes(subscription.filter.as_bytes());
            out.u8(subscription.qos.as_u8()
                | u8::from(subscription.no_local) << 2
                | u8::from(subscription.retain_as_published) << 3
                | u8::from(subscription.plain) << 4);
            out.u32(subscription.identifier.unwrap_or(0));
        }
        out.u32(self.read.len() as u32);
        for (source, position) in &self.read {
            out.bytes(source.0.as_bytes());
            out.u64(*position);
        }
        out.u32(self.in_flight.len() as u32);
        for message in &self.in_flight {
            out.u16(message.packet_id);
            out.bytes(message.source.0.as_bytes());
            out.u64(message.position);
        }
        match &self.will {
            None => out.u8(0),
            Some(will) => {
                out.u8(1);
                out.u32(will.delay_s);
                out.u64(will.connection);
                out.bytes(&will.message.encode());
            }
        }
        out.0
    }

    /// Reads a record back.
    pub fn decode(bytes: &[u8]) -> Result<SessionRecord, StoreError> {
        let mut input = Reader(bytes);
        let version = input.u8()?;
        if !(OLDEST..=VERSION).contains(&version) {
            return Err(StoreError::new(format!(
                "a session record has version {version}, this program reads versions {OLDEST} to {VERSION}: start a newer chasqui on this store"
            )));
        }
        let expiry_s = input.u32()?;
        let disconnected_ms = input.u64()?;
        let clean_stop = input.u8()? != 0;
        let last_packet_id = input.u16()?;
        let (revoked_up_to, born) = if version < 2 { (0, 0) } else { (input.u64()?, input.u64()?) };
        let mut subscriptions = Vec::new();
        for _ in 0..input.u32()? {
            let filter = Arc::from(input.str()?);
            let bits = input.u8()?;
            let identifier = Some(input.u32()?).filter(|identifier| *identifier != 0);
            subscriptions.push(StoredSubscription {
                filter,
                qos: qos(bits & 3)?,
                no_local: bits & 4 != 0,
                retain_as_published: bits & 8 != 0,
                identifier,
                plain: bits & 16 != 0,
            });
        }
        let mut read = Vec::new();
        if version >= 2 {
            for _ in 0..input.u32()? {
                read.push((SourceId::new(input.str()?), input.u64()?));
            }
        }
        let mut in_flight: Vec<InFlight> = Vec::new();
        for _ in 0..input.u32()? {
            in_flight.push(InFlight {
                packet_id: input.u16()?,
                source: SourceId::new(input.str()?),
                position: input.u64()?,
            });
        }
        if version < 2 {
            // The last one in flight was the last one that was read.
            read = in_flight.iter().map(|message| (message.source.clone(), message.position)).collect();
        }
        let will = match input.u8()? {
            0 => None,
            _ => Some(input.will()?),
        };
        Ok(SessionRecord {
            expiry_s,
            disconnected_ms,
            clean_stop,
            subscriptions,
            will,
            in_flight,
            read,
            last_packet_id,
            born,
            revoked_up_to,
        })
    }
}

fn damaged() -> StoreError {
    StoreError::new("a session record is damaged: it ends too early or holds an impossible value")
}

fn qos(bits: u8) -> Result<QoS, StoreError> {
    QoS::from_u8(bits).ok_or_else(damaged)
}

struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn bytes(&mut self, value: &[u8]) {
        self.u32(value.len() as u32);
        self.0.extend_from_slice(value);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], StoreError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or_else(damaged)?;
        self.0 = tail;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        Ok(self.take(N)?.try_into().expect("take gives exactly N bytes"))
    }
    fn u8(&mut self) -> Result<u8, StoreError> {
        Ok(self.array::<1>()?[0])
    }
    fn u16(&mut self) -> Result<u16, StoreError> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    fn u32(&mut self) -> Result<u32, StoreError> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    fn u64(&mut self) -> Result<u64, StoreError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    fn bytes(&mut self) -> Result<&'a [u8], StoreError> {
        let len = self.u32()? as usize;
        self.take(len)
    }
    fn str(&mut self) -> Result<&'a str, StoreError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| damaged())
    }
    fn will(&mut self) -> Result<StoredWill, StoreError> {
        let delay_s = self.u32()?;
        let connection = self.u64()?;
        Ok(StoredWill { message: Message::decode(self.bytes()?)?, delay_s, connection })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_qos() -> impl Strategy<Value = QoS> {
        (0u8..3).prop_map(|bits| QoS::from_u8(bits).expect("0, 1 and 2 are QoS levels"))
    }

    fn message(topic: &str, payload: Vec<u8>, qos: QoS, retain: bool) -> Message {
        Message {
            topic: topic.try_into().expect("short"),
            payload: Bytes::from(payload),
            qos,
            retain,
            properties: None,
            received_ms: 0,
            identifiers: Identifiers::new(),
            share: None,
        }
    }

    prop_compose! {
        fn any_subscription()(
            filter in "[a-z/+#é]{1,20}", qos in any_qos(), no_local: bool, retain_as_published: bool,
            identifier in proptest::option::of(1u32..268_435_456), plain: bool,
        ) -> StoredSubscription {
            StoredSubscription { filter: Arc::from(filter), qos, no_local, retain_as_published, identifier, plain }
        }
    }

    prop_compose! {
        fn any_will()(topic in "[a-z/]{1,20}", payload: Vec<u8>, qos in any_qos(), retain: bool, delay_s: u32, connection: u64) -> StoredWill {
            StoredWill { message: message(&topic, payload, qos, retain), delay_s, connection }
        }
    }

    prop_compose! {
        fn any_record()(
            expiry_s: u32, disconnected_ms: u64, clean_stop: bool, last_packet_id: u16, born: u64, revoked_up_to: u64,
            subscriptions in proptest::collection::vec(any_subscription(), 0..4),
            will in proptest::option::of(any_will()),
            read in proptest::collection::vec(("[a-z$/]{1,9}", any::<u64>()), 0..4),
            in_flight in proptest::collection::vec((any::<u16>(), "[a-z$/]{1,9}", any::<u64>()), 0..4),
        ) -> SessionRecord {
            let read = read.into_iter().map(|(source, at)| (SourceId::new(&source), at)).collect();
            let in_flight = in_flight
                .into_iter()
                .map(|(packet_id, source, position)| InFlight { packet_id, source: SourceId::new(&source), position })
                .collect();
            SessionRecord { expiry_s, disconnected_ms, clean_stop, subscriptions, will, in_flight, read, last_packet_id, born, revoked_up_to }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(record in any_record()) {
            prop_assert_eq!(SessionRecord::decode(&record.encode()).unwrap(), record);
        }

        #[test]
        fn a_cut_record_is_refused(record in any_record(), cut in any::<prop::sample::Index>()) {
            let bytes = record.encode();
            prop_assert!(SessionRecord::decode(&bytes[..cut.index(bytes.len())]).is_err());
        }
    }

    #[test]
    fn a_record_of_an_older_version_is_read() {
        let in_flight = vec![InFlight { packet_id: 3, source: SourceId::new("q"), position: 9 }];
        let record = SessionRecord { expiry_s: 60, last_packet_id: 7, in_flight, ..SessionRecord::default() };
        let mut bytes = record.encode();
        bytes[0] = 1;
        // Behind version, expiry, time, flag and packet id; and how far sources were read, behind the subscriptions.
        bytes.drain(36..40);
        bytes.drain(16..32);
        let read = vec![(SourceId::new("q"), 9)];
        assert_eq!(SessionRecord::decode(&bytes), Ok(SessionRecord { read, ..record }));
    }

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let mut bytes = SessionRecord::default().encode();
        bytes[0] = 9;
        let sentence = SessionRecord::decode(&bytes).unwrap_err().to_string();
        assert!(sentence.contains("version 9"), "{sentence}");
    }

    #[test]
    fn a_will_waits_for_its_delay_or_the_end_of_the_session() {
        let message = message("t", Vec::new(), QoS::AtMostOnce, false);
        let will = StoredWill { message, delay_s: 30, connection: 1 };
        let record = |expiry_s| SessionRecord {
            expiry_s,
            disconnected_ms: 1_000,
            will: Some(will.clone()),
            ..SessionRecord::default()
        };
        assert_eq!(record(u32::MAX).will_at_ms(), Some(31_000));
        assert_eq!(record(10).will_at_ms(), Some(11_000));
        assert_eq!(SessionRecord { disconnected_ms: 0, ..record(10) }.will_at_ms(), None);
    }
}
