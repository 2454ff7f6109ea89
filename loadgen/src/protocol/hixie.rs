//! What hixie-75 and hixie-76 do differently: the frames of both, and the proof of the latter
//! (draft-hixie-thewebsocketprotocol-75 and -76).

/// Bytes of the proof behind a 76 server's head.
pub const DIGEST: usize = 16;

/// "Type FF, length 0": the closing handshake of 76 (section 5.3), which some clients say in 75 too.
pub const CLOSE: [u8; 2] = [END, START];

const START: u8 = 0x00;
const END: u8 = 0xFF;

/// Appends `text`, which is UTF-8 and so has no FF in it, as a frame.
pub fn write(out: &mut Vec<u8>, text: &[u8]) {
    out.push(START);
    out.extend_from_slice(text);
    out.push(END);
}

/// What comes next in a stream of frames.
#[derive(Debug, Eq, PartialEq)]
pub enum Piece<'a> {
    /// More of a message's text, and whether that is all of it.
    Text(&'a [u8], bool),
    /// The closing handshake of draft 76.
    Close,
    /// Nothing that can be told yet.
    Nothing,
}

/// Takes the next piece off the front of `input`, which continues a message if `inside`; returns how many bytes it took.
///
/// # Errors
/// When the server sends a frame that is neither text nor Close: no draft gives it a meaning.
pub fn piece(input: &[u8], inside: bool) -> Result<(Piece<'_>, usize), &'static str> {
    let start = match (inside, input) {
        (true, _) => 0,
        (false, [START, ..]) => 1,
        (false, [] | [END]) => return Ok((Piece::Nothing, 0)),
        (false, [END, START, ..]) => return Ok((Piece::Close, CLOSE.len())),
        (false, _) => return Err("neither text nor Close"),
    };
    let text = &input[start..];
    Ok(match text.iter().position(|byte| *byte == END) {
        Some(len) => (Piece::Text(&text[..len], true), start + len + 1),
        None => (Piece::Text(text, false), input.len()),
    })
}

/// The three numbers of a 76 client's handshake, as they go over the wire.
#[derive(Debug)]
pub struct Challenge {
    /// Sec-WebSocket-Key1.
    pub key1: String,
    /// Sec-WebSocket-Key2.
    pub key2: String,
    /// Behind the head.
    pub key3: [u8; 8],
}

impl Challenge {
    /// The challenge that `nonce` stands for, made as section 4.1, steps 16 to 25, say.
    pub fn new(nonce: u128) -> Challenge {
        let mut rng = fastrand::Rng::with_seed(nonce as u64 ^ (nonce >> 64) as u64);
        Challenge { key1: key(&mut rng), key2: key(&mut rng), key3: std::array::from_fn(|_| rng.u8(..)) }
    }

    /// What proves that a server understood: MD5 over the numbers in the keys and the eight bytes (section 5.2).
    pub fn digest(&self) -> [u8; DIGEST] {
        let mut hash = md5::Context::new();
        hash.consume(number(&self.key1).to_be_bytes());
        hash.consume(number(&self.key2).to_be_bytes());
        hash.consume(self.key3);
        hash.finalize().0
    }
}

/// A number times 1 to 12, in digits between which there are so many spaces, and some letters to confuse.
fn key(rng: &mut fastrand::Rng) -> String {
    let spaces = rng.u32(1..=12);
    let mut key = (rng.u32(..=u32::MAX / spaces) * spaces).to_string().into_bytes();
    for _ in 0..rng.usize(1..=12) {
        let letter = loop {
            let letter = rng.u8(b'!'..=b'~');
            if !letter.is_ascii_digit() {
                break letter;
            }
        };
        key.insert(rng.usize(..=key.len()), letter);
    }
    for _ in 0..spaces {
        // There is no space at either end.
        key.insert(rng.usize(1..key.len()), b' ');
    }
    String::from_utf8(key).expect("it is ASCII")
}

/// The number in a key: its digits, divided by its spaces. 0 for what no client sends.
fn number(key: &str) -> u32 {
    let digits = key.bytes().filter(u8::is_ascii_digit);
    let digits = digits.fold(0u64, |n, digit| n.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
    let spaces = key.bytes().filter(|byte| *byte == b' ').count() as u64;
    digits.checked_div(spaces).unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys and answers of the draft itself (the first two), a blog, Safari 5.1.2, Perl's Protocol::WebSocket, and the
    /// ends of the range.
    const KNOWN: [(&str, &str, [u8; 8], u128); 6] = [
        (
            "18x 6]8vM;54 *(5:  {   U1]8  z [  8",
            "1_ tx7X d  <  nW  334J702) 7]o}` 0",
            [0x54, 0x6d, 0x5b, 0x4b, 0x20, 0x54, 0x32, 0x75],
            0x6651_4a2c_664e_2f34_4634_217e_4b7e_4d48,
        ),
        (
            "4 @1  46546xW%0l 1 5",
            "12998 5 Y3 1  .P00",
            *b"^n:ds[4U",
            u128::from_be_bytes(*b"8jKS'y:G*Co,Wxa-"),
        ),
        (
            "3e6b263  4 17 80",
            "17  9 G`ZD9   2 2b 7X 3 /r90",
            *b"WjN}|M(6",
            u128::from_be_bytes(*b"n`9eBk9z$R8pOtVb"),
        ),
        (
            "23 1 +V2 61z9 5 P[t B|34vE",
            "2  33 0w{z 55679 0",
            [0x8d, 0x07, 0x19, 0x5b, 0xf9, 0x34, 0xc6, 0x49],
            0x1feb_892f_cffe_2dda_e1e0_9e9f_04c7_003c,
        ),
        (
            "4 d6 .  )S0(37)8 0  v* 3  0",
            "3  .6&7) 8SF(hM 248!#016W",
            [0xbc, 0x66, 0x8d, 0xee, 0x59, 0xd1, 0x9d, 0xaa],
            0x6100_9766_893b_451d_5a78_e6ce_f08d_9841,
        ),
        ("0 !", "4 294967295", *b"00000000", 0x5f4a_585c_78db_bd61_1004_78c2_c8d8_2f4e),
    ];

    #[test]
    fn known_challenges_have_the_known_digests() {
        for (key1, key2, key3, digest) in KNOWN {
            let challenge = Challenge { key1: key1.into(), key2: key2.into(), key3 };
            assert_eq!(challenge.digest(), digest.to_be_bytes(), "{key1}");
        }
    }

    /// A server refuses a key without a space, with one at an end (headers are trimmed), or that does not divide.
    #[test]
    fn keys_are_what_the_draft_wants() {
        for nonce in 0..20_000 {
            let Challenge { key1, key2, .. } = Challenge::new(nonce);
            for key in [key1, key2] {
                let digits: String = key.chars().filter(char::is_ascii_digit).collect();
                let spaces = key.matches(' ').count() as u64;
                let letters = key.len() - digits.len() - spaces as usize;
                assert!((1..=12).contains(&spaces) && (1..=12).contains(&letters), "{key:?}");
                assert_eq!(key.trim(), key);
                assert!(key.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{key:?}");
                let product: u64 = digits.parse().unwrap();
                assert_eq!(product % spaces, 0, "{key:?}");
                assert_eq!(product / spaces, u64::from(number(&key)), "{key:?}");
            }
        }
        assert_ne!(Challenge::new(1).key3, Challenge::new(2).key3);
    }

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let mut stream = Vec::new();
        for text in ["Hello", "", "κόσμε"] {
            write(&mut stream, text.as_bytes());
        }
        assert_eq!(stream[..9], *b"\x00Hello\xff\x00\xff");
        stream.extend(CLOSE);
        for size in 1..=stream.len() {
            let (mut read, mut message, mut inside, mut kept) = (Vec::new(), Vec::new(), false, Vec::new());
            for bytes in stream.chunks(size) {
                kept.extend_from_slice(bytes);
                let mut at = 0;
                while at < kept.len() {
                    let (piece, took) = piece(&kept[at..], inside).unwrap();
                    match piece {
                        Piece::Text(text, whole) => {
                            message.extend_from_slice(text);
                            inside = !whole;
                            if whole {
                                read.push(String::from_utf8(std::mem::take(&mut message)).unwrap());
                            }
                        }
                        Piece::Close => read.push("CLOSE".into()),
                        Piece::Nothing => break,
                    }
                    at += took;
                }
                kept.drain(..at);
            }
            assert_eq!(read, ["Hello", "", "κόσμε", "CLOSE"], "{size} bytes at a time");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in [&[0x81, 0x05][..], &[0x01, b'a', END], &[0x80, 0x00], &[END, 0x01], &[END, END]] {
            assert!(piece(bytes, false).is_err(), "{bytes:x?}");
        }
    }
}
