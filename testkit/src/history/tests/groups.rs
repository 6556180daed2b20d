//! Broken histories of a group: who was a member, then was not, and is again.

use super::*;

fn group() -> Conversation {
    Conversation::group("hikers")
}

fn says(id: &str) -> Event {
    Event::Sent { device: laptop(), conversation: group(), id: id.into() }
}

fn gets(device: Device, seq: u64, id: &str) -> Event {
    Event::Delivered { device, position: 100 + seq, conversation: group(), seq, id: id.into(), dup: false }
}

fn has(device: Device, seq: u64) -> Event {
    Event::Confirmed { device, position: 100 + seq }
}

fn behind(seq: u64, previous: u64) -> Event {
    Event::Previous { device: phone(), conversation: group(), seq, previous }
}

fn far(delivered: u64, read: u64) -> Event {
    let (device, conversation, member) = (laptop(), group(), "bob".into());
    Event::MemberReceipt { device, conversation, member, delivered, read }
}

fn reads(up_to: u64) -> Event {
    Event::SaidRead { device: phone(), conversation: group(), up_to }
}

fn holds(seq: u64, id: &str) -> Event {
    Event::Found { conversation: group(), seq, id: id.into() }
}

fn changes(seq: u64, id: &str, members: &[&str]) -> Event {
    let members = members.iter().map(|member| Arc::from(*member)).collect();
    Event::FoundChange { conversation: group(), seq, id: id.into(), members }
}

/// alice makes a group with bob, takes him out and in again, and answers a message of hers with a sign; its acknowledgement is lost once.
fn hike() -> Vec<Event> {
    let mut events = vec![Event::Subscribed { device: laptop() }, Event::Subscribed { device: phone() }];
    for (seq, id) in [(1, "created"), (3, "removed"), (5, "added")] {
        events.push(gets(laptop(), seq, id));
    }
    let acts = || Event::Acted { device: laptop(), conversation: group(), id: "sign".into() };
    let accepted = |id: &str, seq| Event::Acknowledged { device: laptop(), id: id.into(), seq: Some(seq) };
    events.extend([says("one"), accepted("one", 2), says("two"), accepted("two", 4), says("three")]);
    events.extend([accepted("three", 6), acts(), acts(), accepted("sign", 8)]);
    events.extend([gets(laptop(), 7, "sign"), gets(laptop(), 8, "sign")]);
    let seen =
        [(1, "created"), (2, "one"), (3, "removed"), (5, "added"), (6, "three"), (7, "sign"), (8, "sign")];
    for (seq, id) in seen {
        events.extend([
            behind(seq, if seq == 5 { 3 } else { seq - 1 }),
            gets(phone(), seq, id),
            has(phone(), seq),
        ]);
    }
    events.extend([reads(6), far(6, 6), changes(1, "created", &["alice", "bob"]), holds(2, "one")]);
    events.extend([
        changes(3, "removed", &["alice"]),
        holds(4, "two"),
        changes(5, "added", &["alice", "bob"]),
    ]);
    events.extend([holds(6, "three"), holds(7, "sign"), holds(8, "sign"), Event::Rested]);
    events
}

/// The history with something in the place of one event; nothing takes it away.
fn hike_with(wanted: &Event, instead: Option<Event>) -> Vec<Event> {
    let mut events = hike();
    let at = last_index_of(&events, wanted);
    events.splice(at..=at, instead);
    events
}

#[test]
fn a_good_one_passes() {
    let figures = check(&hike()).unwrap();
    assert_eq!((figures.messages, figures.receipts), (3, 1));
}

#[test]
fn one_that_is_broken_is_refused() {
    let to_bob = |seq, id| gets(phone(), seq, id);
    let rows = [
        (to_bob(5, "added"), Some(to_bob(4, "two")), Promise::NothingAfterLeaving, "bob was no member"),
        (to_bob(6, "three"), None, Promise::ReachesEveryReader, "number 6 of g/hikers"),
        (to_bob(6, "three"), None, Promise::FirstDeliveriesInOrder, "and not number 6 before"),
        (gets(laptop(), 8, "sign"), None, Promise::ReachesEveryReader, "alice/laptop never got sign"),
        (behind(5, 3), Some(behind(5, 4)), Promise::SaysWhatCameBefore, "and could see 3"),
        (behind(6, 5), Some(behind(6, 3)), Promise::SaysWhatCameBefore, "and could see 5"),
        (far(6, 6), Some(far(6, 7)), Promise::ReceiptsAreTrue, "when they had said 6"),
        (has(phone(), 6), None, Promise::ReceiptsAreTrue, "acknowledged number 6"),
        (far(6, 6), Some(far(6, 0)), Promise::ReceiptsBecomeComplete, "read 0; that was to become 6 and 6"),
        (far(6, 6), None, Promise::ReceiptsBecomeComplete, "delivered 0"),
        (holds(8, "sign"), None, Promise::SameNumber, "sign was acknowledged as number 8"),
        (holds(4, "two"), Some(holds(4, "one")), Promise::Once, "one is number 2"),
    ];
    for (wanted, instead, promise, sentence) in rows {
        refused(&hike_with(&wanted, instead), promise, sentence);
    }
}

#[test]
fn marks_of_a_member_only_grow() {
    let mut events = hike();
    // Whoever stays: of who was away it begins anew.
    events.retain(|event| *event != changes(3, "removed", &["alice"]));
    events.push(changes(3, "promoted", &["alice", "bob"]));
    events.extend([far(6, 6), far(6, 5)]);
    refused(&events, Promise::ReceiptsOnlyGrow, "read 5, after delivered 6, read 6");
    let mut events = hike();
    let at = index_of(&events, &far(6, 6));
    events.insert(at, far(6, 3));
    check(&events).unwrap();
}
