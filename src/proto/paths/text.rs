//! How numbers and text are written in a path.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

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
}
