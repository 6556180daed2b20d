//! What clients of the service say and hear: payloads of the contract, and the few steps that most tests are made of.

use super::{Client, Hello, Service};
use chasqui_bridge::account::Hash;
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::packet::ping;
use chasqui_broker::codec::{Ack, Publish, PublishOut, QoS, ReasonCode, Version};
use chasqui_proto::{json, v1};
use prost::Message as _;
use std::sync::Arc;

/// A user's client; its session ends with the connection.
pub fn user(version: Version, user: &str, client_id: &str) -> Hello {
    Hello::new(version, client_id).user(user, user)
}

/// A text with an id, as a protobuf `Send`.
pub fn send(text: &str, client_msg_id: &[u8]) -> Vec<u8> {
    let body = v1::Body { kind: Some(v1::body::Kind::Text(text.to_owned())) };
    v1::Send { client_msg_id: client_msg_id.to_vec().into(), body: Some(body), ..v1::Send::default() }
        .encode_to_vec()
}

/// A text without an id, as a protobuf `Send`.
pub fn says(text: &str) -> Vec<u8> {
    send(text, b"")
}

/// A protobuf `Read`.
pub fn read(conversation: &str, up_to_seq: u64) -> Vec<u8> {
    v1::Read { conversation: conversation.to_owned(), up_to_seq, request_id: 0 }.encode_to_vec()
}

/// An entry of an inbox, in whichever encoding its topic has.
pub fn event(publish: &Publish) -> v1::Event {
    if publish.topic.starts_with("json/") {
        json::decode(&publish.payload).expect("the JSON of an Event")
    } else {
        v1::Event::decode(publish.payload.clone()).expect("an Event")
    }
}

/// The message that an entry is.
pub fn message(publish: &Publish) -> v1::Message {
    match event(publish).event {
        Some(v1::event::Event::Message(message)) => message,
        other => panic!("a message was expected: {other:?}"),
    }
}

/// The refusal that an entry is.
pub fn rejected(publish: &Publish) -> v1::Rejected {
    match event(publish).event {
        Some(v1::event::Event::Rejected(rejected)) => rejected,
        other => panic!("a refusal was expected: {other:?}"),
    }
}

/// A receipt, in whichever encoding its topic has. The conversation is the one that the topic names.
pub fn receipt(publish: &Publish) -> v1::Receipt {
    let mut receipt: v1::Receipt = if publish.topic.starts_with("json/") {
        json::decode(&publish.payload).expect("the JSON of a Receipt")
    } else {
        v1::Receipt::decode(publish.payload.clone()).expect("a Receipt")
    };
    let (_, chat) = publish.topic.split_once("/receipts/").expect("the topic of a receipt");
    assert!(receipt.conversation.is_empty() || receipt.conversation == chat, "{publish:?}");
    chat.clone_into(&mut receipt.conversation);
    receipt
}

/// The text of a message; `None` where it comes without its body.
pub fn text_of(message: &v1::Message) -> Option<&str> {
    match message.body.as_ref()?.kind.as_ref()? {
        v1::body::Kind::Text(text) => Some(text),
        other => panic!("a text was expected: {other:?}"),
    }
}

/// The sequence number in a PUBACK on 5.0.
pub fn seq_of(ack: &Ack) -> Option<u64> {
    let seq = ack.properties.as_ref()?.user_properties.get("seq")?.to_owned();
    Some(seq.parse().expect("a number in decimal"))
}

/// The reason string in a PUBACK on 5.0.
pub fn reason_of(ack: &Ack) -> Option<String> {
    ack.properties.as_ref()?.reason_string.as_ref().map(|reason| reason.as_str().to_owned())
}

/// Publishes what must be done.
pub async fn does(client: &mut Client, topic: &str, payload: &[u8]) {
    let ack = client.publish(topic, payload).await;
    assert_eq!(ack.reason, ReasonCode::Success, "{topic}: {:?}", reason_of(&ack));
}

/// All that a user may see of a conversation, which is less than a page.
pub async fn history(client: &mut Client, conversation: &str) -> Vec<v1::Message> {
    let query =
        v1::History { conversation: conversation.to_owned(), request_id: 1, ..v1::History::default() };
    let reply = client.ask("do/history", &query.encode_to_vec()).await;
    assert_eq!(reply.code(), v1::ErrorCode::Ok);
    reply.messages
}

impl Service {
    /// A session that is kept; subscribed to nothing, so it is no device yet.
    pub async fn kept(&self, version: Version, name: &str, client_id: &str) -> Client {
        self.connect(&user(version, name, client_id).kept()).await
    }

    /// A user's device: a session that is kept, subscribed to its `in` at QoS 1. New or not.
    pub async fn device(&self, version: Version, name: &str, client_id: &str) -> Client {
        let mut device = self.kept(version, name, client_id).await;
        device.subscribe_once(&format!("u/{name}/in")).await;
        device
    }

    /// A user's client that shows all receipts as they come and has no other part in anything. What it is shown to begin with is left
    /// for it to take.
    pub async fn watcher(&self, version: Version, name: &str) -> Client {
        let mut watcher = self.connect(&user(version, name, "watcher")).await;
        watcher.subscribe_once(&format!("u/{name}/receipts/#")).await;
        watcher
    }

    /// Makes accounts for users, each with their name as password. With `--dev` nobody needs one.
    pub async fn add_users(&self, names: &[&'static str]) {
        let (accounts, names) = (Arc::clone(self.server().accounts()), names.to_vec());
        let added = tokio::task::spawn_blocking(move || {
            for name in names {
                accounts.add(name, Hash::new(name.as_bytes()).expect("a password")).expect("a new user");
            }
        });
        added.await.expect("the accounts are made");
    }

    /// A user's client that hears replies.
    pub async fn asker(&self, version: Version, name: &str) -> Client {
        let mut client = self.connect(&user(version, name, "asks")).await;
        client.subscribe(&[(&format!("u/{name}/d/asks/reply"), QoS::AtMostOnce)]).await;
        client
    }

    /// A user's client that only publishes.
    pub async fn publisher(&self, version: Version, name: &str) -> Client {
        self.connect(&user(version, name, "publisher")).await
    }
}

/// What a client says in a test.
#[allow(async_fn_in_trait)] // Used from one thread at a time.
pub trait Chats {
    /// Subscribes at QoS 1.
    async fn subscribe_once(&mut self, filter: &str);

    /// Publishes with QoS 1 what must be accepted; PUBLISH packets that come before the PUBACK are answered with the PUBACK they ask for,
    /// and given back.
    async fn publish_and_take(&mut self, topic: &str, payload: &[u8]) -> (Ack, Vec<Publish>);

    /// Publishes what asks for a reply, and gives that back.
    async fn ask(&mut self, topic: &str, payload: &[u8]) -> v1::Reply;

    /// Takes what is on its way, which may be nothing.
    async fn drain(&mut self) -> Vec<Publish>;

    /// Takes all that is on its way, until there is nothing more.
    async fn drain_all(&mut self) -> Vec<Publish>;

    /// Sends a text to a user, who must take it.
    async fn tell(&mut self, to: &str, text: &str);
}

impl Chats for Client {
    async fn subscribe_once(&mut self, filter: &str) {
        assert_eq!(
            self.subscribe(&[(filter, QoS::AtLeastOnce)]).await,
            [ReasonCode::GrantedQoS1],
            "{filter}"
        );
    }

    async fn publish_and_take(&mut self, topic: &str, payload: &[u8]) -> (Ack, Vec<Publish>) {
        let out = PublishOut { qos: QoS::AtLeastOnce, ..PublishOut::new(topic, payload) };
        let packet_id = self.send(out).await;
        let mut taken = Vec::new();
        loop {
            match self.receive().await {
                ServerPacket::Puback(ack) => {
                    assert_eq!(Some(ack.packet_id), packet_id);
                    return (ack, taken);
                }
                ServerPacket::Publish(publish, _) => {
                    if publish.packet_id.is_some() {
                        self.ack(&publish).await;
                    }
                    taken.push(publish);
                }
                other => panic!("PUBACK expected: {other:?}"),
            }
        }
    }

    async fn ask(&mut self, topic: &str, payload: &[u8]) -> v1::Reply {
        let (_, taken) = self.publish_and_take(topic, payload).await;
        let reply = match taken.into_iter().find(|publish| publish.topic.ends_with("/reply")) {
            Some(reply) => reply,
            None => self.take().await,
        };
        v1::Reply::decode(reply.payload).expect("a Reply")
    }

    async fn drain(&mut self) -> Vec<Publish> {
        let mut out = Vec::new();
        ping::encode_request(&mut out);
        self.write(&out).await;
        let mut taken = Vec::new();
        let mut answers = 0;
        loop {
            match self.receive().await {
                // What was to be sent when the first was answered comes before the second.
                ServerPacket::Pingresp if answers == 1 => return taken,
                ServerPacket::Pingresp => {
                    answers += 1;
                    self.write(&out).await;
                }
                ServerPacket::Publish(publish, _) => {
                    if publish.packet_id.is_some() {
                        self.ack(&publish).await;
                    }
                    taken.push(publish);
                }
                other => panic!("PINGRESP expected: {other:?}"),
            }
        }
    }

    async fn drain_all(&mut self) -> Vec<Publish> {
        let mut taken = Vec::new();
        loop {
            let more = self.drain().await;
            if more.is_empty() {
                return taken;
            }
            taken.extend(more);
        }
    }

    async fn tell(&mut self, to: &str, text: &str) {
        let ack = self.publish(&format!("u/{to}/send"), &says(text)).await;
        assert_eq!(ack.reason, ReasonCode::Success, "{ack:?}");
    }
}
