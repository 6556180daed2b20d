//! What alice and bob say to each other, packet by packet.

use crate::party::Party;
use crate::row::{Costs, Row};
use crate::scene::{Scene, TEXT};
use crate::support::meter::Traffic;
use crate::support::{message, read, send, seq_of};
use chasqui_broker::codec::client::ServerPacket;
use chasqui_broker::codec::packet::ping;
use chasqui_broker::codec::{Publish, QoS, ReasonCode};
use chasqui_proto::v1;
use prost::Message as _;

/// Messages that the two have exchanged before anything is counted: from here on to 16,383 a number takes two bytes.
const BEFORE: usize = 150;

/// Names a message: as long as the contract advises.
type ClientMsgId = [u8; 6];

/// alice's and bob's phones, connected, with nothing on its way to either.
pub(crate) async fn acquainted(scene: &Scene) -> (Party, Party) {
    let mut alice = Party::connect(scene, "alice").await;
    let mut bob = Party::connect(scene, "bob").await;
    for (party, filter) in [(&mut alice, "u/alice/#"), (&mut bob, "u/bob/#")] {
        assert_eq!(party.client.subscribe(&[(filter, QoS::AtLeastOnce)]).await, [ReasonCode::GrantedQoS1]);
    }
    scene.laptop_sends(BEFORE).await;
    for _ in 0..BEFORE {
        let (entry, _) = bob.hear_from("u/bob/in").await;
        bob.ack(&entry).await;
    }
    let (mut own, mut delivered) = (0, 0);
    while own < BEFORE || delivered < BEFORE as u64 {
        let (ServerPacket::Publish(publish, _), _) = alice.hear().await else { panic!("a message") };
        match &*alice.topic_of(&publish) {
            "u/alice/in" => own += 1,
            "u/alice/receipts/u/bob" => delivered = receipt(&publish).delivered,
            other => panic!("nothing else comes: {other}"),
        }
        alice.ack(&publish).await;
    }
    for party in [&mut alice, &mut bob] {
        party.client.nothing().await;
        // Whatever it was, it was not measured.
        party.settle(Traffic { up: u64::MAX, down: u64::MAX });
    }
    (alice, bob)
}

fn receipt(publish: &Publish) -> v1::Receipt {
    v1::Receipt::decode(publish.payload.clone()).expect("a receipt")
}

/// A message, sent, received, delivered and read.
pub(crate) async fn one_message(alice: &mut Party, bob: &mut Party, id: ClientMsgId, costs: &mut Costs) {
    sent(alice, id, costs).await;
    let (entry, bytes) = bob.hear_from("u/bob/in").await;
    costs.put(Row::Received, bytes, 1);
    let message = message(&entry);
    assert!(message.seq > BEFORE as u64, "{message:?}");

    costs.put(Row::Delivered, bob.ack(&entry).await, 1);
    bob.settle(Traffic { up: 1, down: 1 });
    let marks =
        told(alice, [Row::DeliveredReceipt, Row::DeliveredAfterRead, Row::DeliveredTaken], costs).await;
    assert_eq!((marks.delivered, marks.read < message.seq), (message.seq, true), "{marks:?}");

    costs.put(Row::Read, bob.publish("do/read", &read("u/alice", message.seq)).await, 1);
    let (answer, bytes) = bob.hear().await;
    assert!(matches!(&answer, ServerPacket::Puback(ack) if ack.reason == ReasonCode::Success), "{answer:?}");
    costs.put(Row::ReadAcknowledged, bytes, 1);
    bob.settle(Traffic { up: 1, down: 1 });
    let marks = told(alice, [Row::ReadReceipt, Row::ReadReceipt, Row::ReadTaken], costs).await;
    assert_eq!((marks.delivered, marks.read), (message.seq, message.seq), "{marks:?}");
    for party in [alice, bob] {
        party.nothing().await;
    }
}

/// alice's side of sending. On 3.1.1 the number is an entry of its own.
async fn sent(alice: &mut Party, id: ClientMsgId, costs: &mut Costs) {
    let payload = send(TEXT, &id);
    costs.put(Row::Sent, alice.publish("u/bob/send", &payload).await, 1);
    let (mut seq, mut acknowledged) = (None, false);
    while seq.is_none() || !acknowledged {
        match alice.hear().await {
            (ServerPacket::Puback(ack), bytes) => {
                assert_eq!(ack.reason, ReasonCode::Success, "{ack:?}");
                costs.put(Row::Acknowledged, bytes, 1);
                seq = seq.or(seq_of(&ack));
                acknowledged = true;
            }
            (ServerPacket::Publish(entry, _), bytes) => {
                assert_eq!(alice.topic_of(&entry), "u/alice/in");
                let message = message(&entry);
                assert_eq!((&*message.client_msg_id, message.body), (&id[..], None));
                costs.put(Row::Number, bytes, 1);
                costs.put(Row::NumberTaken, alice.ack(&entry).await, 1);
                seq = Some(message.seq);
            }
            other => panic!("an answer was expected: {other:?}"),
        }
    }
    let packets = if costs.bytes(Row::Number).is_some() { 2 } else { 1 };
    alice.settle(Traffic { up: packets, down: packets });
}

/// A receipt that reaches alice, without and with a mark of what was read, and her answer.
async fn told(alice: &mut Party, [unread, read, taken]: [Row; 3], costs: &mut Costs) -> v1::Receipt {
    let (publish, bytes) = alice.hear_from("u/alice/receipts/u/bob").await;
    costs.put(if receipt(&publish).read == 0 { unread } else { read }, bytes, 1);
    costs.put(taken, alice.ack(&publish).await, 1);
    alice.settle(Traffic { up: 1, down: 1 });
    receipt(&publish)
}

/// What typing costs, once both sides know the topic.
pub(crate) async fn typing(alice: &mut Party, bob: &mut Party, costs: &mut Costs) {
    let mut costs_of = (0, 0);
    for state in [v1::typing::State::Recording, v1::typing::State::Typing] {
        let payload = v1::Typing { state: state.into() }.encode_to_vec();
        costs_of.0 = alice.publish_with(QoS::AtMostOnce, "u/bob/typing", &payload).await;
        let (seen, bytes) = bob.hear_from("u/bob/typing/u/alice").await;
        assert_eq!(&seen.payload[..], payload);
        costs_of.1 = bytes;
        alice.settle(Traffic { up: 1, down: 0 });
        bob.settle(Traffic { up: 0, down: 1 });
    }
    costs.put(Row::Types, costs_of.0, 1);
    costs.put(Row::SeenTyping, costs_of.1, 1);
    for party in [alice, bob] {
        party.nothing().await;
    }
}

/// An hour in which nothing is said: the pings that the keep-alive demands, each as one is counted on the socket.
pub(crate) async fn idle(party: &mut Party, costs: &mut Costs) {
    let before = party.client.traffic();
    let mut request = Vec::new();
    ping::encode_request(&mut request);
    party.client.write(&request).await;
    assert!(matches!(party.client.receive().await, ServerPacket::Pingresp));
    let exchange = (party.client.traffic() - before).total();
    party.settle(Traffic { up: 1, down: 1 });
    for (row, keep_alive) in [(Row::IdleHour60, 60), (Row::IdleHour300, 300), (Row::IdleHour1200, 1_200)] {
        let pings = 3_600 / keep_alive;
        costs.put(row, pings * exchange, pings * 2);
    }
}
