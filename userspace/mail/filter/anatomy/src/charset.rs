//! Octets as characters.

use mail_parser::decoders::charsets::map::charset_decoder;

use crate::limits::{head, prefix};

/// Octets as text of at most so many octets, and whether anybody knows the charset that they were said to have.
///
/// Without one that is known, it is UTF-8 if it can be, or what most senders who say nothing mean: windows-1252.
pub(crate) fn text(bytes: &[u8], charset: Option<&str>, most: usize) -> (String, bool) {
    let read = prefix(bytes, most);
    let mut known = true;
    let mut text = match read {
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        // A mark at the start says more than a header: browsers do so.
        [0xff, 0xfe, rest @ ..] => decoded(rest, "utf-16le").unwrap_or_default(),
        [0xfe, 0xff, rest @ ..] => decoded(rest, "utf-16be").unwrap_or_default(),
        _ => match charset.map(str::trim).filter(|charset| !charset.is_empty()) {
            None => utf8(read),
            Some(charset) if is_utf8(charset) => utf8(read),
            Some(charset) => decoded(read, charset).unwrap_or_else(|| {
                known = false;
                utf8(read)
            }),
        },
    };
    // Characters of other charsets grow.
    if text.len() > most {
        let end = head(&text, most).len();
        text.truncate(end);
    }
    (text, known)
}

fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii", "ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
}

fn decoded(bytes: &[u8], charset: &str) -> Option<String> {
    charset_decoder(charset.as_bytes()).map(|decode| decode(bytes))
}

fn utf8(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        // Cut in the middle of a character, or a few of them broken.
        Err(error) if error.error_len().is_none() || error.valid_up_to() > bytes.len() / 2 => {
            String::from_utf8_lossy(bytes).trim_end_matches('\u{fffd}').to_owned()
        }
        Err(_) => decoded(bytes, "windows-1252")
            .unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charsets() {
        for (bytes, charset, expected, known) in [
            (&b"plain"[..], None, "plain", true),
            (b"gr\xc3\xbc\xc3\x9fe", None, "gr\u{fc}\u{df}e", true),
            (b"gr\xc3\xbc\xc3\x9fe", Some("UTF-8"), "gr\u{fc}\u{df}e", true),
            (b"gr\xfc\xdfe", None, "gr\u{fc}\u{df}e", true),
            (b"gr\xfc\xdfe", Some("us-ascii"), "gr\u{fc}\u{df}e", true),
            (b"gr\xfc\xdfe", Some("iso-8859-1"), "gr\u{fc}\u{df}e", true),
            (b"gr\xfc\xdfe", Some("x-unheard-of"), "gr\u{fc}\u{df}e", false),
            (
                b"\xcf\xf0\xe8\xe2\xe5\xf2",
                Some("windows-1251"),
                "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442}",
                true,
            ),
            (b"\xc4\xe3\xba\xc3", Some("gb2312"), "\u{4f60}\u{597d}", true),
            (b"\xef\xbb\xbfa", Some("iso-8859-1"), "a", true),
            (b"\xff\xfea\0b\0", None, "ab", true),
            (b"\xfe\xff\0a\0b", Some("utf-8"), "ab", true),
            (b"a\0b\0", Some("utf-16le"), "ab", true),
            (b"", Some(""), "", true),
        ] {
            let (text, was_known) = text(bytes, charset, 1_000);
            assert_eq!((text.as_str(), was_known), (expected, known), "{:?}", bytes.escape_ascii());
        }
    }

    #[test]
    fn no_longer_than_asked() {
        assert_eq!(text("aaa\u{e4}".as_bytes(), None, 4).0, "aaa");
        assert_eq!(text(&[0xe4; 10], Some("iso-8859-1"), 5).0, "\u{e4}\u{e4}");
    }
}
