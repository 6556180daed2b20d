//! What a layer of the overlay holds of one log: the entries appended while it was active, and what happened to older ones.
//!
//! Sequence numbers of a log only grow, so everything at or above the first number appended here (`fresh_from`) is in no
//! layer below: it can be trimmed without a trace, and a reader who starts there needs no other layer. Below it lie the
//! entries of other layers, of which this one holds rewritten values and trimmed ranges.

use super::ranges::Ranges;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// What an entry costs besides its value, for the accounting of memory.
const ENTRY: usize = size_of::<(u64, Bytes)>();

/// A layer's part of one log.
#[derive(Debug, Default)]
pub(crate) struct LogPart {
    fresh_from: Option<u64>,
    /// Fresh entries in ascending order, all at or above `fresh_from`.
    entries: VecDeque<(u64, Bytes)>,
    /// New values of entries below `fresh_from`; they win over `trimmed`.
    rewritten: BTreeMap<u64, Bytes>,
    /// Ranges below `fresh_from` that hide what lower layers have.
    trimmed: Ranges,
}

impl LogPart {
    /// Adds an entry; answers the bytes this layer grew by.
    pub(crate) fn append(&mut self, seq: u64, value: Bytes) -> usize {
        if self.fresh_from.is_none() {
            self.fresh_from = Some(seq);
        }
        self.rewrite(seq, value)
    }

    /// Sets an entry that may be in a lower layer; answers the bytes this layer grew by.
    pub(crate) fn rewrite(&mut self, seq: u64, value: Bytes) -> usize {
        let grown = ENTRY + value.len();
        if self.fresh_from.is_none_or(|fresh| seq < fresh) {
            self.rewritten.insert(seq, value);
        } else if self.entries.back().is_none_or(|last| last.0 < seq) {
            self.entries.push_back((seq, value));
        } else {
            match self.entries.binary_search_by_key(&seq, |entry| entry.0) {
                Ok(at) => self.entries[at].1 = value,
                Err(at) => self.entries.insert(at, (seq, value)),
            }
        }
        grown
    }

    /// Removes `[from, to)`; answers the bytes this layer shrank by. Leaves no trace of what was fresh.
    pub(crate) fn trim(&mut self, from: u64, to: u64) -> usize {
        if from >= to {
            return 0;
        }
        let mut freed = 0;
        // Nearly always it is the oldest that go: found without a search.
        let oldest_go = self.entries.front().is_none_or(|entry| entry.0 >= from);
        let first = if oldest_go { 0 } else { self.entries.partition_point(|entry| entry.0 < from) };
        let next_stays = self.entries.get(first + 1).is_none_or(|entry| entry.0 >= to);
        let behind = if next_stays {
            first + usize::from(self.entries.get(first).is_some_and(|entry| entry.0 < to))
        } else {
            self.entries.partition_point(|entry| entry.0 < to)
        };
        for (_, value) in self.entries.drain(first..behind) {
            freed += ENTRY + value.len();
        }
        let below = self.fresh_from.map_or(to, |fresh| to.min(fresh));
        if from < below {
            for (_, value) in self.rewritten.extract_if(from..below, |_, _| true) {
                freed += ENTRY + value.len();
            }
            self.trimmed.add(from, below);
        }
        freed
    }

    /// The first sequence number that no lower layer has; `u64::MAX` if any may be there.
    pub(crate) fn fresh_from(&self) -> u64 {
        self.fresh_from.unwrap_or(u64::MAX)
    }

    /// Fresh entries at or above `seq`, ascending.
    pub(crate) fn fresh(&self, seq: u64) -> impl Iterator<Item = (u64, &Bytes)> + '_ {
        let first = self.entries.partition_point(|entry| entry.0 < seq);
        self.entries.range(first..).map(|(seq, value)| (*seq, value))
    }

    /// The last fresh entry's number.
    pub(crate) fn last_fresh(&self) -> Option<u64> {
        self.entries.back().map(|entry| entry.0)
    }

    /// Rewritten entries at or above `seq`, ascending.
    pub(crate) fn rewritten(&self, seq: u64) -> impl DoubleEndedIterator<Item = (u64, &Bytes)> + '_ {
        self.rewritten.range(seq..).map(|(seq, value)| (*seq, value))
    }

    /// The ranges this layer hides of lower ones.
    pub(crate) fn trimmed(&self) -> &Ranges {
        &self.trimmed
    }

    /// How many operations [`crate::overlay`] will write down for this log, at most.
    pub(crate) fn ops(&self) -> usize {
        self.entries.len() + self.rewritten.len() + self.trimmed.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Seen {
        Value(Bytes),
        Trimmed,
        Nothing,
    }

    impl LogPart {
        fn look(&self, seq: u64) -> Seen {
            if let Some((_, value)) = self.fresh(seq).chain(self.rewritten(seq)).find(|entry| entry.0 == seq)
            {
                return Seen::Value(value.clone());
            }
            let hides = seq >= self.fresh_from() || self.trimmed.contains(seq);
            if hides { Seen::Trimmed } else { Seen::Nothing }
        }
    }

    fn value(byte: u8) -> Bytes {
        Bytes::copy_from_slice(&[byte])
    }

    #[test]
    fn what_was_fresh_goes_without_a_trace() {
        let mut part = LogPart::default();
        let grown: usize = (10..15).map(|seq| part.append(seq, value(1))).sum();
        assert_eq!(part.trim(10, 15), grown, "all of the memory comes back");
        assert_eq!(part.ops(), 0);
        assert_eq!(part.fresh_from(), 10, "and the layer still knows that nothing below has them");
        assert_eq!(part.look(12), Seen::Trimmed);
    }

    #[test]
    fn a_trim_leaves_a_mark_only_where_lower_layers_may_have_entries() {
        let mut part = LogPart::default();
        part.append(10, value(1));
        part.append(11, value(1));
        part.trim(5, 11);
        assert_eq!(part.trimmed().iter().collect::<Vec<_>>(), [(5, 10)]);
        assert_eq!(part.look(4), Seen::Nothing);
        assert_eq!(part.look(7), Seen::Trimmed);
        assert_eq!(part.look(11), Seen::Value(value(1)));
        assert_eq!(part.trim(8, 8) + part.trim(9, 3), 0, "an empty range is nothing");
    }

    #[test]
    fn a_rewritten_entry_wins_over_an_earlier_trim_and_goes_with_a_later_one() {
        let mut part = LogPart::default();
        part.trim(0, 10);
        part.rewrite(5, value(7));
        assert_eq!(part.look(5), Seen::Value(value(7)));
        part.trim(5, 6);
        assert_eq!(part.look(5), Seen::Trimmed);
    }

    #[test]
    fn a_log_that_begins_again_hides_its_past() {
        let mut part = LogPart::default();
        part.trim(0, u64::MAX);
        part.append(1, value(1));
        assert_eq!(part.trimmed().iter().collect::<Vec<_>>(), [(0, u64::MAX)]);
        assert_eq!(part.look(1), Seen::Value(value(1)));
        assert_eq!(part.look(2), Seen::Trimmed);
    }

    #[test]
    fn entries_out_of_order_find_their_place() {
        let mut part = LogPart::default();
        for seq in [3, 7, 5, 7] {
            part.append(seq, value(seq as u8));
        }
        assert_eq!(part.fresh(4).map(|(seq, _)| seq).collect::<Vec<_>>(), [5, 7]);
        assert_eq!(part.last_fresh(), Some(7));
    }
}
