//! `chasqui check`: whether the settings and the store can be used. Changes nothing that a start would not.

use super::client::Client;
use super::protocol::{Request, Response};
use super::{Failure, Surroundings, offline::OfflineError};
use crate::account::Account;
use crate::session_store::space;
use crate::settings::Settings;
use chasqui_broker::Tls;
use chasqui_broker::store::SessionRecord;
use chasqui_storage::{Reader, Storage};

/// Things read in one go.
const PAGE: usize = 256;

/// Checks, and says what was found.
pub(super) fn run(settings: &Settings, at: &mut Surroundings<'_>) -> Result<(), Failure> {
    writeln!(at.output, "settings: ok")?;
    if let Some(files) = settings.tls_files() {
        let certificate = files.certificate.display().to_string();
        Tls::load(files).map_err(|error| Failure::Refused(error.to_string()))?;
        writeln!(at.output, "certificate: ok, {certificate}")?;
    }
    let data = settings.data.display();
    if !settings.data.join("log").exists() {
        writeln!(at.output, "store: {data} holds none yet; `chasqui serve` makes it")?;
        return Ok(());
    }
    if let Some(mut server) = Client::connect(&settings.data)? {
        if let Response::Refused(reason) = server.ask(&Request::Ping {})? {
            return Err(Failure::Refused(reason));
        }
        writeln!(at.output, "store: {data} is in use by a server, which answers")?;
        return Ok(());
    }
    let storage =
        Storage::open(&settings.data, crate::server::options(settings)).map_err(OfflineError::from)?;
    let found = look(&storage.reader())?;
    writeln!(
        at.output,
        "store: ok, {data} up to log position {}; {} accounts, {} sessions",
        storage.applied(),
        found.accounts,
        found.sessions
    )?;
    Ok(())
}

struct Found {
    accounts: usize,
    sessions: usize,
}

/// Reads every account and every session: what does not check out or is of another version is an error.
fn look(reader: &Reader) -> Result<Found, Failure> {
    let refused = |error: &dyn std::fmt::Display| Failure::Refused(error.to_string());
    let mut found = Found { accounts: 0, sessions: 0 };
    let mut from = Vec::new();
    loop {
        let page =
            reader.ordered_range(space::ACCOUNTS, &from, None, PAGE).map_err(|error| refused(&error))?;
        for (_, stored) in &page {
            Account::decode(stored).map_err(|error| refused(&error))?;
        }
        found.accounts += page.len();
        match page.last() {
            Some((last, _)) => from = [&last[..], &[0]].concat(),
            None => break,
        }
    }
    let mut after = None::<chasqui_storage::Session>;
    loop {
        let behind = after.as_ref().map(|session| (&session.owner[..], &session.name[..]));
        let page = reader.all_sessions(behind, PAGE).map_err(|error| refused(&error))?;
        for session in &page {
            SessionRecord::decode(&session.value).map_err(|error| refused(&error))?;
        }
        found.sessions += page.len();
        match page.into_iter().next_back() {
            Some(last) => after = Some(last),
            None => return Ok(found),
        }
    }
}
