//! Half-open ranges of sequence numbers, disjoint and sorted: what was trimmed from a log.

/// Ranges `[from, to)` that neither touch nor overlap, in order. Usually one: trims of a log follow each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds `[from, to)`, joining what it touches.
    pub(crate) fn add(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let first = self.0.partition_point(|range| range.1 < from);
        let behind = first + self.0[first..].partition_point(|range| range.0 <= to);
        let from = self.0[first..behind].first().map_or(from, |range| range.0.min(from));
        let to = self.0[first..behind].last().map_or(to, |range| range.1.max(to));
        self.0.splice(first..behind, [(from, to)]);
    }

    /// The end of the range that holds `seq`.
    pub(crate) fn end_around(&self, seq: u64) -> Option<u64> {
        let at = self.0.partition_point(|range| range.1 <= seq);
        self.0.get(at).filter(|range| range.0 <= seq).map(|range| range.1)
    }

    /// The start of the range that holds `seq`.
    pub(crate) fn start_around(&self, seq: u64) -> Option<u64> {
        let at = self.0.partition_point(|range| range.1 <= seq);
        self.0.get(at).filter(|range| range.0 <= seq).map(|range| range.0)
    }

    pub(crate) fn contains(&self, seq: u64) -> bool {
        self.end_around(seq).is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn they_are_the_set_of_their_numbers(adds in prop::collection::vec((0u64..40, 0u64..40), 0..12)) {
            let mut ranges = Ranges::default();
            let mut model = BTreeSet::new();
            for (from, to) in adds {
                ranges.add(from, to);
                model.extend(from..to);
            }
            for seq in 0..41 {
                prop_assert_eq!(ranges.contains(seq), model.contains(&seq));
                let end = model.contains(&seq).then(|| (seq..=80).find(|seq| !model.contains(seq)).unwrap());
                prop_assert_eq!(ranges.end_around(seq), end);
                let start = model.contains(&seq).then(|| (0..=seq).rev().find(|at| !model.contains(at)));
                prop_assert_eq!(ranges.start_around(seq), start.map(|gap| gap.map_or(0, |gap| gap + 1)));
            }
            let all: Vec<_> = ranges.iter().collect();
            prop_assert!(all.iter().all(|(from, to)| from < to));
            prop_assert!(all.windows(2).all(|pair| pair[0].1 < pair[1].0), "disjoint, and not even touching");
        }
    }
}
