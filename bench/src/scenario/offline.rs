//! Devices that are away while messages are published for them, and come back.

use super::{Common, Messages, run_name};
use crate::role::{Role, Stay};
use crate::run::{Plan, Until};
use clap::Args;

/// How much waits for whom.
#[derive(Debug, Clone, Args)]
pub struct Waiting {
    /// Devices with persistent sessions, each with a publisher of its own.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub devices: u32,
    /// Messages that are published for each of them while it is away.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub backlog: u32,
    /// Publishes that a publisher has unacknowledged at a time.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub window: u32,
    /// What a device lets the broker have in flight; MQTT 3.1.1 cannot say so.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..))]
    pub receive_maximum: u16,
}

/// What one of the devices and its publisher are called.
pub(super) struct Names {
    /// The device: client id, user, filter.
    pub(super) device: (String, Option<String>, String),
    /// Its publisher: client id, user, topic.
    pub(super) publisher: (String, Option<String>, String),
}

impl Waiting {
    /// Brings the plan up to: devices subscribe and leave, the backlog is published, the devices come back and receive all of it.
    pub(super) fn plan(&self, mut plan: Plan, names: impl Fn(u32) -> Names) -> Plan {
        let backlog = u64::from(self.backlog);
        for number in 0..self.devices {
            let Names { device, publisher } = names(number);
            let source = self.devices + number;
            plan.roles.push(Role {
                number,
                client_id: device.0,
                user: device.1,
                filter: Some(device.2),
                hears: vec![source],
                stay: Stay::Away,
                ..Role::default()
            });
            plan.roles.push(Role {
                number: source,
                client_id: publisher.0,
                user: publisher.1,
                clean: true,
                publishes_to: Some(publisher.2),
                quota: Some(backlog),
                ..Role::default()
            });
        }
        let all = u64::from(self.devices) * backlog;
        plan.manner.receive_maximum = Some(self.receive_maximum);
        plan.warm_up = Until::Acked(all);
        plan.measure = Until::Delivered(all);
        plan
    }
}

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct Offline {
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    /// The QoS to publish and to subscribe with.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub qos: u8,
    #[command(flatten)]
    pub(crate) messages: Messages,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Offline {
    /// What is done.
    pub fn plan(&self) -> Plan {
        let run = run_name();
        let plan = self.common.plan(self.messages.manner(&self.common, self.qos, self.waiting.window));
        self.waiting.plan(plan, |number| Names {
            device: (format!("{run}-device-{number}"), None, format!("{run}/{number}")),
            publisher: (format!("{run}-publisher-{number}"), None, format!("{run}/{number}")),
        })
    }
}
