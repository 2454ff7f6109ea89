//! What a program remembers from one step to the next.

use core::time::Duration;

/// What the current step is waiting for.
#[derive(Debug, PartialEq)]
pub enum Doing {
    /// The next step may begin.
    Next,
    Delay {
        until: Duration,
    },
    After {
        left: u32,
    },
    /// `said` bytes of the message that is being sent.
    Source {
        size: u64,
        left: u32,
        said: u64,
    },
    /// `number` is of the Ping that is out, or the next.
    Ping {
        number: u32,
        last: u32,
        until: Option<Duration>,
    },
    Echo,
    Sink,
    Size,
    /// The peer's Close is answered with this later.
    CloseLate {
        until: Duration,
        answer: Vec<u8>,
    },
    /// Nothing will be said, but the connection stays.
    Silent,
    Over(Ending),
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a FIN behind our Close, once the peer's has come.
    Close,
    /// With a FIN behind what was said.
    Fin,
    /// With a FIN, behind which is read as long as the peer sends.
    HalfClose,
    /// With a RST.
    Reset,
}

/// What holds from some step on.
#[derive(Debug, Default)]
pub struct Modifiers {
    pub latency: Duration,
    pub trickle: Option<usize>,
    pub limit: Option<u64>,
    /// Bytes a second.
    pub throttle: Option<u64>,
    pub is_mute: bool,
    pub close: CloseReply,
}

/// How a Close is answered.
#[derive(Debug, Default, Clone, Copy)]
pub enum CloseReply {
    #[default]
    AtOnce,
    Late(Duration),
    Never,
}

/// A message that is sent again and again.
#[derive(Debug)]
pub struct Repeat {
    pub text: String,
    pub every: Duration,
    pub due: Duration,
}
