//! Unmasking (RFC 6455 §5.3).

use wide::u8x32;

/// The four bytes a client XORs its payload with.
pub type Key = [u8; 4];

/// Unmasks `payload` in place; its first byte meets the first byte of `key`.
// In explicit vectors, because nothing is vectorized by itself where the compiler is told to build small.
pub fn unmask(payload: &mut [u8], key: Key) {
    let word_key = [key; 2].as_flattened().try_into().expect("twice four bytes");
    let (blocks, rest) = payload.as_chunks_mut::<32>();
    if !blocks.is_empty() {
        let block_key = u8x32::new([word_key; 4].as_flattened().try_into().expect("four times eight bytes"));
        let unmask = |block: &mut [u8; 32]| *block = (u8x32::new(*block) ^ block_key).to_array();
        let (fours, blocks) = blocks.as_chunks_mut();
        for [one, two, three, four] in fours {
            unmask(one);
            unmask(two);
            unmask(three);
            unmask(four);
        }
        blocks.iter_mut().for_each(unmask);
    }
    let (words, rest) = rest.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(word_key)).to_ne_bytes();
    }
    let (halves, rest) = rest.as_chunks_mut();
    for half in halves {
        *half = (u32::from_ne_bytes(*half) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
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
