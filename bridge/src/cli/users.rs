//! `chasqui user …`: at a running server through its control socket, else on the store itself.

use super::client::Client;
use super::offline::Offline;
use super::password;
use super::protocol::{Request, Response};
use super::{Failure, Surroundings};
use crate::account::Hash;
use crate::settings::Settings;
use chasqui_proto::UserId;
use clap::Subcommand;

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user, with a password that is asked for
    Add {
        /// The name: 1 to 64 letters, digits, `_` and `-`
        user: String,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Set a new password, which is asked for
    Passwd {
        /// The name
        user: String,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Remove a user, with all that waits for them; conversations stay with the other side
    Remove {
        /// The name
        user: String,
    },
    /// List all users, one on a line
    List,
}

/// Whoever carries requests out.
pub(super) enum Target {
    Server(Client),
    Store(Box<Offline>),
}

impl Target {
    /// The server that uses the data folder, or the store in it.
    pub(super) fn find(settings: &Settings) -> Result<Target, Failure> {
        match Client::connect(&settings.data)? {
            Some(client) => Ok(Target::Server(client)),
            None => Ok(Target::Store(Box::new(Offline::open(settings)?))),
        }
    }

    pub(super) fn ask(&mut self, request: Request) -> Result<Response, Failure> {
        let response = match self {
            Target::Server(client) => client.ask(&request)?,
            Target::Store(store) => store.handle(request),
        };
        match response {
            Response::Refused(reason) => Err(Failure::Refused(reason)),
            response => Ok(response),
        }
    }

    pub(super) fn close(self) -> Result<(), Failure> {
        match self {
            Target::Server(_) => Ok(()),
            Target::Store(store) => Ok(store.close()?),
        }
    }
}

/// Carries out a user command.
pub(super) fn run(
    command: UserCommand,
    settings: &Settings,
    at: &mut Surroundings<'_>,
) -> Result<(), Failure> {
    // A name that cannot be is said before a password is asked for.
    if let UserCommand::Add { user, .. } | UserCommand::Passwd { user, .. } | UserCommand::Remove { user } =
        &command
    {
        UserId::parse(user)
            .map_err(|error| Failure::Refused(format!("\"{user}\" cannot be a user: {error}")))?;
    }
    let is_new = matches!(command, UserCommand::Add { .. });
    if !is_new && !settings.data.exists() {
        return Err(Failure::NoStore(settings.data.clone()));
    }
    let request = match command {
        UserCommand::Add { user, password_stdin } => {
            let hash = hash(&user, password_stdin, at)?;
            Some(Request::AddUser { user, hash })
        }
        UserCommand::Passwd { user, password_stdin } => {
            let hash = hash(&user, password_stdin, at)?;
            Some(Request::SetPassword { user, hash })
        }
        UserCommand::Remove { user } => Some(Request::RemoveUser { user }),
        UserCommand::List => None,
    };
    let mut target = Target::find(settings)?;
    let done = match request {
        Some(request) => target.ask(request).map(drop),
        None => list(&mut target, at),
    };
    // An error in what was asked says more than one in closing.
    let closed = target.close();
    done.and(closed)
}

fn hash(user: &str, password_stdin: bool, at: &mut Surroundings<'_>) -> Result<String, Failure> {
    let password = match (password_stdin, at.terminal) {
        (true, _) => password::from_stdin(at.input)?,
        (false, true) => password::from_terminal(at.input, user)?,
        (false, false) => return Err(password::PromptError::NoTerminal.into()),
    };
    let hash = Hash::new(&password).map_err(|error| Failure::Refused(error.to_string()))?;
    Ok(hash.as_str().to_owned())
}

fn list(target: &mut Target, at: &mut Surroundings<'_>) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let Response::Users(users) = target.ask(Request::ListUsers { after })? else {
            return Err(Failure::Refused(
                "the server did not answer with users; is it another version?".to_owned(),
            ));
        };
        for user in &users {
            writeln!(at.output, "{user}")?;
        }
        after = users.into_iter().next_back();
        if after.is_none() {
            return Ok(());
        }
    }
}
