//! `GroupRoles`: members become admins of a group, or are admins no more.

use super::story::{Story, names};
use super::{Scene, each_once, heir};
use crate::machine::command::{Caller, Decision, Missing, View};
use crate::machine::{Env, Outcome};
use chasqui_proto::v1::group_change::Change as Happened;
use chasqui_proto::{ErrorCode, GroupId, Refusal, UserId};

/// An admin makes members admins, or takes that from them. Those who are what they shall be are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRoles {
    /// Who asks.
    pub caller: Caller,
    /// Which group.
    pub group: GroupId,
    /// Whom.
    pub users: Vec<UserId>,
    /// What they are to be.
    pub role: Role,
}

/// What a member of a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// May do everything.
    Admin,
    /// May do what is not for admins only.
    Member,
}

impl GroupRoles {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let scene = Scene::load(view, &self.caller, &self.group)?;
        if let Some(refusal) = scene.forbidden(view, false, env)? {
            return scene.refuse(view, refusal);
        }
        let mut group = scene.living(view, env)?;
        let mut changed = Vec::new();
        for user in each_once(&self.users) {
            let Some(member) = group.member_mut(user) else {
                let sentence = format!("{user} is no member of this group; nothing was changed");
                return scene.refuse(view, Refusal::because(ErrorCode::InvalidPayload, sentence));
            };
            let admin = self.role == Role::Admin;
            if std::mem::replace(&mut member.admin, admin) != admin {
                changed.push(user);
            }
        }
        if changed.is_empty() {
            return Ok(Decision::only(Outcome::Done));
        }
        if heir(view, &group, env)?.is_some() {
            let sentence = "a group with members has an admin: promote somebody first";
            return scene.refuse(view, Refusal::because(ErrorCode::Forbidden, sentence));
        }
        let mut story = Story::begin(view, &self.group, scene.conversation, env);
        let time_ms = story.time_ms();
        let changed = names(changed);
        let happened = match self.role {
            Role::Admin => Happened::Promoted(changed),
            Role::Member => Happened::Demoted(changed),
        };
        let seq = story.tell(&self.caller.user, happened, &group.members);
        story.becomes(group);
        Ok(Decision { changes: story.end()?, outcome: Outcome::Accepted { seq, time_ms } })
    }
}
