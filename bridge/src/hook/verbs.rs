//! From the payload of `do/{verb}` to a command: read, checked, and as the types that the machine takes.

use super::contacts::ContactsAsked;
use super::history::{self, Part};
use super::look::Query;
use super::{chance, reports, sight, starred, sync};
use crate::machine::command::{
    Act, Caller, Deed, GroupAdd, GroupCreate, GroupEdit, GroupGet, GroupInvite, GroupJoin, GroupLeave,
    GroupRemove, GroupRoles, InviteAction, Keep, NewSettings, NewText, Note, Read, Role, SetChat, SetTies,
    SetTimer, SetUp, What,
};
use crate::machine::record::Audience;
use crate::machine::{Command, record, stored};
use crate::sequencer::fetch::FetchError;
use bytes::Bytes;
use chasqui_proto::content;
use chasqui_proto::limits::{
    BODY_MAX_BYTES, COMMAND_MAX_BYTES, CONTACTS_PER_COMMAND, DRAFT_MAX_BYTES, GROUP_DESCRIPTION_MAX_BYTES,
    GROUP_NAME_MAX_BYTES, GROUP_PHOTO_MAX_BYTES, REACTION_MAX_BYTES, SEND_MAX_BYTES, TIMER_MAX_S,
};
use chasqui_proto::topic::Verb;
use chasqui_proto::{ChatName, ConversationId, DeviceId, ErrorCode, GroupId, Refusal, Seq, UserId, json, v1};
use chasqui_storage::Reader;
use prost::Message;
use serde::de::DeserializeOwned;

/// What a verb asks for.
pub(super) enum Asks {
    /// Something to be decided.
    Command(Command),
    /// A page of something, which is read and changes nothing.
    Look(Query),
    /// A device is to be taken out.
    RemoveDevice(DeviceId),
    /// Something is reported: what goes with it is to be read.
    Report(reports::Asked),
}

impl<C: Into<Command>> From<C> for Asks {
    fn from(command: C) -> Asks {
        Asks::Command(command.into())
    }
}

/// Reads what `verb` asks for, and the request id that its reply is to have. Whoever asks knows nothing of `random`.
pub(super) fn read(
    reader: &Reader,
    verb: Verb,
    json: bool,
    payload: &Bytes,
    caller: &Caller,
    random: u128,
) -> Result<(Asks, u64), Refusal> {
    let most = if verb == Verb::Edit { SEND_MAX_BYTES } else { COMMAND_MAX_BYTES };
    if payload.len() > most {
        return Err(ErrorCode::TooLarge.into());
    }
    let payload = Payload { json, bytes: payload };
    let caller = caller.clone();
    Ok(match verb {
        Verb::Read => {
            let v1::Read { conversation, up_to_seq, request_id } = payload.decode()?;
            let chat = ChatName::parse(&conversation)?;
            (Read { caller, chat, up_to: Seq(up_to_seq), played: false }.into(), request_id)
        }
        Verb::Played => {
            let v1::Played { conversation, up_to_seq, request_id } = payload.decode()?;
            let chat = ChatName::parse(&conversation)?;
            (Read { caller, chat, up_to: Seq(up_to_seq), played: true }.into(), request_id)
        }
        Verb::Edit => {
            let v1::Edit { conversation, seq, body, mentions, link_preview, request_id } =
                payload.decode()?;
            let body =
                body.filter(|body| body.kind.is_some()).ok_or_else(|| invalid("an edit has no body"))?;
            at_most("body", BODY_MAX_BYTES, body.encoded_len())?;
            let send = v1::Send { body: Some(body), mentions, link_preview, ..v1::Send::default() };
            content::check(&send)
                .map_err(|error| Refusal::because(ErrorCode::TooLarge, error.to_string()))?;
            let v1::Send { body, mentions, link_preview, .. } = send;
            let edited = v1::Edited { seq, body, mentions, link_preview };
            let content = stored::edit_content(&edited).into();
            (about(reader, caller, &conversation, seq, Deed::Edit, content)?.into(), request_id)
        }
        Verb::React => {
            let v1::React { conversation, seq, emoji, request_id } = payload.decode()?;
            at_most("emoji", REACTION_MAX_BYTES, emoji.len())?;
            let content = stored::reaction_content(&v1::Reaction { seq, emoji }).into();
            (about(reader, caller, &conversation, seq, Deed::React, content)?.into(), request_id)
        }
        Verb::Delete => {
            let v1::Delete { conversation, seq, for_everyone, request_id } = payload.decode()?;
            let asks = if for_everyone {
                let content = stored::deletion_content(Seq(seq)).into();
                about(reader, caller, &conversation, seq, Deed::Delete, content)?.into()
            } else {
                let (chat, seq) = (ChatName::parse(&conversation)?, Seq(seq));
                let already_by =
                    sight::hidden_by(reader, &caller.user, &chat, seq).map_err(|error| unreadable(&error))?;
                Keep { caller, chat, seq, note: Note::Hidden { already_by } }.into()
            };
            (asks, request_id)
        }
        Verb::Pin => {
            let v1::PinMessage { conversation, seq, pinned, request_id } = payload.decode()?;
            let content = stored::pin_content(&v1::Pin { seq, pinned }).into();
            (about(reader, caller, &conversation, seq, Deed::Pin, content)?.into(), request_id)
        }
        Verb::Star => {
            let v1::Star { conversation, seq, starred, request_id } = payload.decode()?;
            let (chat, note) = (ChatName::parse(&conversation)?, Note::Starred(starred));
            (Keep { caller, chat, seq: Seq(seq), note }.into(), request_id)
        }
        Verb::Starred => {
            let v1::Starred { after, limit, request_id } = payload.decode()?;
            (Asks::Look(Query::Starred(starred::Query { after, limit })), request_id)
        }
        Verb::Devices => {
            let v1::Devices { request_id } = payload.decode()?;
            (Asks::Look(Query::Devices), request_id)
        }
        Verb::DeviceRemove => {
            let v1::DeviceRemove { device, request_id } = payload.decode()?;
            let device =
                DeviceId::parse(&device).map_err(|error| invalid(format!("device is no id: {error}")))?;
            (Asks::RemoveDevice(device), request_id)
        }
        Verb::Timer => {
            let v1::SetTimer { conversation, seconds, request_id } = payload.decode()?;
            if seconds > TIMER_MAX_S {
                return Err(invalid(format!("a message disappears after {TIMER_MAX_S} seconds at most")));
            }
            (SetTimer { caller, chat: ChatName::parse(&conversation)?, seconds }.into(), request_id)
        }
        Verb::History => {
            let v1::History { conversation, before_seq, from_seq, limit, request_id } = payload.decode()?;
            if before_seq > 0 && from_seq > 0 {
                return Err(invalid("before_seq and from_seq are two ways to ask: one of them"));
            }
            let part = if from_seq > 0 { Part::From(Seq(from_seq)) } else { Part::Before(Seq(before_seq)) };
            let query = history::Query { chat: ChatName::parse(&conversation)?, part, limit };
            (Asks::Look(Query::History(query)), request_id)
        }
        Verb::Settings => {
            let v1::Settings { hide_read_receipts, presence, request_id } = payload.decode()?;
            if hide_read_receipts.is_none() && presence.is_none() {
                return Err(invalid("settings has nothing in it"));
            }
            let presence = presence.map(audience).transpose()?;
            (SetUp { caller, hide_reads: hide_read_receipts, presence }.into(), request_id)
        }
        Verb::Chat => {
            let asked: v1::Chat = payload.decode()?;
            (set_chat(caller, &asked)?.into(), asked.request_id)
        }
        Verb::Sync => {
            let v1::Sync { after, limit, request_id } = payload.decode()?;
            let after = if after.is_empty() { None } else { Some(sync::Place::parse(&after)?) };
            (Asks::Look(Query::Sync(sync::Query { after, limit })), request_id)
        }
        Verb::ContactAdd | Verb::ContactRemove => {
            let v1::ContactUsers { users: names, request_id } = payload.decode()?;
            if names.len() > CONTACTS_PER_COMMAND {
                let why = format!("users has {} in it, more than {CONTACTS_PER_COMMAND}", names.len());
                return Err(Refusal::because(ErrorCode::TooLarge, why));
            }
            let what = What::Contact(verb == Verb::ContactAdd);
            (others(caller, users(&names)?, what)?.into(), request_id)
        }
        Verb::Block | Verb::Unblock => {
            let v1::BlockUser { user, request_id } = payload.decode()?;
            let what = What::Blocked(verb == Verb::Block);
            (others(caller, users(&[user])?, what)?.into(), request_id)
        }
        Verb::Contacts => {
            let v1::ContactList { after, limit, request_id } = payload.decode()?;
            let after = if after.is_empty() { None } else { users(&[after])?.pop() };
            (Asks::Look(Query::Contacts(ContactsAsked { after, limit })), request_id)
        }
        Verb::Report => {
            let asked: v1::Report = payload.decode()?;
            let request_id = asked.request_id;
            (Asks::Report(reports::Asked::parse(asked, &caller)?), request_id)
        }
        Verb::GroupCreate => {
            let asked: v1::GroupCreate = payload.decode()?;
            (create(caller, &asked, random)?.into(), asked.request_id)
        }
        Verb::GroupUpdate => {
            let v1::GroupUpdate { group: id, name: new, description: about, photo: picture, request_id } =
                payload.decode()?;
            let text = NewText {
                name: new.map(name).transpose()?,
                description: about.map(description).transpose()?,
                photo: picture.as_ref().map(photo).transpose()?,
            };
            let settings = NewSettings::default();
            (GroupEdit { caller, group: group(&id)?, text, settings }.into(), request_id)
        }
        Verb::GroupSettings => {
            let v1::GroupConfigure { group: id, settings, request_id } = payload.decode()?;
            let (text, settings) = (NewText::default(), new_settings(settings));
            if settings == NewSettings::default() {
                return Err(invalid("settings has nothing in it"));
            }
            (GroupEdit { caller, group: group(&id)?, text, settings }.into(), request_id)
        }
        Verb::GroupAdd | Verb::GroupRemove | Verb::GroupPromote | Verb::GroupDemote => {
            let v1::GroupUsers { group: id, users: names, request_id } = payload.decode()?;
            let (group, users) = (group(&id)?, users(&names)?);
            if users.is_empty() {
                return Err(invalid("users has nobody in it"));
            }
            let command = match verb {
                Verb::GroupAdd => GroupAdd { caller, group, users }.into(),
                Verb::GroupRemove => GroupRemove { caller, group, users }.into(),
                Verb::GroupPromote => GroupRoles { caller, group, users, role: Role::Admin }.into(),
                _ => GroupRoles { caller, group, users, role: Role::Member }.into(),
            };
            (command, request_id)
        }
        Verb::GroupLeave => {
            let v1::GroupNamed { group: id, request_id } = payload.decode()?;
            (GroupLeave { caller, group: group(&id)? }.into(), request_id)
        }
        Verb::GroupGet => {
            let v1::GroupNamed { group: id, request_id } = payload.decode()?;
            (GroupGet { caller, group: group(&id)? }.into(), request_id)
        }
        Verb::GroupInvite => {
            let v1::GroupInvite { group: id, action, request_id } = payload.decode()?;
            let action = match v1::group_invite::Action::try_from(action) {
                Ok(v1::group_invite::Action::Get) => InviteAction::Get,
                Ok(v1::group_invite::Action::Reset) => InviteAction::Reset,
                Ok(v1::group_invite::Action::Revoke) => InviteAction::Revoke,
                Err(_) => return Err(invalid("action is one that this server does not know")),
            };
            (
                GroupInvite { caller, group: group(&id)?, action, fresh: chance::secret(random) }.into(),
                request_id,
            )
        }
        Verb::GroupJoin => {
            let v1::GroupJoin { group: id, invite, request_id } = payload.decode()?;
            (GroupJoin { caller, group: group(&id)?, invite }.into(), request_id)
        }
    })
}

/// A payload in either encoding.
struct Payload<'a> {
    json: bool,
    bytes: &'a Bytes,
}

impl Payload<'_> {
    fn decode<M: Message + Default + DeserializeOwned>(&self) -> Result<M, Refusal> {
        if self.json { Ok(json::decode(self.bytes)?) } else { protobuf(self.bytes) }
    }
}

/// Reads a protobuf payload.
pub(super) fn protobuf<M: Message + Default>(payload: &Bytes) -> Result<M, Refusal> {
    M::decode(payload.clone()).map_err(|error| invalid(error.to_string()))
}

/// Something that is done to a message.
fn about(
    reader: &Reader,
    caller: Caller,
    conversation: &str,
    seq: u64,
    deed: Deed,
    content: Bytes,
) -> Result<Act, Refusal> {
    let chat = ChatName::parse(conversation)?;
    let id = ConversationId::named_by(&caller.user, &chat);
    let original = history::original(reader, &id, Seq(seq)).map_err(|error| unreadable(&error))?;
    Ok(Act { caller, chat, seq: Seq(seq), original, deed, content })
}

fn unreadable(error: &FetchError) -> Refusal {
    tracing::error!("a message could not be read: {error}");
    ErrorCode::Internal.into()
}

/// Users who are to be something to the caller, who is none of them.
fn others(caller: Caller, users: Vec<UserId>, what: What) -> Result<SetTies, Refusal> {
    if users.is_empty() {
        return Err(invalid("users has nobody in it"));
    }
    if users.contains(&caller.user) {
        return Err(invalid("nobody stands on a contact or block list of their own"));
    }
    Ok(SetTies { caller, users, what })
}

fn audience(number: i32) -> Result<Audience, Refusal> {
    let audience = u8::try_from(number).ok().and_then(Audience::from_number);
    audience.ok_or_else(|| invalid("presence is an audience that this server does not know"))
}

fn set_chat(caller: Caller, asked: &v1::Chat) -> Result<SetChat, Refusal> {
    let chat = ChatName::parse(&asked.conversation)?;
    let v1::Chat { pinned, archived, .. } = *asked;
    if asked.read_seq.is_some() || asked.played_seq.is_some() {
        return Err(invalid("how far a conversation is read or played is said with do/read and do/played"));
    }
    if let Some(draft) = &asked.draft {
        at_most("draft", DRAFT_MAX_BYTES, draft.len())?;
    }
    let muted_until_ms = asked.muted_until_ms.map(|until| u64::try_from(until).unwrap_or(0));
    let (draft, cleared) = (asked.draft.clone(), asked.cleared_to_seq.map(Seq));
    let set_chat = SetChat { caller, chat, muted_until_ms, pinned, archived, draft, cleared };
    let SetChat { muted_until_ms, pinned, archived, draft, cleared, .. } = &set_chat;
    if muted_until_ms.is_none()
        && pinned.is_none()
        && archived.is_none()
        && draft.is_none()
        && cleared.is_none()
    {
        return Err(invalid("chat has nothing in it beside the conversation"));
    }
    Ok(set_chat)
}

fn create(caller: Caller, asked: &v1::GroupCreate, random: u128) -> Result<GroupCreate, Refusal> {
    Ok(GroupCreate {
        caller,
        group: if asked.group.is_empty() { chance::group(random) } else { group(&asked.group)? },
        name: name(asked.name.clone())?,
        description: description(asked.description.clone())?,
        photo: asked.photo.as_ref().map(photo).transpose()?.unwrap_or_default(),
        settings: new_settings(asked.settings).over(record::Settings::default()),
        members: users(&asked.members)?,
    })
}

fn group(id: &str) -> Result<GroupId, Refusal> {
    GroupId::parse(id).map_err(|error| invalid(format!("group is no id: {error}")))
}

fn users(names: &[String]) -> Result<Vec<UserId>, Refusal> {
    let user =
        |name: &String| UserId::parse(name).map_err(|error| invalid(format!("{name:?} is no user: {error}")));
    names.iter().map(user).collect()
}

fn name(name: String) -> Result<String, Refusal> {
    if name.trim().is_empty() {
        return Err(invalid("a group has a name"));
    }
    at_most("name", GROUP_NAME_MAX_BYTES, name.len())?;
    Ok(name)
}

fn description(description: String) -> Result<String, Refusal> {
    at_most("description", GROUP_DESCRIPTION_MAX_BYTES, description.len())?;
    Ok(description)
}

/// A picture as it is kept; one without a URL is none.
fn photo(photo: &v1::Media) -> Result<Bytes, Refusal> {
    at_most("photo", GROUP_PHOTO_MAX_BYTES, photo.encoded_len())?;
    Ok(if photo.url.is_empty() { Bytes::new() } else { photo.encode_to_vec().into() })
}

fn new_settings(settings: Option<v1::GroupSettings>) -> NewSettings {
    let v1::GroupSettings { admins_post, admins_edit, admins_add } = settings.unwrap_or_default();
    NewSettings { admins_post, admins_edit, admins_add }
}

fn at_most(what: &str, max: usize, len: usize) -> Result<(), Refusal> {
    if len <= max {
        return Ok(());
    }
    Err(Refusal::because(ErrorCode::TooLarge, format!("{what} has {len} bytes, more than {max}")))
}

fn invalid(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::because(ErrorCode::InvalidPayload, why)
}
