use super::*;
use crate::codec::ByteStr;
use crate::source::{Item, SourceId};
use bytes::Bytes;

fn link() -> Arc<Link> {
    let key = SessionKey { owner: Arc::from("alice"), client_id: Arc::from("phone") };
    Link::new(key, Bounds { items: 2, bytes: 1 << 20, tail_items: 2 })
}

fn delivery(qos: QoS) -> Delivery {
    let message = Message {
        topic: ByteStr::from_static("t"),
        payload: Bytes::from_static(b"p"),
        qos,
        retain: false,
        properties: None,
        received_ms: 0,
        identifiers: Identifiers::new(),
        share: None,
    };
    Delivery {
        message: SharedMessage::new(message),
        qos,
        retain: false,
        identifiers: Identifiers::new(),
        share: None,
    }
}

fn tail(position: u64) -> Arc<Tail> {
    let item =
        Item { position, topic: ByteStr::from_static("u/alice/in"), stored: Bytes::new(), message: None };
    Arc::new(Tail { source: SourceId::new("in/alice"), items: vec![item] })
}

#[test]
fn a_latest_value_takes_the_room_of_plain_messages_and_is_left_out_without() {
    let link = link();
    let latest = || link.latest(delivery(QoS::AtMostOnce).message);
    assert_eq!(latest(), Pushed::Offline);
    link.connect();
    assert_eq!((latest(), latest(), latest()), (Pushed::Taken, Pushed::Taken, Pushed::Dropped));
    let mut events = Vec::new();
    link.take(&mut events, Waker::noop());
    assert!(matches!(events[..], [Event::Latest(_), Event::Latest(_)]));
}

#[test]
fn a_signal_takes_the_room_of_plain_messages_and_is_left_out_without() {
    let link = link();
    let signal = || link.signal(delivery(QoS::AtMostOnce).message);
    assert_eq!(signal(), Pushed::Offline);
    link.connect();
    assert_eq!((signal(), signal(), signal()), (Pushed::Taken, Pushed::Taken, Pushed::Dropped));
    assert_eq!(link.deliver(delivery(QoS::AtMostOnce)), Pushed::Dropped);
    let mut events = Vec::new();
    link.take(&mut events, Waker::noop());
    assert!(matches!(events[..], [Event::Direct(_), Event::Direct(_)]));
    assert_eq!(signal(), Pushed::Taken);
}

#[test]
fn nobody_connected_takes_nothing() {
    let link = link();
    assert_eq!(link.deliver(delivery(QoS::AtLeastOnce)), Pushed::Offline);
    assert!(!link.push(Event::Timer));
}

#[test]
fn a_full_mailbox_drops_qos_0_and_ends_the_connection_for_qos_1() {
    let link = link();
    link.connect();
    assert_eq!(link.deliver(delivery(QoS::AtLeastOnce)), Pushed::Taken);
    assert_eq!(link.deliver(delivery(QoS::AtMostOnce)), Pushed::Taken);
    assert_eq!(link.deliver(delivery(QoS::AtMostOnce)), Pushed::Dropped);
    assert_eq!(link.deliver(delivery(QoS::AtLeastOnce)), Pushed::Overflow);
    assert_eq!(link.deliver(delivery(QoS::AtLeastOnce)), Pushed::Overflow);
    let mut events = Vec::new();
    link.take(&mut events, Waker::noop());
    let closes = events.iter().filter(|event| matches!(event, Event::Close(..))).count();
    assert_eq!((events.len(), closes), (3, 1));
}

#[test]
fn what_is_only_offered_ends_nothing() {
    let link = link();
    assert_eq!(link.offer(delivery(QoS::AtLeastOnce)), Pushed::Offline);
    link.connect();
    assert_eq!(link.offer(delivery(QoS::AtLeastOnce)), Pushed::Taken);
    assert_eq!(link.offer(delivery(QoS::AtLeastOnce)), Pushed::Taken);
    assert_eq!(link.offer(delivery(QoS::AtLeastOnce)), Pushed::Dropped);
    let mut events = Vec::new();
    link.take(&mut events, Waker::noop());
    assert!(events.len() == 2 && events.iter().all(|event| matches!(event, Event::Deliver(_))));

    // What was taken counts until it is known what became of it; what waits in the session counts.
    assert_eq!(link.offer(delivery(QoS::AtLeastOnce)), Pushed::Dropped);
    link.set_waiting((1, 10));
    assert_eq!(link.offer(delivery(QoS::AtLeastOnce)), Pushed::Taken);
    assert_eq!(link.offer(delivery(QoS::AtLeastOnce)), Pushed::Dropped);
    assert_eq!(link.deliver(delivery(QoS::AtLeastOnce)), Pushed::Taken);
    link.set_waiting((0, 0));
    events.clear();
    link.take(&mut events, Waker::noop());
    events.clear();
    link.take(&mut events, Waker::noop());
    assert_eq!(link.offer(delivery(QoS::AtLeastOnce)), Pushed::Taken);
}

#[test]
fn too_many_tails_become_one_note() {
    let link = link();
    link.connect();
    for position in 1..=9 {
        link.push_tail(&tail(position));
    }
    let mut events = Vec::new();
    link.take(&mut events, Waker::noop());
    let tails = events.iter().filter(|event| matches!(event, Event::Tail(_))).count();
    let notes = events.iter().filter(|event| matches!(event, Event::Behind(_))).count();
    assert_eq!((tails, notes), (2, 1));
}
