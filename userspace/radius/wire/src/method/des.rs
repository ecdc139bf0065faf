//! The block cipher of MS-CHAP (RFC 2433 appendix A.6, RFC 2759 section 8.5).

use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};

/// What a client makes of a challenge: the hash, filled up to 21 octets, is three keys.
pub(super) fn respond(challenge: &[u8; 8], hash: &[u8; 16]) -> [u8; 24] {
    let mut keys = [0; 21];
    keys.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
    let mut response = [0; 24];
    let blocks = response.as_chunks_mut::<8>().0.iter_mut();
    blocks.zip(keys.as_chunks::<7>().0).for_each(|(block, key)| *block = encrypt(challenge, key));
    response
}

/// One block under a key of 56 bits.
pub(super) fn encrypt(block: &[u8; 8], key: &[u8; 7]) -> [u8; 8] {
    let mut block = (*block).into();
    Des::new(&spread(key).into()).encrypt_block(&mut block);
    block.into()
}

/// Seven bits for each octet; the eighth would be parity, which nobody looks at.
fn spread(key: &[u8; 7]) -> [u8; 8] {
    let bits = key.iter().fold(0_u64, |bits, &octet| bits << 8 | u64::from(octet));
    let mut octets = [0; 8];
    for (octet, shift) in octets.iter_mut().zip((0..=49).rev().step_by(7)) {
        *octet = ((bits >> shift & 0x7f) << 1) as u8;
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::hex;

    /// RFC 2759 section 9.3, but for the parity bits.
    #[test]
    fn keys_are_spread_as_in_rfc_2759() {
        let hash = hex("fc156af7edcd6c0edde3337d427f4eac");
        let expected = ["fd0b5b5e7f6e34d9", "0e6e796737ea08fe"];
        for (key, expected) in hash.chunks_exact(7).zip(expected) {
            let expected: Vec<_> = hex(expected).iter().map(|octet| octet & 0xfe).collect();
            assert_eq!(spread(key.try_into().unwrap())[..], expected);
        }
    }
}
