//! Ids, chat names and conversations.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use chasqui_proto::ids::{ClientMsgIdError, ConversationError, IdError};
use chasqui_proto::{ChatName, ClientMsgId, ConversationId, GroupId, Seq, UserId};
use proptest::prelude::*;

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

#[test]
fn an_id_is_1_to_64_letters_digits_hyphens_and_underscores() {
    for good in ["a", "A-_z09", &"x".repeat(38), &"x".repeat(39), &"x".repeat(64)] {
        assert_eq!(UserId::parse(good).map(|id| id.as_str().to_owned()), Ok(good.to_owned()));
    }
    assert_eq!(UserId::parse(""), Err(IdError::Empty));
    assert_eq!(UserId::parse(&"x".repeat(65)), Err(IdError::TooLong(65)));
    for (bad, character) in
        [("a/b", '/'), ("é", 'é'), ("a+", '+'), ("#", '#'), ("a b", ' '), ("ab€", '€'), ("\0", '\0')]
    {
        assert_eq!(UserId::parse(bad), Err(IdError::Character(character)), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn ids_behave_in_maps_and_orders_as_their_text(a in "[A-Za-z0-9_-]{1,64}", b in "[A-Za-z0-9_-]{1,64}") {
        let (x, y) = (user(&a), user(&b));
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        prop_assert_eq!(x == y, a == b);
        let hasher = RandomState::new();
        prop_assert_eq!(hasher.hash_one(&x), hasher.hash_one(a.as_str()));
        let map = HashMap::from([(x, 1)]);
        prop_assert_eq!(map.get(a.as_str()), Some(&1));
    }

    #[test]
    fn a_direct_conversation_is_the_same_from_both_sides(a in "[A-Za-z0-9_-]{1,64}", b in "[A-Za-z0-9_-]{1,64}") {
        let (a, b) = (user(&a), user(&b));
        let id = ConversationId::named_by(&a, &ChatName::User(b.clone()));
        prop_assert_eq!(&id, &ConversationId::named_by(&b, &ChatName::User(a.clone())));
        prop_assert_eq!(id.peer_of(&a), Some(&b));
        prop_assert_eq!(id.name_for(&b), Some(ChatName::User(a)));
        let mut key = Vec::new();
        id.write_key(&mut key);
        let text = String::from_utf8(key).unwrap();
        prop_assert_eq!(&text, &id.to_string());
        prop_assert_eq!(ConversationId::parse(&text), Ok(id));
    }
}

#[test]
fn a_conversation_has_one_name_that_parses() {
    assert_eq!(ConversationId::parse("d/bob/alice"), Err(ConversationError::Order));
    assert_eq!(ConversationId::parse("d/alice"), Err(ConversationError::Shape));
    assert_eq!(ConversationId::parse("d/alice/bob/x"), Err(ConversationError::Id(IdError::Character('/'))));
    assert_eq!(ConversationId::parse("u/alice"), Err(ConversationError::Shape));
    let group = ConversationId::Group(GroupId::parse("climbers").unwrap());
    assert_eq!(ConversationId::parse("g/climbers"), Ok(group.clone()));
    assert_eq!(group.peer_of(&user("alice")), None);
    assert_eq!(ConversationId::direct(&user("a"), &user("b")).peer_of(&user("c")), None);
}

#[test]
fn notes_to_oneself_are_a_conversation() {
    let me = user("alice");
    let id = ConversationId::direct(&me, &me);
    assert_eq!(id.to_string(), "d/alice/alice");
    assert_eq!(id.peer_of(&me), Some(&me));
}

#[test]
fn chat_names() {
    assert_eq!(ChatName::parse("u/bob"), Ok(ChatName::User(user("bob"))));
    assert_eq!(ChatName::parse("g/x").map(|name| name.to_string()), Ok("g/x".to_owned()));
    for bad in ["bob", "u", "d/a/b", "", "/u/bob"] {
        assert_eq!(ChatName::parse(bad), Err(ConversationError::Shape), "{bad:?}");
    }
    assert_eq!(ChatName::parse("u/"), Err(ConversationError::Id(IdError::Empty)));
}

#[test]
fn a_client_msg_id_is_1_to_16_bytes_and_differs_by_length() {
    assert_eq!(ClientMsgId::from_bytes(b""), Err(ClientMsgIdError::Empty));
    assert_eq!(ClientMsgId::from_bytes(&[7; 17]), Err(ClientMsgIdError::TooLong(17)));
    assert_eq!(ClientMsgId::from_bytes(&[7; 16]).unwrap().as_bytes(), [7; 16]);
    let (short, long) = (ClientMsgId::from_bytes(&[1]).unwrap(), ClientMsgId::from_bytes(&[1, 0]).unwrap());
    assert_ne!(short, long);
    assert_eq!(format!("{long:?}"), "0100");
}

#[test]
fn numbers_start_at_one() {
    assert_eq!(Seq::NONE.next(), Seq(1));
    assert_eq!(Seq(12).to_string(), "12");
}
