//! The rules of groups.

use super::ask::{Answer, Ask};
use super::state::{Entry, Group, Member, Message, Model, Person, To};
use chasqui_proto::v1::event::Event as Kind;
use chasqui_proto::v1::group_change::Change;
use chasqui_proto::{ErrorCode, v1};

type Answered = Result<Answer, ErrorCode>;

impl Model {
    pub(crate) fn create(&mut self, ask: &Ask, asked: &v1::GroupCreate, heard: &Answer) -> Answered {
        let me = self.person(&ask.user);
        if asked.name.trim().is_empty() {
            return Err(ErrorCode::InvalidPayload);
        }
        let guessed = self.has_guessed_too_much(&ask.user);
        // The server chooses an id where there is none, and says which.
        let id = match heard {
            Answer::Group(_, group) if asked.group.is_empty() => group.group.clone(),
            _ => asked.group.clone(),
        };
        let chat = format!("g/{id}");
        if let Some(group) = self.groups.get(&chat) {
            let again = !asked.group.is_empty() && group.creator == me && self.is_member(&chat, &me);
            return if again {
                Ok(Answer::Group(1, self.snapshot(&chat).into()))
            } else {
                Err(ErrorCode::AlreadyExists)
            };
        }
        let others: Vec<String> = once(&asked.members).into_iter().filter(|name| *name != ask.user).collect();
        self.find(ask, &others, guessed)?;
        let member = |person, admin| Member { person, admin, since: 1 };
        let mut members: Vec<Member> = others.iter().map(|name| member(self.person(name), false)).collect();
        members.push(member(me.clone(), true));
        members.sort_by(|one, other| one.person.name.cmp(&other.person.name));
        let audience = members.iter().map(|member| member.person.clone()).collect();
        let group = Group {
            name: asked.name.clone(),
            description: asked.description.clone(),
            photo: asked.photo.clone().filter(|photo| !photo.url.is_empty()),
            settings: over(v1::GroupSettings::default(), asked.settings.as_ref()),
            invite: String::new(),
            creator: me.clone(),
            members,
        };
        self.groups.insert(chat.clone(), group);
        let snapshot = self.snapshot(&chat);
        let seq = self.happens(&chat, &me, Change::Created(snapshot.clone()), audience);
        Ok(Answer::Group(seq, snapshot.into()))
    }

    pub(crate) fn add(&mut self, ask: &Ask, asked: &v1::GroupUsers) -> Answered {
        let (me, chat) = (self.person(&ask.user), format!("g/{}", asked.group));
        if asked.users.is_empty() {
            return Err(ErrorCode::InvalidPayload);
        }
        let guessed = self.has_guessed_too_much(&ask.user);
        self.may(&chat, &me, v1::GroupSettings::admins_add)?;
        let members = self.members(&chat);
        let new: Vec<String> = once(&asked.users)
            .into_iter()
            .filter(|name| !members.iter().any(|member| member.person.name == *name))
            .collect();
        if new.is_empty() {
            return Ok(Answer::Done);
        }
        self.find(ask, &new, guessed)?;
        let persons: Vec<Person> = new.iter().map(|name| self.person(name)).collect();
        Ok(Answer::Number(self.welcome(&chat, &me, Change::Added(users(&new)), &persons)))
    }

    pub(crate) fn join(&mut self, ask: &Ask, asked: &v1::GroupJoin) -> Answered {
        let (me, chat) = (self.person(&ask.user), format!("g/{}", asked.group));
        if self.is_member(&chat, &me) {
            return Ok(Answer::Group(0, self.snapshot(&chat).into()));
        }
        let invite = self.groups.get(&chat).map_or("", |group| &group.invite);
        if invite.is_empty() || asked.invite != invite || self.members(&chat).is_empty() {
            return Err(ErrorCode::Forbidden);
        }
        let joined = Change::Joined(users(std::slice::from_ref(&ask.user)));
        let seq = self.welcome(&chat, &me, joined, std::slice::from_ref(&me));
        Ok(Answer::Group(seq, self.snapshot(&chat).into()))
    }

    pub(crate) fn update(&mut self, ask: &Ask, asked: &v1::GroupUpdate) -> Answered {
        let (me, chat) = (self.person(&ask.user), format!("g/{}", asked.group));
        if asked.name.as_ref().is_some_and(|name| name.trim().is_empty()) {
            return Err(ErrorCode::InvalidPayload);
        }
        self.may(&chat, &me, v1::GroupSettings::admins_edit)?;
        let before = self.info(&chat);
        let group = self.groups.get_mut(&chat).expect("who may is in it");
        group.name = asked.name.clone().unwrap_or_else(|| group.name.clone());
        group.description = asked.description.clone().unwrap_or_else(|| group.description.clone());
        if let Some(photo) = &asked.photo {
            group.photo = Some(photo.clone()).filter(|photo| !photo.url.is_empty());
        }
        Ok(self.updated(&chat, &me, &before))
    }

    pub(crate) fn configure(&mut self, ask: &Ask, asked: &v1::GroupConfigure) -> Answered {
        let (me, chat) = (self.person(&ask.user), format!("g/{}", asked.group));
        if asked.settings.as_ref().is_none_or(|settings| *settings == v1::GroupSettings::default()) {
            return Err(ErrorCode::InvalidPayload);
        }
        self.may(&chat, &me, |_| true)?;
        let before = self.info(&chat);
        let group = self.groups.get_mut(&chat).expect("who may is in it");
        group.settings = over(group.settings, asked.settings.as_ref());
        Ok(self.updated(&chat, &me, &before))
    }

    pub(crate) fn remove(&mut self, ask: &Ask, asked: &v1::GroupUsers) -> Answered {
        let (me, chat) = (self.person(&ask.user), format!("g/{}", asked.group));
        if asked.users.is_empty() {
            return Err(ErrorCode::InvalidPayload);
        }
        self.may(&chat, &me, |_| true)?;
        if asked.users.contains(&ask.user) {
            return Err(ErrorCode::InvalidPayload);
        }
        let members = self.members(&chat);
        let gone: Vec<String> = once(&asked.users)
            .into_iter()
            .filter(|name| members.iter().any(|member| member.person.name == *name))
            .collect();
        if gone.is_empty() {
            return Ok(Answer::Done);
        }
        let seq = self.happens(&chat, &me, Change::Removed(users(&gone)), audience(&members));
        let group = self.groups.get_mut(&chat).expect("who may is in it");
        group.members.retain(|member| !gone.contains(&member.person.name));
        self.strike_the_removed(&chat);
        Ok(Answer::Number(seq))
    }

    pub(crate) fn set_role(&mut self, ask: &Ask, asked: &v1::GroupUsers, admin: bool) -> Answered {
        let (me, chat) = (self.person(&ask.user), format!("g/{}", asked.group));
        if asked.users.is_empty() {
            return Err(ErrorCode::InvalidPayload);
        }
        self.may(&chat, &me, |_| true)?;
        let mut members = self.members(&chat);
        let mut changed = Vec::new();
        for name in once(&asked.users) {
            let member = members.iter_mut().find(|member| member.person.name == name);
            let member = member.ok_or(ErrorCode::InvalidPayload)?;
            if member.admin != admin {
                member.admin = admin;
                changed.push(name);
            }
        }
        if changed.is_empty() {
            return Ok(Answer::Done);
        }
        if !members.iter().any(|member| member.admin) {
            return Err(ErrorCode::Forbidden);
        }
        let change = if admin { Change::Promoted(users(&changed)) } else { Change::Demoted(users(&changed)) };
        let seq = self.happens(&chat, &me, change, audience(&members));
        self.groups.get_mut(&chat).expect("who may is in it").members = members;
        Ok(Answer::Number(seq))
    }

    pub(crate) fn leave(&mut self, ask: &Ask, asked: &v1::GroupNamed) -> Answered {
        let (me, chat) = (self.person(&ask.user), format!("g/{}", asked.group));
        let members = self.members(&chat);
        if !members.iter().any(|member| member.person == me) {
            let was = self.newest_seen(&me, &chat) > 0;
            return if was { Ok(Answer::Done) } else { Err(ErrorCode::Forbidden) };
        }
        let mut left: Vec<Member> = members.iter().filter(|member| member.person != me).cloned().collect();
        let longest = left.iter().map(|member| (member.since, member.person.name.clone())).min();
        if let Some((_, heir)) = longest
            && !left.iter().any(|member| member.admin)
        {
            self.happens(
                &chat,
                &me,
                Change::Promoted(users(std::slice::from_ref(&heir))),
                audience(&members),
            );
            for member in left.iter_mut().filter(|member| member.person.name == heir) {
                member.admin = true;
            }
        }
        let gone = Change::Left(users(std::slice::from_ref(&ask.user)));
        let seq = self.happens(&chat, &me, gone, audience(&members));
        self.groups.get_mut(&chat).expect("there are members").members = left;
        Ok(Answer::Number(seq))
    }

    pub(crate) fn invite(&mut self, ask: &Ask, asked: &v1::GroupInvite, heard: &Answer) -> Answered {
        let (me, chat) = (self.person(&ask.user), format!("g/{}", asked.group));
        let get = asked.action() == v1::group_invite::Action::Get;
        self.may(&chat, &me, |settings| !get || settings.admins_add())?;
        let group = self.groups.get_mut(&chat).expect("who may is in it");
        match asked.action() {
            v1::group_invite::Action::Get if !group.invite.is_empty() => {}
            v1::group_invite::Action::Revoke => group.invite.clear(),
            // A secret is new, and told.
            _ => match heard {
                Answer::Invite(secret) if secret.len() > 20 && *secret != group.invite => {
                    group.invite.clone_from(secret);
                }
                _ => return Ok(Answer::Invite("a new secret".to_owned())),
            },
        }
        Ok(Answer::Invite(group.invite.clone()))
    }

    pub(crate) fn get(&mut self, ask: &Ask, asked: &v1::GroupNamed) -> Answered {
        let chat = format!("g/{}", asked.group);
        if !self.is_member(&chat, &self.person(&ask.user)) {
            return Err(ErrorCode::Forbidden);
        }
        Ok(Answer::Group(0, self.snapshot(&chat).into()))
    }

    /// Whether a member may do what is for admins alone where `only` says so.
    fn may(
        &self,
        chat: &str,
        me: &Person,
        only: impl FnOnce(&v1::GroupSettings) -> bool,
    ) -> Result<(), ErrorCode> {
        let group = self.groups.get(chat).ok_or(ErrorCode::Forbidden)?;
        let may = self.is_member(chat, me) && (!only(&group.settings) || self.is_in_charge(chat, me));
        if may { Ok(()) } else { Err(ErrorCode::Forbidden) }
    }

    /// All of them have to be there.
    fn find(&mut self, ask: &Ask, names: &[String], guessed: bool) -> Result<(), ErrorCode> {
        if !names.is_empty() && guessed {
            return Err(ErrorCode::RateLimited);
        }
        if names.iter().all(|name| self.exists(name)) {
            return Ok(());
        }
        self.note_guess(&ask.user);
        Err(ErrorCode::NoSuchUser)
    }

    fn updated(&mut self, chat: &str, me: &Person, before: &v1::GroupInfo) -> Answer {
        let info = self.info(chat);
        if info == *before {
            return Answer::Done;
        }
        self.strike_the_removed(chat);
        let members = self.members(chat);
        Answer::Number(self.happens(chat, me, Change::Updated(info), audience(&members)))
    }

    fn happens(&mut self, chat: &str, me: &Person, change: Change, audience: Vec<Person>) -> u64 {
        let change = v1::GroupChange { change: Some(change), group: None };
        let content = v1::Message { change: Some(change), ..v1::Message::default() };
        let (sender, id) = (me.clone(), Vec::new());
        let message = Message {
            sender,
            time_ms: 0,
            expires_at_ms: 0,
            id,
            content,
            is_said: false,
            erased: false,
            alone: false,
            audience,
        };
        self.tell(chat, message, None, None)
    }

    /// Some become members: they see from here on, beginning with the group as it is.
    fn welcome(&mut self, chat: &str, me: &Person, change: Change, new: &[Person]) -> u64 {
        let since = self.said(chat).len() as u64 + 1;
        let seen_last: Vec<u64> = new.iter().map(|person| self.newest_seen(person, chat)).collect();
        let mut members = self.members(chat);
        members.extend(new.iter().map(|person| Member { person: person.clone(), admin: false, since }));
        members.sort_by(|one, other| one.person.name.cmp(&other.person.name));
        let audience = audience(&members);
        self.groups.get_mut(chat).expect("it is there").members = members;
        let snapshot = self.snapshot(chat);
        let seq = self.happens(chat, me, change, audience);
        for (person, seen_last) in new.iter().zip(seen_last) {
            let log = &mut self.user(&person.name).log;
            let Some(Entry { event: Kind::Message(message), to: To::All, .. }) = log.last_mut() else {
                panic!("they were told just now")
            };
            message.prev_seq = if seen_last == seq - 1 { 0 } else { seen_last };
            message.change.as_mut().expect("it is a change").group = Some(snapshot.clone());
        }
        seq
    }

    /// What a group shows of itself.
    pub(crate) fn info(&self, chat: &str) -> v1::GroupInfo {
        let group = &self.groups[chat];
        v1::GroupInfo {
            name: group.name.clone(),
            description: group.description.clone(),
            photo: group.photo.clone(),
            members: self.members(chat).len() as u32,
            admins_post: group.settings.admins_post(),
            admins_edit: group.settings.admins_edit(),
            admins_add: group.settings.admins_add(),
        }
    }

    /// All that members may know of it.
    pub(crate) fn snapshot(&self, chat: &str) -> v1::Group {
        let member = |member: Member| v1::GroupMember { user: member.person.name, admin: member.admin };
        v1::Group {
            group: chat.trim_start_matches("g/").to_owned(),
            info: Some(self.info(chat)),
            members: self.members(chat).into_iter().map(member).collect(),
        }
    }
}

/// Each name once, in order.
fn once(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    names
}

fn users(names: &[String]) -> v1::Users {
    v1::Users { users: names.to_vec() }
}

fn audience(members: &[Member]) -> Vec<Person> {
    members.iter().map(|member| member.person.clone()).collect()
}

fn over(before: v1::GroupSettings, new: Option<&v1::GroupSettings>) -> v1::GroupSettings {
    let new = new.copied().unwrap_or_default();
    v1::GroupSettings {
        admins_post: new.admins_post.or(before.admins_post),
        admins_edit: new.admins_edit.or(before.admins_edit),
        admins_add: new.admins_add.or(before.admins_add),
    }
}
