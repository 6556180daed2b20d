//! `chasqui report …`: what users have reported, at a running server through its control socket, else in the store itself. Everything is
//! printed as JSON, an object on a line.

use super::protocol::{REPORT_PART_BYTES, REPORTS_PAGE, Request, Response};
use super::users::Target;
use super::{Failure, Surroundings};
use crate::account::{AccountError, Accounts};
use crate::machine::record::{Report, ReportId};
use crate::settings::Settings;
use chasqui_proto::{json, v1};
use clap::Subcommand;
use serde_json::{Value, json as value};

/// What to do with reports.
#[derive(Debug, Subcommand)]
pub(super) enum ReportCommand {
    /// List all reports, the oldest first, each as a JSON object on a line
    List,
    /// Show a report with its note and its messages, as a JSON object
    Show {
        /// Its id, as in the list
        id: String,
    },
    /// Take a report away
    Remove {
        /// Its id, as in the list
        id: String,
    },
}

/// Carries out a report command.
pub(super) fn run(
    command: ReportCommand,
    settings: &Settings,
    at: &mut Surroundings<'_>,
) -> Result<(), Failure> {
    if !settings.data.exists() {
        return Err(Failure::NoStore(settings.data.clone()));
    }
    let mut target = Target::find(settings)?;
    let done = match command {
        ReportCommand::List => list(&mut target, at),
        ReportCommand::Show { id } => show(&mut target, &id, at),
        ReportCommand::Remove { id } => target.ask(Request::RemoveReport { id }).map(drop),
    };
    // An error in what was asked says more than one in closing.
    let closed = target.close();
    done.and(closed)
}

fn list(target: &mut Target, at: &mut Surroundings<'_>) -> Result<(), Failure> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let Response::Reports(page) = target.ask(Request::ListReports { after })? else {
            return Err(strange());
        };
        let Some(last) = page.last() else { break };
        after = last["id"].as_str().map(str::to_owned);
        found.extend(page);
        if after.is_none() {
            return Err(strange());
        }
    }
    let time_ms = |report: &Value| report["timeMs"].as_str().and_then(|time| time.parse::<u64>().ok());
    found.sort_by_key(time_ms);
    for report in found {
        writeln!(at.output, "{report}")?;
    }
    Ok(())
}

fn show(target: &mut Target, id: &str, at: &mut Surroundings<'_>) -> Result<(), Failure> {
    let mut part = 0;
    loop {
        let Response::Part { text, more } = target.ask(Request::ShowReport { id: id.to_owned(), part })?
        else {
            return Err(strange());
        };
        write!(at.output, "{text}")?;
        part += 1;
        if !more {
            return Ok(writeln!(at.output)?);
        }
    }
}

fn strange() -> Failure {
    Failure::Refused("the server did not answer with reports; is it another version?".to_owned())
}

fn id(text: &str) -> Result<ReportId, AccountError> {
    ReportId::parse(text).ok_or_else(|| AccountError::NoReportId(text.to_owned()))
}

/// A page of reports without what they say.
pub(super) fn page(accounts: &Accounts, after: Option<&str>) -> Result<Response, AccountError> {
    let page = accounts.reports(after.map(id).transpose()?, REPORTS_PAGE)?;
    Ok(Response::Reports(page.iter().map(|(id, report)| summary(*id, report)).collect()))
}

/// A part of all that a report says.
pub(super) fn part(accounts: &Accounts, of: &str, part: usize) -> Result<Response, AccountError> {
    let id = id(of)?;
    let text = whole(id, &accounts.report(id)?).to_string();
    let at = |part: usize| text.floor_char_boundary(part.saturating_mul(REPORT_PART_BYTES).min(text.len()));
    let (from, to) = (at(part), at(part.saturating_add(1)));
    Ok(Response::Part { text: text[from..to].to_owned(), more: to < text.len() })
}

/// Takes a report away.
pub(super) fn remove(accounts: &Accounts, of: &str) -> Result<Response, AccountError> {
    accounts.remove_report(id(of)?)?;
    Ok(Response::Done)
}

fn summary(id: ReportId, report: &Report) -> Value {
    let reason =
        i32::try_from(report.reason).ok().and_then(|reason| v1::report::Reason::try_from(reason).ok());
    let reason = reason.map_or_else(|| report.reason.to_string(), |reason| reason.as_str_name().to_owned());
    let mut summary = value!({
        "id": id.to_string(),
        "timeMs": report.at_ms.to_string(),
        "reporter": report.reporter.as_str(),
        "conversation": report.chat.to_string(),
        "reason": reason,
        "messageCount": report.messages.len(),
    });
    if let Some(user) = &report.user {
        summary["user"] = user.as_str().into();
    }
    summary
}

fn whole(id: ReportId, report: &Report) -> Value {
    let message = |message: &bytes::Bytes| {
        let json = json::from_protobuf::<v1::Message>(message).ok();
        json.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or(Value::Null)
    };
    let mut whole = summary(id, report);
    whole["note"] = report.note.as_str().into();
    whole["messages"] = report.messages.iter().map(message).collect();
    whole
}
