//! A connection over a stream that nobody's listener accepted, and what a broker says on it before it ends.

mod support;

use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{PublishOut, QoS, ReasonCode};
use chasqui_broker::hook::{
    Admission, Ask, Client as Connected, Command, Done, Granted, Hook, Login, Occasion, Outcome, Route,
};
use chasqui_broker::source::{Item, Read, ReadLimit, SourceGrant, SourceId, View};
use chasqui_broker::store::StoreError;
use chasqui_broker::{Broker, Config};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use support::{Client, Hello, PlainHook, both, ram_store};

/// Plain topics as ever, and commands, which wait until the test answers them.
#[derive(Default)]
struct Slow(Mutex<Vec<(Arc<Connected>, Command)>>);

impl Hook for Slow {
    fn authenticate(&self, login: &Login) -> Admission {
        PlainHook.authenticate(login)
    }

    fn is_quick(&self, _login: &Login) -> bool {
        true
    }

    fn route(&self, _client: &Connected, topic: &str) -> Route {
        if topic.starts_with("do/") { Route::Command } else { Route::Plain }
    }

    fn submit(&self, client: &Arc<Connected>, commands: Vec<Command>) {
        self.0.lock().unwrap().extend(commands.into_iter().map(|command| (Arc::clone(client), command)));
    }

    fn subscribe(&self, client: &Arc<Connected>, occasion: Occasion, asks: Vec<Ask>, granted: Granted) {
        PlainHook.subscribe(client, occasion, asks, granted);
    }

    fn read(
        &self,
        client: &Connected,
        source: &SourceId,
        after: u64,
        limit: ReadLimit,
    ) -> Result<Read, StoreError> {
        PlainHook.read(client, source, after, limit)
    }

    fn view(&self, client: &Connected, grant: &SourceGrant, item: &Item) -> View {
        PlainHook.view(client, grant, item)
    }
}

/// What is answered when the server says goodbye comes before the answer to what arrives at that moment, and is not lost [MQTT-4.6.0-2].
#[tokio::test]
async fn no_answer_is_overtaken_in_the_last_words() {
    both(|version| async move {
        let (hook, config) = (Arc::new(Slow::default()), Config::default());
        let store = Arc::new(ram_store(&config));
        let broker = Broker::new(config, Arc::<Slow>::clone(&hook), store);
        let (near, far) = tokio::io::duplex(64 * 1024);
        let serving = broker.clone();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        tokio::spawn(async move { serving.serve_stream(far, peer).await });
        let mut client = Client::over(near, &Hello::new(version, "c")).await;
        assert_eq!((client.connack.reason, broker.connections()), (ReasonCode::Success, 1));
        let publish = |topic| PublishOut { qos: QoS::AtLeastOnce, ..PublishOut::new(topic, b"x") };
        let first = client.send(publish("do/it")).await.expect("QoS 1");
        let (connected, command) = loop {
            tokio::task::yield_now().await;
            if let Some(held) = hook.0.lock().unwrap().pop() {
                break held;
            }
        };
        // All of this is there when the connection looks: the second publish, the end, and the answer to the first.
        let second = client.send(publish("plain")).await.expect("QoS 1");
        broker.disconnect(&connected.session, ReasonCode::AdministrativeAction, "enough");
        connected.answer(vec![Done { token: command.token, outcome: Outcome::SUCCESS }]);
        let mut answered = Vec::new();
        while let Some(packet) = client.next().await {
            match packet {
                ServerPacket::Puback(ack) => answered.push(ack.packet_id),
                ServerPacket::Disconnect(_) => {}
                other => panic!("nothing else was asked for: {other:?}"),
            }
        }
        assert_eq!(answered, [first, second]);
    })
    .await;
}
