//! How much slower commits become while the key-value store falls behind.
//!
//! Two layers of the overlay bound what is not written down. Were the second one to fill at full speed, commits would stop altogether
//! until the first is down: half a second in which nobody is acknowledged. So from three quarters of the second on each batch makes the next
//! one wait, up to twice as long as it takes to write down what it brought: the stop is spread over the way to it, and clients that wait for
//! acknowledgements slow down by as much.

use std::time::Duration;

/// The longest wait for the sake of one batch.
const LONGEST: Duration = Duration::from_millis(100);

/// What a wait depends on. All in bytes of memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pressure {
    /// What the batch added to the active layer.
    pub(crate) added: usize,
    /// What the active layer holds with it.
    pub(crate) active: usize,
    /// What it may hold.
    pub(crate) limit: usize,
    /// How much goes down in a second; 0 while that is not known.
    pub(crate) down_per_s: u64,
}

/// How long the next batch waits while another layer is on its way down.
#[allow(clippy::cast_precision_loss)] // Memory is far below 2^52 bytes.
pub(crate) fn pause(pressure: Pressure) -> Duration {
    let Pressure { added, active, limit, down_per_s } = pressure;
    let quarter = limit / 4;
    let from = limit - quarter;
    if active <= from || quarter == 0 || down_per_s == 0 {
        return Duration::ZERO;
    }
    let share = ((active - from) as f64 / quarter as f64).min(1.0);
    let to_write_down = added as f64 / down_per_s as f64;
    Duration::from_secs_f64((2.0 * share * to_write_down).min(LONGEST.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILLING: Pressure =
        Pressure { added: 1_000, active: 50_000, limit: 100_000, down_per_s: 1_000_000 };

    #[test]
    fn nothing_waits_up_to_three_quarters_or_while_nothing_is_known() {
        assert_eq!(pause(FILLING), Duration::ZERO);
        assert_eq!(pause(Pressure { active: 99_000, down_per_s: 0, ..FILLING }), Duration::ZERO);
        assert_eq!(pause(Pressure { active: 1, limit: 1, ..FILLING }), Duration::ZERO);
    }

    #[test]
    fn from_there_on_it_grows_to_twice_what_it_takes_to_write_down() {
        // A thousandth of a second's worth.
        assert_eq!(pause(Pressure { active: 87_500, ..FILLING }), Duration::from_millis(1));
        assert_eq!(pause(Pressure { active: 100_000, ..FILLING }), Duration::from_millis(2));
        assert_eq!(pause(Pressure { active: 300_000, ..FILLING }), Duration::from_millis(2));
        assert_eq!(pause(Pressure { active: 300_000, added: 1 << 30, ..FILLING }), LONGEST);
    }
}
