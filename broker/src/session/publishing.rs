//! What the client publishes, and how it is acknowledged: by PUBACK, or by PUBREC and, when it has released it, PUBCOMP.

use super::aliases::AliasError;
use super::exactly_once::Reception;
use super::{Close, Context, Plain, Session, Turn};
use crate::codec::packet::ack;
use crate::codec::{Ack, AckOut, PacketId, PacketType, Publish, QoS, ReasonCode, Version};
use crate::hook::{Command, Outcome, Route};
use crate::message::{Identifiers, Message};
use crate::mutation::{Mutation, mutated};
use crate::quota::Publisher;
use crate::store::Received;
use std::fmt::Write as _;

impl Session {
    pub(super) fn publish(
        &mut self,
        mut publish: Publish,
        cx: &Context<'_>,
        turn: &mut Turn,
    ) -> Result<(), Close> {
        if let Some(alias) = publish.topic_alias {
            let topic = std::mem::take(&mut publish.topic);
            let aliases = self.aliases_in.get_or_insert_default();
            let resolved = aliases.resolve(alias, topic, cx.config.topic_alias_maximum);
            publish.topic = resolved.map_err(refused_alias)?;
        }
        let token = match publish.packet_id {
            None => 0,
            Some(packet_id) => {
                if publish.qos == QoS::ExactlyOnce && self.is_repeated(packet_id) {
                    return self.release_acks(cx);
                }
                if self.terms.peer.version == Version::V5
                    && self.unacknowledged() >= usize::from(cx.config.receive_maximum)
                    && !mutated(Mutation::TakesTooManyPublishes)
                {
                    return Err(Close::server(
                        ReasonCode::ReceiveMaximumExceeded,
                        "more publishes at once than the Receive Maximum in the server's CONNACK [MQTT-3.3.4-7]",
                    ));
                }
                if publish.qos == QoS::ExactlyOnce {
                    self.exactly_once().open(packet_id);
                }
                self.acks.open(packet_id, publish.qos)
            }
        };
        if self.publisher.is_some() && !self.takes_at_its_rate(&publish, cx) {
            cx.stats.publishes_refused_rate.count();
            cx.stats.publishes_refused.count();
            if token != 0 {
                let sentence = "this publish is more than its publisher's rate allows within the time it may be made to wait";
                let reason = Some(sentence.to_owned());
                self.acks
                    .answer(token, Outcome { code: ReasonCode::QuotaExceeded, reason, ..Outcome::SUCCESS });
                return self.release_acks(cx);
            }
            return Ok(());
        }
        let received = publish
            .packet_id
            .filter(|_| publish.qos == QoS::ExactlyOnce && self.client.persistent)
            .filter(|_| !mutated(Mutation::ForgetsWhatItReceived))
            .map(|packet_id| self.as_received(packet_id));
        if mutated(Mutation::FoldsTopics) {
            publish.topic =
                crate::codec::ByteStr::try_from(publish.topic.to_lowercase()).unwrap_or(publish.topic);
        }
        let route = self.routes.get_or_insert_default().route(cx.hook, &self.client, &publish.topic);
        let message = Message {
            topic: publish.topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            properties: publish.properties,
            received_ms: cx.now_ms,
            identifiers: Identifiers::new(),
            share: None,
        };
        match route {
            Route::Plain => turn.plains.push(Plain { token, message, received }),
            Route::Command => turn.commands.push(Command { token, message, will: false, received }),
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

    /// What the client's publishes are held to.
    pub(crate) fn publishes_as(&mut self, publisher: Publisher) {
        self.publisher = publisher.is_limited().then(|| Box::new(publisher));
    }

    /// Takes a publish off the client's rates; false where it would have to wait too long.
    fn takes_at_its_rate(&mut self, publish: &Publish, cx: &Context<'_>) -> bool {
        let bytes = publish.topic.len() + publish.payload.len();
        let most_ms = cx.config.max_rate_wait.as_millis() as u64;
        let takes = self.publisher.as_mut().is_none_or(|publisher| publisher.take(bytes, cx.now_ms, most_ms));
        if takes && !self.is_in_time(cx) {
            cx.stats.publishers_slowed.count();
        }
        takes
    }

    /// The application has the client wait: nothing more is read from it until then, or at most as long as a rate makes anybody wait.
    pub(super) fn hold(&mut self, until_ms: u64, cx: &Context<'_>) {
        let most_ms = cx.now_ms.saturating_add(cx.config.max_rate_wait.as_millis() as u64);
        self.publisher.get_or_insert_default().hold(until_ms.min(most_ms));
        if !self.is_in_time(cx) {
            cx.stats.publishers_slowed.count();
        }
    }

    /// Whether the client owes no time for what it has published: until then nothing more is read from it.
    pub(super) fn is_in_time(&self, cx: &Context<'_>) -> bool {
        self.publisher.as_ref().is_none_or(|publisher| publisher.ready_ms() <= cx.now_ms)
    }

    /// Publishes of the client that count against the server's Receive Maximum.
    fn unacknowledged(&self) -> usize {
        self.acks.pubacks() + self.exactly_once.as_ref().map_or(0, |state| state.unfinished())
    }

    fn as_received(&self, packet_id: PacketId) -> Received {
        Received { session: self.client.session.clone(), packet_id: packet_id.get(), born: self.born }
    }

    /// Whether a QoS 2 publish is one that came before: it is acknowledged again and not carried out again [MQTT-4.3.3-10].
    fn is_repeated(&mut self, packet_id: PacketId) -> bool {
        let Some(state) = &mut self.exactly_once else { return false };
        let reception = state.reception(packet_id);
        state.repeated(packet_id);
        match reception {
            None => false,
            Some(_) if mutated(Mutation::DeliversQoS2Twice) => false,
            // Its PUBREC is on its way.
            Some(Reception::Open) => true,
            Some(Reception::Received | Reception::Ending) => {
                let token = self.acks.open(packet_id, QoS::ExactlyOnce);
                self.acks.answer(token, Outcome::SUCCESS);
                true
            }
        }
    }

    /// PUBREL: the client will not repeat its publish [MQTT-4.3.3-11].
    pub(super) fn release(&mut self, ack: &Ack, turn: &mut Turn) -> Result<(), Close> {
        let id = ack.packet_id;
        match self.exactly_once.as_ref().and_then(|state| state.reception(id)) {
            Some(Reception::Received) if self.client.persistent => {
                self.exactly_once().ending(id);
                turn.release.push(id);
            }
            Some(Reception::Received) => self.ended(&[id]),
            // Its PUBCOMP is on its way.
            Some(Reception::Ending) => {}
            Some(Reception::Open) => {
                let sentence = "PUBREL for a publish that has no PUBREC yet [MQTT-4.3.3-4]";
                return Err(Close::server(ReasonCode::ProtocolError, sentence));
            }
            // The standard's answer to an id that is not known, as after a PUBCOMP that was lost.
            None => self.write_pubcomp(&AckOut::reason(id, ReasonCode::PacketIdentifierNotFound)),
        }
        Ok(())
    }

    /// These publishes are over, and that is stored where it has to be.
    pub(super) fn ended(&mut self, ids: &[PacketId]) {
        for id in ids {
            if let Some(state) = &mut self.exactly_once {
                state.ended(*id);
            }
            self.write_pubcomp(&AckOut::success(*id));
        }
    }

    fn write_pubcomp(&mut self, answer: &AckOut<'_>) {
        // A PUBCOMP of 4 or 6 bytes is one that every client takes.
        let _ = ack::encode(&mut self.out, &self.terms.peer, PacketType::Pubcomp, answer);
    }

    /// Whether a publish that is to be carried out once is under way: the session must not be taken up by another connection
    /// before it is known what becomes of it.
    pub(crate) fn awaits_exactly_once(&self) -> bool {
        self.client.persistent && self.exactly_once.as_ref().is_some_and(|state| state.has_open())
    }

    /// Answers that no client is told of any more.
    pub(super) fn answered_at_the_end(&mut self, done: Vec<crate::hook::Done>) {
        for done in done {
            self.acks.answer(done.token, done.outcome);
        }
        while let Some((packet_id, kind, outcome)) = self.acks.next_ready() {
            self.note_answer(packet_id, kind, &outcome);
        }
    }

    fn note_answer(&mut self, packet_id: PacketId, kind: PacketType, outcome: &Outcome) {
        if kind == PacketType::Pubrec
            && let Some(state) = &mut self.exactly_once
        {
            state.answered(packet_id, !outcome.code.is_error());
        }
    }

    pub(super) fn answer(&mut self, token: u64, outcome: Outcome) {
        self.acks.answer(token, outcome);
    }

    /// Writes the acknowledgements that may leave.
    pub(super) fn release_acks(&mut self, _cx: &Context<'_>) -> Result<(), Close> {
        while let Some((packet_id, kind, outcome)) = self.acks.next_ready() {
            self.note_answer(packet_id, kind, &outcome);
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
            let _ = ack::encode(&mut self.out, &self.terms.peer, kind, &ack);
        }
        Ok(())
    }
}

fn refused_alias(error: AliasError) -> Close {
    let (code, sentence) = match error {
        AliasError::TooLarge => (
            ReasonCode::TopicAliasInvalid,
            "a topic alias is greater than the Topic Alias Maximum in the server's CONNACK [MQTT-3.3.2-9]",
        ),
        AliasError::Unknown => {
            (ReasonCode::ProtocolError, "a topic alias without a topic name, and it stands for none yet")
        }
        AliasError::TooManyBytes => {
            (ReasonCode::QuotaExceeded, "the topic names behind this client's aliases are too long together")
        }
    };
    Close::server(code, sentence)
}
