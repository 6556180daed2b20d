//! More than the broker carries, and then less: what it keeps, what it holds, and how soon it is itself again.
//!
//! The warm-up finds out what it carries, with windows. The measurement is an open loop at a multiple of that: what is due and cannot be
//! sent waits in the tool, and its time counts. Behind it half of what it carries is published, until 99 of 100 acknowledgements are as
//! fast as is normal for a second. Sessions are persistent: what brokers do with those that are not, when they are slow, differs.

use super::{Common, Messages, chat_manner, chat_pair, pair, run_name};
use crate::role::{Role, Stay};
use crate::run::{Overload as Load, Plan};
use clap::Args;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct Overload {
    /// Clients: each publishes to the next.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(3..=1_000_000))]
    pub clients: u32,
    /// Publishes that a client has unacknowledged at a time while it is found out what the broker carries.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub window: u32,
    /// How many times that is due.
    #[arg(long, default_value_t = 2.0)]
    pub factor: f64,
    /// Publishes that a client has unacknowledged at most, however many are due.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub in_flight: u32,
    /// Clients beside that receive messages and stop reading.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub stuck: u32,
    /// An acknowledgement within so many milliseconds is normal.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub normal_ms: u64,
    /// Over the topics of Chasqui: users who write to each other.
    #[arg(long)]
    pub chat: bool,
    #[command(flatten)]
    pub(crate) messages: Messages,
    #[command(flatten)]
    /// How it is measured.
    pub common: Common,
}

impl Overload {
    /// What is done.
    pub fn plan(&self) -> Plan {
        let size = self.messages.size;
        let mut plan = if self.chat {
            let manner = chat_manner(&self.common, size.max(40), self.window as usize);
            Plan { roles: chat_pair::roles(self.clients), ..self.common.plan(manner) }
        } else {
            let manner = self.messages.manner(&self.common, 1, self.window);
            Plan { roles: pair::roles(self.clients, false), ..self.common.plan(manner) }
        };
        let run = run_name();
        let stuck = (0..self.stuck).map(|number| {
            let peer = &plan.roles[number as usize % self.clients as usize];
            Role {
                number: self.clients + number,
                client_id: format!("{run}-stuck-{number}"),
                clean: false,
                stay: Stay::Stuck,
                publishes_to: None,
                hears: Vec::new(),
                ..peer.clone()
            }
        });
        let stuck: Vec<Role> = stuck.collect();
        plan.roles.extend(stuck);
        plan.manner.most_in_flight = self.in_flight as usize;
        plan.manner.slow_ns = self.normal_ms * 1_000_000;
        plan.overload = Some(Load { factor: self.factor, relief: 0.5 });
        plan
    }
}
