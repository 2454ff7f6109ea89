//! Frames of servers that are made up, without any code of loadgen's.

use std::io::{self, Read};

/// A server's frame that begins with the byte `first`.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        n @ 0..126 => out.push(n as u8),
        n @ 126..65_536 => {
            out.push(126);
            out.extend((n as u16).to_be_bytes());
        }
        n => {
            out.push(127);
            out.extend((n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

/// The rest of a client's frame whose second byte is `length`, which may announce more: its payload without the mask.
#[allow(dead_code, reason = "where the network is made up, there is no stream")]
pub fn read_payload(stream: &mut impl Read, length: u8) -> io::Result<Vec<u8>> {
    assert_ne!(length & 0x80, 0, "clients mask");
    let mut len = u64::from(length & 0x7F);
    if len >= 126 {
        let mut wide = [0; 8];
        stream.read_exact(&mut wide[if len == 126 { 6 } else { 0 }..])?;
        len = u64::from_be_bytes(wide);
    }
    let mut key = [0; 4];
    stream.read_exact(&mut key)?;
    let mut payload = vec![0; len as usize];
    stream.read_exact(&mut payload)?;
    for (i, byte) in payload.iter_mut().enumerate() {
        *byte ^= key[i % 4];
    }
    Ok(payload)
}
