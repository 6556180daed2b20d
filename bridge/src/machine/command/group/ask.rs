//! `GroupGet`: what a group is.

use super::{Scene, not_a_member};
use crate::machine::Env;
use crate::machine::command::{Caller, Decision, Missing, View};
use crate::machine::outcome::Answered;
use chasqui_proto::{GroupId, Seq};

/// Asks what a group is. Changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupGet {
    /// Who asks.
    pub caller: Caller,
    /// Which group.
    pub group: GroupId,
}

impl GroupGet {
    pub(crate) fn decide(&self, view: &impl View, env: &Env) -> Result<Decision, Missing> {
        let scene = Scene::load(view, &self.caller, &self.group)?;
        if scene.me().is_none() {
            return scene.refuse(view, not_a_member());
        }
        Ok(Decision::only(Answered::group(Seq::NONE, &scene.living(view, env)?.snapshot(&self.group)).into()))
    }
}
