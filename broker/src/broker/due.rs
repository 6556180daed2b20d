//! Sessions that nobody is connected to: what an earlier process left of them, their wills, and their ends.

use super::{CONNECTED_MS, DUE_PAGE, Inner, OUTGROWN_MS};
use crate::registry::Hold;
use crate::sharing::Leaving;
use crate::store::{
    Due, DueKind, RetainedTotals, SessionKey, SessionRecord, StoreError, StoreOp, StoredSession,
};
use std::sync::Arc;
use tokio::task::JoinSet;

impl Inner {
    /// What the store wants to know of a session that is offline from now on, beside its record.
    pub(crate) fn due_entries(key: &SessionKey, record: &SessionRecord) -> Vec<Due> {
        let due = |at_ms, kind| Due { at_ms, kind, session: key.clone() };
        let will = record.will_at_ms().map(|at_ms| due(at_ms, DueKind::Will));
        let expiry = record.expires_at_ms().map(|at_ms| due(at_ms, DueKind::Expiry));
        will.into_iter().chain(expiry).collect()
    }

    /// The ops that take a session out of the store for good.
    pub(crate) fn removal(key: &SessionKey, record: &SessionRecord) -> Vec<StoreOp> {
        let mut ops: Vec<StoreOp> =
            Self::due_entries(key, record).into_iter().map(StoreOp::RemoveDue).collect();
        ops.push(StoreOp::RemoveSession(key.clone()));
        ops
    }

    /// Sessions that were connected when the process died count as disconnected now. One commit for all of them.
    pub(super) fn were_connected(&self, dues: Vec<Due>) -> Result<(), StoreError> {
        let mut ops = Vec::new();
        for due in dues {
            ops.push(StoreOp::RemoveDue(due.clone()));
            let stored = self.store.session(&due.session)?;
            if let Some(stored) = stored.filter(|stored| stored.record.disconnected_ms == 0) {
                let mut record = stored.record;
                record.disconnected_ms = self.config.clock.now_ms();
                record.clean_stop = false;
                ops.extend(Self::due_entries(&due.session, &record).into_iter().map(StoreOp::PutDue));
                ops.push(StoreOp::PutSession(due.session, Box::new(record)));
            }
        }
        self.commit_at_start(ops)
    }

    fn commit_at_start(&self, ops: Vec<StoreOp>) -> Result<(), StoreError> {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.store.commit(
            ops,
            Some(Box::new(move |result| {
                // Nobody waits any more only when the start has failed already.
                let _ = sender.send(result);
            })),
        );
        receiver.recv().map_err(|_| StoreError::new("the store gave no answer while the server started"))?
    }

    /// Takes up how much is retained; looks at all of it where that is not known yet.
    pub(super) fn count_retained(&self) -> Result<(), StoreError> {
        let totals = match self.store.retained_totals()? {
            Some(totals) => totals,
            None => self.count_all_retained()?,
        };
        self.retention.start(totals);
        Ok(())
    }

    fn count_all_retained(&self) -> Result<RetainedTotals, StoreError> {
        let (mut totals, mut expiries) = (RetainedTotals::default(), Vec::new());
        self.store.each_retained(&mut |message| {
            totals.messages += 1;
            totals.bytes += message.weight() as u64;
            expiries.extend(message.expires_ms().map(|at_ms| (at_ms, message.topic)));
        })?;
        for page in expiries.chunks(DUE_PAGE) {
            let index = page.iter().map(|(at_ms, topic)| StoreOp::PutExpiry(*at_ms, topic.clone()));
            self.commit_at_start(index.collect())?;
        }
        // Last: without them the next start counts again.
        self.commit_at_start(vec![StoreOp::PutRetainedTotals(totals)])?;
        Ok(totals)
    }

    /// Ends the sessions whose queue had outgrown its limit when the process died, before anybody can come for one.
    pub(super) fn end_outgrown(self: &Arc<Self>) -> Result<(), StoreError> {
        loop {
            let outgrown = self.store.due(OUTGROWN_MS, OUTGROWN_MS, DUE_PAGE)?;
            if outgrown.is_empty() {
                return Ok(());
            }
            let mut ops = Vec::new();
            for due in outgrown {
                if let Some(stored) = self.store.session(&due.session)? {
                    self.leave_index(&due.session, &stored.record);
                    let leaving = Leaving::session(due.session.clone(), &stored.record, &stored.cursors);
                    self.hand_on_left_blocking(leaving)?;
                    ops.extend(Self::removal(&due.session, &stored.record));
                    self.hook.lost(&due.session);
                }
                ops.push(StoreOp::RemoveDue(due));
            }
            self.commit_at_start(ops)?;
        }
    }

    /// Publishes wills and ends sessions whose time has come.
    pub(crate) async fn take_due(self: &Arc<Self>) {
        let now_ms = self.config.clock.now_ms();
        // Connected sessions stand in front of everything, however many they are.
        match self.store.due(CONNECTED_MS + 1, now_ms, DUE_PAGE) {
            Ok(due) => {
                // Side by side, since each waits for what its will does to be durable.
                let mut under_way: JoinSet<Result<(), StoreError>> = JoinSet::new();
                for due in due {
                    let inner = Arc::clone(self);
                    under_way.spawn(async move { inner.one_due(&due, now_ms).await });
                }
                while let Some(done) = under_way.join_next().await {
                    if let Ok(Err(error)) = done {
                        self.stats.store_errors.count();
                        tracing::error!("a due session could not be looked up: {error}");
                    }
                }
            }
            Err(error) => {
                self.stats.store_errors.count();
                tracing::error!("the index of due times could not be read: {error}");
            }
        }
    }

    /// Takes a session that ends out of the index: nothing more is queued for it.
    pub(crate) fn leave_index(&self, key: &SessionKey, record: &SessionRecord) {
        if let Some(link) = self.registry.link(key) {
            self.unroute(&link, &record.subscriptions);
            link.end_queue();
            self.registry.release(key);
        }
    }

    /// Takes a session away that nobody is connected to and that has left the index: from the store, with all that was due. The
    /// hook is to be told.
    pub(super) fn end_held(
        &self,
        hold: Hold,
        key: &SessionKey,
        record: &SessionRecord,
        mut ops: Vec<StoreOp>,
    ) {
        ops.extend(Self::removal(key, record));
        self.commit_held(hold, ops);
    }

    /// Commits what becomes of a session that nobody is connected to, and holds it until that is durable: who connects meanwhile would
    /// find what was there before, and go on with a session that is about to go.
    fn commit_held(&self, hold: Hold, ops: Vec<StoreOp>) {
        self.store.commit(ops, Some(Box::new(move |_| drop(hold))));
    }

    async fn one_due(self: &Arc<Self>, due: &Due, now_ms: u64) -> Result<(), StoreError> {
        let key = &due.session;
        // Who is connected, or about to be, takes what was due off the index.
        let Some(hold) = self.registry.hold(key) else { return Ok(()) };
        let outgrown = due.kind == DueKind::Outgrown;
        let is_over = |stored: &StoredSession| stored.record.disconnected_ms != 0 || outgrown;
        let stored = self.store.session(key)?.filter(is_over);
        let Some(StoredSession { mut record, cursors, .. }) = stored else {
            // It is back: what was due is not.
            self.store.commit(vec![StoreOp::RemoveDue(due.clone())], None);
            return Ok(());
        };
        let will =
            record.will_at_ms().filter(|at_ms| *at_ms <= now_ms || outgrown).and_then(|_| record.will.take());
        if let Some(will) = will {
            self.publish_will(&self.absent(key, will.connection), will.message).await;
        }
        let mut ops = vec![StoreOp::RemoveDue(due.clone())];
        let expired = record.expires_at_ms().is_some_and(|at_ms| at_ms <= now_ms);
        if expired || outgrown {
            self.stats.sessions_expired.add(u64::from(!outgrown));
            self.leave_index(key, &record);
            self.hand_on_left(Leaving::session(key.clone(), &record, &cursors), || false).await?;
            self.end_held(hold, key, &record, ops);
            self.hook.lost(key);
        } else {
            ops.push(StoreOp::PutSession(key.clone(), Box::new(record)));
            self.commit_held(hold, ops);
        }
        Ok(())
    }
}
