//! What a publish asks for, for who drives the service below its sockets, without a broker: the way of a payload through the contract is
//! the same.

use super::verbs::{self, Asks};
use super::{commands, devices, replies};
use crate::machine::Command;
use crate::machine::command::{Caller, Reject};
use bytes::Bytes;
use chasqui_proto::{DeviceId, ErrorCode, ParsedTopic, Refusal, Topic};
use chasqui_storage::Reader;

/// What a publish to a topic of the contract asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publication {
    /// Something to be decided; of what cannot be read, that its sender is to hear of it.
    Command(Command),
    /// A page of something, which is here: an encoded [`Reply`](chasqui_proto::v1::Reply).
    Page(Bytes),
    /// The session of a device of the caller is to end, and the machine's [`Detach`](crate::machine::command::Detach) with it.
    RemoveDevice(DeviceId),
}

impl Publication {
    /// Reads what `caller` published to [`Caller::topic`] at a time in Unix milliseconds. What the server has to choose, it makes of
    /// `random`.
    pub fn read(reader: &Reader, caller: &Caller, payload: &Bytes, now_ms: u64, random: u128) -> Publication {
        let parsed = ParsedTopic::parse(&caller.topic).map_err(Refusal::from);
        let asked = parsed.and_then(|parsed| match parsed {
            Some(ParsedTopic { json, topic: Topic::Do(verb) }) => {
                let (asks, request_id) = verbs::read(reader, verb, json, payload, caller, random)?;
                Ok(match asks {
                    Asks::Command(command) => Publication::Command(command),
                    Asks::Report(asked) => {
                        Publication::Command(asked.command(reader, caller, now_ms)?.into())
                    }
                    Asks::RemoveDevice(device) => match devices::refusal(reader, &caller.user, &device) {
                        Some(refusal) => return Err(refusal),
                        None => Publication::RemoveDevice(device),
                    },
                    Asks::Look(query) => {
                        let page = query.look(reader, &caller.user, now_ms, |_| false)?;
                        Publication::Page(replies::page_reply(request_id, &page).into())
                    }
                })
            }
            Some(ParsedTopic { json, topic }) => {
                commands::command(caller, json, topic, payload, None).map(Publication::Command)
            }
            None => Err(ErrorCode::InvalidTopic.into()),
        });
        asked.unwrap_or_else(|refusal| {
            Publication::Command(Reject { caller: caller.clone(), client_msg_id: None, refusal }.into())
        })
    }
}
