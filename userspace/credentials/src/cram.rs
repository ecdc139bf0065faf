//! What a server keeps for CRAM-MD5 (RFC 2195) in place of the password: HMAC-MD5 half done, as RFC 2104 section 4 has it, and as
//! Dovecot writes it. It does for any login in which the password is said.

use md5::block_api::compress;
use md5::{Digest as _, Md5};

/// Octets that MD5 works on at once.
const BLOCK: usize = 64;

/// RFC 1321 section 3.3.
const BEGIN: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The states of MD5 after the outer pad and after the inner one.
pub(crate) fn states(password: &[u8]) -> [u8; 32] {
    let mut key = [0; BLOCK];
    let long;
    let short = if password.len() > BLOCK {
        long = Md5::digest(password);
        long.as_slice()
    } else {
        password
    };
    for (octet, own) in key.iter_mut().zip(short) {
        *octet = *own;
    }
    let [outer, inner] = [0x5c, 0x36].map(|pad| {
        let mut state = BEGIN;
        compress(&mut state, &[key.map(|octet| octet ^ pad)]);
        state
    });
    let mut states = [0; 32];
    let words = outer.into_iter().chain(inner).flat_map(u32::to_le_bytes);
    for (octet, own) in states.iter_mut().zip(words) {
        *octet = own;
    }
    states
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// Made by `doveadm pw -s CRAM-MD5`.
    #[test]
    fn as_dovecot_makes_them() {
        for (password, expected) in [
            ("secret", "cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56"),
            (
                "p\u{e4}ssw\u{f6}rd",
                "4a60bd37924fc5d45b4c92ce695bac86cb234bc3028aab2a71a225cb0dedfbb9",
            ),
            (
                "a longer password that has more than sixty-four octets in it, so that it is hashed first: ok",
                "b2f10d5bcd4869e0fab73a26cb4c7c7a1ae398c1eb92248daa31af22115675c5",
            ),
        ] {
            assert_eq!(HEXLOWER.encode(&states(password.as_bytes())), expected, "{password}");
        }
    }
}
