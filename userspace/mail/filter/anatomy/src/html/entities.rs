//! Characters by name and number: HTML standard, section 13.2.5.72.

use std::borrow::Cow;

use memchr::memchr;
use web_atoms::NAMED_ENTITIES;

use super::tokens::is_plain;

/// A text with its character references decoded. In attributes, a name without its semicolon is left alone when something
/// follows that could belong to a query: section 13.2.5.73.
pub(crate) fn decode(text: &str, attribute: bool) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr(b'&', rest.as_bytes()) {
        let (plain, behind) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(plain);
        match reference(behind, attribute) {
            Some((first, second, length)) => {
                out.push(first);
                out.extend(second);
                rest = behind.get(length..).unwrap_or_default();
            }
            None => {
                out.push('&');
                rest = behind.get(1..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    if out.contains('\0') {
        // In text, browsers leave it out: section 13.2.6.4.7.
        out = out.replace('\0', if attribute { "\u{fffd}" } else { "" });
    }
    Cow::Owned(out)
}

/// The names that the table knows, and what each stands for; what only begins some of them is left out.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    NAMED_ENTITIES.entries().filter(|(_, (first, _))| *first != 0).map(|(name, _)| *name)
}

/// What a text that begins with an ampersand refers to, one character or two, and how long that is.
fn reference(text: &str, attribute: bool) -> Option<(char, Option<char>, usize)> {
    let bytes = text.as_bytes();
    if let [b'&', b'#', rest @ ..] = bytes {
        return number(rest).map(|(char, length)| (char, None, length + 2));
    }
    // The longest name that the text begins with counts. Some are known without a semicolon, and then also as the beginning of
    // a word; the table has the beginnings of all names, too, and so says when to stop.
    let mut found = None;
    for end in 2..=text.len() {
        let Some(&(first, second)) = text.get(1..end).and_then(|name| NAMED_ENTITIES.get(name))
        else {
            break;
        };
        if let Some(first) = char::from_u32(first).filter(|_| first != 0) {
            let second = char::from_u32(second).filter(|_| second != 0);
            found = Some((first, second, end));
        }
    }
    let (_, _, end) = found?;
    let whole = bytes.get(end - 1) == Some(&b';');
    let next = bytes.get(end).filter(|next| **next == b'=' || next.is_ascii_alphanumeric());
    found.filter(|_| whole || !attribute || next.is_none())
}

/// What stands behind `&#`: the character, and how many octets that took.
fn number(bytes: &[u8]) -> Option<(char, usize)> {
    let (radix, skipped) = match bytes {
        [b'x' | b'X', ..] => (16, 1),
        _ => (10, 0),
    };
    let digits = bytes.get(skipped..)?.iter().take_while(|byte| char::from(**byte).is_digit(radix));
    let mut value = 0_u32;
    let mut count = 0;
    for digit in digits {
        value = value.saturating_mul(radix).saturating_add(char::from(*digit).to_digit(radix)?);
        count += 1;
    }
    if count == 0 {
        return None;
    }
    let semicolon = usize::from(bytes.get(skipped + count) == Some(&b';'));
    let char = match value {
        0 => '\u{fffd}',
        // What Windows has in the place of controls: section 13.2.5.80.
        0x80..=0x9f => WINDOWS
            .get(value as usize - 0x80)
            .copied()
            .filter(|char| *char != '\0')
            .or_else(|| char::from_u32(value))
            .unwrap_or('\u{fffd}'),
        _ => char::from_u32(value).unwrap_or('\u{fffd}'),
    };
    Some((char, skipped + count + semicolon))
}

const WINDOWS: [char; 32] = [
    '\u{20ac}', '\0', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}',
    '\u{2c6}', '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\0', '\u{17d}', '\0', '\0',
    '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2dc}',
    '\u{2122}', '\u{161}', '\u{203a}', '\u{153}', '\0', '\u{17e}', '\u{178}',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        for (text, in_text, in_attribute) in [
            ("plain", "plain", "plain"),
            ("a&amp;b", "a&b", "a&b"),
            ("&lt;&gt;&quot;", "<>\"", "<>\""),
            ("&#65;&#x42;&#X43;", "ABC", "ABC"),
            ("&#65", "A", "A"),
            (
                "&#128;&#x0;&#xd800;&#x110000;&#99999999999;",
                "\u{20ac}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
                "\u{20ac}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
            ),
            ("&", "&", "&"),
            ("&;&#;&#x;", "&;&#;&#x;", "&;&#;&#x;"),
            ("&nosuch;", "&nosuch;", "&nosuch;"),
            ("https&colon;&sol;&sol;a&period;b", "https://a.b", "https://a.b"),
            ("&ampx", "&x", "&ampx"),
            ("?a=1&copy=2", "?a=1\u{a9}=2", "?a=1&copy=2"),
            ("&notin;&notit;", "\u{2209}\u{ac}it;", "\u{2209}&notit;"),
            (
                "&Ascr;&bfr;&Copf;&hscr;",
                "\u{1d49c}\u{1d51f}\u{2102}\u{1d4bd}",
                "\u{1d49c}\u{1d51f}\u{2102}\u{1d4bd}",
            ),
            ("&ZeroWidthSpace;", "\u{200b}", "\u{200b}"),
            ("a\0b", "ab", "a\u{fffd}b"),
        ] {
            assert_eq!(decode(text, false), in_text, "{text}");
            assert_eq!(decode(text, true), in_attribute, "{text}");
        }
    }

    #[test]
    fn nothing_is_copied_without_need() {
        assert!(matches!(decode("plain", false), Cow::Borrowed(_)));
    }
}
