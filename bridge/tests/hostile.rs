//! Hostile input to the contract: payloads that are none, topics that nearly are, ids with odd characters. It is never answered with
//! success, never panics, and leaves the store as it should be: what was accepted is there, once, in order and without a gap.
//!
//! `HOSTILE_SEED=… cargo test` repeats a run: every run prints its seed.

#![allow(clippy::print_stdout)] // The figures are what a reader of the log wants.

use chasqui_bridge::server::Server;
use chasqui_bridge::settings::{Settings, Sources};
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::{Ack, PublishOut, QoS, ReasonCode, Version};
use chasqui_proto::limits::{BODY_MAX_BYTES, COMMAND_MAX_BYTES, SEND_MAX_BYTES};
use chasqui_proto::v1;
use chasqui_testkit::{Client, Hello};
use prost::Message;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use v1::{body, event};

const Q1: QoS = QoS::AtLeastOnce;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics on all threads, those of the service included.
fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            usual(panic);
        }));
    });
}

fn assert_no_panic() {
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "something panicked");
}

fn seed() -> u64 {
    let given = std::env::var("HOSTILE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("HOSTILE_SEED={seed}");
    seed
}

async fn serve(data: &Path) -> (Server, SocketAddr) {
    let data = data.to_str().expect("paths of tests are UTF-8").to_owned();
    let flags = vec![
        ("--data", "data", data),
        ("--listen", "listen", "127.0.0.1:0".to_owned()),
        ("--dev", "dev", "true".to_owned()),
    ];
    let mut settings =
        Settings::load(&Sources { flags, ..Sources::default() }).expect("settings that will do");
    // With `dev` everyone may read $SYS; what nobody publishes there does not come between an attack and its answer.
    settings.sys.interval = Duration::ZERO;
    let server = Server::start(&settings).await.expect("a new store");
    let address = server.addresses()[0];
    (server, address)
}

/// Levels that topics are put together from: right ones in wrong places, and wrong ones that look right.
const LEVELS: [&str; 26] = [
    "u",
    "g",
    "do",
    "json",
    "bob",
    "in",
    "send",
    "read",
    "played",
    "typing",
    "receipts",
    "presence",
    "profile",
    "d",
    "phone",
    "reply",
    "",
    " ",
    "bob ",
    "BÖB",
    "b\u{200b}ob",
    "..",
    "%2e",
    "$SYS",
    "bob\u{feff}",
    "sixty-five-letters-are-one-more-than-an-id-may-have-so-this-is-it",
];

fn pick<'a>(random: &mut StdRng, from: &[&'a str]) -> &'a str {
    from[random.random_range(0..from.len())]
}

/// A topic under our roots: often one that takes commands.
fn topic(random: &mut StdRng) -> String {
    if random.random_bool(0.6) {
        let real = ["u/bob/send", "json/u/bob/send", "do/read", "json/do/read"];
        return pick(random, &real).to_owned();
    }
    let mut topic = pick(random, &["u", "g", "do", "json/u", "json/g", "json/do", "json", "$SYS"]).to_owned();
    for _ in 0..random.random_range(0..5) {
        topic.push('/');
        topic.push_str(pick(random, &LEVELS));
    }
    // What is under no root of ours is anybody's.
    if topic == "json" { "json/".to_owned() } else { topic }
}

fn some_text(random: &mut StdRng) -> String {
    let odd = ["", "hello", "\u{0}", "\u{202e}", "\"", "\\u0000", "😀", "line\nline", "{}", "u/bob"];
    let mut text = pick(random, &odd).to_owned();
    if random.random_bool(0.02) {
        text.push_str(&"x".repeat(random.random_range(0..2 * BODY_MAX_BYTES)));
    }
    text
}

fn a_send(random: &mut StdRng) -> v1::Send {
    let kind = Some(body::Kind::Text(some_text(random)));
    // None, or one that no other message has by chance; some are too long.
    let bytes = if random.random_bool(0.2) { 0 } else { random.random_range(9..20) };
    let id: Vec<u8> = (0..bytes).map(|_| random.random()).collect();
    let body = random.random_bool(0.9).then(|| v1::Body { kind });
    v1::Send { client_msg_id: id.into(), body, ..v1::Send::default() }
}

fn a_read(random: &mut StdRng) -> v1::Read {
    let conversation = format!("{}/{}", pick(random, &["u", "g", "", "json/u"]), pick(random, &LEVELS));
    v1::Read { conversation, up_to_seq: random.random(), ..v1::Read::default() }
}

fn some_json(random: &mut StdRng, depth: usize) -> serde_json::Value {
    use serde_json::Value;
    match random.random_range(0..if depth > 5 { 5 } else { 7 }) {
        0 => Value::Null,
        1 => Value::from(random.random::<i64>()),
        2 => Value::from(random.random::<f64>()),
        3 => Value::from(random.random::<bool>()),
        4 => Value::from(some_text(random)),
        5 => (0..random.random_range(0..4)).map(|_| some_json(random, depth + 1)).collect(),
        _ => {
            let names = ["body", "text", "clientMsgId", "conversation", "upToSeq", "replyTo", "custom", "x"];
            let fields = 0..random.random_range(0..5);
            fields.map(|_| (pick(random, &names).to_owned(), some_json(random, depth + 1))).collect()
        }
    }
}

/// A payload: right, damaged, of the other encoding, or noise.
fn payload(random: &mut StdRng) -> Vec<u8> {
    let mut payload = match random.random_range(0..8) {
        0 | 1 => a_send(random).encode_to_vec(),
        2 => a_read(random).encode_to_vec(),
        3 => serde_json::to_vec(&a_send(random)).expect("it has a JSON"),
        4 => serde_json::to_vec(&a_read(random)).expect("it has a JSON"),
        5 => some_json(random, 0).to_string().into_bytes(),
        6 => "[".repeat(random.random_range(0..50_000)).into_bytes(),
        _ => (0..random.random_range(0..200)).map(|_| random.random()).collect(),
    };
    if random.random_bool(0.5) {
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..=payload.len());
            match random.random_range(0..4) {
                0 if at < payload.len() => payload[at] = random.random(),
                1 if at < payload.len() => payload[at] ^= 1 << random.random_range(0..8),
                2 => payload.truncate(at),
                _ => payload.insert(at, random.random()),
            }
        }
    }
    payload
}

/// A topic and a payload, one time in four of those that belong together.
fn publish(random: &mut StdRng) -> (String, Vec<u8>) {
    match random.random_range(0..8) {
        0 => ("u/bob/send".to_owned(), a_send(random).encode_to_vec()),
        1 => ("json/u/bob/send".to_owned(), serde_json::to_vec(&a_send(random)).expect("it has a JSON")),
        _ => (topic(random), payload(random)),
    }
}

fn is_id(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(is_letter)
}

/// Whether a publish could mean something, judged without the code under test: that a success was no success for garbage.
fn could_be_accepted(topic: &str, payload: &[u8]) -> bool {
    let (is_json, bare) = topic.strip_prefix("json/").map_or((false, topic), |bare| (true, bare));
    let object = || serde_json::from_slice::<serde_json::Value>(payload).ok()?.as_object().cloned();
    if let Some(to) = bare.strip_prefix("u/").and_then(|rest| rest.strip_suffix("/send")) {
        let meant = if is_json {
            object().is_some_and(|send| send.get("body").is_some_and(serde_json::Value::is_object))
        } else {
            let send = v1::Send::decode(payload);
            send.is_ok_and(|send| send.body.is_some() && send.client_msg_id.len() <= 16)
        };
        return is_id(to) && meant && (is_json || payload.len() <= SEND_MAX_BYTES);
    }
    // The two say the same of a message.
    if matches!(bare, "do/read" | "do/played") {
        let conversation = if is_json {
            object().and_then(|read| Some(read.get("conversation")?.as_str()?.to_owned()))
        } else {
            v1::Read::decode(payload).ok().map(|read| read.conversation)
        };
        let peer = conversation.as_deref().and_then(|one| one.strip_prefix("u/"));
        return payload.len() <= COMMAND_MAX_BYTES && peer.is_some_and(is_id);
    }
    // Every field of it may be left out, so it may be empty; and who is no member of a group is not told so.
    let root = bare.strip_prefix("u/").or_else(|| bare.strip_prefix("g/"));
    if let Some(to) = root.and_then(|rest| rest.strip_suffix("/typing")) {
        let meant = if is_json { object().is_some() } else { v1::Typing::decode(payload).is_ok() };
        return is_id(to) && meant && payload.len() <= COMMAND_MAX_BYTES;
    }
    false
}

/// What became of a publish.
enum Answer {
    Accepted(Option<u64>),
    Refused,
}

fn number(ack: &Ack) -> Option<u64> {
    let properties = ack.properties.as_ref()?;
    properties.user_properties.iter().find(|(name, _)| *name == "seq")?.1.parse().ok()
}

/// A user without scruples, who comes back when thrown out.
struct Attacker {
    address: SocketAddr,
    hello: Hello,
    client: Client,
}

impl Attacker {
    async fn come(address: SocketAddr, hello: Hello) -> Attacker {
        let client = Client::connect(address, &hello).await;
        Attacker { address, hello, client }
    }

    async fn publish(&mut self, topic: &str, payload: &[u8]) -> Answer {
        let packet_id = self.client.send(PublishOut { qos: Q1, ..PublishOut::new(topic, payload) }).await;
        match self.client.next().await {
            Some(ServerPacket::Puback(ack)) => {
                assert_eq!(Some(ack.packet_id), packet_id);
                if ack.reason == ReasonCode::Success {
                    return Answer::Accepted(number(&ack));
                }
                assert!(ack.reason.is_error(), "{ack:?}");
                let reason = ack.properties.as_ref().and_then(|properties| properties.reason_string.clone());
                let reason = reason.expect("a refusal says why");
                let name = reason.split(':').next().expect("split gives something");
                let is_name = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
                assert!(!name.is_empty() && name.bytes().all(is_name), "{}", &*reason);
                Answer::Refused
            }
            // On 3.1.1 there is no other way to say no to whoever does not read their inbox.
            None if self.hello.0.version == Version::V311 => {
                self.client = Client::connect(self.address, &self.hello).await;
                Answer::Refused
            }
            other => panic!("an answer was expected: {other:?}"),
        }
    }
}

/// Sends garbage for a while; how often something went through to bob, and how often anything was refused.
async fn attack(address: SocketAddr, version: Version, name: String, seed: u64) -> (String, u64, usize) {
    const PUBLISHES: usize = 800;
    let mut random = StdRng::seed_from_u64(seed);
    let mut attacker = Attacker::come(address, Hello::new(version, "laptop").user(&name, &name)).await;
    let (mut to_bob, mut refused) = (0, 0);
    for _ in 0..PUBLISHES {
        let (topic, payload) = publish(&mut random);
        match attacker.publish(&topic, &payload).await {
            Answer::Refused => refused += 1,
            Answer::Accepted(seq) => {
                let what = || format!("{topic:?}: {}", payload.escape_ascii());
                assert!(could_be_accepted(&topic, &payload), "success for garbage: {}", what());
                if topic.ends_with("u/bob/send") {
                    to_bob += 1;
                    assert!(seq.is_none_or(|seq| seq == to_bob), "{seq:?}, not {to_bob}: {}", what());
                }
            }
        }
    }
    // One that is as it should be goes through, with the number that follows.
    let kind = Some(body::Kind::Text("good".to_owned()));
    let good = v1::Send { body: Some(v1::Body { kind }), ..v1::Send::default() }.encode_to_vec();
    match attacker.publish("u/bob/send", &good).await {
        Answer::Accepted(seq) if version == Version::V5 => assert_eq!(seq, Some(to_bob + 1)),
        Answer::Accepted(_) => {}
        Answer::Refused => panic!("what is good is refused"),
    }
    (name, to_bob + 1, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_refused_and_the_store_stays_whole() {
    count_panics();
    let seed = seed();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, address) = serve(folder.path()).await;
    let bob = Hello::new(Version::V5, "phone").user("bob", "bob").kept();
    let mut phone = Client::connect(address, &bob).await;
    phone.subscribe(&[("u/bob/in", Q1)]).await;
    phone.disconnect().await;

    let mut attackers = JoinSet::new();
    for n in 0..8 {
        let version = if n % 2 == 0 { Version::V311 } else { Version::V5 };
        attackers.spawn(attack(address, version, format!("mallory-{n}"), seed.wrapping_add(n)));
    }
    let (mut accepted, mut refused) = (Vec::new(), 0);
    while let Some(done) = attackers.join_next().await {
        let (name, to_bob, no) = done.expect("the service does what it should");
        refused += no;
        accepted.push((name, to_bob));
    }
    assert_no_panic();

    // All of it survives, and is as it should be: dense, once, in order.
    server.stop().await.expect("a store that works");
    let (server, address) = serve(folder.path()).await;
    let mut phone = Client::connect(address, &bob).await;
    let expected: u64 = accepted.iter().map(|(_, to_bob)| to_bob).sum();
    let mut last = std::collections::HashMap::<String, u64>::new();
    for position in 1..=expected {
        let publish = phone.take().await;
        let event = v1::Event::decode(publish.payload.clone()).expect("an event");
        assert_eq!(event.position, position);
        let Some(event::Event::Message(message)) = event.event else { panic!("a message: {event:?}") };
        let last = last.entry(message.conversation).or_default();
        assert_eq!(message.seq, *last + 1);
        *last = message.seq;
    }
    phone.nothing().await;
    for (name, to_bob) in &accepted {
        assert_eq!(last[&format!("u/{name}")], *to_bob, "{name}");
    }
    println!("{expected} of bob's messages went through, {refused} publishes were refused");
    assert!(expected > 200 && refused > 2_000, "{expected} went through, {refused} were refused");
    server.stop().await.expect("a store that works");
    assert_no_panic();
}

/// A well-formed filter, of whatever meaning.
fn filter(random: &mut StdRng) -> String {
    let mut levels: Vec<&str> = (0..random.random_range(1..5))
        .map(|_| if random.random_bool(0.2) { "+" } else { pick(random, &LEVELS) })
        .collect();
    if random.random_bool(0.3) {
        levels.push("#");
    }
    let filter = levels.join("/");
    if filter.is_empty() { "/".to_owned() } else { filter }
}

/// Whether a filter may be granted to mallory, judged without the code under test.
fn could_be_granted(filter: &str) -> bool {
    let bare = filter.strip_prefix("json/").unwrap_or(filter);
    let mut levels = bare.split('/');
    match (levels.next(), levels.next()) {
        (Some("u"), whose) => whose == Some("mallory"),
        (Some("g" | "do"), _) => false,
        // For trying out, everyone is an operator.
        (Some("$SYS"), _) => !filter.starts_with("json/"),
        _ => !filter.starts_with("json/") && filter != "json",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_filters_reach_nothing_of_others() {
    count_panics();
    let mut random = StdRng::seed_from_u64(seed());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, address) = serve(folder.path()).await;
    let mut mallory =
        Client::connect(address, &Hello::new(Version::V5, "x").user("mallory", "mallory")).await;
    let mut refused = 0;
    for _ in 0..3_000 {
        let filter = match random.random_range(0..3) {
            0 => filter(&mut random),
            1 => format!("{}/{}", pick(&mut random, &["u", "json/u", "g", "u/mallory"]), filter(&mut random)),
            _ => format!("$share/x/{}u/{}", pick(&mut random, &["", "json/"]), filter(&mut random)),
        };
        let codes = mallory.subscribe(&[(&filter, Q1)]).await;
        let [code] = codes[..] else { panic!("one filter, one code: {codes:?}") };
        refused += usize::from(code.is_error());
        let is_shared = filter.starts_with("$share/");
        assert!(code.is_error() || (could_be_granted(&filter) && !is_shared), "granted: {filter}");
        let named = filter.strip_prefix("json/").unwrap_or(&filter).strip_prefix("u/mallory/presence/");
        if let Some(named) = named.filter(|_| !code.is_error()) {
            // Nobody else was ever there, and of one who was not it says nothing.
            let shown = mallory.message().await;
            let says_nothing = matches!(&shown.payload[..], b"" | b"{}");
            assert_eq!(says_nothing, named != "mallory", "{filter}: {shown:?}");
        }
        mallory.unsubscribe(&[&filter]).await;
    }
    assert!((1_000..3_000).contains(&refused), "{refused} of 3000 refused");
    mallory.disconnect().await;
    server.stop().await.expect("a store that works");
    assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_names_are_nobody() {
    count_panics();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, address) = serve(folder.path()).await;
    let long = "x".repeat(65);
    let names = ["", " ", "a/b", "+", "#", "bob ", "bÖb", "u/bob", "..", "bob\u{200b}", "$SYS", "a.b", &long];
    for version in [Version::V311, Version::V5] {
        for name in names {
            let refused = Client::try_connect(address, &Hello::new(version, "x").user(name, name)).await;
            assert!(refused.connack.reason.is_error(), "{name:?} was let in: {:?}", refused.connack);
        }
        // Any client id may connect; one that is no device reads nobody's log.
        for name in names.iter().filter(|name| !name.is_empty()) {
            let mut client = Client::connect(address, &Hello::new(version, name).user("bob", "bob")).await;
            let codes = client.subscribe(&[("u/bob/in", Q1), ("u/bob/#", Q1)]).await;
            assert!(codes.iter().all(|code| code.is_error()), "{name:?}: {codes:?}");
            client.disconnect().await;
        }
    }
    server.stop().await.expect("a store that works");
    assert_no_panic();
}
