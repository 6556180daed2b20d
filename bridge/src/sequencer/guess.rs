//! Keeps users from being listed: who names users that do not exist may do so a few times, then slowly.
//!
//! One bucket per user, in memory; one that is full again is forgotten. When a bucket is empty the machine
//! stops telling its user who exists.

use chasqui_proto::UserId;
use hashbrown::HashMap;

/// Unknown users that one may name at once.
const BURST: u64 = 10;
/// After that, one more in this time.
const REFILL_MS: u64 = 10_000;
/// Buckets that are not full are kept for this many users; beyond, a sweep drops those that have filled up
/// since.
const SWEEP_AT: usize = 10_000;

/// What the users who guessed have left.
#[derive(Default)]
pub(super) struct Guesses {
    /// When the bucket will be full again, in Unix milliseconds: the whole bucket as one number.
    full_at_ms: HashMap<UserId, u64, foldhash::fast::RandomState>,
    sweep_at: usize,
}

impl Guesses {
    /// How long the user has to wait before naming another unknown user, if they do.
    pub(super) fn wait_ms(&mut self, user: &UserId, now_ms: u64) -> Option<u32> {
        if self.full_at_ms.is_empty() {
            return None;
        }
        let full_at_ms = self.full_at_ms.get_mut(user)?;
        // No bucket is emptier than empty, not even when the clock was set back.
        *full_at_ms = (*full_at_ms).min(now_ms + BURST * REFILL_MS);
        let wait_ms = full_at_ms.saturating_sub(now_ms + (BURST - 1) * REFILL_MS);
        (wait_ms > 0).then_some(wait_ms as u32)
    }

    /// The user has named one.
    pub(super) fn note(&mut self, user: &UserId, now_ms: u64) {
        if self.full_at_ms.len() >= self.sweep_at.max(SWEEP_AT) {
            self.full_at_ms.retain(|_, full_at_ms| *full_at_ms > now_ms);
            self.sweep_at = 2 * self.full_at_ms.len();
        }
        let full_at_ms = self.full_at_ms.entry(user.clone()).or_insert(now_ms);
        *full_at_ms = (*full_at_ms).max(now_ms) + REFILL_MS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: usize) -> UserId {
        UserId::parse(&format!("user-{n}")).unwrap()
    }

    #[test]
    fn ten_at_once_then_one_every_ten_seconds() {
        let mut guesses = Guesses::default();
        for n in 0..BURST {
            assert_eq!(guesses.wait_ms(&user(1), 1_000), None, "guess {n}");
            guesses.note(&user(1), 1_000);
        }
        assert_eq!(guesses.wait_ms(&user(1), 1_000), Some(10_000));
        assert_eq!(guesses.wait_ms(&user(1), 7_000), Some(4_000));
        assert_eq!(guesses.wait_ms(&user(2), 7_000), None, "others are not concerned");
        assert_eq!(guesses.wait_ms(&user(1), 11_000), None);
        guesses.note(&user(1), 11_000);
        assert_eq!(guesses.wait_ms(&user(1), 11_000), Some(10_000));
        assert_eq!(guesses.wait_ms(&user(1), 200_000), None);
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        let mut guesses = Guesses::default();
        for _ in 0..BURST {
            guesses.note(&user(1), 10_000_000);
        }
        assert_eq!(guesses.wait_ms(&user(1), 1_000), Some(10_000));
        assert_eq!(guesses.wait_ms(&user(1), 11_000), None);
    }

    #[test]
    fn what_has_filled_up_is_forgotten() {
        let mut guesses = Guesses::default();
        for n in 0..3 * SWEEP_AT {
            guesses.note(&user(n), n as u64 * 100);
        }
        assert!(guesses.full_at_ms.len() <= SWEEP_AT, "{}", guesses.full_at_ms.len());
    }
}
