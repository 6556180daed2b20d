//! Section 3.1: CONNECT, and what a connection may do with it.

use crate::door::Door;
use crate::raw::{
    AUTH, CONNECT, GOODBYE, Hello, PINGREQ, PUBACK, PUBREL, Pub, Put, Raw, SUBACK, Will, ack, field, id,
    packet, subscribe, unsubscribe,
};
use crate::support::{Server, TestClock, both};
use chasqui_broker::Config;
use chasqui_broker::codec::Version;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn anything_before_connect_closes() {
    both(|version| async move {
        let server = Server::start().await;
        let packets = [
            PINGREQ.to_vec(),
            GOODBYE.to_vec(),
            Pub::new("t", "x").bytes(version),
            Pub::new("t", "x").qos(1, 1).bytes(version),
            subscribe(version, 1, &[("a", 0)]),
            unsubscribe(version, 1, &["a"]),
            ack(PUBACK, 1),
            ack(PUBREL, 1),
            vec![AUTH, 0],
            b"GET /mqtt HTTP/1.1\r\n\r\n".to_vec(),
        ];
        for bytes in packets {
            let mut client = Raw::open(server.address, version).await;
            client.send(&[bytes, Hello::new(version, "c").bytes()].concat()).await;
            client.closed().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_second_connect_closes() {
    both(|version| async move {
        let server = Server::start().await;
        let mut watcher = Raw::connect(server.address, version, "w").await;
        watcher.subscribe(&[("t", 0)]).await;
        let mut client = Raw::connect(server.address, version, "c").await;
        let late = Pub::new("t", "late").bytes(version);
        client.send(&[Hello::new(version, "c").bytes(), late].concat()).await;
        client.ended(0x82).await;
        watcher.nothing().await;
    })
    .await;
}

/// A CONNECT with this name and level, and what any level has behind them.
fn named(name: &str, level: u8) -> Vec<u8> {
    let rest = if level == 5 { &[2, 0, 0, 0, 0, 1, b'c'][..] } else { &[2, 0, 0, 0, 1, b'c'] };
    packet(CONNECT, &[&field(name)[..], &[level], rest].concat())
}

#[tokio::test]
async fn another_protocol_name_is_not_served() {
    let server = Server::start().await;
    for (name, level) in [("mqtt", 4), ("mqtt", 5), ("MQTTX", 4), ("MQTT ", 5), ("", 4), ("HTTP", 5)] {
        let mut client = Raw::open(server.address, Version::V311).await;
        client.send(&named(name, level)).await;
        client.closed().await;
    }
    // The name of 3.1 is known, and told that 3.1 is not served.
    let mut client = Raw::open(server.address, Version::V311).await;
    client.send(&named("MQIsdp", 4)).await;
    client.expect(&[0x20, 2, 0, 1]).await;
    client.closed().await;
}

#[tokio::test]
async fn another_protocol_level_is_refused() {
    let server = Server::start().await;
    for (name, level) in [("MQIsdp", 3), ("MQTT", 3), ("MQTT", 0), ("MQTT", 0x84)] {
        let mut client = Raw::open(server.address, Version::V311).await;
        client.send(&[named(name, level), PINGREQ.to_vec()].concat()).await;
        client.expect(&[0x20, 2, 0, 1]).await;
        client.closed().await;
    }
    let mut client = Raw::open(server.address, Version::V5).await;
    client.send(&named("MQTT", 6)).await;
    client.turned_away(0x84).await;
}

#[tokio::test]
async fn the_reserved_flag_closes() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::open(server.address, version).await;
        client.send(&Hello { flip: 1, ..Hello::new(version, "c") }.bytes()).await;
        client.turned_away(0x81).await;
    })
    .await;
}

#[tokio::test]
async fn credentials_are_where_the_flags_say() {
    both(|version| async move {
        let (server, door) = Door::open().await;
        let with = |user: Option<&str>, password: Option<&str>, flip| Hello {
            user: user.map(Into::into),
            password: password.map(Into::into),
            flip,
            ..Hello::new(version, "c")
        };
        let (user_flag, password_flag) = (1 << 7, 1 << 6);
        let bad = [
            with(None, None, user_flag),
            with(Some("u"), None, user_flag),
            with(Some("u"), None, password_flag),
            with(Some("u"), Some("p"), password_flag),
            with(None, None, user_flag | password_flag),
            with(Some("u"), Some("p"), user_flag | password_flag),
        ];
        for hello in bad {
            let mut client = Raw::open(server.address, version).await;
            client.send(&hello.bytes()).await;
            client.turned_away(0x81).await;
        }
        assert!(door.0.lock().unwrap().is_empty(), "none of them came as far as the door");
        Raw::hello(server.address, &with(Some("u"), Some("p"), 0)).await;
        Raw::hello(server.address, &with(Some("u"), None, 0)).await;
        Raw::hello(server.address, &with(None, None, 0)).await;
        let seen: Vec<_> =
            door.0.lock().unwrap().drain(..).map(|login| (login.user, login.password)).collect();
        let user = Some("u".to_owned());
        assert_eq!(seen, [(user.clone(), Some("p".into())), (user, None), (None, None)]);
    })
    .await;
}

#[tokio::test]
async fn a_password_without_a_user_name_is_for_5_only() {
    let server = Server::start().await;
    let hello = |version| Hello { password: Some(b"p".to_vec()), ..Hello::new(version, "c") };
    let mut client = Raw::open(server.address, Version::V311).await;
    client.send(&hello(Version::V311).bytes()).await;
    client.closed().await;
    Raw::hello(server.address, &hello(Version::V5)).await;
}

#[tokio::test]
async fn silence_ends_the_connection_after_one_and_a_half_keep_alives() {
    both(|version| async move {
        let clock = TestClock::new();
        let config = Config { clock: Arc::<TestClock>::clone(&clock), ..Config::default() };
        let server = Server::start_with(config).await;
        let open = |client_id, keep_alive| {
            let hello = Hello { keep_alive, ..Hello::new(version, client_id) };
            async move { Raw::hello(server.address, &hello).await.0 }
        };
        let mut client = open("c", 10).await;
        let mut never = open("n", 0).await;
        // Whoever is due a little earlier, and is closed, shows that the deadlines up to now were looked at.
        for _ in 0..2 {
            let mut earlier = open("e", 9).await;
            clock.advance(Duration::from_millis(14_900));
            earlier.ended(0x8D).await;
            client.nothing().await;
        }
        clock.advance(Duration::from_millis(15_100));
        client.ended(0x8D).await;
        clock.advance(Duration::from_hours(30));
        let mut witness = open("w", 1).await;
        clock.advance(Duration::from_secs(2));
        witness.ended(0x8D).await;
        never.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn no_packet_is_larger_than_the_client_takes_and_what_would_be_counts_as_sent() {
    let server = Server::start().await;
    let version = Version::V5;
    let mut publisher = Raw::connect(server.address, version, "p").await;
    for qos in [0, 1] {
        let put = Put::new().four(id::MAXIMUM_PACKET_SIZE, 60).two(id::RECEIVE_MAXIMUM, 1);
        let (mut client, _) = Raw::hello(server.address, &Hello::new(version, "c").properties(put)).await;
        client.subscribe(&[("t", qos)]).await;
        // Remaining length, topic, packet id, property length: what is there beside the payload.
        let beside = 2 + 3 + if qos > 0 { 2 } else { 0 } + 1;
        for len in [60 - beside + 1, 60 - beside, 200, 70_000, 60 - beside] {
            publisher.publish(&Pub::new("t", &"x".repeat(len)).qos(qos, 1)).await;
        }
        // Neither of those that fit waits for one that does not, though one may be in flight at a time.
        for _ in 0..2 {
            assert_eq!(client.take().await.payload.len(), 60 - beside);
        }
        client.nothing().await;
    }
}

#[tokio::test]
async fn a_packet_larger_than_the_server_takes_closes() {
    both(|version| async move {
        let config = Config { max_packet_size: 100, ..Config::default() };
        let server = Server::start_with(config).await;
        let hello = Hello::new(version, "c");
        let (mut client, connack) = Raw::hello(server.address, &hello).await;
        if version == Version::V5 {
            assert_eq!(connack.properties.number(id::MAXIMUM_PACKET_SIZE), Some(100));
        }
        client.subscribe(&[("t", 0)]).await;
        let beside = Pub::new("t", "").bytes(version).len();
        client.send(&Pub::new("t", &"x".repeat(100 - beside)).bytes(version)).await;
        assert_eq!(client.message().await.payload.len(), 100 - beside);
        client.send(&Pub::new("t", &"x".repeat(100 - beside + 1)).bytes(version)).await;
        client.ended(0x95).await;
    })
    .await;
}

#[tokio::test]
async fn no_problem_information_is_sent_to_who_asked_for_none() {
    let server = Server::start().await;
    let version = Version::V5;
    for wanted in [1, 0] {
        let put = Put::new().byte(id::REQUEST_PROBLEM, wanted);
        let (mut client, _) = Raw::hello(server.address, &Hello::new(version, "c").properties(put)).await;
        client.send(&Pub::new("no/a", "x").qos(1, 1).bytes(version)).await;
        let puback = client.reasoned(PUBACK).await;
        assert_eq!(puback.code, 0x87);
        client.send(&subscribe(version, 2, &[("no/a", 1)])).await;
        let suback = client.codes(SUBACK).await;
        assert_eq!(suback.reasons, [0x87]);
        for properties in [&puback.properties, &suback.properties] {
            assert_eq!(properties.has(id::REASON_STRING), wanted == 1, "{properties:?}");
            assert!(properties.users().is_empty());
        }
    }
}

#[tokio::test]
async fn response_information_is_for_who_asks() {
    let (server, _) = Door::open().await;
    let hello = Hello::new(Version::V5, "c");
    let asking = |wanted| hello.clone().properties(Put::new().byte(id::REQUEST_RESPONSE, wanted));
    for (hello, told) in [(hello.clone(), None), (asking(0), None), (asking(1), Some("answers/here"))] {
        let (_, connack) = Raw::hello(server.address, &hello).await;
        assert_eq!(connack.properties.text(id::RESPONSE_INFORMATION), told);
    }
}

#[tokio::test]
async fn the_fields_come_in_order() {
    both(|version| async move {
        let (server, door) = Door::open().await;
        let mut watcher = Raw::connect(server.address, version, "w").await;
        watcher.subscribe(&[("#", 0)]).await;
        let hello = Hello {
            user: Some(b"third".to_vec()),
            password: Some(b"fourth".to_vec()),
            ..Hello::new(version, "first").will(Will::new("second", "and a half"))
        };
        drop(Raw::hello(server.address, &hello).await);
        let will = watcher.message().await;
        assert_eq!((&*will.topic, will.text()), ("second", "and a half"));
        let login = door.0.lock().unwrap().pop().expect("it came to the door");
        assert_eq!(
            (&*login.client_id, login.user.as_deref(), login.password.as_deref()),
            ("first", Some("third"), Some(&b"fourth"[..]))
        );
    })
    .await;
}

#[tokio::test]
async fn a_connect_without_a_client_id_closes() {
    both(|version| async move {
        let server = Server::start().await;
        let body = Hello::new(version, "").body();
        let mut client = Raw::open(server.address, version).await;
        client.send(&packet(CONNECT, &body[..body.len() - 2])).await;
        client.turned_away(0x81).await;
    })
    .await;
}

#[tokio::test]
async fn client_ids_of_1_to_23_letters_and_digits_are_taken() {
    both(|version| async move {
        let server = Server::start().await;
        let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let each = (0..all.len()).map(|at| &all[at..=at]);
        let long = [&all[..23], &all[23..46], &all[39..]];
        for client_id in each.chain(long).chain([all]) {
            Raw::connect(server.address, version, client_id).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_empty_client_id_becomes_one_of_its_own() {
    both(|version| async move {
        let server = Server::start().await;
        let (mut first, one) = Raw::hello(server.address, &Hello::new(version, "")).await;
        let (mut second, two) = Raw::hello(server.address, &Hello::new(version, "")).await;
        first.nothing().await;
        second.nothing().await;
        if version == Version::V5 {
            let ids = [&one, &two].map(|connack| connack.properties.text(id::ASSIGNED_CLIENT_ID).unwrap());
            assert!(ids[0] != ids[1] && !ids[0].is_empty() && !ids[1].is_empty());
            // It is that client's id as if it had sent it: who comes with it takes the session over.
            let (_, named) = Raw::hello(server.address, &Hello::new(version, ids[0])).await;
            assert!(!named.properties.has(id::ASSIGNED_CLIENT_ID));
            first.ended(0x8E).await;
            second.nothing().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_empty_client_id_needs_a_clean_session_on_3_1_1() {
    let server = Server::start().await;
    let hello = |version| Hello { clean: false, ..Hello::new(version, "") };
    let mut client = Raw::open(server.address, Version::V311).await;
    client.send(&hello(Version::V311).bytes()).await;
    client.expect(&[0x20, 2, 0, 2]).await;
    client.closed().await;
    let (_, connack) = Raw::hello(server.address, &hello(Version::V5)).await;
    assert!(connack.properties.has(id::ASSIGNED_CLIENT_ID) && !connack.session_present());
}

#[tokio::test]
async fn a_client_id_that_is_refused_is_told_so() {
    both(|version| async move {
        let (server, _) = Door::open().await;
        let (mut client, connack) = Raw::try_hello(server.address, &Hello::new(version, "not-valid")).await;
        assert_eq!(connack.code, if version == Version::V5 { 0x85 } else { 2 });
        client.closed().await;
    })
    .await;
}

#[tokio::test]
async fn a_connect_against_the_format_is_not_let_in() {
    both(|version| async move {
        let (server, door) = Door::open().await;
        let hello = Hello::new(version, "c");
        let mut bad = vec![
            (0x81, packet(CONNECT, &[&hello.body()[..], b"\0"].concat())),
            (0x81, packet(CONNECT, &hello.body()[..hello.body().len() - 1])),
            (0x90, hello.clone().will(Will::new("with/+/wildcard", "")).bytes()),
            (0x90, hello.clone().will(Will::new("", "")).bytes()),
        ];
        if version == Version::V5 {
            let put = |code, put| (code, hello.clone().properties(put).bytes());
            let will = |code, properties| {
                (code, hello.clone().will(Will { properties, ..Will::new("w", "") }).bytes())
            };
            bad.extend([
                put(0x82, Put::new().two(id::RECEIVE_MAXIMUM, 0)),
                put(0x82, Put::new().four(id::MAXIMUM_PACKET_SIZE, 0)),
                put(0x82, Put::new().byte(id::REQUEST_PROBLEM, 2)),
                put(0x82, Put::new().byte(id::REQUEST_RESPONSE, 2)),
                put(0x82, Put::new().four(id::SESSION_EXPIRY, 1).four(id::SESSION_EXPIRY, 1)),
                put(0x82, Put::new().text(id::AUTH_DATA, "without a method")),
                put(0x81, Put::new().two(id::TOPIC_ALIAS, 1)),
                put(0x81, Put(vec![0x7E, 1])),
                put(0x81, Put(vec![id::RECEIVE_MAXIMUM, 1])),
                will(0x82, Put::new().byte(id::PAYLOAD_FORMAT, 2)),
                will(0x82, Put::new().four(id::WILL_DELAY, 1).four(id::WILL_DELAY, 1)),
                will(0x81, Put::new().four(id::SESSION_EXPIRY, 1)),
            ]);
        }
        for (code, bytes) in bad {
            let mut client = Raw::open(server.address, version).await;
            client.send(&bytes).await;
            client.turned_away(code).await;
        }
        assert!(door.0.lock().unwrap().is_empty(), "none of them came as far as the door");
    })
    .await;
}

#[tokio::test]
async fn who_may_not_come_in_is_told_and_closed() {
    both(|version| async move {
        let (server, _) = Door::open().await;
        for (password, old, new) in [("wrong", 4, 0x86), ("banned", 5, 0x8A), ("not now", 3, 0x88)] {
            let hello = Hello {
                user: Some(b"u".to_vec()),
                password: Some(password.into()),
                ..Hello::new(version, "c")
            };
            let (mut client, connack) = Raw::try_hello(server.address, &hello).await;
            assert_eq!(connack.code, if version == Version::V5 { new } else { old });
            client.closed().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_later_connection_of_the_same_client_ends_the_earlier_one() {
    both(|version| async move {
        let server = Server::start().await;
        for hello in [Hello::new(version, "c"), Hello::kept(version, "k")] {
            let (mut first, _) = Raw::hello(server.address, &hello).await;
            let (mut second, _) = Raw::hello(server.address, &hello).await;
            first.ended(0x8E).await;
            second.nothing().await;
            second.goodbye().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_good_connect_is_answered_with_success() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::open(server.address, version).await;
        client.send(&Hello::new(version, "c").bytes()).await;
        if version == Version::V311 {
            client.expect(&[0x20, 2, 0, 0]).await;
        } else {
            assert_eq!(client.connack().await.code, 0);
        }
        client.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn what_follows_a_refused_connect_is_not_processed() {
    both(|version| async move {
        let (server, _) = Door::open().await;
        let mut watcher = Raw::connect(server.address, version, "w").await;
        watcher.subscribe(&[("t", 0)]).await;
        let refused = Hello {
            user: Some(b"u".to_vec()),
            password: Some(b"wrong".to_vec()),
            ..Hello::new(version, "c").will(Will::new("t", "will"))
        };
        let follows = [Pub::new("t", "x").bytes(version), Pub::new("t", "x").qos(1, 1).bytes(version)];
        let mut client = Raw::open(server.address, version).await;
        client.send(&[refused.bytes(), follows.concat()].concat()).await;
        assert_ne!(client.connack().await.code, 0);
        client.closed().await;
        watcher.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn a_client_need_not_wait_for_connack() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::open(server.address, version).await;
        let bytes = [
            Hello::new(version, "c").bytes(),
            subscribe(version, 1, &[("t", 0)]),
            Pub::new("t", "x").bytes(version),
        ];
        client.send(&bytes.concat()).await;
        assert_eq!(client.connack().await.code, 0);
        assert_eq!(client.codes(SUBACK).await.reasons, [0]);
        assert_eq!(client.message().await.text(), "x");
    })
    .await;
}
