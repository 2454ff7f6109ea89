//! The bytes of WebSocket as a client writes and reads them.

pub mod deflate;
pub mod draft;
pub mod encoder;
pub mod frame;
pub mod handshake;
pub mod hixie;
pub mod pattern;
pub mod session;
pub mod shown;
pub mod template;
pub mod tls;
pub mod url;
