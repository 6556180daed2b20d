//! `chasqui reload`: a running server reads its settings file again.

use super::client::Client;
use super::protocol::{Request, Response};
use super::{Failure, Surroundings};
use crate::settings::Settings;

/// Tells the server that uses the data folder, and says what came of it.
pub(super) fn run(settings: &Settings, at: &mut Surroundings<'_>) -> Result<(), Failure> {
    let Some(mut server) = Client::connect(&settings.data)? else {
        let sentence = format!("no server uses {}: there is nothing to reload", settings.data.display());
        return Err(Failure::Refused(sentence));
    };
    match server.ask(&Request::Reload {})? {
        Response::Reloaded { rules, revoked, at_next_start } => {
            writeln!(at.output, "reloaded: {rules} access rules, {revoked} subscriptions ended")?;
            if !at_next_start.is_empty() {
                writeln!(at.output, "takes effect at the next start: {}", at_next_start.join(", "))?;
            }
            Ok(())
        }
        Response::Refused(reason) => Err(Failure::Refused(reason)),
        other => Err(Failure::Refused(format!("the server answered something else: {other:?}"))),
    }
}
