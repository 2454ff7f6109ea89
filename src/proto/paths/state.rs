//! What a program remembers from one step to the next.

use core::time::Duration;

/// What the current step is waiting for.
#[derive(Debug, PartialEq)]
pub enum Doing {
    /// The next step may begin.
    Next,
    /// A moment.
    Delay {
        /// Which.
        until: Duration,
    },
    /// Messages.
    After {
        /// How many more.
        left: u32,
    },
    /// That what it sends is taken.
    Source {
        /// Bytes of a message.
        size: u64,
        /// Messages to go, this one among them.
        left: u32,
        /// Bytes of this one that were sent.
        said: u64,
    },
    /// The answer to a Ping.
    Ping {
        /// Which one is out, or the next.
        number: u32,
        /// The last.
        last: u32,
        /// When it is given up.
        until: Option<Duration>,
    },
    /// What comes goes back.
    Echo,
    /// What comes is thrown away.
    Sink,
    /// What comes is answered by its size.
    Size,
    /// The moment to answer the peer's Close.
    CloseLate {
        /// Which.
        until: Duration,
        /// Our Close.
        answer: Vec<u8>,
    },
    /// Nothing will be said, but the connection stays.
    Silent,
    /// Nothing more is done.
    Over(Ending),
}

impl Doing {
    /// Whether it goes on only with what the peer says.
    pub fn needs_peer(&self) -> bool {
        matches!(
            self,
            Doing::After { left: 1.. }
                | Doing::Ping { until: Some(_), .. }
                | Doing::Echo
                | Doing::Sink
                | Doing::Size
        )
    }
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
    /// With a RST behind what was said, once that has arrived.
    Reset,
}

/// What holds from some step on.
#[derive(Debug, Default)]
pub struct Modifiers {
    /// How much later everything is said.
    pub latency: Duration,
    /// Bytes a write, at most.
    pub trickle: Option<usize>,
    /// A message of more bytes is answered with 1009.
    pub limit: Option<u64>,
    /// Bytes a second.
    pub throttle: Option<u64>,
    /// Pings are not answered.
    pub is_mute: bool,
    /// How a Close is answered.
    pub close: CloseReply,
}

/// How a Close is answered.
#[derive(Debug, Default, Clone, Copy)]
pub enum CloseReply {
    /// As RFC 6455 has it.
    #[default]
    AtOnce,
    /// After so long.
    Late(Duration),
    /// Not at all.
    Never,
}

/// A message that is sent again and again.
#[derive(Debug)]
pub struct Repeat {
    /// What is said.
    pub text: String,
    /// How often.
    pub every: Duration,
    /// When next.
    pub due: Duration,
}
