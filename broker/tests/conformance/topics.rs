//! Section 4.7: topic names and filters, as publishers and subscribers meet them.

use crate::raw::{Pub, Raw, SUBACK, field, packet, subscribe, unsubscribe};
use crate::support::{Server, both};
use chasqui_broker::codec::Version;

/// Filters, and for each what it matches and what it does not.
const MATCHES: &[(&str, &[&str], &[&str])] = &[
    ("a/b", &["a/b"], &["a", "a/b/", "/a/b", "a/b/c", "A/b"]),
    ("#", &["a", "a/b", "/", "/a", "a//b"], &["$a", "$a/b"]),
    ("a/#", &["a", "a/", "a/b", "a/b/c", "a/$b"], &["ab", "b", "/a"]),
    ("+", &["a", "b"], &["a/b", "/a", "/", "$a"]),
    ("+/+", &["/a", "a/b", "/"], &["a", "a/b/c", "$a/b"]),
    ("/+", &["/a", "/"], &["a", "a/b"]),
    ("+/b/#", &["a/b", "a/b/c", "/b"], &["a", "$a/b/c", "a/c/b"]),
    ("a/+/c", &["a/b/c", "a//c", "a/$b/c"], &["a/c", "a/b/c/d"]),
    ("$a/#", &["$a", "$a/b"], &["a", "a/b"]),
    ("$a/+", &["$a/b"], &["$a", "$b/b"]),
    ("é", &["é"], &["e\u{301}", "É"]),
    ("a b", &["a b"], &["a  b", "ab", "a b "]),
];

#[tokio::test]
async fn filters_match_what_the_standard_says_and_nothing_else() {
    both(|version| async move {
        let server = Server::start().await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        for (filter, matching, others) in MATCHES {
            let mut client = Raw::connect(server.address, version, "c").await;
            assert_eq!(client.subscribe(&[(filter, 1)]).await, [1], "{filter}");
            for topic in others.iter().chain(*matching).chain(*others) {
                publisher.publish(&Pub::new(topic, "x").qos(1, 1)).await;
            }
            for topic in *matching {
                assert_eq!(client.take().await.topic, *topic, "{filter}");
            }
            client.nothing().await;
            client.goodbye().await;
        }
    })
    .await;
}

/// The same for what is kept: the index of retained messages is another.
#[tokio::test]
async fn filters_match_the_same_retained_messages() {
    both(|version| async move {
        for (filter, matching, others) in MATCHES {
            let server = Server::start().await;
            let mut client = Raw::connect(server.address, version, "c").await;
            for topic in others.iter().chain(*matching) {
                client.publish(&Pub::new(topic, "x").qos(1, 1).retained()).await;
            }
            client.subscribe(&[(filter, 0)]).await;
            let mut seen = Vec::new();
            for _ in *matching {
                seen.push(client.message().await.topic);
            }
            seen.sort_unstable();
            let mut expected: Vec<&str> = matching.to_vec();
            expected.sort_unstable();
            assert_eq!(seen, expected, "{filter}");
            client.nothing().await;
        }
    })
    .await;
}

#[tokio::test]
async fn wildcards_do_not_match_topics_with_a_dollar_in_front() {
    both(|version| async move {
        let server = Server::start().await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.subscribe(&[("#", 1), ("+/b", 1), ("+", 1), ("+/#", 1)]).await;
        let mut publisher = Raw::connect(server.address, version, "p").await;
        publisher.publish(&Pub::new("$a/b", "x").qos(1, 1).retained()).await;
        publisher.publish(&Pub::new("$a", "x").qos(1, 1)).await;
        client.nothing().await;
        client.subscribe(&[("#", 1), ("+/b", 1)]).await;
        client.nothing().await;
        client.subscribe(&[("$a/#", 1)]).await;
        assert_eq!(client.take().await.topic, "$a/b");
    })
    .await;
}

#[tokio::test]
async fn a_wildcard_in_a_topic_name_closes() {
    both(|version| async move {
        let server = Server::start().await;
        let mut watcher = Raw::connect(server.address, version, "w").await;
        watcher.subscribe(&[("#", 1)]).await;
        for topic in ["#", "+", "a/#", "a/+/b", "a#", "+a", "/+"] {
            let mut client = Raw::connect(server.address, version, "c").await;
            client.send(&Pub::new(topic, "x").qos(1, 1).bytes(version)).await;
            client.ended(0x90).await;
        }
        watcher.nothing().await;
    })
    .await;
}

/// A filter that is none closes: 0x8F on 5.0.
async fn no_filter(server: &Server, version: Version, filters: &[&str]) {
    for filter in filters {
        for bytes in [subscribe(version, 1, &[(filter, 0)]), unsubscribe(version, 1, &[filter])] {
            let mut client = Raw::connect(server.address, version, "c").await;
            client.send(&bytes).await;
            client.ended(0x8F).await;
        }
    }
}

#[tokio::test]
async fn a_multi_level_wildcard_stands_alone_at_the_end() {
    both(|version| async move {
        let server = Server::start().await;
        no_filter(&server, version, &["a#", "a/#b", "#/", "#/a", "a/#/b", "##", "+#"]).await;
        let mut client = Raw::connect(server.address, version, "c").await;
        assert_eq!(client.subscribe(&[("#", 0), ("a/#", 0), ("+/#", 0), ("/#", 0)]).await, [0; 4]);
    })
    .await;
}

#[tokio::test]
async fn a_single_level_wildcard_fills_its_level() {
    both(|version| async move {
        let server = Server::start().await;
        no_filter(&server, version, &["a+", "+a", "a/+b", "++", "a/b+/c"]).await;
        let mut client = Raw::connect(server.address, version, "c").await;
        assert_eq!(client.subscribe(&[("+", 0), ("a/+", 0), ("+/a", 0), ("a/+/+/b", 0)]).await, [0; 4]);
    })
    .await;
}

#[tokio::test]
async fn an_empty_topic_name_or_filter_closes() {
    both(|version| async move {
        let server = Server::start().await;
        no_filter(&server, version, &[""]).await;
        let mut client = Raw::connect(server.address, version, "c").await;
        client.send(&Pub::new("", "x").qos(1, 1).bytes(version)).await;
        // On 5.0 an alias could stand for it, and there is none.
        client.ended(0x82).await;
        // One character is enough.
        let mut client = Raw::connect(server.address, version, "c").await;
        client.subscribe(&[("/", 1)]).await;
        client.publish(&Pub::new("/", "x").qos(1, 1)).await;
    })
    .await;
}

#[tokio::test]
async fn u_0000_in_a_topic_name_or_filter_closes() {
    both(|version| async move {
        let server = Server::start().await;
        for text in ["\0", "a/\0", "a\0b"] {
            let packets = [
                Pub::new(text, "x").bytes(version),
                subscribe(version, 1, &[(text, 0)]),
                unsubscribe(version, 1, &[text]),
            ];
            for bytes in packets {
                let mut client = Raw::connect(server.address, version, "c").await;
                client.send(&bytes).await;
                client.ended(0x81).await;
            }
        }
    })
    .await;
}

/// Their length has two bytes, so that no longer one can be said at all; the longest goes all the way.
#[tokio::test]
async fn the_longest_topic_name_is_matched_and_delivered_whole() {
    both(|version| async move {
        let server = Server::start().await;
        let longest = "é".repeat(32_767) + "x";
        assert_eq!(longest.len(), 65_535);
        let mut client = Raw::connect(server.address, version, "c").await;
        assert_eq!(client.subscribe(&[(&longest, 1)]).await, [1]);
        client.send(&Pub::new(&longest, "x").qos(1, 1).bytes(version)).await;
        // The acknowledgement and the message, in whatever order.
        let mut seen = 0;
        for _ in 0..2 {
            let (first, body) = client.packet().await;
            if first & 0xF0 == 0x30 {
                assert!(body.starts_with(&field(&longest)));
                seen += 1;
            }
        }
        assert_eq!(seen, 1);
        // A length beyond the packet is no longer name, but no packet.
        let mut client = Raw::connect(server.address, version, "c").await;
        client.send(&packet(0x30, b"\xFF\xFFa")).await;
        client.ended(0x81).await;
    })
    .await;
}

/// Texts that look the same, or are the same after some folding, are different topics, and each comes out as it went in.
#[tokio::test]
async fn topics_are_compared_as_they_are() {
    both(|version| async move {
        let server = Server::start().await;
        // é in one and in two characters, K and the Kelvin sign, case, spaces, a byte order mark, an escape, dots.
        let topics = [
            "é",
            "e\u{301}",
            "K",
            "\u{212A}",
            "k",
            "k ",
            " k",
            "\u{FEFF}k",
            "%6B",
            "k/.",
            "k/..",
            "k/",
            "k//",
            "ſ",
            "s",
            "ﬁ",
            "fi",
            "\u{1F642}",
            "k\u{200D}",
        ];
        let mut client = Raw::connect(server.address, version, "c").await;
        for (n, topic) in topics.iter().enumerate() {
            client.send(&subscribe(version, n as u16 + 1, &[(topic, 1)])).await;
            assert_eq!(client.codes(SUBACK).await.reasons, [1]);
        }
        let mut publisher = Raw::connect(server.address, version, "p").await;
        for topic in topics {
            publisher.publish(&Pub::new(topic, topic).qos(1, 1)).await;
            let message = client.take().await;
            assert_eq!((&*message.topic, message.text()), (topic, topic));
            client.nothing().await;
        }
        // Giving one up leaves the others.
        client.send(&unsubscribe(version, 1, &["é"])).await;
        client.codes(crate::raw::UNSUBACK).await;
        publisher.publish(&Pub::new("é", "x").qos(1, 1)).await;
        client.nothing().await;
        publisher.publish(&Pub::new("e\u{301}", "x").qos(1, 1)).await;
        assert_eq!(client.take().await.topic, "e\u{301}");
    })
    .await;
}
