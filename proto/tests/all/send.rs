//! A message's way through: from `Send` to the reader's `Event`, with everything the sender wrote.

use bytes::Bytes;
use chasqui_proto::ids::{ClientMsgIdError, Seq};
use chasqui_proto::limits::{BODY_MAX_BYTES, SEND_MAX_BYTES};
use chasqui_proto::wire::{WireError, field_bytes, put_length, put_number};
use chasqui_proto::{
    ChatName, ClientMsgId, ErrorCode, MessageEntry, Outgoing, Refusal, SendError, UserId, json, v1,
};
use proptest::prelude::*;
use prost::Message;

fn text(text: &str) -> v1::Send {
    let body = v1::Body { kind: Some(v1::body::Kind::Text(text.to_owned())) };
    v1::Send { body: Some(body), ..v1::Send::default() }
}

fn parse(send: &v1::Send) -> Result<Outgoing, SendError> {
    Outgoing::parse(&send.encode_to_vec().into())
}

fn deliver(content: &[u8], client_msg_id: Option<ClientMsgId>) -> Vec<u8> {
    let sender = UserId::parse("alice").unwrap();
    let conversation = ChatName::User(sender.clone());
    MessageEntry {
        expires_at_ms: 0,
        conversation: &conversation,
        sender: &sender,
        seq: Seq(12),
        prev_seq: Seq(9),
        time_ms: 1_767_225_600_000,
        client_msg_id,
        content,
    }
    .encode_event(1_000)
}

fn message(event: &[u8]) -> v1::Message {
    match v1::Event::decode(event).unwrap().event {
        Some(v1::event::Event::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_reader_gets_what_the_sender_wrote_under_the_same_numbers() {
    let send = v1::Send {
        client_msg_id: Bytes::from_static(b"id"),
        reply_to: Some(v1::Quote { seq: 3, sender: "bob".into(), excerpt: "well?".into() }),
        forward_count: 2,
        mentions: vec![v1::Mention { user: "bob".into(), start: 0, length: 4 }, v1::Mention::default()],
        link_preview: Some(v1::LinkPreview { url: "https://example.org".into(), ..Default::default() }),
        ..text("@bob yes")
    };
    let sent = parse(&send).unwrap();
    assert_eq!(sent.client_msg_id.unwrap().as_bytes(), b"id");
    let got = message(&deliver(&sent.content, None));
    let expected = v1::Message {
        change: None,
        edit: None,
        reaction: None,
        deletion: None,
        timer: None,
        expires_at_ms: 0,
        pin: None,
        gone: false,
        client_msg_id: Bytes::new(),
        body: send.body,
        reply_to: send.reply_to,
        forward_count: send.forward_count,
        mentions: send.mentions,
        link_preview: send.link_preview,
        conversation: "u/alice".into(),
        sender: "alice".into(),
        seq: 12,
        prev_seq: 9,
        time_ms: 1_767_225_600_000,
    };
    assert_eq!(got, expected);
}

#[test]
fn an_entry_is_encoded_as_prost_does_it() {
    let id = ClientMsgId::from_bytes(&[9; 16]).unwrap();
    let content = text(&"x".repeat(300)).encode_to_vec();
    let ours = deliver(&content, Some(id));
    let mut theirs = v1::Event::decode(&ours[..]).unwrap();
    assert_eq!(theirs.encoded_len(), ours.len());
    assert_eq!(theirs.position, 1_000);
    assert_eq!(message(&ours).client_msg_id, [9; 16][..]);
    theirs.position = 0;
    assert_ne!(theirs.encoded_len(), ours.len());
    // The 3.1.1 device that sent it gets its number, and no body.
    let echo = message(&deliver(&[], Some(id)));
    assert_eq!((echo.body, echo.seq), (None, 12));
}

#[test]
fn fields_that_we_do_not_know_survive() {
    // In the body: field 77. Beside it: 8 and 150, content of a later version.
    let mut body = text("hi").body.unwrap().encode_to_vec();
    put_number(&mut body, 77, 7_777);
    let mut send = Vec::new();
    put_number(&mut send, 150, 15);
    put_length(&mut send, 2, body.len());
    send.extend_from_slice(&body);
    put_number(&mut send, 8, 88);
    let sent = Outgoing::parse(&send.clone().into()).unwrap();
    assert_eq!(sent.content, send);

    let event = deliver(&sent.content, None);
    let inner = &event[field_bytes(&event, 2).unwrap().unwrap()];
    assert_eq!(&inner[field_bytes(inner, 2).unwrap().unwrap()], body);
    assert!(inner.ends_with(&send));
}

#[test]
fn directions_to_the_server_go_no_further() {
    // A direction between two content fields, and the server's own fields forged.
    let mut send = text("hi").encode_to_vec();
    put_number(&mut send, 12, 666);
    put_length(&mut send, 11, 3);
    send.extend_from_slice(b"eve");
    put_number(&mut send, 150, 1);
    let sent = Outgoing::parse(&send.into()).unwrap();
    let mut expected = text("hi").encode_to_vec();
    put_number(&mut expected, 150, 1);
    assert_eq!(sent.content, expected);
    let got = message(&deliver(&sent.content, None));
    assert_eq!((got.seq, got.sender.as_str()), (12, "alice"));
}

#[test]
fn content_beside_each_other_is_not_copied() {
    let payload: Bytes =
        v1::Send { client_msg_id: Bytes::from_static(b"id"), ..text("hello") }.encode_to_vec().into();
    let sent = Outgoing::parse(&payload).unwrap();
    assert_eq!(sent.content.as_ptr(), payload[4..].as_ptr());
}

#[test]
fn what_readers_could_not_decode_is_refused() {
    let field = |number: u32, content: &[u8]| {
        let mut out = Vec::new();
        put_length(&mut out, number, content.len());
        out.extend_from_slice(content);
        out
    };
    let hi = field(2, &field(1, b"hi"));
    let refused = |payload: Vec<u8>| Outgoing::parse(&payload.into()).unwrap_err();

    assert!(matches!(refused(field(2, &field(1, b"\xff"))), SendError::Decode(_)), "text that is not UTF-8");
    assert!(matches!(refused(field(2, &[0x08, 1])), SendError::Decode(_)), "text of another type");
    assert!(matches!(refused(field(2, &field(2, &[0x08, 1]))), SendError::Decode(_)), "a broken picture");
    assert!(
        matches!(refused([hi.clone(), field(3, b"\xff")].concat()), SendError::Decode(_)),
        "a broken quote"
    );
    assert!(
        matches!(refused([hi.clone(), field(4, b"x")].concat()), SendError::Decode(_)),
        "a count that is text"
    );
    assert!(matches!(refused(field(2, &[0x0a])), SendError::Wire(WireError::Truncated)));
    assert!(matches!(refused([hi.clone(), hi.clone()].concat()), SendError::Wire(WireError::Duplicate(2))));
    let ids = [field(1, b"a"), field(1, b"b"), hi.clone()].concat();
    assert!(matches!(refused(ids), SendError::Wire(WireError::Duplicate(1))));
    assert!(matches!(refused(vec![0x10, 1]), SendError::Wire(WireError::Type(2))));
    assert!(matches!(refused(b"hello".to_vec()), SendError::Wire(_)), "plain text as payload");
}

#[test]
fn a_message_needs_a_body_and_an_id_that_fits() {
    assert!(matches!(Outgoing::parse(&Bytes::new()), Err(SendError::NoBody)));
    assert!(matches!(
        parse(&v1::Send { body: Some(v1::Body::default()), ..Default::default() }),
        Err(SendError::NoBody)
    ));
    let long = v1::Send { client_msg_id: Bytes::from_static(&[1; 17]), ..text("x") };
    assert!(matches!(parse(&long), Err(SendError::Id(ClientMsgIdError::TooLong(17)))));
    // A body of a kind that only later versions know has something in it.
    assert!(Outgoing::parse(&vec![0x12, 2, 0x78, 1].into()).is_ok());
    assert_eq!(parse(&text("x")).unwrap().client_msg_id, None);
    // An empty id on the wire is no id.
    let empty = [&[0x0a, 0][..], &text("x").encode_to_vec()].concat();
    assert_eq!(Outgoing::parse(&empty.into()).unwrap().client_msg_id, None);
}

#[test]
fn sizes_are_limited_to_the_byte() {
    // A text of n bytes above 16,383 takes n + 4 as a body.
    assert!(parse(&text(&"x".repeat(BODY_MAX_BYTES - 4))).is_ok());
    let error = parse(&text(&"x".repeat(BODY_MAX_BYTES - 3))).unwrap_err();
    assert!(matches!(error, SendError::BodyTooLarge(size) if size == BODY_MAX_BYTES + 1), "{error}");
    assert_eq!(Refusal::from(error).code, ErrorCode::TooLarge);

    // Filled with something that only newer clients know: a tag of two bytes, a length of three.
    let filled = |to: usize| {
        let mut send = text("x").encode_to_vec();
        let rest = to - send.len() - 2 - 3;
        put_length(&mut send, 200, rest);
        send.resize(send.len() + rest, 0);
        Bytes::from(send)
    };
    assert_eq!(filled(SEND_MAX_BYTES).len(), SEND_MAX_BYTES);
    assert!(Outgoing::parse(&filled(SEND_MAX_BYTES)).is_ok());
    let above = Outgoing::parse(&filled(SEND_MAX_BYTES + 1));
    assert!(matches!(above, Err(SendError::SendTooLarge(_))));
}

#[test]
fn json_is_taken_in_both_spellings_and_ignores_what_it_does_not_know() {
    let one = Outgoing::parse_json(br#"{"clientMsgId":"AQI=","body":{"text":"hi"},"replyTo":{"seq":"3"}}"#)
        .unwrap();
    let other = Outgoing::parse_json(
        br#"{"client_msg_id":"AQI=","body":{"text":"hi"},"reply_to":{"seq":3},"poll":{}}"#,
    )
    .unwrap();
    assert_eq!(one, other);
    assert_eq!(one.client_msg_id.unwrap().as_bytes(), [1, 2]);
    assert!(matches!(Outgoing::parse_json(br#"{"body":{"poll":{}}}"#), Err(SendError::NoBody)));
    for bad in [
        "",
        "hello",
        "[]",
        r#"{"body":"hi"}"#,
        r#"{"body":{"text":1}}"#,
        r#"{"body":{"text":"a"}} x"#,
        r#"{"client_msg_id":"?","body":{"text":"a"}}"#,
    ] {
        assert!(matches!(Outgoing::parse_json(bad.as_bytes()), Err(SendError::Json(_))), "{bad}");
    }
}

#[test]
fn json_readers_get_numbers_as_strings() {
    let event = deliver(&text("hi").encode_to_vec(), ClientMsgId::from_bytes(&[255]).ok());
    let value: serde_json::Value =
        serde_json::from_slice(&json::from_protobuf::<v1::Event>(&event).unwrap()).unwrap();
    assert_eq!(value["position"], "1000");
    assert_eq!(value["message"]["seq"], "12");
    assert_eq!(value["message"]["clientMsgId"], "/w==");
    assert_eq!(value["message"]["body"]["text"], "hi");
    assert!(json::from_protobuf::<v1::Event>(&[0x12, 9]).is_err());
}

proptest! {
    #[test]
    fn anything_that_is_accepted_can_be_read(payload in prop::collection::vec(any::<u8>(), 0..48)) {
        if let Ok(sent) = Outgoing::parse(&payload.into()) {
            let event = deliver(&sent.content, sent.client_msg_id);
            prop_assert_eq!(message(&event).seq, 12);
        }
    }

    /// As above, with bytes that get past the first checks more often.
    #[test]
    fn anything_in_a_body_that_is_accepted_can_be_read(
        body in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x0a), Just(0x12), Just(2)], 1..24),
        after in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x1a), Just(0x20), Just(1)], 0..8),
    ) {
        let mut payload = vec![0x12, body.len() as u8];
        payload.extend(body);
        payload.extend(after);
        if let Ok(sent) = Outgoing::parse(&payload.into()) {
            prop_assert_eq!(message(&deliver(&sent.content, None)).sender, "alice");
        }
    }

    #[test]
    fn texts_arrive(words in ".*") {
        prop_assume!(!words.is_empty());
        let got = message(&deliver(&parse(&text(&words)).unwrap().content, None));
        prop_assert_eq!(got.body, text(&words).body);
    }
}
