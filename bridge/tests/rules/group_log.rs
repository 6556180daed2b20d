//! `g/{group}/in` over real sockets: who may read a group's own log, what stops when somebody goes, and what waits for who is away.

use crate::support::*;
use chasqui_broker::codec::{Publish, QoS, ReasonCode, Version};
use chasqui_proto::v1::group_change::Change;
use chasqui_proto::v1::{self, event};
use prost::Message as _;

const LOG: &str = "g/hikers/in";
const SEND: &str = "g/hikers/send";

fn about(user: &str) -> Vec<u8> {
    v1::GroupUsers { group: "hikers".to_owned(), users: vec![user.to_owned()], request_id: 0 }.encode_to_vec()
}

async fn does(client: &mut Client, topic: &str, payload: &[u8]) {
    let ack = client.publish(topic, payload).await;
    assert_eq!(ack.reason, ReasonCode::Success, "{topic}: {:?}", reason_of(&ack));
}

/// A group of alice with bob; by a client of hers that is not used otherwise.
async fn group(service: &Service, version: Version) -> Client {
    let mut alice = service.publisher(version, "alice").await;
    let (group, name, members) = ("hikers".to_owned(), "Hikers".to_owned(), vec!["bob".to_owned()]);
    let create = v1::GroupCreate { group, name, members, ..v1::GroupCreate::default() };
    does(&mut alice, "do/group.create", &create.encode_to_vec()).await;
    alice
}

/// What an entry of the log says: its number, and what it is.
fn said(publish: &Publish) -> (u64, String) {
    let seen = event(publish);
    let what = match seen.event.expect("something is said") {
        event::Event::Message(message) => {
            assert_eq!((message.conversation.as_str(), message.seq), ("g/hikers", seen.position));
            let change = message.change.as_ref().and_then(|change| change.change.as_ref());
            match (text_of(&message), change) {
                (Some(text), _) => text.to_owned(),
                (None, Some(Change::Removed(users))) => format!("removed {}", users.users.join(" ")),
                (None, Some(Change::Added(users))) => format!("added {}", users.users.join(" ")),
                (None, other) => panic!("nothing that this test does: {other:?}, {message:?}"),
            }
        }
        event::Event::Gone(gone) => {
            assert_eq!((gone.conversation.as_str(), gone.seq), ("g/hikers", seen.position));
            "gone".to_owned()
        }
        other => panic!("a group's log holds no such event: {other:?}"),
    };
    (seen.position, what)
}

async fn expect(reader: &mut Client, entries: &[(u64, &str)]) {
    for (seq, what) in entries {
        let publish = reader.take().await;
        assert_eq!(&*publish.topic, LOG);
        assert_eq!(said(&publish), (*seq, (*what).to_owned()));
    }
    reader.nothing().await;
}

/// A session that is kept, and reads the group's log and nothing else.
async fn reader(service: &Service, version: Version, name: &str, client_id: &str) -> Client {
    let mut reader = service.kept(version, name, client_id).await;
    reader.subscribe_once(LOG).await;
    reader
}

#[tokio::test]
async fn members_read_the_log_of_a_group_and_nobody_else_does() {
    both(|version| async move {
        let service = Service::start().await;
        let mut alice = group(&service, version).await;
        let mut bob = reader(&service, version, "bob", "bot").await;
        let mut json = service.kept(version, "bob", "json").await;
        json.subscribe_once("json/g/hikers/#").await;
        for (client, filter) in
            [("carol", LOG), ("carol", "json/g/hikers/in"), ("carol", "g/hikers/#"), ("bob", "g/nobody/in")]
        {
            let mut stranger = service.kept(version, client, "stranger").await;
            let refused = match version {
                Version::V5 => ReasonCode::NotAuthorized,
                Version::V311 => ReasonCode::UnspecifiedError,
            };
            assert_eq!(
                stranger.subscribe(&[(filter, QoS::AtLeastOnce)]).await,
                [refused],
                "{client} {filter}"
            );
            does(&mut alice, SEND, &says(filter)).await;
            stranger.nothing().await;
        }
        let heard = [(2, LOG), (3, "json/g/hikers/in"), (4, "g/hikers/#"), (5, "g/nobody/in")];
        expect(&mut bob, &heard).await;
        for (seq, text) in heard {
            let publish = json.take().await;
            assert_eq!(&*publish.topic, "json/g/hikers/in");
            let event: v1::Event =
                chasqui_proto::json::decode(&publish.payload).expect("the JSON of an Event");
            let Some(event::Event::Message(message)) = event.event else { panic!("a message was expected") };
            assert_eq!((message.seq, message.sender.as_str(), text_of(&message)), (seq, "alice", Some(text)));
        }
        // The sender's other session has what it sent.
        let mut own = reader(&service, version, "alice", "bot").await;
        does(&mut alice, SEND, &says("mine")).await;
        expect(&mut own, &[(6, "mine")]).await;
    })
    .await;
}

#[tokio::test]
async fn who_is_removed_reads_no_more_of_the_log_live_or_after_a_power_cut_until_they_are_back() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut alice = group(&service, version).await;
        let mut live = reader(&service, version, "bob", "live").await;
        reader(&service, version, "bob", "away").await.disconnect().await;
        does(&mut alice, SEND, &says("before")).await;
        does(&mut alice, "do/group.remove", &about("bob")).await;
        does(&mut alice, SEND, &says("after")).await;
        expect(&mut live, &[(2, "before"), (3, "removed bob")]).await;
        service.power_cut(5).await;
        let mut alice = service.publisher(version, "alice").await;
        does(&mut alice, SEND, &says("later")).await;
        let mut away = service.kept(version, "bob", "away").await;
        expect(&mut away, &[(2, "before"), (3, "removed bob")]).await;
        let mut anew = service.kept(version, "bob", "anew").await;
        let codes = anew.subscribe(&[(LOG, QoS::AtLeastOnce)]).await;
        assert!(codes[0].is_error(), "a former member begins no cursor: {codes:?}");
        does(&mut alice, "do/group.add", &about("bob")).await;
        does(&mut alice, SEND, &says("again")).await;
        expect(&mut away, &[(6, "added bob"), (7, "again")]).await;
    })
    .await;
}

#[tokio::test]
async fn what_was_deleted_meanwhile_is_gone_from_the_log_for_who_was_away() {
    both(|version| async move {
        let mut service = Service::start().await;
        let mut alice = group(&service, version).await;
        reader(&service, version, "bob", "away").await.disconnect().await;
        for text in ["stays", "goes"] {
            does(&mut alice, SEND, &says(text)).await;
        }
        let chat = "g/hikers".to_owned();
        let delete = v1::Delete { conversation: chat, seq: 3, for_everyone: true, ..v1::Delete::default() };
        does(&mut alice, "do/delete", &delete.encode_to_vec()).await;
        service.restart().await;
        let mut away = service.kept(version, "bob", "away").await;
        assert_eq!(said(&away.take().await), (2, "stays".to_owned()));
        assert_eq!(said(&away.take().await), (3, "gone".to_owned()));
    })
    .await;
}
