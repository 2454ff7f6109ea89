//! Numbers as people write them, read as loadgen reads them: `30s`, `64M`, `10k`.
//!
//! By hand and without floating point: the library's reading of that alone is a thirtieth of the binary.

use std::time::Duration;

/// Units of time, in nanoseconds; a bare number is seconds.
const TIMES: &[(&str, u64)] = &[
    ("", 1_000_000_000),
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
];
/// Binary multiples, as sizes of messages go.
const SIZES: &[(&str, u64)] =
    &[("", 1), ("k", 1 << 10), ("K", 1 << 10), ("m", 1 << 20), ("M", 1 << 20), ("G", 1 << 30)];
/// Decimal multiples, as one counts.
const COUNTS: &[(&str, u64)] =
    &[("", 1), ("k", 1000), ("K", 1000), ("m", 1_000_000), ("M", 1_000_000), ("G", 1_000_000_000)];

/// Longer times than this (a century) are a mistake, and would overflow a deadline.
const TIME_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Reads a time: `30s`, `250ms`, `1.5m`, `0.5`.
pub fn time(text: &str) -> Option<Duration> {
    scaled(text, TIMES).map(Duration::from_nanos).filter(|time| *time <= TIME_MAX)
}

/// Reads a size in bytes: `128`, `64k`, `1.5M`.
pub fn bytes(text: &str) -> Option<u64> {
    scaled(text, SIZES)
}

/// Reads a count from 1: `100`, `20k`.
pub fn count(text: &str) -> Option<usize> {
    scaled(text, COUNTS).and_then(|count| count.try_into().ok()).filter(|count| *count > 0)
}

/// Reads a port: digits and nothing else, so that `+80` is none.
pub fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A number with up to nine decimals and one of `units`; `None` if it is not a whole multiple of the smallest.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(end);
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if number.trim_matches('.').is_empty() || decimals.contains('.') || decimals.len() > 9 {
        return None;
    }
    let billionths: u64 = format!("{decimals:0<9}").parse().ok()?;
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let parts = u128::from(billionths) * u128::from(factor);
    if parts % 1_000_000_000 != 0 {
        return None;
    }
    whole.checked_mul(factor)?.checked_add(u64::try_from(parts / 1_000_000_000).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_loadgen_reads_them() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("10", 10_000_000_000),
            ("0.5", 500_000_000),
            (".5", 500_000_000),
            ("1.", 1_000_000_000),
            ("2.007", 2_007_000_000),
            ("30s", 30_000_000_000),
            ("250ms", 250_000_000),
            ("100us", 100_000),
            ("1µs", 1000),
            ("7ns", 7),
            ("1.5m", 90_000_000_000),
            ("1h", 3_600_000_000_000),
        ] {
            assert_eq!(time(text), Some(Duration::from_nanos(nanoseconds)), "{text}");
        }
        for text in [
            "",
            ".",
            "1e3",
            "inf",
            "NaN",
            "-1",
            "+1",
            "99999999999",
            "1 ",
            "1 s",
            "1d",
            "1S",
            "1.5ns",
            "1..5",
            "m",
            "٣",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_binary_and_counts_decimal() {
        for (text, size) in [
            ("0", 0),
            ("128", 128),
            ("64k", 65536),
            ("64K", 65536),
            ("1M", 1 << 20),
            ("2.5k", 2560),
            ("16G", 16 << 30),
        ] {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for text in
            ["", "-1", "1e6", "64MiB", "64MB", "1.5", "0.1k", "18446744073709551616", "17179869184G", "k"]
        {
            assert_eq!(bytes(text), None, "{text}");
        }
        for (text, n) in [("1", 1), ("20k", 20_000), ("2.5k", 2500), ("1M", 1_000_000)] {
            assert_eq!(count(text), Some(n), "{text}");
        }
        for text in ["0", "", "1.5", "many", "-1", "+1"] {
            assert_eq!(count(text), None, "{text}");
        }
    }

    #[test]
    fn a_port_is_digits() {
        assert_eq!((port("0"), port("65535")), (Some(0), Some(65535)));
        for text in ["", "+1", "-1", "65536", " 1", "1 ", "0x1", "tcp://10.0.0.1:80"] {
            assert_eq!(port(text), None, "{text}");
        }
    }
}
