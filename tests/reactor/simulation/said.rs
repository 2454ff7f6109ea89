//! What the server has said to a client, as far as its kernel's model has to know: whether a Close is among it.
//!
//! The frames are followed from the first on: a payload may end in bytes that look like a Close.

const HEAD_END: &[u8] = b"\r\n\r\n";

#[derive(Clone, Default)]
pub struct Said {
    /// Bytes of the end of the HTTP head that have come in a row.
    head_end: usize,
    /// The header of the frame at hand, as far as it has come; of a Close all of it.
    begun: Vec<u8>,
    /// Bytes that are still to come of a frame whose header is over.
    rest: usize,
    /// The code of the Close; 1005 where it has none.
    pub close: Option<u16>,
}

impl Said {
    /// Takes what comes next.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while let [first, later @ ..] = bytes {
            if self.rest > 0 {
                let passed = self.rest.min(bytes.len());
                self.rest -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            bytes = later;
            if self.head_end < HEAD_END.len() {
                let goes_on = *first == HEAD_END[self.head_end];
                self.head_end = if goes_on { self.head_end + 1 } else { usize::from(*first == b'\r') };
                continue;
            }
            self.begun.push(*first);
            self.end_header();
        }
    }

    fn end_header(&mut self) {
        let size = match self.begun[..] {
            [0x88, 0] => return self.close = Some(1005),
            [0x88, size, high, low, ..] if self.begun.len() == 2 + usize::from(size) => {
                return self.close = Some(u16::from_be_bytes([high, low]));
            }
            [0x88, ..] => return,
            [_, 126, high, low] => usize::from(u16::from_be_bytes([high, low])),
            [_, 127, a, b, c, d, e, f, g, h] => u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize,
            [_, 126 | 127, ..] | [_] => return,
            [_, size, ..] => usize::from(size),
            [] => return,
        };
        self.rest = size;
        self.begun.clear();
    }
}

#[test]
fn a_close_is_told_from_a_payload_that_looks_like_one() {
    let frames: &[u8] = b"HTTP/1.1 101 \r\r\n\r\n\x82\x06ab\x88\x02\x03\xe8\x82\x7e\x00\x7e";
    let (mut whole, mut pieces) = (Said::default(), Said::default());
    let all = [frames, &[0x88; 126], b"\x88\x05\x03\xe9bye"].concat();
    whole.take(&all);
    all.chunks(1).for_each(|byte| pieces.take(byte));
    assert_eq!((whole.close, pieces.close), (Some(1001), Some(1001)));
    let mut none = Said::default();
    none.take(&all[..all.len() - 1]);
    assert_eq!(none.close, None);
}
