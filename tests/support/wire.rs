//! Frames as a client writes them, from the bytes of RFC 6455 §5.2 and not from the server's own code.

/// A whole client frame: `first` is the byte with FIN and opcode, the length takes its shortest form.
pub fn masked(first: u8, key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
    frame
}

/// The server's whole Close frame for a fault: its words, and the code that RFC 6455 §7.4.1 has for it.
pub fn fault(reason: &str) -> Vec<u8> {
    let code: u16 = match reason {
        "not UTF-8" => 1007,
        "message too big" => 1009,
        _ => 1002,
    };
    [&[0x88, 2 + reason.len() as u8][..], &code.to_be_bytes(), reason.as_bytes()].concat()
}

/// An opening request of version 13 for `/echo`, with the key of RFC 6455 §1.3.
pub const REQUEST: &str = "GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The answer to it.
pub const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The lines of a request as the browsers of 2009 and 2010 sent it, without the empty one.
pub const REQUEST_75: &str =
    "GET /echo?a=b&c HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: example.com:8087\r\n";
/// The first lines of its answer.
pub const ANSWER_75: &str =
    "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n";
