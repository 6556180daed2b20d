//! The rules of what is taken away: by somebody for themselves, or for everyone, or because its time is over.

use super::ask::{Answer, Ask};
use super::state::{Message, Model, To, chat_of, key};
use chasqui_proto::v1::event::Event as Kind;
use chasqui_proto::{ErrorCode, v1};

/// How long something can be deleted for everyone.
const DELETE_MS: u64 = 48 * 60 * 60 * 1_000;

type Answered = Result<Answer, ErrorCode>;

impl Model {
    pub(crate) fn delete(&mut self, ask: &Ask, delete: &v1::Delete) -> Answered {
        if delete.for_everyone { self.delete_for_everyone(ask, delete) } else { self.hide(ask, delete) }
    }

    fn delete_for_everyone(&mut self, ask: &Ask, delete: &v1::Delete) -> Answered {
        let (me, chat, seq) = (self.person(&ask.user), &delete.conversation, delete.seq);
        let about = self.about(ask, &me, chat, seq)?;
        let in_charge = chat.starts_with("g/") && self.is_in_charge(chat, &me);
        if about.sender != me && !in_charge {
            return Err(ErrorCode::Forbidden);
        }
        if about.is_gone {
            return Ok(Answer::Done);
        }
        if self.now_ms.saturating_sub(about.time_ms) > DELETE_MS {
            return Err(ErrorCode::Forbidden);
        }
        self.erase(&key(&ask.user, chat), seq);
        let content = v1::Message { deletion: Some(v1::Deletion { seq }), ..v1::Message::default() };
        Ok(self.act(&me, chat, Some(&about), content))
    }

    /// Somebody does not want to see something any more. Nobody else learns of it.
    fn hide(&mut self, ask: &Ask, delete: &v1::Delete) -> Answered {
        let (chat, seq) = (&delete.conversation, delete.seq);
        self.is_theirs_to_keep(ask, chat, seq)?;
        self.user(&ask.user).hidden.insert((chat.clone(), seq));
        if ask.is_away {
            return Ok(Answer::Done);
        }
        let news = v1::Delete { for_everyone: false, request_id: 0, ..delete.clone() };
        self.tell_other_devices(ask, Kind::Delete(news));
        Ok(Answer::Done)
    }

    /// Somebody wants to find something again, or no more. Nobody else learns of it.
    pub(crate) fn star(&mut self, ask: &Ask, star: &v1::Star) -> Answered {
        self.is_theirs_to_keep(ask, &star.conversation, star.seq)?;
        let starred = &mut self.user(&ask.user).starred;
        let place = (star.conversation.clone(), star.seq);
        if star.starred {
            starred.insert(place)
        } else {
            starred.remove(&place)
        };
        self.tell_other_devices(ask, Kind::Star(v1::Star { request_id: 0, ..star.clone() }));
        Ok(Answer::Done)
    }

    /// Something is somebody's to note something about: they see it. In a direct chat a number that is not for them to see is away already.
    fn is_theirs_to_keep(&self, ask: &Ask, chat: &str, seq: u64) -> Result<(), ErrorCode> {
        let (me, key) = (self.person(&ask.user), key(&ask.user, chat));
        let there = if chat.starts_with("g/") {
            self.seen_by(&me, &key).any(|(seen, _)| seen == seq)
        } else {
            seq > 0 && seq <= self.newest_seen(&me, &key)
        };
        if there { Ok(()) } else { Err(ErrorCode::NoSuchMessage) }
    }

    /// The server erases what is over.
    pub(crate) fn expire(&mut self, key: &str, seq: u64, at_ms: u64) {
        self.expiries.remove(&(at_ms, key.to_owned(), seq));
        if !self.said(key)[seq as usize - 1].erased {
            self.erase(key, seq);
        }
    }

    /// What was said is no more, nor what was said instead of it: not in the conversation, nor in any inbox.
    pub(crate) fn erase(&mut self, key: &str, seq: u64) {
        let mut erased = Vec::new();
        for (at, message) in self.conversations.get_mut(key).into_iter().flatten().enumerate() {
            let number = at as u64 + 1;
            let is_edit_of_it = message.content.edit.as_ref().is_some_and(|edit| edit.seq == seq);
            if number == seq || is_edit_of_it {
                message.content = gone(message);
                (message.erased, message.expires_at_ms) = (true, 0);
                erased.push(number);
            }
        }
        for (name, user) in &mut self.users {
            let Some(chat) = chat_of(name, key) else { continue };
            let all_have = user.devices.values().min().copied().unwrap_or(0);
            for (at, entry) in user.log.iter_mut().enumerate() {
                let Kind::Message(message) = &entry.event else { continue };
                if message.conversation == chat && erased.contains(&message.seq) {
                    entry.event = Kind::Gone(v1::Gone { conversation: chat.clone(), seq: message.seq });
                    entry.to = To::All;
                    if at >= all_have {
                        self.news.erased.entry(name.clone()).or_default().insert(at);
                    }
                }
            }
        }
        for number in erased {
            let from = self.news.conversations.entry(key.to_owned()).or_insert(usize::MAX);
            *from = (*from).min(number as usize - 1);
        }
    }
}

/// What stands for something that is no more. Of an edit or a sign it still says what that was about.
pub(crate) fn gone(message: &Message) -> v1::Message {
    let (edit, sign) = (message.content.edit.as_ref(), message.content.reaction.as_ref());
    let edit = edit.map(|edit| v1::Edited { seq: edit.seq, ..v1::Edited::default() });
    let reaction = sign.map(|sign| v1::Reaction { seq: sign.seq, emoji: String::new() });
    v1::Message { edit, reaction, gone: true, ..v1::Message::default() }
}
