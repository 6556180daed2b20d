//! Sizes and spans of time as people write them: `64 MiB`, `30 days`, `1.5 KiB` is refused.
//!
//! A value is a whole number and a unit; what is printed is read back as the same value. Powers of 1024 have the `i`
//! (`KiB`, `MiB`, `GiB`), powers of 1000 have none (`kB`, `MB`, `GB`). `0` needs no unit.

use std::time::Duration;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The number as a length in memory; on a 32-bit machine at most what it can address.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Units of size with the bytes in each; the first match is how it is printed.
const SIZES: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("bytes", 1),
];

/// Other ways to write a unit of size.
const OTHER_SIZES: [(&str, u64); 3] = [("B", 1), ("byte", 1), ("KB", 1_000)];

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Units of time with the milliseconds in each; the first match is how it is printed.
const TIMES: [(&str, u64); 5] =
    [("days", DAY_MS), ("hours", HOUR_MS), ("min", MINUTE_MS), ("s", SECOND_MS), ("ms", 1)];

/// Other ways to write a unit of time.
const OTHER_TIMES: [(&str, u64); 9] = [
    ("d", DAY_MS),
    ("day", DAY_MS),
    ("h", HOUR_MS),
    ("hour", HOUR_MS),
    ("m", MINUTE_MS),
    ("minute", MINUTE_MS),
    ("minutes", MINUTE_MS),
    ("second", SECOND_MS),
    ("seconds", SECOND_MS),
];

/// Reads a size, such as `64 MiB`.
pub(crate) fn parse_size(text: &str) -> Option<ByteSize> {
    parse(text, &SIZES, &OTHER_SIZES).map(ByteSize)
}

/// Reads a span of time, such as `30 days`.
pub(crate) fn parse_time(text: &str) -> Option<Duration> {
    parse(text, &TIMES, &OTHER_TIMES).map(Duration::from_millis)
}

/// Writes a size in the largest unit that divides it.
pub(crate) fn print_size(size: ByteSize) -> String {
    print(size.0, &SIZES)
}

/// Writes a span of time in the largest unit that divides it. What is below a millisecond is not shown.
pub(crate) fn print_time(time: Duration) -> String {
    print(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), &TIMES)
}

fn parse(text: &str, units: &[(&str, u64)], others: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = (text[..digits].replace('_', ""), text[digits..].trim_start());
    let number: u64 = number.parse().ok()?;
    if unit.is_empty() {
        return (number == 0).then_some(0);
    }
    let (_, factor) = units.iter().chain(others).find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

fn print(value: u64, units: &[(&str, u64)]) -> String {
    let (unit, factor) = units
        .iter()
        .find(|(_, factor)| value != 0 && value.is_multiple_of(*factor))
        .or(units.last())
        .expect("a table of units is not empty");
    let number = value / factor;
    let unit =
        if number == 1 { unit.strip_suffix('s').filter(|u| u.len() > 1).unwrap_or(unit) } else { unit };
    format!("{number} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("0", 0),
            ("1 byte", 1),
            ("512 bytes", 512),
            ("512B", 512),
            ("1 KiB", 1024),
            ("64MiB", 64 << 20),
            (" 64 MiB ", 64 << 20),
            ("2 kB", 2_000),
            ("1_000 MB", 1_000_000_000),
            ("3 TiB", 3 << 40),
        ] {
            assert_eq!(parse_size(text), Some(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn times_are_read() {
        for (text, ms) in [
            ("0", 0),
            ("20 ms", 20),
            ("5 s", 5_000),
            ("5s", 5_000),
            ("1 second", 1_000),
            ("2 min", 120_000),
            ("3 hours", 10_800_000),
            ("1 day", 86_400_000),
            ("30 days", 2_592_000_000),
        ] {
            assert_eq!(parse_time(text), Some(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        for text in [
            "",
            " ",
            "64",
            "MiB",
            "64 mib",
            "64 Mib",
            "1.5 MiB",
            "-1 KiB",
            "64 MiB x",
            "1 KiB 2",
            "9999999999 TiB",
            "_",
        ] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        for text in [
            "",
            "5",
            "5 sec",
            "s",
            "1h30",
            "-1 s",
            "99999999999999999999 s",
            "999999999999999999 days",
            "1,5 s",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn they_are_printed_in_the_largest_unit_that_fits() {
        assert_eq!(print_size(ByteSize(64 << 20)), "64 MiB");
        assert_eq!(print_size(ByteSize(1)), "1 byte");
        assert_eq!(print_size(ByteSize(0)), "0 bytes");
        assert_eq!(print_size(ByteSize(1_000_000)), "1 MB");
        assert_eq!(print_time(Duration::from_hours(24)), "1 day");
        assert_eq!(print_time(Duration::from_secs(1)), "1 s");
        assert_eq!(print_time(Duration::from_millis(1_500)), "1500 ms");
        assert_eq!(print_time(Duration::ZERO), "0 ms");
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(value in prop_oneof![any::<u64>(), (0u64..5000, 0u32..50).prop_map(|(n, s)| n << s)]) {
            prop_assert_eq!(parse_size(&print_size(ByteSize(value))), Some(ByteSize(value)));
            let time = Duration::from_millis(value);
            prop_assert_eq!(parse_time(&print_time(time)), Some(time));
        }

        #[test]
        fn any_text_is_answered(text: String) {
            let _ = (parse_size(&text), parse_time(&text));
        }
    }
}
