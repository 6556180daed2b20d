//! A broker that is killed and started again while persistent sessions write to each other: what was acknowledged has to arrive.

use super::{Common, Messages, chat_manner, chat_pair, pair};
use crate::crash;
use crate::run::Plan;
use clap::Args;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct Crash {
    /// What starts the broker again, as a line for `sh`; it is ended when the run is.
    #[arg(long)]
    pub restart: String,
    /// How often it is killed, with SIGKILL, spread over the measurement.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub kills: u32,
    /// Clients: each publishes to the next.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub clients: u32,
    /// Publishes that a client has unacknowledged at a time.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub window: u32,
    /// Over the topics of Chasqui: users who write to each other.
    #[arg(long)]
    pub chat: bool,
    #[command(flatten)]
    pub(crate) messages: Messages,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Crash {
    /// What is done.
    pub fn plan(&self) -> Plan {
        let mut plan = if self.chat {
            let manner = chat_manner(&self.common, self.messages.size.max(40), self.window as usize);
            Plan { roles: chat_pair::roles(self.clients), ..self.common.plan(manner) }
        } else {
            let manner = self.messages.manner(&self.common, 1, self.window);
            Plan { roles: pair::roles(self.clients, false), ..self.common.plan(manner) }
        };
        plan.manner.resilient = true;
        plan.crash = Some(crash::Crash { restart: self.restart.clone(), kills: self.kills });
        plan
    }
}
