//! Chasqui's own `offline`: devices whose users are written to while they are away, and who read it all when they come back.

use super::offline::{Names, Waiting};
use super::{Common, chat_manner, run_name};
use crate::run::Plan;
use clap::Args;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct CatchUp {
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    /// Letters of a text: 40 of them at least say which message it is.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(40..=60_000))]
    pub size: u32,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl CatchUp {
    /// What is done.
    pub fn plan(&self) -> Plan {
        let run = run_name();
        let plan = self.common.plan(chat_manner(&self.common, self.size, self.waiting.window as usize));
        self.waiting.plan(plan, |number| {
            let (reader, writer) = (format!("{run}-reader-{number}"), format!("{run}-writer-{number}"));
            Names {
                device: ("phone".to_owned(), Some(reader.clone()), format!("u/{reader}/#")),
                publisher: ("phone".to_owned(), Some(writer), format!("u/{reader}/send")),
            }
        })
    }
}
