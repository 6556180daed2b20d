//! What is allowed changes while clients are there, and while they are not: subscriptions end, what waits because of them is not
//! delivered, and publishers are decided on once per topic. (Elsewhere, revoking access leaves live subscriptions: emqx 3487.)

mod support;

use chasqui_broker::Config;
use chasqui_broker::codec::{PublishOut, QoS, ReasonCode, Version};
use chasqui_broker::hook::{
    Admission, Ask, Client as Connected, Command, Grant, Granted, Hook, Login, Occasion, Rechecked, Roles,
    Route, Standing,
};
use chasqui_broker::source::{Item, Read, ReadLimit, SourceGrant, SourceId, View};
use chasqui_broker::store::ram::RamStore;
use chasqui_broker::store::{SessionKey, Store, StoreError};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use support::{Client, Hello, PlainHook, Server, both};

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const NO: Route = Route::Refused(ReasonCode::NotAuthorized, "this is not allowed now");

/// Everything is allowed but what a test forbids: topics and filters that begin with one of these.
#[derive(Default)]
struct Ruled {
    forbidden: Mutex<Vec<&'static str>>,
    version: AtomicU64,
    /// Publishes that were decided on.
    routed: AtomicUsize,
}

impl Ruled {
    fn forbid(&self, forbidden: &[&'static str]) {
        *self.forbidden.lock() = forbidden.to_vec();
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    fn allows(&self, topic: &str) -> bool {
        !self.forbidden.lock().iter().any(|prefix| topic.starts_with(prefix))
    }
}

impl Hook for Ruled {
    fn authenticate(&self, login: &Login) -> Admission {
        Admission::Admitted {
            owner: Arc::from(login.user.as_deref().unwrap_or_default()),
            roles: Roles::default(),
        }
    }

    fn is_quick(&self, _: &Login) -> bool {
        true
    }

    fn route(&self, _: &Connected, topic: &str) -> Route {
        self.routed.fetch_add(1, Ordering::SeqCst);
        if self.allows(topic) { Route::Plain } else { NO }
    }

    fn route_version(&self) -> Option<u64> {
        Some(self.version.load(Ordering::SeqCst))
    }

    fn submit(&self, client: &Arc<Connected>, commands: Vec<Command>) {
        PlainHook.submit(client, commands);
    }

    fn subscribe(&self, _: &Arc<Connected>, _: Occasion, asks: Vec<Ask>, granted: Granted) {
        let grant = |ask: &Ask| {
            if self.allows(&ask.filter) {
                Grant::Granted { qos: QoS::ExactlyOnce, plain: true, sources: Vec::new() }
            } else {
                Grant::Refused(ReasonCode::NotAuthorized, "this is not allowed now")
            }
        };
        granted(Ok(asks.iter().map(grant).collect()));
    }

    fn recheck(&self, _: &Arc<Connected>, filters: Vec<Arc<str>>, rechecked: Rechecked) {
        let look = |filter: &Arc<str>| if self.allows(filter) { Standing::Kept } else { Standing::Revoked };
        rechecked(Ok(filters.iter().map(look).collect()));
    }

    fn read(
        &self,
        client: &Connected,
        source: &SourceId,
        at: u64,
        limit: ReadLimit,
    ) -> Result<Read, StoreError> {
        PlainHook.read(client, source, at, limit)
    }

    fn view(&self, _: &Connected, _: &SourceGrant, _: &Item) -> View {
        View::Skip
    }
}

/// A broker whose clients have one message in flight each.
async fn start_on(store: &Arc<dyn Store>) -> (Server, Arc<Ruled>) {
    let hook = Arc::new(Ruled::default());
    let config = Config { window_v311: 1, window_v5: 1, ..Config::default() };
    (Server::start_on(config, Arc::<Ruled>::clone(&hook), Arc::clone(store)).await, hook)
}

async fn start() -> (Server, Arc<Ruled>) {
    start_on(&(Arc::new(RamStore::default()) as Arc<dyn Store>)).await
}

async fn recheck(server: &Server) -> usize {
    server.broker.recheck(None).await.expect("a store in memory answers")
}

fn key(owner: &str, client_id: &str) -> SessionKey {
    SessionKey { owner: Arc::from(owner), client_id: Arc::from(client_id) }
}

fn subscriptions(server: &Server, client_id: &str) -> Vec<String> {
    let stored = server.store.session(&key("", client_id)).expect("readable").expect("a session is kept");
    stored.record.subscriptions.iter().map(|subscription| subscription.filter.to_string()).collect()
}

/// Says that a message reached nobody, where the version has a word for it.
async fn reaches_nobody(publisher: &mut Client, topic: &str) {
    let ack = publisher.publish(topic, b"late").await;
    if publisher.peer.version == Version::V5 {
        assert_eq!(ack.reason, ReasonCode::NoMatchingSubscribers, "{topic}");
    }
}

#[tokio::test]
async fn revoking_access_leaves_live_subscriptions_emqx_3487() {
    both(|version| async move {
        let (server, hook) = start().await;
        for (hello, kept) in [(Hello::new(version, "c"), false), (Hello::new(version, "k").kept(), true)] {
            let client_id = hello.0.client_id.to_string();
            hook.forbid(&[]);
            let mut client = Client::connect(server.address, &hello).await;
            client.subscribe(&[("a/#", Q1), ("a/+", Q0), ("b", Q1)]).await;
            let mut publisher = server.client(version, "p").await;
            publisher.publish("a/x", b"1").await;
            assert_eq!(&*client.take().await.topic, "a/x");

            hook.forbid(&["a"]);
            assert_eq!(recheck(&server).await, 2);
            hook.forbid(&[]);
            reaches_nobody(&mut publisher, "a/x").await;
            publisher.publish("b", b"2").await;
            assert_eq!(&*client.take().await.topic, "b");
            client.nothing().await;
            if kept {
                assert_eq!(subscriptions(&server, &client_id), ["b"], "it is stored");
            }
            // What is allowed again has to be asked for again.
            assert_eq!(client.subscribe(&[("a/#", Q1)]).await, [Q1.granted()]);
            publisher.publish("a/x", b"3").await;
            assert_eq!(&client.take().await.payload[..], b"3");
            client.disconnect().await;
        }
        assert_eq!(server.broker.stats().subscriptions_revoked.get(), 4);
    })
    .await;
}

#[tokio::test]
async fn what_waits_for_a_filter_that_is_revoked_is_not_delivered() {
    both(|version| async move {
        for kept in [false, true] {
            let (server, hook) = start().await;
            let hello = Hello::new(version, "c");
            let mut client = Client::connect(server.address, &if kept { hello.kept() } else { hello }).await;
            client.subscribe(&[("a/#", Q1), ("+/both", Q1), ("b", Q1)]).await;
            let mut publisher = server.client(version, "p").await;
            for topic in ["a/1", "a/2", "a/both", "b", "a/3"] {
                publisher.publish(topic, b"x").await;
            }
            // The window is full with the first; the others wait, in memory or in the queue.
            let first = client.message().await;
            client.nothing().await;
            hook.forbid(&["a"]);
            assert_eq!(recheck(&server).await, 1);
            client.ack(&first).await;
            // By the filter that is left, the third may go on.
            for topic in ["a/both", "b"] {
                assert_eq!(&*client.take().await.topic, topic, "{version:?}, kept: {kept}");
            }
            client.nothing().await;
            assert_eq!(server.broker.stats().dropped_revoked.get(), 2);
            // What comes afterwards is not looked at.
            publisher.publish("b", b"y").await;
            assert_eq!(&client.take().await.payload[..], b"y");
            client.nothing().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_waits_for_a_member_that_is_revoked_is_anothers() {
    both(|version| async move {
        for kept in [false, true] {
            let (server, hook) = start().await;
            let hello = Hello::new(version, "c").user("alice", "alice");
            let mut alice = Client::connect(server.address, &if kept { hello.kept() } else { hello }).await;
            // Her own subscription does not stand for that of the group.
            alice.subscribe(&[("$share/g/a", Q1), ("#", Q0)]).await;
            let mut publisher = server.client(version, "p").await;
            for payload in [b"1", b"2", b"3"] {
                publisher.publish("a", payload).await;
            }
            let mut shared = Vec::new();
            for _ in 0..4 {
                let message = alice.message().await;
                shared.extend((message.qos == Q1).then_some(message));
            }
            alice.nothing().await;
            let mut bob = Client::connect(server.address, &Hello::new(version, "c").user("bob", "bob")).await;
            bob.subscribe(&[("$share/g/a", Q1)]).await;
            hook.forbid(&["$share/"]);
            assert_eq!(server.broker.recheck(Some("alice")).await, Ok(1));
            hook.forbid(&[]);
            // In memory at once; from the queue as its turn comes, when she has taken what was in flight.
            alice.ack(&shared[0]).await;
            for payload in [b"2", b"3"] {
                assert_eq!(&bob.take().await.payload[..], payload, "{version:?}, kept: {kept}");
            }
            bob.nothing().await;
            alice.nothing().await;
            assert_eq!(shared.len(), 1);
            assert_eq!(server.broker.stats().dropped_revoked.get(), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn retained_messages_that_wait_for_a_revoked_filter_are_not_delivered() {
    both(|version| async move {
        for kept in [false, true] {
            let (server, hook) = start().await;
            let mut publisher = server.client(version, "p").await;
            for n in 0..200 {
                let (topic, payload) = (format!("a/{n:03}"), b"kept");
                let out = PublishOut { qos: Q1, retain: true, ..PublishOut::new(&topic, payload) };
                publisher.publish_with(out).await;
            }
            let hello = Hello::new(version, "c");
            let mut client = Client::connect(server.address, &if kept { hello.kept() } else { hello }).await;
            client.subscribe(&[("a/#", Q1), ("b", Q1)]).await;
            let first = client.message().await;
            assert_eq!((&*first.topic, first.retain), ("a/000", true));
            hook.forbid(&["a"]);
            assert_eq!(recheck(&server).await, 1);
            client.ack(&first).await;
            publisher.publish("b", b"x").await;
            assert_eq!(&*client.take().await.topic, "b", "{version:?}, kept: {kept}");
            client.nothing().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_offline_session_loses_what_is_revoked_and_what_waits_for_it() {
    both(|version| async move {
        let (server, hook) = start().await;
        let hello = Hello::new(version, "phone").kept();
        let mut phone = Client::connect(server.address, &hello).await;
        phone.subscribe(&[("a/#", Q1), ("b", Q1)]).await;
        phone.disconnect().await;
        let mut publisher = server.client(version, "p").await;
        for topic in ["a/1", "b", "a/2"] {
            publisher.publish(topic, b"early").await;
        }
        hook.forbid(&["a"]);
        assert_eq!(recheck(&server).await, 1);
        assert_eq!(subscriptions(&server, "phone"), ["b"]);
        hook.forbid(&[]);
        reaches_nobody(&mut publisher, "a/3").await;
        publisher.publish("b", b"late").await;
        let mut phone = Client::connect(server.address, &hello).await;
        assert!(phone.connack.session_present);
        assert_eq!(&phone.take().await.payload[..], b"early");
        assert_eq!(&phone.take().await.payload[..], b"late");
        phone.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn an_offline_session_without_a_filter_left_costs_no_place_in_the_index() {
    let (server, hook) = start().await;
    let hello = Hello::new(Version::V5, "phone").kept();
    let mut phone = Client::connect(server.address, &hello).await;
    phone.subscribe(&[("a/#", Q1)]).await;
    phone.disconnect().await;
    hook.forbid(&["a"]);
    assert_eq!(recheck(&server).await, 1);
    assert_eq!(recheck(&server).await, 0);
    hook.forbid(&[]);
    let mut phone = Client::connect(server.address, &hello).await;
    assert!(phone.connack.session_present, "the session itself is kept");
    let mut publisher = server.client(Version::V5, "p").await;
    reaches_nobody(&mut publisher, "a/1").await;
    phone.nothing().await;
}

#[tokio::test]
async fn what_is_not_allowed_any_more_at_a_start_is_not_indexed() {
    both(|version| async move {
        let store: Arc<dyn Store> = Arc::new(RamStore::default());
        let (server, _) = start_on(&store).await;
        let hello = Hello::new(version, "phone").kept();
        let mut phone = Client::connect(server.address, &hello).await;
        phone.subscribe(&[("a/#", Q1), ("b", Q1)]).await;
        phone.disconnect().await;
        let mut publisher = server.client(version, "p").await;
        publisher.publish("a/1", b"early").await;
        publisher.publish("b", b"early").await;
        server.broker.stop(support::PATIENCE).await;

        let hook = Arc::new(Ruled::default());
        hook.forbid(&["a"]);
        let server = Server::start_on(Config::default(), Arc::<Ruled>::clone(&hook), store).await;
        assert_eq!(subscriptions(&server, "phone"), ["b"]);
        hook.forbid(&[]);
        let mut publisher = server.client(version, "p").await;
        reaches_nobody(&mut publisher, "a/2").await;
        let mut phone = Client::connect(server.address, &hello).await;
        assert_eq!(&*phone.take().await.topic, "b");
        phone.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_session_that_comes_back_is_asked_about_even_if_nobody_was_told() {
    both(|version| async move {
        let (server, hook) = start().await;
        let hello = Hello::new(version, "phone").kept();
        let mut phone = Client::connect(server.address, &hello).await;
        phone.subscribe(&[("a/#", Q1), ("b", Q1)]).await;
        phone.disconnect().await;
        let mut publisher = server.client(version, "p").await;
        publisher.publish("a/1", b"x").await;
        publisher.publish("b", b"x").await;
        hook.forbid(&["a"]);
        for _ in 0..2 {
            // Also the second time, when nothing is left to revoke.
            let mut phone = Client::connect(server.address, &hello).await;
            assert_eq!(&*phone.message().await.topic, "b");
            phone.nothing().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_sent_already_is_sent_again_until_it_is_acknowledged() {
    both(|version| async move {
        let (server, hook) = start().await;
        let hello = Hello::new(version, "phone").kept();
        let mut phone = Client::connect(server.address, &hello).await;
        phone.subscribe(&[("a", Q1)]).await;
        let mut publisher = server.client(version, "p").await;
        publisher.publish("a", b"1").await;
        publisher.publish("a", b"2").await;
        let sent = phone.message().await;
        hook.forbid(&["a"]);
        assert_eq!(recheck(&server).await, 1);
        drop(phone);
        let mut phone = Client::connect(server.address, &hello).await;
        let again = phone.take().await;
        assert_eq!((again.packet_id, again.dup, &again.payload[..]), (sent.packet_id, true, &b"1"[..]));
        phone.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn one_owner_can_be_looked_at_alone() {
    let (server, hook) = start().await;
    let mut clients = Vec::new();
    for user in ["alice", "bob"] {
        for hello in [Hello::new(Version::V5, "c"), Hello::new(Version::V5, "k").kept()] {
            let mut client = Client::connect(server.address, &hello.user(user, "")).await;
            client.subscribe(&[("a", Q1)]).await;
            clients.push(client);
        }
    }
    clients.remove(1).disconnect().await;
    hook.forbid(&["a"]);
    assert_eq!(server.broker.recheck(Some("alice")).await, Ok(2));
    assert_eq!(server.broker.recheck(Some("nobody")).await, Ok(0));
    assert_eq!(server.broker.recheck(Some("bob")).await, Ok(2));
}

#[tokio::test]
async fn a_client_that_only_subscribes_cannot_put_it_off() {
    both(|version| async move {
        let (server, hook) = start().await;
        let mut client = server.client(version, "c").await;
        client.subscribe(&[("a", Q1)]).await;
        hook.forbid(&["a"]);
        let busy = tokio::spawn(async move {
            let mut codes = Vec::new();
            for _ in 0..500 {
                codes = client.subscribe(&[("b", Q1), ("a", Q1)]).await;
            }
            (client, codes)
        });
        assert_eq!(recheck(&server).await, 1);
        let (mut client, codes) = busy.await.expect("it subscribes");
        assert!(codes[1].is_error());
        hook.forbid(&[]);
        reaches_nobody(&mut server.client(version, "p").await, "a").await;
        client.nothing().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_come_and_go_meanwhile_are_not_missed() {
    let (server, hook) = start().await;
    let stop = Arc::new(AtomicUsize::new(0));
    let mut coming = Vec::new();
    for n in 0..16 {
        let hello = Hello::new(Version::V5, &format!("c{n}")).kept();
        let mut client = Client::connect(server.address, &hello).await;
        client.subscribe(&[("a", Q1), ("b", Q1)]).await;
        drop(client);
        let (address, stop) = (server.address, Arc::clone(&stop));
        coming.push(tokio::spawn(async move {
            while stop.load(Ordering::SeqCst) == 0 {
                let client = Client::connect(address, &hello).await;
                if n % 2 == 0 {
                    client.disconnect().await;
                }
            }
        }));
    }
    tokio::task::yield_now().await;
    hook.forbid(&["a"]);
    recheck(&server).await;
    // From here on nobody has it, whatever they are doing.
    hook.forbid(&[]);
    let mut publisher = server.client(Version::V5, "p").await;
    reaches_nobody(&mut publisher, "a").await;
    stop.store(1, Ordering::SeqCst);
    for client in coming {
        client.await.expect("a client comes and goes");
    }
    reaches_nobody(&mut publisher, "a").await;
    assert_eq!(publisher.publish("b", b"x").await.reason, ReasonCode::Success);
    assert_eq!(server.broker.stats().subscriptions_revoked.get(), 16);
}

#[tokio::test]
async fn a_publisher_is_decided_on_once_per_topic_and_again_after_a_change() {
    both(|version| async move {
        let (server, hook) = start().await;
        let mut publisher = server.client(version, "p").await;
        for _ in 0..50 {
            assert!(!publisher.publish("a", b"x").await.reason.is_error());
            publisher.publish("b", b"x").await;
        }
        assert_eq!(hook.routed.load(Ordering::SeqCst), 2);
        hook.forbid(&["a"]);
        publisher.publish("b", b"x").await;
        assert_eq!(hook.routed.load(Ordering::SeqCst), 3);
        match version {
            Version::V5 => {
                for _ in 0..3 {
                    assert_eq!(publisher.publish("a", b"x").await.reason, ReasonCode::NotAuthorized);
                }
            }
            Version::V311 => {
                publisher.send(PublishOut { qos: Q1, ..PublishOut::new("a", b"x") }).await;
                assert_eq!(publisher.closed().await, None);
            }
        }
        assert_eq!(hook.routed.load(Ordering::SeqCst), 4);
    })
    .await;
}

#[tokio::test]
async fn a_will_is_decided_on_when_it_fires() {
    both(|version| async move {
        let (server, hook) = start().await;
        let mut watcher = server.client(version, "w").await;
        watcher.subscribe(&[("#", Q1)]).await;
        let hello = Hello::new(version, "c").will("a", b"gone", Q1, false);
        let client = Client::connect(server.address, &hello).await;
        hook.forbid(&["a"]);
        drop(client);
        while server.broker.stats().publishes_refused.get() == 0 {
            tokio::task::yield_now().await;
        }
        watcher.nothing().await;
    })
    .await;
}
