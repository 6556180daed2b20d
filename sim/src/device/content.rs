//! What a message is, in the words of the history: by what its sender wrote into it, or by what happened to a group.

use chasqui_proto::v1;
use chasqui_proto::v1::group_change::Change;
use chasqui_testkit::history::MessageId;
use std::sync::Arc;

/// What something that has a number in a conversation is.
pub(crate) enum Content {
    /// Somebody said it, or did it to a message. An own message without a body has its number alone.
    Said(Option<MessageId>),
    Acted(MessageId),
    /// It happened to a group.
    Changed(MessageId, Box<Change>),
}

impl Content {
    /// Reads it from a message.
    ///
    /// # Errors
    /// What nobody wrote.
    pub(crate) fn of(message: &v1::Message) -> Result<Content, String> {
        if let Some(change) = message.change.as_ref().and_then(|change| change.change.clone()) {
            return Ok(Content::Changed(named(&change), Box::new(change)));
        }
        if let Some(edit) = &message.edit {
            return first_word(edit.body.as_ref()).map(|id| id.map_or(Content::Said(None), Content::Acted));
        }
        if let Some(reaction) = &message.reaction {
            return Ok(Content::Acted(reaction.emoji.as_str().into()));
        }
        first_word(message.body.as_ref()).map(Content::Said)
    }
}

fn first_word(body: Option<&v1::Body>) -> Result<Option<MessageId>, String> {
    match body.and_then(|body| body.kind.as_ref()) {
        None => Ok(None),
        Some(v1::body::Kind::Text(text)) => Ok(Some(text.split(' ').next().unwrap_or_default().into())),
        Some(other) => Err(format!("a body that nobody wrote: {other:?}")),
    }
}

fn named(change: &Change) -> MessageId {
    let users = |users: &v1::Users| users.users.join(",");
    let name = match change {
        Change::Created(_) => "created".to_owned(),
        Change::Updated(_) => "updated".to_owned(),
        Change::Added(names) => format!("added {}", users(names)),
        Change::Removed(names) => format!("removed {}", users(names)),
        Change::Left(names) => format!("left {}", users(names)),
        Change::Promoted(names) => format!("promoted {}", users(names)),
        Change::Demoted(names) => format!("demoted {}", users(names)),
        Change::Joined(names) => format!("joined {}", users(names)),
    };
    name.into()
}

/// Who is a member of a group once this has happened to it.
pub(crate) fn members_after(mut members: Vec<Arc<str>>, change: &Change) -> Vec<Arc<str>> {
    match change {
        Change::Created(group) => {
            members = group.members.iter().map(|member| member.user.as_str().into()).collect();
        }
        Change::Added(names) | Change::Joined(names) => {
            members.extend(names.users.iter().map(|name| Arc::from(name.as_str())));
        }
        Change::Removed(names) | Change::Left(names) => {
            members.retain(|member| !names.users.iter().any(|name| **name == **member));
        }
        Change::Updated(_) | Change::Promoted(_) | Change::Demoted(_) => {}
    }
    members
}
