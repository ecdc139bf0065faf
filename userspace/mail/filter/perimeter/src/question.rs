//! What is asked about a message: the message, its envelope, and who brought it, as far as whoever asks knows.

use std::net::IpAddr;

use bytes::Bytes;
use muralla_mail_envelope::{Address, Domain, TlsFacts};

/// By which way a question came.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Way {
    /// The milter protocol.
    Milter,
    /// HTTP, as rspamd's clients speak it.
    Http,
    /// Through the SMTP proxy.
    Smtp,
    /// Through the LMTP proxy.
    Lmtp,
}

/// A message that somebody asks about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    /// By which way it came.
    pub way: Way,
    /// Who brought the message to whoever asks.
    pub origin: Origin,
    /// The envelope's sender; nothing if that was not said.
    pub sender: Option<Party>,
    /// The envelope's recipients, as far as that was said.
    pub recipients: Vec<Party>,
    /// What whoever asks calls it: for logs on both sides.
    pub queue_id: Option<String>,
    /// A set of settings that whoever asks has named.
    pub settings: Option<String>,
    /// Whether every stage is to look at it, even when the outcome is clear.
    pub thorough: bool,
    /// The message, with CRLF for line ends.
    pub message: Bytes,
    /// Whether all of it is here: what is longer than the limit was cut.
    pub complete: bool,
}

/// Who brought a message. All of it was told by whoever asks, and is as true as he is trusted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Origin {
    /// His address. Nothing for mail that did not come over a network.
    pub ip: Option<IpAddr>,
    /// His name in DNS, if that name has his address, too.
    pub name: Option<Domain>,
    /// What he called himself. A claim.
    pub helo: Option<String>,
    /// How he was encrypted, if he was.
    pub tls: Option<TlsFacts>,
    /// The account that he proved to be.
    pub authenticated: Option<String>,
}

/// A sender or a recipient.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Party {
    /// As it was said, without angle brackets; controls were replaced, and what is endless was cut. Empty for the sender of
    /// notices.
    pub said: String,
    /// The same as an address, if it is one that the Internet knows. Local mail of other systems has names without a domain.
    pub address: Option<Address>,
}

/// Longest text that is kept of a party, a greeting or a name, in octets.
const LONGEST: usize = 1024;

impl Party {
    /// Reads a party, in angle brackets or without.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let inner = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
        Self { said: kept(inner), address: Address::parse(inner).ok() }
    }

    /// Of an address.
    #[must_use]
    pub fn of(address: &Address) -> Self {
        Self { said: address.to_string(), address: Some(address.clone()) }
    }

    /// The sender of notices: `<>`.
    #[must_use]
    pub const fn nobody() -> Self {
        Self { said: String::new(), address: None }
    }

    /// Whether it is `<>`.
    #[must_use]
    pub const fn is_nobody(&self) -> bool {
        self.said.is_empty()
    }
}

/// A foreign text without controls, cut where it is endless.
pub(crate) fn kept(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LONGEST));
    for char in text.chars() {
        if out.len() + char.len_utf8() > LONGEST {
            break;
        }
        out.push(if char.is_control() { ' ' } else { char });
    }
    out
}

/// The same, or nothing if nothing was said.
pub(crate) fn told(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| kept(text))
}

/// An address as mail systems write it: with or without brackets, IPv6 with its prefix or without.
pub(crate) fn ip(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let text = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let text = match text.split_at_checked(5) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("IPv6:") => rest,
        _ => text,
    };
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// A verified name. Systems that found none write `unknown`, or the address in brackets.
pub(crate) fn name(text: &str) -> Option<Domain> {
    let text = text.trim().trim_end_matches('.');
    if text.eq_ignore_ascii_case("unknown") {
        return None;
    }
    Domain::parse(text).ok()
}

/// The message with CRLF for its line ends. Files of Unix have LF, and those who hand over a file hand over that.
pub(crate) fn crlf(message: Bytes) -> Bytes {
    let is_bare = |at: usize| at == 0 || message.get(at - 1) != Some(&b'\r');
    let bare = memchr::memchr_iter(b'\n', &message).filter(|&at| is_bare(at)).count();
    if bare == 0 {
        return message;
    }
    let mut out = Vec::with_capacity(message.len() + bare);
    let mut from = 0;
    for at in memchr::memchr_iter(b'\n', &message).filter(|&at| is_bare(at)) {
        out.extend_from_slice(message.get(from..at).unwrap_or_default());
        out.push(b'\r');
        from = at;
    }
    out.extend_from_slice(message.get(from..).unwrap_or_default());
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties() {
        for (text, said, address) in [
            ("<a@example.org>", "a@example.org", true),
            (" a@Example.ORG ", "a@Example.ORG", true),
            ("<>", "", false),
            ("", "", false),
            ("<root>", "root", false),
            ("<a\r\nb@example.org>", "a  b@example.org", false),
            ("\"a b\"@example.org", "\"a b\"@example.org", true),
        ] {
            let party = Party::parse(text);
            assert_eq!((&*party.said, party.address.is_some()), (said, address), "{text:?}");
            assert_eq!(party.is_nobody(), said.is_empty());
        }
        assert_eq!(Party::parse(&"\u{e9}".repeat(5000)).said.len(), LONGEST);
    }

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("[192.0.2.1]", Some("192.0.2.1")),
            ("IPv6:2001:db8::1", Some("2001:db8::1")),
            ("IPV6:2001:db8::1", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("unknown", None),
            ("", None),
            ("/run/socket", None),
        ] {
            assert_eq!(ip(text), expected.map(|ip| ip.parse().unwrap()), "{text:?}");
        }
    }

    #[test]
    fn names() {
        for (text, expected) in [
            ("Mail.Example.org.", Some("mail.example.org")),
            ("unknown", None),
            ("[192.0.2.1]", None),
            ("", None),
        ] {
            assert_eq!(name(text).map(|name| name.as_str().to_owned()).as_deref(), expected);
        }
    }

    #[test]
    fn line_ends() {
        for (text, expected) in [
            ("", ""),
            ("a: b\r\n\r\nc\r\n", "a: b\r\n\r\nc\r\n"),
            ("a: b\n\nc\n", "a: b\r\n\r\nc\r\n"),
            ("\na\r\nb\nc", "\r\na\r\nb\r\nc"),
        ] {
            assert_eq!(crlf(Bytes::copy_from_slice(text.as_bytes())), expected);
        }
    }
}
