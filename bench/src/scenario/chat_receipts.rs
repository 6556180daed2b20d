//! As `chat-pair`, at a rate, and until the sender hears that a message is on the other's device, and that it was read.

use super::{Common, chat_manner, chat_pair, run_name};
use crate::role::Reads;
use crate::run::Plan;
use clap::Args;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct ChatReceipts {
    /// Users, each with a device that subscribes to all that is its user's.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(3..=1_000_000))]
    pub clients: u32,
    /// Messages each second, all together.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate: u32,
    /// A reader says what they have read with every so many messages; 0 for never.
    #[arg(long, default_value_t = 1)]
    pub read_every: u32,
    /// Letters of a text: 40 of them at least say which message it is.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(40..=60_000))]
    pub size: u32,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl ChatReceipts {
    /// What is done.
    pub fn plan(&self) -> Plan {
        let run = run_name();
        let mut plan = self.common.plan(chat_manner(&self.common, self.size, 0));
        plan.roles = chat_pair::roles(self.clients);
        for role in &mut plan.roles {
            let every = self.read_every.into();
            role.reads =
                role.hears.first().map(|peer| Reads { conversation: format!("u/{run}-{peer}"), every });
        }
        plan.rate = Some(self.rate.into());
        plan
    }
}
