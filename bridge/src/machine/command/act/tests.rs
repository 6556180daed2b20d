//! What can be done to messages, by whom, and what comes of it.

use super::*;
use crate::entry::{self, Rendered};
use crate::machine::command::tests::{
    NOW_MS, act, caller, chat, device, env, inbox_entries, is_quiet, old_caller, refused, user,
};
use crate::machine::command::{
    Acknowledged, Attach, CreateUser, Delivered, GroupCreate, GroupEdit, GroupLeave, GroupRemove,
    NewSettings, NewText, RemoveUser, Send, SetTies, What,
};
use crate::machine::places::Places;
use crate::machine::record::{Conversation, Settings};
use crate::machine::testing::Memory;
use crate::machine::{Told, stored};
use chasqui_proto::{Outgoing, v1};
use prost::Message as _;

fn thumbs_up(seq: u64) -> Bytes {
    stored::reaction_content(&v1::Reaction { seq, emoji: "👍".to_owned() }).into()
}

/// A message as its conversation keeps it, which stands in nobody's inbox any more.
fn said_by(sender: &str, time_ms: u64) -> StoredMessage {
    StoredMessage {
        sender: user(sender),
        time_ms,
        client_msg_id: None,
        expires_at_ms: 0,
        alone: false,
        places: Bytes::new(),
        content: Bytes::new(),
    }
}

fn hikers() -> ChatName {
    ChatName::parse("g/hikers").unwrap()
}

/// Something done by `by` to message 3, which alice has sent a minute ago.
fn acts(by: &str, on: ChatName, deed: Deed) -> Act {
    let original = Some(said_by("alice", NOW_MS - 60_000));
    Act { caller: caller(by, "phone"), chat: on, seq: Seq(3), original, deed, content: thumbs_up(3) }
}

/// alice and bob have exchanged ten messages, and are in a group with carol, of five.
fn memory() -> Memory {
    let mut memory = Memory::with_users(&["alice", "bob", "carol", "dave"]);
    memory.set_conversation(
        "alice",
        "bob",
        Conversation { head: Seq(10), last_time_ms: 1, ..Conversation::default() },
    );
    let create = GroupCreate {
        caller: caller("alice", "phone"),
        group: chasqui_proto::GroupId::parse("hikers").unwrap(),
        name: "Hikers".to_owned(),
        description: String::new(),
        photo: Bytes::new(),
        settings: Settings { admins_post: true, ..Settings::default() },
        members: vec![user("bob"), user("carol")],
    };
    act(&mut memory, create, &env());
    for _ in 0..4 {
        act(&mut memory, acts("alice", hikers(), Deed::React).about(1), &env());
    }
    memory
}

impl Act {
    fn about(mut self, seq: u64) -> Act {
        self.seq = Seq(seq);
        self
    }
}

fn shown(entry: &Bytes, owner: &str) -> v1::Message {
    let nothing = |_: &ConversationId, _| Ok::<_, std::convert::Infallible>(None);
    match entry::render(entry, &user(owner), &device("phone"), 0, nothing).unwrap() {
        Rendered::Event(event) => match v1::Event::decode(event).unwrap().event {
            Some(v1::event::Event::Message(message)) => message,
            other => panic!("not a message: {other:?}"),
        },
        Rendered::Skip => panic!("skipped"),
    }
}

#[test]
fn both_sides_and_all_devices_see_it_with_a_number_of_its_own() {
    let mut memory = memory();
    let decision = act(&mut memory, acts("bob", chat("alice"), Deed::React), &env());
    assert_eq!(decision.outcome, Outcome::Accepted { seq: Seq(11), time_ms: NOW_MS });
    for (owner, conversation, sender) in [("alice", "u/bob", ""), ("bob", "u/alice", "bob")] {
        let entries = inbox_entries(&decision, owner);
        assert_eq!(entries.len(), 1, "{owner}");
        let message = shown(entries[0], owner);
        assert_eq!(
            (message.conversation.as_str(), message.sender.as_str(), message.seq),
            (conversation, sender, 11)
        );
        assert_eq!(message.reaction, Some(v1::Reaction { seq: 3, emoji: "👍".to_owned() }));
        assert_eq!(entry::about(&user(owner), entries[0]), Ok(None), "nobody waits to hear of its delivery");
    }
    let own = Act { original: Some(said_by("alice", 1)), ..acts("alice", chat("alice"), Deed::React) };
    assert_eq!(inbox_entries(&act(&mut memory, own, &env()), "alice").len(), 1, "a note to oneself");
}

#[test]
fn all_members_see_it_even_where_only_admins_post() {
    let mut memory = memory();
    let decision = act(&mut memory, acts("bob", hikers(), Deed::React), &env());
    assert_eq!(decision.outcome, Outcome::Accepted { seq: Seq(6), time_ms: NOW_MS });
    for owner in ["alice", "bob", "carol"] {
        let message = shown(inbox_entries(&decision, owner)[0], owner);
        assert_eq!((message.sender.as_str(), message.seq), ("bob", 6), "{owner}");
    }
}

#[test]
fn who_may_not_is_told_why() {
    let late = Env { now_ms: NOW_MS - 60_000 + EDIT_WINDOW_MS + 1, ..env() };
    let in_time = Env { now_ms: NOW_MS - 60_000 + EDIT_WINDOW_MS, ..env() };
    let unknown = |by: &str, on: ChatName| Act { original: None, ..acts(by, on, Deed::React) };
    let rows = [
        ("its sender edits it", acts("alice", chat("bob"), Deed::Edit), in_time, None),
        ("somebody else edits it", acts("bob", chat("alice"), Deed::Edit), env(), Some(ErrorCode::Forbidden)),
        (
            "its sender edits it late",
            acts("alice", chat("bob"), Deed::Edit),
            late,
            Some(ErrorCode::Forbidden),
        ),
        ("a reaction comes late", acts("bob", chat("alice"), Deed::React), late, None),
        ("a message that is none", unknown("bob", chat("alice")), env(), Some(ErrorCode::NoSuchMessage)),
        ("its sender edits it in a group", acts("alice", hikers(), Deed::Edit), env(), None),
        ("a member edits another's", acts("bob", hikers(), Deed::Edit), env(), Some(ErrorCode::Forbidden)),
        ("a stranger reacts", acts("dave", hikers(), Deed::React), env(), Some(ErrorCode::Forbidden)),
        (
            "a message that is none in a group",
            unknown("bob", hikers()),
            env(),
            Some(ErrorCode::NoSuchMessage),
        ),
    ];
    for (what, command, env, expected) in rows {
        let decision = act(&mut memory(), command, &env);
        match expected {
            None => assert!(matches!(decision.outcome, Outcome::Accepted { .. }), "{what}: {decision:?}"),
            Some(code) => {
                assert_eq!(refused(&decision.outcome).0.code, code, "{what}");
                assert!(is_quiet(&decision), "{what}");
            }
        }
    }
}

#[test]
fn what_one_cannot_see_is_not_there() {
    let mut memory = memory();
    let group = chasqui_proto::GroupId::parse("hikers").unwrap();
    let remove =
        GroupRemove { caller: caller("alice", "phone"), group: group.clone(), users: vec![user("bob")] };
    act(&mut memory, remove, &env()); // 6
    let add = crate::machine::command::GroupAdd {
        caller: caller("alice", "phone"),
        group: group.clone(),
        users: vec![user("dave")],
    };
    act(&mut memory, add, &env()); // 7
    let before_dave = act(&mut memory, acts("dave", hikers(), Deed::React), &env());
    assert_eq!(refused(&before_dave.outcome).0.code, ErrorCode::NoSuchMessage);
    assert!(act(&mut memory, acts("dave", hikers(), Deed::React).about(7), &env()).outcome.is_success_code());
    let gone = act(&mut memory, acts("bob", hikers(), Deed::React), &env());
    assert_eq!(refused(&gone.outcome).0.code, ErrorCode::Forbidden);
    act(&mut memory, GroupLeave { caller: caller("carol", "phone"), group }, &env());
    assert!(is_quiet(&act(&mut memory, acts("carol", hikers(), Deed::React), &env())));
}

#[test]
fn removed_users_do_nothing_and_get_nothing() {
    let mut memory = memory();
    act(&mut memory, RemoveUser { user: user("bob") }, &env());
    let decision = act(&mut memory, acts("alice", chat("bob"), Deed::React), &env());
    assert_eq!((inbox_entries(&decision, "alice").len(), inbox_entries(&decision, "bob").len()), (1, 0));
    let decision = act(&mut memory, acts("bob", chat("alice"), Deed::React), &env());
    assert_eq!(refused(&decision.outcome).0.code, ErrorCode::Unauthenticated);
}

#[test]
fn who_comes_under_the_name_of_another_does_nothing_to_what_that_one_saw() {
    let mut memory = memory();
    act(&mut memory, RemoveUser { user: user("bob") }, &env());
    act(&mut memory, CreateUser { user: user("bob") }, &env());
    let decision = act(&mut memory, acts("bob", chat("alice"), Deed::React), &env());
    assert_eq!(refused(&decision.outcome).0.code, ErrorCode::NoSuchMessage);
    let later = Some(said_by("alice", NOW_MS));
    let decision =
        act(&mut memory, Act { original: later, ..acts("bob", chat("alice"), Deed::React) }, &env());
    assert!(decision.outcome.is_success_code());
}

#[test]
fn on_3_1_1_a_refusal_is_an_entry() {
    let mut memory = memory();
    act(&mut memory, Attach { user: user("bob"), device: device("phone") }, &env());
    let old = Act { caller: old_caller("bob", "phone"), ..acts("bob", chat("alice"), Deed::Edit) };
    let decision = act(&mut memory, old, &env());
    assert_eq!(refused(&decision.outcome).1, Told::ByEntry);
}

/// alice has sent bob a message that is edited once; none of it was given to anybody.
fn edited() -> Memory {
    let mut memory = Memory::with_users(&["alice", "bob"]);
    for (name, on) in [("bob", "phone"), ("alice", "phone"), ("alice", "laptop")] {
        act(&mut memory, Attach { user: user(name), device: device(on) }, &env());
    }
    let send = Send {
        caller: caller("alice", "phone"),
        to: chat("bob"),
        message: Outgoing {
            client_msg_id: None,
            content: Bytes::from_static(b"\x12\x03\x0a\x01x"),
            expires_in_s: 0,
        },
    };
    act(&mut memory, send, &env());
    act(&mut memory, about_first("alice", "bob", Deed::Edit), &env());
    memory
}

/// Something done to the first message of alice and bob, as it is kept.
fn about_first(by: &str, with: &str, deed: Deed) -> Act {
    let conversation = ConversationId::direct(&user("alice"), &user("bob"));
    let places = Places::direct(&conversation, |_| 1);
    let original =
        Some(StoredMessage { places: Bytes::copy_from_slice(places.as_bytes()), ..said_by("alice", NOW_MS) });
    let content = match deed {
        Deed::Delete => stored::deletion_content(Seq(1)).into(),
        _ => thumbs_up(1),
    };
    Act { caller: caller(by, "phone"), chat: chat(with), seq: Seq(1), original, deed, content }
}

/// Who has another entry where, by a decision.
fn erased(decision: &Decision) -> Vec<(String, u64, u64)> {
    let nothing = |_: &ConversationId, _| Ok::<_, std::convert::Infallible>(None);
    let erased = |change: &Change| match change {
        Change::EraseEntry { user: owner, position, entry } => {
            let Rendered::Event(event) = entry::render(entry, owner, &device("phone"), 0, nothing).unwrap()
            else {
                panic!("skipped")
            };
            match v1::Event::decode(event).unwrap() {
                v1::Event { position: at, event: Some(v1::event::Event::Gone(gone)) } if at == *position => {
                    Some((owner.to_string(), at, gone.seq))
                }
                other => panic!("not gone: {other:?}"),
            }
        }
        _ => None,
    };
    decision.changes.iter().filter_map(erased).collect()
}

#[test]
fn what_is_deleted_for_everyone_is_nowhere_any_more() {
    let mut memory = edited();
    let decision = act(&mut memory, about_first("alice", "bob", Deed::Delete), &env());
    let expected = [("alice", 1, 1), ("bob", 1, 1), ("alice", 2, 2), ("bob", 2, 2)];
    let expected = expected.map(|(owner, at, seq)| (owner.to_owned(), at, seq));
    assert_eq!(erased(&decision), expected, "the message and its edit");
    let gone = |change: &Change| match change {
        Change::EraseMessage { seq, message, .. } => {
            let message = StoredMessage::decode(message).unwrap();
            assert!(message.sender == user("alice") && v1::Message::decode(message.content).unwrap().gone);
            Some(seq.0)
        }
        _ => None,
    };
    assert_eq!(decision.changes.iter().filter_map(gone).collect::<Vec<_>>(), [1, 2]);
    for owner in ["alice", "bob"] {
        let message = shown(inbox_entries(&decision, owner)[0], owner);
        assert_eq!((message.seq, message.deletion), (3, Some(v1::Deletion { seq: 1 })), "{owner}");
    }
    // Again is once, and nothing else can be done to it.
    assert!(is_quiet(&act(&mut memory, about_first("alice", "bob", Deed::Delete), &env())));
    for deed in [Deed::Edit, Deed::React, Deed::Pin] {
        let decision = act(&mut memory, about_first("alice", "bob", deed), &env());
        assert_eq!(refused(&decision.outcome).0.code, ErrorCode::NoSuchMessage, "{deed:?}");
    }
}

#[test]
fn what_is_in_no_inbox_any_more_is_taken_out_of_none() {
    let mut memory = edited();
    let conversation = ConversationId::direct(&user("alice"), &user("bob"));
    let acknowledged =
        Acknowledged { position: 1, conversation, sender: user("alice"), seq: Seq(1), time_ms: NOW_MS };
    let had =
        Delivered { user: user("bob"), device: device("phone"), up_to: 1, messages: vec![acknowledged] };
    act(&mut memory, had, &env());
    act(&mut memory, RemoveUser { user: user("alice") }, &env());
    act(&mut memory, CreateUser { user: user("alice") }, &env());
    let original = Some(StoredMessage {
        time_ms: NOW_MS + 1,
        ..about_first("alice", "bob", Deed::Delete).original.unwrap()
    });
    let delete = Act { original, ..about_first("alice", "bob", Deed::Delete) };
    let decision = act(&mut memory, delete, &env());
    assert_eq!(erased(&decision), [("bob".to_owned(), 2, 2)]);
}

#[test]
fn who_deletes_for_everyone_is_its_sender_or_an_admin_and_in_time() {
    let late = Env { now_ms: NOW_MS - 60_000 + DELETE_WINDOW_MS + 1, ..env() };
    let in_time = Env { now_ms: NOW_MS - 60_000 + DELETE_WINDOW_MS, ..env() };
    let of_carol = |by| Act { original: Some(said_by("carol", NOW_MS)), ..acts(by, hikers(), Deed::Delete) };
    let rows = [
        ("its sender", acts("alice", chat("bob"), Deed::Delete), in_time, None),
        ("its sender, late", acts("alice", chat("bob"), Deed::Delete), late, Some(ErrorCode::Forbidden)),
        ("the other side", acts("bob", chat("alice"), Deed::Delete), env(), Some(ErrorCode::Forbidden)),
        ("a member, of an admin", acts("bob", hikers(), Deed::Delete), env(), Some(ErrorCode::Forbidden)),
        ("a member, of another", of_carol("bob"), env(), Some(ErrorCode::Forbidden)),
        ("a member, of oneself", of_carol("carol"), env(), None),
        ("an admin, of a member", of_carol("alice"), env(), None),
        (
            "an admin, late",
            of_carol("alice"),
            Env { now_ms: NOW_MS + DELETE_WINDOW_MS + 1, ..env() },
            Some(ErrorCode::Forbidden),
        ),
        ("a stranger", acts("dave", hikers(), Deed::Delete), env(), Some(ErrorCode::Forbidden)),
    ];
    for (what, command, env, expected) in rows {
        let decision = act(&mut memory(), command, &env);
        match expected {
            None => assert!(matches!(decision.outcome, Outcome::Accepted { .. }), "{what}: {decision:?}"),
            Some(code) => {
                assert_eq!(refused(&decision.outcome).0.code, code, "{what}");
                assert!(is_quiet(&decision), "{what}");
            }
        }
    }
}

#[test]
fn who_may_change_what_a_group_shows_pins() {
    for (admins_edit, by, expected) in
        [(false, "alice", true), (false, "bob", true), (true, "alice", true), (true, "bob", false)]
    {
        let mut memory = memory();
        let settings = NewSettings { admins_edit: Some(admins_edit), ..NewSettings::default() };
        let group = chasqui_proto::GroupId::parse("hikers").unwrap();
        act(
            &mut memory,
            GroupEdit { caller: caller("alice", "phone"), group, text: NewText::default(), settings },
            &env(),
        );
        let decision = act(&mut memory, acts(by, hikers(), Deed::Pin), &env());
        assert_eq!(decision.outcome.is_success_code(), expected, "{by}, {admins_edit}");
    }
}

#[test]
fn a_message_is_edited_so_often_and_no_more() {
    let mut memory = memory();
    for _ in 0..EDITS_MAX {
        assert!(act(&mut memory, acts("alice", hikers(), Deed::Edit), &env()).outcome.is_success_code());
    }
    let decision = act(&mut memory, acts("alice", hikers(), Deed::Edit), &env());
    assert_eq!(refused(&decision.outcome).0.code, ErrorCode::QuotaExceeded);
    assert!(act(&mut memory, acts("alice", hikers(), Deed::Delete), &env()).outcome.is_success_code());
}

#[test]
fn what_is_about_something_that_one_alone_sees_is_theirs_alone() {
    for deed in [Deed::Edit, Deed::React, Deed::Delete, Deed::Pin] {
        let original = Some(StoredMessage { alone: true, ..said_by("alice", NOW_MS - 60_000) });
        let command = Act { original, ..acts("alice", chat("bob"), deed) };
        let decision = act(&mut memory(), command, &env());
        assert_eq!((inbox_entries(&decision, "alice").len(), inbox_entries(&decision, "bob").len()), (1, 0));
    }
}

#[test]
fn an_edit_that_one_alone_sees_is_theirs_alone_when_it_is_erased() {
    for blocks in [false, true] {
        let mut memory = edited();
        let block = SetTies {
            caller: caller("bob", "phone"),
            users: vec![user("alice")],
            what: What::Blocked(blocks),
        };
        act(&mut memory, block, &env());
        act(&mut memory, about_first("alice", "bob", Deed::Edit), &env());
        let decision = act(&mut memory, about_first("alice", "bob", Deed::Delete), &env());
        let erased = decision.changes.iter().filter_map(|change| match change {
            Change::EraseMessage { seq, message, .. } => {
                Some((seq.0, StoredMessage::decode(message).unwrap().alone))
            }
            _ => None,
        });
        assert_eq!(erased.collect::<Vec<_>>(), [(1, false), (2, false), (3, blocks)]);
    }
}

#[test]
fn what_is_over_is_gone_before_it_is_erased() {
    let over = || Some(StoredMessage { expires_at_ms: NOW_MS, ..said_by("alice", NOW_MS - 60_000) });
    for deed in [Deed::Edit, Deed::React, Deed::Pin] {
        let command = Act { original: over(), ..acts("alice", chat("bob"), deed) };
        let decision = act(&mut memory(), command, &env());
        assert_eq!(refused(&decision.outcome).0.code, ErrorCode::NoSuchMessage, "{deed:?}");
    }
    let delete = Act { original: over(), ..acts("alice", chat("bob"), Deed::Delete) };
    let decision = act(&mut memory(), delete, &env());
    assert!(decision.outcome.is_success_code() && is_quiet(&decision), "deleting again changes nothing");
}

#[test]
fn the_number_before_is_one_that_its_reader_saw() {
    for (is_somebody_else, expected) in [(false, 2), (true, 0)] {
        let mut memory = edited();
        let blocks = |blocks| SetTies {
            caller: caller("bob", "phone"),
            users: vec![user("alice")],
            what: What::Blocked(blocks),
        };
        act(&mut memory, blocks(true), &env());
        act(&mut memory, about_first("alice", "bob", Deed::React), &env()); // 3, for alice alone
        let later = Env { now_ms: NOW_MS + 1, ..env() };
        if is_somebody_else {
            act(&mut memory, RemoveUser { user: user("bob") }, &later);
            act(&mut memory, CreateUser { user: user("bob") }, &later);
        } else {
            act(&mut memory, blocks(false), &later);
        }
        let decision = act(&mut memory, about_first("alice", "bob", Deed::React), &later);
        let message = shown(inbox_entries(&decision, "bob")[0], "bob");
        assert_eq!((message.seq, message.prev_seq), (4, expected));
    }
}
