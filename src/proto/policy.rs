//! The Flash socket policy (Adobe, "Policy file changes in Flash Player 9"; the request is 23 bytes with its NUL).

/// Longest request that is waited for; more than this without a match is not a Flash player.
pub const REQUEST_MAX: usize = 128;

/// What every request is answered with, NUL included, in one write: old players cut the last byte off whatever arrives first.
pub const POLICY: &[u8] =
    b"<cross-domain-policy><allow-access-from domain=\"*\" to-ports=\"*\" /></cross-domain-policy>\0";

const OPENING: &[u8] = b"<policy-file-request";
const CLOSING: &[u8] = b"/>";

/// What the bytes so far mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyRequest {
    /// A policy request, whole; whatever follows is of no interest.
    Whole,
    /// The beginning of one.
    Partial,
    /// Something else.
    Other,
}

/// Reads `<policy-file-request/>` at the front of `input`; spaces before the slash and a missing NUL are tolerated, as
/// the servers of the day did.
pub fn parse(input: &[u8]) -> PolicyRequest {
    let known = input.len().min(OPENING.len());
    if input[..known] != OPENING[..known] {
        return PolicyRequest::Other;
    }
    let rest = &input[known..];
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let end = &rest[spaces..];
    if end.starts_with(CLOSING) {
        return PolicyRequest::Whole;
    }
    if CLOSING.starts_with(end) && input.len() < REQUEST_MAX {
        PolicyRequest::Partial
    } else {
        PolicyRequest::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_at_its_last_byte_and_partial_before() {
        for request in
            [&b"<policy-file-request/>\0"[..], b"<policy-file-request />", b"<policy-file-request/>junk"]
        {
            let end = request.iter().position(|byte| *byte == b'>').expect("a bracket") + 1;
            for size in 0..end {
                assert_eq!(parse(&request[..size]), PolicyRequest::Partial, "{size} bytes");
            }
            assert_eq!(parse(&request[..end]), PolicyRequest::Whole);
            assert_eq!(parse(request), PolicyRequest::Whole);
        }
    }

    #[test]
    fn anything_else_is_told_at_its_first_wrong_byte() {
        for (input, at) in
            [(&b"GET / HTTP/1.1"[..], 1), (b"<Policy", 2), (b"\0<policy", 1), (b"<policy-file-request>", 21)]
        {
            assert_eq!(parse(&input[..at]), PolicyRequest::Other);
            assert_eq!(parse(&input[..at - 1]), PolicyRequest::Partial);
        }
        let spaces = [b"<policy-file-request".as_slice(), &[b' '; 108]].concat();
        assert_eq!(parse(&spaces), PolicyRequest::Other);
        assert_eq!(parse(&spaces[..127]), PolicyRequest::Partial);
    }

    #[test]
    fn the_policy_is_the_89_bytes_of_2011() {
        assert_eq!(POLICY.len(), 89);
    }
}
