//! Numbers as people write them: `10k` connections, `250ms`, `64k` bytes, `0.1%`. Options and conditions are read alike.

use std::time::Duration;

/// Decimal multiples.
const COUNTS: [(&str, f64); 5] = [("k", 1e3), ("K", 1e3), ("M", 1e6), ("m", 1e6), ("G", 1e9)];

/// Reads a count: `100`, `1k`, `2.5k`, `1M`, `1G`. Decimal multiples.
///
/// # Errors
/// A sentence that says what a count looks like.
pub fn count(text: &str) -> Result<u64, String> {
    scaled(text, &COUNTS)
        .filter(|n| n.fract() == 0.0 && *n < 1e18)
        .map(|n| n as u64)
        .ok_or_else(|| format!("`{text}` is not a count such as 100, 10k or 1M"))
}

/// Reads a number of anything, whole or not: `0.985k`, `10k`, `1M`. Decimal multiples.
///
/// # Errors
/// A sentence that says what such a number looks like.
pub fn number(text: &str) -> Result<f64, String> {
    scaled(text, &COUNTS).ok_or_else(|| format!("`{text}` is not a number such as 100, 10k or 1M"))
}

/// Reads a rate, per second: `50k`, `0.5`, `1M`, with or without `/s`.
///
/// # Errors
/// A sentence that says what a rate looks like.
pub fn rate(text: &str) -> Result<f64, String> {
    scaled(text.strip_suffix("/s").unwrap_or(text), &COUNTS)
        // A rate of every connection of a million is still a number then.
        .filter(|n| *n > 0.0 && *n <= 1e15)
        .ok_or_else(|| format!("`{text}` is not a rate above zero such as 500, 50k or 0.5"))
}

/// Reads a time: `30s`, `250ms`, `100us`, `5m`, `1h`; a bare number is seconds.
///
/// # Errors
/// A sentence that says what a time looks like.
pub fn duration(text: &str) -> Result<Duration, String> {
    scaled(
        text,
        &[("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)],
    )
    .filter(|s| *s < 1e9)
    .map(Duration::from_secs_f64)
    .ok_or_else(|| format!("`{text}` is not a time such as 30s, 250ms or 5m"))
}

/// Reads a share: `0.1%`, or `0.001`.
///
/// # Errors
/// A sentence that says what a share looks like.
pub fn share(text: &str) -> Result<f64, String> {
    scaled(text, &[("%", 0.01)]).ok_or_else(|| format!("`{text}` is not a share such as 2% or 0.02"))
}

/// Reads a size in bytes: `128`, `64k`, `1M`, `2KiB`. Binary multiples, as sizes of messages and of memory go.
///
/// # Errors
/// A sentence that says what a size looks like.
pub fn bytes(text: &str) -> Result<f64, String> {
    const KIB: f64 = 1024.0;
    const MIB: f64 = 1_048_576.0;
    let suffixes = [
        ("B", 1.0),
        ("k", KIB),
        ("K", KIB),
        ("KiB", KIB),
        ("M", MIB),
        ("m", MIB),
        ("MiB", MIB),
        ("G", KIB * MIB),
    ];
    scaled(text, &suffixes).ok_or_else(|| format!("`{text}` is not a size such as 128, 16k or 1M"))
}

/// Reads the size of a message, in bytes as [`bytes`] does: whole, and not beyond [`MAX_BYTES`].
///
/// # Errors
/// A sentence that says what such a size looks like.
pub fn message_size(text: &str) -> Result<usize, String> {
    bytes(text)
        .ok()
        .filter(|n| n.fract() == 0.0 && *n <= MAX_BYTES as f64)
        .map(|n| n as usize)
        .ok_or_else(|| format!("`{text}` is not a size up to 64M such as 128, 16k or 1M"))
}

/// The largest message: payloads are compared against memory of this size.
pub const MAX_BYTES: usize = 64 << 20;

/// A finite number at or above zero with one of `suffixes` or none.
fn scaled(text: &str, suffixes: &[(&str, f64)]) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_alphabetic() || c == '%');
    let suffix = &text[digits.len()..];
    let factor = match suffix {
        "" => 1.0,
        _ => suffixes.iter().find(|(name, _)| *name == suffix)?.1,
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let value = digits.parse::<f64>().ok()? * factor;
    // 2.3k is 2299.9999999999995 in binary; a count is meant.
    let value = if (value - value.round()).abs() < 1e-6 && value >= 1.0 { value.round() } else { value };
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_take_multiples_and_nothing_else() {
        assert_eq!(count("100"), Ok(100));
        assert_eq!(count("2.5k"), Ok(2500));
        assert_eq!(count("2.3k"), Ok(2300));
        assert_eq!(count("1M"), Ok(1_000_000));
        for bad in ["", "k", "-1", "1.5", "1x", "ten", "1 k", "inf", "nan"] {
            assert!(count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_need_no_unit_for_seconds() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("50us"), Ok(Duration::from_micros(50)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "-1s", "1d", "1s2"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_binary_and_bounded() {
        assert_eq!(message_size("16k"), Ok(16_384));
        assert_eq!(message_size("0"), Ok(0));
        assert!(message_size("65M").is_err());
        assert!(message_size("0.3").is_err());
        assert_eq!(bytes("2KiB"), bytes("2k"));
        assert_eq!(bytes("1.5G"), Ok(1_610_612_736.0));
        assert!(bytes("1%").is_err());
    }

    #[test]
    fn shares_are_of_a_hundred_or_of_one() {
        assert_eq!(share("0.1%"), Ok(0.001));
        assert_eq!(share("0.02"), Ok(0.02));
        for bad in ["", "%", "-1%", "1 %", "1k"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
