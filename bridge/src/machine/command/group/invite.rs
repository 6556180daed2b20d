//! `GroupInvite` and `GroupJoin`: who has the secret of a group's link may become a member by themselves.

use super::create::{removed, too_many};
use super::story::{Story, names};
use super::{Scene, not_a_member};
use crate::machine::command::{Caller, Decision, Missing, View};
use crate::machine::outcome::Answered;
use crate::machine::record::Member;
use crate::machine::{Change, Env, Outcome};
use chasqui_proto::limits::GROUP_MAX_MEMBERS;
use chasqui_proto::v1::group_change::Change as Happened;
use chasqui_proto::{GroupId, Seq};

/// Asks for the secret of a group's invite link. Members are not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInvite {
    /// Who asks.
    pub caller: Caller,
    /// Which group.
    pub group: GroupId,
    /// What about it.
    pub action: InviteAction,
    /// A secret that nobody knows yet, for where one is needed.
    pub fresh: String,
}

/// What is to be done about a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteAction {
    /// Told, or made where there is none: by who may add members.
    Get,
    /// Replaced by another: by admins.
    Reset,
    /// Taken away: by admins.
    Revoke,
}

impl GroupInvite {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let scene = Scene::load(view, &self.caller, &self.group)?;
        let for_all = self.action == InviteAction::Get && !scene.group.settings.admins_add;
        if let Some(refusal) = scene.forbidden(view, for_all, env)? {
            return scene.refuse(view, refusal);
        }
        let before = &scene.group.invite;
        let invite = match self.action {
            InviteAction::Get if !before.is_empty() => before.clone(),
            InviteAction::Get | InviteAction::Reset => self.fresh.clone(),
            InviteAction::Revoke => String::new(),
        };
        let mut changes = Vec::new();
        if invite != *before {
            let mut group = scene.group.clone();
            group.invite.clone_from(&invite);
            changes.push(Change::PutGroup { group: self.group.clone(), to: Box::new(group) });
        }
        Ok(Decision { changes, outcome: Answered::invite(invite).into() })
    }
}

/// A user wants to be a member of a group whose secret they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupJoin {
    /// Who.
    pub caller: Caller,
    /// Which group.
    pub group: GroupId,
    /// The secret of its link.
    pub invite: String,
}

impl GroupJoin {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let scene = Scene::load(view, &self.caller, &self.group)?;
        if !scene.user.exists && !env.dev {
            return scene.refuse(view, removed());
        }
        let me = &self.caller.user;
        if scene.me().is_some() {
            let group = scene.living(view, env)?;
            return Ok(Decision::only(Answered::group(Seq::NONE, &group.snapshot(&self.group)).into()));
        }
        let mut group = scene.living(view, env)?;
        // One that was taken away is empty, and opens nothing.
        if group.members.is_empty() || group.invite.is_empty() || group.invite != self.invite {
            return scene.refuse(view, not_a_member());
        }
        let mut story = Story::begin(view, &self.group, scene.conversation, env);
        if !scene.user.exists {
            story.change(Change::CreateUser { user: me.clone(), at_ms: env.now_ms });
        }
        group.put(Member { user: me.clone(), life: scene.user.lives, admin: false, since: story.next() });
        if group.members.len() > GROUP_MAX_MEMBERS {
            return scene.refuse(view, too_many());
        }
        let seq = story.welcome(me, Happened::Joined(names([me])), &group, &[me]);
        let snapshot = group.snapshot(&self.group);
        story.becomes(group);
        let outcome: Outcome = Answered::group(seq, &snapshot).into();
        Ok(Decision { changes: story.end()?, outcome })
    }
}
