//! Where a password comes from: standard input, or a prompt that does not show what is typed. Never an argument, which every
//! process on the machine can read.

use crate::account::PASSWORD_MAX_BYTES;
use std::io::{self, BufRead, Read, Write};
use std::process::{Command, Stdio};
use thiserror::Error;

/// No password was given.
#[derive(Debug, Error)]
pub enum PromptError {
    /// Nobody to ask.
    #[error("there is no terminal to ask for the password; pipe it in with --password-stdin")]
    NoTerminal,
    /// What is typed would be shown.
    #[error("the terminal cannot be told not to show the password ({0}); pipe it in with --password-stdin")]
    Echo(io::Error),
    /// Typed differently the second time.
    #[error("the two passwords differ; nothing was changed")]
    Differ,
    /// Standard input fails.
    #[error("the password cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// The one line of standard input, without its end.
pub(super) fn from_stdin(input: &mut dyn BufRead) -> Result<Vec<u8>, PromptError> {
    let mut line = Vec::new();
    // Enough to tell that it is too long.
    input.take(PASSWORD_MAX_BYTES as u64 + 3).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(line)
}

/// Asks for a new password, twice.
pub(super) fn from_terminal(input: &mut dyn BufRead, user: &str) -> Result<Vec<u8>, PromptError> {
    let _hidden = Hidden::begin().map_err(PromptError::Echo)?;
    let mut ask = |prompt: &str| {
        let mut terminal = io::stderr();
        write!(terminal, "{prompt}")?;
        let answer = from_stdin(input);
        // The line end that was typed was not shown either.
        writeln!(terminal)?;
        answer
    };
    let first = ask(&format!("Password for {user}: "))?;
    if first != ask("Again: ")? {
        return Err(PromptError::Differ);
    }
    Ok(first)
}

/// While this lives the terminal does not show what is typed. (A shell restores its terminal when its command is interrupted.)
struct Hidden;

impl Hidden {
    fn begin() -> io::Result<Hidden> {
        stty("-echo")?;
        Ok(Hidden)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // It worked the other way round.
        let _ = stty("echo");
    }
}

fn stty(argument: &str) -> io::Result<()> {
    let status = Command::new("stty").arg(argument).stdin(Stdio::inherit()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("stty: {status}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_read_without_its_end() {
        for (input, password) in [
            ("secret\n", "secret"),
            ("secret", "secret"),
            ("secret\r\nmore\n", "secret"),
            (" with spaces \n", " with spaces "),
            ("a\rb\n", "a\rb"),
            ("", ""),
            ("\n", ""),
        ] {
            assert_eq!(from_stdin(&mut input.as_bytes()).unwrap(), password.as_bytes(), "{input:?}");
        }
        let endless = vec![b'x'; 1 << 20];
        let read = from_stdin(&mut &endless[..]).unwrap();
        assert!(
            read.len() > PASSWORD_MAX_BYTES && read.len() < PASSWORD_MAX_BYTES + 10,
            "too long, and no longer"
        );
    }
}
