//! `CHECK RSPAMC/1.3`: what rspamd's clients spoke before HTTP, and Exim still does. Fields as in HTTP, and the message behind them.

use memchr::memchr;

/// What stands above a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Head<'a> {
    pub(super) verb: Verb,
    lines: Vec<(&'a str, &'a [u8])>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verb {
    /// A verdict.
    Check,
    /// Whether we are there.
    Ping,
}

/// Longest head that is read, in octets.
pub(super) const LONGEST: usize = 256 << 10;

/// Longest first line by which one protocol is told from the other, in octets.
const LONGEST_FIRST: usize = 1024;

/// Most fields: one for each recipient, and some.
const MOST_FIELDS: usize = 2000;

/// Bytes that are no request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum NoRequest {
    #[error("a command that is not known")]
    Verb,
    #[error("a line that is no field")]
    Field,
    #[error("a head without an end")]
    Endless,
}

/// Whether what came is of this protocol; nothing, if more has to come.
pub(super) fn is_meant(input: &[u8]) -> Option<bool> {
    match memchr(b'\n', input.get(..LONGEST_FIRST).unwrap_or(input)) {
        Some(end) => {
            let line = input.get(..end).unwrap_or_default();
            Some(memchr::memmem::find(line, b" RSPAMC/").is_some())
        }
        None if input.len() >= LONGEST_FIRST => Some(false),
        None => None,
    }
}

impl<'a> Head<'a> {
    /// Reads a head, and says how many octets it has; nothing, if more has to come.
    pub(super) fn parse(input: &'a [u8]) -> Result<Option<(Self, usize)>, NoRequest> {
        let mut at = 0;
        let mut verb = None;
        let mut lines = Vec::new();
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let Some(end) = memchr(b'\n', rest) else {
                return if input.len() > LONGEST { Err(NoRequest::Endless) } else { Ok(None) };
            };
            let line = rest.get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            at += end + 1;
            if at > LONGEST || lines.len() > MOST_FIELDS {
                return Err(NoRequest::Endless);
            }
            match verb {
                None => verb = Some(Verb::parse(line)?),
                Some(verb) if line.is_empty() => return Ok(Some((Self { verb, lines }, at))),
                Some(_) => lines.push(field(line).ok_or(NoRequest::Field)?),
            }
        }
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.lines.iter().copied()
    }

    /// Octets of the message, if that was said. Otherwise it ends where the client stops sending.
    pub(super) fn length(&self) -> Option<usize> {
        let is_length = |(name, _): &&(&str, &[u8])| name.eq_ignore_ascii_case("Content-Length");
        let (_, value) = self.lines.iter().find(is_length)?;
        std::str::from_utf8(value).ok()?.parse().ok()
    }
}

impl Verb {
    fn parse(line: &[u8]) -> Result<Self, NoRequest> {
        let verb = line.split(|&byte| byte == b' ').next().unwrap_or_default();
        match &*verb.to_ascii_uppercase() {
            b"CHECK" | b"SYMBOLS" | b"PROCESS" | b"REPORT" => Ok(Self::Check),
            b"PING" => Ok(Self::Ping),
            _ => Err(NoRequest::Verb),
        }
    }
}

fn field(line: &[u8]) -> Option<(&str, &[u8])> {
    let (name, value) = line.split_at_checked(memchr(b':', line)?)?;
    let name = std::str::from_utf8(name).ok()?.trim();
    Some((name, value.get(1..)?.trim_ascii())).filter(|(name, _)| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let exim = "CHECK RSPAMC/1.3\r\nContent-length: 8\r\nQueue-Id: 1a-2b\r\nFrom: <a@example.org>\r\nRecipient-Number: 1\r\nRcpt: <b@example.net>\r\n\r\n";
        let message = [exim, "a: b\n\nc\n"].concat();
        assert_eq!(is_meant(message.as_bytes()), Some(true));
        for end in 0..exim.len() {
            assert_eq!(Head::parse(&exim.as_bytes()[..end]), Ok(None), "{end}");
        }
        let (head, octets) = Head::parse(message.as_bytes()).unwrap().unwrap();
        assert_eq!((octets, head.length(), head.verb), (exim.len(), Some(8), Verb::Check));
        let fields: Vec<(&str, &[u8])> = head.fields().collect();
        assert_eq!(fields[2], ("From", &b"<a@example.org>"[..]));
        assert_eq!(fields.len(), 5);

        let (head, _) = Head::parse(b"PING RSPAMC/1.2\n\n").unwrap().unwrap();
        assert_eq!((head.verb, head.length()), (Verb::Ping, None));
    }

    #[test]
    fn no_heads() {
        for (input, error) in [
            (b"LEARN RSPAMC/1.3\r\n\r\n".to_vec(), NoRequest::Verb),
            (b"CHECK RSPAMC/1.3\r\nno field\r\n\r\n".to_vec(), NoRequest::Field),
            (b"CHECK RSPAMC/1.3\r\n: a\r\n\r\n".to_vec(), NoRequest::Field),
            ([&b"CHECK RSPAMC/1.3\r\n"[..], &vec![b'a'; LONGEST]].concat(), NoRequest::Endless),
            (
                [&b"CHECK RSPAMC/1.3\r\n"[..], &b"a: b\r\n".repeat(3000)].concat(),
                NoRequest::Endless,
            ),
        ] {
            assert_eq!(Head::parse(&input), Err(error));
        }
    }

    #[test]
    fn told_apart() {
        for (input, expected) in [
            (&b""[..], None),
            (b"CHECK RSPAMC/1.3", None),
            (b"CHECK RSPAMC/1.3\r\n", Some(true)),
            (b"POST /checkv2 HTTP/1.0\r\n", Some(false)),
            (b"GET /ping HTTP/1.1\r\nA: CHECK RSPAMC/1.3\r\n", Some(false)),
            (&[b'a'; 2000], Some(false)),
        ] {
            assert_eq!(is_meant(input), expected, "{input:?}");
        }
    }
}
