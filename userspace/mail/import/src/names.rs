//! What POP3 calls messages of a server that is asked by IMAP.
//!
//! Servers that serve both make the name of POP3 (RFC 1939 section 7) out of the folder's UIDVALIDITY and the message's UID. Whoever
//! knows how needn't ask by POP3, too.

use std::fmt::Write as _;
use std::str::FromStr;

/// How a name is made, such as Dovecot's `%08Xu%08Xv`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NameFormat(Vec<Piece>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Text(String),
    Number { validity: bool, width: usize, zeros: bool, hexadecimal: bool },
}

/// Text that is no such format.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a format has %u (the UID) in it, and may have %v (the UIDVALIDITY), with Dovecot's modifiers, such as %08Xu%08Xv; or it is \
     dovecot, cyrus or courier"
)]
pub struct NameFormatError;

impl NameFormat {
    /// The name of a message.
    #[must_use]
    pub fn name(&self, uidvalidity: u32, uid: u32) -> String {
        let mut name = String::new();
        for piece in &self.0 {
            let (number, width, zeros, hexadecimal) = match piece {
                Piece::Text(text) => {
                    name.push_str(text);
                    continue;
                }
                Piece::Number { validity, width, zeros, hexadecimal } => {
                    let number = if *validity { uidvalidity } else { uid };
                    (number, *width, *zeros, *hexadecimal)
                }
            };
            // Writing to a String can't fail.
            let _ = match (zeros, hexadecimal) {
                (true, true) => write!(name, "{number:0width$x}"),
                (true, false) => write!(name, "{number:0width$}"),
                (false, true) => write!(name, "{number:x}"),
                (false, false) => write!(name, "{number}"),
            };
        }
        name
    }
}

impl FromStr for NameFormat {
    type Err = NameFormatError;

    fn from_str(text: &str) -> Result<Self, NameFormatError> {
        let text = match text {
            "dovecot" => "%08Xu%08Xv",
            "cyrus" => "%v.%u",
            "courier" => "UID%u-%v",
            text => text,
        };
        if text.len() > 64 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NameFormatError);
        }
        let mut pieces = Vec::new();
        let mut parts = text.split('%');
        let before = parts.next().unwrap_or_default();
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let mut has_uid = false;
        for part in parts {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            let rest = part.get(digits.len()..).unwrap_or_default();
            let hexadecimal = rest.starts_with('X');
            let rest = rest.strip_prefix('X').unwrap_or(rest);
            let (validity, text) = match (rest.strip_prefix('u'), rest.strip_prefix('v')) {
                (Some(text), _) => (false, text),
                (None, Some(text)) => (true, text),
                (None, None) => return Err(NameFormatError),
            };
            has_uid |= !validity;
            let zeros = digits.starts_with('0');
            let width = if digits.is_empty() { Ok(0) } else { digits.parse() };
            let width = width.ok().filter(|width| *width <= 16).ok_or(NameFormatError)?;
            pieces.push(Piece::Number { validity, width, zeros, hexadecimal });
            if !text.is_empty() {
                pieces.push(Piece::Text(text.to_owned()));
            }
        }
        if has_uid { Ok(Self(pieces)) } else { Err(NameFormatError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (format, name) in [
            ("dovecot", "000000e94d2bad5c"),
            ("%08Xu%08Xv", "000000e94d2bad5c"),
            ("cyrus", "1294708060.233"),
            ("courier", "UID233-1294708060"),
            ("%u", "233"),
            ("%Xu", "e9"),
            ("%05u!", "00233!"),
        ] {
            let format: NameFormat = format.parse().unwrap();
            assert_eq!(format.name(0x4d2b_ad5c, 233), name);
        }
        for text in ["", "%v", "%m", "%%u", "uid", "%u %v", "%99u", "%"] {
            assert_eq!(text.parse::<NameFormat>(), Err(NameFormatError), "{text}");
        }
    }
}
