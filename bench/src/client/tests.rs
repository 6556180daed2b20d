use super::*;
use crate::payload::Form;
use crate::wire::Version;

const MANNER: Manner = Manner {
    version: Version::V311,
    qos: 1,
    form: Form::Plain,
    size: 20,
    window: 2,
    receive_maximum: None,
    most_in_flight: 2,
    slow_ns: 3_000,
    resilient: true,
};

fn with<T>(tally: &mut Tally, publishing: bool, step: impl FnOnce(&mut Context<'_>) -> T) -> T {
    let mut payload = Vec::new();
    step(&mut Context { manner: MANNER, tally, now_ns: 5_000, publishing, payload: &mut payload })
}

fn message(seq: u64) -> Vec<u8> {
    let (mut payload, mut out) = (Vec::new(), Vec::new());
    Stamp { source: 9, seq, due_ns: 1_000 }.write(&mut payload, Form::Plain, 20);
    wire::publish(&mut out, Version::V311, "t", 0, 0, &payload);
    out
}

fn ready(role: Role) -> (Client, Tally) {
    let (mut client, mut tally) = (Client::new(role), Tally::default());
    client.connect(MANNER, 1_000);
    with(&mut tally, false, |cx| client.take(b"\x20\x02\0\0", cx)).expect("a CONNACK");
    assert!(client.is_ready());
    client.out.clear();
    (client, tally)
}

#[test]
fn the_window_is_kept_full_and_no_fuller() {
    let role = Role { publishes_to: Some("t".to_owned()), ..Role::default() };
    let (mut client, mut tally) = ready(role);
    with(&mut tally, true, |cx| client.fill_window(cx));
    assert_eq!((client.in_flight(), tally.published), (2, 2));
    with(&mut tally, true, |cx| client.take(b"\x40\x02\0\x01", cx)).expect("a PUBACK");
    assert_eq!((client.in_flight(), tally.published, tally.acked), (2, 3, 1));
    with(&mut tally, false, |cx| client.take(b"\x40\x02\0\x03\x40\x02\0\x02", cx)).expect("PUBACKs");
    assert_eq!((client.in_flight(), tally.published, client.acked()), (0, 3, 3));
    with(&mut tally, true, |cx| client.take(b"\x40\x02\0\x09", cx)).expect("one too many");
    assert_eq!(tally.acked, 3);
}

#[test]
fn what_is_due_waits_for_room_and_its_time_counts() {
    let role = Role { publishes_to: Some("t".to_owned()), ..Role::default() };
    let (mut client, mut tally) = ready(role);
    for due_ns in [4_000, 3_000, 1_000, 1_000] {
        with(&mut tally, false, |cx| client.publish_due(due_ns, cx));
    }
    assert_eq!((client.in_flight(), tally.published), (2, 2));
    let acks = b"\x40\x02\0\x01\x40\x02\0\x02\x40\x02\0\x03";
    with(&mut tally, false, |cx| client.take(acks, cx)).expect("PUBACKs");
    // It is 5,000: the third took 4,000, more than is normal.
    assert_eq!((tally.published, tally.acked, tally.slow), (4, 3, 1));
    with(&mut tally, false, |cx| client.publish_due(5_000, cx));
    with(&mut tally, false, |cx| client.publish_due(5_000, cx));
    assert_eq!((client.forgive(), client.in_flight()), (1, 2));
}

#[test]
fn no_more_is_in_flight_than_the_server_takes() {
    let role = Role { publishes_to: Some("t".to_owned()), ..Role::default() };
    let (mut client, mut tally) = (Client::new(role), Tally::default());
    let manner = Manner { version: Version::V5, ..MANNER };
    client.connect(manner, 1_000);
    let mut payload = Vec::new();
    let mut cx =
        Context { manner, tally: &mut tally, now_ns: 5_000, publishing: true, payload: &mut payload };
    client.take(b"\x20\x06\0\0\x03\x21\0\x01", &mut cx).expect("a CONNACK");
    client.fill_window(&mut cx);
    assert_eq!(client.in_flight(), 1);
    client.publish_due(1_000, &mut cx);
    assert_eq!((client.in_flight(), client.forgive()), (1, 1));
}

#[test]
fn what_was_not_acknowledged_is_sent_again_behind_a_new_welcome() {
    let (filter, to) = (Some("t".to_owned()), Some("u".to_owned()));
    let role = Role { filter, publishes_to: to, ..Role::default() };
    let (mut client, mut tally) = (Client::new(role), Tally::default());
    client.connect(MANNER, 0);
    with(&mut tally, false, |cx| client.take(b"\x20\x02\0\0\x90\x03\xff\xff\x01", cx)).expect("welcome");
    client.out.clear();
    with(&mut tally, true, |cx| client.fill_window(cx));
    let mut sent = std::mem::take(&mut client.out);
    client.connect(MANNER, 0);
    client.out.clear();
    with(&mut tally, false, |cx| client.take(b"\x20\x02\x01\0", cx)).expect("welcome back");
    let half = sent.len() / 2;
    wire::set_dup(&mut sent, 0);
    wire::set_dup(&mut sent, half);
    assert_eq!((&client.out, tally.published), (&sent, 2));
}

#[test]
fn no_more_is_published_than_was_asked_for() {
    let role = Role { publishes_to: Some("t".to_owned()), quota: Some(3), ..Role::default() };
    let (mut client, mut tally) = ready(role);
    with(&mut tally, true, |cx| client.fill_window(cx));
    with(&mut tally, true, |cx| client.take(b"\x40\x02\0\x01\x40\x02\0\x02", cx)).expect("PUBACKs");
    assert_eq!((client.in_flight(), tally.published), (1, 3));
}

#[test]
fn who_was_away_comes_back_to_its_session_and_times_the_first_message() {
    let role = Role { filter: Some("t".to_owned()), hears: vec![9], stay: Stay::Away, ..Role::default() };
    let (mut client, mut tally) = (Client::new(role), Tally::default());
    client.connect(MANNER, 1_000);
    with(&mut tally, false, |cx| client.take(b"\x20\x02\0\0\x90\x03\xff\xff\x01", cx)).expect("welcome");
    assert!(client.is_over());
    client.connect(MANNER, 1_000);
    assert_eq!(with(&mut tally, false, |cx| client.take(b"\x20\x02\0\0", cx)), Err(Broken::Forgotten));
    client.connect(MANNER, 1_000);
    with(&mut tally, false, |cx| client.take(b"\x20\x02\x01\0", cx)).expect("welcome back");
    assert!(client.is_ready() && tally.first_ns.is_empty());
    for seq in 0..2 {
        with(&mut tally, false, |cx| client.take(&message(seq), cx)).expect("a publish");
    }
    assert_eq!((tally.first_ns.len(), tally.delivered), (1, 2));
}

#[test]
fn what_is_lost_repeated_or_late_is_told_apart() {
    let (mut client, mut tally) = ready(Role { hears: vec![9], ..Role::default() });
    let bytes: Vec<u8> = [0, 1, 4, 2, 4, 2, 5].into_iter().flat_map(message).collect();
    // Byte by byte: packets do not care where reads end.
    for byte in bytes {
        with(&mut tally, false, |cx| client.take(&[byte], cx)).expect("publishes");
    }
    assert_eq!((tally.delivered, tally.duplicated, tally.out_of_order), (7, 2, 1));
    assert_eq!(client.received_from(9), 5, "one of six is missing");
}

#[test]
fn refusals_say_what_was_refused() {
    let mut tally = Tally::default();
    let mut client = Client::new(Role { filter: Some("a/#".to_owned()), ..Role::default() });
    client.connect(MANNER, 1_000);
    let mut take = |bytes: &[u8]| with(&mut tally, false, |cx| client.take(bytes, cx));
    assert_eq!(take(b"\x20\x02\0\x05"), Err(Broken::Refused(5)));
    assert_eq!(take(b"\x90\x03\xff\xff\x80"), Err(Broken::NotSubscribed("a/#".to_owned())));
    assert_eq!(take(b"\xe0\x01\x8e"), Err(Broken::Disconnected(0x8E)));
}
