//! What users have reported, for who runs the server.

use super::admin::{AccountError, Accounts};
use crate::machine::record::{Report, ReportId};
use crate::sequencer::names;
use crate::session_store::space;
use chasqui_storage::Batch;

impl Accounts {
    /// Reports behind this one, in the order of their ids, at most `max`.
    pub fn reports(
        &self,
        after: Option<ReportId>,
        max: usize,
    ) -> Result<Vec<(ReportId, Report)>, AccountError> {
        let from = after.map(|ReportId(id)| [&id[..], &[0]].concat()).unwrap_or_default();
        let page = self.reader.ordered_range(space::REPORTS, &from, None, max)?;
        let reports = page.into_iter().filter_map(|(name, stored)| {
            let id = ReportId(<[u8; 16]>::try_from(&name[..]).ok()?);
            Some(Report::decode(&stored).map(|report| (id, report)))
        });
        Ok(reports.collect::<Result<_, _>>()?)
    }

    /// A report.
    pub fn report(&self, id: ReportId) -> Result<Report, AccountError> {
        let stored = self.reader.get(&names::report_record(&id))?;
        Ok(Report::decode(&stored.ok_or(AccountError::NoReport(id))?)?)
    }

    /// Takes a report away: the same may be made again then.
    pub fn remove_report(&self, id: ReportId) -> Result<(), AccountError> {
        self.report(id)?;
        let mut batch = Batch::new();
        batch.delete(&names::report_record(&id));
        Ok(self.admin.write(batch)?)
    }
}
