//! Lines that are particular to proxies: `XFORWARD` and `XCLIENT` of Postfix, both ways, and what `EHLO` offers.

use std::fmt::Write;
use std::net::IpAddr;
use std::str;

use muralla_mail_envelope::{Domain, xtext};
use muralla_smtp::client::Capabilities;

use crate::question::{Origin, ip, name, told};

/// A command that says who somebody else is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Extension {
    /// `XFORWARD`: who brought the next message.
    Forward(About),
    /// `XCLIENT`: for whom all that follows is said.
    Client(About),
}

/// What is said of somebody. What is not known is nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct About {
    pub(super) name: Option<Domain>,
    pub(super) ip: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) proto: Option<String>,
    pub(super) helo: Option<String>,
    pub(super) ident: Option<String>,
    /// `LOCAL` or `REMOTE`.
    pub(super) source: Option<String>,
    /// The account that he proved to be.
    pub(super) login: Option<String>,
    /// Whether anything was said at all.
    pub(super) is_said: bool,
}

/// Why such a command is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum BadAttributes {
    #[error("attributes are written as NAME=value in xtext, each once")]
    Syntax,
    #[error("an attribute is not known")]
    Unknown,
}

/// Attributes of `XFORWARD` that are taken.
const FORWARD: [&str; 7] = ["NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"];
/// Attributes of `XCLIENT` that are taken. Those of the destination are passed over.
const CLIENT: [&str; 8] =
    ["NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT"];

/// Longest value as it is written, in octets: 255 characters, each in three at worst.
const LONGEST_VALUE: usize = 3 * 255;

/// Octets of a command line that are surely taken: RFC 5321 section 4.5.3.1.4.
const LONGEST_LINE: usize = 510;

impl Extension {
    /// Reads a line without its end; nothing if it is another command.
    pub(super) fn parse(line: &[u8]) -> Option<Result<Self, BadAttributes>> {
        let (verb, rest) = line.split_at_checked(8).unwrap_or((line, b""));
        if verb.eq_ignore_ascii_case(b"XFORWARD") {
            return behind(rest).map(|rest| About::parse(rest, &FORWARD).map(Self::Forward));
        }
        let (verb, rest) = line.split_at_checked(7)?;
        if verb.eq_ignore_ascii_case(b"XCLIENT") {
            return behind(rest).map(|rest| About::parse(rest, &CLIENT).map(Self::Client));
        }
        None
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) const fn about(&self) -> &About {
        match self {
            Self::Forward(about) | Self::Client(about) => about,
        }
    }
}

/// What stands behind a verb, if that ends there.
fn behind(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [] => Some(rest),
        [b' ', rest @ ..] => Some(rest),
        _ => None,
    }
}

impl About {
    fn parse(attributes: &[u8], known: &[&str]) -> Result<Self, BadAttributes> {
        let text = str::from_utf8(attributes).map_err(|_| BadAttributes::Syntax)?;
        let mut about = Self { is_said: true, ..Self::default() };
        let mut seen: Vec<String> = Vec::new();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let (name, value) = word.split_once('=').ok_or(BadAttributes::Syntax)?;
            let name = name.to_ascii_uppercase();
            if !known.contains(&&*name) {
                return Err(BadAttributes::Unknown);
            }
            if seen.contains(&name) || value.len() > LONGEST_VALUE {
                return Err(BadAttributes::Syntax);
            }
            let value = xtext::decode(value).ok_or(BadAttributes::Syntax)?;
            about.set(&name, &value);
            seen.push(name);
        }
        if seen.is_empty() { Err(BadAttributes::Syntax) } else { Ok(about) }
    }

    fn set(&mut self, attribute: &str, value: &str) {
        let unknown = ["[UNAVAILABLE]", "[TEMPUNAVAIL]"];
        if unknown.iter().any(|unknown| value.eq_ignore_ascii_case(unknown)) {
            return;
        }
        match attribute {
            "NAME" => self.name = name(value),
            "ADDR" => self.ip = ip(value),
            "PORT" => self.port = value.parse().ok(),
            "PROTO" => self.proto = told(value),
            "HELO" => self.helo = told(value),
            "IDENT" => self.ident = told(value),
            "SOURCE" => self.source = told(value),
            "LOGIN" => self.login = told(value),
            _ => {}
        }
    }

    /// The same with what another command adds: several may be sent, each with some of the attributes.
    pub(super) fn add(&mut self, other: Self) {
        let Self { name, ip, port, proto, helo, ident, source, login, is_said } = other;
        self.name = name.or_else(|| self.name.take());
        self.ip = ip.or(self.ip);
        self.port = port.or(self.port);
        self.proto = proto.or_else(|| self.proto.take());
        self.helo = helo.or_else(|| self.helo.take());
        self.ident = ident.or_else(|| self.ident.take());
        self.source = source.or_else(|| self.source.take());
        self.login = login.or_else(|| self.login.take());
        self.is_said |= is_said;
    }

    /// `XFORWARD` for a next hop that takes these attributes: lines, each ended.
    pub(super) fn forward(&self, origin: &Origin, offered: &[String]) -> Vec<String> {
        let address = origin.ip.map(|ip| match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("IPV6:{ip}"),
        });
        let values = [
            ("NAME", origin.name.as_ref().map(|name| name.as_str().to_owned())),
            ("ADDR", address),
            ("PORT", self.port.map(|port| port.to_string())),
            ("PROTO", self.proto.clone()),
            ("HELO", origin.helo.clone()),
            ("IDENT", self.ident.clone()),
            ("SOURCE", self.source.clone().or_else(|| origin.ip.map(|_| "REMOTE".to_owned()))),
        ];
        let mut lines = Vec::new();
        let mut line = String::new();
        for (name, value) in values {
            if !offered.iter().any(|offered| offered == name) {
                continue;
            }
            let value = value.map_or_else(|| "[UNAVAILABLE]".to_owned(), |it| xtext::encode(&it));
            // One that does not fit into any line is not known to the next hop, which is no harm.
            if value.len() > LONGEST_LINE - 32 {
                continue;
            }
            if !line.is_empty() && line.len() + name.len() + value.len() + 2 > LONGEST_LINE {
                lines.push(std::mem::take(&mut line) + "\r\n");
            }
            if line.is_empty() {
                line.push_str("XFORWARD");
            }
            // Writing to a String can't fail.
            let _ = write!(line, " {name}={value}");
        }
        if !line.is_empty() {
            lines.push(line + "\r\n");
        }
        lines
    }
}

/// The attributes that a next hop takes in `XFORWARD`, by the lines of its reply to `EHLO`.
pub(super) fn offered<T: AsRef<str>>(lines: &[T]) -> Vec<String> {
    let words = |line: &str| -> Option<Vec<String>> {
        let mut words = line.split_ascii_whitespace();
        let is_forward = words.next()?.eq_ignore_ascii_case("XFORWARD");
        is_forward.then(|| words.map(str::to_ascii_uppercase).collect())
    };
    lines.iter().skip(1).find_map(|line| words(line.as_ref())).unwrap_or_default()
}

/// Changes the reply to `EHLO` that stands in the output from there on: what the next hop does not have is taken out, and the
/// extensions for those who are believed are added.
pub(super) fn amend(out: &mut Vec<u8>, from: usize, hop: &Capabilities, is_believed: bool) {
    let Some(reply) = out.get(from..) else { return };
    let text = String::from_utf8_lossy(reply).into_owned();
    let mut lines: Vec<&str> = Vec::new();
    for line in text.split_terminator("\r\n") {
        match line.split_at_checked(4) {
            Some(("250-" | "250 ", line)) => lines.push(line),
            // A refusal, or something else that is not ours to change.
            _ => return,
        }
    }
    // HELO has no extensions.
    if lines.len() < 2 {
        return;
    }
    let size = hop.size;
    let mut kept: Vec<String> = Vec::new();
    for line in lines {
        let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
        let has = match keyword {
            "8BITMIME" => hop.eight_bit_mime,
            "SMTPUTF8" => hop.smtputf8,
            "DSN" => hop.dsn,
            _ => true,
        };
        match (keyword, value.parse::<u64>(), size) {
            _ if !has => {}
            ("SIZE", Ok(ours), Some(theirs)) if theirs > 0 && theirs < ours => {
                kept.push(format!("SIZE {theirs}"));
            }
            _ => kept.push(line.to_owned()),
        }
    }
    if is_believed {
        kept.push(format!("XFORWARD {}", FORWARD.join(" ")));
        kept.push(format!("XCLIENT {}", CLIENT.join(" ")));
    }
    out.truncate(from);
    let last = kept.len().saturating_sub(1);
    for (number, line) in kept.iter().enumerate() {
        out.extend_from_slice(if number == last { b"250 " } else { b"250-" });
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions() {
        let forward = b"XFORWARD NAME=mail.example.org ADDR=192.0.2.1 PORT=2525 PROTO=ESMTP HELO=a+20b IDENT=4F1 SOURCE=REMOTE";
        let Some(Ok(Extension::Forward(about))) = Extension::parse(forward) else {
            panic!("XFORWARD")
        };
        assert_eq!(about.name.as_ref().unwrap().as_str(), "mail.example.org");
        assert_eq!((about.ip, about.port), (Some([192, 0, 2, 1].into()), Some(2525)));
        assert_eq!(about.helo.as_deref(), Some("a b"));

        let client = b"xclient name=[unavailable] ADDR=IPV6:2001:db8::1 LOGIN=ann";
        let Some(Ok(Extension::Client(about))) = Extension::parse(client) else {
            panic!("XCLIENT")
        };
        assert_eq!((about.name.clone(), about.ip), (None, "2001:db8::1".parse().ok()));
        assert_eq!(about.login.as_deref(), Some("ann"));

        for line in ["EHLO a", "XFORWARDED a=b", "XCLIENTS", "X", "", "NOOP XCLIENT"] {
            assert_eq!(Extension::parse(line.as_bytes()), None, "{line:?}");
        }
        for (line, error) in [
            ("XFORWARD", BadAttributes::Syntax),
            ("XFORWARD ", BadAttributes::Syntax),
            ("XFORWARD NAME", BadAttributes::Syntax),
            ("XFORWARD NAME=a NAME=b", BadAttributes::Syntax),
            ("XFORWARD NAME=+4", BadAttributes::Syntax),
            ("XFORWARD LOGIN=a", BadAttributes::Unknown),
            ("XCLIENT SOURCE=LOCAL", BadAttributes::Unknown),
            ("XCLIENT NAME=\u{e9}", BadAttributes::Syntax),
        ] {
            assert_eq!(Extension::parse(line.as_bytes()), Some(Err(error)), "{line:?}");
        }
        let long = format!("XFORWARD HELO={}", "a".repeat(1000));
        assert_eq!(Extension::parse(long.as_bytes()), Some(Err(BadAttributes::Syntax)));
        // Controls may be written in xtext, and don't come out.
        let Some(Ok(said)) = Extension::parse(b"XFORWARD HELO=a+0D+0Ab") else { panic!("HELO") };
        assert_eq!(said.about().helo.as_deref(), Some("a  b"));
    }

    #[test]
    fn in_several_commands() {
        let mut all = About::default();
        for line in [&b"XFORWARD NAME=a.example ADDR=192.0.2.1"[..], b"XFORWARD HELO=b.example"] {
            let Some(Ok(Extension::Forward(about))) = Extension::parse(line) else { panic!() };
            all.add(about);
        }
        assert!(all.name.is_some() && all.ip.is_some() && all.helo.is_some() && all.is_said);
    }

    #[test]
    fn forwarded() {
        let all: Vec<String> = FORWARD.map(ToOwned::to_owned).to_vec();
        let origin = Origin {
            ip: Some([192, 0, 2, 1].into()),
            helo: Some("a b".to_owned()),
            ..Origin::default()
        };
        let about = About { proto: Some("ESMTP".to_owned()), ..About::default() };
        assert_eq!(
            about.forward(&origin, &all),
            [
                "XFORWARD NAME=[UNAVAILABLE] ADDR=192.0.2.1 PORT=[UNAVAILABLE] PROTO=ESMTP HELO=a+20b IDENT=[UNAVAILABLE] SOURCE=REMOTE\r\n"
            ]
        );
        assert_eq!(about.forward(&origin, &all[1..2]), ["XFORWARD ADDR=192.0.2.1\r\n"]);
        assert!(about.forward(&origin, &[]).is_empty());
        let six = Origin { ip: "2001:db8::1".parse().ok(), ..Origin::default() };
        assert_eq!(about.forward(&six, &all[1..2]), ["XFORWARD ADDR=IPV6:2001:db8::1\r\n"]);
        // What is long comes in several lines.
        let long = Origin { helo: Some("a".repeat(255)), ..origin };
        let about = About { ident: Some("b".repeat(255)), ..about };
        let lines = about.forward(&long, &all);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.len() <= 512 && line.starts_with("XFORWARD ")));
    }

    #[test]
    fn offers() {
        let lines = ["mx.example.net", "PIPELINING", "xforward NAME addr", "SIZE 1"];
        assert_eq!(offered(&lines), ["NAME", "ADDR"]);
        assert!(offered(&["XFORWARD NAME"]).is_empty(), "the first line greets");
        assert!(offered::<&str>(&[]).is_empty());
    }

    #[test]
    fn amended() {
        let ours = "250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN\r\n";
        let mut all = Capabilities::default();
        for (hop, is_believed, expected) in [
            (
                Capabilities::default(),
                false,
                "250-mx.example.net\r\n250-PIPELINING\r\n250 SIZE 1000\r\n",
            ),
            (
                {
                    all.eight_bit_mime = true;
                    all.smtputf8 = true;
                    all.dsn = true;
                    all.size = Some(500);
                    all
                },
                true,
                "250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 500\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n",
            ),
        ] {
            let before = "250 2.0.0 Ok\r\n";
            let mut out = [before, ours].concat().into_bytes();
            amend(&mut out, before.len(), &hop, is_believed);
            assert_eq!(String::from_utf8(out).unwrap(), [before, expected].concat());
        }
        for other in ["250 mx.example.net\r\n", "421 4.4.1 no\r\n", ""] {
            let mut out = other.as_bytes().to_vec();
            amend(&mut out, 0, &Capabilities::default(), true);
            assert_eq!(out, other.as_bytes());
        }
    }
}
