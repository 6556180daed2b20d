//! The rules of whom somebody knows, and blocks.

use super::ask::{Answer, Ask};
use super::state::{Entry, Model, Person, Tie, To};
use chasqui_proto::v1::event::Event as Kind;
use chasqui_proto::{ErrorCode, v1};

/// Users on a page, at most.
const PAGE: usize = 250;

impl Model {
    /// Others are to be something else to who asks; `adds` where they are to be on a list, and not to be taken off it.
    pub(crate) fn tie(
        &mut self,
        ask: &Ask,
        names: &[String],
        adds: bool,
        change: impl Fn(&mut Tie),
    ) -> Result<Answer, ErrorCode> {
        if names.is_empty() || names.contains(&ask.user) {
            return Err(ErrorCode::InvalidPayload);
        }
        let guessed = adds && self.has_guessed_too_much(&ask.user);
        let mut names = names.to_vec();
        names.sort_unstable();
        names.dedup();
        let mut changed = Vec::new();
        for name in names {
            let place = self.users[&ask.user].ties.get(&name);
            let now = place.filter(|tie| self.is_alive(&tie.other)).cloned();
            let now = now.unwrap_or_else(|| Tie::none(self.person(&name)));
            let mut to = now.clone();
            change(&mut to);
            // Who was removed may take a place still, and gives it up.
            if to != now || place.is_some() != to.says_something() {
                changed.push((name, now, to));
            }
        }
        if adds {
            if guessed && changed.iter().any(|(_, now, _)| !now.says_something()) {
                return Err(ErrorCode::RateLimited);
            }
            if changed.iter().any(|(name, ..)| !self.exists(name)) {
                self.note_guess(&ask.user);
                return Err(ErrorCode::NoSuchUser);
            }
        }
        for (name, _, to) in changed {
            let event = Kind::Tie(v1::Tie { user: name.clone(), contact: to.contact, blocked: to.blocked });
            self.enter(&ask.user, Entry { event, to: To::All, brings: None });
            let ties = &mut self.user(&ask.user).ties;
            if to.says_something() {
                ties.insert(name, to)
            } else {
                ties.remove(&name)
            };
        }
        Ok(Answer::Done)
    }

    /// Whether somebody blocks somebody else.
    pub(crate) fn blocks(&self, who: &Person, whom: &Person) -> bool {
        let tie = self.users.get(&who.name).and_then(|user| user.ties.get(&whom.name));
        self.is_alive(who) && tie.is_some_and(|tie| tie.blocked && tie.other == *whom)
    }

    /// Who blocks the other side of a direct chat says nothing to them.
    pub(crate) fn may_speak(&self, me: &Person, chat: &str) -> Result<(), ErrorCode> {
        let peer = chat.strip_prefix("u/").map(|peer| self.person(peer));
        let blocks = peer.is_some_and(|peer| self.blocks(me, &peer));
        if blocks { Err(ErrorCode::Forbidden) } else { Ok(()) }
    }

    /// A page of both lists, and whether there is more.
    pub(crate) fn contacts(
        &self,
        ask: &Ask,
        asked: &v1::ContactList,
    ) -> Result<(Vec<v1::Tie>, bool), ErrorCode> {
        if asked.after.contains('?') {
            return Err(ErrorCode::InvalidPayload);
        }
        let behind = self.users[&ask.user].ties.iter().filter(|(name, _)| **name > asked.after);
        let mut page: Vec<v1::Tie> = Vec::new();
        for (name, tie) in behind {
            let says = self.is_alive(&tie.other);
            page.push(v1::Tie {
                user: name.clone(),
                contact: says && tie.contact,
                blocked: says && tie.blocked,
            });
        }
        let most = if asked.limit == 0 { PAGE } else { PAGE.min(asked.limit as usize) };
        let more = page.len() > most;
        page.truncate(most);
        Ok((page, more))
    }
}
