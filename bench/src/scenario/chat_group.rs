//! Chasqui's own `fanout`: one member of a group writes, and all others receive, each in their own log, and acknowledge, which the writer is told.

use super::{Common, chat_manner, run_name};
use crate::role::{Prepares, Role};
use crate::run::Plan;
use chasqui_proto::v1;
use clap::Args;
use prost::Message as _;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct ChatGroup {
    /// Members beside the one who writes, each with a device that subscribes to all that is its user's.
    #[arg(long, default_value_t = 255, value_parser = clap::value_parser!(u32).range(1..=255))]
    pub members: u32,
    /// Messages that the writer has unacknowledged at a time; with --rate, as many as are due.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub window: u32,
    /// Messages to the group each second, instead of a window.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
    /// Letters of a text: 40 of them at least say which message it is.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(40..=60_000))]
    pub size: u32,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl ChatGroup {
    /// What is done.
    pub fn plan(&self) -> Plan {
        let run = run_name();
        let window = if self.rate.is_some() { 0 } else { self.window as usize };
        let mut plan = self.common.plan(chat_manner(&self.common, self.size, window));
        let user = |number: u32| format!("{run}-{number}");
        let client = |number: u32| Role {
            number,
            client_id: "phone".to_owned(),
            user: Some(user(number)),
            clean: false,
            filter: Some(format!("u/{}/#", user(number))),
            ..Role::default()
        };
        let create = v1::GroupCreate {
            group: run.clone(),
            name: "A group".to_owned(),
            members: (1..=self.members).map(user).collect(),
            ..v1::GroupCreate::default()
        };
        plan.roles.push(Role {
            publishes_to: Some(format!("g/{run}/send")),
            prepares: Some(Prepares { topic: "do/group.create".to_owned(), payload: create.encode_to_vec() }),
            ..client(0)
        });
        plan.roles.extend((1..=self.members).map(|number| Role { hears: vec![0], ..client(number) }));
        plan.rate = self.rate.map(f64::from);
        plan
    }
}
