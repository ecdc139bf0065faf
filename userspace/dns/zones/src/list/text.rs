//! What the lines of both formats have in common (rbldnsd(8), "dataset types and format").

use std::net::Ipv4Addr;

use crate::name;
use crate::rdata;

/// A line of a list.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Line<'a> {
    /// Nothing, or a comment.
    Blank,
    /// `$...`, also behind a comment sign so that other programs pass over it.
    Special(Special<'a>),
    /// `:A:TXT`: what entries from here on are answered with.
    Default(&'a [u8]),
    /// An entry; the value may be empty.
    Entry { excluded: bool, key: &'a [u8], value: &'a [u8] },
}

/// A line about the list itself.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Special<'a> {
    Ttl(u32),
    Soa {
        ttl: u32,
        data: Vec<u8>,
    },
    Ns(Vec<Box<[u8]>>),
    MaxRange4(u64),
    Variable(usize, &'a [u8]),
    /// Unknown, incomplete, or without a meaning here (`$TIMESTAMP`).
    Ignored,
}

impl<'a> Line<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Self {
        let line = line.trim_ascii();
        match line {
            [b'$', special @ ..] | [b'#' | b';' | b':', b'$', special @ ..] => {
                Line::Special(Special::parse(special))
            }
            [] | [b'#' | b';', ..] => Line::Blank,
            [b':', ..] => Line::Default(line),
            _ => {
                let (excluded, rest) = match line.strip_prefix(b"!") {
                    Some(rest) => (true, rest.trim_ascii_start()),
                    None => (false, line),
                };
                let end = rest
                    .iter()
                    .position(|byte| byte.is_ascii_whitespace() || b"#;:".contains(byte));
                let (key, value) =
                    rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, &[]));
                Line::Entry { excluded, key, value: value.trim_ascii_start() }
            }
        }
    }
}

impl<'a> Special<'a> {
    fn parse(text: &'a [u8]) -> Self {
        let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
        let (word, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
        let words: Vec<&[u8]> =
            rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
        Self::known(word, rest.trim_ascii(), &words).unwrap_or(Special::Ignored)
    }

    fn known(word: &[u8], rest: &'a [u8], words: &[&[u8]]) -> Option<Self> {
        let lower = |text: &[u8]| name::parse(text, Some(name::ROOT)).ok();
        match (word.to_ascii_uppercase().as_slice(), words) {
            ([digit @ b'0'..=b'9'], _) => Some(Special::Variable(usize::from(digit - b'0'), rest)),
            (b"TTL", [ttl, ..]) => Some(Special::Ttl(rdata::period(ttl)?)),
            (b"SOA", [ttl, server, person, numbers @ ..]) if numbers.len() == 5 => {
                let mut data = [lower(server)?, lower(person)?].concat();
                for number in numbers {
                    data.extend(
                        rdata::decimal::<u32>(number)
                            .or_else(|| rdata::period(number))?
                            .to_be_bytes(),
                    );
                }
                Some(Special::Soa { ttl: rdata::period(ttl)?, data })
            }
            // A server may be behind a minus sign: not now.
            (b"NS", [_, servers @ ..]) => {
                let servers = servers.iter().filter(|server| !server.starts_with(b"-"));
                Some(Special::Ns(
                    servers.map(|server| lower(server).map(Into::into)).collect::<Option<_>>()?,
                ))
            }
            (b"MAXRANGE4", [range, ..]) => {
                Some(Special::MaxRange4(match range.strip_prefix(b"/") {
                    Some(bits) => 1 << 32u32.checked_sub(rdata::decimal(bits)?)?,
                    None => rdata::decimal(range)?,
                }))
            }
            _ => None,
        }
    }
}

/// Address and text of a value; none where the default holds. An empty text is none at all.
pub(super) fn value(rest: &[u8]) -> Result<(Option<Ipv4Addr>, Option<&[u8]>), String> {
    match rest {
        [] | [b'#' | b';', ..] => Ok((None, None)),
        [b':', rest @ ..] => {
            let end = rest
                .iter()
                .position(|byte| byte.is_ascii_whitespace() || b":#;".contains(byte))
                .unwrap_or(rest.len());
            let (address, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            let parsed = match address {
                [] => None,
                // A number alone is the last octet of 127.0.0.
                _ => Some(
                    rdata::decimal::<u8>(address)
                        .map(|last| Ipv4Addr::new(127, 0, 0, last))
                        .or_else(|| std::str::from_utf8(address).ok()?.parse().ok())
                        .ok_or_else(|| {
                            format!(
                                "\"{}\" is neither an address nor a number up to 255",
                                String::from_utf8_lossy(address)
                            )
                        })?,
                ),
            };
            Ok((parsed, after.strip_prefix(b":").map(<[u8]>::trim_ascii)))
        }
        text => Ok((None, Some(text))),
    }
}

/// Puts variables in; what remains for the time of the answer is `$` and `$$`. None if it is empty.
pub(super) fn template(text: &[u8], variables: &[Option<Box<[u8]>>; 10]) -> Option<Box<[u8]>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        out.push(byte);
        if byte != b'$' {
            continue;
        }
        match bytes.peek().copied() {
            Some(b'$') => {
                out.push(b'$');
                bytes.next();
            }
            Some(digit @ b'0'..=b'9') => {
                if let Some(Some(variable)) = variables.get(usize::from(digit - b'0')) {
                    out.pop();
                    // A variable's own signs mean nothing.
                    out.extend(variable.iter().flat_map(|&byte| {
                        std::iter::repeat_n(byte, if byte == b'$' { 2 } else { 1 })
                    }));
                    bytes.next();
                }
            }
            _ => {}
        }
    }
    (!out.is_empty()).then(|| out.into())
}

/// The data of a TXT record: one string, cut where a string ends.
pub(super) fn fill(template: &[u8], subject: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    let mut bytes = template.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'$' if bytes.next_if_eq(&b'$').is_some() => out.push(b'$'),
            b'$' => out.extend_from_slice(subject),
            other => out.push(other),
        }
    }
    out.truncate(256);
    let length = out.len().saturating_sub(1);
    if let Some(first) = out.first_mut() {
        *first = u8::try_from(length).unwrap_or(u8::MAX);
    }
    out
}

/// An SOA whose serial, if zero, is the time of the file.
pub(super) fn with_serial(mut data: Vec<u8>, changed: u32) -> Vec<u8> {
    if matches!(crate::zone::soa_numbers(&data), Some([0, ..])) {
        let at = data.len().saturating_sub(20);
        if let Some(serial) = data.get_mut(at..at + 4) {
            serial.copy_from_slice(&changed.to_be_bytes());
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let entry = |excluded, key: &'static str, value: &'static str| Line::Entry {
            excluded,
            key: key.as_bytes(),
            value: value.as_bytes(),
        };
        for (line, expected) in [
            ("", Line::Blank),
            ("  # c", Line::Blank),
            ("; c\r", Line::Blank),
            ("1.2.3.4", entry(false, "1.2.3.4", "")),
            ("! 1.2.3.4 # c", entry(true, "1.2.3.4", "# c")),
            ("1.2.3.4:2:text", entry(false, "1.2.3.4", ":2:text")),
            ("a.example  see $ ; here ", entry(false, "a.example", "see $ ; here")),
            (":2:x", Line::Default(b":2:x")),
            ("$TTL 5m", Line::Special(Special::Ttl(300))),
            ("#$TTL 7", Line::Special(Special::Ttl(7))),
            ("$MAXRANGE4 /24", Line::Special(Special::MaxRange4(256))),
            ("$1 a b ", Line::Special(Special::Variable(1, b"a b"))),
            ("$TIMESTAMP 1 2", Line::Special(Special::Ignored)),
            ("$TTL", Line::Special(Special::Ignored)),
        ] {
            assert_eq!(Line::parse(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn values() {
        let ip = |last| Some(Ipv4Addr::new(127, 0, 0, last));
        for (rest, expected) in [
            ("", (None, None)),
            ("# c", (None, None)),
            ("text # kept", (None, Some("text # kept"))),
            (":3:t", (ip(3), Some("t"))),
            (":127.0.0.4: t : u", (ip(4), Some("t : u"))),
            (":5", (ip(5), None)),
            (":5:", (ip(5), Some(""))),
            ("::t", (None, Some("t"))),
        ] {
            assert_eq!(
                value(rest.as_bytes()),
                Ok((expected.0, expected.1.map(str::as_bytes))),
                "{rest}"
            );
        }
        assert!(value(b":256:x").is_err());
    }

    #[test]
    fn templates() {
        let mut variables: [Option<Box<[u8]>>; 10] = Default::default();
        variables[1] = Some(b"cost $5"[..].into());
        for (text, filled) in
            [("see $", "see S"), ("$$ $1 $2", "$ cost $5 S2"), ("$", "S"), ("plain", "plain")]
        {
            let template = template(text.as_bytes(), &variables).unwrap();
            assert_eq!(&fill(&template, b"S")[1..], filled.as_bytes(), "{text}");
        }
        let long = fill(&[b'x'; 300], b"");
        assert_eq!((long.len(), long[0]), (256, 255));
    }
}
