//! SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash that is short, total and has no state.
//! The standard library's own is either deprecated or of unspecified algorithm.

/// The 64-bit hash of `data` under the 128-bit key `(k0, k1)`.
pub(super) fn siphash24(k0: u64, k1: u64, data: &[u8]) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let mut chunks = data.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        absorb(&mut v, u64::from_le_bytes(word));
    }
    let rest = chunks.remainder();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = data.len().to_le_bytes()[0];
    absorb(&mut v, u64::from_le_bytes(last));
    v[2] ^= 0xff;
    for _ in 0..4 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

/// A 128-bit tag: two hashes under keys derived from `secret`.
pub(super) fn tag(secret: &[u8; 16], data: &[u8]) -> [u8; 16] {
    let (low, high) = secret.split_at(8);
    let mut word = [0; 8];
    word.copy_from_slice(low);
    let k0 = u64::from_le_bytes(word);
    word.copy_from_slice(high);
    let k1 = u64::from_le_bytes(word);
    let first = siphash24(k0, k1, data);
    let second = siphash24(k0 ^ 0x5c5c_5c5c_5c5c_5c5c, k1 ^ 0x3636_3636_3636_3636, data);
    let mut out = [0; 16];
    out[..8].copy_from_slice(&first.to_le_bytes());
    out[8..].copy_from_slice(&second.to_le_bytes());
    out
}

fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    round(v);
    v[0] ^= word;
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector_is_reproduced() {
        let data: Vec<u8> = (0..15).collect();
        let hash = siphash24(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908, &data);
        assert_eq!(hash, 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn a_tag_depends_on_every_bit_of_secret_and_data() {
        let secret = [7; 16];
        let data = [9; 80];
        let right = tag(&secret, &data);
        for bit in 0..128 {
            let mut other = secret;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(tag(&other, &data), right);
        }
        for bit in 0..640 {
            let mut other = data;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(tag(&secret, &other), right);
        }
    }
}
