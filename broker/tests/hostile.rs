//! Hostile input over real sockets: damage, excess, silence. It ends the connection it came on and nothing else: no panic, no memory that
//! grows, no success for what was not understood, and others go on undisturbed the whole time.
//!
//! `HOSTILE_SEED=… cargo test` repeats a run: every run prints its seed.

#![allow(clippy::print_stdout)] // The figures are what a reader of the log wants.

mod support;

#[path = "support/counting.rs"]
mod counting;

#[path = "codec/build.rs"]
#[allow(dead_code)]
mod build;
#[path = "codec/corpus.rs"]
#[allow(dead_code)]
mod corpus;
#[path = "../src/codec/sample.rs"]
#[allow(dead_code)]
mod sample;

/// What `sample` knows the codec as.
mod codec {
    pub(crate) use chasqui_broker::codec::*;
}

use bytes::Bytes;
use chasqui_broker::Config;
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::packet::{ping, publish};
use chasqui_broker::codec::{
    ByteStr, DecodeError, Limits, Packet, PacketId, PacketType, Peer, PublishOut, QoS, ReasonCode, Sender,
    Version, decode,
};
use chasqui_broker::store::ram::RamStore;
use chasqui_broker::store::{Committed, Store, StoreOp};
use chasqui_broker::store_below;
use corpus::{Any, Case, Random, broken, valid};
use counting::{LIVE, PEAK};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;
use support::{Client, Hello, PATIENCE, PlainHook, Server, TestClock, both};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;

const Q1: QoS = QoS::AtLeastOnce;
const MIB: isize = 1 << 20;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// One test at a time: memory and panics are counted for the whole process.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            usual(panic);
        }));
    });
    let alone = ALONE.lock().await;
    PANICS.store(0, Ordering::SeqCst);
    alone
}

fn assert_no_panic() {
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "something panicked");
}

fn seed() -> u64 {
    let given = std::env::var("HOSTILE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| std::hash::RandomState::new().build_hasher().finish());
    println!("HOSTILE_SEED={seed}");
    seed
}

/// Waits until so many connections are left.
async fn drained(server: &Server, left: usize) {
    let waiting = async {
        while server.broker.connections() > left {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("connections end");
}

/// A store with room for few retained messages: what clients may keep is not what is measured here.
struct FewRetained(RamStore);

impl Store for FewRetained {
    store_below!(0: session read_queue queue_end retained retained_at retained_totals each_retained expired);
    store_below!(0: plain_sessions due cursors_moved);

    fn commit(&self, mut ops: Vec<StoreOp>, done: Option<Committed>) {
        for op in &mut ops {
            if let StoreOp::Retain(message) = op {
                let place = message.topic.len() % 16;
                message.topic = ByteStr::try_from(format!("kept/{place}")).expect("short");
            }
        }
        self.0.commit(ops, done);
    }
}

/// Two clients that behave: each message is answered by the next, until the test is over.
struct PingPong {
    over: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    playing: JoinSet<()>,
}

impl PingPong {
    async fn start(server: &Server) -> PingPong {
        let mut ping = server.client(Version::V311, "ping").await;
        let mut pong = server.client(Version::V5, "pong").await;
        ping.subscribe(&[("calm/pong", Q1)]).await;
        pong.subscribe(&[("calm/ping", Q1)]).await;
        let (over, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut playing = JoinSet::new();
        let (theirs, done) = (Arc::clone(&over), Arc::clone(&rounds));
        playing.spawn(async move {
            while !theirs.load(Ordering::Relaxed) {
                let round = done.load(Ordering::Relaxed).to_string();
                ping.send(PublishOut { qos: Q1, ..PublishOut::new("calm/ping", round.as_bytes()) }).await;
                let message = pong.take().await;
                assert_eq!((&*message.topic, &message.payload[..]), ("calm/ping", round.as_bytes()));
                assert_eq!(pong.publish("calm/pong", round.as_bytes()).await.reason, ReasonCode::Success);
                // The acknowledgement and the answer, in whatever order.
                let mut seen = (false, false);
                while seen != (true, true) {
                    match ping.receive().await {
                        ServerPacket::Puback(_) if !seen.0 => seen.0 = true,
                        ServerPacket::Publish(message, _) if !seen.1 => {
                            assert_eq!(
                                (&*message.topic, &message.payload[..]),
                                ("calm/pong", round.as_bytes())
                            );
                            ping.ack(&message).await;
                            seen.1 = true;
                        }
                        other => panic!("round {round}: {other:?}"),
                    }
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
            ping.disconnect().await;
            pong.disconnect().await;
        });
        PingPong { over, rounds, playing }
    }

    fn rounds(&self) -> usize {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Waits for so many more rounds.
    async fn goes_on(&mut self, rounds: usize) {
        let wanted = self.rounds() + rounds;
        let waiting = async {
            while self.rounds() < wanted {
                assert!(self.playing.try_join_next().is_none(), "the two have stopped");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the two go on");
    }

    async fn stop(mut self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        while let Some(played) = self.playing.join_next().await {
            played.expect("every message came, and in its turn");
        }
        self.rounds()
    }
}

/// What was sent after CONNACK: by packet type, understood or not.
#[derive(Default, Debug)]
struct Hits {
    valid: [usize; 16],
    damaged: [usize; 16],
    cut: usize,
    survived: usize,
    closed: usize,
}

impl Hits {
    fn add(&mut self, other: &Hits) {
        for kind in 0..16 {
            self.valid[kind] += other.valid[kind];
            self.damaged[kind] += other.damaged[kind];
        }
        self.cut += other.cut;
        self.survived += other.survived;
        self.closed += other.closed;
    }

    /// Every packet type was sent at least so often, understood and damaged.
    fn assert_enough(&self, valid: usize, damaged: usize) {
        use PacketType as P;
        let of_clients = [P::Connect, P::Publish, P::Puback, P::Pubrec, P::Pubrel, P::Pubcomp, P::Subscribe];
        let of_clients = of_clients.into_iter().chain([P::Unsubscribe, P::Pingreq, P::Disconnect, P::Auth]);
        for kind in of_clients {
            assert!(
                self.valid[kind as usize] >= valid || kind == P::Connect,
                "{kind:?} too rarely: {self:?}"
            );
            assert!(self.damaged[kind as usize] >= damaged, "{kind:?} damaged too rarely: {self:?}");
        }
        for kind in 0..16 {
            assert!(self.damaged[kind] >= damaged / 10, "type {kind} too rarely: {self:?}");
        }
    }
}

/// How the bytes end that are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// With a whole packet.
    Whole,
    /// In the middle of one.
    Cut,
    /// With something that is no packet.
    Damaged(DecodeError),
}

/// What the codec makes of bytes, which other tests show to be right.
struct Reading {
    packets: Vec<Packet>,
    end: End,
    /// The first byte of what is no packet.
    first: u8,
}

fn read_all(version: Version, bytes: &[u8], limits: &Limits) -> Reading {
    let bytes = Bytes::copy_from_slice(bytes);
    let mut reading = Reading { packets: Vec::new(), end: End::Whole, first: 0 };
    let mut at = 0;
    while at < bytes.len() {
        reading.first = bytes[at];
        match decode(Some(version), &bytes, at, limits) {
            Ok(Some((packet, len))) => {
                at += len;
                reading.packets.push(packet);
            }
            Ok(None) => {
                reading.end = End::Cut;
                break;
            }
            Err(error) => {
                reading.end = End::Damaged(error);
                break;
            }
        }
    }
    reading
}

fn kind_of(packet: &Packet) -> PacketType {
    match packet {
        Packet::Connect(_) => PacketType::Connect,
        Packet::Publish(_) => PacketType::Publish,
        Packet::Puback(_) => PacketType::Puback,
        Packet::Pubrec(_) => PacketType::Pubrec,
        Packet::Pubrel(_) => PacketType::Pubrel,
        Packet::Pubcomp(_) => PacketType::Pubcomp,
        Packet::Subscribe(_) => PacketType::Subscribe,
        Packet::Unsubscribe(_) => PacketType::Unsubscribe,
        Packet::Pingreq => PacketType::Pingreq,
        Packet::Disconnect(_) => PacketType::Disconnect,
        Packet::Auth(_) => PacketType::Auth,
    }
}

/// Whether a packet is one that any client may send at any time.
fn is_harmless(packet: &Packet) -> bool {
    match packet {
        Packet::Publish(publish) => {
            publish.qos < QoS::ExactlyOnce
                && publish.topic_alias.is_none()
                && !publish.topic.is_empty()
                && !publish.topic.starts_with("no/")
        }
        Packet::Subscribe(subscribe) => subscribe
            .filters
            .iter()
            .all(|one| !one.filter.starts_with("$share/") && !one.filter.starts_with("no/")),
        Packet::Unsubscribe(_) | Packet::Pingreq => true,
        _ => false,
    }
}

/// Packets to send whole, and packets to break, of one version.
struct Arsenal {
    version: Version,
    all: Vec<Case>,
    harmless: Vec<Packet>,
}

impl Arsenal {
    fn of(version: Version, cases: &[Case]) -> Arsenal {
        let own = |case: &&Case| case.sender == Sender::Client && case.version == version;
        let all: Vec<Case> = cases.iter().filter(own).cloned().collect();
        let decoded = all.iter().filter_map(|case| match case.decode() {
            Ok(Some((Any::Client(packet), _))) => Some(packet),
            _ => None,
        });
        let harmless: Vec<Packet> = decoded.filter(is_harmless).collect();
        assert!(harmless.len() > 50, "there is enough of everything");
        Arsenal { version, all, harmless }
    }

    /// A harmless packet with an id that nothing else on the connection has.
    fn harmless(&self, packet_id: PacketId, random: &mut Random) -> Vec<u8> {
        let mut packet = self.harmless[random.below(self.harmless.len())].clone();
        match &mut packet {
            Packet::Publish(publish) if publish.qos == Q1 => publish.packet_id = Some(packet_id),
            Packet::Subscribe(subscribe) => subscribe.packet_id = packet_id,
            Packet::Unsubscribe(unsubscribe) => unsubscribe.packet_id = packet_id,
            _ => {}
        }
        Any::Client(packet).encode(self.version)
    }

    /// Something that is perhaps not harmless: damaged mostly, or noise, or a packet out of place.
    fn hostile(&self, random: &mut Random) -> Vec<u8> {
        let case = &self.all[random.below(self.all.len())];
        match random.below(10) {
            0 | 1 => (0..=random.below(64)).map(|_| random.next() as u8).collect(),
            2 | 3 => case.bytes.clone(),
            _ => broken(case, &self.all[random.below(self.all.len())], random).bytes,
        }
    }
}

/// One connection: some harmless packets, then something hostile. Checks all that comes back.
async fn attack(
    server: &Server,
    name: &str,
    arsenal: &Arsenal,
    limits: &Limits,
    random: &mut Random,
) -> Hits {
    let version = arsenal.version;
    let mut bytes = Vec::new();
    for id in 1..=random.below(4) as u16 {
        bytes.extend(arsenal.harmless(PacketId::new(id).expect("counts from 1"), random));
    }
    bytes.extend(arsenal.hostile(random));
    let reading = read_all(version, &bytes, limits);
    let mut hits = Hits::default();
    // What may be acknowledged: how often, by what kind of answer and packet id.
    let mut owed: HashMap<(PacketType, u16), usize> = HashMap::new();
    for packet in &reading.packets {
        hits.valid[kind_of(packet) as usize] += 1;
        let answer = match packet {
            Packet::Publish(one) => {
                let kind = if one.qos == QoS::ExactlyOnce { PacketType::Pubrec } else { PacketType::Puback };
                one.packet_id.map(|id| (kind, id))
            }
            Packet::Pubrec(one) if !one.reason.is_error() => Some((PacketType::Pubrel, one.packet_id)),
            Packet::Subscribe(one) => Some((PacketType::Suback, one.packet_id)),
            Packet::Unsubscribe(one) => Some((PacketType::Unsuback, one.packet_id)),
            Packet::Pubrel(one) => Some((PacketType::Pubcomp, one.packet_id)),
            _ => None,
        };
        if let Some((kind, id)) = answer {
            *owed.entry((kind, id.get())).or_default() += 1;
        }
    }
    let was_harmless = reading.packets.iter().all(is_harmless);
    match reading.end {
        End::Whole => {
            ping::encode_request(&mut bytes);
        }
        End::Cut => hits.cut += 1,
        End::Damaged(_) => {
            hits.damaged[usize::from(reading.first >> 4)] += 1;
            // What follows is never read, let alone acknowledged.
            let packet_id = PacketId::new(u16::MAX);
            let late = PublishOut { qos: Q1, packet_id, ..PublishOut::new("late", b"") };
            publish::encode(&mut bytes, &Peer::unlimited(version), &late).expect("valid");
        }
    }
    let context = || format!("{version:?}, {:?} after {:?}: {bytes:02X?}", reading.end, reading.packets);

    let mut client = server.client(version, name).await;
    // In one piece where the server may close: it has read all of it then, and its last word is not lost.
    let is_damaged = matches!(reading.end, End::Damaged(_));
    let piece = if was_harmless && !is_damaged { random.below(bytes.len() + 1) } else { bytes.len() };
    client.write(&bytes[..piece]).await;
    client.write(&bytes[piece..]).await;
    if reading.end == End::Cut {
        client.stream.shutdown().await.expect("it is open");
    }
    let mut last_word = None;
    let pings = reading.packets.iter().filter(|packet| matches!(packet, Packet::Pingreq)).count();
    let mut pongs = 0;
    let closed = loop {
        let (kind, id) = match client.next().await {
            None => break true,
            Some(ServerPacket::Pingresp) => {
                pongs += 1;
                assert!(pongs <= pings + 1, "more answers than questions: {}", context());
                if reading.end == End::Whole && pongs == pings + 1 {
                    break false;
                }
                continue;
            }
            Some(ServerPacket::Publish(..)) => continue,
            Some(ServerPacket::Disconnect(said)) => {
                assert_eq!(version, Version::V5, "{}", context());
                assert!(last_word.is_none(), "said twice: {}", context());
                last_word = Some(said.reason);
                continue;
            }
            Some(ServerPacket::Puback(ack)) => (PacketType::Puback, ack.packet_id),
            Some(ServerPacket::Pubrec(ack)) => (PacketType::Pubrec, ack.packet_id),
            Some(ServerPacket::Pubrel(ack)) => (PacketType::Pubrel, ack.packet_id),
            Some(ServerPacket::Suback(suback)) => (PacketType::Suback, suback.packet_id),
            Some(ServerPacket::Unsuback(unsuback)) => (PacketType::Unsuback, unsuback.packet_id),
            Some(ServerPacket::Pubcomp(ack)) => {
                let unknown = version == Version::V311 || ack.reason == ReasonCode::PacketIdentifierNotFound;
                let known = reading.packets.iter().any(|packet| {
                    matches!(packet, Packet::Publish(one) if one.qos == QoS::ExactlyOnce && one.packet_id == Some(ack.packet_id))
                });
                assert!(unknown || known, "{ack:?}: {}", context());
                (PacketType::Pubcomp, ack.packet_id)
            }
            Some(other) => panic!("{other:?}: {}", context()),
        };
        let owed = owed.get_mut(&(kind, id.get())).filter(|owed| **owed > 0);
        *owed.unwrap_or_else(|| panic!("{kind:?} {id} for nothing: {}", context())) -= 1;
    };
    if let Some(code) = last_word {
        assert!(code.is_error() && closed, "{code:?}: {}", context());
    }
    match reading.end {
        End::Whole => assert!(!(closed && was_harmless), "closed for nothing: {}", context()),
        End::Cut => assert!(closed, "{}", context()),
        End::Damaged(error) => {
            assert!(closed, "it goes on: {}", context());
            if was_harmless && version == Version::V5 {
                assert_eq!(last_word, Some(error.reason_code()), "{}", context());
            }
        }
    }
    hits.closed += usize::from(closed);
    hits.survived += usize::from(!closed);
    hits
}

/// So many connections with something hostile on each, some of them at the same time.
async fn attacks(server: &Arc<Server>, arsenals: &Arc<[Arsenal; 2]>, connections: usize, seed: u64) -> Hits {
    const AT_ONCE: usize = 16;
    let limits =
        Limits { max_packet_size: PACKET_BYTES, max_topic_levels: Config::default().max_topic_levels };
    let mut tasks = JoinSet::new();
    for worker in 0..AT_ONCE {
        let (server, arsenals) = (Arc::clone(server), Arc::clone(arsenals));
        tasks.spawn(async move {
            let mut random = Random(seed ^ (worker as u64) << 56);
            let name = format!("hostile-{worker}");
            let mut hits = Hits::default();
            for _ in 0..connections / AT_ONCE {
                let arsenal = &arsenals[random.below(2)];
                hits.add(&attack(&server, &name, arsenal, &limits, &mut random).await);
            }
            hits
        });
    }
    let mut hits = Hits::default();
    while let Some(done) = tasks.join_next().await {
        hits.add(&done.expect("the server does what it should"));
    }
    hits
}

/// The largest packet in these tests, in bytes.
const PACKET_BYTES: u32 = 16 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_damage_ends_its_own_connection_and_nothing_else() {
    const WARM_UP: usize = 10_000;
    const CONNECTIONS: usize = 1_350_000;
    let _alone = alone().await;
    let seed = seed();
    let cases = valid(60);
    let arsenals = Arc::new([Arsenal::of(Version::V311, &cases), Arsenal::of(Version::V5, &cases)]);
    let config = Config { max_packet_size: PACKET_BYTES, ..Config::default() };
    let store = Arc::new(FewRetained(RamStore::default()));
    let server = Arc::new(Server::start_on(config, Arc::new(PlainHook), store).await);
    let calm = PingPong::start(&server).await;

    let mut hits = attacks(&server, &arsenals, WARM_UP, seed).await;
    drained(&server, 2).await;
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    hits.add(&attacks(&server, &arsenals, CONNECTIONS, seed.rotate_left(17)).await);
    drained(&server, 2).await;
    let grown = LIVE.load(Ordering::Relaxed) - before;
    let peak = PEAK.load(Ordering::Relaxed) - before;
    let rounds = calm.stop().await;
    println!("{hits:?}; {rounds} calm rounds; {grown} bytes more, {peak} at most meanwhile");

    assert_no_panic();
    hits.assert_enough(2_000, 2_000);
    assert!(hits.cut > 5_000 && hits.survived > 5_000 && hits.closed > 50_000, "{hits:?}");
    assert!(rounds > 200, "{rounds} rounds");
    assert!(grown < 4 * MIB, "{grown} bytes more after {CONNECTIONS} connections");
    assert!(peak < 64 * MIB, "{peak} bytes more meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_before_connack_is_never_let_in() {
    const CONNECTIONS: usize = 3_000;
    let _alone = alone().await;
    let mut random = Random(seed());
    let server = Server::start().await;
    let mut calm = PingPong::start(&server).await;
    let cases = valid(60);
    let connects: Vec<&Case> = cases.iter().filter(|case| case.bytes[0] == 0x10).collect();
    let config = Config::default();
    let limits =
        Limits { max_packet_size: config.max_connect_size, max_topic_levels: config.max_topic_levels };
    let (mut damaged, mut told) = (0, 0);
    for _ in 0..CONNECTIONS {
        let bytes = match random.below(3) {
            0 => (0..=random.below(64)).map(|_| random.next() as u8).collect(),
            _ => {
                broken(connects[random.below(connects.len())], &cases[random.below(cases.len())], &mut random)
                    .bytes
            }
        };
        let whole = Bytes::from(bytes.clone());
        let read = decode(None, &whole, 0, &limits);
        let mut stream = TcpStream::connect(server.address).await.expect("the server listens");
        stream.write_all(&bytes).await.expect("it is open");
        stream.shutdown().await.expect("it is open");
        let mut answer = Vec::new();
        // A reset is an end too.
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        let _ = ended.expect("it is closed");
        if read.is_err() {
            damaged += 1;
            if let [0x20, _, present, code, ..] = answer[..] {
                told += 1;
                assert_eq!(present, 0, "{bytes:02X?}");
                assert_ne!(code, 0, "let in: {bytes:02X?}");
            } else {
                assert!(answer.is_empty(), "{answer:02X?} to {bytes:02X?}");
            }
        }
    }
    calm.goes_on(10).await;
    calm.stop().await;
    println!("{damaged} of {CONNECTIONS} damaged, {told} told why");
    assert!(damaged > CONNECTIONS / 2 && told > 50, "{damaged} damaged, {told} told why");
    drained(&server, 0).await;
    assert_no_panic();
}

#[tokio::test]
async fn a_packet_that_is_too_large_is_refused_by_its_header() {
    let _alone = alone().await;
    let server = Server::start().await;
    let mut calm = PingPong::start(&server).await;
    both(|version| {
        let (address, stats) = (server.address, server.broker.stats());
        async move {
            for first in [0x30, 0x32, 0x82, 0xA2, 0x40, 0xE0] {
                let before = stats.protocol_errors.get();
                let mut client = Client::connect(address, &Hello::new(version, "large")).await;
                client.write(&[first, 0xFF, 0xFF, 0xFF, 0x7F]).await;
                let code = (version == Version::V5).then_some(ReasonCode::PacketTooLarge);
                assert_eq!(client.closed().await, code, "{first:02X}");
                assert_eq!(stats.protocol_errors.get(), before + 1);
            }
        }
    })
    .await;
    // Before CONNECT the bound is smaller: nobody knows yet who it is.
    let mut stream = TcpStream::connect(server.address).await.expect("the server listens");
    stream.write_all(&[0x10, 0xFF, 0xFF, 0x7F]).await.expect("it is open");
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    ended.expect("it is closed").expect("in order");
    assert_ne!(answer.get(3), Some(&0), "{answer:02X?}");
    calm.goes_on(10).await;
    calm.stop().await;
    assert_no_panic();
}

/// Memory follows what has come, not what was announced.
#[tokio::test]
async fn announced_bytes_cost_nothing_until_they_come() {
    const CONNECTIONS: usize = 400;
    const SENT: usize = 2_000;
    let _alone = alone().await;
    let server = Server::start().await;
    let largest = Config::default().max_packet_size;
    let mut clients = Vec::new();
    for n in 0..CONNECTIONS {
        clients.push(server.client(Version::V5, &format!("announcer-{n}")).await);
    }
    let before = LIVE.load(Ordering::Relaxed);
    let body = build::varint(largest as usize - 5);
    for client in &mut clients {
        client.write(&[&[0x30][..], &body, &[0, 1, b't', 0], &[b'x'; SENT]].concat()).await;
    }
    // Behind all of them in the same server: what was sent before has been read when this is answered.
    let mut calm = PingPong::start(&server).await;
    calm.goes_on(50).await;
    let grown = LIVE.load(Ordering::Relaxed) - before;
    println!("{grown} bytes for {CONNECTIONS} times {largest} announced and {SENT} sent");
    assert!(grown < (CONNECTIONS * 4 * SENT).cast_signed() + MIB, "{grown}");
    assert_eq!(server.broker.stats().protocol_errors.get(), 0, "the largest packet may come");
    drop(clients);
    calm.stop().await;
    drained(&server, 0).await;
    assert_no_panic();
}

#[tokio::test]
async fn a_connect_that_never_ends_is_closed_in_time() {
    const CONNECTIONS: usize = 200;
    let _alone = alone().await;
    let config = Config { connect_timeout: Duration::from_millis(300), ..Config::default() };
    let server = Server::start_with(config).await;
    let mut calm = PingPong::start(&server).await;
    let hello = build::connect_5(0x02, &[], &[&build::field("slow".repeat(1000))]);
    let mut slow = JoinSet::new();
    for n in 0..CONNECTIONS {
        let (address, hello) = (server.address, hello.clone());
        slow.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("the server listens");
            let mut answer = [0; 16];
            // One byte after the other: each one is progress, and all of them are too slow.
            for byte in hello.chunks(1) {
                if n % 2 == 0 && stream.write_all(byte).await.is_err() {
                    return 0;
                }
                let pause = Duration::from_millis(if n % 2 == 0 { 10 } else { 20_000 });
                match tokio::time::timeout(pause, stream.read(&mut answer)).await {
                    Ok(Ok(count)) => return count,
                    Ok(Err(_)) => return 0,
                    Err(_) => {}
                }
            }
            panic!("it was let in, or waited for");
        });
    }
    while let Some(answered) = slow.join_next().await {
        assert_eq!(answered.expect("it is closed"), 0, "nothing is said to whoever says nothing");
    }
    assert_eq!(server.broker.stats().connect_timeouts.get(), CONNECTIONS as u64);
    calm.goes_on(10).await;
    calm.stop().await;
    assert_no_panic();
}

#[tokio::test]
async fn half_a_packet_is_no_sign_of_life() {
    let _alone = alone().await;
    for version in [Version::V311, Version::V5] {
        let clock = TestClock::new();
        let server = Server::start_with(Config { clock: clock.clone(), ..Config::default() }).await;
        let mut client = Client::connect(server.address, &Hello::new(version, "half").keep_alive(10)).await;
        let mut other = server.client(version, "other").await;
        // A whole packet first, and half of one that has come with it.
        client.write(&[0xC0, 0x00, 0x30, 0x05, 0x00]).await;
        assert!(matches!(client.receive().await, ServerPacket::Pingresp));
        clock.advance(Duration::from_secs(14));
        client.write(&[0x01]).await;
        // Behind it in the same server, and on the same thread: it has been read.
        other.nothing().await;
        assert_eq!(server.broker.stats().keep_alive_timeouts.get(), 0);
        clock.advance(Duration::from_secs(2));
        let code = (version == Version::V5).then_some(ReasonCode::KeepAliveTimeout);
        assert_eq!(client.closed().await, code);
        assert_eq!(server.broker.stats().keep_alive_timeouts.get(), 1);
    }
    assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_silent_connections_stop_nobody() {
    const SILENT: usize = 1_000;
    let _alone = alone().await;
    // Both ends of each connection are in this process.
    let (limit, ours) = (rustix::process::Resource::Nofile, 4 * SILENT as u64);
    let mut files = rustix::process::getrlimit(limit);
    if files.current.is_some_and(|now| now < ours) {
        files.current = Some(files.maximum.map_or(ours, |most| most.min(ours)));
        rustix::process::setrlimit(limit, files).expect("up to the hard limit everybody may");
    }
    let server = Server::start().await;
    let mut calm = PingPong::start(&server).await;
    let (mut unknown, mut known) = (Vec::new(), Vec::new());
    for n in 0..SILENT / 2 {
        unknown.push(TcpStream::connect(server.address).await.expect("the server listens"));
        known.push(server.client(Version::V5, &format!("silent-{n}")).await);
        if n % 50 == 0 {
            calm.goes_on(1).await;
        }
    }
    calm.goes_on(200).await;
    let mut late = server.client(Version::V311, "late").await;
    assert_eq!(late.publish("a", b"x").await.reason, ReasonCode::Success);
    assert!(server.broker.connections() >= SILENT / 2 + 3, "the silent ones are there");
    drop((unknown, known, late));
    calm.goes_on(10).await;
    calm.stop().await;
    drained(&server, 0).await;
    assert_no_panic();
}
