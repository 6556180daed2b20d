//! What it costs to come back: with nothing new, and with messages that wait.

use crate::party::{Party, Transport};
use crate::row::{Costs, Row};
use crate::scene::Scene;
use crate::support::meter::Traffic;
use crate::support::transport::HandshakeKind;
use chasqui_broker::codec::packet::ack;
use chasqui_broker::codec::{AckOut, PacketType, QoS, ReasonCode};

/// Messages that bob's phone takes before it acknowledges them, all in one write.
const WINDOW: u64 = 32;

/// Records that so many come in over TLS at most. Mostly it is one; that the server has them all when it writes depends on how soon its
/// threads get to run.
const WRITES: u64 = 4;

/// bob goes and comes back, again and again. alice was the first who shook hands with the server.
pub(crate) async fn all(scene: &Scene, alice: &Party, bob: Party, costs: &mut Costs) {
    bob.client.disconnect().await;
    let bob = nothing_new(scene, costs).await;
    if scene.transport == Transport::Tls {
        let (full, resumed) = (alice.handshake.expect("one"), bob.handshake.expect("one"));
        assert_eq!((full.1, resumed.1), (HandshakeKind::Full, HandshakeKind::Resumed));
        costs.handshakes = Some([full.0, resumed.0]);
    }
    bob.client.disconnect().await;
    for (waiting, up, down) in [(10, Row::TenUp, Row::TenDown), (1_000, Row::ThousandUp, Row::ThousandDown)] {
        scene.laptop_sends(waiting as usize).await;
        let bob = with_waiting(scene, waiting, [up, down], costs).await;
        bob.client.disconnect().await;
    }
}

async fn back(scene: &Scene) -> Party {
    let bob = Party::connect(scene, "bob").await;
    assert_eq!((bob.client.connack.reason, bob.client.connack.session_present), (ReasonCode::Success, true));
    bob
}

async fn nothing_new(scene: &Scene, costs: &mut Costs) -> Party {
    let mut bob = back(scene).await;
    let said = bob.client.traffic();
    costs.put(Row::Connect, said.up, 1);
    costs.put(Row::Connack, said.down, 1);
    bob.nothing().await;
    let before = bob.client.traffic();
    assert_eq!(bob.client.subscribe(&[("u/bob/#", QoS::AtLeastOnce)]).await, [ReasonCode::GrantedQoS1]);
    let said = bob.client.traffic() - before;
    costs.put(Row::Subscribe, said.up, 1);
    costs.put(Row::Suback, said.down, 1);
    bob.settle(Traffic { up: 1, down: 1 });
    bob.nothing().await;
    bob
}

async fn with_waiting(scene: &Scene, waiting: u64, [up, down]: [Row; 2], costs: &mut Costs) -> Party {
    let mut bob = back(scene).await;
    bob.shook_hands(costs.handshakes.map_or(Traffic::default(), |[_, resumed]| resumed));
    let mut acks = Vec::new();
    for taken in 1..=waiting {
        let (publish, _) = bob.hear_from("u/bob/in").await;
        let out = AckOut::success(publish.packet_id.expect("QoS 1"));
        ack::encode(&mut acks, &bob.client.peer, PacketType::Puback, &out).expect("valid");
        if taken % WINDOW == 0 || taken == waiting {
            bob.client.write(&acks).await;
            acks.clear();
        }
    }
    let said = bob.client.traffic();
    let windows = waiting.div_ceil(WINDOW);
    let records = Traffic { up: windows, down: windows * WRITES };
    bob.settle(records);
    costs.put(up, said.up, 1 + records.up);
    costs.put(down, said.down, 1 + records.down);
    bob.nothing().await;
    bob
}
