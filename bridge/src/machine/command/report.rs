//! `MakeReport`: somebody tells who runs the server of a user or a group.

use super::{Caller, Decision};
use crate::machine::record::{Report, ReportId};
use crate::machine::{Change, Env, Outcome};

/// A report, with copies of its messages. Nobody who is reported learns of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MakeReport {
    /// Who makes it.
    pub caller: Caller,
    /// What names it.
    pub id: ReportId,
    /// The report, whose time is not known yet; nothing where there is this one already.
    pub report: Option<Box<Report>>,
}

impl MakeReport {
    pub(crate) fn decide(&self, env: &Env) -> Decision {
        let put = |report: &Report| Change::PutReport {
            id: self.id,
            to: Box::new(Report { at_ms: env.now_ms, ..report.clone() }),
        };
        Decision { changes: self.report.as_deref().map(put).into_iter().collect(), outcome: Outcome::Done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::command::tests::{NOW_MS, act, caller, chat, env, is_quiet, user};
    use crate::machine::testing::Memory;

    #[test]
    fn a_report_is_kept_once_with_its_time() {
        let report = Report {
            at_ms: 0,
            reporter: user("alice"),
            chat: chat("bob"),
            user: None,
            reason: 1,
            note: "again and again".to_owned(),
            messages: vec![bytes::Bytes::from_static(b"message")],
        };
        let id = ReportId([7; 16]);
        let make = |report| MakeReport { caller: caller("alice", "phone"), id, report };
        let mut memory = Memory::with_users(&["alice", "bob"]);
        let decision = act(&mut memory, make(Some(Box::new(report.clone()))), &env());
        let to = Box::new(Report { at_ms: NOW_MS, ..report });
        assert_eq!(decision.changes, [Change::PutReport { id, to }]);
        let again = act(&mut memory, make(None), &env());
        assert!(is_quiet(&again) && again.outcome == decision.outcome);
    }
}
