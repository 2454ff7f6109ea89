//! A board's member: its messages are not echoed but handed to all the others, whole.

use super::close;
use super::frame::{self, FrameHeader, Opcode};
use super::hixie::{self, Draft};
use super::reply::Echo;
use super::violation::Violation;
use crate::proto::limits::WHOLE_MAX;
use crate::proto::progress::{Event, Progress, Reply};
use std::ops::Range;

/// Longest message of a board, in bytes: what may be kept between reads.
pub const MESSAGE_MAX: usize = WHOLE_MAX;

/// What is allocated for fragments grows by as much as comes, in steps of this many bytes.
const STEP: usize = 1024;

/// One member's framing state.
#[derive(Debug, Clone)]
pub enum Member {
    /// By one of Hixie's drafts.
    Hixie(Draft),
    /// By versions 7 to 13.
    Hybi(Fragments),
}

/// The fragments of an unfinished message.
#[derive(Debug, Default, Clone)]
pub struct Fragments {
    /// Text or Binary, while a message is unfinished.
    opcode: Option<Opcode>,
    bytes: Vec<u8>,
}

impl Member {
    /// One that has said nothing yet.
    pub fn hybi() -> Member {
        Member::Hybi(Fragments::default())
    }

    /// Takes whole messages out of `buf[input]` and appends them to `post`, each as one server's frame; what the member
    /// itself is to be told (Pong, Close) is the reply.
    #[inline(never)]
    pub fn receive(&mut self, buf: &mut [u8], input: Range<usize>, post: &mut Vec<u8>) -> Progress {
        let mut echo = Echo::new(buf, input.clone());
        let event = loop {
            let step = match self {
                Member::Hybi(fragments) => fragments.step(&mut echo, post),
                Member::Hixie(_) => hixie_step(&mut echo, post),
            };
            match step {
                Ok(MemberStep::Next) => {}
                Ok(MemberStep::Wait) => break None,
                Ok(MemberStep::Closed(code)) => break Some(Event::Closed(code)),
                Err(fail) => {
                    echo.push_last(&self.close_frame(fail.code(), fail.text()));
                    break Some(Event::Failed(fail));
                }
            }
        };
        let ended = event.is_some();
        let consumed = if ended { input.len() } else { echo.at - input.start };
        Progress {
            consumed,
            reply: Reply::InPlace(echo.reply),
            event,
            ended,
            again: false,
            messages: echo.messages,
        }
    }

    /// Whether the `fresh` bytes behind the `carried` ones may complete something.
    pub fn needs_processing(&self, carried: &[u8], fresh: &[u8]) -> bool {
        let total = carried.len() + fresh.len();
        match self {
            Member::Hixie(_) => {
                carried[0] != hixie::TEXT || total > MESSAGE_MAX || fresh.contains(&hixie::END)
            }
            Member::Hybi(_) => match FrameHeader::parse(carried, false) {
                Ok(Some(header)) => (total - header.size) as u64 >= header.len,
                _ => true,
            },
        }
    }

    /// Bytes that are allocated for it.
    pub fn kept(&self) -> usize {
        match self {
            Member::Hixie(_) => 0,
            Member::Hybi(fragments) => fragments.bytes.capacity(),
        }
    }

    /// The bytes that end the conversation; `reason` at most 123 bytes.
    pub fn close_frame(&self, code: u16, reason: &str) -> Vec<u8> {
        match self {
            Member::Hixie(draft) => draft.closing().to_vec(),
            Member::Hybi(_) => close::frame_with_reason(code, reason),
        }
    }
}

enum MemberStep {
    Next,
    Wait,
    Closed(Option<u16>),
}

impl Fragments {
    fn step(&mut self, echo: &mut Echo, post: &mut Vec<u8>) -> Result<MemberStep, Violation> {
        let Some(header) = FrameHeader::parse(&echo.buf[echo.at..echo.end], false)? else {
            return Ok(MemberStep::Wait);
        };
        if !header.opcode.is_control() {
            self.check(&header)?;
        }
        let body = echo.at + header.size;
        if header.len > (echo.end - body) as u64 {
            return Ok(MemberStep::Wait);
        }
        match header.opcode {
            Opcode::Ping => drop(echo.push_frame(&header, frame::first_byte(true, false, Opcode::Pong))),
            Opcode::Pong => echo.at = body + header.len as usize,
            Opcode::Close => return echo.answer_close(&header).map(MemberStep::Closed),
            _ => {
                let payload = echo.take_payload(&header);
                self.take(&header, payload, post)?;
                echo.messages += u32::from(header.fin);
            }
        }
        Ok(MemberStep::Next)
    }

    fn check(&self, header: &FrameHeader) -> Result<(), Violation> {
        match (header.opcode, self.opcode) {
            (Opcode::Continuation, None) => return Err(Violation::ContinuationWithoutStart),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::MessageInsideMessage),
            _ => {}
        }
        if header.len > (MESSAGE_MAX - self.bytes.len()) as u64 { Err(Violation::TooBig) } else { Ok(()) }
    }

    fn take(&mut self, header: &FrameHeader, payload: &[u8], post: &mut Vec<u8>) -> Result<(), Violation> {
        let opcode = self.opcode.unwrap_or(header.opcode);
        if !header.fin {
            self.opcode = Some(opcode);
            // Not doubled: what was allocated counts, and half of it would be for nothing.
            if self.bytes.capacity() - self.bytes.len() < payload.len() {
                self.bytes.reserve_exact(payload.len().next_multiple_of(STEP));
            }
            self.bytes.extend_from_slice(payload);
            return Ok(());
        }
        self.opcode = None;
        if self.bytes.is_empty() {
            return push_message(post, opcode, payload);
        }
        let mut message = std::mem::take(&mut self.bytes);
        message.extend_from_slice(payload);
        push_message(post, opcode, &message)
    }
}

fn hixie_step(echo: &mut Echo, post: &mut Vec<u8>) -> Result<MemberStep, Violation> {
    let rest = &echo.buf[echo.at..echo.end];
    let Some(&first) = rest.first() else { return Ok(MemberStep::Wait) };
    if first != hixie::TEXT {
        // A board has no use for frames that are not text; the only one with a meaning is the closing one.
        return match rest {
            [hixie::END] => Ok(MemberStep::Wait),
            [hixie::END, 0, ..] => {
                echo.push_last(&hixie::CLOSE);
                Ok(MemberStep::Closed(None))
            }
            _ => Err(Violation::Opcode),
        };
    }
    match rest.iter().take(MESSAGE_MAX + 2).position(|byte| *byte == hixie::END) {
        Some(end) => {
            push_message(post, Opcode::Text, &rest[1..end])?;
            echo.at += end + 1;
            echo.messages += 1;
            Ok(MemberStep::Next)
        }
        // Its type comes before the text.
        None if rest.len() > 1 + MESSAGE_MAX => Err(Violation::TooBig),
        None => Ok(MemberStep::Wait),
    }
}

fn push_message(post: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) -> Result<(), Violation> {
    if opcode == Opcode::Text {
        std::str::from_utf8(payload).map_err(|_| Violation::Utf8)?;
    }
    let len = payload.len() as u64;
    let mut header = [0; 10];
    frame::write_header(&mut header, frame::first_byte(true, false, opcode), len);
    post.extend_from_slice(&header[..frame::reply_size(len)]);
    post.extend_from_slice(payload);
    Ok(())
}

/// Appends to `out` the text messages of `post`, which this module wrote, as Hixie frames; binary has no way there.
pub fn translate_to_hixie(mut post: &[u8], out: &mut Vec<u8>) {
    const TEXT_FRAME: u8 = 0x81;
    while let [first, short, rest @ ..] = post {
        let (len, rest) = match short {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            short => (usize::from(*short), rest),
        };
        let (payload, next) = rest.split_at(len);
        if *first == TEXT_FRAME {
            out.push(hixie::TEXT);
            out.extend_from_slice(payload);
            out.push(hixie::END);
        }
        post = next;
    }
}

const _: () = assert!(MESSAGE_MAX < 65536, "a message's length is written in 16 bits at most");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::progress::TAILROOM;

    /// One member's bytes in, in pieces of `size`: what the others get, and what it is told itself.
    fn run(mut member: Member, bytes: &[u8], size: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut post, mut told, mut carry) = (Vec::new(), Vec::new(), Vec::new());
        for piece in bytes.chunks(size) {
            if !carry.is_empty() && !member.needs_processing(&carry, piece) {
                carry.extend_from_slice(piece);
                continue;
            }
            let mut buf = vec![0; 16];
            buf.extend_from_slice(&carry);
            buf.extend_from_slice(piece);
            let input = 16..buf.len();
            buf.extend([0; TAILROOM]);
            let progress = member.receive(&mut buf, input.clone(), &mut post);
            let Reply::InPlace(reply) = progress.reply else { panic!("a member is told things in place") };
            told.extend_from_slice(&buf[reply]);
            carry = buf[input.start + progress.consumed..input.end].to_vec();
            if progress.ended {
                break;
            }
        }
        (post, told)
    }

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            len @ 0..=125 => bytes.push(0x80 | len as u8),
            len => {
                bytes.push(0xFE);
                bytes.extend((len as u16).to_be_bytes());
            }
        }
        bytes.extend([1, 2, 3, 4]);
        bytes.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ [1, 2, 3, 4][at % 4]));
        bytes
    }

    #[test]
    fn messages_reach_the_others_whole_however_they_arrive() {
        let bytes = [
            masked(0x81, b"clear"),
            masked(0x01, "k\u{f6}".as_bytes()),
            masked(0x89, b"ping"),
            masked(0x80, "\u{20ac}".as_bytes()),
            masked(0x82, &[0; 300]),
            masked(0x8A, b"pong"),
            masked(0x81, b""),
        ]
        .concat();
        let binary = [&[0x82, 126, 1, 44][..], &[0; 300]].concat();
        let expected =
            [b"\x81\x05clear\x81\x06k\xc3\xb6\xe2\x82\xac".as_slice(), &binary, b"\x81\x00"].concat();
        for size in [1, 2, 3, 7, 100, bytes.len()] {
            let (post, told) = run(Member::hybi(), &bytes, size);
            assert_eq!(post, expected, "in pieces of {size}");
            assert_eq!(told, b"\x8a\x04ping");
        }
        let mut hixie = Vec::new();
        translate_to_hixie(&expected, &mut hixie);
        assert_eq!(hixie, b"\0clear\xff\0k\xc3\xb6\xe2\x82\xac\xff\0\xff");
    }

    #[test]
    fn hixie_text_becomes_frames_and_what_is_not_text_is_refused() {
        let bytes = b"\0clear\xff\0\xff\0{\"x\":1}\xff\xff\0";
        for size in 1..bytes.len() {
            let (post, told) = run(Member::Hixie(Draft::Hixie76), bytes, size);
            assert_eq!(post, b"\x81\x05clear\x81\x00\x81\x07{\"x\":1}", "in pieces of {size}");
            assert_eq!(told, hixie::CLOSE);
        }
        for bad in [&b"\0\xc3\x28\xff"[..], b"\x80\x01a", b"\xff\x01"] {
            let (post, told) = run(Member::Hixie(Draft::Hixie76), bad, 1);
            assert_eq!((post.as_slice(), told.as_slice()), (&b""[..], &hixie::CLOSE[..]), "{bad:x?}");
        }
    }

    #[test]
    fn a_message_too_long_to_keep_is_refused() {
        let longest = vec![b'a'; MESSAGE_MAX];
        let fragments = [masked(0x01, &longest[..MESSAGE_MAX - 1]), masked(0x80, b"a")].concat();
        assert_eq!(run(Member::hybi(), &fragments, 1000).0.len(), MESSAGE_MAX + 4);
        let one_more = [masked(0x01, &longest), masked(0x80, b"a")].concat();
        assert_eq!(run(Member::hybi(), &one_more, 1000).1, close::frame_with_reason(1009, "message too big"));
        let mut hixie = vec![0];
        hixie.extend_from_slice(&longest);
        // Wherever it is cut: what ends it may come by itself.
        for size in [1000, hixie.len() - 1, hixie.len(), hixie.len() + 1] {
            let run = |last: &[u8]| run(Member::Hixie(Draft::Hixie76), &[&hixie[..], last].concat(), size);
            let (post, told) = run(b"\xff");
            assert_eq!((post.len(), told.len()), (MESSAGE_MAX + 4, 0), "in pieces of {size}");
            assert_eq!(run(b"a\xff"), (Vec::new(), hixie::CLOSE.to_vec()), "in pieces of {size}");
        }
    }

    #[test]
    fn bad_frames_are_refused_as_on_the_echo() {
        for (bytes, code, words) in [
            (masked(0x81, b"\xff"), 1007u16, "not UTF-8"),
            (masked(0x80, b"a"), 1002, "continuation without a message"),
            ([masked(0x01, b"a"), masked(0x81, b"b")].concat(), 1002, "new message inside a fragmented one"),
            (vec![0xC1], 1002, "reserved bit set"),
            (masked(0x88, b"a"), 1002, "close body of one byte"),
        ] {
            let (post, told) = run(Member::hybi(), &bytes, 1);
            assert!(post.is_empty());
            assert_eq!(told, close::frame_with_reason(code, words), "{bytes:x?}");
        }
    }
}
