//! `GroupEdit`: what a group shows of itself, and what only its admins may, changes.

use super::Scene;
use super::story::Story;
use crate::machine::command::{Caller, Decision, Missing, View};
use crate::machine::record::Settings;
use crate::machine::{Env, Outcome};
use bytes::Bytes;
use chasqui_proto::GroupId;
use chasqui_proto::v1::group_change::Change as Happened;

/// A group is to be described, or governed, in another way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupEdit {
    /// Who asks.
    pub caller: Caller,
    /// Which group.
    pub group: GroupId,
    /// What it shows of itself: for all members, unless only admins may.
    pub text: NewText,
    /// What only admins may: for admins to say.
    pub settings: NewSettings,
}

/// What a group is to show of itself, checked; `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewText {
    /// Its name.
    pub name: Option<String>,
    /// What it is about.
    pub description: Option<String>,
    /// Its picture: an encoded `Media`, or nothing.
    pub photo: Option<Bytes>,
}

/// What only admins are to may; `None` stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewSettings {
    /// Send messages.
    pub admins_post: Option<bool>,
    /// Change name, description and photo.
    pub admins_edit: Option<bool>,
    /// Add members, and ask for the invite link.
    pub admins_add: Option<bool>,
}

impl NewSettings {
    /// The settings that come of it.
    pub fn over(self, before: Settings) -> Settings {
        Settings {
            admins_post: self.admins_post.unwrap_or(before.admins_post),
            admins_edit: self.admins_edit.unwrap_or(before.admins_edit),
            admins_add: self.admins_add.unwrap_or(before.admins_add),
        }
    }
}

impl GroupEdit {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let scene = Scene::load(view, &self.caller, &self.group)?;
        let for_all = self.settings == NewSettings::default() && !scene.group.settings.admins_edit;
        if let Some(refusal) = scene.forbidden(view, for_all, env)? {
            return scene.refuse(view, refusal);
        }
        let before = scene.living(view, env)?;
        let mut group = before.clone();
        let NewText { name, description, photo } = self.text.clone();
        group.name = name.unwrap_or(group.name);
        group.description = description.unwrap_or(group.description);
        group.photo = photo.unwrap_or(group.photo);
        group.settings = self.settings.over(group.settings);
        if group == before {
            return Ok(Decision::only(Outcome::Done));
        }
        let mut story = Story::begin(view, &self.group, scene.conversation, env);
        let time_ms = story.time_ms();
        let seq = story.tell(&self.caller.user, Happened::Updated(group.info()), &group.members);
        story.becomes(group);
        Ok(Decision { changes: story.end()?, outcome: Outcome::Accepted { seq, time_ms } })
    }
}
