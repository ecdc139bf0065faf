//! Transfer encodings undone as mail programs do it: what is broken is passed over, and what there is, is shown.

use std::borrow::Cow;

use memchr::memchr;

/// How content is encoded: RFC 2045 section 6.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Transfer {
    /// As it is: `7bit`, `8bit`, `binary`, and whatever nobody knows.
    #[default]
    Plain,
    /// `base64`.
    Base64,
    /// `quoted-printable`.
    QuotedPrintable,
    /// `x-uuencode` and its other names.
    Uuencode,
}

impl Transfer {
    pub(crate) fn of(name: &str) -> Self {
        // A comment or a parameter behind it is passed over.
        let name = name.split([';', '(', ' ']).next().unwrap_or_default();
        match name.trim_matches('"').to_ascii_lowercase().as_str() {
            "base64" => Self::Base64,
            "quoted-printable" => Self::QuotedPrintable,
            "x-uuencode" | "uuencode" | "x-uue" | "uue" => Self::Uuencode,
            _ => Self::Plain,
        }
    }

    /// The content, and whether any of it is not what this encoding writes.
    pub(crate) fn decode<'m>(self, bytes: &'m [u8]) -> (Cow<'m, [u8]>, bool) {
        match self {
            Self::Plain => (Cow::Borrowed(bytes), false),
            Self::Base64 => {
                let (content, broken) = base64(bytes);
                (Cow::Owned(content), broken)
            }
            Self::QuotedPrintable => {
                let (content, broken) = quoted_printable(bytes);
                (Cow::Owned(content), broken)
            }
            Self::Uuencode => match uuencoded(bytes) {
                Some(file) => (Cow::Owned(file.content), false),
                None => (Cow::Borrowed(bytes), true),
            },
        }
    }
}

/// What stands for no digit.
const NONE: u8 = 0xff;

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const DIGITS: [u8; 256] = {
    let mut digits = [NONE; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    while value < alphabet.len() {
        digits[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

fn digit(byte: u8) -> u8 {
    DIGITS.get(usize::from(byte)).copied().unwrap_or(NONE)
}

/// RFC 2045 section 6.8: what is outside of the alphabet is passed over. An end in the middle is one piece behind another.
pub(crate) fn base64(bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3 + 3);
    let mut broken = false;
    let (mut bits, mut count) = (0_u32, 0_u8);
    let mut rest = bytes;
    loop {
        // Whole groups, which almost everything is.
        while count == 0
            && let [a, b, c, d, behind @ ..] = rest
        {
            let (a, b, c, d) = (digit(*a), digit(*b), digit(*c), digit(*d));
            if (a | b | c | d) > 63 {
                break;
            }
            let group = u32::from(a) << 18 | u32::from(b) << 12 | u32::from(c) << 6 | u32::from(d);
            let [_, x, y, z] = group.to_be_bytes();
            out.extend_from_slice(&[x, y, z]);
            rest = behind;
        }
        let Some((&byte, behind)) = rest.split_first() else { break };
        rest = behind;
        match (digit(byte), byte) {
            (value @ 0..=63, _) => {
                bits = bits << 6 | u32::from(value);
                count += 1;
                if count == 4 {
                    let [_, x, y, z] = bits.to_be_bytes();
                    out.extend_from_slice(&[x, y, z]);
                    (bits, count) = (0, 0);
                }
            }
            (_, b'=') => {
                flush(bits, count, &mut out);
                (bits, count) = (0, 0);
            }
            (_, b'\r' | b'\n' | b' ' | b'\t') => {}
            _ => broken = true,
        }
    }
    broken |= count == 1;
    flush(bits, count, &mut out);
    (out, broken)
}

fn flush(bits: u32, count: u8, out: &mut Vec<u8>) {
    match count {
        2 => out.push((bits >> 4) as u8),
        3 => out.extend_from_slice(&[(bits >> 10) as u8, (bits >> 2) as u8]),
        _ => {}
    }
}

/// RFC 2045 section 6.7: what is no escape stays as it is.
pub(crate) fn quoted_printable(bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(bytes.len());
    let mut broken = false;
    let mut rest = bytes;
    while let Some(equals) = memchr(b'=', rest) {
        let (plain, behind) = rest.split_at_checked(equals).unwrap_or((rest, b""));
        out.extend_from_slice(plain);
        rest = match behind {
            [_, high, low, behind @ ..]
                if let (Some(high), Some(low)) = (hex(*high), hex(*low)) =>
            {
                out.push(high << 4 | low);
                behind
            }
            [_, behind @ ..] => match soft_break(behind) {
                Some(behind) => behind,
                None => {
                    broken = true;
                    out.push(b'=');
                    behind
                }
            },
            [] => b"",
        };
    }
    out.extend_from_slice(rest);
    (out, broken)
}

/// What stands behind a line's end that is not to be one. Spaces may have been added to the line.
fn soft_break(bytes: &[u8]) -> Option<&[u8]> {
    let blanks = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match bytes.get(blanks..)? {
        [] => Some(b""),
        [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => Some(rest),
        _ => None,
    }
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// A file that was put between lines of text, as before MIME.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Uuencoded {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
    /// Where its first line begins.
    pub(crate) start: usize,
    /// Where what is behind its last line begins.
    pub(crate) end: usize,
}

/// The first file in a text. Mail programs show those as attachments to this day.
pub(crate) fn uuencoded(bytes: &[u8]) -> Option<Uuencoded> {
    let mut from = 0;
    loop {
        let rest = bytes.get(from..)?;
        let at = if from == 0 && rest.starts_with(b"begin ") {
            0
        } else {
            from + memchr::memmem::find(rest, b"\nbegin ")? + 1
        };
        if let Some(file) = uuencoded_at(bytes, at) {
            return Some(file);
        }
        from = at + 1;
    }
}

fn uuencoded_at(bytes: &[u8], start: usize) -> Option<Uuencoded> {
    let mut lines = bytes.get(start..)?.split_inclusive(|&byte| byte == b'\n');
    let first = lines.next()?;
    let mut position = start + first.len();
    let first = std::str::from_utf8(first).ok()?.trim_ascii_end();
    let mut words = first.splitn(3, ' ').skip(1);
    let mode = words.next()?;
    // Permissions in octal, or it is a sentence that begins so.
    if !matches!(mode.len(), 3 | 4) || !mode.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) {
        return None;
    }
    let name = words.next()?.trim().to_owned();
    let mut content = Vec::new();
    let mut any = false;
    for line in lines {
        position += line.len();
        let text = line.trim_ascii_end();
        if text == b"end" {
            return Some(Uuencoded { name, content, start, end: position });
        }
        let Some((&length, data)) = text.split_first() else {
            // The last line has no octets; some programs write it as a space, which is then cut.
            continue;
        };
        let length = usize::from(length.wrapping_sub(b' ') & 63);
        // Spaces at its end stand for zeros, and may have been cut; a checksum may have been added.
        let whole = data.len() <= length.div_ceil(3) * 4 + 2;
        if !whole || !text.iter().all(|byte| (b' '..=b'`').contains(byte)) {
            return any.then_some(Uuencoded { name, content, start, end: position - line.len() });
        }
        let before = content.len();
        for group in data.chunks(4) {
            let value = |at: usize| {
                group.get(at).map_or(0, |&byte| u32::from(byte.wrapping_sub(b' ') & 63))
            };
            let bits = value(0) << 18 | value(1) << 12 | value(2) << 6 | value(3);
            let [_, x, y, z] = bits.to_be_bytes();
            content.extend_from_slice(&[x, y, z]);
        }
        content.resize(before + length, 0);
        any |= length > 0;
    }
    any.then_some(Uuencoded { name, content, start, end: position })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names() {
        for (name, expected) in [
            ("7bit", Transfer::Plain),
            ("BASE64", Transfer::Base64),
            ("base64 (comment)", Transfer::Base64),
            ("\"quoted-printable\"", Transfer::QuotedPrintable),
            ("x-uuencode", Transfer::Uuencode),
            ("anything", Transfer::Plain),
            ("", Transfer::Plain),
        ] {
            assert_eq!(Transfer::of(name), expected, "{name}");
        }
    }

    #[test]
    fn of_base64() {
        for (bytes, content, broken) in [
            (&b""[..], &b""[..], false),
            (b"YQ==", b"a", false),
            (b"YWI=", b"ab", false),
            (b"YWJj", b"abc", false),
            (b"YWJjZA==\r\n", b"abcd", false),
            (b"YW\r\nJj\r\n", b"abc", false),
            (b"YQ", b"a", false),
            // Two pieces, one behind the other.
            (b"YQ==YWI=", b"aab", false),
            // What is in the way is passed over.
            (b"Y*W-J!j", b"abc", true),
            (b"YWJjZ", b"abc", true),
            (b"\xff\xff", b"", true),
            (b"====", b"", false),
        ] {
            assert_eq!(base64(bytes), (content.to_vec(), broken), "{:?}", bytes.escape_ascii());
        }
    }

    #[test]
    fn of_quoted_printable() {
        for (bytes, content, broken) in [
            (&b""[..], &b""[..], false),
            (b"a=3Db", b"a=b", false),
            (b"a=3db=c3=bc", b"a=b\xc3\xbc", false),
            (b"a=\r\nb=\nc", b"abc", false),
            (b"a= \t\r\nb", b"ab", false),
            (b"a=", b"a", false),
            (b"a=  ", b"a", false),
            (b"a=zz", b"a=zz", true),
            (b"a==3D", b"a==", true),
            (b"a=3", b"a=3", true),
            (b"line \r\n", b"line \r\n", false),
        ] {
            assert_eq!(
                quoted_printable(bytes),
                (content.to_vec(), broken),
                "{:?}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn of_uuencode() {
        let text = b"Hello\nbegin 644 cat.txt\n#0V%T\n`\nend\nbye\n";
        let file = uuencoded(text).unwrap();
        assert_eq!((file.name.as_str(), &file.content[..]), ("cat.txt", &b"Cat"[..]));
        assert_eq!((file.start, file.end), (6, text.len() - 4));
        // Without an end, as much as there is.
        assert_eq!(uuencoded(b"begin 644 cat.txt\n#0V%T\n").unwrap().content, b"Cat");
        for text in [
            &b""[..],
            b"begin",
            b"begin the day",
            b"begin 999 a\n#0V%T\n`\nend\n",
            b"\nbegin again and again\nend\n",
            b"begin 644 a\nthis is no line of a file, but text\n",
        ] {
            assert_eq!(uuencoded(text), None, "{:?}", text.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn base64_both_ways(content: Vec<u8>, width in 1_usize..80) {
            let mut encoded = Vec::new();
            for group in content.chunks(3) {
                let mut bits = [0; 4];
                bits[1..=group.len()].copy_from_slice(group);
                let bits = u32::from_be_bytes(bits);
                for place in 0..4 {
                    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
                    let byte = alphabet[(bits >> (18 - 6 * place)) as usize & 63];
                    encoded.push(if place > group.len() { b'=' } else { byte });
                }
            }
            let lines = encoded.chunks(width).map(<[u8]>::to_vec).collect::<Vec<_>>().join(&b"\r\n"[..]);
            prop_assert_eq!(base64(&lines), (content, false));
        }

        /// Nothing grows.
        #[test]
        fn nothing_grows(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'='), Just(b'\n'), Just(b'A')], 0..300)) {
            prop_assert!(base64(&bytes).0.len() <= bytes.len());
            prop_assert!(quoted_printable(&bytes).0.len() <= bytes.len());
            if let Some(file) = uuencoded(&bytes) {
                prop_assert!(file.content.len() <= bytes.len());
                prop_assert!(file.start < file.end && file.end <= bytes.len());
            }
        }
    }
}
