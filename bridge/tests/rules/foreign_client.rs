//! A client that is not ours, rumqttc, in both versions: it sends, receives and hears of delivery with protobuf payloads.

use crate::support::{PATIENCE, Service, both, send};
use chasqui_broker::codec::Version;
use chasqui_proto::v1;
use rumqttc::v5;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const KEEP_ALIVE: Duration = Duration::from_mins(1);
const QUEUE: usize = 16;

/// What a test waits for.
#[derive(Debug)]
enum Seen {
    Connected {
        session_present: bool,
    },
    Subscribed,
    /// With the number, which 5.0 says.
    Acknowledged {
        seq: Option<String>,
    },
    Message {
        topic: String,
        payload: Vec<u8>,
    },
}

enum Handle {
    V311(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

/// A user's phone, kept, on rumqttc.
struct Phone {
    handle: Handle,
    seen: mpsc::UnboundedReceiver<Seen>,
    polling: JoinHandle<()>,
}

impl Phone {
    /// Connects, and says whether there was a session.
    async fn connect(service: &Service, version: Version, user: &str) -> (Phone, bool) {
        let (host, port) = (service.address().ip().to_string(), service.address().port());
        let (tell, seen) = mpsc::unbounded_channel();
        let mut phone = match version {
            Version::V311 => {
                let mut options = rumqttc::MqttOptions::new("phone", host, port);
                options.set_keep_alive(KEEP_ALIVE).set_credentials(user, user).set_clean_session(false);
                let (client, mut events) = rumqttc::AsyncClient::new(options, QUEUE);
                let polling = tokio::spawn(async move {
                    while let Ok(event) = events.poll().await {
                        if let rumqttc::Event::Incoming(packet) = event
                            && let Some(seen) = of_3_1_1(packet)
                            && tell.send(seen).is_err()
                        {
                            return;
                        }
                    }
                });
                Phone { handle: Handle::V311(client), seen, polling }
            }
            Version::V5 => {
                let mut options = v5::MqttOptions::new("phone", host, port);
                options.set_keep_alive(KEEP_ALIVE).set_credentials(user, user).set_clean_start(false);
                options.set_session_expiry_interval(Some(u32::MAX));
                let (client, mut events) = v5::AsyncClient::new(options, QUEUE);
                let polling = tokio::spawn(async move {
                    while let Ok(event) = events.poll().await {
                        if let v5::Event::Incoming(packet) = event
                            && let Some(seen) = of_5_0(packet)
                            && tell.send(seen).is_err()
                        {
                            return;
                        }
                    }
                });
                Phone { handle: Handle::V5(client), seen, polling }
            }
        };
        match phone.next().await {
            Seen::Connected { session_present } => (phone, session_present),
            other => panic!("CONNACK expected: {other:?}"),
        }
    }

    async fn next(&mut self) -> Seen {
        let next = tokio::time::timeout(PATIENCE, self.seen.recv()).await;
        next.expect("something comes in time").expect("the connection holds")
    }

    async fn subscribe(&mut self, filter: &str) {
        match &self.handle {
            Handle::V311(client) => client.subscribe(filter, rumqttc::QoS::AtLeastOnce).await.expect("asked"),
            Handle::V5(client) => {
                client.subscribe(filter, v5::mqttbytes::QoS::AtLeastOnce).await.expect("asked");
            }
        }
        assert!(matches!(self.next().await, Seen::Subscribed));
    }

    async fn publish(&self, topic: &str, payload: Vec<u8>) {
        match &self.handle {
            Handle::V311(client) => {
                client.publish(topic, rumqttc::QoS::AtLeastOnce, false, payload).await.expect("asked");
            }
            Handle::V5(client) => {
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                client.publish(topic, qos, false, payload).await.expect("asked");
            }
        }
    }

    /// The next message, decoded.
    async fn message<M: prost::Message + Default>(&mut self, on: &str) -> M {
        match self.next().await {
            Seen::Message { topic, payload } => {
                assert_eq!(topic, on);
                M::decode(&*payload).expect("protobuf")
            }
            other => panic!("a message was expected: {other:?}"),
        }
    }

    /// Goes without a word.
    async fn leave(self) {
        self.polling.abort();
        assert!(self.polling.await.is_err_and(|error| error.is_cancelled()));
    }
}

fn of_3_1_1(packet: rumqttc::Packet) -> Option<Seen> {
    match packet {
        rumqttc::Packet::ConnAck(connack) => {
            Some(Seen::Connected { session_present: connack.session_present })
        }
        rumqttc::Packet::SubAck(_) => Some(Seen::Subscribed),
        rumqttc::Packet::PubAck(_) => Some(Seen::Acknowledged { seq: None }),
        rumqttc::Packet::Publish(publish) => {
            Some(Seen::Message { topic: publish.topic, payload: publish.payload.to_vec() })
        }
        _ => None,
    }
}

fn of_5_0(packet: v5::mqttbytes::v5::Packet) -> Option<Seen> {
    use v5::mqttbytes::v5::Packet;
    match packet {
        Packet::ConnAck(connack) => Some(Seen::Connected { session_present: connack.session_present }),
        Packet::SubAck(_) => Some(Seen::Subscribed),
        Packet::PubAck(ack) => {
            let pairs = ack.properties.map(|properties| properties.user_properties).unwrap_or_default();
            let seq = pairs.into_iter().find(|(name, _)| name == "seq").map(|(_, value)| value);
            Some(Seen::Acknowledged { seq })
        }
        Packet::Publish(publish) => {
            let topic = String::from_utf8(publish.topic.to_vec()).expect("UTF-8");
            Some(Seen::Message { topic, payload: publish.payload.to_vec() })
        }
        _ => None,
    }
}

fn text(event: &v1::Event) -> (u64, &str) {
    let Some(v1::event::Event::Message(message)) = &event.event else { panic!("not a message: {event:?}") };
    match message.body.as_ref().and_then(|body| body.kind.as_ref()) {
        Some(v1::body::Kind::Text(text)) => (message.seq, text),
        other => panic!("not a text: {other:?}"),
    }
}

#[tokio::test]
async fn rumqttc_sends_receives_and_hears_of_delivery() {
    both(|version| async move {
        let service = Service::start().await;
        let (mut bob, _) = Phone::connect(&service, version, "bob").await;
        bob.subscribe("u/bob/in").await;
        let (mut alice, _) = Phone::connect(&service, version, "alice").await;
        alice.subscribe("u/alice/receipts/#").await;

        alice.publish("u/bob/send", send("hello", b"1")).await;
        match alice.next().await {
            Seen::Acknowledged { seq } => {
                assert_eq!(seq.as_deref(), (version == Version::V5).then_some("1"));
            }
            other => panic!("PUBACK expected: {other:?}"),
        }
        assert_eq!(text(&bob.message("u/bob/in").await), (1, "hello"), "{version:?}");
        let receipt: v1::Receipt = alice.message("u/alice/receipts/u/bob").await;
        assert_eq!(receipt.delivered, 1, "{version:?}");

        // bob away: what was sent meanwhile comes when he is back, in order.
        bob.leave().await;
        for number in 2..=11_u64 {
            alice.publish("u/bob/send", send(&format!("message {number}"), &number.to_be_bytes())).await;
            assert!(matches!(alice.next().await, Seen::Acknowledged { .. }));
        }
        let (mut bob, session_present) = Phone::connect(&service, version, "bob").await;
        assert!(session_present, "{version:?}");
        for number in 2..=11 {
            let event = bob.message("u/bob/in").await;
            assert_eq!(text(&event), (number, &*format!("message {number}")), "{version:?}");
        }
        loop {
            let receipt: v1::Receipt = alice.message("u/alice/receipts/u/bob").await;
            if receipt.delivered == 11 {
                break;
            }
        }
        bob.leave().await;
        alice.leave().await;
    })
    .await;
}
