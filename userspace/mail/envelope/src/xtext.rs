//! xtext (RFC 3461 section 4): printable ASCII, in which `+` begins two hexadecimal digits. And its like for addresses in
//! other scripts, `utf-8-addr-xtext` and `utf-8-addr-unitext` (RFC 6533 section 3).

use std::fmt::Write;

/// Writes text as xtext.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'+' | b'=' => escape(&mut out, byte),
            b'!'..=b'~' => out.push(char::from(byte)),
            other => escape(&mut out, other),
        }
    }
    out
}

fn escape(out: &mut String, byte: u8) {
    // Writing to a String can't fail.
    let _ = write!(out, "+{byte:02X}");
}

/// Reads xtext. Nothing if it is none, or if what it stands for is not UTF-8. An equals sign may stand for itself: some
/// senders forget to escape it, and to refuse their mail for it would help nobody.
///
/// What it gives may have any character: line ends, too. Whoever writes it into a header checks that again.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => {
                let high = hexadecimal(bytes.next()?)?;
                let low = hexadecimal(bytes.next()?)?;
                out.push(high << 4 | low);
            }
            b'!'..=b'~' => out.push(byte),
            _ => return None,
        }
    }
    String::from_utf8(out).ok()
}

/// `hexchar` has capital letters alone; small ones are written by some, and mean nothing else.
const fn hexadecimal(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// Writes text as `utf-8-addr-xtext`: ASCII, in which `\x{...}` is a character.
#[must_use]
pub fn encode_utf8_address(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '+' | '=' | '\\' => escape_point(&mut out, char),
            '!'..='~' => out.push(char),
            other => escape_point(&mut out, other),
        }
    }
    out
}

fn escape_point(out: &mut String, char: char) {
    let _ = write!(out, "\\x{{{:02X}}}", u32::from(char));
}

/// Reads `utf-8-addr-xtext` or `utf-8-addr-unitext`: `\x{...}` is a character, and others stand for themselves.
#[must_use]
pub fn decode_utf8_address(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        if char == '\\' {
            let (digits, behind) = rest.strip_prefix("\\x{")?.split_once('}')?;
            // hexpoint has two to six digits, which from_str_radix would let begin with a sign.
            if !(2..=6).contains(&digits.len())
                || !digits.bytes().all(|one| one.is_ascii_hexdigit())
            {
                return None;
            }
            out.push(u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)?);
            rest = behind;
            continue;
        }
        if char.is_control() || matches!(char, ' ' | '+' | '=') {
            return None;
        }
        out.push(char);
        rest = rest.get(char.len_utf8()..)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_and_escaped() {
        for (plain, wire) in [
            ("", ""),
            ("abc", "abc"),
            ("a+b=c", "a+2Bb+3Dc"),
            ("a b", "a+20b"),
            ("QQ314159", "QQ314159"),
            ("\u{e9}", "+C3+A9"),
            ("\r\n", "+0D+0A"),
        ] {
            assert_eq!(encode(plain), wire);
            assert_eq!(decode(wire).as_deref(), Some(plain));
        }
    }

    #[test]
    fn what_is_none() {
        for wire in ["a b", "+", "+4", "+4g", "+g4", "\u{e9}", "+FF", "a\tb", "\x7f"] {
            assert_eq!(decode(wire), None, "{wire:?}");
        }
        assert_eq!(decode("+2b=").as_deref(), Some("+="));
    }

    #[test]
    fn addresses_of_other_scripts() {
        // RFC 6533 section 3, with an address of its own.
        for (plain, wire) in [
            ("user@example.org", "user@example.org"),
            ("\u{fc}@example.org", "\\x{FC}@example.org"),
            ("a+b@c", "a\\x{2B}b@c"),
            ("a\\b", "a\\x{5C}b"),
            ("\u{1f4e7}", "\\x{1F4E7}"),
        ] {
            assert_eq!(encode_utf8_address(plain), wire);
            assert_eq!(decode_utf8_address(wire).as_deref(), Some(plain));
        }
        assert_eq!(decode_utf8_address("\u{fc}@x").as_deref(), Some("\u{fc}@x"));
        for wire in [
            "\\",
            "\\x{",
            "\\x{}",
            "\\x{1}",
            "\\x{D800}",
            "\\x{0110000}",
            "\\x{+41}",
            "a b",
            "\\y{41}",
        ] {
            assert_eq!(decode_utf8_address(wire), None, "{wire:?}");
        }
    }

    proptest! {
        #[test]
        fn both_ways(text in "\\PC*|[\\x00-\\x7f]{0,40}") {
            let wire = encode(&text);
            prop_assert!(wire.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'='));
            prop_assert_eq!(decode(&wire), Some(text.clone()));
            let wire = encode_utf8_address(&text);
            prop_assert!(wire.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(decode_utf8_address(&wire), Some(text));
        }

        #[test]
        fn anything(text in "\\PC*") {
            let _ = decode(&text);
            let _ = decode_utf8_address(&text);
        }
    }
}
