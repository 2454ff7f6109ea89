//! Bytes the kernel would not take yet.

/// What is still to be written to one connection, in order.
///
/// Holds at most the replies to one read, because nothing more is read before it is empty.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Notes that the first `count` pending bytes were written.
    pub fn sent(&mut self, count: usize) {
        self.sent += count;
    }
}
