//! What the application allows has changed: every session's filters are looked at again, connected or not.
//!
//! A connected session asks for itself, in its own task. An offline one with filters in the router's index is held meanwhile, so that
//! nobody connects to it, and its record is stored without what was revoked. A session that connects after the change
//! is asked about as it resumes. So when all that were there have been asked, none has what is not allowed.

use crate::broker::{Broker, Inner};
use crate::hook::Standing;
use crate::link::Event;
use crate::net::commit;
use crate::registry::Hold;
use crate::store::{SessionKey, SessionRecord, StoreError, StoreOp, StoredSubscription};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Before a session is looked at again that is just coming or going.
const MOMENT: Duration = Duration::from_millis(1);

impl Broker {
    /// Asks the application about the subscriptions of all sessions, or of those of one owner, again: to be called after what it
    /// allows has changed. What it [revokes](Standing::Revoked) ends. Returns when that is in effect and stored, with how many subscriptions
    /// ended: what is published afterwards does not arrive by them, and neither does what waited.
    ///
    /// # Errors
    /// When the store or the application could not answer for some offline session; all others are done. Such a session is
    /// asked about when it comes back.
    pub async fn recheck(&self, owner: Option<&str>) -> Result<usize, StoreError> {
        let inner = &self.inner;
        let mut revoked = 0;
        let mut failed = None;
        // One part of the sessions after the other: what is held in memory for this is a part.
        for part in inner.registry.parts() {
            let keys = inner.registry.part(part, owner);
            let told: Vec<_> = keys.iter().map(|key| inner.ask_connected(key)).collect();
            for (key, told) in keys.iter().zip(told) {
                let done = match told.await {
                    Ok(revoked) => Ok(revoked),
                    Err(_) => inner.recheck_one(key).await,
                };
                match done {
                    Ok(count) => revoked += count,
                    Err(error) => {
                        inner.stats.store_errors.count();
                        tracing::error!(
                            owner = &*key.owner,
                            client_id = &*key.client_id,
                            "the filters of an offline session could not be looked at again: {error}"
                        );
                        failed = Some(error);
                    }
                }
            }
        }
        failed.map_or(Ok(revoked), Err)
    }
}

impl Inner {
    /// Tells a session's connection to ask. What comes back is an error where there is none, or where it ends first.
    fn ask_connected(&self, key: &SessionKey) -> oneshot::Receiver<usize> {
        let (told, revoked) = oneshot::channel();
        if let Some(link) = self.registry.link(key) {
            link.push(Event::Recheck(told));
        }
        revoked
    }

    /// Sees to one session, whether it is offline, connected, or between the two.
    async fn recheck_one(self: &Arc<Self>, key: &SessionKey) -> Result<usize, StoreError> {
        loop {
            if let Some(hold) = self.registry.hold(key) {
                return self.recheck_held(&hold, key).await;
            }
            if let Ok(revoked) = self.ask_connected(key).await {
                return Ok(revoked);
            }
            tokio::time::sleep(MOMENT).await;
        }
    }

    async fn recheck_held(self: &Arc<Self>, _hold: &Hold, key: &SessionKey) -> Result<usize, StoreError> {
        let Some(stored) = self.store.session(key)? else { return Ok(0) };
        let (mut record, link) = (stored.record, self.registry.link(key));
        let filters = plain_filters(&record);
        if filters.is_empty() {
            return Ok(0);
        }
        let (sender, receiver) = oneshot::channel();
        let rechecked = Box::new(move |standings| {
            // Nobody waits any more when the server is going down.
            let _ = sender.send(standings);
        });
        self.hook.recheck(&self.absent(key, 0), filters, rechecked);
        let standings = receiver.await.map_err(|_| unanswered())??;
        let revoked = self.take_revoked(key, &mut record, standings);
        if revoked.is_empty() {
            return Ok(0);
        }
        if let Some(link) = link {
            self.unroute(&link, &revoked);
            // What was queued by now is looked at before it is delivered.
            record.revoked_up_to = record.revoked_up_to.max(*link.queue());
        }
        if plain_filters(&record).is_empty() {
            self.registry.release(key);
        }
        commit(self, vec![StoreOp::PutSession(key.clone(), Box::new(record))]).await?;
        Ok(revoked.len())
    }

    /// The same for a session that is not in the index yet, before anybody is served. What is left of it is to be put there.
    pub(crate) fn recheck_at_start(
        &self,
        key: &SessionKey,
        record: &mut SessionRecord,
        queue_end: u64,
    ) -> Result<(), StoreError> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let rechecked = Box::new(move |standings| {
            // Nobody waits any more only when the start has failed already.
            let _ = sender.send(standings);
        });
        self.hook.recheck(&self.absent(key, 0), plain_filters(record), rechecked);
        let standings = receiver.recv().map_err(|_| unanswered())??;
        if !self.take_revoked(key, record, standings).is_empty() {
            record.revoked_up_to = record.revoked_up_to.max(queue_end);
            self.store.commit(vec![StoreOp::PutSession(key.clone(), Box::new(record.clone()))], None);
        }
        Ok(())
    }

    /// Takes out of an offline session's record what was revoked of its plain filters.
    fn take_revoked(
        &self,
        key: &SessionKey,
        record: &mut SessionRecord,
        standings: Vec<Standing>,
    ) -> Vec<StoredSubscription> {
        let mut standings = standings.into_iter();
        let is_revoked = |subscription: &mut StoredSubscription| {
            subscription.plain && standings.next() == Some(Standing::Revoked)
        };
        let revoked: Vec<_> = record.subscriptions.extract_if(.., is_revoked).collect();
        for subscription in &revoked {
            self.stats.subscriptions_revoked.count();
            tracing::info!(
                owner = &*key.owner,
                client_id = &*key.client_id,
                filter = &*subscription.filter,
                "a subscription of an offline session ended: it is not allowed any more"
            );
        }
        revoked
    }
}

/// The filters of a session that stand in the router's index, in order.
fn plain_filters(record: &SessionRecord) -> Vec<Arc<str>> {
    let plain = record.subscriptions.iter().filter(|subscription| subscription.plain);
    plain.map(|subscription| Arc::clone(&subscription.filter)).collect()
}

fn unanswered() -> StoreError {
    StoreError::new("the application dropped the question what a session may subscribe to")
}
