//! How numbers, times, sizes and text are written in a path.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::time::Duration;

/// Percent-decodes a segment or a value of a query (RFC 3986 §2.1).
pub fn decode(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, behind @ ..] = rest else { return Err(BAD_PERCENT) };
        let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
        let (Some(high), Some(low)) = (digit(high), digit(low)) else { return Err(BAD_PERCENT) };
        bytes.push(high << 4 | low);
        rest = behind;
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8")
}

const BAD_PERCENT: &str = "a percent sign is written %25, and begins two hexadecimal digits";

/// A number in decimal digits, and nothing else.
pub fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Bytes, as `100`, `16k` or `1m`.
pub fn bytes(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1 << 10),
        b'm' => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    number(digits)?.checked_mul(unit)
}

/// Seconds with up to three decimals, or `250ms`.
pub fn time(text: &str) -> Option<Duration> {
    if let Some(milliseconds) = text.strip_suffix("ms") {
        return number(milliseconds).map(Duration::from_millis);
    }
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    if decimals.len() > 3 {
        return None;
    }
    let milliseconds = number(&format!("{decimals:0<3}")).filter(|_| !decimals.is_empty())?;
    Duration::from_secs(number(whole)?).checked_add(Duration::from_millis(milliseconds))
}

/// As credentials are written (RFC 7617 §2).
pub fn base64(text: &str) -> String {
    BASE64.encode(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_decoded_once() {
        for (text, decoded) in [
            ("hello", Ok("hello")),
            ("a%20b%2Fc", Ok("a b/c")),
            ("%2541", Ok("%41")),
            ("%e2%82%AC", Ok("\u{20ac}")),
            ("a+b", Ok("a+b")),
            ("%", Err(BAD_PERCENT)),
            ("%4", Err(BAD_PERCENT)),
            ("%zz", Err(BAD_PERCENT)),
            ("%+1", Err(BAD_PERCENT)),
            ("%ff", Err("is not UTF-8")),
        ] {
            assert_eq!(decode(text).as_deref(), decoded.as_ref().map(|text| *text), "{text}");
        }
    }

    #[test]
    fn sizes_and_times_have_units() {
        for (text, expected) in
            [("0", Some(0)), ("100", Some(100)), ("16k", Some(16384)), ("1m", Some(1 << 20)), ("k", None)]
        {
            assert_eq!(bytes(text), expected, "{text}");
        }
        for bad in ["", "-1", "+1", "1.5k", "1K", "18446744073709551615k", "1 ", "0x10"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
        for (text, milliseconds) in
            [("0", 0), ("1", 1000), ("1.5", 1500), ("0.001", 1), ("250ms", 250), ("0ms", 0), ("2.25", 2250)]
        {
            assert_eq!(time(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "1.", ".5", "1.0001", "ms", "1s", "-1", "1e1", "1.5ms", "99999999999999999999"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }
}
