//! So many messages each second, whatever the broker does: latency counts from when a message was due, not from when it could be sent, so
//! that a broker that stands still does not hide what it makes everyone wait for.

use super::{Common, Messages, pair};
use crate::run::Plan;
use clap::Args;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct Rate {
    /// Clients: each publishes to the next.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub clients: u32,
    /// Messages each second, all together.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate: u32,
    /// The QoS to publish and to subscribe with.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub qos: u8,
    #[command(flatten)]
    pub(crate) messages: Messages,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Rate {
    /// What is done.
    pub fn plan(&self) -> Plan {
        let mut plan = self.common.plan(self.messages.manner(&self.common, self.qos, 0));
        plan.roles = pair::roles(self.clients, true);
        plan.rate = Some(f64::from(self.rate));
        plan
    }
}
