//! A rate, and the bucket that holds somebody to it: GCRA, one number for each bucket.
//!
//! Ours, because what a publisher has sent already is taken before it is known that it was too much, and is then waited for: a debt, which
//! the rate limiters of others do not have. Time comes in, in milliseconds; no lock, no clock.

/// So much in each period, and so much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    /// Units in each period; 0 for no limit.
    units: u32,
    /// The period in seconds.
    period_s: u32,
    /// Units at once after a pause, one at least.
    burst: u32,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Rate = Rate::per_second(0);

    /// So much each second, and as much at once.
    pub const fn per_second(units: u32) -> Rate {
        Rate::per(1, units)
    }

    /// So much in each period of so many seconds, and as much at once.
    pub const fn per(period_s: u32, units: u32) -> Rate {
        Rate { units, period_s, burst: units }
    }

    /// The same, with so much at once.
    #[must_use]
    pub const fn at_once(self, burst: u32) -> Rate {
        Rate { burst, ..self }
    }

    /// So many hundredths of it, and one unit at least.
    #[must_use]
    pub fn percent(self, percent: u32) -> Rate {
        let part = |units: u32| match u64::from(units) * u64::from(percent) / 100 {
            0 => u32::from(units > 0),
            part => u32::try_from(part).unwrap_or(u32::MAX),
        };
        Rate { units: part(self.units), burst: part(self.burst), ..self }
    }

    /// Whether there is a limit.
    pub const fn is_limited(self) -> bool {
        self.units > 0
    }

    /// Units that can be had at once, one at least.
    pub fn burst(self) -> u32 {
        self.burst.max(1)
    }

    /// Microseconds that so many units stand for.
    fn time_us(self, units: u64) -> u64 {
        units.saturating_mul(u64::from(self.period_s) * 1_000_000) / u64::from(self.units.max(1))
    }

    fn burst_us(self) -> u64 {
        self.time_us(u64::from(self.burst()))
    }
}

/// What somebody has used of a rate: when all of it will have flowed off, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket(u64);

impl Bucket {
    /// Takes units, whether or not they are there. No more than a wait of `most_ms` was owed before, whatever the clock says now.
    pub fn take_within(&mut self, rate: Rate, units: u64, now_ms: u64, most_ms: u64) {
        let emptiest_us =
            now_ms.saturating_add(most_ms).saturating_mul(1_000).saturating_add(rate.burst_us());
        self.0 = self.0.min(emptiest_us);
        self.take(rate, units, now_ms);
    }

    /// Takes units, whether or not they are there.
    pub(crate) fn take(&mut self, rate: Rate, units: u64, now_ms: u64) {
        self.0 = self.0.max(now_ms * 1_000).saturating_add(rate.time_us(units));
    }

    /// Takes one unit if it is there.
    pub(crate) fn try_take(&mut self, rate: Rate, now_ms: u64) -> bool {
        let mut taken = *self;
        taken.take(rate, 1, now_ms);
        let is_there = taken.ready_ms(rate) <= now_ms;
        if is_there {
            *self = taken;
        }
        is_there
    }

    /// When nothing is owed, Unix milliseconds.
    pub fn ready_ms(self, rate: Rate) -> u64 {
        self.0.saturating_sub(rate.burst_us()).div_ceil(1_000)
    }

    /// Whether it is as good as new.
    pub fn is_full(self, now_ms: u64) -> bool {
        self.0 <= now_ms * 1_000
    }
}

/// What a publisher is held to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PublishRates {
    /// Messages.
    pub messages: Rate,
    /// Bytes of their topics and payloads.
    pub bytes: Rate,
}

impl PublishRates {
    /// No limit.
    pub const UNLIMITED: PublishRates = PublishRates { messages: Rate::UNLIMITED, bytes: Rate::UNLIMITED };

    /// Whether there is a limit.
    pub const fn is_limited(self) -> bool {
        self.messages.is_limited() || self.bytes.is_limited()
    }
}

/// What has been used of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used {
    messages: Bucket,
    bytes: Bucket,
}

impl Used {
    /// With a message of so many bytes more; `None` where it would have to be waited for longer than `most_ms`.
    pub(crate) fn with(
        mut self,
        rates: PublishRates,
        bytes: usize,
        now_ms: u64,
        most_ms: u64,
    ) -> Option<Used> {
        if rates.messages.is_limited() {
            self.messages.take(rates.messages, 1, now_ms);
        }
        if rates.bytes.is_limited() {
            self.bytes.take(rates.bytes, bytes as u64, now_ms);
        }
        (self.ready_ms(rates) <= now_ms.saturating_add(most_ms)).then_some(self)
    }

    /// When nothing is owed, Unix milliseconds.
    pub(crate) fn ready_ms(self, rates: PublishRates) -> u64 {
        let of = |bucket: Bucket, rate: Rate| if rate.is_limited() { bucket.ready_ms(rate) } else { 0 };
        of(self.messages, rates.messages).max(of(self.bytes, rates.bytes))
    }

    /// Whether it is as good as new.
    pub(crate) fn is_full(self, now_ms: u64) -> bool {
        self.messages.is_full(now_ms) && self.bytes.is_full(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_is_there_at_once_and_then_the_rate() {
        let rate = Rate::per_second(10).at_once(3);
        let mut bucket = Bucket::default();
        let taken = |bucket: &mut Bucket, now_ms| (0..9).filter(|_| bucket.try_take(rate, now_ms)).count();
        assert_eq!(taken(&mut bucket, 1_000), 3);
        assert_eq!(taken(&mut bucket, 1_099), 0);
        assert_eq!(taken(&mut bucket, 1_100), 1);
        assert!(!bucket.is_full(1_100) && bucket.is_full(1_400));
        assert_eq!(taken(&mut bucket, 60_000), 3);
    }

    #[test]
    fn what_is_allowed_in_an_hour_is_there_at_once_and_comes_back_over_the_hour() {
        let (rate, mut bucket) = (Rate::per(3_600, 60), Bucket::default());
        assert_eq!((0..99).filter(|_| bucket.try_take(rate, 0)).count(), 60);
        assert!(!bucket.try_take(rate, 59_999) && bucket.try_take(rate, 60_000));
        assert!(!bucket.is_full(3_659_999) && bucket.is_full(3_660_000));
        let quarter = rate.percent(25);
        assert_eq!((quarter, quarter.burst()), (Rate::per(3_600, 15), 15));
        assert_eq!(Rate::per_second(3).percent(1), Rate::per_second(1), "a part of something is something");
        assert_eq!(Rate::UNLIMITED.percent(50), Rate::UNLIMITED);
    }

    #[test]
    fn a_debt_is_waited_for_and_a_long_one_is_not_made() {
        let rates = PublishRates { bytes: Rate::per_second(1_000), ..PublishRates::UNLIMITED };
        let used = Used::default().with(rates, 1_000, 0, 5_000).unwrap();
        assert_eq!(used.ready_ms(rates), 0);
        let used = used.with(rates, 3_000, 0, 5_000).unwrap();
        assert_eq!(used.ready_ms(rates), 3_000);
        assert_eq!(used.with(rates, 3_000, 0, 5_000), None);
        let used = used.with(rates, 3_000, 1_000, 5_000).unwrap();
        assert_eq!(used.ready_ms(rates), 6_000);
        assert!(!used.is_full(6_999) && used.is_full(7_000));
    }

    proptest! {
        /// However the takes lie, no second sees more than the burst and what flows off in it.
        #[test]
        fn no_second_sees_more_than_it_may(per_second in 1u32..50, burst in 1u32..50, gaps in prop::collection::vec(0u64..300, 1..200)) {
            let rate = Rate::per_second(per_second).at_once(burst);
            let (mut bucket, mut now_ms) = (Bucket::default(), 1_000);
            let mut taken: Vec<u64> = Vec::new();
            for gap in gaps {
                now_ms += gap;
                if bucket.try_take(rate, now_ms) {
                    taken.push(now_ms);
                }
            }
            for from in &taken {
                let within = taken.iter().filter(|at| **at >= *from && **at < from + 1_000).count();
                prop_assert!(within <= (per_second + burst) as usize, "{within} in a second");
            }
        }
    }
}
