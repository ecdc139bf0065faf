//! Macros in SPF records: RFC 7208 section 7.

use std::fmt::Write;
use std::net::IpAddr;

use crate::names::LONGEST_NAME;

/// Text with macros in it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Text(Vec<Piece>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Literal(String),
    Macro(Macro),
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Macro {
    letter: Letter,
    /// How many parts are kept, from the right; 0 for all.
    parts: usize,
    reversed: bool,
    escaped: bool,
    delimiters: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Letter {
    Sender,
    Local,
    SenderDomain,
    Domain,
    Ip,
    Validated,
    Version,
    Helo,
}

/// What macros stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) local: &'a str,
    pub(super) sender_domain: &'a str,
    pub(super) domain: &'a str,
    pub(super) ip: IpAddr,
    pub(super) helo: &'a str,
    /// The name of the address that has this address; see [`Text::needs_name`].
    pub(super) validated: &'a str,
}

/// Reads a `domain-spec`: text that ends in a label of letters behind a dot, or in a macro.
pub(super) fn domain(text: &str) -> Option<Text> {
    let read = self::text(text)?;
    match read.0.last()? {
        Piece::Macro(_) => {}
        Piece::Literal(literal) => {
            let name = literal.strip_suffix('.').unwrap_or(literal);
            let (_, label) = name.rsplit_once('.')?;
            let fits = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && label.bytes().any(|byte| !byte.is_ascii_digit());
            if label.is_empty() || !fits || label.starts_with('-') || label.ends_with('-') {
                return None;
            }
        }
    }
    Some(read)
}

/// Reads a `macro-string`.
pub(super) fn text(text: &str) -> Option<Text> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        rest = rest.get(char.len_utf8()..)?;
        if char != '%' {
            if !char.is_ascii_graphic() {
                return None;
            }
            literal.push(char);
            continue;
        }
        let escape = rest.chars().next()?;
        rest = rest.get(escape.len_utf8()..)?;
        match escape {
            '%' => literal.push('%'),
            '_' => literal.push(' '),
            '-' => literal.push_str("%20"),
            '{' => {
                let (inside, behind) = rest.split_once('}')?;
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Macro(Macro::parse(inside)?));
                rest = behind;
            }
            _ => return None,
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Some(Text(pieces))
}

impl Macro {
    /// What stands between the braces. The letters `c`, `r` and `t` belong into explanations alone.
    fn parse(inside: &str) -> Option<Self> {
        let mut chars = inside.chars();
        let letter = chars.next()?;
        let transformers = chars.as_str();
        let digits = transformers.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = transformers.split_at_checked(digits)?;
        let parts = match digits {
            "" => 0,
            // More parts than a name has are all of it.
            digits => digits.parse::<usize>().unwrap_or(usize::MAX),
        };
        if !digits.is_empty() && parts == 0 {
            return None;
        }
        let unreversed = rest.strip_prefix(['r', 'R']);
        let delimiters = unreversed.unwrap_or(rest);
        if !delimiters.chars().all(|char| ".-+,/_=".contains(char)) {
            return None;
        }
        Some(Self {
            letter: match letter.to_ascii_lowercase() {
                's' => Letter::Sender,
                'l' => Letter::Local,
                'o' => Letter::SenderDomain,
                'd' => Letter::Domain,
                'i' => Letter::Ip,
                'p' => Letter::Validated,
                'v' => Letter::Version,
                'h' => Letter::Helo,
                _ => return None,
            },
            parts,
            reversed: unreversed.is_some(),
            escaped: letter.is_ascii_uppercase(),
            delimiters: if delimiters.is_empty() { ".".to_owned() } else { delimiters.to_owned() },
        })
    }

    fn expand(&self, facts: Facts<'_>, out: &mut String) {
        let value = match self.letter {
            Letter::Sender => format!("{}@{}", facts.local, facts.sender_domain),
            Letter::Local => facts.local.to_owned(),
            Letter::SenderDomain => facts.sender_domain.to_owned(),
            Letter::Domain => facts.domain.to_owned(),
            Letter::Ip => dotted(facts.ip),
            Letter::Validated => facts.validated.to_owned(),
            Letter::Version if facts.ip.is_ipv4() => "in-addr".to_owned(),
            Letter::Version => "ip6".to_owned(),
            Letter::Helo => facts.helo.to_owned(),
        };
        let mut parts: Vec<&str> = value.split(|char| self.delimiters.contains(char)).collect();
        if self.reversed {
            parts.reverse();
        }
        let skipped = if self.parts == 0 { 0 } else { parts.len().saturating_sub(self.parts) };
        for (at, part) in parts.into_iter().skip(skipped).enumerate() {
            if at > 0 {
                out.push('.');
            }
            if self.escaped { escape(part, out) } else { out.push_str(part) }
        }
    }
}

impl Text {
    /// Whether it takes the name of the address: `%{p}`.
    pub(super) fn needs_name(&self) -> bool {
        let validated =
            |piece: &Piece| matches!(piece, Piece::Macro(one) if one.letter == Letter::Validated);
        self.0.iter().any(validated)
    }

    /// A name, without a dot at its end. Labels are taken from the left of one that is too long (section 7.3).
    pub(super) fn expand(&self, facts: Facts<'_>) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => out.push_str(literal),
                Piece::Macro(one) => one.expand(facts, &mut out),
            }
        }
        let mut name = out.strip_suffix('.').unwrap_or(&out);
        while name.len() > LONGEST_NAME {
            match name.split_once('.') {
                Some((_, rest)) => name = rest,
                None => return String::new(),
            }
        }
        name.to_owned()
    }
}

/// An address with a dot between octets, or between hexadecimal digits.
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let mut out = String::with_capacity(63);
            for (at, octet) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push('.');
                }
                // Writing to a String can't fail.
                let _ = write!(out, "{:x}.{:x}", octet >> 4, octet & 15);
            }
            out
        }
    }
}

/// What RFC 3986 does not leave alone, as in links.
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7208 section 7.4, and what its rules say beside.
    #[test]
    fn expanded() {
        let facts = |ip: &str| Facts {
            local: "strong-bad",
            sender_domain: "email.example.com",
            domain: "email.example.com",
            ip: ip.parse().unwrap(),
            helo: "mail.example.com",
            validated: "unknown",
        };
        for (ip, text, expected) in [
            ("192.0.2.3", "%{s}", "strong-bad@email.example.com"),
            ("192.0.2.3", "%{o}", "email.example.com"),
            ("192.0.2.3", "%{d4}", "email.example.com"),
            ("192.0.2.3", "%{d2}", "example.com"),
            ("192.0.2.3", "%{d1}", "com"),
            ("192.0.2.3", "%{dr}", "com.example.email"),
            ("192.0.2.3", "%{d2r}", "example.email"),
            ("192.0.2.3", "%{l}", "strong-bad"),
            ("192.0.2.3", "%{l-}", "strong.bad"),
            ("192.0.2.3", "%{lr}", "strong-bad"),
            ("192.0.2.3", "%{lr-}", "bad.strong"),
            ("192.0.2.3", "%{l1r-}", "strong"),
            ("192.0.2.3", "%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("192.0.2.3", "%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            ("192.0.2.3", "%{S}", "strong-bad%40email.example.com"),
            ("192.0.2.3", "%{h}.%{p}", "mail.example.com.unknown"),
            ("192.0.2.3", "a%%b%_c%-d.org.", "a%b c%20d.org"),
            ("192.0.2.3", "%{d99}", "email.example.com"),
            (
                "2001:db8::cb01",
                "%{ir}.%{v}._spf.%{d2}",
                "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com",
            ),
        ] {
            let read = super::text(text).unwrap();
            assert_eq!(read.expand(facts(ip)), expected, "{text}");
        }
    }

    #[test]
    fn too_long_a_name_loses_its_left() {
        let facts = Facts {
            local: "x",
            sender_domain: "example.com",
            domain: &"abcdefghi.".repeat(30),
            ip: "192.0.2.3".parse().unwrap(),
            helo: "",
            validated: "",
        };
        let name = text("%{d}example.com").unwrap().expand(facts);
        assert!(name.len() <= LONGEST_NAME && name.len() > LONGEST_NAME - 10, "{name}");
        assert!(name.starts_with("abcdefghi.") && name.ends_with(".example.com"));
    }
}
