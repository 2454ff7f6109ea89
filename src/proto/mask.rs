//! Unmasking (RFC 6455 §5.3).

/// The four bytes a client XORs its payload with.
pub type Key = [u8; 4];

/// Unmasks `payload` in place; its first byte meets the first byte of `key`.
pub fn unmask(payload: &mut [u8], key: Key) {
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        let masked = u64::from_ne_bytes(word.try_into().expect("a chunk of eight"));
        word.copy_from_slice(&(masked ^ wide).to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// The key as it continues `count` bytes further into the payload.
pub fn advance(key: Key, count: usize) -> Key {
    std::array::from_fn(|at| key[(at + count) % 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_repeats_every_four_bytes_wherever_the_payload_is_cut() {
        let key = [0x37, 0xFA, 0x21, 0x3D];
        let plain: Vec<u8> = (0..67).collect();
        let masked: Vec<u8> = plain.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
        for cut in 0..=plain.len() {
            let mut payload = masked.clone();
            let (front, back) = payload.split_at_mut(cut);
            unmask(front, key);
            unmask(back, advance(key, cut));
            assert_eq!(payload, plain, "cut at {cut}");
        }
    }
}
