//! One client publishes, all others receive everything.

use super::{Common, Messages, run_name};
use crate::role::Role;
use crate::run::Plan;
use clap::Args;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct Fanout {
    /// Clients that receive.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub subscribers: u32,
    /// Publishes that the publisher has unacknowledged at a time.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub window: u32,
    /// The QoS to publish and to subscribe with; QoS 0 has no acknowledgement to wait for: see `rate`.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub qos: u8,
    #[command(flatten)]
    pub(crate) messages: Messages,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Fanout {
    /// What is done.
    pub fn plan(&self) -> Plan {
        let run = run_name();
        let mut plan = self.common.plan(self.messages.manner(&self.common, self.qos, self.window));
        let client = |number: u32| Role {
            number,
            client_id: format!("{run}-{number}"),
            clean: true,
            ..Role::default()
        };
        let topic = format!("{run}/all");
        plan.roles.push(Role { publishes_to: Some(topic.clone()), ..client(0) });
        let subscribers = (1..=self.subscribers).map(|number| Role {
            filter: Some(topic.clone()),
            hears: vec![0],
            ..client(number)
        });
        plan.roles.extend(subscribers);
        plan
    }
}
