//! Each client publishes to the next, so many unacknowledged at a time.

use super::{Common, Messages, run_name};
use crate::role::Role;
use crate::run::Plan;
use clap::Args;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct Pair {
    /// Clients.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub clients: u32,
    /// Publishes that a client has unacknowledged at a time.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub window: u32,
    /// Persistent sessions, with everything that this means for the broker.
    #[arg(long)]
    pub persistent: bool,
    /// The QoS to publish and to subscribe with; QoS 0 has no acknowledgement to wait for: see `rate`.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub qos: u8,
    #[command(flatten)]
    pub(crate) messages: Messages,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Pair {
    /// What is done.
    pub fn plan(&self) -> Plan {
        let mut plan = self.common.plan(self.messages.manner(&self.common, self.qos, self.window));
        plan.roles = roles(self.clients, !self.persistent);
        plan
    }
}

/// A ring of clients: each hears the one before, and publishes to the one behind.
pub(super) fn roles(clients: u32, clean: bool) -> Vec<Role> {
    let run = run_name();
    let role = |number: u32| Role {
        number,
        client_id: format!("{run}-{number}"),
        user: None,
        clean,
        filter: Some(format!("{run}/{number}")),
        publishes_to: Some(format!("{run}/{}", (number + 1) % clients)),
        hears: vec![(number + clients - 1) % clients],
        ..Role::default()
    };
    (0..clients).map(role).collect()
}
