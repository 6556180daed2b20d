//! `Act`: something is done to a message that was said: it is edited, deleted for everyone or put above the others, or somebody reacts to it.
//!
//! Each is a message of the conversation itself, with a number of its own, for all who see the one it is about, so that a device that was away
//! learns of it in order. What was said stays as it was, and readers show the newest of each; but of what is deleted for everyone nothing
//! stays, in the conversation's log or in the inbox of anybody who was not given it yet.

pub(super) mod erase;

use super::group::story::{Said, Story};
use super::group::{Scene, not_a_member, not_an_admin};
use super::pair::{Pair, Told};
use super::reject::refuse;
use super::{Caller, Decision, Missing, View};
use crate::machine::record::{Edition, Fate};
use crate::machine::stored::StoredMessage;
use crate::machine::{Change, Env, Outcome};
use crate::mutation::{Mutation, mutated};
use bytes::Bytes;
use chasqui_proto::limits::{DELETE_WINDOW_MS, EDIT_WINDOW_MS, EDITS_MAX};
use chasqui_proto::{ChatName, ConversationId, ErrorCode, GroupId, Refusal, Seq, UserId};

/// Something is done to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Who does it.
    pub caller: Caller,
    /// The conversation, as they name it.
    pub chat: ChatName,
    /// The message's number.
    pub seq: Seq,
    /// The message as it is stored, but for what it says: that never changes. `None` where no message of that number was ever sent by
    /// anybody.
    pub original: Option<StoredMessage>,
    /// What is done.
    pub deed: Deed,
    /// What readers get, encoded as content of a `Message`.
    pub content: Bytes,
}

/// What is done to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It says something else: by its sender alone, and for a while.
    Edit,
    /// Somebody answers it with a sign.
    React,
    /// It is no more, for anybody: by its sender or an admin of the group, and for a while.
    Delete,
    /// It stands above the others, or no longer: by who may change what a group shows.
    Pin,
}

impl Act {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        match &self.chat {
            ChatName::User(peer) => self.with_user(peer, view, env),
            ChatName::Group(group) => self.in_group(group, view, env),
        }
    }

    fn with_user(&self, peer_id: &UserId, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let mut missing = Missing::default();
        let pair = missing.note(Pair::load(view, &self.caller.user, peer_id));
        let id = ConversationId::direct(&self.caller.user, peer_id);
        let fate = missing.note(view.fate(&id, self.seq));
        let (Some(pair), Some(fate)) = (pair, fate) else { return Err(missing) };
        if !pair.user.exists && !env.dev {
            return self.refuse(view, super::group::removed());
        }
        if let Some(refusal) = pair.refusal() {
            return self.refuse(view, refusal);
        }
        // What was said before there was this user of the name is none of theirs, nor what somebody said whom they blocked.
        let is_theirs =
            |original: &&StoredMessage| original.time_ms >= pair.user.since_ms && original.is_for(pair.me);
        let original = self.original.as_ref().filter(is_theirs);
        let original = match self.check(original, fate, false, env) {
            Ok(Some(original)) => original,
            Ok(None) => return Ok(Decision::only(Outcome::Done)),
            Err(refusal) => return self.refuse(view, refusal),
        };
        let mut changes = self.erased(view, original, fate)?;
        let expires_at_ms = self.expires_at_ms(original);
        // Who does not see what it is about, because they blocked who said it, does not see this either.
        let alone = original.alone;
        let Told { seq, time_ms, places } = pair.tell(&self.content, expires_at_ms, alone, env, &mut changes);
        changes.extend(self.becomes(&id, fate, Edition::new(seq, time_ms, &places)));
        changes.extend(self.expires(&id, expires_at_ms, seq));
        Ok(Decision { changes, outcome: Outcome::Accepted { seq, time_ms } })
    }

    fn in_group(&self, group_id: &GroupId, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let me = &self.caller.user;
        let conversation_id = ConversationId::Group(group_id.clone());
        let mut missing = Missing::default();
        let scene = missing.note(Scene::load(view, &self.caller, group_id));
        let membership = missing.note(view.membership(group_id, me));
        let fate = missing.note(view.fate(&conversation_id, self.seq));
        let (Some(scene), Some(membership), Some(fate)) = (scene, membership, fate) else {
            return Err(missing);
        };
        if scene.me().is_none() {
            return self.refuse(view, not_a_member());
        }
        let original = self.original.as_ref().filter(|_| scene.sees(membership, self.seq));
        let governs = scene.governs(view, env)?;
        if self.deed == Deed::Pin && scene.group().settings.admins_edit && !governs {
            return self.refuse(view, not_an_admin());
        }
        let original = match self.check(original, fate, governs, env) {
            Ok(Some(original)) => original,
            Ok(None) => return Ok(Decision::only(Outcome::Done)),
            Err(refusal) => return self.refuse(view, refusal),
        };
        let chat = ChatName::Group(group_id.clone());
        let mut story = Story::begin(view, group_id, scene.conversation(), env);
        let time_ms = story.time_ms();
        for change in self.erased(view, original, fate)? {
            story.change(change);
        }
        let expires_at_ms = self.expires_at_ms(original);
        let said = Said { sender: me, client_msg_id: None, expires_at_ms, content: &self.content };
        let seq = story.say(&said, &scene.group().members, |_, _, message| Some(message), &chat);
        let edition = Edition::new(seq, time_ms, story.places());
        let becomes = self.becomes(&conversation_id, fate, edition);
        for change in becomes.into_iter().chain(self.expires(&conversation_id, expires_at_ms, seq)) {
            story.change(change);
        }
        Ok(Decision { changes: story.end()?, outcome: Outcome::Accepted { seq, time_ms } })
    }

    /// The message, if this can be done to it by who sees it; `None` where it is done already.
    fn check<'a>(
        &self,
        original: Option<&'a StoredMessage>,
        fate: &Fate,
        governs: bool,
        env: &Env,
    ) -> Result<Option<&'a StoredMessage>, Refusal> {
        let original = original.ok_or_else(no_such_message)?;
        // Whether it is erased already makes no difference.
        let is_gone = fate.gone || original.has_expired(env.now_ms);
        let forbidden = |why: String| Err(Refusal::because(ErrorCode::Forbidden, why));
        let is_mine = original.sender == self.caller.user;
        let age_ms = env.now_ms.saturating_sub(original.time_ms);
        match self.deed {
            Deed::Delete if !is_mine && !governs => {
                return forbidden(
                    "a message is deleted by its sender, or by an admin of the group".to_owned(),
                );
            }
            Deed::Delete if is_gone => return Ok(None),
            _ if is_gone => return Err(no_such_message()),
            Deed::Delete if age_ms > DELETE_WINDOW_MS => {
                let hours = DELETE_WINDOW_MS / 3_600_000;
                return forbidden(format!("a message can be deleted for everyone for {hours} hours"));
            }
            Deed::Edit if !is_mine && !mutated(Mutation::TakesEditsOfOthers) => {
                return forbidden("a message is edited by its sender alone".to_owned());
            }
            Deed::Edit if age_ms > EDIT_WINDOW_MS => {
                let minutes = EDIT_WINDOW_MS / 60_000;
                return forbidden(format!("a message can be edited for {minutes} minutes"));
            }
            Deed::Edit if fate.edits.len() >= EDITS_MAX => {
                let why = format!("a message can be edited {EDITS_MAX} times");
                return Err(Refusal::because(ErrorCode::QuotaExceeded, why));
            }
            Deed::Edit | Deed::React | Deed::Delete | Deed::Pin => {}
        }
        Ok(Some(original))
    }

    /// What is no more by it.
    fn erased(
        &self,
        view: &impl View,
        original: &StoredMessage,
        fate: &Fate,
    ) -> Result<Vec<Change>, Missing> {
        if self.deed != Deed::Delete {
            return Ok(Vec::new());
        }
        let conversation = ConversationId::named_by(&self.caller.user, &self.chat);
        erase::erase(view, &conversation, self.seq, original, fate)
    }

    /// What is said about a message is gone with it; that it was deleted or stands above the others stays.
    fn expires_at_ms(&self, original: &StoredMessage) -> u64 {
        match self.deed {
            Deed::Edit | Deed::React => original.expires_at_ms,
            Deed::Delete | Deed::Pin => 0,
        }
    }

    /// What is to be done when its time is over. An edit goes with the message that it is about.
    fn expires(&self, conversation: &ConversationId, at_ms: u64, seq: Seq) -> Option<Change> {
        let conversation = conversation.clone();
        (self.deed == Deed::React && at_ms > 0).then_some(Change::ExpireAt { at_ms, conversation, seq })
    }

    /// What becomes of the message.
    fn becomes(&self, conversation: &ConversationId, fate: &Fate, edition: Edition) -> Option<Change> {
        let to = match self.deed {
            Deed::React | Deed::Pin => return None,
            Deed::Delete => Fate { gone: true, edits: Vec::new() },
            Deed::Edit => {
                let mut to = fate.clone();
                to.edits.push(edition);
                to
            }
        };
        Some(Change::PutFate { conversation: conversation.clone(), seq: self.seq, to })
    }

    fn refuse(&self, view: &impl View, refusal: Refusal) -> Result<Decision, Missing> {
        refuse(view, &self.caller, None, refusal)
    }
}

fn no_such_message() -> Refusal {
    ErrorCode::NoSuchMessage.into()
}

#[cfg(test)]
mod tests;
