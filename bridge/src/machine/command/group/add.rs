//! `GroupAdd`: users become members of a group.

use super::create::{find, too_many};
use super::story::{Story, names};
use super::{Scene, each_once};
use crate::machine::command::{Caller, Decision, Missing, View};
use crate::machine::record::Member;
use crate::machine::{Change, Env, Outcome};
use chasqui_proto::limits::GROUP_MAX_MEMBERS;
use chasqui_proto::v1::group_change::Change as Happened;
use chasqui_proto::{GroupId, UserId};

/// Users are to be members of a group. Those who are already are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupAdd {
    /// Who asks.
    pub caller: Caller,
    /// Which group.
    pub group: GroupId,
    /// Who.
    pub users: Vec<UserId>,
}

impl GroupAdd {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let scene = Scene::load(view, &self.caller, &self.group)?;
        if let Some(refusal) = scene.forbidden(view, !scene.group.settings.admins_add, env)? {
            return scene.refuse(view, refusal);
        }
        let mut group = scene.living(view, env)?;
        let mut new = each_once(&self.users);
        new.retain(|user| group.member(user).is_none());
        if new.is_empty() {
            return Ok(Decision::only(Outcome::Done));
        }
        let users = match find(view, &new, env)? {
            Ok(users) => users,
            Err(refusal) => return scene.refuse(view, refusal),
        };

        let mut story = Story::begin(view, &self.group, scene.conversation, env);
        let since = story.next();
        for (user, record) in new.iter().copied().zip(users) {
            if !record.exists {
                story.change(Change::CreateUser { user: user.clone(), at_ms: env.now_ms });
            }
            group.put(Member { user: user.clone(), life: record.lives, admin: false, since });
        }
        if group.members.len() > GROUP_MAX_MEMBERS {
            return scene.refuse(view, too_many());
        }
        let time_ms = story.time_ms();
        let happened = Happened::Added(names(new.iter().copied()));
        let seq = story.welcome(&self.caller.user, happened, &group, &new);
        story.becomes(group);
        Ok(Decision { changes: story.end()?, outcome: Outcome::Accepted { seq, time_ms } })
    }
}
