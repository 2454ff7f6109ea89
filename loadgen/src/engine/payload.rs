//! What messages say, and whether a reply says the same.
//!
//! A message is known by its connection and its index there. Both fix its size and its body, a window of random bytes,
//! so that a reply can be checked without keeping what was sent. Messages long enough begin with a stamp that says
//! which one they are; shorter ones are told apart by their bodies, as far as so few bytes can.

use std::fmt;

use crate::engine::size::Sizes;
use crate::host::clock::{Moment, Nanos};
use crate::protocol::frame::Opcode;
use crate::protocol::pattern::Pattern;
use crate::protocol::template::Template;

/// Windows begin anywhere in this many bytes: so many messages in a row have each their own, and all of it stays in the
/// first-level cache.
const WINDOWS: usize = 1 << 12;

/// Bytes of a stamp; in text, twice as many hexadecimal digits.
const STAMP: usize = 16;

/// So many random bytes are one message's alone, and so many of random words.
const TELLING: usize = 4;
const TELLING_WORDS: usize = 32;

/// What messages are made of that are to be compressed: few words, so that also a short one has some of them twice.
const WORDS: [&[u8]; 8] = [b"bid", b"ask", b"price", b"{\"id\":", b"}, ", b"null", b"42", b"time"];

/// Bits of the clock in a stamp: 2^48 ns are 78 hours.
const CLOCK_BITS: u32 = 48;

/// The rule by which messages are made.
pub struct Payloads {
    opcode: Opcode,
    body: Body,
    stamped: bool,
    seed: u64,
}

enum Body {
    Random {
        sizes: Sizes,
        pool: Vec<u8>,
        /// So many bytes of it are one message's alone among those of a connection that may be out.
        telling: usize,
    },
    Given {
        all: Vec<Given>,
        /// Cumulative shares of 1; empty: in turn.
        shares: Vec<f64>,
        /// Some of them have places.
        filled: bool,
        /// All of them say which message they are.
        stamped: bool,
    },
}

/// A message of the user's.
#[derive(Clone, Debug)]
pub enum Given {
    /// Always the same.
    Plain(Vec<u8>),
    /// With places that are filled in.
    Filled(Template),
}

/// What says which message a reply answers, where it is no echo.
#[derive(Clone, Debug)]
pub enum Matched {
    /// The number in a hole of a pattern is that of the message on its connection.
    Number {
        /// What stands around it.
        pattern: Pattern,
        /// Which hole of the pattern.
        hole: usize,
    },
    /// Nothing: each answers the oldest.
    Any,
}

/// How replies are told from each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Matching {
    /// A stamp says which message it is.
    Stamp,
    /// So short a message has no room for a stamp, but content of its own.
    Content,
    /// A number in the reply says which message it is.
    Number,
    /// By nothing: the first reply is taken for the first message's.
    Order,
}

impl fmt::Display for Matching {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Matching::Stamp => "stamp",
            Matching::Content => "content",
            Matching::Number => "number",
            Matching::Order => "order",
        })
    }
}

/// Who a message is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageId {
    /// The connection's number, over all processes.
    pub conn: u32,
    /// Which message of it.
    pub index: u32,
}

/// What stands at the front of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    /// Which message it is.
    pub id: MessageId,
    /// When it was due, as far as 48 bits go.
    clock: u64,
}

impl Payloads {
    /// Random content.
    pub fn random(opcode: Opcode, sizes: Sizes, stamped: bool, seed: u64) -> Payloads {
        let mut rng = fastrand::Rng::with_seed(seed);
        let pool = (0..WINDOWS + sizes.max())
            .map(|_| if opcode == Opcode::Text { rng.u8(b' '..=b'~') } else { rng.u8(..) })
            .collect();
        Payloads { opcode, body: Body::Random { sizes, pool, telling: TELLING }, stamped, seed }
    }

    /// The same of words in random order: content that a compressor makes smaller, as it does what people send.
    pub fn compressible(mut self) -> Payloads {
        if let Body::Random { pool, telling, .. } = &mut self.body {
            let mut rng = fastrand::Rng::with_seed(self.seed);
            let length = pool.len();
            pool.clear();
            while pool.len() < length {
                pool.extend_from_slice(WORDS[rng.usize(..WORDS.len())]);
            }
            pool.truncate(length);
            *telling = TELLING_WORDS;
        }
        self
    }

    /// The messages of `all`, at least one: by `shares` that add up to 1, or in turn where there are none.
    pub fn given(opcode: Opcode, all: Vec<Given>, shares: &[f64], seed: u64) -> Payloads {
        let shares = shares.iter().scan(0.0, |sum, share| {
            *sum += share;
            Some(*sum)
        });
        let shares = shares.collect();
        let filled = all.iter().any(|given| given.template().is_some());
        let stamped = all.iter().all(|given| given.template().is_some_and(Template::has_stamp));
        Payloads { opcode, body: Body::Given { all, shares, filled, stamped }, stamped: false, seed }
    }

    /// Text or binary.
    pub fn opcode(&self) -> Opcode {
        self.opcode
    }

    /// The size of message `name`.
    pub fn size(&self, id: MessageId) -> usize {
        match &self.body {
            Body::Random { sizes, .. } => sizes.pick(mix(self.seed, id, 0)),
            Body::Given { .. } => self.given_as(id).map_or(0, Given::size),
        }
    }

    /// The message of the user's that message `id` is.
    fn given_as(&self, id: MessageId) -> Option<&Given> {
        let Body::Given { all, shares, .. } = &self.body else { return None };
        let turn = id.conn as usize + id.index as usize;
        // 53 bits make a float in [0, 1).
        let u = (mix(self.seed, id, 0) >> 11) as f64 / (1u64 << 53) as f64;
        let at = match shares.is_empty() {
            true => turn % all.len(),
            false => shares.partition_point(|upto| *upto <= u).min(all.len() - 1),
        };
        Some(&all[at])
    }

    /// What message `id` is filled in from, where it has places.
    pub fn template(&self, id: MessageId) -> Option<&Template> {
        self.given_as(id)?.template()
    }

    /// Whether what was sent can be told again, so that a reply can be held against it.
    pub fn can_check(&self) -> bool {
        !matches!(self.body, Body::Given { filled: true, .. })
    }

    /// Every message of the user's carries a stamp somewhere in it.
    fn stamp_is_inside(&self) -> bool {
        matches!(self.body, Body::Given { stamped: true, .. })
    }

    /// The longest message there is.
    pub fn max_size(&self) -> usize {
        match &self.body {
            Body::Random { sizes, .. } => sizes.max(),
            Body::Given { all, .. } => all.iter().map(Given::size).max().unwrap_or(0),
        }
    }

    /// Whether a message of `size` bytes carries a stamp.
    pub fn is_stamped(&self, size: usize) -> bool {
        self.stamped && size >= self.stamp_size()
    }

    /// How the replies to these messages are told from each other; the content tells only if it is looked at.
    pub fn matching(&self, verify: bool) -> Matching {
        match &self.body {
            Body::Random { sizes, .. } if self.is_stamped(sizes.min()) => Matching::Stamp,
            Body::Random { sizes, .. } if verify && sizes.min() >= self.telling() => Matching::Content,
            Body::Given { .. } if self.stamp_is_inside() => Matching::Stamp,
            _ => Matching::Order,
        }
    }

    fn telling(&self) -> usize {
        match &self.body {
            Body::Random { telling, .. } => *telling,
            Body::Given { .. } => TELLING,
        }
    }

    /// Whether what is behind the stamp of a message of `size` bytes is enough to know it by.
    pub fn body_tells(&self, size: usize) -> bool {
        size >= self.telling() + if self.is_stamped(size) { self.stamp_size() } else { 0 }
    }

    /// Whether `payload` has at least half its bytes in common with message `id`, of `size` bytes and due at `due`.
    pub fn resembles(&self, payload: &[u8], id: MessageId, size: usize, due: Moment) -> bool {
        let mut sent = Vec::with_capacity(size);
        self.write(&mut sent, id, size, due);
        let same = payload.iter().zip(&sent).filter(|(a, b)| a == b).count();
        same * 2 >= payload.len().max(sent.len()).max(1)
    }

    fn stamp_size(&self) -> usize {
        if self.opcode == Opcode::Text { 2 * STAMP } else { STAMP }
    }

    /// Puts the payload of message `name`, due at `due`, into `out`.
    pub fn write(&self, out: &mut Vec<u8>, id: MessageId, size: usize, due: Moment) {
        out.clear();
        if self.is_stamped(size) {
            let stamp = self.stamp(id, due);
            match self.opcode {
                Opcode::Text => out.extend_from_slice(&hex(stamp)),
                _ => out.extend_from_slice(&stamp.to_be_bytes()),
            }
        }
        let written = out.len();
        out.extend_from_slice(&self.window(id, size)[written..]);
    }

    /// The stamp at the front of `payload`, or `None` when it is not one of ours.
    pub fn read_stamp(&self, payload: &[u8]) -> Option<Stamp> {
        let bits = match self.opcode {
            Opcode::Text => unhex(payload.first_chunk::<{ 2 * STAMP }>()?)?,
            _ => u128::from_be_bytes(*payload.first_chunk::<STAMP>()?),
        };
        let id = MessageId { conn: (bits >> 96) as u32, index: (bits >> 64) as u32 };
        let clock = (bits as u64) >> (64 - CLOCK_BITS);
        (bits == self.stamp(id, Moment(clock))).then_some(Stamp { id, clock })
    }

    /// The stamp in `payload`, which may be anywhere in it where the user's messages have theirs.
    pub fn find_stamp(&self, payload: &[u8]) -> Option<Stamp> {
        if !self.stamp_is_inside() {
            return self.read_stamp(payload);
        }
        let runs = payload.split(|byte| !byte.is_ascii_hexdigit()).filter(|run| run.len() >= 2 * STAMP);
        runs.flat_map(|run| run.windows(2 * STAMP)).find_map(|digits| self.read_stamp(digits))
    }

    /// The stamp of message `id`, due at `due`, as text.
    pub fn stamp_digits(&self, id: MessageId, due: Moment) -> [u8; 2 * STAMP] {
        hex(self.stamp(id, due))
    }

    /// Whether `payload`, behind its stamp if it carries one, is the body of message `name`.
    pub fn has_body(&self, payload: &[u8], id: MessageId) -> bool {
        let from = if self.is_stamped(payload.len()) { self.stamp_size() } else { 0 };
        payload.len() <= self.max_size() && payload[from..] == self.window(id, payload.len())[from..]
    }

    fn stamp(&self, id: MessageId, Moment(due): Moment) -> u128 {
        let clock = due & ((1 << CLOCK_BITS) - 1);
        let check = mix(self.seed, id, clock) >> CLOCK_BITS;
        u128::from(id.conn) << 96 | u128::from(id.index) << 64 | u128::from(clock << 16 | check)
    }

    fn window(&self, id: MessageId, size: usize) -> &[u8] {
        match &self.body {
            Body::Given { .. } => match self.given_as(id) {
                Some(Given::Plain(content)) => &content[..size.min(content.len())],
                _ => &[],
            },
            Body::Random { pool, .. } => {
                // An odd factor visits every window before any comes again.
                let at = (id.index as usize)
                    .wrapping_mul(40_503)
                    .wrapping_add((id.conn as usize).wrapping_mul(31));
                let at = at % WINDOWS;
                &pool[at..at + size]
            }
        }
    }
}

impl Given {
    fn template(&self) -> Option<&Template> {
        if let Given::Filled(template) = self { Some(template) } else { None }
    }

    /// Bytes of it, as far as they are always the same.
    fn size(&self) -> usize {
        match self {
            Given::Plain(content) => content.len(),
            Given::Filled(template) => template.plain_size(),
        }
    }
}

impl Stamp {
    /// When the message was due, given that it was at most 78 hours before `now`.
    pub fn due(&self, now: Moment) -> Moment {
        now - Nanos(now.0.wrapping_sub(self.clock) & ((1 << CLOCK_BITS) - 1))
    }
}

/// A hash of a message's identity: splitmix64's finish over its parts.
fn mix(seed: u64, id: MessageId, salt: u64) -> u64 {
    let mut z =
        seed ^ (u64::from(id.conn) << 32 | u64::from(id.index)).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn hex(bits: u128) -> [u8; 2 * STAMP] {
    let mut out = [0; 2 * STAMP];
    for (pair, byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(bits.to_be_bytes()) {
        *pair = [b"0123456789abcdef"[usize::from(byte >> 4)], b"0123456789abcdef"[usize::from(byte & 15)]];
    }
    out
}

fn unhex(digits: &[u8; 2 * STAMP]) -> Option<u128> {
    let mut bits = 0;
    for &c in digits {
        let digit = match c {
            b'0'..=b'9' => c - b'0',
            b'a'..=b'f' => c - b'a' + 10,
            _ => return None,
        };
        bits = bits << 4 | u128::from(digit);
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MessageId = MessageId { conn: 70_000, index: 3 };

    fn payload(messages: &Payloads, id: MessageId, due: u64) -> Vec<u8> {
        let mut out = Vec::new();
        messages.write(&mut out, id, messages.size(id), Moment(due));
        out
    }

    #[test]
    fn a_message_comes_back_as_itself() {
        for opcode in [Opcode::Text, Opcode::Binary] {
            let messages = Payloads::random(opcode, Sizes::Range(32, 200), true, 9);
            for index in 0..1000 {
                let id = MessageId { conn: 5, index };
                // An uptime of more than 78 hours.
                let due = 900_000_000_000_000 + u64::from(index);
                let bytes = payload(&messages, id, due);
                let stamp = messages.read_stamp(&bytes).expect("own stamp");
                assert_eq!((stamp.id, stamp.due(Moment(due + 12_345))), (id, Moment(due)));
                assert!(messages.has_body(&bytes, id));
                assert!(opcode == Opcode::Binary || bytes.iter().all(|b| (b' '..=b'~').contains(b)));
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        for opcode in [Opcode::Text, Opcode::Binary] {
            let messages = Payloads::random(opcode, Sizes::Fixed(64), true, 9);
            let good = payload(&messages, ID, 123_456_789);
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let same =
                    messages.read_stamp(&bad).is_some_and(|s| s.id == ID && messages.has_body(&bad, ID));
                assert!(!same, "bit {bit} of {opcode:?}");
            }
            assert!(!messages.has_body(&good[..63], ID) || messages.size(ID) != 63);
        }
    }

    #[test]
    fn short_messages_differ_from_their_neighbours() {
        let messages = Payloads::random(Opcode::Binary, Sizes::Fixed(8), true, 9);
        assert!(!messages.is_stamped(8));
        let all: std::collections::HashSet<_> =
            (0..WINDOWS as u32).map(|index| payload(&messages, MessageId { conn: 1, index }, 0)).collect();
        assert_eq!(all.len(), WINDOWS);
    }

    #[test]
    fn a_file_is_sent_as_it_is() {
        let messages =
            Payloads::given(Opcode::Text, vec![Given::Plain(b"{\"op\":\"ping\"}".to_vec())], &[], 0);
        assert_eq!(payload(&messages, ID, 1), b"{\"op\":\"ping\"}");
        assert!(messages.has_body(b"{\"op\":\"ping\"}", ID));
        assert!(!messages.has_body(b"{\"op\":\"pong\"}", ID));
        assert!(!messages.has_body(b"{\"op\":\"ping\"}x", ID));
    }

    #[test]
    fn what_is_to_be_compressed_can_be() {
        for (size, most) in [(128, 0.85), (1024, 0.5), (16_384, 0.4)] {
            let messages = Payloads::random(Opcode::Text, Sizes::Fixed(size), true, 9).compressible();
            let (mut plain, mut small) = (0, 0);
            for index in 0..50 {
                let mut out = Vec::new();
                messages.write(&mut out, MessageId { conn: 3, index }, size, Moment(9));
                plain += out.len();
                small += crate::protocol::deflate::Compressor::default().compress(&out).len();
            }
            assert!((small as f64) < most * plain as f64, "{small} of {plain} at {size}");
        }
    }
}
