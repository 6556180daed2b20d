//! Users who come and go, and others who watch them: values of presence topics each second, and how long it takes from when somebody begins to
//! connect until who watches them is shown that they are there.
//!
//! What watchers are shown when they subscribe does not count. That somebody has gone is shown after 10 s, and counts.

use super::{Common, run_name};
use crate::presence::{Arrivals, Watches};
use crate::role::{Coming, Role, Stay};
use crate::run::Plan;
use clap::Args;
use std::sync::Arc;

const SECOND_NS: u64 = 1_000_000_000;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct Presence {
    /// Users who come and go, evenly spread; those who are away have no connection.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub users: u32,
    /// Users who watch.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub watchers: u32,
    /// How many each of them watches.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    pub contacts: u32,
    /// Seconds that a user stays.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub stay: u64,
    /// Seconds that a user is away: more than the 10 within which nobody is told.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(11..=86_400))]
    pub away: u64,
    /// As for all.
    #[command(flatten)]
    pub common: Common,
}

impl Presence {
    /// What is done.
    pub fn plan(&self) -> Plan {
        let run = run_name();
        let mut plan = self.common.plan(self.common.quiet());
        // Who left is shown 10 s later, and nobody waits for that.
        plan.drains = false;
        let arrivals = Arrivals::new(self.users);
        let period_ns = (self.stay + self.away) * SECOND_NS;
        let watcher = |number: u32| {
            // Far from each other, so that they come one after the other and not all within a second.
            let apart = u64::from((self.users / self.contacts).max(1));
            let contact =
                |more: u32| ((u64::from(number) + u64::from(more) * apart) % u64::from(self.users)) as u32;
            let contacts = (0..self.contacts.min(self.users)).map(contact);
            Role {
                number: self.users + number,
                client_id: "phone".to_owned(),
                user: Some(format!("{run}-watcher-{number}")),
                clean: true,
                watches: Some(Watches {
                    prefix: format!("{run}-"),
                    contacts: contacts.collect(),
                    arrivals: Arc::clone(&arrivals),
                }),
                ..Role::default()
            }
        };
        let user = |number: u32| Role {
            number,
            client_id: "phone".to_owned(),
            user: Some(format!("{run}-{number}")),
            clean: true,
            stay: Stay::Coming(Coming {
                first_ns: u64::from(number) * period_ns / u64::from(self.users),
                stay_ns: self.stay * SECOND_NS,
                away_ns: self.away * SECOND_NS,
            }),
            arrives: Some(Arc::clone(&arrivals)),
            ..Role::default()
        };
        plan.roles = (0..self.watchers).map(watcher).chain((0..self.users).map(user)).collect();
        plan
    }
}
