//! Bounds that named things have, with their reasons.

/// Largest frame that is kept until it is whole; a larger one is cut through as it arrives.
///
/// Large enough that the sizes people measure (up to 16 KiB) come back as one frame and one write, small enough that
/// a peer that stops in mid-frame pins no memory worth mentioning.
pub const WHOLE_MAX: usize = 32 * 1024;

/// Largest text frame that comes back as the one frame it was, however it arrives. Of a larger one, each fragment brings
/// [`WHOLE_MAX`] bytes or more: some clients take no more than a few thousand fragments, and some no fragment at all.
pub const TEXT_MAX: usize = 1024 * 1024;

/// Most bytes that [`Session::receive`](super::session::Session::receive) leaves unconsumed: a frame one byte short, or a head.
pub const CARRY_MAX: usize = WHOLE_MAX + super::framing::frame::HEADER_MAX;

/// Bounds that the echo respects.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Payload bytes a message may have over all its fragments; 0 for no limit.
    pub max_message: u64,
}
