//! The rules of what is said: messages, edits and reactions.

use super::ask::{Answer, Ask, ack_of};
use super::state::{Accepted, Entry, Message, Model, Person, To, chat_of, key};
use chasqui_bridge::machine::Ack;
use chasqui_proto::v1::event::Event as Kind;
use chasqui_proto::{ErrorCode, v1};

/// How long something can be edited.
const EDIT_MS: u64 = 15 * 60 * 1_000;
/// How often something can be edited.
const EDITS_MAX: usize = 32;
/// What disappears is there for so long at most.
pub(crate) const TIMER_MAX_S: u32 = 366 * 24 * 60 * 60;
/// Accepted ids that are remembered of a device.
const IDS_OF_A_DEVICE: usize = 256;
/// One may name so many users who are not there at once, and then one more in each such time.
const GUESSES: u64 = 10;
const GUESS_MS: u64 = 10_000;

/// What something is to be done to.
pub(crate) struct About {
    pub(crate) sender: Person,
    pub(crate) time_ms: u64,
    pub(crate) is_gone: bool,
    pub(crate) alone: bool,
    pub(crate) expires_at_ms: u64,
    /// How often it was edited.
    pub(crate) edits: usize,
}

impl Model {
    /// Somebody names others: whether they have named so many who are not there that they are told nothing for a while.
    pub(crate) fn has_guessed_too_much(&mut self, name: &str) -> bool {
        let now_ms = self.now_ms;
        let made_up = self.guesses.entry(name.to_owned()).or_default();
        // It is never longer than it takes to have all of them again.
        *made_up = (*made_up).min(now_ms + GUESSES * GUESS_MS);
        *made_up > now_ms + (GUESSES - 1) * GUESS_MS
    }

    pub(crate) fn note_guess(&mut self, name: &str) {
        let now_ms = self.now_ms;
        let made_up = self.guesses.entry(name.to_owned()).or_insert(now_ms);
        *made_up = (*made_up).max(now_ms) + GUESS_MS;
    }

    pub(crate) fn send(&mut self, ask: &Ask, chat: &str, send: &v1::Send) -> Result<Answer, ErrorCode> {
        let me = self.person(&ask.user);
        let key = key(&ask.user, chat);
        let guessed = chat.starts_with("u/") && self.has_guessed_too_much(&ask.user);
        let accepted = self.user(&ask.user).accepted.entry(ask.device.clone()).or_default();
        let retried = |one: &&Accepted| {
            !send.client_msg_id.is_empty() && one.chat == chat && one.id == send.client_msg_id
        };
        if let Some(first) = accepted.iter().find(retried) {
            return Ok(Answer::Number(first.seq));
        }
        let content = v1::Message {
            body: send.body.clone(),
            reply_to: send.reply_to.clone(),
            forward_count: send.forward_count,
            mentions: send.mentions.clone(),
            link_preview: send.link_preview.clone(),
            ..v1::Message::default()
        };
        let mut alone = false;
        let audience = if let Some(peer) = chat.strip_prefix("u/") {
            if guessed && self.said(&key).is_empty() {
                return Err(ErrorCode::RateLimited);
            }
            if !self.exists(peer) {
                self.note_guess(&ask.user);
                return Err(ErrorCode::NoSuchUser);
            }
            self.may_speak(&me, chat)?;
            alone = self.blocks(&self.person(peer), &me);
            self.pair(&me, peer)
        } else {
            let members = self.members(chat);
            let only_admins = self.groups.get(chat).is_some_and(|group| group.settings.admins_post());
            if !members.iter().any(|member| member.person == me)
                || (only_admins && !self.is_in_charge(chat, &me))
            {
                return Err(ErrorCode::Forbidden);
            }
            members.into_iter().map(|member| member.person).collect()
        };
        let timer_s = self.timer_of(&key, &me);
        let lasts_s = [timer_s, send.expires_in_s].into_iter().filter(|seconds| *seconds > 0).min();
        let message = Message {
            sender: me.clone(),
            time_ms: 0,
            expires_at_ms: 0,
            id: send.client_msg_id.to_vec(),
            content,
            is_said: true,
            erased: false,
            alone,
            audience,
        };
        let seq = self.tell(&key, message, Some(&ask.device), lasts_s);
        if chat.starts_with("g/") {
            self.strike_the_removed(chat);
        }
        if !send.client_msg_id.is_empty() {
            let accepted = self.user(&ask.user).accepted.entry(ask.device.clone()).or_default();
            accepted.push(Accepted { chat: chat.to_owned(), id: send.client_msg_id.to_vec(), seq });
            let too_many = accepted.len().saturating_sub(IDS_OF_A_DEVICE);
            accepted.drain(..too_many);
        }
        Ok(Answer::Number(seq))
    }

    pub(crate) fn edit(&mut self, ask: &Ask, edit: &v1::Edit) -> Result<Answer, ErrorCode> {
        if edit.body.as_ref().is_none_or(|body| body.kind.is_none()) {
            return Err(ErrorCode::InvalidPayload);
        }
        let me = self.person(&ask.user);
        let about = self.about_what_is_there(ask, &me, &edit.conversation, edit.seq)?;
        if about.sender != me || self.now_ms.saturating_sub(about.time_ms) > EDIT_MS {
            return Err(ErrorCode::Forbidden);
        }
        if about.edits >= EDITS_MAX {
            return Err(ErrorCode::QuotaExceeded);
        }
        let edited = v1::Edited {
            seq: edit.seq,
            body: edit.body.clone(),
            mentions: edit.mentions.clone(),
            link_preview: edit.link_preview.clone(),
        };
        let content = v1::Message { edit: Some(edited), ..v1::Message::default() };
        Ok(self.act(&me, &edit.conversation, Some(&about), content))
    }

    pub(crate) fn react(&mut self, ask: &Ask, react: &v1::React) -> Result<Answer, ErrorCode> {
        let me = self.person(&ask.user);
        let about = self.about_what_is_there(ask, &me, &react.conversation, react.seq)?;
        let reaction = v1::Reaction { seq: react.seq, emoji: react.emoji.clone() };
        let content = v1::Message { reaction: Some(reaction), ..v1::Message::default() };
        Ok(self.act(&me, &react.conversation, Some(&about), content))
    }

    /// Something is put above the others, or taken down.
    pub(crate) fn pin(&mut self, ask: &Ask, pin: &v1::PinMessage) -> Result<Answer, ErrorCode> {
        let (me, chat) = (self.person(&ask.user), &pin.conversation);
        let only_admins = self.groups.get(chat).is_some_and(|group| group.settings.admins_edit());
        if only_admins && !self.is_in_charge(chat, &me) {
            return Err(ErrorCode::Forbidden);
        }
        let about = self.about_what_is_there(ask, &me, chat, pin.seq)?;
        let pinned = v1::Pin { seq: pin.seq, pinned: pin.pinned };
        let content = v1::Message { pin: Some(pinned), ..v1::Message::default() };
        Ok(self.act(&me, chat, Some(&about), content))
    }

    /// What is said from now on is there for so long.
    pub(crate) fn set_timer(&mut self, ask: &Ask, asked: &v1::SetTimer) -> Result<Answer, ErrorCode> {
        let (me, chat, seconds) = (self.person(&ask.user), &asked.conversation, asked.seconds);
        let key = key(&ask.user, chat);
        if seconds > TIMER_MAX_S {
            return Err(ErrorCode::InvalidPayload);
        }
        if chat.starts_with("g/") {
            let only_admins = self.groups.get(chat).is_some_and(|group| group.settings.admins_edit());
            if !self.is_member(chat, &me) || (only_admins && !self.is_in_charge(chat, &me)) {
                return Err(ErrorCode::Forbidden);
            }
        } else if self.newest_seen(&me, &key) == 0 {
            return Err(ErrorCode::NoSuchMessage);
        }
        self.may_speak(&me, chat)?;
        let peer = chat.strip_prefix("u/").map(|peer| self.person(peer));
        let is_blocked = peer.as_ref().is_some_and(|peer| *peer != me && self.blocks(peer, &me));
        let knows_alone =
            |who: &Person| !is_blocked && self.own_timers.contains_key(&(key.clone(), who.clone()));
        let before = if is_blocked { Some(self.timer_of(&key, &me)) } else { self.timers.get(&key).copied() };
        if before.unwrap_or(0) == seconds && !knows_alone(&me) && !peer.as_ref().is_some_and(knows_alone) {
            return Ok(Answer::Done);
        }
        if is_blocked {
            // Nobody else is told, so it holds for nobody else.
            self.own_timers.insert((key, me.clone()), seconds);
        } else {
            self.own_timers.retain(|(of, _), _| *of != key);
            self.timers.insert(key, seconds);
        }
        let content = v1::Message { timer: Some(v1::Timer { seconds }), ..v1::Message::default() };
        Ok(self.act(&me, chat, None, content))
    }

    /// What something is to be done to.
    pub(crate) fn about(&self, ask: &Ask, me: &Person, chat: &str, seq: u64) -> Result<About, ErrorCode> {
        if chat.starts_with("g/") && !self.is_member(chat, me) {
            return Err(ErrorCode::Forbidden);
        }
        self.may_speak(me, chat)?;
        let key = key(&ask.user, chat);
        let seen = self.seen_by(me, &key).find(|(number, _)| *number == seq);
        let (_, message) = seen.filter(|_| ask.about_something).ok_or(ErrorCode::NoSuchMessage)?;
        let is_edit_of_it =
            |other: &&Message| other.content.edit.as_ref().is_some_and(|edit| edit.seq == seq);
        Ok(About {
            sender: message.sender.clone(),
            time_ms: message.time_ms,
            is_gone: message.is_gone(self.now_ms),
            alone: message.alone,
            expires_at_ms: message.expires_at_ms,
            edits: self.said(&key).iter().filter(is_edit_of_it).count(),
        })
    }

    /// The same, where nothing can be done to what is no more.
    fn about_what_is_there(&self, ask: &Ask, me: &Person, chat: &str, seq: u64) -> Result<About, ErrorCode> {
        self.about(ask, me, chat, seq)
            .and_then(|about| if about.is_gone { Err(ErrorCode::NoSuchMessage) } else { Ok(about) })
    }

    pub(crate) fn act(
        &mut self,
        me: &Person,
        chat: &str,
        about: Option<&About>,
        content: v1::Message,
    ) -> Answer {
        let key = key(&me.name, chat);
        let alone = about.is_some_and(|about| about.alone);
        // What is said about a message is gone with it.
        let goes_with_it = content.edit.is_some() || content.reaction.is_some();
        let expires_at_ms = about.filter(|_| goes_with_it).map_or(0, |about| about.expires_at_ms);
        let audience = match chat.strip_prefix("u/") {
            // What one alone sees, nobody hears anything about.
            Some(_) if alone => vec![me.clone()],
            Some(peer) => self.pair(me, peer),
            None => self.members(chat).into_iter().map(|member| member.person).collect(),
        };
        let (sender, id) = (me.clone(), Vec::new());
        let message = Message {
            sender,
            time_ms: 0,
            expires_at_ms,
            id,
            content,
            is_said: false,
            erased: false,
            alone,
            audience,
        };
        Answer::Number(self.tell(&key, message, None, None))
    }

    /// Who hears what somebody says in a direct chat: they alone where the other side blocks them, or is not there.
    fn pair(&self, me: &Person, peer: &str) -> Vec<Person> {
        let peer = self.person(peer);
        if *me == peer || !self.is_alive(&peer) || self.blocks(&peer, me) {
            vec![me.clone()]
        } else {
            vec![me.clone(), peer]
        }
    }

    /// Something new in a conversation: into the inboxes of all who see it. What a device has said itself, its own user's other devices
    /// alone need, and itself where its acknowledgement cannot carry the number.
    pub(crate) fn tell(
        &mut self,
        key: &str,
        message: Message,
        from: Option<&str>,
        lasts_s: Option<u32>,
    ) -> u64 {
        let (sender, audience, is_said) = (message.sender.clone(), message.audience.clone(), message.is_said);
        let (content, id) = (message.content.clone(), message.id.clone());
        let before: Vec<u64> = audience.iter().map(|reader| self.newest_seen(reader, key)).collect();
        let (seq, time_ms) = self.say(key, message, lasts_s);
        let expires_at_ms = self.said(key)[seq as usize - 1].expires_at_ms;
        let to_self =
            audience.len() == 1 && key == super::state::key(&sender.name, &format!("u/{}", sender.name));
        for (reader, before) in audience.into_iter().zip(before) {
            let own = reader == sender;
            let mut shown = shown(&reader.name, key, seq, &content);
            shown.time_ms = time_ms.cast_signed();
            shown.expires_at_ms = expires_at_ms.cast_signed();
            shown.prev_seq = if before + 1 == seq { 0 } else { before };
            if key.starts_with("g/") || (own && !to_self) {
                shown.sender.clone_from(&sender.name);
            }
            let mut to = To::All;
            if let Some(device) = from.filter(|_| own) {
                let has_number = ack_of(device) == Ack::Full;
                let needed =
                    self.user(&reader.name).devices.keys().any(|other| other != device || !has_number);
                if !needed && !to_self {
                    continue;
                }
                shown.client_msg_id = id.clone().into();
                to = if has_number { To::Others(device.to_owned()) } else { To::Echo(device.to_owned()) };
            }
            let brings = (is_said && !own).then(|| (key.to_owned(), sender.clone(), seq));
            self.enter(&reader.name, Entry { event: Kind::Message(shown), to, brings });
        }
        seq
    }
}

/// A message as one of those who see it gets it.
pub(crate) fn shown(reader: &str, key: &str, seq: u64, content: &v1::Message) -> v1::Message {
    let conversation = chat_of(reader, key).expect("the reader takes part");
    v1::Message { conversation, seq, ..content.clone() }
}
