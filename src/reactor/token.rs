//! What the kernel's events are about.

use mio::Token;

/// Names one connection for as long as it lives, and nothing afterwards.
///
/// `key` is a slab index and is used again; `serial` counts accepts and is not (before 2^32 of them), so whoever keeps an id
/// longer than the connection lives, as a queued turn or an alarm does, finds out when the two no longer agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// An index into the slab, which will be used again.
    pub key: u32,
    /// A count of accepts, which will not.
    pub serial: u32,
}

/// What a [`Token`] stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A client.
    Connection(ConnId),
    /// By its place in the list of listeners.
    Listener(usize),
    /// A signal that asks the server to end.
    Stop,
    /// A signal that asks for the numbers.
    Report,
    /// A signal that asks to read files again.
    Reload,
}

/// Serial of everything that is not a connection; connections count from 1.
const NOT_A_CONNECTION: u32 = 0;
const STOP_KEY: u32 = u32::MAX;
const REPORT_KEY: u32 = u32::MAX - 1;
const RELOAD_KEY: u32 = u32::MAX - 2;

impl From<Source> for Token {
    fn from(source: Source) -> Token {
        let (serial, key) = match source {
            Source::Connection(id) => (id.serial, id.key),
            Source::Listener(index) => (NOT_A_CONNECTION, index as u32),
            Source::Stop => (NOT_A_CONNECTION, STOP_KEY),
            Source::Report => (NOT_A_CONNECTION, REPORT_KEY),
            Source::Reload => (NOT_A_CONNECTION, RELOAD_KEY),
        };
        Token((serial as usize) << 32 | key as usize)
    }
}

impl From<Token> for Source {
    fn from(token: Token) -> Source {
        match ((token.0 >> 32) as u32, token.0 as u32) {
            (NOT_A_CONNECTION, STOP_KEY) => Source::Stop,
            (NOT_A_CONNECTION, REPORT_KEY) => Source::Report,
            (NOT_A_CONNECTION, RELOAD_KEY) => Source::Reload,
            (NOT_A_CONNECTION, index) => Source::Listener(index as usize),
            (serial, key) => Source::Connection(ConnId { key, serial }),
        }
    }
}

const _: () = assert!(usize::BITS == 64, "a token holds a slab key and a serial");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_survives_its_token() {
        for source in [
            Source::Listener(0),
            Source::Listener(7),
            Source::Stop,
            Source::Report,
            Source::Reload,
            Source::Connection(ConnId { key: 0, serial: 1 }),
            Source::Connection(ConnId { key: u32::MAX, serial: u32::MAX }),
        ] {
            assert_eq!(Source::from(Token::from(source)), source);
        }
    }
}
