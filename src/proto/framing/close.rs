//! Close frames (RFC 6455 §5.5.1).

use super::close_code;
use super::violation::Violation;

/// A whole unmasked Close frame that carries `code` and no reason.
pub fn frame(code: u16) -> [u8; 4] {
    let [high, low] = code.to_be_bytes();
    [0x88, 2, high, low]
}

/// A whole unmasked Close frame that carries `code` and `reason`, of at most 123 bytes (§5.5).
pub fn frame_with_reason(code: u16, reason: &str) -> Vec<u8> {
    debug_assert!(reason.len() <= 123);
    let mut bytes = frame(code).to_vec();
    bytes[1] += reason.len() as u8;
    bytes.extend_from_slice(reason.as_bytes());
    bytes
}

/// Checks the unmasked body of a peer's Close frame; the code it carries, if any.
///
/// A body is empty, or a code that may appear on the wire followed by a UTF-8 reason (§5.5.1, §7.4.1, §7.4.2).
pub fn check(body: &[u8]) -> Result<Option<u16>, Violation> {
    match body {
        [] => Ok(None),
        [_] => Err(Violation::CloseTooShort),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !close_code::may_be_sent(code) {
                return Err(Violation::CloseCode);
            }
            std::str::from_utf8(reason).map_err(|_| Violation::Utf8)?;
            Ok(Some(code))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_not_be_sent_are_refused() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535u16] {
            assert_eq!(check(&code.to_be_bytes()), Err(Violation::CloseCode), "{code}");
        }
        for code in [1000, 1001, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999u16] {
            assert_eq!(check(&code.to_be_bytes()), Ok(Some(code)));
        }
    }

    #[test]
    fn a_body_of_one_byte_or_a_bad_reason_is_refused() {
        assert_eq!(check(&[]), Ok(None));
        assert_eq!(check(&[3]), Err(Violation::CloseTooShort));
        assert_eq!(check(&[3, 0xE8, 0xCE]), Err(Violation::Utf8));
    }
}
