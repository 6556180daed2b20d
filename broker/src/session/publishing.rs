//! What the client publishes, and how it is acknowledged.

use super::{Close, Context, Plain, Session, Turn};
use crate::codec::packet::ack;
use crate::codec::{AckOut, PacketType, Publish, QoS, ReasonCode, Version};
use crate::hook::{Command, Outcome, Route};
use crate::message::{Identifiers, Message};
use std::fmt::Write as _;

impl Session {
    pub(super) fn publish(
        &mut self,
        publish: Publish,
        cx: &Context<'_>,
        turn: &mut Turn,
    ) -> Result<(), Close> {
        if publish.qos == QoS::ExactlyOnce {
            // Announced as Maximum QoS 1 [MQTT-3.2.2-11].
            return Err(Close::server(
                ReasonCode::QoSNotSupported,
                "this server takes QoS 0 and 1, as its CONNACK says",
            ));
        }
        if publish.topic_alias.is_some() {
            // Announced as Topic Alias Maximum 0 [MQTT-3.3.2-9].
            return Err(Close::server(
                ReasonCode::TopicAliasInvalid,
                "this server takes no topic aliases, as its CONNACK says",
            ));
        }
        let token = match publish.packet_id {
            None => 0,
            Some(packet_id) => {
                if self.terms.peer.version == Version::V5
                    && self.acks.len() >= usize::from(cx.config.receive_maximum)
                {
                    return Err(Close::server(
                        ReasonCode::ReceiveMaximumExceeded,
                        "more QoS 1 publishes at once than the Receive Maximum in the server's CONNACK [MQTT-3.3.4-9]",
                    ));
                }
                self.acks.open(packet_id)
            }
        };
        let route = self.routes.route(cx.hook, &self.client, &publish.topic);
        let message = Message {
            topic: publish.topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            properties: publish.properties,
            received_ms: cx.now_ms,
            identifiers: Identifiers::new(),
        };
        match route {
            Route::Plain => turn.plains.push(Plain { token, message }),
            Route::Command => turn.commands.push(Command { token, message, will: false }),
            Route::Refused(code, sentence) => {
                cx.stats.publishes_refused.count();
                if token != 0 {
                    let reason = Some(sentence.to_owned());
                    self.acks.answer(token, Outcome { code, reason, ..Outcome::SUCCESS });
                    return self.release_acks(cx);
                }
            }
        }
        Ok(())
    }

    pub(super) fn answer(&mut self, token: u64, outcome: Outcome) {
        self.acks.answer(token, outcome);
    }

    /// Writes the acknowledgements that may leave.
    pub(super) fn release_acks(&mut self, _cx: &Context<'_>) -> Result<(), Close> {
        while let Some((packet_id, outcome)) = self.acks.next_ready() {
            if outcome.disconnect {
                return Err(Close::server(
                    outcome.code,
                    "a publish was refused; the reason is in the server's log",
                ));
            }
            if self.terms.peer.version == Version::V311 && outcome.code.is_error() {
                // 3.1.1 knows no refusal: closing is what is left [MQTT-3.3.5-2].
                return Err(Close::server(outcome.code, "a publish was refused"));
            }
            let mut number = String::new();
            let property;
            let user_properties: &[(&str, &str)] = match outcome.number {
                None => &[],
                Some((name, value)) => {
                    let _ = write!(number, "{value}"); // Writing to a String cannot fail.
                    property = [(name, number.as_str())];
                    &property
                }
            };
            let ack = AckOut {
                packet_id,
                reason: outcome.code,
                reason_string: outcome.reason.as_deref(),
                user_properties,
            };
            // What does not fit the client's maximum packet size is left out by the encoder; the rest is 5 bytes at most.
            let _ = ack::encode(&mut self.out, &self.terms.peer, PacketType::Puback, &ack);
        }
        Ok(())
    }
}
