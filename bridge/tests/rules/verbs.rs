//! Every verb, in protobuf and in JSON, on both versions: the same is asked, and the same comes of it.

use crate::support::*;
use chasqui_broker::codec::{QoS, ReasonCode};
use chasqui_proto::json;
use chasqui_proto::topic::Verb;
use chasqui_proto::v1::{self, ErrorCode};
use prost::Message;
use serde::Serialize;

/// A payload in the encoding that is asked for.
fn encoded<M: Message + Serialize>(message: &M, as_json: bool) -> Vec<u8> {
    if as_json {
        json::encode(message).expect("messages of the contract are JSON too")
    } else {
        message.encode_to_vec()
    }
}

/// What alice asks with a verb, in a group of hers with bob that is called `group`; she has exchanged two messages with him.
fn asks(verb: Verb, group: &str, as_json: bool) -> Vec<u8> {
    let (id, request_id) = (group.to_owned(), 9);
    let body = Some(v1::Body { kind: Some(v1::body::Kind::Text("hello".to_owned())) });
    let users =
        |user: &str| v1::GroupUsers { group: group.to_owned(), users: vec![user.to_owned()], request_id };
    let chat = || "u/bob".to_owned();
    match verb {
        Verb::Read => encoded(&v1::Read { conversation: chat(), up_to_seq: 2, request_id }, as_json),
        Verb::Played => encoded(&v1::Played { conversation: chat(), up_to_seq: 2, request_id }, as_json),
        Verb::Edit => encoded(
            &v1::Edit { conversation: chat(), seq: 1, body, request_id, ..v1::Edit::default() },
            as_json,
        ),
        Verb::React => {
            encoded(&v1::React { conversation: chat(), seq: 2, emoji: "👍".to_owned(), request_id }, as_json)
        }
        Verb::Delete => {
            let (conversation, for_everyone) = (chat(), as_json);
            encoded(&v1::Delete { conversation, seq: 1, for_everyone, request_id }, as_json)
        }
        Verb::Pin => {
            encoded(&v1::PinMessage { conversation: chat(), seq: 2, pinned: as_json, request_id }, as_json)
        }
        Verb::Star => {
            let star = v1::Star { conversation: chat(), seq: 2, starred: true, request_id };
            encoded(&star, as_json)
        }
        Verb::Starred => encoded(&v1::Starred { request_id, ..v1::Starred::default() }, as_json),
        Verb::Devices => encoded(&v1::Devices { request_id }, as_json),
        // She has two, for this.
        Verb::DeviceRemove => {
            let device = if as_json { "old-2" } else { "old-1" }.to_owned();
            encoded(&v1::DeviceRemove { device, request_id }, as_json)
        }
        Verb::Timer => {
            let seconds = 60 + u32::from(as_json);
            encoded(&v1::SetTimer { conversation: chat(), seconds, request_id }, as_json)
        }
        Verb::History => {
            encoded(&v1::History { conversation: chat(), request_id, ..v1::History::default() }, as_json)
        }
        Verb::Settings => {
            let presence = Some(v1::settings::Audience::Contacts.into());
            encoded(&v1::Settings { hide_read_receipts: Some(as_json), presence, request_id }, as_json)
        }
        Verb::Chat => encoded(
            &v1::Chat { conversation: chat(), pinned: Some(as_json), request_id, ..v1::Chat::default() },
            as_json,
        ),
        Verb::Sync => encoded(&v1::Sync { request_id, ..v1::Sync::default() }, as_json),
        Verb::GroupCreate => {
            let (group, name) = (format!("{id}-2"), "Another".to_owned());
            encoded(&v1::GroupCreate { group, name, request_id, ..v1::GroupCreate::default() }, as_json)
        }
        Verb::GroupUpdate => {
            let description = Some("Saturdays".to_owned());
            encoded(
                &v1::GroupUpdate { group: id, description, request_id, ..v1::GroupUpdate::default() },
                as_json,
            )
        }
        Verb::GroupSettings => {
            let settings =
                Some(v1::GroupSettings { admins_edit: Some(true), ..v1::GroupSettings::default() });
            encoded(&v1::GroupConfigure { group: id, settings, request_id }, as_json)
        }
        Verb::GroupAdd => encoded(&users("carol"), as_json),
        // Of the last of them nothing comes: he is no admin.
        Verb::GroupRemove | Verb::GroupPromote | Verb::GroupDemote => encoded(&users("bob"), as_json),
        Verb::GroupLeave | Verb::GroupGet => encoded(&v1::GroupNamed { group: id, request_id }, as_json),
        Verb::GroupInvite => {
            let action = v1::group_invite::Action::Reset.into();
            encoded(&v1::GroupInvite { group: id, action, request_id }, as_json)
        }
        // A member is one already, whatever the secret.
        Verb::GroupJoin => {
            encoded(&v1::GroupJoin { group: id, invite: "secret".to_owned(), request_id }, as_json)
        }
        Verb::ContactAdd | Verb::ContactRemove => {
            encoded(&v1::ContactUsers { users: vec!["bob".to_owned()], request_id }, as_json)
        }
        Verb::Block | Verb::Unblock => {
            encoded(&v1::BlockUser { user: "carol".to_owned(), request_id }, as_json)
        }
        Verb::Report => {
            let report =
                v1::Report { conversation: chat(), seqs: vec![2], request_id, ..v1::Report::default() };
            encoded(&report, as_json)
        }
        Verb::Contacts => encoded(&v1::ContactList { request_id, ..v1::ContactList::default() }, as_json),
    }
}

#[tokio::test]
async fn every_verb_is_understood_in_both_encodings_and_answered_in_the_same() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = service.connect(&user(version, "alice", "asks")).await;
        alice.subscribe(&[("u/alice/d/asks/reply", QoS::AtMostOnce)]).await;
        let mut as_json_too = service.connect(&user(version, "alice", "json")).await;
        as_json_too.subscribe(&[("json/u/alice/d/json/reply", QoS::AtMostOnce)]).await;
        for device in ["old-1", "old-2"] {
            service.device(version, "alice", device).await.disconnect().await;
        }
        alice.tell("bob", "one").await;
        service.publisher(version, "bob").await.tell("alice", "two").await;
        for verb in Verb::ALL {
            let mut replies = Vec::new();
            for as_json in [false, true] {
                let group = format!("{}-{as_json}", verb.name().replace('.', "-"));
                let create = v1::GroupCreate {
                    group: group.clone(),
                    name: "Hikers".to_owned(),
                    members: vec!["bob".to_owned()],
                    ..v1::GroupCreate::default()
                };
                let made = alice.publish("do/group.create", &create.encode_to_vec()).await;
                assert_eq!(made.reason, ReasonCode::Success);
                let client = if as_json { &mut as_json_too } else { &mut alice };
                let topic = format!("{}do/{}", if as_json { "json/" } else { "" }, verb.name());
                let (ack, taken) = client.publish_and_take(&topic, &asks(verb, &group, as_json)).await;
                assert_eq!(ack.reason, ReasonCode::Success, "{topic}: {:?}", reason_of(&ack));
                let reply = match taken.into_iter().next() {
                    Some(reply) => reply,
                    None => client.take().await,
                };
                assert_eq!(reply.topic.starts_with("json/"), as_json, "{topic}");
                let reply: v1::Reply = if as_json {
                    json::decode(&reply.payload).expect("the JSON of a Reply")
                } else {
                    v1::Reply::decode(reply.payload).expect("a Reply")
                };
                assert_eq!((reply.request_id, reply.code()), (9, ErrorCode::Ok), "{topic}");
                assert_eq!(seq_of(&ack).unwrap_or(reply.seq), reply.seq, "{topic}: both say the same");
                replies.push(reply);
            }
            let [first, second] = &replies[..] else { unreachable!("two were asked") };
            assert_eq!(first.group.is_some(), second.group.is_some(), "{}", verb.name());
            assert_eq!(first.invite.len(), second.invite.len(), "{}", verb.name());
            assert_eq!(first.messages.is_empty(), second.messages.is_empty(), "{}", verb.name());
            assert_eq!(first.chats.is_empty(), second.chats.is_empty(), "{}", verb.name());
            let says_more = !first.devices.is_empty()
                || !first.chats.is_empty()
                || first.group.is_some()
                || !first.invite.is_empty()
                || !first.messages.is_empty();
            let asks_for_more = matches!(
                verb,
                Verb::History
                    | Verb::Starred
                    | Verb::Devices
                    | Verb::Sync
                    | Verb::GroupCreate
                    | Verb::GroupInvite
                    | Verb::GroupJoin
                    | Verb::GroupGet
            );
            assert_eq!(says_more, asks_for_more, "{}", verb.name());
        }
    })
    .await;
}
