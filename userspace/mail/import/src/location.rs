//! Where a mailbox is, in the form of RFC 5092 and RFC 2384, as far as it names a server and a user.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;

/// Longest text that is read, in bytes.
const LONGEST: usize = 1024;

/// A server, and perhaps whose mailbox is meant there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerLocation {
    /// What it speaks.
    pub protocol: Protocol,
    /// Whether TLS begins at once (RFC 8314); otherwise it begins by `STARTTLS` or `STLS`.
    pub implicit_tls: bool,
    /// Who logs in.
    pub user: Option<String>,
    /// Its name, in small letters, or its address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Protocol {
    /// IMAP: folders, flags and times.
    Imap,
    /// POP3: the Inbox.
    Pop3,
}

/// Text that is no location.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{text:?} is no server's location: {reason}; write imaps://user@host/, imap://, pop3s:// or pop3://"
)]
pub struct LocationError {
    /// The text, without what may be a password.
    text: String,
    /// What is wrong.
    reason: &'static str,
}

impl FromStr for ServerLocation {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let wrong = |reason| LocationError { text: without_secret(text), reason };
        if text.len() > LONGEST {
            return Err(wrong("it is too long"));
        }
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| wrong("there is no :// in it"))?;
        let (protocol, implicit_tls, usual) = match scheme.to_ascii_lowercase().as_str() {
            "imaps" => (Protocol::Imap, true, 993),
            "imap" => (Protocol::Imap, false, 143),
            "pop3s" | "pops" => (Protocol::Pop3, true, 995),
            "pop3" | "pop" => (Protocol::Pop3, false, 110),
            _ => return Err(wrong("it speaks something else")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        // A user may have an @ in his name, and a host none.
        let (user, server) = match authority.rsplit_once('@') {
            Some((user, server)) => (Some(user), server),
            None => (None, authority),
        };
        if server.contains('/') {
            return Err(wrong(
                "there is something behind the host; folders are chosen with --only",
            ));
        }
        if user.is_some_and(|user| user.contains(':')) {
            return Err(wrong(
                "a password in it could be seen by others; a : of a name is written %3A",
            ));
        }
        let user = user.map(|user| decode(user).ok_or_else(|| wrong("its user can't be read")));
        let user = user.transpose()?.filter(|user| !user.is_empty());
        if user.as_deref().is_some_and(|user| user.chars().any(char::is_control)) {
            return Err(wrong("its user has characters that nobody sees"));
        }
        let (host, port) = match server.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(|| wrong("a ] is missing"))?;
                (host, rest.strip_prefix(':'))
            }
            None => match server.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (server, None),
            },
        };
        let fits =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(fits) {
            return Err(wrong("its host is no name and no address"));
        }
        let port = match port {
            None => usual,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(wrong("its port is no number from 1 to 65535")),
            },
        };
        let host = host.to_ascii_lowercase();
        Ok(Self { protocol, implicit_tls, user, host, port })
    }
}

/// The text up to what may be a password.
fn without_secret(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((before, server)) => {
            let user = before.split_once("://").map_or(before, |(_, user)| user);
            let scheme = before.strip_suffix(user).unwrap_or_default();
            let name = user.split(':').next().unwrap_or_default();
            format!("{scheme}{name}@{server}")
        }
        None => text.to_owned(),
    }
}

/// RFC 3986 section 2.1.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.as_bytes().split_at_checked(2)?;
        bytes.extend(HEXLOWER_PERMISSIVE.decode(digits).ok()?);
        bytes.extend_from_slice(rest);
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Display for ServerLocation {
    /// Without the user.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.protocol, self.implicit_tls) {
            (Protocol::Imap, true) => "imaps",
            (Protocol::Imap, false) => "imap",
            (Protocol::Pop3, true) => "pop3s",
            (Protocol::Pop3, false) => "pop3",
        };
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{scheme}://{host}:{}", self.port)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn locations() {
        for (text, shown, user) in [
            ("imaps://ann@mail.example.net/", "imaps://mail.example.net:993", Some("ann")),
            ("IMAP://Mail.Example.NET", "imap://mail.example.net:143", None),
            (
                "pop3s://ann%40example.net@[2001:db8::1]:1995",
                "pop3s://[2001:db8::1]:1995",
                Some("ann@example.net"),
            ),
            ("pop3://ann@example.net@192.0.2.1/", "pop3://192.0.2.1:110", Some("ann@example.net")),
            ("imaps://ann*admin@host", "imaps://host:993", Some("ann*admin")),
            ("imaps://a%3Ab@host", "imaps://host:993", Some("a:b")),
            ("imaps://@host", "imaps://host:993", None),
        ] {
            let location: ServerLocation = text.parse().unwrap();
            assert_eq!(location.to_string(), shown, "{text}");
            assert_eq!(location.user.as_deref(), user, "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "mail.example.net",
            "https://mail.example.net",
            "imaps://",
            "imaps://host:0",
            "imaps://host:70000",
            "imaps://host/INBOX",
            "imaps://a%zz@host",
            "imaps://a%0d%0ab@host",
            "imaps://a b",
            "imaps://[::1",
        ] {
            assert!(text.parse::<ServerLocation>().is_err(), "{text}");
        }
        let error = "imaps://ann:secret@host".parse::<ServerLocation>().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<ServerLocation>();
        }
    }
}
