//! What the reactor goes by.

use super::boards;
use crate::proto::handshake::Routes;
use std::time::Duration;

/// What the reactor goes by.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is served where.
    pub routes: Routes,
    /// Clients held at once; further ones wait in the listeners' queues.
    pub max_connections: usize,
    /// From accept to the end of the handshake.
    pub handshake_timeout: Duration,
    /// A connection that sends no byte for this long is closed with 1001.
    pub idle_timeout: Option<Duration>,
    /// A connection that sends no byte for this long is pinged, and dropped if as much time passes again.
    pub ping_interval: Option<Duration>,
    /// Bytes that may be allocated for everything that is kept for clients.
    pub max_buffered: usize,
    /// After the last event, poll for so long without sleeping.
    pub spin: Duration,
    /// What boards are allowed.
    pub boards: boards::Rules,
    /// Over how long the Close frames are spread when the server stops.
    pub drain_spread: Duration,
    /// How long after the stop the last client is dropped.
    pub drain_timeout: Duration,
    /// How often the service manager wants to hear that the loop goes round.
    pub watchdog: Option<Duration>,
}
