//! Sections 3.8 to 3.11: SUBSCRIBE and UNSUBSCRIBE, and what their answers say.

use crate::raw::{
    Hello, PUBACK, Pub, Put, Raw, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, ack, field, id, packet,
    subscribe, unsubscribe,
};
use crate::support::{Server, both};
use chasqui_broker::Config;
use chasqui_broker::codec::Version;

const NO_LOCAL: u8 = 0x04;

#[tokio::test]
async fn subscribe_and_unsubscribe_with_other_flags_close() {
    both(|version| async move {
        let server = Server::start().await;
        let whole = [subscribe(version, 1, &[("a", 0)]), unsubscribe(version, 1, &["a"])];
        for flags in (0..16).filter(|flags| *flags != 0b0010) {
            for bytes in &whole {
                let mut client = Raw::connect(server.address, version, "c").await;
                client.send(&[&[bytes[0] & 0xF0 | flags], &bytes[1..]].concat()).await;
                client.ended(0x81).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_filter_that_is_not_utf_8_closes() {
    both(|version| async move {
        let server = Server::start().await;
        let start = [&[0, 1][..], &Put::new().block(version), &field(b"a\xFF")].concat();
        for bytes in [packet(SUBSCRIBE, &[&start[..], &[0]].concat()), packet(UNSUBSCRIBE, &start)] {
            let mut client = Raw::connect(server.address, version, "c").await;
            client.send(&bytes).await;
            client.ended(0x81).await;
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_filter_it_closes() {
    both(|version| async move {
        let server = Server::start().await;
        for bytes in [subscribe(version, 1, &[]), unsubscribe(version, 1, &[])] {
            let mut client = Raw::connect(server.address, version, "c").await;
            client.send(&bytes).await;
            client.ended(0x82).await;
        }
    })
    .await;
}

#[tokio::test]
async fn reserved_bits_and_qos_3_in_the_options_close() {
    both(|version| async move {
        let server = Server::start().await;
        let bad: &[(u8, u8)] = match version {
            Version::V311 => &[(0x03, 0), (0x04, 0), (0x08, 0), (0x10, 0), (0x20, 0), (0x40, 0), (0x81, 0)],
            Version::V5 => {
                &[(0x03, 0x82), (0x07, 0x82), (0x30, 0x82), (0x40, 0x81), (0x80, 0x81), (0xC2, 0x81)]
            }
        };
        for (options, code) in bad {
            let mut client = Raw::connect(server.address, version, "c").await;
            client.send(&subscribe(version, 1, &[("good", 0), ("a", *options)])).await;
            client.ended(*code).await;
        }
    })
    .await;
}

#[tokio::test]
async fn filters_with_wildcards_are_granted() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        assert_eq!(client.subscribe(&[("a/+", 1), ("b/#", 1), ("+/c/#", 0)]).await, [1, 1, 0]);
        for topic in ["a/x", "b/x/y", "x/c/y"] {
            client.send(&Pub::new(topic, "x").bytes(version)).await;
            assert_eq!(client.take().await.topic, topic);
        }
    })
    .await;
}

/// Neither at once, nor from the queue of a session that is away, nor under the same client id of another connection.
#[tokio::test]
async fn no_local_keeps_own_messages_away_and_no_others() {
    let version = Version::V5;
    let server = Server::start().await;
    let kept = Hello::kept(version, "c");
    let (mut client, _) = Raw::hello(server.address, &kept).await;
    client.subscribe(&[("a", 1 | NO_LOCAL), ("b", 1)]).await;
    for qos in 0..=2 {
        client.publish(&Pub::new("a", "own").qos(qos, 1)).await;
        client.nothing().await;
    }
    client.send(&Pub::new("b", "own").bytes(version)).await;
    assert_eq!(client.take().await.topic, "b");
    let mut other = Raw::connect(server.address, version, "other").await;
    other.publish(&Pub::new("a", "other's").qos(1, 1)).await;
    assert_eq!(client.take().await.text(), "other's");
    // A will is a message of the connection that left it.
    let will = crate::raw::Will { qos: 1, ..crate::raw::Will::new("a", "own will") };
    let (dying, connack) = Raw::hello(server.address, &kept.clone().will(will)).await;
    assert!(connack.session_present());
    drop(dying);
    other.publish(&Pub::new("a", "after").qos(1, 1)).await;
    while server.broker.connections() > 1 {
        tokio::task::yield_now().await;
    }
    let (mut client, _) = Raw::hello(server.address, &kept).await;
    assert_eq!(client.take().await.text(), "after");
    client.nothing().await;
}

#[tokio::test]
async fn no_local_on_a_shared_subscription_closes() {
    let server = Server::start().await;
    let mut client = Raw::connect(server.address, Version::V5, "c").await;
    client.send(&subscribe(Version::V5, 1, &[("$share/g/a", 1 | NO_LOCAL)])).await;
    client.ended(0x82).await;
}

#[tokio::test]
async fn subscribe_is_answered_with_its_packet_id() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        for packet_id in [1, 65_535, 0x1234] {
            client.send(&subscribe(version, packet_id, &[("a", 1), ("no/a", 1)])).await;
            let suback = client.codes(SUBACK).await;
            assert_eq!((suback.packet_id, suback.reasons.len()), (packet_id, 2));
        }
    })
    .await;
}

/// The subscription there was is no more: not its QoS, not its options, not its identifier; and there is one, not two.
#[tokio::test]
async fn the_same_filter_replaces_the_subscription() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        if version == Version::V5 {
            client.subscribe_as(7, &[("a/+", 1 | NO_LOCAL)]).await;
        } else {
            client.subscribe(&[("a/+", 1)]).await;
        }
        client.subscribe(&[("a/+", 0)]).await;
        client.send(&Pub::new("a/b", "own").qos(1, 9).bytes(version)).await;
        let mut seen = None;
        for _ in 0..2 {
            let (first, body) = client.packet().await;
            if first != PUBACK {
                assert_eq!(first, 0x30, "at QoS 0 now");
                seen = Some(body);
            }
        }
        // A topic, on 5.0 no properties, and the payload.
        let expected = [&field("a/b")[..], &Put::new().block(version), b"own"].concat();
        assert_eq!(seen, Some(expected));
        client.nothing().await;
        client.send(&unsubscribe(version, 2, &["a/+"])).await;
        client.codes(UNSUBACK).await;
        client.publish(&Pub::new("a/b", "x").qos(1, 1)).await;
        client.nothing().await;
    })
    .await;
}

/// While a subscription is replaced again and again, everything published comes, once and in order.
#[tokio::test]
async fn nothing_is_lost_while_a_subscription_is_replaced() {
    both(|version| async move {
        const COUNT: usize = 300;
        let server = Server::start().await;
        for hello in [Hello::new(version, "c"), Hello::kept(version, "k")] {
            let (mut client, _) = Raw::hello(server.address, &hello).await;
            client.subscribe(&[("a", 1)]).await;
            let mut publisher = Raw::connect(server.address, version, "p").await;
            let publishing = tokio::spawn(async move {
                for n in 0..COUNT {
                    publisher.publish(&Pub::new("a", &n.to_string()).qos(1, 1)).await;
                }
                publisher.goodbye().await;
            });
            let mut seen = 0;
            client.send(&subscribe(version, 5, &[("a", 1)])).await;
            while seen < COUNT {
                let (first, body) = client.packet().await;
                if first == SUBACK {
                    client.send(&subscribe(version, 5, &[("a", 1)])).await;
                    continue;
                }
                assert_eq!(first, 0x32);
                let packet_id = u16::from_be_bytes([body[3], body[4]]);
                client.send(&ack(PUBACK, packet_id)).await;
                assert!(body.ends_with(seen.to_string().as_bytes()), "{seen} and not {body:?}");
                seen += 1;
            }
            publishing.await.expect("all were published");
        }
    })
    .await;
}

#[tokio::test]
async fn several_filters_are_answered_as_one_each_in_its_place() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        let refused = if version == Version::V5 { 0x87 } else { 0x80 };
        let filters = [("a", 1), ("no/a", 1), ("b/#", 0), ("a", 0), ("no/+", 0), ("c", 2)];
        assert_eq!(client.subscribe(&filters).await, [1, refused, 0, 0, refused, 2]);
        // The later `a` has replaced the earlier one.
        let mut publisher = Raw::connect(server.address, version, "p").await;
        for (topic, qos) in [("a", 0), ("b/x", 0), ("c", 2)] {
            publisher.publish(&Pub::new(topic, "x").qos(2, 1)).await;
            let message = client.take().await;
            assert_eq!((&*message.topic, message.qos), (topic, qos));
        }
        client.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn suback_grants_the_qos_that_is_kept() {
    both(|version| async move {
        let server = Server::start().await;
        for wanted in 0..=2 {
            for published in 0..=2 {
                let mut client = Raw::connect(server.address, version, "c").await;
                let granted = client.subscribe(&[("a", wanted)]).await;
                assert_eq!(granted, [wanted]);
                let mut publisher = Raw::connect(server.address, version, "p").await;
                publisher.publish(&Pub::new("a", "x").qos(published, 1)).await;
                assert_eq!(client.take().await.qos, granted[0].min(published));
                client.goodbye().await;
                publisher.goodbye().await;
            }
        }
    })
    .await;
}

/// Codes of a SUBACK on 3.1.1 are 0, 1, 2 and 0x80, whatever the reason for a refusal is.
#[tokio::test]
async fn suback_has_a_code_of_its_own() {
    both(|version| async move {
        let server = Server::start_with(Config { max_subscriptions: 2, ..Config::default() }).await;
        let mut client = Raw::connect(server.address, version, "c").await;
        let (forbidden, too_many) = if version == Version::V5 { (0x87, 0x97) } else { (0x80, 0x80) };
        assert_eq!(client.subscribe(&[("no/a", 0), ("a", 0)]).await, [forbidden, 0]);
        // A filter that is there already takes no more room.
        assert_eq!(client.subscribe(&[("b", 1), ("c", 0), ("a", 1)]).await, [1, too_many, 1]);
    })
    .await;
}

/// The refusals of a SUBACK come with sentences where they fit, and without where they do not.
#[tokio::test]
async fn a_reason_string_that_makes_suback_too_large_is_left_out() {
    let version = Version::V5;
    let server = Server::start().await;
    let mut client = Raw::connect(server.address, version, "c").await;
    client.send(&subscribe(version, 1, &[("no/a", 0)])).await;
    let (_, body) = client.packet().await;
    let whole = 2 + body.len() as u32;
    for (size, has_reason) in [(whole, true), (whole - 1, false)] {
        let put = Put::new().four(id::MAXIMUM_PACKET_SIZE, size);
        let (mut client, _) = Raw::hello(server.address, &Hello::new(version, "d").properties(put)).await;
        client.send(&subscribe(version, 1, &[("no/a", 0)])).await;
        let suback = client.codes(SUBACK).await;
        assert_eq!(suback.reasons, [0x87]);
        assert_eq!(suback.properties.has(id::REASON_STRING), has_reason, "{size}");
        assert!(suback.properties.users().is_empty());
    }
}

/// Byte for byte: no filter that means the same, or that it covers.
#[tokio::test]
async fn unsubscribe_removes_exactly_the_filter_it_names() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.subscribe(&[("a/+", 1), ("A/+", 1), ("b", 1)]).await;
        let others = ["a/#", "+/+", "#", "a/b", "a/", "B"];
        client.send(&unsubscribe(version, 1, &others)).await;
        let answer = client.codes(UNSUBACK).await;
        assert_eq!(answer.reasons, if version == Version::V5 { vec![0x11; others.len()] } else { vec![] });
        let mut publisher = Raw::connect(server.address, version, "p").await;
        for topic in ["a/b", "A/b", "b"] {
            publisher.publish(&Pub::new(topic, "x").qos(1, 1)).await;
            assert_eq!(client.take().await.topic, topic);
        }
        client.send(&unsubscribe(version, 1, &["a/+"])).await;
        client.codes(UNSUBACK).await;
        for topic in ["a/b", "A/b"] {
            publisher.publish(&Pub::new(topic, "x").qos(1, 1)).await;
        }
        assert_eq!(client.take().await.topic, "A/b");
        client.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn after_unsubscribe_no_new_message_is_delivered() {
    both(|version| async move {
        let server = Server::start().await;
        let kept = Hello::kept(version, "c");
        let (mut client, _) = Raw::hello(server.address, &kept).await;
        client.subscribe(&[("a/#", 1), ("b", 0)]).await;
        client.send(&unsubscribe(version, 1, &["a/#", "b"])).await;
        client.codes(UNSUBACK).await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        let publishes = [Pub::new("a/b", "x").qos(1, 1), Pub::new("a/b", "x"), Pub::new("b", "x").qos(1, 1)];
        for publish in &publishes {
            publisher.publish(publish).await;
        }
        client.nothing().await;
        client.goodbye().await;
        for publish in &publishes {
            publisher.publish(publish).await;
        }
        let (mut client, _) = Raw::hello(server.address, &kept).await;
        client.nothing().await;
    })
    .await;
}

/// Those that were begun to be sent: again after a reconnect, and to the end of their handshake.
#[tokio::test]
async fn after_unsubscribe_what_was_begun_is_completed() {
    both(|version| async move {
        let server = Server::start().await;
        let kept = Hello::kept(version, "c");
        let (mut client, _) = Raw::hello(server.address, &kept).await;
        client.subscribe(&[("a", 2)]).await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        publisher.publish(&Pub::new("a", "1").qos(1, 1)).await;
        publisher.publish(&Pub::new("a", "2").qos(2, 1)).await;
        let begun = [client.message().await, client.message().await];
        client.send(&unsubscribe(version, 1, &["a"])).await;
        client.codes(UNSUBACK).await;
        drop(client);
        let (mut client, _) = Raw::hello(server.address, &kept).await;
        for message in &begun {
            let again = client.take().await;
            assert_eq!((again.packet_id, again.qos, again.dup), (message.packet_id, message.qos, true));
        }
        client.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn unsubscribe_is_answered_with_its_packet_id_whatever_was_there() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        for packet_id in [1, 65_535, 0x1234] {
            client.send(&unsubscribe(version, packet_id, &["a"])).await;
            let answer = client.codes(UNSUBACK).await;
            assert_eq!(answer.packet_id, packet_id);
            assert_eq!(answer.reasons, if version == Version::V5 { vec![0x11] } else { vec![] });
        }
    })
    .await;
}

#[tokio::test]
async fn several_filters_of_an_unsubscribe_are_answered_as_one_each_in_its_place() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.subscribe(&[("a", 1), ("b", 1), ("c", 1)]).await;
        client.send(&unsubscribe(version, 1, &["c", "x", "a", "c"])).await;
        let answer = client.codes(UNSUBACK).await;
        assert_eq!(answer.reasons, if version == Version::V5 { vec![0, 0x11, 0, 0x11] } else { vec![] });
        let mut publisher = Raw::connect(server.address, version, "p").await;
        for topic in ["a", "b", "c"] {
            publisher.publish(&Pub::new(topic, "x").qos(1, 1)).await;
        }
        assert_eq!(client.take().await.topic, "b");
        client.nothing().await;
    })
    .await;
}

#[tokio::test]
async fn unsuback_has_no_properties_to_leave_out() {
    let server = Server::start().await;
    let mut client = Raw::connect(server.address, Version::V5, "c").await;
    client.subscribe(&[("a", 1)]).await;
    client.send(&unsubscribe(Version::V5, 1, &["a", "no/a", "b"])).await;
    // Two bytes of packet id, one that says that there are no properties, and the codes.
    let (first, body) = client.packet().await;
    assert_eq!((first, &body[..]), (UNSUBACK, &[0, 1, 0, 0x00, 0x11, 0x11][..]));
}
