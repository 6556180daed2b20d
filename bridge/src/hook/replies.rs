//! Replies: the answer to a command in words, for whoever asked for one.
//!
//! A command that carries a Response Topic (5.0) is answered there, with its Correlation Data; one with a request id in its payload on
//! `u/{me}/d/{device}/reply`. The reply is JSON where its topic is under `json/`. It goes to the connection that asked and to nobody else, while it
//! lasts: what matters is in the store, and the same command may be asked again.

use super::look::Looked;
use crate::machine::Outcome;
use bytes::Bytes;
use chasqui_broker::codec::{ByteStr, PublishProperties, QoS};
use chasqui_broker::hook::Client;
use chasqui_broker::message::{Identifiers, Message};
use chasqui_proto::wire::put_length;
use chasqui_proto::{DeviceId, ErrorCode, Refusal, Topic, UserId, json, v1};
use prost::Message as _;
use std::sync::Arc;

/// Under this, payloads are proto3 JSON.
const JSON_ROOT: &str = "json/";

/// Where a command is to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReplyTo {
    topic: ByteStr,
    json: bool,
    correlation_data: Option<Bytes>,
    request_id: u64,
}

impl ReplyTo {
    /// Where a command asks to be answered; `None` where it does not.
    ///
    /// # Errors
    /// A Response Topic that is not under the caller's own root: a reply must not become a message to somebody else.
    pub(super) fn of(
        user: &UserId,
        device: Option<&DeviceId>,
        message: &Message,
        request_id: u64,
    ) -> Result<Option<ReplyTo>, Refusal> {
        let properties = message.properties.as_deref();
        if let Some(topic) = properties.and_then(|properties| properties.response_topic.as_ref()) {
            let plain = topic.strip_prefix(JSON_ROOT);
            let own =
                plain.unwrap_or(topic).strip_prefix("u/").and_then(|rest| rest.strip_prefix(user.as_str()));
            if !own.is_some_and(|rest| rest.starts_with('/')) {
                return Err(ErrorCode::InvalidResponseTopic.into());
            }
            return Ok(Some(ReplyTo {
                topic: topic.detached(),
                json: plain.is_some(),
                correlation_data: properties.and_then(|properties| properties.correlation_data.clone()),
                request_id,
            }));
        }
        let Some(device) = device.filter(|_| request_id != 0) else { return Ok(None) };
        let json = message.topic.starts_with(JSON_ROOT);
        let topic = Topic::Reply { user: user.clone(), device: device.clone() };
        let topic = format!("{}{topic}", if json { JSON_ROOT } else { "" });
        let topic = ByteStr::try_from(topic).map_err(|_| Refusal::from(ErrorCode::Internal))?;
        Ok(Some(ReplyTo { topic, json, correlation_data: None, request_id }))
    }

    /// Tells the connection what became of its command; nothing where nothing was decided.
    pub(super) fn send(self, client: &Client, outcome: &Outcome) {
        let done =
            v1::Reply { request_id: self.request_id, code: ErrorCode::Ok.into(), ..v1::Reply::default() };
        let reply = match outcome {
            Outcome::Failed(_) => return,
            Outcome::Refused { refusal, .. } => v1::Reply {
                code: refusal.code.into(),
                reason: refusal.reason(),
                retry_after_ms: refusal.retry_after_ms,
                ..done
            },
            Outcome::Accepted { seq, .. } => v1::Reply { seq: seq.0, ..done },
            Outcome::Answered(answered) => v1::Reply {
                seq: answered.seq.0,
                group: answered.group.clone().and_then(|group| v1::Group::decode(group).ok()),
                invite: answered.invite.clone().unwrap_or_default(),
                ..done
            },
            _ => done,
        };
        let payload: Bytes = match self.json.then(|| json::encode(&reply)) {
            None => reply.encode_to_vec().into(),
            Some(Ok(json)) => json.into(),
            Some(Err(error)) => return cannot_be_json(&error),
        };
        self.send_payload(client, payload);
    }

    /// Gives the connection the page it asked for, its items as they are encoded already.
    pub(super) fn send_page(self, client: &Client, page: &Looked) {
        let mut payload = page_reply(self.request_id, page);
        if self.json {
            payload = match json::from_protobuf::<v1::Reply>(&payload) {
                Ok(json) => json,
                Err(error) => return cannot_be_json(&error),
            };
        }
        self.send_payload(client, payload.into());
    }

    fn send_payload(self, client: &Client, payload: Bytes) {
        let properties = self.correlation_data.map(|correlation_data| {
            Arc::new(PublishProperties {
                correlation_data: Some(correlation_data),
                ..PublishProperties::default()
            })
        });
        client.send(Message {
            topic: self.topic,
            payload,
            qos: QoS::AtLeastOnce,
            retain: false,
            properties,
            received_ms: 0,
            identifiers: Identifiers::new(),
            share: None,
        });
    }
}

/// A page as an encoded `Reply`.
pub(super) fn page_reply(request_id: u64, page: &Looked) -> Vec<u8> {
    let Looked { field, more, ref next, ref items } = *page;
    let reply = v1::Reply {
        request_id,
        code: ErrorCode::Ok.into(),
        more,
        next: next.clone(),
        ..v1::Reply::default()
    };
    let mut payload = reply.encode_to_vec();
    for item in items {
        put_length(&mut payload, field, item.len());
        payload.extend_from_slice(item);
    }
    payload
}

fn cannot_be_json(error: &json::JsonError) {
    tracing::error!("a reply could not be written as JSON: {error}");
}
