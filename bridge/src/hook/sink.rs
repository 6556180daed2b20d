//! What the sequencer has done, on its way to the connections: answers to those who asked, and what is new to those who read it.
//!
//! On the commit thread, in the order of the batches: nothing here waits.

use super::asks::Asks;
use super::{ChatHook, commands, sources};
use crate::machine::Outcome;
use crate::sequencer::{Answer, Committed, Sink, Unanswered};
use chasqui_broker::codec::ReasonCode;
use chasqui_broker::hook::Done;
use chasqui_broker::store::StoreError;
use chasqui_storage::Poisoned;

impl Sink for ChatHook {
    fn committed(&self, committed: Committed) {
        if let Some(broker) = &*self.broker.read() {
            broker.committed(committed.tails.into_iter().map(sources::tail));
        }
        if !committed.notices.is_empty() {
            // Before who asked for it is told that it is so.
            let now_ms = self.now_ms();
            committed.notices.iter().for_each(|notice| self.presence.notice(notice, now_ms));
        }
        let mut answers = committed.answers.into_iter().peekable();
        while let Some(answer) = answers.next() {
            if self.admin.answered(&answer) {
                continue;
            }
            let Answer { origin, token, outcome } = answer;
            if let Some(question) = self.asks.take(token) {
                question(failure(outcome));
                continue;
            }
            let Some(client) = self.connections.get(origin) else { continue };
            let mut done: Vec<Done> = commands::done(&client, token, outcome).into_iter().collect();
            // The answers of one connection stand together: it is woken once.
            while let Some(Answer { token, outcome, .. }) =
                answers.next_if(|next| next.origin == origin && !Asks::is_question(next.token))
            {
                done.extend(commands::done(&client, token, outcome));
            }
            if !done.is_empty() {
                client.answer(done);
            }
        }
    }

    fn poisoned(&self, unanswered: Vec<Unanswered>, why: &Poisoned) {
        if !std::mem::replace(&mut *self.said_poisoned.lock(), true) {
            tracing::error!("the store takes no more writes, nothing more is acknowledged: {why}");
        }
        for unanswered in unanswered {
            if self.admin.unanswered(&unanswered, why) {
                continue;
            }
            let Unanswered { origin, token } = unanswered;
            if let Some(question) = self.asks.take(token) {
                question(Err(StoreError::new(why.to_string())));
            } else if let Some(client) = self.connections.get(origin) {
                client.close(
                    ReasonCode::ImplementationSpecificError,
                    "the server cannot write to its disk; nothing more is acknowledged",
                );
            }
        }
    }
}

/// An outcome that says that nothing was decided, as the error it is.
fn failure(outcome: Outcome) -> Result<Outcome, StoreError> {
    match outcome {
        Outcome::Failed(sentence) => Err(StoreError(sentence)),
        outcome => Ok(outcome),
    }
}
