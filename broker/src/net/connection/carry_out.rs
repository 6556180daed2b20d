//! What a session asks for is done: by the router, the application and the store, which answer with events.

use super::{Connection, Stream};
use crate::codec::ReasonCode;
use crate::hook::Occasion;
use crate::link::Event;
use crate::net::login::take_step;
use crate::session::{AuthWork, Close, Turn};
use crate::source::SourceId;
use crate::store::{StoreError, StoreOp};
use std::sync::Arc;

impl<S: Stream> Connection<S> {
    /// Cursors that moved go to the store; they ride on its next commit.
    pub(super) fn hand_over_moves(&mut self) {
        let moves = self.session.take_moves();
        if let Some(queue) = moves.iter().find(|moved| &*moved.source.0 == SourceId::QUEUE) {
            self.claim.link.set_done(queue.to);
        }
        if !moves.is_empty() && self.session.client.persistent {
            let session = &self.session;
            self.inner.store.cursors_moved(&session.client.session, moves, session.last_packet_id());
        }
    }

    /// Does what the session asks for. What it asks for then is in the turn.
    pub(super) fn carry_out(&mut self, next: &mut Turn) -> Result<(), Close> {
        if next.is_empty() {
            return Ok(());
        }
        let turn = std::mem::take(next);
        if turn.save || turn.store_flights {
            // Cursors are written down no earlier than what they say is handed over.
            self.hand_over_moves();
        }
        let inner = Arc::clone(&self.inner);
        let client = Arc::clone(&self.session.client);
        inner.change_index(&self.claim.link, &turn, &mut self.session);
        if !turn.plains.is_empty() {
            let answered = inner.publish_all(&client, self.cache.get_or_insert_default(), turn.plains);
            if !answered.is_empty() {
                let event = Event::Done(client.connection, answered);
                inner.context_at(self.now_ms, self.is_busy, |cx| self.session.event(event, cx, next))?;
            }
        }
        if !turn.commands.is_empty() {
            inner.hook.submit(&client, turn.commands);
        }
        if !turn.enqueue.is_empty() {
            inner.enqueue(&self.claim.link, turn.enqueue);
        }
        if !turn.unsubscribed.is_empty() {
            inner.hook.unsubscribed(&client, &turn.unsubscribed);
        }
        if let Some(asked) = turn.asked {
            let link = Arc::clone(&self.claim.link);
            let connection = client.connection;
            let granted = Box::new(move |grants| {
                link.push(Event::Granted(connection, grants));
            });
            inner.hook.subscribe(&client, Occasion::Subscribe, asked.asks, granted);
        }
        if let Some(filters) = turn.recheck {
            let link = Arc::clone(&self.claim.link);
            let connection = client.connection;
            let rechecked = Box::new(move |standings| {
                link.push(Event::Rechecked(connection, standings));
            });
            inner.hook.recheck(&client, filters, rechecked);
        }
        if let Some(AuthWork { exchange, method, login, data }) = turn.authenticate {
            let (inner, link, connection) =
                (Arc::clone(&inner), Arc::clone(&self.claim.link), client.connection);
            tokio::spawn(async move {
                let (exchange, step) = take_step(&inner, exchange, &method, login, data).await;
                link.push(Event::Authenticated(connection, exchange, step));
            });
        }
        if !turn.release.is_empty() {
            let key = client.session.clone();
            let ids = turn.release.iter().map(|id| id.get()).collect();
            let (link, connection) = (Arc::clone(&self.claim.link), client.connection);
            let then = move || link.push(Event::Released(connection, turn.release));
            self.commit_then(vec![StoreOp::Release(key, ids)], then);
        }
        if turn.store_flights {
            let ops = vec![StoreOp::PutCursors(client.session.clone(), self.session.cursors())];
            let (link, connection) = (Arc::clone(&self.claim.link), client.connection);
            self.commit_then(ops, move || link.push(Event::FlightsStored(connection)));
        }
        if turn.save {
            let record = Box::new(self.session.record(0));
            let key = client.session.clone();
            let ops = vec![
                StoreOp::PutSession(key.clone(), record),
                StoreOp::PutCursors(key, self.session.cursors()),
            ];
            let link = Arc::clone(&self.claim.link);
            let done = Box::new(move |result| {
                link.push(Event::Stored(client.connection, result));
            });
            inner.store.commit(ops, Some(done));
        }
        Ok(())
    }

    /// Commits, and goes on when it is durable; the connection ends if it never will be.
    fn commit_then(&self, ops: Vec<StoreOp>, then: impl FnOnce() -> bool + Send + 'static) {
        let link = Arc::clone(&self.claim.link);
        let done = move |result: Result<(), StoreError>| {
            if result.is_ok() {
                then();
            } else {
                link.push(Event::Close(
                    ReasonCode::ImplementationSpecificError,
                    "the server cannot write to its store; nothing more is acknowledged",
                ));
            }
        };
        self.inner.store.commit(ops, Some(Box::new(done)));
    }
}
