//! Commands about groups: one file each. What they share is here: the group and who asks, and what is [told](story) to its members.
//!
//! **Invariants.** Every change of what a group is, or of who is in it, is a message of its conversation, and holds from that number on:
//! who is no member any more gets that message and none after it. A group with members has an admin, or
//! who has been one of them for longest stands in. Who is no member learns nothing, not
//! even whether there is such a group.

mod add;
mod ask;
mod create;
mod edit;
mod invite;
mod leave;
pub(super) mod receipts;
mod roles;
pub(super) mod send;
pub(super) mod story;

pub use add::GroupAdd;
pub use ask::GroupGet;
use chasqui_proto::{ConversationId, ErrorCode, GroupId, Refusal, Seq, UserId};
pub use create::GroupCreate;
pub(super) use create::removed;
pub use edit::{GroupEdit, NewSettings, NewText};
pub use invite::{GroupInvite, GroupJoin, InviteAction};
pub use leave::{GroupLeave, GroupRemove};
pub use roles::{GroupRoles, Role};

use super::reject::refuse;
use super::{Caller, Decision, Missing, View};
use crate::machine::Env;
use crate::machine::record::{Conversation, Group, Member, Membership, User};
use std::borrow::Cow;

/// Whether a member is a user: of a removed one only the name is left, and whoever has it now is somebody else. With `--dev` a user comes
/// into being when first named, so one is who they are before they do anything.
pub(super) fn is_alive(member: &Member, user: &User, dev: bool) -> bool {
    (user.exists || dev) && user.lives == member.life
}

/// A group as it is: without those whose accounts were removed, who are no members any more.
pub(super) fn living<'g>(view: &impl View, group: &'g Group, env: &Env) -> Result<Cow<'g, Group>, Missing> {
    let mut missing = Missing::default();
    let mut lives = |member: &Member| {
        missing.note(view.user(&member.user)).is_none_or(|user| is_alive(member, user, env.dev))
    };
    let dead: Vec<&UserId> =
        group.members.iter().filter(|member| !lives(member)).map(|member| &member.user).collect();
    if !missing.0.is_empty() {
        return Err(missing);
    }
    if dead.is_empty() {
        return Ok(Cow::Borrowed(group));
    }
    let mut group = group.clone();
    for user in dead {
        group.take(user);
    }
    Ok(Cow::Owned(group))
}

/// Who may what admins may in a group that has none, for its last one left or was removed as a user: who has been a member for longest.
fn heir<'g>(view: &impl View, group: &'g Group, env: &Env) -> Result<Option<&'g Member>, Missing> {
    let mut missing = Missing::default();
    let mut is_alive = |member: &Member| {
        missing.note(view.user(&member.user)).is_some_and(|user| is_alive(member, user, env.dev))
    };
    let has_admin = group.members.iter().filter(|member| member.admin).any(&mut is_alive);
    let mut members: Vec<&Member> = group.members.iter().collect();
    members.sort_by_key(|member| member.since);
    let heir = if has_admin { None } else { members.into_iter().find(|member| is_alive(member)) };
    if missing.0.is_empty() { Ok(heir) } else { Err(missing) }
}

/// A group, and who asks something of it.
pub(super) struct Scene<'a> {
    caller: &'a Caller,
    user: &'a User,
    group: &'a Group,
    conversation: &'a Conversation,
}

/// What is refused to who is no member: the same as if there were no such group.
pub(super) fn not_a_member() -> Refusal {
    Refusal::because(ErrorCode::Forbidden, "this user is no member of this group, if there is one")
}

/// What is refused to who is no admin.
pub(super) fn not_an_admin() -> Refusal {
    Refusal::because(ErrorCode::Forbidden, "only admins of the group may do this")
}

impl<'a> Scene<'a> {
    pub(super) fn load(
        view: &'a impl View,
        caller: &'a Caller,
        id: &'a GroupId,
    ) -> Result<Scene<'a>, Missing> {
        let mut missing = Missing::default();
        let user = missing.note(view.user(&caller.user));
        let group = missing.note(view.group(id));
        let conversation = missing.note(view.conversation(&ConversationId::Group(id.clone())));
        match (user, group, conversation) {
            (Some(user), Some(group), Some(conversation)) => Ok(Scene { caller, user, group, conversation }),
            _ => Err(missing),
        }
    }

    /// Who asks, if they are a member.
    pub(super) fn me(&self) -> Option<&'a Member> {
        let me = self.group.member(&self.caller.user)?;
        is_alive(me, self.user, false).then_some(me)
    }

    /// The record of who asks.
    pub(super) fn user(&self) -> &'a User {
        self.user
    }

    /// The group.
    pub(super) fn group(&self) -> &'a Group {
        self.group
    }

    /// The group as it is. Who changes it next writes down who is no member any more.
    pub(super) fn living(&self, view: &impl View, env: &Env) -> Result<Group, Missing> {
        living(view, self.group, env).map(Cow::into_owned)
    }

    /// Its conversation.
    pub(super) fn conversation(&self) -> &'a Conversation {
        self.conversation
    }

    /// The newest message.
    pub(super) fn head(&self) -> Seq {
        self.conversation.head
    }

    /// Whether who asks may see a message: what they have to do with the group says so, if it is theirs and not of a user of the same
    /// name before.
    pub(super) fn sees(&self, membership: &Membership, seq: Seq) -> bool {
        self.is_theirs(membership) && membership.covers(seq)
    }

    fn is_theirs(&self, membership: &Membership) -> bool {
        membership.life == self.user.lives
    }

    /// Whether who asks hides what they read.
    pub(super) fn hides_reads(&self) -> bool {
        self.user.hides_reads
    }

    /// Why who asks may not do what is for admins, or where `all` says so for all members.
    fn forbidden(&self, view: &impl View, all: bool, env: &Env) -> Result<Option<Refusal>, Missing> {
        Ok(match self.me() {
            None => Some(not_a_member()),
            Some(me) if all || me.admin => None,
            Some(me) => (heir(view, self.group, env)? != Some(me)).then(not_an_admin),
        })
    }

    /// Whether who asks is an admin, or stands in for one.
    pub(super) fn governs(&self, view: &impl View, env: &Env) -> Result<bool, Missing> {
        Ok(self.forbidden(view, false, env)?.is_none())
    }

    fn refuse(&self, view: &impl View, refusal: impl Into<Refusal>) -> Result<Decision, Missing> {
        refuse(view, self.caller, None, refusal.into())
    }
}

/// Each user once, in the order of their ids.
pub(super) fn each_once(users: &[UserId]) -> Vec<&UserId> {
    let mut users: Vec<&UserId> = users.iter().collect();
    users.sort_unstable();
    users.dedup();
    users
}

#[cfg(test)]
pub(super) mod tests;
