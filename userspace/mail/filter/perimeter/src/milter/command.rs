//! What a mail system says.

use std::str;

use super::MilterError;
use super::negotiation::Terms;

/// A command with its data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command<'a> {
    /// `O`: what it can.
    Negotiate(Terms),
    /// `C`: a client connected to it.
    Connect {
        /// His name, or his address in brackets if he has none.
        name: &'a [u8],
        /// His address, if he has one: nothing for what is unknown.
        address: Option<&'a [u8]>,
        /// What kind of address.
        family: Family,
    },
    /// `H`: what he calls himself.
    Helo(&'a [u8]),
    /// `M`: the sender; parameters follow, which are passed over.
    Mail(&'a [u8]),
    /// `R`: a recipient; parameters follow, which are passed over.
    Recipient(&'a [u8]),
    /// `T`: he said `DATA`.
    Data,
    /// `L`: a field of the header.
    Header {
        /// Its name.
        name: &'a [u8],
        /// Its value, folded with LF.
        value: &'a [u8],
    },
    /// `N`: the header is over.
    EndOfHeaders,
    /// `B`: a piece of the body.
    Body(&'a [u8]),
    /// `E`: that was all of the message. The last piece may come with it.
    EndOfMessage(&'a [u8]),
    /// `A`: this message is given up.
    Abort,
    /// `Q`: that was all.
    Quit,
    /// `K`: that was all of this client, and another follows.
    QuitForNext,
    /// `D`: macros for the command that follows.
    Macros {
        /// Which command.
        of: u8,
        /// Names and values.
        all: Vec<(&'a [u8], &'a [u8])>,
    },
    /// `U`: he said something that is no command of SMTP.
    Unknown(&'a [u8]),
}

/// What kind of address a client has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// None that is known.
    Unknown,
    /// A socket in the file system.
    Unix,
    /// IPv4.
    Four,
    /// IPv6.
    Six,
}

/// Most macros that are kept of a command. Sendmail sends some ten.
const MOST_MACROS: usize = 64;

impl<'a> Command<'a> {
    /// Reads a command.
    ///
    /// # Errors
    ///
    /// If there is no such command, or if its data is not what it has to be.
    pub fn parse(code: u8, data: &'a [u8]) -> Result<Self, MilterError> {
        Self::read(code, data)?.ok_or(MilterError::Malformed(code))
    }

    fn read(code: u8, data: &'a [u8]) -> Result<Option<Self>, MilterError> {
        Ok(match code {
            b'O' => Terms::parse(data).map(Self::Negotiate),
            b'C' => connect(data),
            b'H' => string(data).map(|(name, _)| Self::Helo(name)),
            b'M' => string(data).map(|(sender, _)| Self::Mail(sender)),
            b'R' => string(data).map(|(recipient, _)| Self::Recipient(recipient)),
            b'T' => Some(Self::Data),
            b'L' => header(data),
            b'N' => Some(Self::EndOfHeaders),
            b'B' => Some(Self::Body(data)),
            b'E' => Some(Self::EndOfMessage(data)),
            b'A' => Some(Self::Abort),
            b'Q' => Some(Self::Quit),
            b'K' => Some(Self::QuitForNext),
            b'D' => macros(data),
            b'U' => Some(Self::Unknown(data.strip_suffix(b"\0").unwrap_or(data))),
            other => return Err(MilterError::Unknown(other)),
        })
    }
}

/// What ends with NUL, and what is behind that.
fn string(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, data)?;
    let (text, rest) = data.split_at_checked(end)?;
    Some((text, rest.get(1..)?))
}

/// A name, a letter for the kind of address, and the address behind its port.
fn connect(data: &[u8]) -> Option<Command<'_>> {
    let (name, rest) = string(data)?;
    let (&family, rest) = rest.split_first()?;
    let family = match family {
        b'U' => return Some(Command::Connect { name, address: None, family: Family::Unknown }),
        b'L' => Family::Unix,
        b'4' => Family::Four,
        b'6' => Family::Six,
        _ => return None,
    };
    let (address, _) = string(rest.get(2..)?)?;
    Some(Command::Connect { name, address: Some(address), family })
}

fn header(data: &[u8]) -> Option<Command<'_>> {
    let (name, rest) = string(data)?;
    let (value, _) = string(rest)?;
    Some(Command::Header { name, value })
}

fn macros(data: &[u8]) -> Option<Command<'_>> {
    let (&of, mut rest) = data.split_first()?;
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (name, behind) = string(rest)?;
        let (value, behind) = string(behind)?;
        if all.len() < MOST_MACROS {
            all.push((name, value));
        }
        rest = behind;
    }
    Some(Command::Macros { of, all })
}

/// Text of a macro or a name. What is not UTF-8 says nothing.
pub(crate) fn text(octets: &[u8]) -> &str {
    str::from_utf8(octets).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        for (code, data, expected) in [
            (
                b'O',
                &b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff"[..],
                Command::Negotiate(Terms { version: 6, actions: 0x1ff, steps: 0x1f_ffff }),
            ),
            (
                b'C',
                b"mail.example.org\x004\x9c\x40192.0.2.1\0",
                Command::Connect {
                    name: b"mail.example.org",
                    address: Some(b"192.0.2.1"),
                    family: Family::Four,
                },
            ),
            (
                b'C',
                b"[IPv6:2001:db8::1]\x006\0\x19IPv6:2001:db8::1\0",
                Command::Connect {
                    name: b"[IPv6:2001:db8::1]",
                    address: Some(b"IPv6:2001:db8::1"),
                    family: Family::Six,
                },
            ),
            (
                b'C',
                b"localhost\0L\0\0/run/socket\0",
                Command::Connect {
                    name: b"localhost",
                    address: Some(b"/run/socket"),
                    family: Family::Unix,
                },
            ),
            (
                b'C',
                b"localhost\0U",
                Command::Connect { name: b"localhost", address: None, family: Family::Unknown },
            ),
            (b'H', b"mail.example.org\0", Command::Helo(b"mail.example.org")),
            (
                b'M',
                b"<a@example.org>\0SIZE=100\0BODY=8BITMIME\0",
                Command::Mail(b"<a@example.org>"),
            ),
            (b'M', b"<>\0", Command::Mail(b"<>")),
            (b'R', b"<b@example.net>\0NOTIFY=NEVER\0", Command::Recipient(b"<b@example.net>")),
            (b'T', b"", Command::Data),
            (b'L', b"Subject\0 a\n\tb\0", Command::Header { name: b"Subject", value: b" a\n\tb" }),
            (b'L', b"X\0\0", Command::Header { name: b"X", value: b"" }),
            (b'N', b"", Command::EndOfHeaders),
            (b'B', b"a\0b\r\n", Command::Body(b"a\0b\r\n")),
            (b'E', b"", Command::EndOfMessage(b"")),
            (b'E', b"the last\r\n", Command::EndOfMessage(b"the last\r\n")),
            (b'A', b"", Command::Abort),
            (b'Q', b"", Command::Quit),
            (b'K', b"", Command::QuitForNext),
            (b'D', b"C", Command::Macros { of: b'C', all: vec![] }),
            (
                b'D',
                b"Mi\x004F1\0{auth_authen}\0ann\0{empty}\0\0",
                Command::Macros {
                    of: b'M',
                    all: vec![(b"i", b"4F1"), (b"{auth_authen}", b"ann"), (b"{empty}", b"")],
                },
            ),
            (b'U', b"XYZZY\0", Command::Unknown(b"XYZZY")),
        ] {
            assert_eq!(Command::parse(code, data), Ok(expected), "{:?}", char::from(code));
        }
    }

    #[test]
    fn no_commands() {
        for (code, data) in [
            (b'O', &b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff"[..]),
            (b'C', b""),
            (b'C', b"mail.example.org"),
            (b'C', b"mail.example.org\0"),
            (b'C', b"mail.example.org\0X\0\x19a\0"),
            (b'C', b"mail.example.org\x004\0"),
            (b'C', b"mail.example.org\x004\0\x19192.0.2.1"),
            (b'H', b"mail.example.org"),
            (b'M', b""),
            (b'R', b"<b@example.net>"),
            (b'L', b"Subject\0 a"),
            (b'L', b"Subject"),
            (b'D', b""),
            (b'D', b"Mi\0"),
            (b'D', b"Mi\x004F1"),
        ] {
            let expected = Err(MilterError::Malformed(code));
            assert_eq!(Command::parse(code, data), expected, "{:?} {data:?}", char::from(code));
        }
        for code in [b'o', b'P', b'S', 0, 255] {
            assert_eq!(Command::parse(code, b""), Err(MilterError::Unknown(code)));
        }
    }

    #[test]
    fn many_macros() {
        let data = [&b"M"[..], &b"a\0b\0".repeat(10_000)].concat();
        let Ok(Command::Macros { all, .. }) = Command::parse(b'D', &data) else { panic!("macros") };
        assert_eq!(all.len(), MOST_MACROS);
    }
}
