//! Clients that connect, subscribe, disconnect, and come again.

use super::{Common, run_name};
use crate::role::{Role, Stay};
use crate::run::Plan;
use clap::Args;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct Churn {
    /// Clients, each connected or about to be.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub clients: u32,
    /// Sessions end with their connections.
    #[arg(long)]
    pub clean: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Churn {
    /// What is done.
    pub fn plan(&self) -> Plan {
        let run = run_name();
        let mut plan = self.common.plan(self.common.quiet());
        let client = |number: u32| Role {
            number,
            client_id: format!("{run}-{number}"),
            clean: self.clean,
            filter: Some(format!("{run}/{number}")),
            stay: Stay::Churning,
            ..Role::default()
        };
        plan.roles = (0..self.clients).map(client).collect();
        plan
    }
}
