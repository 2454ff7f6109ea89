//! Peers' text in our own lines.

use std::fmt;

/// Most bytes of a peer's text in a line.
const PEER_TEXT_MAX: usize = 200;

/// A peer's bytes, safe for a terminal: printable ASCII as it is, the rest escaped, cut after 200 bytes.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = &self.0[..self.0.len().min(PEER_TEXT_MAX)];
        write!(out, "{}", cut.escape_ascii())?;
        if cut.len() < self.0.len() { out.write_str("...") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_text_cannot_reach_the_terminal() {
        assert_eq!(Escaped(b"/a\x1b[2J\r\n\x9b\xff").to_string(), r"/a\x1b[2J\r\n\x9b\xff");
        let long = Escaped(&[b'a'; 300]).to_string();
        assert_eq!(long.len(), 203);
    }
}
