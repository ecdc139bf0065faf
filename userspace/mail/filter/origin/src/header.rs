//! Header fields as they are signed: octet by octet.

use memchr::memchr;
use muralla_mail_envelope::{Address, Domain, scan};

use crate::limits::Limits;

/// Authors of a message that are looked at.
const MOST_AUTHORS: usize = 50;

/// A message taken apart, without a copy of anything.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// The fields, from the top. What is no field is passed over, as mail programs do.
    pub(crate) fields: Vec<Field<'a>>,
    /// What stands behind the empty line.
    pub(crate) body: &'a [u8],
}

/// A header field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Field<'a> {
    /// What stands before the colon, spaces and all.
    pub(crate) name: &'a [u8],
    /// What stands behind it, with the end of its last line.
    pub(crate) value: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Nothing if there is more of a header than is looked at: whoever sees some of it alone takes it for another.
    pub(crate) fn of(message: &'a [u8], limits: &Limits) -> Option<Self> {
        let mut fields = Vec::new();
        let mut lines = Lines::of(message);
        for (whole, at) in lines.by_ref() {
            if at > limits.header || fields.len() > limits.fields {
                return None;
            }
            if let Some(colon) = memchr(b':', whole)
                && let (name, [_, value @ ..]) = whole.split_at_checked(colon)?
                && is_field_name(name.trim_ascii_end())
            {
                fields.push(Field { name, value });
            }
        }
        let fits = lines.at <= limits.header && fields.len() <= limits.fields;
        fits.then_some(Self { fields, body: message.get(lines.at..).unwrap_or_default() })
    }

    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = &Field<'a>> {
        self.fields.iter().filter(move |field| field.is(name))
    }

    /// The domains of all whom `From` fields name, each once.
    pub(crate) fn authors(&self) -> Vec<Domain> {
        let mut found = Vec::new();
        for field in self.named("from") {
            let text = field.text();
            let domains = match scan::addresses(&text, MOST_AUTHORS) {
                Some(addresses) => addresses.iter().filter_map(Address::domain).cloned().collect(),
                // Whatever a mail program may make of it.
                None => any_domains(&text),
            };
            for domain in domains {
                if !found.contains(&domain) && found.len() < MOST_AUTHORS {
                    found.push(domain);
                }
            }
        }
        found
    }
}

impl Field<'_> {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.trim_ascii_end().eq_ignore_ascii_case(name.as_bytes())
    }

    /// Its value in one line. What is not UTF-8 is replaced.
    pub(crate) fn text(&self) -> String {
        let value: Vec<u8> =
            self.value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        String::from_utf8_lossy(value.trim_ascii()).into_owned()
    }
}

/// Lines of a header, unfolded, with where they end; the empty one that ends it is taken and not given.
pub(crate) struct Lines<'a> {
    message: &'a [u8],
    pub(crate) at: usize,
    ended: bool,
}

impl<'a> Lines<'a> {
    pub(crate) const fn of(message: &'a [u8]) -> Self {
        Self { message, at: 0, ended: false }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], usize);

    fn next(&mut self) -> Option<(&'a [u8], usize)> {
        let rest = self.message.get(self.at..).filter(|rest| !rest.is_empty() && !self.ended)?;
        if let Some(end) = empty_line(rest) {
            self.at += end;
            self.ended = true;
            return None;
        }
        let mut end = 0;
        loop {
            let line = rest.get(end..)?;
            end += memchr(b'\n', line).map_or(line.len(), |at| at + 1);
            if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        self.at += end;
        Some((rest.get(..end)?, self.at))
    }
}

fn empty_line(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'\r', b'\n', ..] => Some(2),
        [b'\n', ..] => Some(1),
        _ => None,
    }
}

/// RFC 5322 section 3.6.8.
pub(crate) fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

/// Every domain behind an at sign.
fn any_domains(text: &str) -> Vec<Domain> {
    text.split('@')
        .skip(1)
        .filter_map(|rest| {
            let rest = rest.trim_start();
            let foreign = |char: char| !char.is_alphanumeric() && !matches!(char, '.' | '-' | '_');
            let end = rest.find(foreign).unwrap_or(rest.len());
            Domain::parse(rest.get(..end)?.trim_end_matches('.')).ok()
        })
        .take(MOST_AUTHORS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(message: &[u8]) -> Option<Parts<'_>> {
        Parts::of(message, &Limits::default())
    }

    #[test]
    fn taken_apart() {
        let message = b"From: a@b.example\r\nSubject :  one\r\n\t two \r\nno field\r\n : x\r\nTo:\r\n\r\nbody\r\n\r\nmore";
        let parts = parts(message).unwrap();
        let fields: Vec<_> = parts.fields.iter().map(|field| (field.name, field.value)).collect();
        assert_eq!(
            fields,
            [
                (&b"From"[..], &b" a@b.example\r\n"[..]),
                (b"Subject ", b"  one\r\n\t two \r\n"),
                (b"To", b"\r\n"),
            ]
        );
        assert_eq!(parts.body, b"body\r\n\r\nmore");
        assert_eq!(parts.named("SUBJECT").next().unwrap().text(), "one\t two");
    }

    #[test]
    fn odd_ends() {
        for (message, fields, body) in [
            (&b""[..], 0, &b""[..]),
            (b"\r\nbody", 0, b"body"),
            (b"A: b", 1, b""),
            (b"A: b\n\nbody", 1, b"body"),
            (b"A: b\r\n c", 1, b""),
            (b"A: b\r\n\r\n", 1, b""),
            (b" A: b\r\n\r\nx", 0, b"x"),
        ] {
            let parts = parts(message).unwrap();
            assert_eq!((parts.fields.len(), parts.body), (fields, body), "{message:?}");
        }
    }

    #[test]
    fn no_more_than_is_looked_at() {
        let limits = Limits { header: 1_000, fields: 10, ..Limits::default() };
        let of = |message: &str| Parts::of(message.as_bytes(), &limits).is_some();
        assert!(of(&format!("{}\r\n", "A: b\r\n".repeat(10))));
        assert!(!of(&format!("{}\r\n", "A: b\r\n".repeat(11))));
        assert!(of(&format!("A: {}\r\n\r\n{}", "b".repeat(900), "c".repeat(5_000))));
        assert!(!of(&format!("A: {}\r\n\r\n", "b".repeat(1_000))));
        assert!(!of(&"\u{0}\n".repeat(1_000)));
    }

    #[test]
    fn who_wrote_it() {
        for (from, expected) in [
            ("From: Somebody <a@Example.org>\r\n", vec!["example.org"]),
            (
                "From: a@one.example, b@two.example, c@one.example\r\n",
                vec!["one.example", "two.example"],
            ),
            ("From: a@one.example\r\nfrom : b@two.example\r\n", vec!["one.example", "two.example"]),
            ("From: \"x@one.example\" <a@two.example>\r\n", vec!["two.example"]),
            ("From: <<a@one.example> b@two.example\r\n", vec!["one.example", "two.example"]),
            ("From: a@b\u{fc}cher.example\r\n", vec!["xn--bcher-kva.example"]),
            ("From: a@[192.0.2.1]\r\n", vec![]),
            ("From: nobody\r\n", vec![]),
            ("To: a@one.example\r\n", vec![]),
        ] {
            let message = format!("{from}\r\n");
            let authors = parts(message.as_bytes()).unwrap().authors();
            let authors: Vec<_> = authors.iter().map(Domain::as_str).collect();
            assert_eq!(authors, expected, "{from}");
        }
    }
}
