//! The command line: `serve`, `config`, `check`, `reload`, `user` and `report`.
//!
//! Exit codes: 0 when it is done; 1 with one sentence on standard error, `chasqui: …`, for everything an operator can do
//! something about; 2 for a command line that cannot be understood. What a command prints goes to standard output, what a server says
//! about itself to standard error.

mod check;
mod client;
mod control;
mod offline;
mod password;
mod protocol;
mod reload;
mod reports;
#[cfg(test)]
mod tests;
mod users;

pub use client::ClientError;
pub use control::{ControlError, ControlHandler, ControlSocket, ServerControl, UserControl};
pub use offline::OfflineError;
pub use password::PromptError;
pub use protocol::{Request, Response};

use crate::server::ServerError;
use crate::settings::{LogFilter, Settings, SettingsError, Sources};
use clap::{Args, Parser, Subcommand};
use reports::ReportCommand;
use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use thiserror::Error;
use users::UserCommand;

/// A messaging core over plain MQTT: an acknowledgement means in order and on disk.
#[derive(Debug, Parser)]
#[command(name = "chasqui", version, about, disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until stopped by SIGTERM or Ctrl-C
    Serve,
    /// Print every setting with its effective value, default, unit and meaning, as a settings file
    Config,
    /// Check the settings and the store
    Check,
    /// Let a running server read its settings file again: access rules take effect at once, the rest at the next start
    Reload,
    /// Manage who may log in, also while the server runs
    #[command(subcommand)]
    User(UserCommand),
    /// Read what users have reported, also while the server runs
    #[command(subcommand)]
    Report(ReportCommand),
}

/// Flags are settings: they win over variables and the file.
#[derive(Debug, Args)]
struct Flags {
    /// The settings file, in TOML; without it, defaults
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data folder
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,
    /// Where to listen; may be given more than once
    #[arg(long, global = true, value_name = "ADDR")]
    listen: Vec<String>,
    /// For trying out: anybody may log in whose password equals the name; loopback only
    #[arg(long, global = true)]
    dev: bool,
    /// What to log: error, warn, info, debug or trace
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<String>,
}

impl Flags {
    fn sources(self, variables: Vec<(OsString, OsString)>) -> Sources {
        let mut flags = Vec::new();
        flags.extend(self.data.map(|data| ("--data", "data", data)));
        if !self.listen.is_empty() {
            flags.push(("--listen", "listen", self.listen.join(",")));
        }
        if self.dev {
            flags.push(("--dev", "dev", "true".to_owned()));
        }
        flags.extend(self.log.map(|level| ("--log", "log.level", level)));
        Sources { config: self.config, variables, flags }
    }
}

/// What a command has around it; handed in, so that tests need no process.
struct Surroundings<'a> {
    variables: Vec<(OsString, OsString)>,
    input: &'a mut dyn BufRead,
    output: &'a mut dyn Write,
    /// Whether somebody sits at `input` and can be asked.
    terminal: bool,
}

/// Why a command was not carried out.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Serve(#[from] ServerError),
    #[error(transparent)]
    Offline(#[from] OfflineError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Prompt(#[from] PromptError),
    #[error("{0}")]
    Refused(String),
    #[error("there is no store in {} yet; `chasqui user add` and `chasqui serve` make it", .0.display())]
    NoStore(PathBuf),
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Carries out the command line of this process.
pub fn run() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => {
            // Nobody to tell that there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let stdin = io::stdin();
    let terminal = stdin.is_terminal();
    let mut surroundings = Surroundings {
        variables: std::env::vars_os().collect(),
        input: &mut stdin.lock(),
        output: &mut io::stdout().lock(),
        terminal,
    };
    let serve = |settings: Settings, sources: Sources| {
        log_to_stderr(&settings.log.level);
        crate::server::run(settings, sources)
    };
    match carry_out(command_line, &mut surroundings, serve) {
        Ok(()) => ExitCode::SUCCESS,
        // `chasqui config | head` is no failure.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "chasqui: {}", one_line(&failure.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(
    command_line: CommandLine,
    at: &mut Surroundings<'_>,
    serve: impl FnOnce(Settings, Sources) -> Result<(), ServerError>,
) -> Result<(), Failure> {
    let sources = command_line.flags.sources(std::mem::take(&mut at.variables));
    let settings = Settings::load(&sources)?;
    match command_line.command {
        Command::Serve => serve(settings, sources)?,
        Command::Config => at.output.write_all(settings.to_toml().as_bytes())?,
        Command::Check => check::run(&settings, at)?,
        Command::Reload => reload::run(&settings, at)?,
        Command::User(command) => users::run(command, &settings, at)?,
        Command::Report(command) => reports::run(command, &settings, at)?,
    }
    Ok(at.output.flush()?)
}

/// A sentence on one line, whatever it quotes.
fn one_line(sentence: &str) -> String {
    sentence.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn log_to_stderr(level: &LogFilter) {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(&level.0))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // A program that embeds this may have set one already.
    let _ = subscriber.try_init();
}
