//! Who sees what: nobody reads another user's topics, whatever the filter, and an unknown user looks like a forbidden one.

use crate::support::*;
use chasqui_broker::codec::packet::{ping, subscribe};
use chasqui_broker::codec::{
    Filters, PacketId, Peer, Publish, PublishOut, QoS, ReasonCode, Subscribe, SubscriptionOptions,
    UserProperties, Version,
};
use tokio::io::AsyncReadExt as _;

const GRANTED: ReasonCode = ReasonCode::GrantedQoS1;
const FORBIDDEN: ReasonCode = ReasonCode::NotAuthorized;
const SHARED: ReasonCode = ReasonCode::SharedSubscriptionsNotSupported;
const INVALID: ReasonCode = ReasonCode::TopicFilterInvalid;

/// Filter, and what alice, bob and an anonymous client get for it.
const FILTERS: [(&str, [ReasonCode; 3]); 21] = [
    ("#", [GRANTED, GRANTED, GRANTED]),
    ("+/bob/in", [GRANTED, GRANTED, GRANTED]),
    ("+/+/#", [GRANTED, GRANTED, GRANTED]),
    ("plants/+/water", [GRANTED, GRANTED, GRANTED]),
    ("u/+/in", [FORBIDDEN, FORBIDDEN, FORBIDDEN]),
    ("u/#", [FORBIDDEN, FORBIDDEN, FORBIDDEN]),
    ("u/+/receipts/#", [FORBIDDEN, FORBIDDEN, FORBIDDEN]),
    ("u/bob/in", [FORBIDDEN, GRANTED, FORBIDDEN]),
    ("u/bob/#", [FORBIDDEN, GRANTED, FORBIDDEN]),
    ("u/bob/receipts/#", [FORBIDDEN, GRANTED, FORBIDDEN]),
    ("json/u/bob/#", [FORBIDDEN, GRANTED, FORBIDDEN]),
    ("json/u/+/in", [FORBIDDEN, FORBIDDEN, FORBIDDEN]),
    ("u/alice/in", [GRANTED, FORBIDDEN, FORBIDDEN]),
    ("$share/x/u/alice/in", [SHARED, SHARED, SHARED]),
    ("$share/x/u/bob/in", [SHARED, SHARED, SHARED]),
    ("$share/x/json/u/bob/in", [SHARED, SHARED, SHARED]),
    ("u/alice/d/other/reply", [FORBIDDEN, FORBIDDEN, FORBIDDEN]),
    ("u/alice/d/phone/reply", [GRANTED, FORBIDDEN, FORBIDDEN]),
    ("u/alice/inbox", [INVALID, FORBIDDEN, FORBIDDEN]),
    ("json/#", [INVALID, INVALID, INVALID]),
    ("do/read", [INVALID, INVALID, INVALID]),
];

async fn clients(service: &Service, version: Version) -> [Client; 3] {
    [
        service.kept(version, "alice", "phone").await,
        service.kept(version, "bob", "phone").await,
        service.connect(&Hello::new(version, "nobody")).await,
    ]
}

#[tokio::test]
async fn filters_are_granted_to_whom_they_belong() {
    both(|version| async move {
        let service = Service::start().await;
        let mut clients = clients(&service, version).await;
        for (filter, expected) in FILTERS {
            for ((client, who), expected) in
                clients.iter_mut().zip(["alice", "bob", "anonymous"]).zip(expected)
            {
                let expected = match version {
                    // 3.1.1 knows one failure.
                    Version::V311 if expected.is_error() => ReasonCode::UnspecifiedError,
                    _ => expected,
                };
                let codes = client.subscribe(&[(filter, QoS::AtLeastOnce)]).await;
                assert_eq!(codes, [expected], "{version:?}: {filter} as {who}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn nobody_sees_what_is_not_theirs() {
    both(|version| async move {
        let service = Service::start().await;
        let mut clients = clients(&service, version).await;
        for client in &mut clients {
            // All at once, as whoever tries would.
            let filters: Vec<(&str, QoS)> =
                FILTERS.iter().map(|(filter, _)| (*filter, QoS::AtLeastOnce)).collect();
            client.subscribe(&filters).await;
        }
        let [mut alice, mut bob, mut anonymous] = clients;
        let mut dave = service.device(version, "dave", "phone").await;
        service.publisher(version, "carol").await.tell("bob", "for bob").await;
        let (_, mut got) = bob.publish_and_take("u/dave/send", &says("for dave")).await;
        assert_eq!(text_of(&message(&dave.take().await)), Some("for dave"));
        dave.nothing().await;
        // What bob gets is his.
        let is_receipt = |publish: &Publish| &*publish.topic == "json/u/bob/receipts/u/dave";
        while !got.iter().any(is_receipt) {
            got.push(bob.take().await);
        }
        // On 3.1.1 there is the number of his own message besides.
        let inbox = got.iter().filter(|publish| &*publish.topic == "json/u/bob/in");
        assert_eq!(inbox.count(), if version == Version::V311 { 2 } else { 1 }, "{got:?}");
        assert!(got.iter().all(|publish| publish.topic.starts_with("json/u/bob/")), "{got:?}");
        // A generic message comes behind whatever the others might have got.
        service.connect(&Hello::new(version, "")).await.publish("plants/fern/water", b"now").await;
        for client in [&mut alice, &mut anonymous] {
            let publish = client.take().await;
            assert_eq!(&*publish.topic, "plants/fern/water", "{version:?}: {publish:?}");
            assert!(!publish.topic.contains("bob"));
        }
    })
    .await;
}

/// Everything the server answers to a SUBSCRIBE, byte for byte.
async fn suback(service: &Service, hello: &Hello, filter: &str) -> Vec<u8> {
    let mut client = service.connect(hello).await;
    let packet = Subscribe {
        packet_id: PacketId::new(7).expect("not 0"),
        subscription_id: None,
        user_properties: UserProperties::new(),
        filters: Filters::<SubscriptionOptions>::new([(filter, SubscriptionOptions::qos(QoS::AtLeastOnce))])
            .expect("one filter"),
    };
    let mut out = Vec::new();
    subscribe::encode(&mut out, &Peer::unlimited(hello.0.version), &packet).expect("valid");
    ping::encode_request(&mut out);
    client.write(&out).await;
    let mut answer = Vec::new();
    while !answer.ends_with(&[0xD0, 0]) {
        let read = tokio::time::timeout(PATIENCE, client.stream.read_buf(&mut answer)).await;
        assert!(read.expect("in time").expect("the connection is open") > 0);
    }
    answer
}

#[tokio::test]
async fn unknown_and_forbidden_users_look_the_same() {
    both(|version| async move {
        for settings in [dev(), with_accounts()] {
            let service = Service::start_with(settings.clone()).await;
            service.add_users(&["alice", "bob"]).await;
            if settings.dev {
                service.device(version, "bob", "phone").await;
            }
            let mut hello = user(version, "alice", "phone");
            hello.0.properties.request_problem_information = (version == Version::V5).then_some(true);
            for [of_bob, of_nobody] in [
                ["u/bob/in", "u/nobody/in"],
                ["json/u/bob/in", "json/u/nobody/in"],
                ["u/bob/receipts/#", "u/nobody/receipts/#"],
                ["u/bob/profile", "u/nobody/profile"],
                ["u/bob/presence/alice", "u/nobody/presence/alice"],
                ["u/bob/d/phone/reply", "u/nobody/d/phone/reply"],
            ] {
                let known = suback(&service, &hello, of_bob).await;
                let unknown = suback(&service, &hello, of_nobody).await;
                assert_eq!(known, unknown, "{version:?}: {of_bob}, {of_nobody}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_id_belongs_to_its_user() {
    both(|version| async move {
        let service = Service::start().await;
        let mut bobs = service.device(version, "bob", "phone").await;
        let mut carol = service.publisher(version, "carol").await;
        carol.tell("bob", "one").await;
        // bob's client id as alice: another session, and bob's goes on.
        let mut alices = service.kept(version, "alice", "phone").await;
        assert!(!alices.connack.session_present, "{version:?}");
        alices.nothing().await;
        let mut nobodys = service.connect(&Hello::new(version, "phone")).await;
        nobodys.nothing().await;
        alices.subscribe_once("u/alice/in").await;
        alices.nothing().await;
        carol.tell("alice", "for alice").await;
        assert_eq!(text_of(&message(&alices.take().await)), Some("for alice"));
        assert_eq!(text_of(&message(&bobs.take().await)), Some("one"));
        bobs.nothing().await;
        // As bob it is a take-over.
        let again = service.kept(version, "bob", "phone").await;
        assert!(again.connack.session_present);
        let said = bobs.closed().await;
        assert_eq!(said, (version == Version::V5).then_some(ReasonCode::SessionTakenOver));
    })
    .await;
}

#[tokio::test]
async fn a_client_id_that_is_no_device_id_may_send_and_use_generic_topics() {
    both(|version| async move {
        let service = Service::start().await;
        let mut bob = service.device(version, "bob", "phone").await;
        let mut odd = service.connect(&user(version, "alice", "my phone!").kept()).await;
        let codes = odd.subscribe(&[("u/alice/in", QoS::AtLeastOnce), ("plants/#", QoS::AtLeastOnce)]).await;
        let refused = if version == Version::V5 { FORBIDDEN } else { ReasonCode::UnspecifiedError };
        assert_eq!(codes, [refused, GRANTED], "{version:?}");
        odd.tell("bob", "hello").await;
        assert_eq!(text_of(&message(&bob.take().await)), Some("hello"));
        odd.publish_and_take("plants/fern", b"green").await;
    })
    .await;
}

#[tokio::test]
async fn anonymous_clients_see_generic_topics_only() {
    both(|version| async move {
        let service = Service::start().await;
        let mut bob = service.device(version, "bob", "phone").await;
        let mut anonymous = service.connect(&Hello::new(version, "phone")).await;
        let out =
            PublishOut { qos: QoS::AtLeastOnce, ..PublishOut::new("u/bob/send", b"\x12\x07\x0a\x05hello") };
        if version == Version::V5 {
            let ack = anonymous.publish_with(out).await;
            assert_eq!(ack.reason, ReasonCode::NotAuthorized);
            let reason = reason_of(&ack).expect("a reason");
            assert!(!reason.is_empty(), "{reason}");
        } else {
            anonymous.send(out).await;
            assert_eq!(anonymous.closed().await, None);
        }
        bob.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn without_dev_nobody_comes_in_without_a_password() {
    both(|version| async move {
        let service = Service::start_with(with_accounts()).await;
        service.add_users(&["alice"]).await;
        let refused = async |hello: Hello| {
            let client = Client::try_connect(service.address(), &hello).await;
            (client.connack.reason, client.connack.properties.reason_string.clone())
        };
        let wrong = refused(Hello::new(version, "phone").user("alice", "guess")).await;
        let unknown = refused(Hello::new(version, "phone").user("nobody", "guess")).await;
        assert_eq!(wrong, unknown, "{version:?}: nobody learns who exists");
        assert!(wrong.0.is_error());
        let (anonymous, _) = refused(Hello::new(version, "phone")).await;
        assert!(anonymous.is_error());
        service.connect(&user(version, "alice", "phone")).await.nothing().await;
    })
    .await;
}
