//! TLS, where the feature of that name is built in: certificates, the handshake, and records in place.

pub mod certificate;
pub mod connection;
pub mod record;

pub use rustls::server::ServerConfig;
