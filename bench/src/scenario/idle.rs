//! Clients that connect, subscribe to a topic of their own, and do nothing: what a connection costs in memory.

use super::{Common, run_name};
use crate::role::Role;
use crate::run::Plan;
use clap::Args;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct Idle {
    /// Clients.
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub clients: u32,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Idle {
    /// What is done.
    pub fn plan(&self) -> Plan {
        let run = run_name();
        let mut plan = self.common.plan(self.common.quiet());
        let client = |number: u32| Role {
            number,
            client_id: format!("{run}-{number}"),
            clean: true,
            filter: Some(format!("{run}/{number}")),
            ..Role::default()
        };
        plan.roles = (0..self.clients).map(client).collect();
        plan
    }
}
