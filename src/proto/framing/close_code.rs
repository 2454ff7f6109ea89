//! Close codes (RFC 6455 §7.4).

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
/// Try again later: there is no memory for what has come of a message.
pub const TRY_AGAIN_LATER: u16 = 1013;

/// 1000-1003 and 1007-1014 are registered for the wire (1012-1014 after the RFC), 3000-4999 are free to use. 1004 is
/// reserved; 1005, 1006 and 1015 only ever describe a connection; the rest belongs to nobody.
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
