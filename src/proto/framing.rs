//! How an open connection's messages are framed.
//!
//! `hybi` and `hixie` echo in the two framings, `member` takes a board's messages, `leaving` waits for the peer's Close. They
//! share `reply` (which grows over the bytes it answers) and what is one idea each: `frame`, `mask`, `utf8`, `close`, `close_code`, `quit` and `violation`.

pub mod close;
pub mod close_code;
pub mod frame;
pub mod hixie;
pub mod hybi;
pub mod leaving;
pub mod mask;
pub mod member;
pub mod quit;
pub mod reply;
pub mod utf8;
pub mod violation;
