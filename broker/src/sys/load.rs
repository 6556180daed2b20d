//! Load averages: a counter's rate per minute as a moving average over 1, 5 and 15 minutes, by mosquitto's formula.
//!
//! With a rate `r` since the last look, `t` seconds ago, an average over `s` seconds becomes `r + exp(-t/s) · (average - r)`.

/// The averages: the last level of their topics, and seconds.
pub(super) const SPANS: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

/// A counter's averages.
#[derive(Debug, Default)]
pub(super) struct Load {
    count: u64,
    averages: [f64; 3],
}

impl Load {
    /// The counter stands at `count` after so many seconds; the averages, in the order of [`SPANS`].
    pub(super) fn pass(&mut self, count: u64, elapsed_s: f64) -> [f64; 3] {
        if elapsed_s > 0.0 {
            let rate = as_f64(count.saturating_sub(self.count)) * 60.0 / elapsed_s;
            self.count = count;
            for (average, (_, span_s)) in self.averages.iter_mut().zip(SPANS) {
                *average = rate + (-elapsed_s / span_s).exp() * (*average - rate);
            }
        }
        self.averages
    }
}

/// Exact up to 2^53, which no counter of a process reaches.
#[allow(clippy::cast_precision_loss)]
pub(super) fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_approached_sooner_by_the_shorter_averages() {
        let mut load = Load::default();
        let mut count = 0;
        let mut last = [0.0; 3];
        for step in 0..1_000 {
            count += 50; // Each ten seconds: 300 a minute.
            let now = load.pass(count, 10.0);
            assert!(now[0] > now[1] && now[1] > now[2] || step > 100, "{step}: {now:?}");
            assert!(now.iter().zip(last).all(|(now, last)| *now >= last && *now <= 300.001));
            last = now;
        }
        assert!(last.iter().all(|average| (average - 300.0).abs() < 0.01), "{last:?}");
    }

    #[test]
    fn one_step_is_what_the_formula_says() {
        let mut load = Load::default();
        let averages = load.pass(7, 10.0);
        for (average, (_, span_s)) in averages.into_iter().zip(SPANS) {
            assert!((average - 42.0 * (1.0 - (-10.0 / span_s).exp())).abs() < 1e-9);
        }
        assert!(load.pass(7, 60.0)[0] < averages[0]);
    }

    #[test]
    fn no_time_passed_changes_nothing() {
        let mut load = Load::default();
        load.pass(10, 10.0);
        let before = load.averages[0];
        assert!((load.pass(20, 0.0)[0] - before).abs() < f64::EPSILON);
        assert!(load.pass(20, 10.0)[0] > before, "what came meanwhile is counted at the next look");
    }
}
