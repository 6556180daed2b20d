//! `do/report`: somebody tells who runs the server of a user or a group, with messages as they themselves see them.
//!
//! A report has an id that follows from what it says and who says it: the same again is the same report, whatever has become of its messages
//! since, and so a retry makes no second one.

use super::history;
use super::sight::Sight;
use crate::machine::command::{Caller, MakeReport};
use crate::machine::record::{Report, ReportId};
use crate::sequencer::fetch::{self, FetchError};
use crate::sequencer::names;
use blake2::{Blake2b128, Digest};
use chasqui_proto::limits::{REPORT_MAX_BYTES, REPORT_MESSAGES_MAX, REPORT_NOTE_MAX_BYTES};
use chasqui_proto::{ChatName, ErrorCode, Refusal, Seq, UserId, v1};
use chasqui_storage::Reader;

/// What is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    chat: ChatName,
    user: Option<UserId>,
    /// In order, each once.
    seqs: Vec<u64>,
    reason: u32,
    note: String,
}

impl Asked {
    /// Reads what `caller` asks for.
    pub(super) fn parse(asked: v1::Report, caller: &Caller) -> Result<Asked, Refusal> {
        let invalid = |why: &'static str| Refusal::because(ErrorCode::InvalidPayload, why);
        let v1::Report { conversation, user, mut seqs, reason, note, .. } = asked;
        let chat = ChatName::parse(&conversation)?;
        let user = match (user.is_empty(), &chat) {
            (true, _) => None,
            (false, ChatName::User(_)) => {
                return Err(invalid("user is for groups: a direct chat is named by who is reported"));
            }
            (false, ChatName::Group(_)) => {
                Some(UserId::parse(&user).map_err(|_| invalid("user is no user id"))?)
            }
        };
        if user.as_ref() == Some(&caller.user) || chat == ChatName::User(caller.user.clone()) {
            return Err(invalid("nobody reports themselves"));
        }
        let Ok(reason) = v1::report::Reason::try_from(reason) else {
            return Err(invalid("reason is one that this server does not know"));
        };
        if note.len() > REPORT_NOTE_MAX_BYTES {
            let why = format!("note has {} bytes, more than {REPORT_NOTE_MAX_BYTES}", note.len());
            return Err(Refusal::because(ErrorCode::TooLarge, why));
        }
        seqs.sort_unstable();
        seqs.dedup();
        if seqs.len() > REPORT_MESSAGES_MAX {
            let why = format!("seqs has {} messages, more than {REPORT_MESSAGES_MAX}", seqs.len());
            return Err(Refusal::because(ErrorCode::TooLarge, why));
        }
        Ok(Asked { chat, user, seqs, reason: reason as u32, note })
    }

    /// The command that it becomes, with copies of its messages.
    ///
    /// # Errors
    /// A message that the caller does not see; a group that they have seen nothing of.
    pub(super) fn command(
        self,
        reader: &Reader,
        caller: &Caller,
        now_ms: u64,
    ) -> Result<MakeReport, Refusal> {
        self.read(reader, caller, now_ms).unwrap_or_else(|error| {
            tracing::error!("what is reported could not be read: {error}");
            Err(ErrorCode::Internal.into())
        })
    }

    fn read(
        self,
        reader: &Reader,
        caller: &Caller,
        now_ms: u64,
    ) -> Result<Result<MakeReport, Refusal>, FetchError> {
        let reporter = &caller.user;
        let me = fetch::user(reader, reporter)?;
        let (caller, id) = (caller.clone(), self.id(reporter, me.lives));
        if reader.get(&names::report_record(&id))?.is_some() {
            return Ok(Ok(MakeReport { caller, id, report: None }));
        }
        let sight = Sight::load(reader, (reporter, &me), &self.chat, now_ms)?;
        // Of a user nobody learns whether they exist.
        let needs_sight = matches!(self.chat, ChatName::Group(_)) || !self.seqs.is_empty();
        if needs_sight && !sight.is_there() {
            return Ok(Err(ErrorCode::NoSuchMessage.into()));
        }
        let kept = fetch::kept(reader, reporter, &self.chat)?.of_life(me.lives);
        let sight = sight.behind(kept.cleared);
        let (mut messages, mut bytes) = (Vec::with_capacity(self.seqs.len()), 0);
        for seq in &self.seqs {
            let Some(message) = history::one(reader, reporter, &sight, &self.chat, Seq(*seq))? else {
                let why = format!("this user sees no message {seq} in this conversation");
                return Ok(Err(Refusal::because(ErrorCode::NoSuchMessage, why)));
            };
            bytes += message.len();
            messages.push(message);
        }
        if bytes > REPORT_MAX_BYTES {
            let why = format!(
                "its messages have {bytes} bytes, more than {REPORT_MAX_BYTES}: report fewer of them"
            );
            return Ok(Err(Refusal::because(ErrorCode::TooLarge, why)));
        }
        let Asked { chat, user, reason, note, .. } = self;
        let report = Report { at_ms: 0, reporter: reporter.clone(), chat, user, reason, note, messages };
        Ok(Ok(MakeReport { caller, id, report: Some(Box::new(report)) }))
    }

    /// The id of the report that this one of the name makes.
    fn id(&self, reporter: &UserId, life: u32) -> ReportId {
        let Asked { chat, user, seqs, reason, note } = self;
        let chat = chat.to_string();
        let mut hash = Blake2b128::new();
        let user = user.as_ref().map_or(&b""[..], |user| user.as_bytes());
        // Each with its length in front: no two reports run together as the same bytes.
        for part in [reporter.as_bytes(), chat.as_bytes(), user, note.as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(life.to_be_bytes());
        hash.update(reason.to_be_bytes());
        for seq in seqs {
            hash.update(seq.to_be_bytes());
        }
        ReportId(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::command::Ack;

    fn caller() -> Caller {
        let user = UserId::parse("alice").unwrap();
        Caller { user, device: None, ack: Ack::Full, topic: "do/report".into() }
    }

    fn asks(conversation: &str, seqs: &[u64]) -> v1::Report {
        v1::Report { conversation: conversation.to_owned(), seqs: seqs.to_vec(), ..v1::Report::default() }
    }

    #[test]
    fn what_cannot_be_reported_is_refused_with_what_is_wrong() {
        let many: Vec<u64> = (1..=REPORT_MESSAGES_MAX as u64 + 1).collect();
        let of_user = |user: &str, conversation: &str| {
            let report = asks(conversation, &[]);
            v1::Report { user: user.to_owned(), ..report }
        };
        let long = "x".repeat(REPORT_NOTE_MAX_BYTES + 1);
        let rows = [
            ("a user", asks("u/bob", &[]), None),
            ("a message twice", asks("u/bob", &[2, 1, 2]), None),
            ("a member", of_user("bob", "g/hikers"), None),
            ("nothing", asks("", &[]), Some(ErrorCode::InvalidPayload)),
            ("oneself", asks("u/alice", &[]), Some(ErrorCode::InvalidPayload)),
            ("oneself in a group", of_user("alice", "g/hikers"), Some(ErrorCode::InvalidPayload)),
            ("two users", of_user("carol", "u/bob"), Some(ErrorCode::InvalidPayload)),
            ("no user id", of_user("a b", "g/hikers"), Some(ErrorCode::InvalidPayload)),
            ("no reason", v1::Report { reason: 99, ..asks("u/bob", &[]) }, Some(ErrorCode::InvalidPayload)),
            ("many messages", asks("u/bob", &many), Some(ErrorCode::TooLarge)),
            ("a long note", v1::Report { note: long, ..asks("u/bob", &[]) }, Some(ErrorCode::TooLarge)),
        ];
        for (what, report, expected) in rows {
            let found = Asked::parse(report, &caller()).err().map(|refusal| refusal.code);
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn the_same_report_has_the_same_id_and_another_has_another() {
        let (alice, bob) = (UserId::parse("alice").unwrap(), UserId::parse("bob").unwrap());
        let parse = |report| Asked::parse(report, &caller()).unwrap();
        let one = parse(asks("u/carol", &[2, 1])).id(&alice, 0);
        // On disk: it never changes.
        assert_eq!(one, parse(asks("u/carol", &[1, 2, 2])).id(&alice, 0));
        let note = v1::Report { note: "again".to_owned(), ..asks("u/carol", &[1, 2]) };
        let others = [
            parse(asks("u/carol", &[1])).id(&alice, 0),
            parse(asks("u/dave", &[1, 2])).id(&alice, 0),
            parse(asks("u/carol", &[1, 2])).id(&alice, 1),
            parse(asks("u/carol", &[1, 2])).id(&bob, 0),
            parse(note).id(&alice, 0),
        ];
        assert!(others.iter().all(|other| *other != one));
        assert_eq!(ReportId::parse(&one.to_string()), Some(one));
        assert_eq!(ReportId::parse("zz"), None);
    }
}
