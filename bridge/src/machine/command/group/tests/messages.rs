//! Messages to a group.

use super::*;

#[test]
fn all_members_get_the_same_message() {
    let mut memory = memory();
    let decision = act(&mut memory, says(caller("alice", "phone"), "hello", Some(b"id")), &env());
    assert_eq!(decision.outcome, Outcome::Accepted { seq: Seq(2), time_ms: NOW_MS });
    let told = shown(&decision);
    assert_eq!(told.keys().collect::<Vec<_>>(), ["bob", "carol"], "alice has no other device");
    for message in told.values().flatten() {
        let heading = (message.conversation.as_str(), message.sender.as_str(), message.seq, message.prev_seq);
        assert_eq!(heading, ("g/hikers", "alice", 2, 0));
        assert!(message.client_msg_id.is_empty(), "it is the sender's");
        assert_eq!(message.body.as_ref().unwrap().kind, Some(v1::body::Kind::Text("hello".to_owned())));
    }
    assert_eq!(memory.membership("hikers", "alice").sent, Seq(2));
    let later = act(&mut memory, post("bob"), &Env { now_ms: NOW_MS - 1_000, ..env() });
    assert_eq!(
        later.outcome,
        Outcome::Accepted { seq: Seq(3), time_ms: NOW_MS },
        "time does not go backwards"
    );
}

#[test]
fn a_large_message_is_kept_once() {
    let mut memory = memory();
    let text = "x".repeat(5_000);
    let decision = act(&mut memory, says(caller("alice", "phone"), &text, None), &env());
    for change in &decision.changes {
        if let Change::AppendInbox { entry, .. } = change {
            assert!(entry.len() < 100, "{}", entry.len());
        }
    }
    for message in shown(&decision).values().flatten() {
        assert_eq!(message.body.as_ref().unwrap().kind, Some(v1::body::Kind::Text(text.clone())));
    }
}

#[test]
fn a_retry_gets_the_first_answer_even_from_who_has_left() {
    let mut memory = memory();
    let first = act(&mut memory, says(caller("bob", "phone"), "hello", Some(b"id")), &env());
    for leaves in [false, true] {
        if leaves {
            act(&mut memory, leave("bob"), &env());
        }
        let again = act(&mut memory, says(caller("bob", "phone"), "hello", Some(b"id")), &env());
        assert_eq!(again.outcome, first.outcome);
        assert!(is_quiet(&again));
    }
    let other = act(&mut memory, says(caller("bob", "phone"), "hello", Some(b"other")), &env());
    assert_eq!(code(&other), ErrorCode::Forbidden);
}

#[test]
fn the_sender_sees_it_where_the_acknowledgement_does_not_say_enough() {
    let rows = [
        ("one device on 5.0", caller("alice", "phone"), &["phone"][..], false),
        ("another device", caller("alice", "phone"), &["laptop", "phone"], true),
        ("one device on 3.1.1", old_caller("alice", "phone"), &["phone"], true),
    ];
    for (what, caller, devices, expected) in rows {
        let mut memory = memory();
        for on in devices {
            act(&mut memory, Attach { user: user("alice"), device: device(on) }, &env());
        }
        let decision = act(&mut memory, says(caller, "hello", Some(b"id")), &env());
        let own = decision.changes.iter().find_map(|change| match change {
            Change::AppendInbox { user: owner, entry, .. } if *owner == user("alice") => Some(entry),
            _ => None,
        });
        assert_eq!(own.is_some(), expected, "{what}");
    }
}

#[test]
fn all_that_is_missing_is_named_at_once() {
    let missing = decide(&Memory::cold(), &says(caller("alice", "phone"), "hello", Some(b"id")), &env());
    let expected = [
        Key::User(user("alice")),
        Key::Group(hikers()),
        Key::Conversation(ConversationId::Group(hikers())),
        Key::Ring(user("alice"), device("phone")),
        Key::Membership(hikers(), user("alice")),
    ];
    let mut found = missing.unwrap_err().0;
    found.sort();
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(found, expected);
}
