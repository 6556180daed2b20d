//! `GroupLeave` and `GroupRemove`: members are members no more.

use super::story::{Story, names};
use super::{Scene, each_once, heir, not_a_member};
use crate::machine::command::{Caller, Decision, Missing, View};
use crate::machine::{Env, Outcome};
use crate::mutation::{Mutation, mutated};
use chasqui_proto::v1::group_change::Change as Happened;
use chasqui_proto::{ErrorCode, GroupId, Refusal, UserId};

/// A member goes.
///
/// The last admin hands over to who has been a member for longest. A group whose last member goes has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLeave {
    /// Who.
    pub caller: Caller,
    /// Which group.
    pub group: GroupId,
}

impl GroupLeave {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let scene = Scene::load(view, &self.caller, &self.group)?;
        let me = &self.caller.user;
        if scene.me().is_none() {
            // Whoever has left has left.
            let membership = view.membership(&self.group, me)?;
            return if scene.is_theirs(membership) && membership.ended().is_some() {
                Ok(Decision::only(Outcome::Done))
            } else {
                scene.refuse(view, not_a_member())
            };
        }
        let mut group = scene.living(view, env)?;
        let mut story = Story::begin(view, &self.group, scene.conversation, env);
        let readers = group.members.clone();
        group.take(me);
        if let Some(heir) = heir(view, &group, env)?.map(|heir| heir.user.clone()) {
            story.tell(me, Happened::Promoted(names([&heir])), &readers);
            if let Some(member) = group.member_mut(&heir) {
                member.admin = true;
            }
        }
        let time_ms = story.time_ms();
        let seq = story.tell(me, Happened::Left(names([me])), &readers);
        story.of(me, |membership| membership.end(seq));
        story.becomes(group);
        Ok(Decision { changes: story.end()?, outcome: Outcome::Accepted { seq, time_ms } })
    }
}

/// An admin takes members out of a group. Those who are none are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRemove {
    /// Who asks.
    pub caller: Caller,
    /// Which group.
    pub group: GroupId,
    /// Who goes.
    pub users: Vec<UserId>,
}

impl GroupRemove {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let scene = Scene::load(view, &self.caller, &self.group)?;
        if let Some(refusal) = scene.forbidden(view, false, env)? {
            return scene.refuse(view, refusal);
        }
        let me = &self.caller.user;
        if self.users.contains(me) {
            let sentence = "one leaves a group with group.leave, and is not removed by oneself";
            return scene.refuse(view, Refusal::because(ErrorCode::InvalidPayload, sentence));
        }
        let mut group = scene.living(view, env)?;
        let mut gone = each_once(&self.users);
        gone.retain(|user| group.member(user).is_some());
        if gone.is_empty() {
            return Ok(Decision::only(Outcome::Done));
        }
        let mut story = Story::begin(view, &self.group, scene.conversation, env);
        let time_ms = story.time_ms();
        let seq = story.tell(me, Happened::Removed(names(gone.iter().copied())), &group.members);
        for user in gone {
            if !mutated(Mutation::KeepsRemovedMembers) {
                group.take(user);
            }
            story.of(user, |membership| membership.end(seq));
        }
        story.becomes(group);
        Ok(Decision { changes: story.end()?, outcome: Outcome::Accepted { seq, time_ms } })
    }
}
