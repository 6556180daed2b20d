//! The end of a connection: what is still said, what is stored, and who gets what it leaves behind.

use super::{Connection, GOODBYE, Stream, commit};
use crate::broker::Inner;
use crate::codec::ReasonCode;
use crate::hook::Client;
use crate::link::{Event, Link};
use crate::session::{Close, Session};
use crate::store::{Due, DueKind, StoreOp};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// How long the end of a connection waits for what is to be carried out once.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

impl<S: Stream> Connection<S> {
    /// The connection is over: say so, publish the will, store what is kept, let the next one in.
    pub(in crate::net) async fn finish(mut self: Box<Self>, close: Close) {
        match close {
            Close::Server(code, sentence) => {
                tracing::debug!(client_id = &*self.session.client.session.client_id, "closing: {sentence}");
                self.session.say_goodbye(code, sentence);
                self.last_words().await;
            }
            Close::Said => self.last_words().await,
            Close::Client if S::SAYS_GOODBYE => self.last_words().await,
            Close::Client | Close::Network => {}
        }
        // Closed before anything else, so that the client does not wait for the store.
        let Connection { inner, stream, mut session, claim, places, .. } = *self;
        drop(stream);
        if session.awaits_exactly_once() {
            last_answers(&mut session, &claim.link).await;
        }
        for source in session.sources() {
            inner.sources.detach(source, &claim.link);
        }
        let client = Arc::clone(&session.client);
        if claim.link.is_outgrown() {
            session.end_with_connection();
        }
        let now_ms = inner.config.clock.now_ms();
        let will_is_due = session.record(now_ms).will_at_ms().is_some_and(|at_ms| at_ms <= now_ms);
        if will_is_due && let Some(will) = session.take_will() {
            inner.publish_will(&client, will.message).await;
        }
        let mut ops = Vec::new();
        let kept = store_end(&inner, &mut session, &claim.link, &mut ops);
        let handed_on = inner.hand_on_end(&mut session, &claim, kept).await;
        let stored = match handed_on {
            // What could not be handed on is kept with the session, which the next start ends.
            Err(error) if !kept => Err(error),
            handed_on => {
                if let Err(error) = handed_on {
                    inner.stats.store_errors.count();
                    tracing::error!("what waits for a session stays with it, and goes to no other: {error}");
                }
                if ops.is_empty() { Ok(()) } else { commit(&inner, ops).await }
            }
        };
        if let Err(error) = stored {
            inner.stats.store_errors.count();
            tracing::error!("the end of a session could not be stored: {error}");
        }
        if !kept {
            inner.hook.ended(&client.session);
        }
        inner.hook.disconnected(&client);
        drop(claim);
        drop(places);
    }

    async fn last_words(&mut self) {
        self.count_out();
        let rest = &self.session.out[self.written..];
        self.inner.stats.bytes_sent.add(rest.len() as u64);
        // A client that does not take them in time goes without.
        let _ = tokio::time::timeout(GOODBYE, self.stream.write_all(rest)).await;
        let _ = tokio::time::timeout(GOODBYE, self.stream.shutdown()).await;
    }
}

/// Waits for the answers to QoS 2 publishes that are being carried out: a next connection repeats them, and has to find them done,
/// or not.
async fn last_answers(session: &mut Session, link: &Link) {
    let mut events = Vec::new();
    let answered = poll_fn(|cx| {
        loop {
            events.clear();
            link.take(&mut events, cx.waker());
            if events.is_empty() {
                return Poll::Pending;
            }
            for event in events.drain(..) {
                // The store takes nothing more: there will be no answer.
                if let Event::Close(ReasonCode::ImplementationSpecificError, _) = event {
                    return Poll::Ready(());
                }
                session.event_at_the_end(event);
            }
            if !session.awaits_exactly_once() {
                return Poll::Ready(());
            }
        }
    });
    if tokio::time::timeout(LAST_ANSWERS, answered).await.is_err() {
        tracing::error!(
            client_id = &*session.client.session.client_id,
            "QoS 2 publishes were not answered in time: if they are repeated they may be carried out twice"
        );
    }
}

/// What is to be stored of a session whose connection is over, and whether the session is.
fn store_end(inner: &Arc<Inner>, session: &mut Session, link: &Arc<Link>, ops: &mut Vec<StoreOp>) -> bool {
    let client: Arc<Client> = Arc::clone(&session.client);
    let key = &client.session;
    let now_ms = inner.config.clock.now_ms();
    let kept = !session.record(now_ms).ends_with_connection();
    if client.persistent {
        ops.push(StoreOp::RemoveDue(Due { at_ms: 0, kind: DueKind::Connected, session: key.clone() }));
    }
    if kept && client.persistent {
        if session.subscriptions().iter().any(|subscription| subscription.plain) {
            inner.registry.keep(key);
        } else {
            inner.registry.release(key);
        }
        inner.step_back(link, session.subscriptions());
        let record = session.record(now_ms);
        ops.extend(Inner::due_entries(key, &record).into_iter().map(StoreOp::PutDue));
        ops.push(StoreOp::PutSession(key.clone(), Box::new(record)));
        ops.push(StoreOp::PutCursors(key.clone(), session.cursors()));
        return true;
    }
    inner.unroute(link, session.subscriptions());
    link.end_queue();
    inner.registry.release(key);
    if client.persistent {
        ops.push(StoreOp::RemoveSession(key.clone()));
    }
    if link.is_outgrown() {
        ops.push(StoreOp::RemoveDue(Due::outgrown(key.clone())));
        link.forget_outgrown();
    }
    false
}
