//! What the secret hides: passwords on their way to the server, keys and passwords on their way back.
//!
//! MD5 in a chain is no encryption that anybody would choose today; it is what the NASes speak.

use crate::secret::Secret;

/// Bytes of a password at most (RFC 2865 section 5.2).
pub const LONGEST_PASSWORD: usize = 128;

/// Bytes of what is hidden with a salt at most, its length octet included: what an attribute of a vendor has room for.
pub const LONGEST_SALTED: usize = 240;

/// Reveals a value that is hidden as User-Password is (RFC 2865 section 5.2), without the zeroes at its end.
/// `authenticator` is the request's. None if the length is not 16, 32, ... 128.
pub fn password<'o>(
    value: &[u8],
    secret: &Secret,
    authenticator: &[u8; 16],
    out: &'o mut [u8; LONGEST_PASSWORD],
) -> Option<&'o [u8]> {
    let plain = copied(value, out)?;
    reveal(plain, secret, secret.pad(&[authenticator]));
    let length = plain.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
    plain.get(..length)
}

/// Reveals a value that is hidden as Tunnel-Password (RFC 2868 section 3.5) and the MPPE keys (RFC 2548 section 2.4.2)
/// are. `value` begins with the salt: a tag before it is the caller's to take off. `authenticator` is that of the
/// request which the value answers. None if the value is malformed, or was made with another secret as far as that
/// shows.
pub fn salted<'o>(
    value: &[u8],
    secret: &Secret,
    authenticator: &[u8; 16],
    out: &'o mut [u8; LONGEST_SALTED],
) -> Option<&'o [u8]> {
    let (salt, value) = value.split_first_chunk::<2>()?;
    let plain = copied(value, out)?;
    reveal(plain, secret, secret.pad(&[authenticator, salt]));
    let (&length, plain) = plain.split_first()?;
    plain.get(..usize::from(length))
}

/// Bytes that a password takes once it is hidden: 16 even for an empty one. None if it is too long.
pub(crate) fn password_len(plain: &[u8]) -> Option<usize> {
    (plain.len() <= LONGEST_PASSWORD).then(|| plain.len().next_multiple_of(16).max(16))
}

/// Bytes that something takes once it is hidden with a salt, without the salt. None if it is too long.
pub(crate) fn salted_len(plain: &[u8]) -> Option<usize> {
    (plain.len() < LONGEST_SALTED).then(|| (plain.len() + 1).next_multiple_of(16))
}

/// Hides `plain`; `out` has [`password_len`] bytes.
pub(crate) fn hide_password(
    plain: &[u8],
    secret: &Secret,
    authenticator: &[u8; 16],
    out: &mut [u8],
) {
    fill(out, plain.iter());
    hide(out, secret, secret.pad(&[authenticator]));
}

/// Hides `plain`, its length before it; `out` has [`salted_len`] bytes.
pub(crate) fn hide_salted(
    plain: &[u8],
    secret: &Secret,
    authenticator: &[u8; 16],
    salt: [u8; 2],
    out: &mut [u8],
) {
    let length = u8::try_from(plain.len()).unwrap_or(u8::MAX);
    fill(out, std::iter::once(&length).chain(plain));
    hide(out, secret, secret.pad(&[authenticator, &salt]));
}

/// Whole blocks of `value`, at the beginning of `out`.
fn copied<'o>(value: &[u8], out: &'o mut [u8]) -> Option<&'o mut [u8]> {
    let whole = !value.is_empty() && value.len().is_multiple_of(16);
    let out = out.get_mut(..value.len()).filter(|_| whole)?;
    out.copy_from_slice(value);
    Some(out)
}

/// Copies, and fills up with zeroes.
fn fill<'p>(out: &mut [u8], plain: impl Iterator<Item = &'p u8>) {
    let padded = plain.chain(std::iter::repeat(&0));
    out.iter_mut().zip(padded).for_each(|(to, from)| *to = *from);
}

/// Each block is mixed with the digest of the hidden one before it.
fn hide(out: &mut [u8], secret: &Secret, mut pad: [u8; 16]) {
    let mut blocks = out.as_chunks_mut::<16>().0.iter_mut().peekable();
    while let Some(block) = blocks.next() {
        mix(block, &pad);
        if blocks.peek().is_some() {
            pad = secret.pad(&[block]);
        }
    }
}

fn reveal(out: &mut [u8], secret: &Secret, mut pad: [u8; 16]) {
    let mut blocks = out.as_chunks_mut::<16>().0.iter_mut().peekable();
    while let Some(block) = blocks.next() {
        let hidden = *block;
        mix(block, &pad);
        if blocks.peek().is_some() {
            pad = secret.pad(&[&hidden]);
        }
    }
}

fn mix(block: &mut [u8; 16], pad: &[u8; 16]) {
    block.iter_mut().zip(pad).for_each(|(octet, pad)| *octet ^= pad);
}

#[cfg(test)]
mod tests {
    use md5::{Digest, Md5};
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{hex, secret};

    const AUTHENTICATOR: [u8; 16] = *b"0123456789abcdef";

    fn hidden_password(plain: &[u8]) -> Vec<u8> {
        let mut out = vec![0xee; password_len(plain).unwrap()];
        hide_password(plain, &secret(), &AUTHENTICATOR, &mut out);
        out
    }

    /// RFC 2865 section 7.1: the password is arctangent.
    #[test]
    fn the_password_of_rfc_2865() {
        let authenticator: [u8; 16] = hex("0f403f9473978057bd83d5cb98f4227a").try_into().unwrap();
        let value = hex("0dbe708d93d413ce3196e43f782a0aee");
        let mut out = [0; LONGEST_PASSWORD];
        let plain = password(&value, &secret(), &authenticator, &mut out);
        assert_eq!(plain, Some(&b"arctangent"[..]));
        let mut again = [0; 16];
        hide_password(b"arctangent", &secret(), &authenticator, &mut again);
        assert_eq!(again[..], value);
    }

    /// RFC 2868 section 3.5, spelled out.
    #[test]
    fn salted_blocks_are_chained_as_rfc_2868_says() {
        let (plain, salt) = (b"a password of more than 16 octets", [0x9c, 0x27]);
        let mut out = [0; 48];
        assert_eq!(salted_len(plain), Some(48));
        hide_salted(plain, &secret(), &AUTHENTICATOR, salt, &mut out);

        let mut padded = [&[33], &plain[..]].concat();
        padded.resize(48, 0);
        let mut expected = Vec::new();
        let mut before = [&AUTHENTICATOR[..], &salt].concat();
        for block in padded.chunks(16) {
            let pad = Md5::digest([b"xyzzy5461", &before[..]].concat());
            before = block.iter().zip(pad).map(|(octet, pad)| octet ^ pad).collect();
            expected.extend(&before);
        }
        assert_eq!(out[..], expected);
    }

    #[test]
    fn lengths_that_cannot_be() {
        let value = [7; 256];
        for length in (0..256).filter(|length| ![16, 32, 48, 64, 80, 96, 112, 128].contains(length))
        {
            let mut out = [0; LONGEST_PASSWORD];
            assert_eq!(password(&value[..length], &secret(), &AUTHENTICATOR, &mut out), None);
        }
        for length in (0..=256).filter(|length| length % 16 != 2 || *length == 2 || *length > 242) {
            let mut out = [0; LONGEST_SALTED];
            assert_eq!(salted(&value[..length], &secret(), &AUTHENTICATOR, &mut out), None);
        }
        assert_eq!(password_len(&value[..128]), Some(128));
        assert_eq!(password_len(&value[..129]), None);
        assert_eq!(salted_len(&value[..239]), Some(240));
        assert_eq!(salted_len(&value[..240]), None);
    }

    #[test]
    fn a_salted_length_beyond_its_blocks_is_refused() {
        let mut blocks = [0; 16];
        fill(&mut blocks, [16].iter());
        let pad = secret().pad(&[&AUTHENTICATOR, &[0x80, 0]]);
        hide(&mut blocks, &secret(), pad);
        let value = [&[0x80, 0], &blocks[..]].concat();
        let mut out = [0; LONGEST_SALTED];
        assert_eq!(salted(&value, &secret(), &AUTHENTICATOR, &mut out), None);
    }

    proptest! {
        #[test]
        fn passwords_come_back(plain in prop::collection::vec(any::<u8>(), 0..=128)) {
            let value = hidden_password(&plain);
            let mut out = [0; LONGEST_PASSWORD];
            let back = password(&value, &secret(), &AUTHENTICATOR, &mut out).unwrap();
            prop_assert!(plain.starts_with(back));
            // What is lost is zeroes at the end, which nobody can tell from padding.
            prop_assert!(plain[back.len()..].iter().all(|&octet| octet == 0));
        }

        #[test]
        fn salted_values_come_back(
            plain in prop::collection::vec(any::<u8>(), 0..240),
            salt: [u8; 2],
        ) {
            let mut value = vec![0; 2 + salted_len(&plain).unwrap()];
            value[..2].copy_from_slice(&salt);
            hide_salted(&plain, &secret(), &AUTHENTICATOR, salt, &mut value[2..]);
            let mut out = [0; LONGEST_SALTED];
            let back = salted(&value, &secret(), &AUTHENTICATOR, &mut out);
            prop_assert_eq!(back, Some(&plain[..]));
        }
    }
}
