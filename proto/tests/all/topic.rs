//! Topic names: every row there and back, and what is no topic of ours.

use chasqui_proto::ids::IdError;
use chasqui_proto::topic::ROWS;
use chasqui_proto::{
    ChatName, Class, DeviceId, Direction, GroupId, ParsedTopic, Topic, TopicError, UserId, Verb,
};
use proptest::prelude::*;

#[test]
fn a_row_stands_where_its_kind_says_and_its_pattern_parses_to_it() {
    for (at, row) in ROWS.iter().enumerate() {
        assert_eq!(row.kind as usize, at, "{}", row.pattern);
        let name = super::contract::sample(row.pattern);
        let topic = Topic::parse(&name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(topic.kind(), row.kind, "{name}");
        assert_eq!(topic.to_string(), name);
        assert_eq!((topic.class(), topic.direction()), (row.class, row.direction));
        let twin = ParsedTopic::parse(&format!("json/{name}"));
        if row.json {
            assert_eq!(twin, Ok(Some(ParsedTopic { json: true, topic })));
        } else {
            assert_eq!(twin, Err(TopicError::NoJson), "{name}");
        }
    }
}

#[test]
fn what_is_not_under_our_roots_is_generic() {
    for name in [
        "sensors/1",
        "",
        "/",
        "/u/alice/in",
        "user/alice",
        "U/alice/in",
        "$share",
        "$SYSTEM/x",
        "jsonx/u/alice/in",
        "+/alice/in",
    ] {
        assert_eq!(ParsedTopic::parse(name), Ok(None), "{name:?}");
    }
}

#[test]
fn what_is_under_our_roots_and_no_row_is_an_error() {
    use TopicError::{NoJson, NoRow, UnknownVerb};
    let table = [
        ("u", NoRow),
        ("u/", NoRow),
        ("u/alice", NoRow),
        ("u/alice/", NoRow),
        ("u/alice/in/", NoRow),
        ("u/alice/inbox", NoRow),
        ("u/alice/d/laptop", NoRow),
        ("u/alice/typing/g/climbers", NoRow),
        ("u/a/b/c/d/e/f/g/h", NoRow),
        ("g/climbers", NoRow),
        ("g/climbers/profile", NoRow),
        ("do", NoRow),
        ("do/", UnknownVerb),
        ("do/dance", UnknownVerb),
        ("do/read/x", NoRow),
        ("json", NoRow),
        ("json/", NoRow),
        ("json/sensors/1", NoRow),
        ("json/json/u/alice/in", NoRow),
        ("json/u/alice/profile", NoJson),
        ("json/$SYS/uptime", NoJson),
        ("$SYS", NoRow),
        ("$SYS/", NoRow),
        ("u//in", TopicError::Id(IdError::Empty)),
        ("u/al ice/in", TopicError::Id(IdError::Character(' '))),
        ("u/alice/receipts/u/+", TopicError::Id(IdError::Character('+'))),
        ("json/u/é/send", TopicError::Id(IdError::Character('é'))),
    ];
    for (name, error) in table {
        assert_eq!(ParsedTopic::parse(name), Err(error), "{name:?}");
    }
    let long = "x".repeat(65);
    assert_eq!(ParsedTopic::parse(&format!("u/{long}/send")), Err(TopicError::Id(IdError::TooLong(65))));
}

#[test]
fn clients_publish_commands_and_signals_only() {
    for row in ROWS.iter().filter(|row| row.direction == Direction::Publish) {
        assert!(matches!(row.class, Class::Command | Class::Signal), "{}", row.pattern);
    }
    assert!(ROWS.iter().all(|row| row.class != Class::Command || row.direction == Direction::Publish));
}

#[test]
fn each_verb_has_a_name_of_its_own() {
    for verb in Verb::ALL {
        let topic = Topic::Do(verb);
        assert_eq!(Topic::parse(&topic.to_string()), Ok(topic.clone()));
        assert!(topic.built());
    }
    assert_eq!(Topic::parse("do/group"), Err(TopicError::UnknownVerb));
}

fn user() -> impl Strategy<Value = UserId> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|id| UserId::parse(&id).unwrap())
}

fn group() -> impl Strategy<Value = GroupId> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|id| GroupId::parse(&id).unwrap())
}

fn device() -> impl Strategy<Value = DeviceId> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|id| DeviceId::parse(&id).unwrap())
}

fn chat() -> impl Strategy<Value = ChatName> {
    prop_oneof![user().prop_map(ChatName::User), group().prop_map(ChatName::Group)]
}

fn any_topic() -> impl Strategy<Value = Topic> {
    prop_oneof![
        chat().prop_map(|to| Topic::Send { to }),
        chat().prop_map(|to| Topic::Typing { to }),
        prop::sample::select(&Verb::ALL[..]).prop_map(Topic::Do),
        user().prop_map(|user| Topic::Inbox { user }),
        (user(), group()).prop_map(|(user, group)| Topic::MirroredInbox { user, group }),
        group().prop_map(|group| Topic::GroupLog { group }),
        (user(), device()).prop_map(|(user, device)| Topic::Reply { user, device }),
        (user(), chat()).prop_map(|(user, chat)| Topic::Receipts { user, chat }),
        (user(), user()).prop_map(|(user, peer)| Topic::TypingUser { user, peer }),
        (user(), group(), user()).prop_map(|(user, group, member)| Topic::TypingMember {
            user,
            group,
            member
        }),
        (user(), user()).prop_map(|(user, contact)| Topic::Presence { user, contact }),
        user().prop_map(|user| Topic::Profile { user }),
        group().prop_map(|group| Topic::GroupInfo { group }),
        "[a-z/]{1,30}".prop_map(|rest| Topic::Sys(rest.into())),
    ]
}

proptest! {
    #[test]
    fn every_topic_prints_as_it_parses(topic in any_topic(), json in any::<bool>()) {
        let parsed = ParsedTopic { json: json && topic.row().json, topic };
        let name = parsed.to_string();
        prop_assert_eq!(ParsedTopic::parse(&name), Ok(Some(parsed)));
        prop_assert!(name.len() <= chasqui_proto::limits::LONGEST_TOPIC_BYTES || name.starts_with("$SYS"));
        prop_assert!(name.split('/').count() <= chasqui_proto::limits::DEEPEST_TOPIC_LEVELS || name.starts_with("$SYS"));
    }

    #[test]
    fn what_parses_prints_the_same(name in "(json/)?(u|g|do|json|\\$SYS)(/[a-z+#]{0,4}){0,6}") {
        if let Ok(Some(parsed)) = ParsedTopic::parse(&name) {
            prop_assert_eq!(parsed.to_string(), name);
        }
    }
}
