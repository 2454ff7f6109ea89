//! What few connections have, and which is not to make all of them larger.

use super::boards::BoardId;
use super::trace::Trace;
use std::net::SocketAddr;

/// Beside a connection; most have none.
#[derive(Debug, Default)]
pub struct Aside {
    /// The board it is a member of.
    pub board: Option<BoardId>,
    /// Who a proxy says it is.
    pub client: Option<SocketAddr>,
    /// TLS begins behind what the proxy says.
    #[cfg(feature = "tls")]
    pub is_secured: bool,
    /// Under `--log-level trace`.
    pub trace: Option<Trace>,
}

impl Aside {
    /// Of a connection that is traced.
    pub fn traced() -> Box<Aside> {
        Box::new(Aside { trace: Some(Trace::new()), ..Aside::default() })
    }
}
