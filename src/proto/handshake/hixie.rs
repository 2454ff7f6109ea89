//! The handshakes of Hixie-75 and -76 (draft-hixie-thewebsocketprotocol-75 and -76 §1.3, §5.2).

use super::asked;
use super::origin::check_origin;
use super::refusal::{Refusal, push};
use super::request::Request;
use super::routes::Routes;
use crate::proto::paths::chain::Chain;

/// A good request of Hixie-75 or -76.
pub struct HixieUpgrade<'a> {
    /// Of draft 76 only.
    pub numbers: Option<Numbers>,
    origin: &'a [u8],
    host: &'a [u8],
    path: &'a str,
    query: &'a str,
    /// The subprotocol that is chosen.
    pub protocol: Option<&'a [u8]>,
}

impl<'a> HixieUpgrade<'a> {
    /// Whether `request` is one, and may be granted.
    pub fn read(request: &Request<'a>, routes: &Routes) -> Result<HixieUpgrade<'a>, Refusal> {
        if request.has("Sec-WebSocket-Draft") {
            return Err(Refusal::Bad("hybi-01 to -03 are not spoken"));
        }
        let numbers = match (request.only("Sec-WebSocket-Key1"), request.only("Sec-WebSocket-Key2")) {
            (Ok(None), Ok(None)) => None,
            (Ok(Some(key1)), Ok(Some(key2))) => match (number(key1), number(key2)) {
                (Some(first), Some(second)) => Some(Numbers { first, second }),
                _ => return Err(Refusal::Bad("Sec-WebSocket-Key1 or -Key2 hides no number")),
            },
            _ => {
                return Err(Refusal::Bad("Hixie-76 needs one Sec-WebSocket-Key1 and one -Key2"));
            }
        };
        check_origin(routes, request.only("Origin"))?;
        let protocol = match numbers {
            // The draft's one string, compared whole by its clients.
            None => request.all("WebSocket-Protocol").next(),
            // The same, or the list of a Flash bridge, which wants one of its elements.
            Some(_) => request.elements("Sec-WebSocket-Protocol").next(),
        };
        Ok(HixieUpgrade {
            numbers,
            origin: request.all("Origin").next().unwrap_or(b"null"),
            host: request.all("Host").next().unwrap_or_default(),
            path: request.path,
            query: request.query,
            protocol,
        })
    }

    /// Old WebKit compares the first 85 bytes of the answer to draft 75: status text, case and order are fixed.
    pub fn write(&self, response: &mut Vec<u8>, chain: Option<&Chain>, is_secure: bool) {
        let (name, prefix) = if self.numbers.is_some() { ("WebSocket", "Sec-") } else { ("Web Socket", "") };
        push(
            response,
            format_args!(
                "HTTP/1.1 101 {name} Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n{prefix}WebSocket-Origin: "
            ),
        );
        response.extend_from_slice(self.origin);
        let scheme = if is_secure { "wss" } else { "ws" };
        push(response, format_args!("\r\n{prefix}WebSocket-Location: {scheme}://"));
        response.extend_from_slice(self.host);
        response.extend_from_slice(self.path.as_bytes());
        response.extend_from_slice(self.query.as_bytes());
        if let Some(protocol) = asked::subprotocol(chain, self.protocol) {
            push(response, format_args!("\r\n{prefix}WebSocket-Protocol: "));
            response.extend_from_slice(protocol);
        }
        for (name, value) in chain.map_or(&[][..], |chain| &chain.opening.headers) {
            push(response, format_args!("\r\n{name}: {value}"));
        }
        response.extend_from_slice(b"\r\n\r\n");
    }
}

/// The two numbers hidden in the keys, each divided by its spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// Of Sec-WebSocket-Key1.
    pub first: u32,
    /// Of Sec-WebSocket-Key2.
    pub second: u32,
}

/// Reads the number out of a key: its digits, put together, divided by its spaces.
///
/// `None` where the draft has the server abort: no space, no digit, a remainder, or a quotient beyond 32 bits. The digits
/// alone may well exceed 32 bits: Safari's do.
pub fn number(key: &[u8]) -> Option<u32> {
    let spaces = key.iter().filter(|byte| **byte == b' ').count() as u64;
    let mut digits = key.iter().filter(|byte| byte.is_ascii_digit()).peekable();
    digits.peek()?;
    let value =
        digits.try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
    if value.checked_rem(spaces)? != 0 {
        return None;
    }
    u32::try_from(value / spaces).ok()
}

/// What proves that the challenge was understood: MD5 of both numbers and the eight bytes behind the head.
pub fn digest(numbers: Numbers, last: &[u8; 8]) -> [u8; 16] {
    let mut challenge = [0; 16];
    challenge[..4].copy_from_slice(&numbers.first.to_be_bytes());
    challenge[4..8].copy_from_slice(&numbers.second.to_be_bytes());
    challenge[8..].copy_from_slice(last);
    md5::compute(challenge).0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys as they were seen or published, the numbers in them, the last eight bytes, and the digest.
    type Vector = (&'static str, u32, &'static str, u32, &'static [u8; 8], &'static [u8; 16]);

    const VECTORS: &[Vector] = &[
        // The draft's own, in its introduction and in its example.
        (
            "18x 6]8vM;54 *(5:  {   U1]8  z [  8",
            155712099,
            "1_ tx7X d  <  nW  334J702) 7]o}` 0",
            173347027,
            b"Tm[K T2u",
            b"fQJ,fN/4F4!~K~MH",
        ),
        (
            "4 @1  46546xW%0l 1 5",
            829309203,
            "12998 5 Y3 1  .P00",
            259970620,
            b"^n:ds[4U",
            b"8jKS'y:G*Co,Wxa-",
        ),
        (
            "3e6b263  4 17 80",
            906585445,
            "17  9 G`ZD9   2 2b 7X 3 /r90",
            179922739,
            b"WjN}|M(6",
            b"n`9eBk9z$R8pOtVb",
        ),
        // Safari 5.1.2: the digits of the first key exceed a signed 32-bit number.
        (
            "23 1 +V2 61z9 5 P[t B|34vE",
            385436589,
            "2  33 0w{z 55679 0",
            466111358,
            b"\x8d\x07\x19\x5b\xf9\x34\xc6\x49",
            b"\x1f\xeb\x89\x2f\xcf\xfe\x2d\xda\xe1\xe0\x9e\x9f\x04\xc7\x00\x3c",
        ),
        // Perl's Protocol::WebSocket.
        (
            "4 d6 .  )S0(37)8 0  v* 3  0",
            46037803,
            "3  .6&7) 8SF(hM 248!#016W",
            919562004,
            b"\xbc\x66\x8d\xee\x59\xd1\x9d\xaa",
            b"\x61\x00\x97\x66\x89\x3b\x45\x1d\x5a\x78\xe6\xce\xf0\x8d\x98\x41",
        ),
        // The ends of the range.
        (
            "0 !",
            0,
            "4 294967295",
            u32::MAX,
            b"00000000",
            b"\x5f\x4a\x58\x5c\x78\xdb\xbd\x61\x10\x04\x78\xc2\xc8\xd8\x2f\x4e",
        ),
    ];

    #[test]
    fn published_challenges_are_answered() {
        for (key1, first, key2, second, last, answer) in VECTORS {
            assert_eq!(
                (number(key1.as_bytes()), number(key2.as_bytes())),
                (Some(*first), Some(*second)),
                "{key1}"
            );
            let numbers = Numbers { first: *first, second: *second };
            assert_eq!(&digest(numbers, last), *answer, "{key1}");
        }
    }

    #[test]
    fn keys_that_no_client_makes_are_refused() {
        for key in
            ["4@146546xW%0l15", "1 2 3", "4294967296 x", "abc d", "", "99999999999999999999 ", "        "]
        {
            assert_eq!(number(key.as_bytes()), None, "{key}");
        }
    }
}
