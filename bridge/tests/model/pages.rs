//! What is looked at: pages of history, and the list of conversations with what is unread.

use super::ask::Ask;
use super::gone::gone;
use super::state::{Message, Model, chat_of, key};
use super::talk::shown;
use chasqui_proto::{ChatName, ErrorCode, v1};
use std::cmp::Reverse;

/// Messages on a page of history, and unread ones that are counted, at most.
const PAGE: usize = 100;
const UNREAD: usize = 999;

impl Model {
    /// A page of history: its messages, and whether there are more.
    pub(crate) fn history(
        &self,
        ask: &Ask,
        asked: &v1::History,
    ) -> Result<(Vec<v1::Message>, bool), ErrorCode> {
        if asked.before_seq > 0 && asked.from_seq > 0 {
            return Err(ErrorCode::InvalidPayload);
        }
        let me = self.person(&ask.user);
        let key = key(&ask.user, &asked.conversation);
        if self.newest_seen(&me, &key) == 0 {
            return Err(ErrorCode::NoSuchMessage);
        }
        let cleared = self.users[&ask.user].kept.get(&asked.conversation).map_or(0, |kept| kept.cleared);
        let before = if asked.before_seq == 0 { u64::MAX } else { asked.before_seq };
        let hidden = &self.users[&ask.user].hidden;
        let asked_for = |seq: u64| {
            seq > cleared
                && seq >= asked.from_seq
                && seq < before
                && !hidden.contains(&(asked.conversation.clone(), seq))
        };
        let mut page: Vec<v1::Message> = self
            .seen_by(&me, &key)
            .filter(|(seq, _)| asked_for(*seq))
            .map(|(seq, message)| as_read(&ask.user, &key, seq, message, self.now_ms))
            .collect();
        let limit = if asked.limit == 0 { PAGE } else { PAGE.min(asked.limit as usize) };
        let too_many = page.len().saturating_sub(limit);
        if asked.from_seq > 0 {
            page.truncate(limit);
        } else {
            page.drain(..too_many);
        }
        Ok((page, too_many > 0))
    }

    /// All that a user has marked and sees still: conversation by conversation, in the order of the numbers.
    pub(crate) fn starred(&self, name: &str) -> Vec<v1::Message> {
        let (me, user) = (self.person(name), &self.users[name]);
        let mut found = Vec::new();
        for place in user.starred.difference(&user.hidden) {
            let (chat, starred) = place;
            let key = key(name, chat);
            let cleared = user.kept.get(chat).map_or(0, |kept| kept.cleared);
            let seen = self.seen_by(&me, &key).find(|(seq, _)| seq == starred && *seq > cleared);
            if let Some((seq, message)) = seen.filter(|(_, message)| !message.is_gone(self.now_ms)) {
                found.push(as_read(name, &key, seq, message, self.now_ms));
            }
        }
        found
    }

    /// The devices of a user, none of which is connected: there are no connections here.
    pub(crate) fn devices(&self, name: &str) -> Vec<v1::Device> {
        let user = &self.users[name];
        let device = |(device, had): (&String, &usize)| v1::Device {
            device: device.clone(),
            connected: false,
            waiting: (user.log.len() - had) as u64,
        };
        user.devices.iter().map(device).collect()
    }

    /// All conversations of a user, the one with the newest message first.
    pub(crate) fn list(&self, name: &str) -> Vec<v1::ChatSummary> {
        let me = self.person(name);
        let mut list = Vec::new();
        for key in self.conversations.keys() {
            let Some(chat) = chat_of(name, key) else { continue };
            let Some((_, newest)) = self.seen_by(&me, key).next_back() else { continue };
            let user = &self.users[name];
            let kept = user.kept.get(&chat).cloned().unwrap_or_default();
            let read = kept.read.max(kept.cleared);
            // Of a group its members know.
            let knows = chat.starts_with("u/") || self.is_member(key, &me);
            let timer_s = if knows { self.timer_of(key, &me) } else { 0 };
            let is_hidden = |seq: u64| user.hidden.contains(&(chat.clone(), seq));
            let unread: Vec<&Message> = self
                .seen_by(&me, key)
                .filter(|(seq, message)| *seq > read && message.is_said && message.sender.name != name)
                .filter(|(seq, message)| !message.is_gone(self.now_ms) && !is_hidden(*seq))
                .map(|(_, message)| message)
                .take(UNREAD)
                .collect();
            let names_me = |message: &&&Message| message.content.mentions.iter().any(|one| one.user == name);
            let last = self.seen_by(&me, key).rfind(|(seq, _)| *seq > kept.cleared && !is_hidden(*seq));
            let last = last.map(|(seq, last)| as_read(name, key, seq, last, self.now_ms));
            let summary = v1::ChatSummary {
                timer_s,
                chat: Some(v1::Chat {
                    conversation: chat.clone(),
                    muted_until_ms: (kept.muted_until_ms != 0).then_some(kept.muted_until_ms),
                    pinned: kept.pinned.then_some(true),
                    archived: kept.archived.then_some(true),
                    draft: Some(kept.draft).filter(|draft| !draft.is_empty()),
                    cleared_to_seq: (kept.cleared > 0).then_some(kept.cleared),
                    read_seq: (kept.read > 0).then_some(kept.read),
                    played_seq: (kept.played > 0).then_some(kept.played),
                    request_id: 0,
                }),
                last,
                unread: unread.len() as u32,
                mentions: unread.iter().filter(names_me).count() as u32,
                receipt: user.receipts.get(&chat).cloned(),
                group: self.is_member(key, &me).then(|| self.info(key)),
            };
            let place = ChatName::parse(&chat).expect("it has the form of one");
            list.push((Reverse(newest.time_ms), place, summary));
        }
        list.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
        list.into_iter().map(|(.., summary)| summary).collect()
    }
}

/// A message as it stands on a page.
fn as_read(reader: &str, key: &str, seq: u64, message: &Message, now_ms: u64) -> v1::Message {
    let own = message.sender.name == reader;
    let is_gone = message.is_gone(now_ms);
    let content = if is_gone { gone(message) } else { message.content.clone() };
    v1::Message {
        expires_at_ms: if is_gone { 0 } else { message.expires_at_ms.cast_signed() },
        sender: message.sender.name.clone(),
        time_ms: message.time_ms.cast_signed(),
        client_msg_id: if own { message.id.clone().into() } else { bytes::Bytes::new() },
        ..shown(reader, key, seq, &content)
    }
}
