//! The bytes of a server that is made up, without any code of loadgen's.

pub use crate::frame::frame;
use tungstenite::handshake::derive_accept_key;

/// The answer to a request with `key`.
pub fn accepted(key: &str) -> Vec<u8> {
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    answer.into_bytes()
}

/// Takes a client's frame off the front of `inbox`: its first byte, its payload, and its size on the wire.
pub fn take_frame(inbox: &mut Vec<u8>) -> Option<(u8, Vec<u8>, usize)> {
    let (&[first, second], rest) = inbox.split_first_chunk::<2>()?;
    assert_ne!(second & 0x80, 0, "clients mask");
    assert_eq!(first & 0x70, 0, "no extension was agreed to");
    let (len, wide) = match second & 0x7F {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 2),
        127 => (u64::from_be_bytes(*rest.first_chunk()?) as usize, 8),
        len => (usize::from(len), 0),
    };
    let key: [u8; 4] = *rest.get(wide..)?.first_chunk()?;
    let size = 2 + wide + 4 + len;
    if inbox.len() < size {
        return None;
    }
    let mut payload: Vec<u8> = inbox.drain(..size).skip(6 + wide).collect();
    payload.iter_mut().zip(key.into_iter().cycle()).for_each(|(byte, k)| *byte ^= k);
    Some((first, payload, size))
}
