//! Domain names in wire form without compression.

use std::cmp::Ordering;

/// Longest name in bytes, root label included (RFC 1035 section 2.3.4).
pub(crate) const LONGEST: usize = 255;

/// The root.
pub(crate) const ROOT: &[u8] = &[0];

/// Reads a name as zone files write it; a name that doesn't end in a dot is completed by `origin`. Letter case stays.
pub(crate) fn parse(text: &[u8], origin: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let shown = || String::from_utf8_lossy(text);
    if text == b"@" {
        return origin
            .map(<[u8]>::to_vec)
            .ok_or_else(|| "@ stands for an origin, and there is none".into());
    }
    if text == b"." {
        return Ok(ROOT.to_vec());
    }
    let mut wire = Vec::with_capacity(text.len() + 2);
    let mut label = Vec::new();
    let mut absolute = false;
    let mut bytes = text.iter();
    let mut close = |label: &mut Vec<u8>| match label.len() {
        0 => Err(format!("\"{}\" has an empty label", shown())),
        length @ 1..=63 => {
            wire.push(length as u8);
            wire.append(label);
            Ok(())
        }
        length => Err(format!("\"{}\" has a label of {length} bytes, and 63 are allowed", shown())),
    };
    while let Some(&byte) = bytes.next() {
        absolute = false;
        match byte {
            b'.' => {
                close(&mut label)?;
                absolute = true;
            }
            b'\\' => {
                let (value, taken) = escape(bytes.as_slice()).ok_or_else(|| {
                    format!(
                        "\"{}\" has a backslash without a character or \\DDD up to 255",
                        shown()
                    )
                })?;
                label.push(value);
                bytes.nth(taken - 1);
            }
            other => label.push(other),
        }
    }
    if !absolute {
        close(&mut label)?;
    }
    match (absolute, origin) {
        (true, _) => wire.push(0),
        (false, Some(origin)) => wire.extend_from_slice(origin),
        (false, None) => {
            return Err(format!("\"{}\" is relative, and there is no origin", shown()));
        }
    }
    if wire.len() > LONGEST {
        return Err(format!(
            "\"{}\" makes a name of {} bytes, and {LONGEST} are allowed",
            shown(),
            wire.len()
        ));
    }
    Ok(wire)
}

/// What follows a backslash (RFC 1035 section 5.1): the byte meant, and how many bytes say it.
pub(crate) fn escape(after: &[u8]) -> Option<(u8, usize)> {
    match after {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
            let value = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
            Some((u8::try_from(value).ok()?, 3))
        }
        [b'0'..=b'9', ..] | [] => None,
        [other, ..] => Some((*other, 1)),
    }
}

/// The name of a zone as configured: lower case, the last dot optional.
pub(crate) fn apex(text: &str) -> Result<Box<[u8]>, String> {
    let mut wire = parse(text.as_bytes(), Some(ROOT))?;
    lower(&mut wire);
    Ok(wire.into())
}

/// Lower-cases in place. The length bytes are below the letters, so that the whole can be treated alike.
pub(crate) fn lower(wire: &mut [u8]) {
    wire.make_ascii_lowercase();
}

/// Whether this is one whole name without pointers.
pub(crate) fn is_whole(wire: &[u8]) -> bool {
    prefix(wire) == Some(wire.len())
}

/// Length of the name at the front, if there is one.
pub(crate) fn prefix(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *wire.get(at)? {
            0 if at < LONGEST => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

/// The name without its first label; none for the root.
pub(crate) fn parent(wire: &[u8]) -> Option<&[u8]> {
    match *wire.first()? {
        0 => None,
        length => wire.get(1 + usize::from(length)..),
    }
}

/// The name itself, its parent, and so on to the root.
pub(crate) fn suffixes(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(wire), |name| parent(name)).filter(|name| !name.is_empty())
}

/// The labels from the left, without the root.
pub(crate) fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    suffixes(wire).filter_map(|name| match *name.first()? {
        0 => None,
        length => name.get(1..=usize::from(length)),
    })
}

/// Whether `name` is `top` or lies below it; both in lower case.
pub(crate) fn is_under(name: &[u8], top: &[u8]) -> bool {
    name.ends_with(top) && suffixes(name).any(|suffix| suffix.len() == top.len())
}

/// `*.name`; none if that is too long.
pub(crate) fn wildcard(of: &[u8]) -> Option<Vec<u8>> {
    (of.len() + 2 <= LONGEST).then(|| [b"\x01*", of].concat())
}

/// The order of RFC 4034 section 6.1, for names in lower case.
pub(crate) fn canonical(a: &[u8], b: &[u8]) -> Ordering {
    let mut a: Vec<&[u8]> = labels(a).collect();
    let mut b: Vec<&[u8]> = labels(b).collect();
    a.reverse();
    b.reverse();
    a.cmp(&b)
}

/// For people.
pub(crate) fn show(wire: &[u8]) -> String {
    let mut text = String::new();
    for label in labels(wire) {
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                    text.push('\\');
                    text.push(char::from(byte));
                }
                b'!'..=b'~' => text.push(char::from(byte)),
                other => text.push_str(&format!("\\{other:03}")),
            }
        }
        text.push('.');
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        let origin = parse(b"example.org.", None).unwrap();
        for (text, shown) in [
            ("@", "example.org."),
            (".", "."),
            ("a", "a.example.org."),
            ("A.b.", "A.b."),
            (r"a\.b", r"a\.b.example.org."),
            (r"a\032b.", r"a\032b."),
            (r"\064.", r"\@."),
            (r"\..", r"\.."),
            ("*", "*.example.org."),
        ] {
            assert_eq!(
                parse(text.as_bytes(), Some(&origin)).map(|name| show(&name)),
                Ok(shown.into()),
                "{text}"
            );
        }
        for text in
            ["", "a..b", ".a", r"\25", r"\256", "\\", &"x".repeat(64), &"abcdefg.".repeat(32)]
        {
            assert!(parse(text.as_bytes(), Some(&origin)).is_err(), "{text}");
        }
        assert!(parse(b"a", None).is_err());
    }

    #[test]
    fn names_are_ordered_as_dnssec_wants() {
        // RFC 4034 section 6.1.
        let names = [
            "example.",
            "a.example.",
            "yljkjljk.a.example.",
            "z.a.example.",
            "zabc.a.example.",
            "z.example.",
            r"\001.z.example.",
            "*.z.example.",
            r"\200.z.example.",
        ];
        let wires: Vec<_> =
            names.iter().map(|name| parse(name.as_bytes(), None).unwrap()).collect();
        assert!(wires.is_sorted_by(|a, b| canonical(a, b) == Ordering::Less));
    }

    #[test]
    fn below_means_at_a_label() {
        let top = parse(b"example.", None).unwrap();
        for (name, under) in [
            ("example.", true),
            ("a.example.", true),
            ("aexample.", false),
            (".", false),
            (r"a\007example.", false),
        ] {
            assert_eq!(is_under(&parse(name.as_bytes(), None).unwrap(), &top), under, "{name}");
        }
    }
}
