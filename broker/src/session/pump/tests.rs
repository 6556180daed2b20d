use super::super::feed::{Feed, Reading};
use super::super::subscribing::Reply;
use super::super::{Session, Terms};
use super::*;
use crate::codec::PacketId;
use crate::codec::client::{self, ServerPacket};
use crate::codec::{ByteStr, Limits, Peer, Version};
use crate::config::Config;
use crate::hook::{Admission, Ask, Command, Granted, Hook, Login, Occasion, Roles, Route};
use crate::link::{Event, Link};
use crate::message::Identifiers;
use crate::shared::SharedMessage;
use crate::source::SourceGrant;
use crate::stats::Stats;
use crate::store::{SessionKey, StoredSubscription};
use bytes::Bytes;
use smallvec::SmallVec;

const ITEMS: u64 = 100;
const SHOWN_BYTES: usize = 10_000;

/// A log of small items that are shown as large messages.
struct Large;

impl Hook for Large {
    fn authenticate(&self, _: &Login) -> Admission {
        unreachable!("nobody connects")
    }
    fn route(&self, _: &Client, _: &str) -> Route {
        Route::Plain
    }
    fn submit(&self, _: &Arc<Client>, _: Vec<Command>) {}
    fn subscribe(&self, _: &Arc<Client>, _: Occasion, _: Vec<Ask>, _: Granted) {}
    fn read(&self, _: &Client, _: &SourceId, _: u64, _: ReadLimit) -> Result<Read, StoreError> {
        Ok(Read::default())
    }
    fn view(&self, _: &Client, _: &SourceGrant, item: &Item) -> View {
        let mut payload = item.position.to_be_bytes().to_vec();
        payload.resize(SHOWN_BYTES, b'x');
        View::Send(Message {
            topic: item.topic.clone(),
            payload: payload.into(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            received_ms: 0,
            identifiers: Identifiers::new(),
            share: None,
        })
    }
}

impl SourceReader for Large {
    fn read(
        &self,
        _: &Client,
        _: &SourceId,
        _: SourceKind,
        after: u64,
        limit: ReadLimit,
    ) -> Result<Read, StoreError> {
        let item = |position| Item {
            position,
            topic: ByteStr::from_static("u/bob/in"),
            stored: Bytes::new(),
            message: None,
        };
        let items: Vec<Item> = (after + 1..=ITEMS).take(limit.items).map(item).collect();
        let next = items.last().map_or(after, |item| item.position);
        Ok(Read { items, next, end: next == ITEMS, gap: false })
    }
    fn queue_end(&self, _: &Client) -> Result<u64, StoreError> {
        Ok(0)
    }
    fn retained(&self, _: &str, _: Option<&Resume>, _: usize) -> Result<RetainedPage, StoreError> {
        Ok(RetainedPage::default())
    }
}

fn session(config: &Config) -> Session {
    let key = SessionKey { owner: Arc::from("bob"), client_id: Arc::from("phone") };
    let client = Arc::new(Client {
        session: key.clone(),
        version: Version::V311,
        persistent: true,
        connection: 1,
        roles: Roles::default(),
        problem_information: true,
        link: Link::new(key, config.mailbox),
    });
    let terms = Terms {
        peer: Peer::unlimited(Version::V311),
        window: 32,
        expiry_s: 60,
        keep_alive_s: 0,
        bounds: config.mailbox,
        aliases: 0,
    };
    let mut session = Session::new(client, terms, None, 0, 0);
    let source = SourceId::new("in/bob");
    let grant = SourceGrant {
        source: source.clone(),
        kind: SourceKind::Log,
        start: 0,
        retained_up_to: 0,
        filter: Arc::from("u/bob/in"),
        encoding: 0,
    };
    let mut feed = Feed::new(source, SourceKind::Log, 0);
    let subscription = Arc::from("u/bob/in");
    feed.read_for(Reading { grant, qos: QoS::AtMostOnce, identifier: None, subscription });
    session.feeds.push(feed);
    session
}

/// What is to be written, taken apart.
fn written(out: &mut Vec<u8>) -> Vec<ServerPacket> {
    let bytes = Bytes::from(std::mem::take(out));
    let (mut at, mut packets) = (0, Vec::new());
    while let Some((packet, len)) =
        client::decode(Version::V311, &bytes, at, &Limits::UNLIMITED).expect("valid packets")
    {
        packets.push(packet);
        at += len;
    }
    packets
}

fn value(topic: &'static str, payload: &'static str) -> Event {
    Event::Latest(SharedMessage::new(Message {
        topic: ByteStr::from_static(topic),
        payload: Bytes::from_static(payload.as_bytes()),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: None,
        received_ms: 0,
        identifiers: Identifiers::new(),
        share: None,
    }))
}

fn subscription(filter: &str, plain: bool) -> StoredSubscription {
    StoredSubscription {
        filter: Arc::from(filter),
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        identifier: None,
        plain,
    }
}

#[test]
fn of_latest_values_that_find_no_room_the_newest_goes_out_when_there_is() {
    let config = Config::default();
    let stats = Stats::default();
    let cx =
        Context { hook: &Large, reader: &Large, config: &config, stats: &stats, now_ms: 1, is_busy: false };
    let mut session = session(&config);
    session.feeds.clear();
    let filters = [("u/bob/a", false), ("u/bob/b", false), ("u/bob/#", false), ("u/bob/plain", true)];
    session.subscriptions = filters.map(|(filter, plain)| subscription(filter, plain)).into();
    let happens = |session: &mut Session, values: &[(&'static str, &'static str)]| -> Vec<String> {
        let mut turn = Turn::default();
        for (topic, payload) in values {
            session.event(value(topic, payload), &cx, &mut turn).expect("nothing fails here");
        }
        session.pump(&cx, &mut turn).expect("nothing fails here");
        let seen = written(&mut session.out).into_iter().map(|packet| match packet {
            ServerPacket::Publish(publish, _) => {
                format!("{} {}", publish.topic, String::from_utf8_lossy(&publish.payload))
            }
            other => panic!("unexpected: {other:?}"),
        });
        seen.collect()
    };
    // For who has subscribed to the topic by name, and for nobody else.
    let values = [("u/bob/a", "1"), ("u/bob/c", "1"), ("u/bob/plain", "1"), ("u/bob/b", "1")];
    assert_eq!(happens(&mut session, &values), ["u/bob/a 1", "u/bob/b 1"]);
    // A SUBACK waits for the store: nothing overtakes it.
    let reply = Reply::Unsuback { packet_id: PacketId::MIN, codes: SmallVec::new() };
    session.pending = Some(Box::new(Pending::Saving(reply)));
    let values = [("u/bob/a", "2"), ("u/bob/b", "2"), ("u/bob/a", "3")];
    assert_eq!(happens(&mut session, &values), Vec::<String>::new());
    session.pending = None;
    assert_eq!(happens(&mut session, &[("u/bob/b", "3")]), ["u/bob/a 3", "u/bob/b 3"]);
    assert_eq!(happens(&mut session, &[]), Vec::<String>::new());
    // What was given up meanwhile is for nobody.
    session.pending =
        Some(Box::new(Pending::Saving(Reply::Unsuback { packet_id: PacketId::MIN, codes: SmallVec::new() })));
    happens(&mut session, &[("u/bob/a", "4"), ("u/bob/b", "4")]);
    session.pending = None;
    session.subscriptions.remove(0);
    assert_eq!(happens(&mut session, &[]), ["u/bob/b 4"]);
}

fn positions(out: &mut Vec<u8>) -> Vec<u64> {
    let bytes = Bytes::from(std::mem::take(out));
    let (mut at, mut found) = (0, Vec::new());
    while let Some((packet, len)) =
        client::decode(Version::V311, &bytes, at, &Limits::UNLIMITED).expect("valid packets")
    {
        let ServerPacket::Publish(publish, _) = packet else { panic!("unexpected: {packet:?}") };
        let position = publish.payload.first_chunk().expect("a payload begins with its position");
        found.push(u64::from_be_bytes(*position));
        at += len;
    }
    found
}

#[test]
fn a_buffer_that_is_full_takes_no_more_whatever_items_are_shown_as() {
    let config = Config { out_high_water: 25_000, ..Config::default() };
    let stats = Stats::default();
    let cx =
        Context { hook: &Large, reader: &Large, config: &config, stats: &stats, now_ms: 1, is_busy: false };
    let mut session = session(&config);
    let mut seen = Vec::new();
    loop {
        session.pump(&cx, &mut Turn::default()).expect("nothing fails here");
        assert!(session.out.len() < config.out_high_water + SHOWN_BYTES + 100, "{}", session.out.len());
        let more = positions(&mut session.out);
        if more.is_empty() {
            break;
        }
        seen.extend(more);
    }
    assert_eq!(seen, (1..=ITEMS).collect::<Vec<_>>());
}
