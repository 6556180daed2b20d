//! Chasqui's own `pair`: each user sends to the next, with everything that a message there is: sequenced, flushed, in an inbox, and
//! delivered, which its sender is told.

use super::{Common, chat_manner, run_name};
use crate::role::Role;
use crate::run::Plan;
use clap::Args;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct ChatPair {
    /// Users, each with a device that subscribes to all that is its user's.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub clients: u32,
    /// Messages that a device has unacknowledged at a time; with --rate, as many as are due.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub window: u32,
    /// Messages each second, all together, instead of a window.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate: Option<u32>,
    /// Letters of a text: 40 of them at least say which message it is.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(40..=60_000))]
    pub size: u32,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl ChatPair {
    /// What is done.
    pub fn plan(&self) -> Plan {
        let window = if self.rate.is_some() { 0 } else { self.window as usize };
        let mut plan = self.common.plan(chat_manner(&self.common, self.size, window));
        plan.roles = roles(self.clients);
        plan.rate = self.rate.map(f64::from);
        plan
    }
}

/// A ring of users: each hears the one before, and writes to the one behind.
pub(super) fn roles(users: u32) -> Vec<Role> {
    let run = run_name();
    let user = |number: u32| format!("{run}-{number}");
    let role = |number: u32| Role {
        number,
        client_id: "phone".to_owned(),
        user: Some(user(number)),
        clean: false,
        filter: Some(format!("u/{}/#", user(number))),
        publishes_to: Some(format!("u/{}/send", user((number + 1) % users))),
        hears: vec![(number + users - 1) % users],
        ..Role::default()
    };
    (0..users).map(role).collect()
}
