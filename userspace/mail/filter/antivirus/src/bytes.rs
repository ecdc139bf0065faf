//! Numbers and pieces out of octets that may end anywhere.

/// Two octets, the lower first.
pub(crate) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

/// Four octets, the lowest first.
pub(crate) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

/// Eight octets, the lowest first.
pub(crate) fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// Four octets as a place in memory.
pub(crate) fn place32(bytes: &[u8], at: usize) -> Option<usize> {
    le32(bytes, at).and_then(|place| usize::try_from(place).ok())
}

/// Eight octets as a place in memory.
pub(crate) fn place64(bytes: &[u8], at: usize) -> Option<usize> {
    le64(bytes, at).and_then(|place| usize::try_from(place).ok())
}

/// So many octets from there, all of them or nothing.
pub(crate) fn piece(bytes: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(length)?)
}

/// So many octets from there, or as many as there are.
pub(crate) fn at_most(bytes: &[u8], at: usize, length: usize) -> &[u8] {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.get(..length).unwrap_or(rest)
}

/// Everything from there.
pub(crate) fn from(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or_default()
}

/// What stands before the first zero, and the place behind it.
pub(crate) fn until_zero(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(at..)?;
    let length = memchr::memchr(0, rest)?;
    Some((rest.get(..length)?, at + length + 1))
}

/// Text of two octets a letter.
pub(crate) fn wide(bytes: &[u8]) -> String {
    let letters = bytes.chunks_exact(2).filter_map(|pair| array(pair, 0).map(u16::from_le_bytes));
    char::decode_utf16(letters)
        .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Text of one octet a letter: UTF-8 if it is that, else each octet for the letter with its number.
pub(crate) fn narrow(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&octet| char::from(octet)).collect(),
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_beyond_the_end() {
        let bytes = [1, 2, 3, 4, 0, 6, 7, 8];
        assert_eq!(le16(&bytes, 6), Some(0x0807));
        assert_eq!(le16(&bytes, 7), None);
        assert_eq!(le32(&bytes, 0), Some(0x0403_0201));
        assert_eq!(le32(&bytes, usize::MAX), None);
        assert_eq!(le64(&bytes, 0), Some(0x0807_0600_0403_0201));
        assert_eq!(piece(&bytes, 6, 2), Some(&[7, 8][..]));
        assert_eq!(piece(&bytes, 6, usize::MAX), None);
        assert_eq!(at_most(&bytes, 6, usize::MAX), [7, 8]);
        assert_eq!(at_most(&bytes, 9, 1), b"");
        assert_eq!(until_zero(&bytes, 2), Some((&[3, 4][..], 5)));
        assert_eq!(until_zero(&bytes, 5), None);
    }

    #[test]
    fn letters() {
        assert_eq!(wide(b"a\0\xe9\0\x3d\xd8x"), "a\u{e9}\u{fffd}");
        assert_eq!(narrow("\u{e9}".as_bytes()), "\u{e9}");
        assert_eq!(narrow(b"\xe9"), "\u{e9}");
    }
}
