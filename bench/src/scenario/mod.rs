//! What a run can be: one file each.

pub mod catch_up;
pub mod chat_group;
pub mod chat_pair;
pub mod chat_receipts;
pub mod churn;
pub mod crash;
pub mod fanout;
pub mod idle;
pub mod offline;
pub mod overload;
pub mod pair;
pub mod presence;
pub mod rate;
pub mod retained;
pub mod sync;

use crate::payload::Form;
use crate::role::Manner;
use crate::run::{Plan, Until};
use crate::wire::Version;
use clap::Args;
use std::time::Duration;

/// What every scenario can be told.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The version of MQTT: 3.1.1 or 5.0.
    #[arg(long, default_value = "3.1.1", value_parser = version)]
    pub mqtt: Version,
    /// Seconds that count, where no count of messages says when it is over.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Seconds before, which do not.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub warm_up: u64,
    /// Threads that drive the clients.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
}

/// What is published.
#[derive(Debug, Clone, Args)]
pub struct Messages {
    /// Bytes of a payload: 20 of them at least say which message it is.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(20..=1_000_000))]
    pub size: u32,
}

fn version(text: &str) -> Result<Version, String> {
    match text {
        "3.1.1" | "3" | "4" => Ok(Version::V311),
        "5.0" | "5" => Ok(Version::V5),
        _ => Err("write 3.1.1 or 5.0".to_owned()),
    }
}

impl Common {
    fn plan(&self, manner: Manner) -> Plan {
        Plan {
            roles: Vec::new(),
            manner,
            rate: None,
            overload: None,
            crash: None,
            warm_up: Until::Elapsed(Duration::from_secs(self.warm_up)),
            measure: Until::Elapsed(Duration::from_secs(self.seconds)),
            drains: true,
            threads: usize::from(self.threads),
        }
    }

    /// Nobody publishes.
    fn quiet(&self) -> Manner {
        Manner { version: self.mqtt, ..Manner::default() }
    }
}

impl Messages {
    fn manner(&self, common: &Common, qos: u8, window: u32) -> Manner {
        let (size, window) = (self.size as usize, window as usize);
        Manner { version: common.mqtt, qos, size, window, ..Manner::default() }
    }
}

/// How messages between users are sent.
fn chat_manner(common: &Common, size: u32, window: usize) -> Manner {
    Manner { version: common.mqtt, form: Form::Chat, size: size as usize, window, ..Manner::default() }
}

/// Keeps the topics and client ids of a run apart from those of others on the same broker.
fn run_name() -> String {
    format!("bench-{}", std::process::id())
}
