//! From a publish to a command, and from its outcome to an acknowledgement.

use super::devices::Removal;
use super::look::{Looked, Query};
use super::replies::ReplyTo;
use super::typing::Typing;
use super::verbs::{self, Asks};
use crate::machine::command::{Ack, Caller, Reject, Send};
use crate::machine::{Command, Outcome, Told};
use bytes::Bytes;
use chasqui_broker::codec::{QoS, ReasonCode, Version};
use chasqui_broker::hook::{self, Client, Done};
use chasqui_broker::message::Message;
use chasqui_proto::limits::TYPING_MAX_BYTES;
use chasqui_proto::topic::Direction;
use chasqui_proto::{
    ChatName, ClientMsgId, DeviceId, ErrorCode, Outgoing, ParsedTopic, Refusal, SEQ_PROPERTY, Seq, Topic,
    UserId, v1,
};
use chasqui_storage::Reader;
use std::sync::Arc;

/// What a publish to a topic of the contract asks for.
pub(super) struct Asked {
    /// What is asked of the machine. A publish that cannot be read is asked too: its sender is to hear of it, in its turn.
    pub(super) command: Command,
    /// Names it to its connection.
    pub(super) token: u64,
    /// Where it is to be answered, beside its acknowledgement.
    pub(super) reply_to: Option<ReplyTo>,
}

/// What a publish to a topic of the contract is.
pub(super) enum Wish {
    /// Something to be decided.
    Command(Asked),
    /// Something to be passed on at once; the token names it to its connection.
    Typing(u64, Typing),
    /// Something to be read at once.
    Look(LookUp),
    /// A device to be taken out.
    RemoveDevice(Removal),
}

/// A page of something that somebody asks for.
pub(super) struct LookUp {
    /// Who asks.
    pub(super) caller: Caller,
    /// For what.
    pub(super) query: Query,
    /// Names it to its connection.
    pub(super) token: u64,
    /// Where the page goes; nowhere, if nobody said.
    pub(super) reply_to: Option<ReplyTo>,
}

impl LookUp {
    /// It is refused: its sender is to hear of it as of every refusal.
    pub(super) fn refused(self, refusal: Refusal) -> Asked {
        let LookUp { caller, token, reply_to, .. } = self;
        Asked { command: Reject { caller, client_msg_id: None, refusal }.into(), token, reply_to }
    }

    /// What is found, or why nothing is; when these devices of the user are connected.
    pub(super) fn look(
        &self,
        reader: &Reader,
        now_ms: u64,
        is_there: impl Fn(&DeviceId) -> bool,
    ) -> Result<Looked, Refusal> {
        self.query.look(reader, &self.caller.user, now_ms, is_there)
    }
}

/// What a publish to a topic of the contract is.
pub(super) fn wish(
    reader: &Reader,
    client: &Client,
    user: &UserId,
    device: Option<&DeviceId>,
    published: hook::Command,
) -> Wish {
    let hook::Command { token, message, will, .. } = published;
    let caller = Caller {
        user: user.clone(),
        device: device.cloned(),
        ack: ack_of(client, message.qos, will),
        topic: Arc::from(&*message.topic),
    };
    let parsed = ParsedTopic::parse(&message.topic).map_err(Refusal::from);
    let wish = parsed.and_then(|parsed| match parsed {
        // Whose will is published writes no more.
        Some(ParsedTopic { topic: Topic::Typing { to }, .. }) if !will => {
            typing(to, &message).map(|typing| Wish::Typing(token, typing))
        }
        Some(ParsedTopic { json, topic: Topic::Do(verb) }) => {
            let (asks, request_id) =
                verbs::read(reader, verb, json, &message.payload, &caller, rand::random())?;
            let reply_to = ReplyTo::of(&caller.user, caller.device.as_ref(), &message, request_id)?;
            Ok(match asks {
                Asks::Command(command) => Wish::Command(Asked { command, token, reply_to }),
                Asks::Report(asked) => {
                    let command = asked.command(reader, &caller, message.received_ms)?.into();
                    Wish::Command(Asked { command, token, reply_to })
                }
                Asks::RemoveDevice(device) => {
                    Wish::RemoveDevice(Removal { caller: caller.clone(), device, token, reply_to })
                }
                Asks::Look(query) => Wish::Look(LookUp { caller: caller.clone(), query, token, reply_to }),
            })
        }
        Some(ParsedTopic { json, topic }) => {
            let command = command(&caller, json, topic, &message.payload, will_id(client, will));
            command.map(|command| Wish::Command(Asked { command, token, reply_to: None }))
        }
        None => Err(ErrorCode::InvalidTopic.into()),
    });
    wish.unwrap_or_else(|refusal| {
        let command = Reject { caller, client_msg_id: None, refusal }.into();
        Wish::Command(Asked { command, token, reply_to: None })
    })
}

fn typing(to: ChatName, message: &Message) -> Result<Typing, Refusal> {
    let payload = message.payload.clone();
    if payload.len() > TYPING_MAX_BYTES {
        return Err(ErrorCode::TooLarge.into());
    }
    let typing: v1::Typing = verbs::protobuf(&payload)?;
    Ok(Typing { to, state: typing.state, payload, at_ms: message.received_ms })
}

fn ack_of(client: &Client, qos: QoS, will: bool) -> Ack {
    match client.version {
        _ if will || qos == QoS::AtMostOnce => Ack::Nothing,
        Version::V311 => Ack::SuccessOnly,
        Version::V5 if client.problem_information => Ack::Full,
        Version::V5 => Ack::CodeOnly,
    }
}

/// What a publish to a topic asks for that is no verb's; `will_id` is its id if it has none.
pub(super) fn command(
    caller: &Caller,
    json: bool,
    topic: Topic,
    payload: &Bytes,
    will_id: Option<ClientMsgId>,
) -> Result<Command, Refusal> {
    match topic {
        Topic::Send { to } => {
            let mut message = if json { Outgoing::parse_json(payload)? } else { Outgoing::parse(payload)? };
            message.client_msg_id = message.client_msg_id.or(will_id);
            Ok(Send { caller: caller.clone(), to, message }.into())
        }
        topic if topic.direction() == Direction::Subscribe => Err(ErrorCode::Forbidden.into()),
        _ => Err(ErrorCode::NotSupported.into()),
    }
}

/// The id of a connection's will. A will may be published again after a crash: the same id however often it is stops the second one.
fn will_id(client: &Client, will: bool) -> Option<ClientMsgId> {
    if !will {
        return None;
    }
    let id = [&b"will"[..], &client.connection.to_be_bytes()].concat();
    ClientMsgId::from_bytes(&id).ok()
}

/// What a connection is told of a command; nothing where nobody waits.
pub(super) fn done(client: &Client, token: u64, outcome: Outcome) -> Option<Done> {
    if token == 0 {
        if let Outcome::Failed(sentence) = outcome {
            tracing::error!("a command without an acknowledgement was lost: {sentence}");
        }
        return None;
    }
    let outcome = match outcome {
        Outcome::Accepted { seq, .. } => success(client, seq),
        Outcome::Answered(answered) => success(client, answered.seq),
        Outcome::Refused { refusal, told: Told::ByAck } => {
            hook::Outcome { code: code(&refusal), reason: Some(refusal.reason()), ..hook::Outcome::SUCCESS }
        }
        Outcome::Refused { refusal, told: Told::NoWay } => {
            tracing::info!(
                user = &*client.session.owner,
                client_id = &*client.session.client_id,
                "a publish was refused, and the client cannot hear why: {}",
                refusal.reason()
            );
            hook::Outcome { code: code(&refusal), disconnect: true, ..hook::Outcome::SUCCESS }
        }
        Outcome::Failed(sentence) => {
            tracing::error!("a command could not be decided: {sentence}");
            hook::Outcome {
                code: ReasonCode::ImplementationSpecificError,
                disconnect: true,
                ..hook::Outcome::SUCCESS
            }
        }
        Outcome::Refused { told: Told::ByEntry, .. }
        | Outcome::Done
        | Outcome::Attached { .. }
        | Outcome::Heads { .. } => hook::Outcome::SUCCESS,
    };
    Some(Done { token, outcome })
}

/// Done; with the number of what became a message of a conversation.
fn success(client: &Client, seq: Seq) -> hook::Outcome {
    let number = (client.problem_information && seq != Seq::NONE).then_some((SEQ_PROPERTY, seq.0));
    hook::Outcome { number, ..hook::Outcome::SUCCESS }
}

fn code(refusal: &Refusal) -> ReasonCode {
    ReasonCode::from_u8(refusal.code.puback()).unwrap_or(ReasonCode::UnspecifiedError)
}
