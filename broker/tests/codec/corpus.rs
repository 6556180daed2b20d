//! Valid packets of every kind, both versions and both sides; writing decoded packets again; and breaking them.

use bytes::Bytes;
use chasqui_broker::codec::client;
use chasqui_broker::codec::packet::{
    ack, auth, connack, connect, disconnect, ping, publish, suback, subscribe, unsuback, unsubscribe,
};
use chasqui_broker::codec::{
    AckOut, DecodeError, Limits, PacketType, Peer, ReasonCode, Sender, Version, decode,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::build::varint;
#[path = "../../src/codec/either.rs"]
mod either;

use crate::sample;
pub(crate) use either::Any;

/// A packet, and how it is to be read.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) sender: Sender,
    pub(crate) version: Version,
    pub(crate) bytes: Vec<u8>,
}

impl Case {
    /// What our decoder says: the packet and its length.
    pub(crate) fn decode(&self) -> Result<Option<(Any, usize)>, DecodeError> {
        let bytes = Bytes::from(self.bytes.clone());
        self.decode_in(&bytes, &Limits::UNLIMITED)
    }

    pub(crate) fn decode_in(
        &self,
        bytes: &Bytes,
        limits: &Limits,
    ) -> Result<Option<(Any, usize)>, DecodeError> {
        match self.sender {
            Sender::Client => {
                // A connection that begins with this packet, or one that is established.
                let first = bytes.first().is_some_and(|first| first >> 4 == PacketType::Connect as u8);
                let version = (!first).then_some(self.version);
                Ok(decode(version, bytes, 0, limits)?.map(|(packet, len)| (Any::Client(packet), len)))
            }
            Sender::Server => {
                let seen = client::decode(self.version, bytes, 0, limits)?;
                Ok(seen.map(|(packet, len)| (Any::Server(packet), len)))
            }
        }
    }
}

/// Valid packets, the same ones every time: so many of each kind and version.
pub(crate) fn valid(of_each: usize) -> Vec<Case> {
    let mut corpus = Corpus { runner: TestRunner::deterministic(), of_each, cases: Vec::new() };
    for version in [Version::V311, Version::V5] {
        let peer = &Peer::unlimited(version);
        for sender in [Sender::Client, Sender::Server] {
            let strategy = (sample::publish(), sample::ids());
            corpus.add(sender, version, strategy, |out, (mut publish, ids)| {
                if version == Version::V311 && publish.topic.is_empty() {
                    publish.topic = chasqui_broker::codec::ByteStr::from_static("t");
                }
                let ids: &[u32] = if sender == Sender::Server { &ids } else { &[] };
                publish::encode(out, peer, &sample::publish_out(&publish, ids)).expect("small")
            });
            for kind in [PacketType::Puback, PacketType::Pubrec, PacketType::Pubrel, PacketType::Pubcomp] {
                let words = (proptest::option::of(sample::text()), sample::pairs());
                let strategy = (sample::packet_id(), sample::reason(kind, sender), words);
                corpus.add(sender, version, strategy, |out, (packet_id, reason, (reason_string, pairs))| {
                    let reason = if version == Version::V5 { reason } else { ReasonCode::Success };
                    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
                    let ack = AckOut {
                        packet_id,
                        reason,
                        reason_string: reason_string.as_deref(),
                        user_properties: &pairs,
                    };
                    ack::encode(out, peer, kind, &ack).expect("small")
                });
            }
            if version == Version::V5 {
                let fits = move |auth: &chasqui_broker::codec::Auth| {
                    auth.reason.allowed_in(PacketType::Auth, sender)
                };
                let strategy = sample::auth().prop_filter("of this side", fits);
                corpus.add(sender, version, strategy, |out, auth| {
                    auth::encode(out, peer, &auth).expect("small")
                });
            }
        }
        let client = Sender::Client;
        let of_version = move |one: &chasqui_broker::codec::Connect| one.version == version;
        let strategy = sample::connect().prop_filter("of this version", of_version);
        corpus.add(client, version, strategy, |out, one| connect::encode(out, &one).expect("small"));
        corpus.add(client, version, sample::subscribe(), |out, one| {
            subscribe::encode(out, peer, &one).expect("small")
        });
        corpus.add(client, version, sample::unsubscribe(), |out, one| {
            unsubscribe::encode(out, peer, &one).expect("small")
        });
        corpus.add(client, version, sample::disconnect(client), |out, one| {
            disconnect::encode_from_client(out, peer, &one).expect("small")
        });
        corpus.add(client, version, proptest::bool::ANY, |out, _| ping::encode_request(out));

        let server = Sender::Server;
        corpus.add(server, version, sample::connack(), |out, one| {
            connack::encode(out, peer, &one).expect("small")
        });
        corpus.add(server, version, sample::suback(), |out, one| {
            suback::encode(out, peer, &one).expect("small")
        });
        corpus.add(server, version, sample::unsuback(), |out, one| {
            unsuback::encode(out, peer, &one).expect("small")
        });
        corpus.add(server, version, sample::disconnect(server), |out, one| {
            disconnect::encode(out, peer, &one).expect("small")
        });
        corpus.add(server, version, proptest::bool::ANY, |out, _| ping::encode(out));
    }
    corpus.cases
}

struct Corpus {
    runner: TestRunner,
    of_each: usize,
    cases: Vec<Case>,
}

impl Corpus {
    /// Adds packets; where the version has no form of one, none.
    fn add<S: Strategy>(
        &mut self,
        sender: Sender,
        version: Version,
        strategy: S,
        encode: impl Fn(&mut Vec<u8>, S::Value) -> usize,
    ) {
        for _ in 0..self.of_each {
            let value = strategy.new_tree(&mut self.runner).expect("filters pass often").current();
            let mut bytes = Vec::new();
            if encode(&mut bytes, value) > 0 {
                self.cases.push(Case { sender, version, bytes });
            }
        }
    }
}

/// A small generator of random numbers that gives the same ones on every machine and with every library version.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Bytes that mean something somewhere.
const TELLING: &[u8] = &[
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x7F, 0x80, 0x81, 0x82, 0xC0, 0xFF, b'#', b'+', b'/', b'$', 0x08,
    0x09, 0x0B, 0x11, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1F, 0x21, 0x22, 0x23, 0x26, 0x27, 0x87, 0x8B, 0x92,
    0xED, 0xA0,
];

/// The packet with one to four things wrong with it. Mostly its length is put right, so that the damage reaches the fields.
pub(crate) fn broken(case: &Case, other: &Case, random: &mut Random) -> Case {
    let mut case = case.clone();
    let reframe = random.below(4) != 0;
    let header = 1 + case.bytes[1..].iter().position(|byte| byte & 0x80 == 0).expect("was valid") + 1;
    let first = case.bytes[0];
    if reframe {
        case.bytes.drain(..header);
    }
    for _ in 0..=random.below(4) {
        damage(&mut case.bytes, &other.bytes, random);
    }
    if reframe {
        let first = if random.below(50) == 0 { random.next() as u8 } else { first };
        let mut bytes = vec![first];
        bytes.extend(varint(case.bytes.len()));
        bytes.append(&mut case.bytes);
        case.bytes = bytes;
    }
    case
}

fn damage(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let telling = TELLING[random.below(TELLING.len())];
    match random.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = telling,
        2 if at < bytes.len() => bytes[at] = random.next() as u8,
        3 => bytes.insert(at, telling),
        4 if at < bytes.len() => {
            bytes.remove(at);
        }
        5 => bytes.truncate(at),
        6 => {
            // A piece once more.
            let end = (at + random.below(12)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.splice(end..end, piece);
        }
        7 => {
            // A piece of another packet.
            let from = random.below(other.len());
            let to = (from + random.below(12)).min(other.len());
            bytes.splice(at..at, other[from..to].iter().copied());
        }
        _ if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(1),
        _ => {}
    }
}
