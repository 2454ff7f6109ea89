//! What an echo server owes a client for any bytes whatever, written from RFC 6455 and RFC 7692 and from nothing else.
//!
//! Slow and plain: it looks at all that was said as one piece, where the server meets it in any cut. Small enough messages
//! only (below the size from which text may come back in fragments), so that the answer is one string of bytes.

/// What a server says to all that a client has said after the handshake.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The frames, up to and without a Close of the server's own making; a peer's Close that is answered is among them.
    pub frames: Vec<u8>,
    /// The beginning of a frame so large that it is passed on as it arrives, though its end is still to come.
    pub begun: Vec<u8>,
    /// The conversation is over; with the code of a Close that the server makes because of a fault, or of `quit`.
    pub end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The peer's Close was answered.
    Answered,
    /// The server closes with this code.
    Code(u16),
}

/// Frames with more payload than that are passed on as they arrive, unless they are text that can be checked.
const WHOLE_MAX: u64 = 32 * 1024;

/// A message whose final fragment is still to come.
struct Message {
    is_text: bool,
    is_compressed: bool,
    /// All of it so far.
    payload: Vec<u8>,
}

/// The answer to `said`; `deflate` is whether permessage-deflate was agreed, and a message has at most `max_message` bytes.
pub fn answer(said: &[u8], deflate: bool, max_message: usize) -> Answer {
    let mut answer = Answer { frames: Vec::new(), begun: Vec::new(), end: None };
    let mut message = None;
    let mut rest = said;
    while answer.end.is_none() && !rest.is_empty() {
        match frame(&mut rest, &mut message, &mut answer.begun, deflate, max_message) {
            Ok(Some((reply, end))) => {
                answer.frames.extend(reply);
                answer.end = end;
            }
            Ok(None) => break,
            Err(code) => answer.end = Some(End::Code(code)),
        }
    }
    answer
}

type Reply = (Vec<u8>, Option<End>);

/// Takes one frame off `rest`: what it is answered with, `None` where its end is still to come (with what is passed on
/// already in `begun`), or a close code.
fn frame(
    rest: &mut &[u8],
    message: &mut Option<Message>,
    begun: &mut Vec<u8>,
    deflate: bool,
    max_message: usize,
) -> Result<Option<Reply>, u16> {
    let first = rest[0];
    let (fin, rsv1, opcode) = (first & 0x80 != 0, first & 0x40 != 0, first & 0x0F);
    let is_control = opcode >= 8;
    let starts = opcode == 1 || opcode == 2;
    // Section 5.2: bits and opcodes that nobody defined; RFC 7692 section 6: RSV1 where a data message starts.
    if first & 0x30 != 0 || (rsv1 && !(deflate && starts)) || !matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10) {
        return Err(1002);
    }
    // Sections 5.4 and 5.5: no control frame in fragments, no continuation of nothing, no message inside a message.
    if (is_control && !fin) || (opcode == 0 && message.is_none()) || (starts && message.is_some()) {
        return Err(1002);
    }
    let Some(&second) = rest.get(1) else { return Ok(None) };
    if second & 0x80 == 0 || (is_control && second & 0x7F > 125) {
        return Err(1002);
    }
    let Some((size, extra)) = length(second & 0x7F, &rest[2..])? else { return Ok(None) };
    let before = message.as_ref().map_or(0, |message| message.payload.len());
    let Some(key) = rest[2 + extra..].first_chunk::<4>() else { return Ok(None) };
    if !is_control && max_message > 0 && size + before as u64 > max_message as u64 {
        return Err(1009);
    }
    let body = &rest[2 + extra + 4..];
    let have = body.len().min(usize::try_from(size).unwrap_or(usize::MAX));
    let payload: Vec<u8> = body[..have].iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
    let is_whole = have as u64 == size;
    if is_control {
        if !is_whole {
            return Ok(None);
        }
        *rest = &body[have..];
        return control(opcode, payload).map(Some);
    }
    let current =
        message.get_or_insert(Message { is_text: opcode == 1, is_compressed: rsv1, payload: Vec::new() });
    current.payload.extend(&payload);
    if current.is_text && !current.is_compressed {
        // Section 8.1, at the first byte that can no longer become UTF-8.
        match std::str::from_utf8(&current.payload) {
            Err(error) if error.error_len().is_some() => return Err(1007),
            Err(_) if is_whole && fin => return Err(1007),
            _ => {}
        }
    }
    if !is_whole {
        if have > 0 && size > WHOLE_MAX && (!current.is_text || current.is_compressed) {
            *begun = head(first, size);
            begun.extend(payload);
        }
        return Ok(None);
    }
    *rest = &body[have..];
    let whole = fin.then(|| message.take()).flatten();
    if whole.is_some_and(|whole| whole.is_text && !whole.is_compressed && whole.payload == b"quit") {
        return Ok(Some((Vec::new(), Some(End::Code(1000)))));
    }
    Ok(Some((unmasked(first, &payload), None)))
}

/// The payload length, and the bytes that it takes behind the second one (section 5.2).
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, u16> {
    match short {
        126 => match rest.first_chunk::<2>() {
            None => Ok(None),
            Some(bytes) if u16::from_be_bytes(*bytes) < 126 => Err(1002),
            Some(bytes) => Ok(Some((u64::from(u16::from_be_bytes(*bytes)), 2))),
        },
        127 => match rest.first_chunk::<8>() {
            // The top bit is refused as soon as it is seen.
            _ if rest.first().is_some_and(|byte| byte & 0x80 != 0) => Err(1002),
            // And so are six bytes of zeros, which two could say.
            _ if rest.starts_with(&[0; 6]) => Err(1002),
            None => Ok(None),
            Some(bytes) if u64::from_be_bytes(*bytes) < 65536 => Err(1002),
            Some(bytes) => Ok(Some((u64::from_be_bytes(*bytes), 8))),
        },
        _ => Ok(Some((u64::from(short), 0))),
    }
}

/// Sections 5.5.1 to 5.5.3 and 7.4.
fn control(opcode: u8, payload: Vec<u8>) -> Result<Reply, u16> {
    match opcode {
        9 => Ok((unmasked(0x8A, &payload), None)),
        10 => Ok((Vec::new(), None)),
        _ => {
            if payload.len() == 1 {
                return Err(1002);
            }
            if let Some((code, reason)) = payload.split_first_chunk::<2>() {
                if !matches!(u16::from_be_bytes(*code), 1000..=1003 | 1007..=1014 | 3000..=4999) {
                    return Err(1002);
                }
                std::str::from_utf8(reason).map_err(|_| 1007u16)?;
            }
            Ok((unmasked(0x88, &payload), Some(End::Answered)))
        }
    }
}

/// A frame of a server.
fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len() as u64);
    frame.extend(payload);
    frame
}

/// What stands in front of its payload, with the length in its shortest form.
fn head(first: u8, size: u64) -> Vec<u8> {
    let mut head = vec![first];
    match size {
        0..=125 => head.push(size as u8),
        126..=0xFFFF => {
            head.push(126);
            head.extend((size as u16).to_be_bytes());
        }
        _ => {
            head.push(127);
            head.extend(size.to_be_bytes());
        }
    }
    head
}

/// Panics unless `heard`, what a server said after the handshake, is what it owes for `said`; it may give a reason in a Close
/// of its own making. `ended` is whether it sent its FIN or waits for the peer's.
pub fn check(said: &[u8], heard: &[u8], deflate: bool, max_message: usize) {
    let owed = answer(said, deflate, max_message);
    // Whether a compressed message is `quit` only inflating could tell: a server that hears it there may end.
    if deflate
        && let Some(at) = heard.windows(4).rposition(|window| matches!(window, [0x88, 2..=125, 3, 0xE8]))
        && at + 2 + usize::from(heard[at + 1]) == heard.len()
        && owed.frames.len() > at
        && owed.frames.starts_with(&heard[..at])
    {
        return;
    }
    let show = || format!("said {said:02x?}\nheard {heard:02x?}\nowed {owed:02x?}");
    let Some(rest) = heard.strip_prefix(owed.frames.as_slice()) else { panic!("other frames\n{}", show()) };
    match owed.end {
        None | Some(End::Answered) => assert!(rest == owed.begun, "more or less than is owed\n{}", show()),
        Some(End::Code(code)) => {
            let [high, low] = code.to_be_bytes();
            let is_close = matches!(rest, [0x88, size @ 2..=125, a, b, reason @ ..]
                if (*a, *b) == (high, low) && usize::from(*size) == 2 + reason.len() && std::str::from_utf8(reason).is_ok());
            assert!(is_close, "no Close with {code}\n{}", show());
        }
    }
}
