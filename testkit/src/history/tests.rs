//! One broken history for each promise, made from one that is in order.

use super::*;

mod groups;

fn laptop() -> Device {
    Device::new("alice", "laptop")
}

fn phone() -> Device {
    Device::new("bob", "phone")
}

fn desk() -> Device {
    Device::new("bob", "desk")
}

fn chat() -> Conversation {
    Conversation::of("bob", "alice")
}

fn id(number: u64) -> MessageId {
    format!("laptop-{number}").into()
}

fn sent(number: u64) -> Event {
    Event::Sent { device: laptop(), conversation: chat(), id: id(number) }
}

fn acked(number: u64, seq: u64) -> Event {
    Event::Acknowledged { device: laptop(), id: id(number), seq: Some(seq) }
}

fn got(device: Device, seq: u64) -> Event {
    // An inbox has other entries too.
    Event::Delivered { device, position: seq * 10, conversation: chat(), seq, id: id(seq), dup: false }
}

fn confirmed(device: Device, seq: u64) -> Event {
    Event::Confirmed { device, position: seq * 10 }
}

fn connected(device: Device, resumed: bool) -> Event {
    Event::Connected { device, resumed }
}

fn receipt(delivered: u64, read: u64) -> Event {
    Event::Receipt { device: laptop(), conversation: chat(), delivered, read }
}

fn said_read(up_to: u64) -> Event {
    Event::SaidRead { device: phone(), conversation: chat(), up_to }
}

fn found(number: u64, seq: u64) -> Event {
    Event::Found { conversation: chat(), seq, id: id(number) }
}

/// Three messages, a crash with the third unacknowledged, a second delivery that is as it should be, receipts.
fn good() -> Vec<Event> {
    let mut events = vec![
        connected(phone(), false),
        Event::Subscribed { device: phone() },
        connected(desk(), false),
        Event::Subscribed { device: desk() },
        Event::Left { device: desk() },
        connected(laptop(), false),
    ];
    events.extend([sent(1), acked(1, 1), sent(2), got(phone(), 1), confirmed(phone(), 1), receipt(1, 0)]);
    events.extend([acked(2, 2), got(phone(), 2), confirmed(phone(), 2), sent(3), Event::Crashed]);
    events.extend([
        connected(laptop(), true),
        sent(3),
        acked(3, 3),
        connected(phone(), true),
        got(phone(), 2),
    ]);
    events.extend([
        confirmed(phone(), 2),
        got(phone(), 3),
        confirmed(phone(), 3),
        said_read(2),
        receipt(3, 2),
    ]);
    events.extend([Event::Left { device: phone() }, connected(phone(), true), connected(desk(), true)]);
    events.extend((1..=3).flat_map(|seq| [got(desk(), seq), confirmed(desk(), seq)]));
    events.extend((1..=3).map(|seq| found(seq, seq)));
    events
}

fn index_of(events: &[Event], wanted: &Event) -> usize {
    events.iter().position(|event| event == wanted).expect("the event is in the history")
}

fn last_index_of(events: &[Event], wanted: &Event) -> usize {
    events.iter().rposition(|event| event == wanted).expect("the event is in the history")
}

/// The good history with one event in the place of another.
fn with(wanted: &Event, instead: Event) -> Vec<Event> {
    let mut events = good();
    let at = last_index_of(&events, wanted);
    events[at] = instead;
    events
}

fn without(wanted: &Event) -> Vec<Event> {
    let mut events = good();
    events.retain(|event| event != wanted);
    events
}

fn before(wanted: &Event, new: Event) -> Vec<Event> {
    let mut events = good();
    let at = last_index_of(&events, wanted);
    events.insert(at, new);
    events
}

fn and(new: impl IntoIterator<Item = Event>) -> Vec<Event> {
    let mut events = good();
    events.extend(new);
    events
}

#[track_caller]
fn refused(events: &[Event], promise: Promise, sentence: &str) {
    let broken = check(events).expect_err("the history is broken");
    assert!(broken.promises().contains(&promise), "{broken}");
    assert!(broken.0.iter().any(|violation| violation.what.contains(sentence)), "{broken}");
    assert!(broken.to_string().contains(promise.words()));
}

#[test]
fn a_good_history_passes() {
    let figures = check(&good()).unwrap();
    let expected = Figures {
        messages: 3,
        resent: 1,
        acknowledged: 3,
        delivered: 6,
        delivered_again: 1,
        receipts: 2,
        connections: 7,
        crashes: 1,
    };
    assert_eq!(figures, expected);
    assert_eq!(unacknowledged_at_crashes(&good()), [1]);
}

#[test]
fn what_was_acknowledged_and_is_gone() {
    refused(
        &without(&found(3, 3)),
        Promise::AcknowledgedIsKept,
        "laptop-3 was acknowledged, 0 crashes before",
    );
    // Lost, and its number given to another.
    let mut events = good();
    events.truncate(index_of(&events, &Event::Crashed) + 1);
    events.extend([found(1, 1), found(3, 2)]);
    refused(&events, Promise::AcknowledgedIsKept, "laptop-2 was acknowledged, 1 crashes before");
    refused(&events, Promise::OneMessagePerNumber, "at the end that is laptop-3");
}

#[test]
fn a_message_that_was_never_acknowledged_may_be_lost_or_kept() {
    let mut events = good();
    events.truncate(index_of(&events, &Event::Crashed) + 1);
    events.extend([found(1, 1), found(2, 2)]);
    events.extend([connected(desk(), true), got(desk(), 1), got(desk(), 2)]);
    assert_eq!(check(&events).unwrap().acknowledged, 2);
    events.extend([found(3, 3), got(desk(), 3), connected(phone(), true), got(phone(), 3)]);
    assert_eq!(check(&events).unwrap().messages, 3);
}

#[test]
fn a_message_twice() {
    refused(
        &and([found(3, 4)]),
        Promise::Once,
        "laptop-3 is number 3 of alice:bob and number 4 of alice:bob",
    );
}

#[test]
fn messages_out_of_order() {
    let mut events = with(&found(2, 2), found(3, 2));
    let at = last_index_of(&events, &found(3, 3));
    events[at] = found(2, 3);
    refused(&events, Promise::InOrder, "sent laptop-2 before laptop-3");
    // By another device, after the first had its answer.
    let tablet = Device::new("alice", "tablet");
    let late = Event::Sent { device: tablet, conversation: chat(), id: "late".into() };
    let mut events = before(&found(1, 1), late);
    let at = last_index_of(&events, &found(3, 3));
    events.insert(at, Event::Found { conversation: chat(), seq: 3, id: "late".into() });
    events[at + 1] = found(3, 4);
    refused(&events, Promise::InOrder, "late was sent when laptop-3");
}

#[test]
fn a_gap_in_the_numbers() {
    refused(&with(&found(3, 3), found(3, 4)), Promise::NoGaps, "number 3 was to come, and 4 did");
}

#[test]
fn another_number_when_sent_again() {
    refused(&before(&found(1, 1), acked(3, 4)), Promise::SameNumber, "as number 3, and later as number 4");
    refused(
        &with(&acked(3, 3), acked(3, 2)),
        Promise::SameNumber,
        "as number 2, and is number 3 of alice:bob",
    );
}

#[test]
fn a_number_that_names_two_messages() {
    let other = Event::Delivered {
        device: desk(),
        position: 20,
        conversation: chat(),
        seq: 2,
        id: id(3),
        dup: false,
    };
    refused(&with(&got(desk(), 2), other), Promise::OneMessagePerNumber, "bob/desk got laptop-3 as number 2");
    let unknown = Event::Found { conversation: chat(), seq: 4, id: "nobody's".into() };
    refused(&and([unknown]), Promise::OneMessagePerNumber, "which nobody sent there");
    // Shown, never acknowledged, and gone.
    refused(&and([got(desk(), 4)]), Promise::OneMessagePerNumber, "at the end there is none such");
}

#[test]
fn a_reader_that_misses_one() {
    let events = without(&got(desk(), 3));
    refused(&events, Promise::ReachesEveryReader, "bob/desk never got laptop-3, number 3 of alice:bob");
}

#[test]
fn first_deliveries_with_a_hole_or_out_of_order() {
    refused(&without(&got(desk(), 2)), Promise::FirstDeliveriesInOrder, "and not number 2 before");
    let mut events = good();
    let (two, three) = (last_index_of(&events, &got(desk(), 2)), last_index_of(&events, &got(desk(), 3)));
    events.swap(two, three);
    refused(&events, Promise::FirstDeliveriesInOrder, "when it already had entry 30");
}

#[test]
fn twice_in_one_connection() {
    let again = before(&got(desk(), 3), got(desk(), 2));
    refused(&again, Promise::NotTwiceInEffect, "again in the same connection");
    // And under another entry of the inbox.
    let copy = Event::Delivered {
        device: desk(),
        position: 40,
        conversation: chat(),
        seq: 3,
        id: id(3),
        dup: false,
    };
    refused(&and([copy]), Promise::NotTwiceInEffect, "which it had as another entry");
}

#[test]
fn twice_after_leaving_in_good_order() {
    // The phone left and came back before the desk did.
    let events = before(&connected(desk(), true), got(phone(), 3));
    refused(&events, Promise::NotTwiceInEffect, "left in good order");
    // With a crash in between it may be, and with a crash before it had left.
    let mut events = before(&connected(desk(), true), got(phone(), 3));
    let at = index_of(&events, &Event::Left { device: phone() });
    events.insert(at, Event::Crashed);
    let broken = check(&events).unwrap_err();
    assert!(!broken.to_string().contains("good order"), "{broken}");
    let mut events = before(&connected(desk(), true), got(phone(), 3));
    let at = index_of(&events, &Event::Left { device: phone() });
    events.insert(at + 1, Event::Crashed);
    let broken = check(&events).unwrap_err();
    assert!(!broken.to_string().contains("good order"), "{broken}");
}

#[test]
fn twice_after_leaving_with_an_acknowledgement_from_before_the_crash() {
    // It got number 2 again, did not acknowledge that, and left: it may come once more.
    let mut events = good();
    let at = last_index_of(&events, &confirmed(phone(), 2));
    events.splice(at..=at, [Event::Left { device: phone() }, connected(phone(), true), got(phone(), 2)]);
    check(&events).unwrap();
    // Had it acknowledged that, it may not.
    events.insert(at, confirmed(phone(), 2));
    refused(&events, Promise::NotTwiceInEffect, "left in good order");
}

#[test]
fn twice_after_the_receipt() {
    // The receipt of number 1 was seen before the crash.
    let events = before(&got(phone(), 3), got(phone(), 1));
    refused(&events, Promise::NotTwiceInEffect, "again after the receipt that it has it");
    // Where two devices had it, the receipt may rest on either.
    let mut events = good();
    let at = index_of(&events, &receipt(1, 0));
    events.splice(at..at, [connected(desk(), true), got(desk(), 1), confirmed(desk(), 1)]);
    let at = index_of(&events, &connected(phone(), true));
    events.insert(at + 1, got(phone(), 1));
    check(&events).unwrap();
}

#[test]
fn marked_as_sent_before_in_a_new_session() {
    let dup = Event::Delivered {
        device: phone(),
        position: 10,
        conversation: chat(),
        seq: 1,
        id: id(1),
        dup: true,
    };
    refused(&with(&got(phone(), 1), dup), Promise::NotTwiceInEffect, "in a new session");
}

#[test]
fn a_session_that_is_gone() {
    let events = with(&connected(desk(), true), connected(desk(), false));
    refused(&events, Promise::SessionIsKept, "bob/desk was subscribed, connected again");
}

#[test]
fn receipts_that_shrink() {
    refused(
        &and([receipt(2, 2)]),
        Promise::ReceiptsOnlyGrow,
        "delivered 2, read 2, after delivered 3, read 2",
    );
    refused(&and([receipt(3, 1)]), Promise::ReceiptsOnlyGrow, "read 1, after delivered 3, read 2");
    check(&and([receipt(3, 2)])).unwrap();
}

#[test]
fn receipts_that_say_too_much() {
    let early = before(&confirmed(phone(), 3), receipt(3, 0));
    refused(&early, Promise::ReceiptsAreTrue, "no device of theirs had acknowledged number 3");
    refused(
        &and([receipt(3, 3)]),
        Promise::ReceiptsAreTrue,
        "has read alice:bob up to 3, when they had said 2",
    );
}

#[test]
fn acknowledgements_read_after_a_kill_belong_before_it() {
    let mut events = vec![connected(laptop(), false), sent(1), sent(2), Event::Crashed, acked(1, 1)];
    assert_eq!(unacknowledged_at_crashes(&events), [1]);
    events.extend([connected(laptop(), true), sent(2), acked(2, 2), Event::Crashed, Event::Crashed]);
    assert_eq!(unacknowledged_at_crashes(&events), [1, 0, 0]);
}

#[test]
fn twice_after_a_connection_that_broke() {
    // That there was a receipt for it is another matter.
    let good_order = |events: &[Event]| check(events).unwrap_err().to_string().contains("good order");
    let again = || before(&connected(desk(), true), got(phone(), 3));
    let left = |events: &[Event]| last_index_of(events, &Event::Left { device: phone() });
    assert!(good_order(&again()));
    // The network broke before the server could know.
    let mut events = again();
    events.insert(left(&again()) + 1, Event::Severed { device: phone() });
    assert!(!good_order(&events));
    // What was said before it broke may be lost, however the next connection ended.
    let mut events = again();
    let at = left(&again());
    events.splice(at..at, [Event::Severed { device: phone() }, connected(phone(), true)]);
    assert!(!good_order(&events));
    // Of another device's connection it says nothing.
    let mut events = again();
    events.insert(left(&again()) + 1, Event::Severed { device: desk() });
    assert!(good_order(&events));
}

#[test]
fn receipts_that_stop_short() {
    let sends_nothing = |device: Device| Event::Subscribed { device };
    let rested = |last: Event| {
        let mut events = with(&receipt(3, 2), last);
        events.extend([sends_nothing(laptop()), Event::Rested]);
        events
    };
    check(&rested(receipt(3, 2))).unwrap();
    refused(&rested(receipt(2, 2)), Promise::ReceiptsBecomeComplete, "that was to become 3 and 2");
    refused(&rested(receipt(3, 1)), Promise::ReceiptsBecomeComplete, "delivered 3, read 1");
    // Before everything has come to rest nothing is late.
    check(&with(&receipt(3, 2), receipt(2, 2))).unwrap();
}

const NEWS: &str = "news/alice";

fn published(number: u64, retain: bool) -> Event {
    Event::Published { device: laptop(), topic: NEWS.into(), id: id(number), retain }
}

fn taken(number: u64) -> Event {
    Event::PublishAcknowledged { device: laptop(), id: id(number) }
}

fn heard(number: u64) -> Event {
    Event::Received { device: phone(), topic: NEWS.into(), id: id(number), retained: false }
}

fn kept(number: u64) -> Event {
    Event::Retained { topic: NEWS.into(), id: id(number) }
}

/// Three messages, the second sent twice, the third never acknowledged and lost.
fn good_news() -> Vec<Event> {
    let mut events = vec![Event::Follows { device: phone() }, published(1, true), taken(1), heard(1)];
    events.extend([published(2, true), Event::Crashed, published(2, true), taken(2), heard(2), heard(2)]);
    events.extend([published(3, false), heard(1), kept(2), Event::Rested]);
    events
}

#[test]
fn plain_topics() {
    let without = |wanted: Event| {
        let mut events = good_news();
        events.retain(|event| *event != wanted);
        events
    };
    check(&good_news()).unwrap();
    refused(&without(heard(2)), Promise::PublishedReachesEveryFollower, "bob/phone never got laptop-2");
    refused(&without(kept(2)), Promise::NewestIsRetained, "retains nothing, and not laptop-2");
    refused(&without(published(2, true)), Promise::NothingIsInvented, "which nobody had published there");
    let mut events = good_news();
    let (first, second) = (index_of(&events, &heard(1)), index_of(&events, &published(2, true)));
    events.swap(first, second);
    check(&events).unwrap();
    let mut events = good_news();
    let (first, second) = (index_of(&events, &heard(1)), index_of(&events, &heard(2)));
    events[first] = heard(2);
    events[second] = heard(1);
    events.insert(first, published(2, true));
    refused(&events, Promise::PublishedComesInOrder, "behind what was published after it");
}
