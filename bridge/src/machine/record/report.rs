//! A report: what somebody told who runs the server, with messages as they saw them.

use crate::machine::codec::{self, DecodeError, put_bytes, put_number};
use bytes::Bytes;
use chasqui_proto::{ChatName, UserId};
use std::fmt;

const VERSION: u8 = 1;

/// What names a report: it follows from what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReportId(pub [u8; 16]);

impl ReportId {
    /// Reads an id as operators write it.
    pub fn parse(text: &str) -> Option<ReportId> {
        let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32)?;
        Some(ReportId(number.to_be_bytes()))
    }
}

impl fmt::Display for ReportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// When it was made, Unix milliseconds.
    pub at_ms: u64,
    /// Who made it.
    pub reporter: UserId,
    /// The conversation, as they name it: of a direct one the other side is reported, of a group the group.
    pub chat: ChatName,
    /// Of a group: the member who is reported, instead of the group.
    pub user: Option<UserId>,
    /// A number of [`v1::report::Reason`](chasqui_proto::v1::report::Reason).
    pub reason: u32,
    /// What they say about it.
    pub note: String,
    /// Copies of messages, each an encoded [`Message`](chasqui_proto::v1::Message) as the reporter saw it then.
    pub messages: Vec<Bytes>,
}

impl Report {
    /// The record as stored.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_number(out, self.at_ms);
        put_bytes(out, self.reporter.as_bytes());
        put_bytes(out, self.chat.to_string().as_bytes());
        put_bytes(out, self.user.as_ref().map_or(&b""[..], |user| user.as_bytes()));
        put_number(out, u64::from(self.reason));
        put_bytes(out, self.note.as_bytes());
        put_number(out, self.messages.len() as u64);
        for message in &self.messages {
            put_bytes(out, message);
        }
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// If it is of a newer version, or no report.
    pub fn decode(stored: &[u8]) -> Result<Report, DecodeError> {
        codec::versioned("report", VERSION, stored, |input| {
            let at_ms = input.number()?;
            let reporter = UserId::parse(input.text()?).ok()?;
            let chat = ChatName::parse(input.text()?).ok()?;
            let user = match input.text()? {
                "" => None,
                user => Some(UserId::parse(user).ok()?),
            };
            let reason = u32::try_from(input.number()?).ok()?;
            let note = input.text()?.to_owned();
            let mut messages = Vec::new();
            for _ in 0..input.number()? {
                messages.push(Bytes::copy_from_slice(input.bytes()?));
            }
            Some(Report { at_ms, reporter, chat, user, reason, note, messages })
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        pub(crate) fn arbitrary_report()(
            at_ms: u64,
            (reporter, other) in ("[A-Za-z0-9_-]{1,64}", "[A-Za-z0-9_-]{1,64}"),
            is_group: bool,
            user in prop::option::of("[A-Za-z0-9_-]{1,64}"),
            reason: u32,
            note: String,
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
        ) -> Report {
            let chat = if is_group { format!("g/{other}") } else { format!("u/{other}") };
            let id = |id: &String| UserId::parse(id).unwrap();
            Report {
                at_ms,
                reporter: id(&reporter),
                chat: ChatName::parse(&chat).unwrap(),
                user: user.as_ref().map(id),
                reason,
                note,
                messages: messages.into_iter().map(Bytes::from).collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip(report in arbitrary_report()) {
            let mut stored = Vec::new();
            report.encode(&mut stored);
            prop_assert_eq!(Report::decode(&stored), Ok(report));
            prop_assert!(Report::decode(&stored[..stored.len() - 1]).is_err());
        }

        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            let _ = Report::decode(&[&[VERSION][..], &bytes].concat());
        }
    }

    #[test]
    fn a_newer_version_is_refused() {
        assert_eq!(Report::decode(&[9]), Err(DecodeError::Newer { what: "report", found: 9, known: 1 }));
    }
}
