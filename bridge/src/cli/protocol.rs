//! What is said on the control socket: one request on a line, one response on a line, in JSON.

use serde::{Deserialize, Serialize};

/// The socket's name in the data folder.
pub(super) const SOCKET: &str = "control.sock";
/// The longest line either side reads, in bytes.
pub(super) const LINE_MAX_BYTES: usize = 64 * 1_024;
/// Users in one response: with names of up to 64 bytes they fit a line.
pub(super) const USERS_PAGE: usize = 500;

/// Reports in one response, without their notes and messages: they fit a line.
pub(super) const REPORTS_PAGE: usize = 64;
/// Bytes of one report in one response: as JSON within JSON they have twice as many at most.
pub(super) const REPORT_PART_BYTES: usize = 16 * 1_024;

/// What an operator asks of a running server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Whether somebody is there.
    Ping {},
    /// Add a user with the argon2 hash of a password.
    AddUser {
        /// The user.
        user: String,
        /// The hash as a PHC string.
        hash: String,
    },
    /// Set the hash of a user's password.
    SetPassword {
        /// The user.
        user: String,
        /// The hash as a PHC string.
        hash: String,
    },
    /// Remove a user.
    RemoveUser {
        /// The user.
        user: String,
    },
    /// Read the settings file again, and put its access rules into effect.
    Reload {},
    /// The names of users behind this one, in order.
    ListUsers {
        /// Where to go on.
        after: Option<String>,
    },
    /// What is reported, without what it says, behind this id, in order.
    ListReports {
        /// Where to go on.
        after: Option<String>,
    },
    /// A report, part by part.
    ShowReport {
        /// Its id.
        id: String,
        /// Which part, from 0.
        part: usize,
    },
    /// Take a report away.
    RemoveReport {
        /// Its id.
        id: String,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// It is done, and on disk.
    Done,
    /// Names of users; empty behind the last one.
    Users(Vec<String>),
    /// Reports; empty behind the last one.
    Reports(Vec<serde_json::Value>),
    /// A part of a report.
    Part {
        /// JSON, from where the part before ended.
        text: String,
        /// Whether there is another part.
        more: bool,
    },
    /// The settings were read again.
    Reloaded {
        /// Access rules that are in effect.
        rules: usize,
        /// Subscriptions that ended.
        revoked: usize,
        /// Settings that take effect at the next start.
        at_next_start: Vec<String>,
    },
    /// It is not done, for this reason.
    Refused(String),
}

/// A message as a line.
pub(super) fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("texts and lists of texts are JSON");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_is_written_down() {
        let add = Request::AddUser { user: "bob".into(), hash: "$argon2id$…".into() };
        let written = "{\"do\":\"add_user\",\"user\":\"bob\",\"hash\":\"$argon2id$…\"}\n";
        assert_eq!(line(&add), written.as_bytes());
        assert_eq!(serde_json::from_str::<Request>(written).unwrap(), add);
        assert_eq!(serde_json::from_str::<Request>("{\"do\":\"ping\"}").unwrap(), Request::Ping {});
        for bad in
            ["", "{}", "{\"do\":\"dance\"}", "{\"do\":\"remove_user\"}", "{\"do\":\"ping\",\"more\":1}"]
        {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
        assert_eq!(line(&Response::Done), b"\"done\"\n");
    }

    #[test]
    fn a_page_of_users_fits_a_line() {
        let longest = vec!["x".repeat(chasqui_proto::limits::ID_MAX_BYTES); USERS_PAGE];
        assert!(line(&Response::Users(longest)).len() <= LINE_MAX_BYTES);
    }
}
