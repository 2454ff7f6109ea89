//! The bytes of WebSocket as a client writes and reads them.

pub mod deflate;
pub mod draft;
pub mod frame;
pub mod handshake;
pub mod hixie;
pub mod shown;
pub mod url;
