//! What each device sees of each kind of entry, and how few bytes that takes.

use super::*;
use crate::machine::stored::NewStored;
use chasqui_proto::ErrorCode;
use proptest::prelude::*;
use std::convert::Infallible;

const NOW_MS: u64 = 1_795_000_000_000;

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn device(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

fn chat(name: &str) -> ChatName {
    ChatName::User(user(name))
}

fn text(text: &str) -> Vec<u8> {
    let body = v1::Body { kind: Some(v1::body::Kind::Text(text.to_owned())) };
    v1::Send { body: Some(body), ..v1::Send::default() }.encode_to_vec()
}

fn from_alice<'a>(chat: &'a ChatName, content: &'a [u8]) -> NewMessage<'a> {
    NewMessage {
        expires_at_ms: 0,
        chat,
        sender: None,
        seq: Seq(300),
        prev_seq: None,
        time_ms: NOW_MS,
        client_msg_id: None,
        from_device: None,
        content,
        whole: false,
    }
}

fn none(_: &ConversationId, _: Seq) -> Result<Option<Bytes>, Infallible> {
    panic!("nothing is to be fetched")
}

fn see(stored: &Bytes, owner: &str, viewer: &str) -> Rendered {
    render(stored, &user(owner), &device(viewer), 0, none).unwrap()
}

fn event(rendered: Rendered) -> v1::Event {
    match rendered {
        Rendered::Event(bytes) => v1::Event::decode(bytes).unwrap(),
        Rendered::Skip => panic!("skipped"),
    }
}

fn message(rendered: Rendered) -> v1::Message {
    match event(rendered).event {
        Some(v1::event::Event::Message(message)) => message,
        other => panic!("not a message: {other:?}"),
    }
}

#[test]
fn what_looks_the_same_to_all_is_shown_without_asking_who_looks() {
    let content = text("hello, world");
    let large = text(&"x".repeat(5_000));
    let (bob, phone) = (chat("bob"), device("phone"));
    let own = NewMessage { from_device: Some((&phone, true)), ..from_alice(&bob, &content) };
    let rows = [
        ("a short text", from_alice(&chat("alice"), &content).encode(7), true),
        ("a text that is elsewhere", from_alice(&chat("alice"), &large).encode(7), false),
        ("one's own", own.encode(7), false),
        ("a refusal", rejected(7, &phone, "u/bob/send", None, &ErrorCode::Forbidden.into()), false),
    ];
    for (what, stored, same) in rows {
        let shown = same_for_all(&stored).unwrap();
        assert_eq!(shown.is_some(), same, "{what}");
        if let Some(shown) = shown {
            assert_eq!(see(&stored, "bob", "phone"), Rendered::Event(shown), "{what}");
        }
    }
    assert!(same_for_all(&Bytes::new()).is_err());
}

#[test]
fn a_short_text_is_small_and_delivered_without_a_copy() {
    let content = text("hello, world");
    let stored = from_alice(&chat("alice"), &content).encode(70_000);
    let Rendered::Event(seen) = see(&stored, "bob", "phone") else { panic!("skipped") };
    assert!(seen.len() <= 46, "{} bytes", seen.len());
    assert_eq!(seen.as_ptr_range().end, stored.as_ptr_range().end, "a slice of what is stored");
    let event = v1::Event::decode(seen).unwrap();
    assert_eq!(event.position, 70_000);
    let message = message(see(&stored, "bob", "phone"));
    assert_eq!(message.body.unwrap().kind, Some(v1::body::Kind::Text("hello, world".to_owned())));
    assert_eq!((message.conversation.as_str(), message.sender.as_str()), ("u/alice", ""));
    assert_eq!((message.seq, message.prev_seq, message.time_ms), (300, 0, NOW_MS.cast_signed()));
    assert!(message.client_msg_id.is_empty());
    let about = about(&user("bob"), &stored).unwrap().unwrap();
    let conversation = ConversationId::direct(&user("alice"), &user("bob"));
    assert_eq!(about, About { conversation, sender: user("alice"), seq: Seq(300), time_ms: NOW_MS });
}

#[test]
fn the_sending_device_skips_or_gets_the_number_alone() {
    let long = "x".repeat(1_000);
    for (body, echo) in [("hi", false), ("hi", true), (&*long, false), (&*long, true)] {
        let (content, alice, phone, to) = (text(body), user("alice"), device("phone"), chat("bob"));
        let id = ClientMsgId::from_bytes(b"id").unwrap();
        let to_bob = NewMessage {
            sender: Some(&alice),
            client_msg_id: Some(&id),
            from_device: Some((&phone, echo)),
            ..from_alice(&to, &content)
        };
        let stored = to_bob.encode(5);
        assert_eq!(about(&alice, &stored).unwrap().unwrap().sender, alice);
        let own = see(&stored, "alice", "phone");
        if echo {
            let own = message(own);
            assert_eq!(own.body, None);
            assert_eq!(
                (own.seq, &own.client_msg_id[..], own.conversation.as_str()),
                (300, &b"id"[..], "u/bob")
            );
        } else {
            assert_eq!(own, Rendered::Skip);
        }
        let log_entry = NewStored {
            sender: &alice,
            time_ms: NOW_MS,
            client_msg_id: Some(&id),
            expires_at_ms: 0,
            alone: false,
            places: &[],
            content: &content,
        }
        .encode();
        let fetch = |_: &ConversationId, _| Ok::<_, Infallible>(Some(log_entry));
        let other = message(render(&stored, &alice, &device("laptop"), 0, fetch).unwrap());
        assert_eq!(other.body.unwrap().kind, Some(v1::body::Kind::Text(body.to_owned())));
        assert_eq!((other.sender.as_str(), &other.client_msg_id[..]), ("alice", &b"id"[..]));
    }
}

#[test]
fn a_refusal_is_for_its_device_alone() {
    let id = ClientMsgId::from_bytes(b"id").unwrap();
    let refusal = Refusal::retry_after(ErrorCode::RateLimited, 7_000);
    let stored = rejected(9, &device("phone"), "json/u/bob/send", Some(&id), &refusal);
    assert_eq!(see(&stored, "alice", "laptop"), Rendered::Skip);
    let event = event(see(&stored, "alice", "phone"));
    assert_eq!(event.position, 9);
    let expected = v1::Rejected {
        topic: "json/u/bob/send".to_owned(),
        client_msg_id: Bytes::from_static(b"id"),
        code: ErrorCode::RateLimited.into(),
        reason: refusal.reason(),
        retry_after_ms: 7_000,
    };
    assert_eq!(event.event, Some(v1::event::Event::Rejected(expected)));
    assert_eq!(about(&user("alice"), &stored).unwrap(), None);
}

#[test]
fn a_large_body_is_joined_from_the_conversation() {
    let content = text(&"x".repeat(INLINE_BODY_MAX_BYTES));
    let stored = from_alice(&chat("alice"), &content).encode(8);
    assert!(stored.len() < 40);
    let log_entry = NewStored {
        sender: &user("alice"),
        time_ms: NOW_MS,
        client_msg_id: None,
        expires_at_ms: 0,
        alone: false,
        places: &[],
        content: &content,
    }
    .encode();
    let mut asked = None;
    let rendered = render(&stored, &user("bob"), &device("phone"), 0, |conversation, seq| {
        asked = Some((conversation.clone(), seq));
        Ok::<_, Infallible>(Some(log_entry))
    });
    assert_eq!(asked, Some((ConversationId::direct(&user("alice"), &user("bob")), Seq(300))));
    let joined = message(rendered.unwrap());
    assert_eq!(joined.body.unwrap().kind, Some(v1::body::Kind::Text("x".repeat(INLINE_BODY_MAX_BYTES))));
    assert_eq!((joined.conversation.as_str(), joined.seq), ("u/alice", 300));

    let gone = render(&stored, &user("bob"), &device("phone"), 0, |_, _| Ok::<_, Infallible>(None)).unwrap();
    let expected = v1::Gone { conversation: "u/alice".to_owned(), seq: 300 };
    let gone = event(gone);
    assert_eq!((gone.position, gone.event), (8, Some(v1::event::Event::Gone(expected))));

    let failed = render(&stored, &user("bob"), &device("phone"), 0, |_, _| Err("the disk is gone"));
    assert!(matches!(failed, Err(RenderError::Fetch("the disk is gone"))));
}

#[test]
fn content_at_the_limit_is_inline() {
    for (len, inline) in [(INLINE_BODY_MAX_BYTES, true), (INLINE_BODY_MAX_BYTES + 1, false)] {
        let content = vec![0; len];
        let stored = from_alice(&chat("alice"), &content).encode(1);
        assert_eq!(stored.len() > INLINE_BODY_MAX_BYTES, inline);
    }
}

#[test]
fn notes_to_oneself_have_no_sender() {
    let content = text("milk");
    let stored = from_alice(&chat("alice"), &content).encode(1);
    let about = about(&user("alice"), &stored).unwrap().unwrap();
    assert_eq!(about.sender, user("alice"));
}

#[test]
fn a_newer_version_is_refused() {
    let newer = DecodeError::Newer { what: WHAT, found: 2, known: 1 };
    assert_eq!(about(&user("bob"), &[2, 0]), Err(newer));
    assert_eq!(about(&user("bob"), &[]), Err(DecodeError::Malformed(WHAT)));
    assert_eq!(about(&user("bob"), &[1, FOR_DEVICE]), Err(DecodeError::Malformed(WHAT)));
    assert_eq!(about(&user("bob"), &[1, FOR_DEVICE, 5, b'a']), Err(DecodeError::Malformed(WHAT)));
}

proptest! {
    #[test]
    fn what_a_sender_writes_arrives_as_it_was(
        body in prop::collection::vec(any::<u8>(), 0..600), field in 100u32..1_000, position: u64, seq in 1u64..,
    ) {
        // A field that this program does not know, and that readers are to get as it is.
        let mut content = text("known");
        put_length(&mut content, field, body.len());
        content.extend_from_slice(&body);
        let stored = NewMessage { seq: Seq(seq), ..from_alice(&chat("alice"), &content) }.encode(position);
        let log_entry = NewStored { sender: &user("alice"), time_ms: NOW_MS, client_msg_id: None, expires_at_ms: 0, alone: false, places: &[], content: &content }.encode();
        let fetch = |_: &ConversationId, _| Ok::<_, Infallible>(Some(log_entry));
        let Rendered::Event(seen) = render(&stored, &user("bob"), &device("phone"), 0, fetch).unwrap() else {
            panic!("skipped")
        };
        let message = wire::field_bytes(&seen, EVENT_MESSAGE).unwrap().unwrap();
        prop_assert!(seen[message].ends_with(&content));
        let event = v1::Event::decode(seen).unwrap();
        prop_assert_eq!(event.position, position);
    }

    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>) {
        let stored = Bytes::from([&[VERSION][..], &bytes].concat());
        let _ = about(&user("bob"), &stored);
        let _ = render(&stored, &user("bob"), &device("phone"), 0, |_, _| Ok::<_, Infallible>(None));
    }
}
