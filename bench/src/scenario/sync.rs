//! Chasqui's own conversations: a user with many of them, and devices that ask for the first page of the list, over and over.

use super::{Common, Messages, chat_manner, run_name};
use crate::role::{Asks, Role};
use crate::run::{Plan, Until};
use chasqui_proto::v1;
use clap::Args;
use prost::Message as _;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct Sync {
    /// Conversations of the user, each with one message.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub conversations: u64,
    /// Conversations on a page.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub page: u32,
    /// Publishes that the user has unacknowledged at a time, before anybody asks.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub window: u32,
    /// Devices that ask, each for one page at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub devices: u32,
    #[command(flatten)]
    pub(crate) messages: Messages,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Sync {
    /// What is done.
    pub fn plan(&self) -> Plan {
        let user = run_name();
        let mut plan = self.common.plan(chat_manner(&self.common, self.messages.size, self.window as usize));
        let client = |number: u32, client_id: String| Role {
            number,
            client_id,
            user: Some(user.clone()),
            clean: true,
            ..Role::default()
        };
        plan.roles.push(Role {
            spreads_over: Some(format!("{user}-peer-")),
            quota: Some(self.conversations),
            ..client(0, "writes".to_owned())
        });
        for number in 1..=self.devices {
            let device = format!("asks-{number}");
            let page = v1::Sync { limit: self.page, request_id: 1, ..v1::Sync::default() };
            plan.roles.push(Role {
                filter: Some(format!("u/{user}/d/{device}/reply")),
                asks: Some(Asks { topic: "do/sync".to_owned(), payload: page.encode_to_vec() }),
                ..client(number, device)
            });
        }
        plan.warm_up = Until::Acked(self.conversations);
        plan
    }
}
