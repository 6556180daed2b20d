//! Questions to the machine that no packet waits for directly, by the token that comes back with the answer.

use crate::machine::Outcome;
use chasqui_broker::store::StoreError;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tokens with this bit are questions; connections count theirs from 1 and never come near.
const QUESTION: u64 = 1 << 63;

/// Goes on with the answer.
pub(super) type Question = Box<dyn FnOnce(Result<Outcome, StoreError>) + Send>;

/// The questions that wait. Few at a time: subscriptions, accounts, devices that end.
#[derive(Default)]
pub(super) struct Asks {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Question, foldhash::fast::RandomState>>,
}

impl Asks {
    /// Keeps a question; the token is to be asked with.
    pub(super) fn put(&self, question: Question) -> u64 {
        let token = QUESTION | self.next.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().insert(token, question);
        token
    }

    /// The question of this token, once.
    pub(super) fn take(&self, token: u64) -> Option<Question> {
        if !Self::is_question(token) {
            return None;
        }
        self.waiting.lock().remove(&token)
    }

    /// Whether a token is a question's.
    pub(super) fn is_question(token: u64) -> bool {
        token & QUESTION != 0
    }
}
