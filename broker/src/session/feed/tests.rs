use super::*;
use crate::codec::ByteStr;
use bytes::Bytes;
use std::sync::Arc;

fn item(position: u64) -> Item {
    Item {
        position,
        topic: ByteStr::from_static("u/bob/in"),
        stored: Bytes::from_static(b"x"),
        message: None,
    }
}

fn reading(filter: &str, qos: QoS, identifier: Option<u32>) -> Reading {
    let grant = SourceGrant {
        source: SourceId::new("in/bob"),
        kind: SourceKind::Log,
        start: 0,
        retained_up_to: 0,
        filter: Arc::from(filter),
        encoding: u8::try_from(filter.len()).unwrap(),
    };
    Reading { grant, qos, identifier, subscription: Arc::from(filter) }
}

fn caught_up(kind: SourceKind) -> Feed {
    let mut feed = Feed::new(SourceId::new("in/bob"), kind, 0);
    feed.read_for(reading("u/bob/in", QoS::AtLeastOnce, None));
    feed.was_read(&Read { end: true, ..Read::default() });
    feed
}

fn send_all(feed: &mut Feed) {
    while let Some(item) = feed.next_waiting() {
        feed.sent_item(item, false, 0);
    }
}

#[test]
fn the_cursor_is_the_acknowledged_prefix() {
    let mut feed = caught_up(SourceKind::Log);
    feed.announce(&[item(1), item(2), item(3)]);
    send_all(&mut feed);
    feed.acknowledge(2);
    feed.acknowledge(3);
    assert!(feed.take_move().is_none());
    feed.acknowledge(1);
    let moved = feed.take_move().unwrap();
    let acknowledged: Vec<u64> = moved.acknowledged.iter().map(|item| item.position).collect();
    assert_eq!((moved.to, acknowledged, moved.by_client), (3, vec![1, 2, 3], true));
    assert!(feed.take_move().is_none());
}

#[test]
fn what_is_skipped_moves_the_cursor_in_its_turn() {
    let mut feed = caught_up(SourceKind::Log);
    feed.skip_to(1);
    assert_eq!(feed.acked(), 1);
    feed.announce(&[item(2)]);
    send_all(&mut feed);
    feed.skip_to(4);
    assert_eq!(feed.acked(), 1);
    feed.acknowledge(2);
    assert_eq!(feed.acked(), 4);
    assert_eq!(feed.take_move().unwrap().acknowledged.len(), 1);
}

#[test]
fn a_feed_that_is_behind_takes_nothing_that_is_announced() {
    let mut feed = Feed::new(SourceId::new("in/bob"), SourceKind::Log, 0);
    feed.read_for(reading("u/bob/in", QoS::AtLeastOnce, None));
    feed.announce(&[item(7)]);
    assert!(feed.next_waiting().is_none() && feed.must_read());
}

#[test]
fn too_much_waiting_sends_the_feed_back_to_the_store() {
    let mut feed = caught_up(SourceKind::Log);
    for position in 1..=(MAX_WAITING as u64 + 1) {
        feed.announce(&[item(position)]);
    }
    assert!(feed.must_read() && feed.next_waiting().is_none());
    assert_eq!(feed.sent(), 0);
}

#[test]
fn a_newer_value_of_a_state_takes_the_place_of_the_older_one() {
    let mut feed = caught_up(SourceKind::State);
    feed.announce(&[item(1), item(2)]);
    let sent = feed.next_waiting().unwrap();
    assert_eq!(sent.position, 2);
    assert!(feed.next_waiting().is_none());
    feed.sent_item(sent, false, 0);
    assert_eq!(feed.superseded("u/bob/in"), Some(2));
    feed.sent_item(item(3), false, 0);
    feed.acknowledge(3);
    assert_eq!(feed.take_move().unwrap().to, 3);
}

#[test]
fn what_is_passed_moves_the_cursor_and_was_not_acknowledged() {
    let mut feed = caught_up(SourceKind::Log);
    feed.announce(&[item(1), item(2)]);
    send_all(&mut feed);
    feed.pass(1);
    let moved = feed.take_move().unwrap();
    assert_eq!((moved.to, moved.acknowledged.len(), moved.by_client), (1, 0, false));
    feed.acknowledge(2);
    let moved = feed.take_move().unwrap();
    assert_eq!((moved.to, moved.acknowledged.len(), moved.by_client), (2, 1, true));
}

#[test]
fn overlapping_subscriptions_deliver_once_in_the_encoding_subscribed_last() {
    let mut feed = caught_up(SourceKind::Log);
    feed.read_for(reading("u/bob/#", QoS::AtMostOnce, Some(7)));
    let item = item(1);
    let manner = feed.manner(&item).unwrap();
    assert_eq!(manner.qos, QoS::AtLeastOnce);
    assert_eq!(&*manner.grant.unwrap().filter, "u/bob/#");
    assert_eq!(manner.identifiers.as_slice(), [7]);
    feed.read_for(reading("u/bob/in", QoS::AtMostOnce, Some(8)));
    let manner = feed.manner(&item).unwrap();
    assert_eq!((manner.qos, &*manner.grant.unwrap().filter), (QoS::AtMostOnce, "u/bob/in"));
    assert!(feed.stop_reading_for("u/bob/in") && feed.stop_reading_for("u/bob/#"));
    assert!(feed.manner(&item).is_none());
}

#[test]
fn what_is_announced_again_while_it_waits_takes_the_place_of_what_waited() {
    let mut feed = caught_up(SourceKind::Log);
    feed.announce(&[item(1), item(2), item(3)]);
    let first = feed.next_waiting().unwrap();
    feed.sent_item(first, false, 0);
    let erased = |position| Item { stored: Bytes::from_static(b"erased"), ..item(position) };
    feed.announce(&[erased(1), erased(2), item(4)]);
    let waited: Vec<(u64, Bytes)> =
        std::iter::from_fn(|| feed.next_waiting()).map(|item| (item.position, item.stored)).collect();
    let expected: [(u64, &[u8]); 3] = [(2, b"erased"), (3, b"x"), (4, b"x")];
    assert_eq!(waited, expected.map(|(position, stored)| (position, Bytes::from_static(stored))));
    assert_eq!(feed.waiting_bytes, 0, "what it takes in memory is counted");
}

#[test]
fn a_session_has_a_place_in_so_many_sources_and_reads_again_what_it_has_one_in() {
    let log = |n: usize| SourceId::new(&format!("log/{n}"));
    let grant = |n: usize| SourceGrant { source: log(n), ..reading("x", QoS::AtLeastOnce, None).grant };
    let mut feeds: Vec<Feed> = (1..MAX_FEEDS).map(|n| Feed::new(log(n), SourceKind::Log, 0)).collect();
    assert!(has_room(&feeds, &[grant(0)]));
    assert!(!has_room(&feeds, &[grant(0), grant(MAX_FEEDS)]));
    feeds.push(Feed::new(log(0), SourceKind::Log, 0));
    assert!(!has_room(&feeds, &[grant(MAX_FEEDS)]));
    assert!(has_room(&feeds, &[grant(0), grant(1)]), "these are no new ones");
}
