//! Command lines: RFC 5321 section 4.1.1, and those of the extensions. Only the verb and its shape are looked at here; paths and
//! parameters are read by those who know what they mean.

use std::str;

/// A command line, without its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command<'a> {
    /// `EHLO name`.
    Ehlo(&'a str),
    /// `HELO name`.
    Helo(&'a str),
    /// `LHLO name`: RFC 2033.
    Lhlo(&'a str),
    /// `MAIL FROM:`, and what follows.
    Mail(&'a str),
    /// `RCPT TO:`, and what follows.
    Rcpt(&'a str),
    /// `DATA`.
    Data,
    /// `BDAT octets [LAST]`: RFC 3030.
    Bdat {
        /// Octets that follow the line.
        octets: u64,
        /// Whether they are the message's last.
        last: bool,
    },
    /// `RSET`.
    Rset,
    /// `NOOP`, with anything behind it.
    Noop,
    /// `QUIT`.
    Quit,
    /// `VRFY somebody`.
    Vrfy,
    /// `EXPN list`.
    Expn,
    /// `HELP`, with anything behind it.
    Help,
    /// `STARTTLS`: RFC 3207.
    StartTls,
    /// `AUTH mechanism [initial response]`: RFC 4954.
    Auth {
        /// The mechanism's name.
        mechanism: &'a str,
        /// The response that came with it: base64, or `=` for an empty one.
        initial: Option<&'a str>,
    },
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CommandError {
    /// A verb that nobody knows, or nothing.
    #[error("command not recognized")]
    Unknown,
    /// A verb of another protocol: whoever sent it does not know whom he speaks to, and what he sends next may have been put
    /// into his mouth (a browser that a page made send a form to port 25).
    #[error("this is a mail server")]
    Foreign,
    /// Controls, or what is not UTF-8.
    #[error("a command has no control characters, and is ASCII or UTF-8")]
    Octets,
    /// Arguments that the verb does not have. The text says which it has.
    #[error("syntax: {0}")]
    Arguments(&'static str),
    /// `BDAT` with arguments that are no number: where its octets end can't be known.
    #[error("syntax: BDAT octets [LAST]")]
    Bdat,
}

impl<'a> Command<'a> {
    /// Reads a line.
    ///
    /// # Errors
    ///
    /// If it is no command, or one without what has to stand behind the verb.
    pub fn parse(line: &'a [u8]) -> Result<Self, CommandError> {
        let text = str::from_utf8(line).map_err(|_| CommandError::Octets)?;
        // Spaces at the end are forgiven: RFC 5321 section 4.1.1.
        let text = text.trim_end_matches([' ', '\t']);
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(CommandError::Octets);
        }
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut upper = [0; LONGEST_VERB];
        let Some(upper) = upper.get_mut(..verb.len()) else { return Err(CommandError::Unknown) };
        upper.copy_from_slice(verb.as_bytes());
        upper.make_ascii_uppercase();
        match &*upper {
            b"EHLO" => Ok(Self::Ehlo(name(rest, "EHLO name")?)),
            b"HELO" => Ok(Self::Helo(name(rest, "HELO name")?)),
            b"LHLO" => Ok(Self::Lhlo(name(rest, "LHLO name")?)),
            b"MAIL" => path(rest, "FROM:", "MAIL FROM:<address> [parameters]").map(Self::Mail),
            b"RCPT" => path(rest, "TO:", "RCPT TO:<address> [parameters]").map(Self::Rcpt),
            b"DATA" => nothing(rest, Self::Data, "DATA"),
            b"BDAT" => bdat(rest),
            b"RSET" => nothing(rest, Self::Rset, "RSET"),
            b"NOOP" => Ok(Self::Noop),
            b"QUIT" => nothing(rest, Self::Quit, "QUIT"),
            b"VRFY" if rest.is_empty() => Err(CommandError::Arguments("VRFY address")),
            b"VRFY" => Ok(Self::Vrfy),
            b"EXPN" if rest.is_empty() => Err(CommandError::Arguments("EXPN list")),
            b"EXPN" => Ok(Self::Expn),
            b"HELP" => Ok(Self::Help),
            b"STARTTLS" => nothing(rest, Self::StartTls, "STARTTLS"),
            b"AUTH" => auth(rest),
            b"GET" | b"POST" | b"PUT" | b"HEAD" | b"OPTIONS" | b"CONNECT" | b"DELETE"
            | b"PATCH" | b"TRACE" | b"HOST:" | b"USER-AGENT:" => Err(CommandError::Foreign),
            _ => Err(CommandError::Unknown),
        }
    }
}

/// Octets of the longest verb that is known, or looked out for.
const LONGEST_VERB: usize = 16;

/// Longest name that a client may call itself, in octets: RFC 5321 section 4.5.3.1.2.
const LONGEST_NAME: usize = 255;

/// What a client calls itself. Many say what is no domain, and are let in all the same: section 4.1.4.
fn name<'a>(text: &'a str, syntax: &'static str) -> Result<&'a str, CommandError> {
    let name = text.trim_start_matches(' ');
    if name.is_empty() || name.len() > LONGEST_NAME || name.contains(' ') {
        return Err(CommandError::Arguments(syntax));
    }
    Ok(name)
}

/// What stands behind `FROM:` or `TO:`. Spaces before the path are forgiven; there should be none.
fn path<'a>(text: &'a str, keyword: &str, syntax: &'static str) -> Result<&'a str, CommandError> {
    text.trim_start_matches(' ')
        .split_at_checked(keyword.len())
        .filter(|(start, _)| start.eq_ignore_ascii_case(keyword))
        .map(|(_, rest)| rest.trim_start_matches(' '))
        .ok_or(CommandError::Arguments(syntax))
}

fn nothing<'a>(
    text: &str,
    command: Command<'a>,
    syntax: &'static str,
) -> Result<Command<'a>, CommandError> {
    if text.is_empty() { Ok(command) } else { Err(CommandError::Arguments(syntax)) }
}

/// RFC 3030 section 2.
fn bdat(text: &str) -> Result<Command<'_>, CommandError> {
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let octets = words
        .next()
        .filter(|word| word.len() <= 20 && word.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|word| word.parse().ok())
        .ok_or(CommandError::Bdat)?;
    let last = match (words.next(), words.next()) {
        (None, _) => false,
        (Some(word), None) if word.eq_ignore_ascii_case("LAST") => true,
        _ => return Err(CommandError::Bdat),
    };
    Ok(Command::Bdat { octets, last })
}

/// RFC 4954 section 4.
fn auth(text: &str) -> Result<Command<'_>, CommandError> {
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    match (words.next(), words.next(), words.next()) {
        (Some(mechanism), initial, None) => Ok(Command::Auth { mechanism, initial }),
        _ => Err(CommandError::Arguments("AUTH mechanism [initial response]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        for (line, command) in [
            ("EHLO client.example.org", Command::Ehlo("client.example.org")),
            ("ehlo  [192.0.2.1] ", Command::Ehlo("[192.0.2.1]")),
            ("HELO a_b", Command::Helo("a_b")),
            ("LHLO x", Command::Lhlo("x")),
            ("MAIL FROM:<a@b> SIZE=1", Command::Mail("<a@b> SIZE=1")),
            ("mail from: <>", Command::Mail("<>")),
            ("MAIL  FROM:<>", Command::Mail("<>")),
            ("MAIL FROM:", Command::Mail("")),
            ("RcPt To:<a@b>", Command::Rcpt("<a@b>")),
            ("RCPT TO:<\u{e9}@b>", Command::Rcpt("<\u{e9}@b>")),
            ("DATA", Command::Data),
            ("DATA \t", Command::Data),
            ("BDAT 0", Command::Bdat { octets: 0, last: false }),
            ("bdat 86 last", Command::Bdat { octets: 86, last: true }),
            ("BDAT 18446744073709551615", Command::Bdat { octets: u64::MAX, last: false }),
            ("RSET", Command::Rset),
            ("NOOP", Command::Noop),
            ("NOOP anything at all", Command::Noop),
            ("QUIT", Command::Quit),
            ("VRFY a", Command::Vrfy),
            ("EXPN a", Command::Expn),
            ("HELP", Command::Help),
            ("HELP MAIL", Command::Help),
            ("starttls", Command::StartTls),
            ("AUTH PLAIN", Command::Auth { mechanism: "PLAIN", initial: None }),
            ("AUTH PLAIN =", Command::Auth { mechanism: "PLAIN", initial: Some("=") }),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Ok(command), "{line:?}");
        }
    }

    #[test]
    fn no_commands() {
        for (line, error) in [
            ("", CommandError::Unknown),
            (" ", CommandError::Unknown),
            (" EHLO a", CommandError::Unknown),
            ("EHLO\ta", CommandError::Octets),
            ("EHL", CommandError::Unknown),
            ("A-VERB-THAT-IS-LONGER-THAN-ANY", CommandError::Unknown),
            ("EHLO", CommandError::Arguments("EHLO name")),
            ("EHLO a b", CommandError::Arguments("EHLO name")),
            ("MAIL", CommandError::Arguments("MAIL FROM:<address> [parameters]")),
            ("MAIL <a@b>", CommandError::Arguments("MAIL FROM:<address> [parameters]")),
            ("MAIL TO:<a@b>", CommandError::Arguments("MAIL FROM:<address> [parameters]")),
            ("RCPT \u{e9}\u{e9}", CommandError::Arguments("RCPT TO:<address> [parameters]")),
            ("DATA a", CommandError::Arguments("DATA")),
            ("QUIT now", CommandError::Arguments("QUIT")),
            ("VRFY", CommandError::Arguments("VRFY address")),
            ("STARTTLS now", CommandError::Arguments("STARTTLS")),
            ("AUTH", CommandError::Arguments("AUTH mechanism [initial response]")),
            ("AUTH a b c", CommandError::Arguments("AUTH mechanism [initial response]")),
            ("BDAT", CommandError::Bdat),
            ("BDAT -1", CommandError::Bdat),
            ("BDAT +1", CommandError::Bdat),
            ("BDAT 1 FIRST", CommandError::Bdat),
            ("BDAT 1 LAST LAST", CommandError::Bdat),
            ("BDAT 18446744073709551616", CommandError::Bdat),
            ("BDAT 000000000000000000001", CommandError::Bdat),
            ("GET / HTTP/1.1", CommandError::Foreign),
            ("Host: mx.example.org", CommandError::Foreign),
            ("NOOP \0", CommandError::Octets),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Err(error), "{line:?}");
        }
        assert_eq!(Command::parse(b"NOOP \xff"), Err(CommandError::Octets));
    }
}
