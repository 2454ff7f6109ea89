//! Frames as RFC 6455 §5.2 draws them, written without the crate's own codec: its mistakes must not cancel out here.

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;

/// What a client sends: final, masked.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let masked = payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key);
    [header(opcode, 0x80, payload.len()), KEY.to_vec(), masked.collect()].concat()
}

/// What a server sends: final, not masked.
pub fn plain(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [header(opcode, 0, payload.len()), payload.to_vec()].concat()
}

fn header(opcode: u8, mask: u8, size: usize) -> Vec<u8> {
    let first = 0x80 | opcode;
    match size {
        0..=125 => vec![first, mask | size as u8],
        126..=0xffff => [&[first, mask | 126], &(size as u16).to_be_bytes()[..]].concat(),
        _ => [&[first, mask | 127], &(size as u64).to_be_bytes()[..]].concat(),
    }
}
