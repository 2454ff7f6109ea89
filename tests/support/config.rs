//! The configuration that tests start from.

use std::time::Duration;
use wsecho::proto::handshake::{Paths, Routes};
use wsecho::proto::limits::Limits;
use wsecho::reactor::boards::Rules;
use wsecho::reactor::config::Config;

/// What the command line gives without options, with a limit that tests can reach.
pub fn config() -> Config {
    Config {
        routes: Routes {
            echo_paths: Paths::These(vec!["/".to_owned(), "/echo".to_owned()]),
            origins: Vec::new(),
            deflate: true,
            boards: true,
            board_lifetime: None,
            test_paths: true,
            stats: false,
            limits: Limits { max_message: 1 << 20 },
        },
        max_connections: 10_000,
        max_buffered: 64 << 20,
        spin: Duration::ZERO,
        handshake_timeout: Duration::from_secs(10),
        idle_timeout: None,
        ping_interval: None,
        boards: Rules { lifetime: None, max_boards: 1000, max_members: 100 },
        drain_spread: Duration::ZERO,
        drain_timeout: Duration::from_secs(2),
        watchdog: None,
    }
}
