//! Close codes and the body of a Close frame (RFC 6455 §5.5.1, §7.4).

use super::fail::Fail;

/// Normal closure: what `quit` is answered with.
pub const NORMAL: u16 = 1000;
/// Going away: the server stops, or its patience with a silent peer ended.
pub const GOING_AWAY: u16 = 1001;
/// Protocol error.
pub const PROTOCOL_ERROR: u16 = 1002;
/// Text, or a close reason, that is not UTF-8.
pub const INVALID_PAYLOAD: u16 = 1007;
/// Policy violation: what a board's member that does not keep up is told.
pub const POLICY_VIOLATION: u16 = 1008;
/// A message beyond the limit.
pub const TOO_BIG: u16 = 1009;

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
pub fn check(body: &[u8]) -> Result<Option<u16>, Fail> {
    match body {
        [] => Ok(None),
        [_] => Err(Fail::CloseTooShort),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !may_be_sent(code) {
                return Err(Fail::CloseCode);
            }
            std::str::from_utf8(reason).map_err(|_| Fail::Utf8)?;
            Ok(Some(code))
        }
    }
}

/// Whether a Close frame may carry this code.
///
/// 1000-1003 and 1007-1014 are registered for the wire (1012-1014 after the RFC), 3000-4999 are free to use. 1004 is
/// reserved; 1005, 1006 and 1015 only ever describe a connection; the rest belongs to nobody.
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_not_be_sent_are_refused() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535u16] {
            assert_eq!(check(&code.to_be_bytes()), Err(Fail::CloseCode), "{code}");
        }
        for code in [1000, 1001, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999u16] {
            assert_eq!(check(&code.to_be_bytes()), Ok(Some(code)));
        }
    }

    #[test]
    fn a_body_of_one_byte_or_a_bad_reason_is_refused() {
        assert_eq!(check(&[]), Ok(None));
        assert_eq!(check(&[3]), Err(Fail::CloseTooShort));
        assert_eq!(check(&[3, 0xE8, 0xCE]), Err(Fail::Utf8));
    }
}
