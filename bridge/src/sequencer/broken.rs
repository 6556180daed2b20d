//! Connections with a command that could not be decided, for want of a record that could not be read.
//!
//! Such a connection ends, and its client repeats the command on the next one. What it had sent behind that command must not be decided
//! before: the repeated one would get its number behind those, and messages would not stand in the order they were sent.

use std::collections::VecDeque;

/// Origins from here on are no connections'.
pub const CONNECTIONS_END: u64 = 1 << 61;

/// How long it is remembered. The connection is told to end at once: what comes after that was on its way.
const REMEMBERED_MS: u64 = 60_000;

/// See the module.
#[derive(Default)]
pub(super) struct Broken {
    /// Each with when it was noted, oldest first.
    connections: VecDeque<(u64, u64)>,
}

impl Broken {
    /// A command of this origin could not be decided, and somebody waits for its answer.
    pub(super) fn note(&mut self, origin: u64, now_ms: u64) {
        if origin < CONNECTIONS_END {
            self.connections.push_back((origin, now_ms));
        }
    }

    /// Whether what comes from this origin is too late.
    pub(super) fn has(&mut self, origin: u64, now_ms: u64) -> bool {
        while self.connections.front().is_some_and(|(_, at_ms)| at_ms + REMEMBERED_MS <= now_ms) {
            self.connections.pop_front();
        }
        self.connections.iter().any(|(broken, _)| *broken == origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_remembered_for_a_while() {
        let mut broken = Broken::default();
        broken.note(7, 1_000);
        broken.note(8, 2_000);
        broken.note(CONNECTIONS_END, 2_000);
        assert!(broken.has(7, 60_999) && broken.has(8, 60_999));
        assert!(!broken.has(9, 60_999) && !broken.has(CONNECTIONS_END, 2_000));
        assert!(!broken.has(7, 61_000) && broken.has(8, 61_000));
        assert!(broken.has(8, 500), "a clock that is set back forgets nothing");
    }
}
