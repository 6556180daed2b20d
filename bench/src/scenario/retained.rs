//! Retained messages in great number, and clients that look for a few of them at a time. What was retained is removed in the end.

use super::{Common, Messages, run_name};
use crate::role::{Role, Shelf};
use crate::run::{Plan, Until};
use clap::Args;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct Retained {
    /// Groups of retained messages.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub groups: u64,
    /// Messages in each: what one look finds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub per_group: u64,
    /// Clients that publish them.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub publishers: u32,
    /// Publishes that a client has unacknowledged at a time.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub window: u32,
    /// Clients that subscribe to a group, take what is there, and go on to another.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub lookers: u32,
    #[command(flatten)]
    pub(crate) messages: Messages,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Retained {
    /// What is done.
    pub fn plan(&self) -> Plan {
        let run = run_name();
        let mut plan = self.common.plan(self.messages.manner(&self.common, 1, self.window));
        let publishers = u64::from(self.publishers).min(self.groups);
        let client = |number: u64| Role {
            number: number as u32,
            client_id: format!("{run}-{number}"),
            clean: true,
            ..Role::default()
        };
        let shelf =
            |first: u64, groups: u64| Shelf { prefix: run.clone(), first, groups, per_group: self.per_group };
        for number in 0..publishers {
            // As even as can be.
            let begins = |number: u64| self.groups * number / publishers;
            let groups = begins(number + 1) - begins(number);
            plan.roles.push(Role {
                retains: Some(shelf(begins(number), groups)),
                quota: Some(groups * self.per_group),
                ..client(number)
            });
        }
        let looker =
            |number| Role { looks: Some(shelf(0, self.groups)), ..client(publishers + u64::from(number)) };
        plan.roles.extend((0..self.lookers).map(looker));
        plan.warm_up = Until::Acked(self.groups * self.per_group);
        plan
    }
}
