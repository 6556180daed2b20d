//! `GroupCreate`: a group comes into being.

use super::story::Story;
use super::{Scene, each_once};
use crate::machine::command::{Caller, Decision, Missing, View};
use crate::machine::outcome::Answered;
use crate::machine::record::{Group, Member, Settings, User};
use crate::machine::{Change, Env};
use bytes::Bytes;
use chasqui_proto::limits::GROUP_MAX_MEMBERS;
use chasqui_proto::v1::group_change::Change as Happened;
use chasqui_proto::{ErrorCode, GroupId, Refusal, Seq, UserId};

/// A group is to be, with who asks for it as its admin.
///
/// Who made a group and says so again gets the first answer while they are a member: a retry makes no second one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupCreate {
    /// Who asks.
    pub caller: Caller,
    /// Its id: chosen by who asks, or by the server for them.
    pub group: GroupId,
    /// Its name, checked.
    pub name: String,
    /// What it is about, checked.
    pub description: String,
    /// Its picture, checked: an encoded `Media`, or nothing.
    pub photo: Bytes,
    /// What only admins may.
    pub settings: Settings,
    /// Who else is a member from the start.
    pub members: Vec<UserId>,
}

impl GroupCreate {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let scene = Scene::load(view, &self.caller, &self.group)?;
        let me = &self.caller.user;
        if !scene.user.exists && !env.dev {
            return scene.refuse(view, removed());
        }
        if scene.group.exists {
            // Who has the name of a maker whose account was removed was not there when it was made.
            let made_it = scene.group.creator.as_ref() == Some(me)
                && scene.sees(view.membership(&self.group, me)?, Seq(1));
            if made_it && scene.me().is_some() {
                return Ok(Decision::only(
                    Answered::group(Seq(1), &scene.living(view, env)?.snapshot(&self.group)).into(),
                ));
            }
            return scene.refuse(view, ErrorCode::AlreadyExists);
        }
        let others: Vec<&UserId> = each_once(&self.members).into_iter().filter(|user| *user != me).collect();
        if others.len() >= GROUP_MAX_MEMBERS {
            return scene.refuse(view, too_many());
        }
        let users = match find(view, &others, env)? {
            Ok(users) => users,
            Err(refusal) => return scene.refuse(view, refusal),
        };

        let mut group = Group {
            exists: true,
            name: self.name.clone(),
            description: self.description.clone(),
            photo: self.photo.clone(),
            settings: self.settings,
            creator: Some(me.clone()),
            ..Group::default()
        };
        let mut story = Story::begin(view, &self.group, scene.conversation, env);
        let since = story.next();
        let all = others.iter().copied().zip(users).map(|(user, record)| (user, record, false));
        for (user, record, admin) in all.chain([(me, scene.user, true)]) {
            if !record.exists {
                story.change(Change::CreateUser { user: user.clone(), at_ms: env.now_ms });
            }
            group.put(Member { user: user.clone(), life: record.lives, admin, since });
        }
        for member in &group.members {
            story.of(&member.user, |membership| membership.begin(since, member.life));
        }
        let snapshot = group.snapshot(&self.group);
        let seq = story.tell(me, Happened::Created(snapshot.clone()), &group.members);
        story.becomes(group);
        Ok(Decision { changes: story.end()?, outcome: Answered::group(seq, &snapshot).into() })
    }
}

/// What is refused to whom an account was taken from.
pub(in super::super) fn removed() -> Refusal {
    Refusal::because(ErrorCode::Unauthenticated, "the user this connection is for was removed")
}

/// What is refused where a group would have too many members.
pub(super) fn too_many() -> Refusal {
    Refusal::because(ErrorCode::QuotaExceeded, format!("a group has at most {GROUP_MAX_MEMBERS} members"))
}

/// The records of users who are to be in a group, or why they cannot be: there has to be each of them. Who names too many who do not exist is
/// told nothing for a while.
pub(super) fn find<'a>(
    view: &'a impl View,
    users: &[&UserId],
    env: &Env,
) -> Result<Result<Vec<&'a User>, Refusal>, Missing> {
    if let Some(wait_ms) = env.guess_wait_ms.filter(|_| !users.is_empty()) {
        return Ok(Err(Refusal::retry_after(ErrorCode::RateLimited, wait_ms)));
    }
    let mut missing = Missing::default();
    let found: Vec<&User> = users.iter().filter_map(|user| missing.note(view.user(user))).collect();
    if !missing.0.is_empty() {
        return Err(missing);
    }
    let unknown: Vec<&&UserId> = users
        .iter()
        .zip(&found)
        .filter(|(_, record)| !record.exists && !env.dev)
        .map(|(user, _)| user)
        .collect();
    Ok(match unknown.first() {
        None => Ok(found),
        Some(user) => {
            Err(Refusal::because(ErrorCode::NoSuchUser, format!("there is no user {user}; nobody was added")))
        }
    })
}
