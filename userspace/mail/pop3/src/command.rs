//! What a client says: one line, read with limits.

use muralla_mail_envelope::sasl::LONGEST_USER;

/// Longest line of a client in octets, its end included. RFC 2449 section 4 allows 255, and no command needs more; some
/// clients have passwords that do.
pub const LONGEST_LINE: usize = 512;

/// Longest line that belongs to a SASL dialog: RFC 5034 section 4 has it as long as the mechanism needs. In base64, what
/// [`muralla_mail_envelope::sasl::LONGEST_RESPONSE`] is, with a command before it.
pub const LONGEST_RESPONSE: usize = 5_600;

/// A command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command<'a> {
    /// `AUTH`: what mechanisms are there?
    Mechanisms,
    /// `AUTH`: a SASL dialog begins, and perhaps the client has said the first word.
    Auth {
        /// The mechanism's name.
        mechanism: &'a str,
        /// The first response, in base64; `=` for an empty one.
        initial: Option<&'a str>,
    },
    /// `CAPA`.
    Capa,
    /// `DELE`.
    Dele(u32),
    /// `LIST`, of one or of all.
    List(Option<u32>),
    /// `NOOP`.
    Noop,
    /// `PASS`. The password is all that follows the first space.
    Pass(&'a [u8]),
    /// `QUIT`.
    Quit,
    /// `RETR`.
    Retr(u32),
    /// `RSET`.
    Rset,
    /// `STAT`.
    Stat,
    /// `STLS`.
    Stls,
    /// `TOP`: so many lines of a message's content.
    Top(u32, u64),
    /// `UIDL`, of one or of all.
    Uidl(Option<u32>),
    /// `USER`.
    User(&'a str),
    /// `UTF8`.
    Utf8,
}

/// Why a line is no command. The texts are what the client is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CommandError {
    /// A command that this server does not have.
    #[error("Unknown command")]
    Unknown,
    /// Another protocol's, of a browser that somebody made speak to us.
    #[error("This is a POP3 server")]
    Foreign,
    /// A command that has no arguments.
    #[error("This command has no arguments")]
    NoArguments,
    /// Not the arguments that it has.
    #[error("Say {0}")]
    Usage(&'static str),
    /// A number that no message can have.
    #[error("No such message")]
    Number,
}

/// Reads a line, without its end.
///
/// # Errors
///
/// [`CommandError`], whose text is for the client.
pub fn parse(line: &[u8]) -> Result<Command<'_>, CommandError> {
    let (keyword, rest) = match memchr::memchr(b' ', line) {
        Some(at) => {
            let (keyword, rest) = line.split_at_checked(at).unwrap_or((line, &[]));
            (keyword, rest.get(1..))
        }
        None => (line, None),
    };
    let mut upper = [0; 4];
    let Some(upper) = upper.get_mut(..keyword.len()) else {
        return Err(unknown(keyword));
    };
    upper.copy_from_slice(keyword);
    upper.make_ascii_uppercase();
    match &*upper {
        b"AUTH" => auth(rest),
        b"CAPA" => alone(Command::Capa, rest),
        b"DELE" => one_number(rest, "DELE number").map(Command::Dele),
        b"LIST" => perhaps_number(rest, "LIST, or LIST number").map(Command::List),
        b"NOOP" => alone(Command::Noop, rest),
        b"PASS" => rest.map(Command::Pass).ok_or(CommandError::Usage("PASS password")),
        b"QUIT" => alone(Command::Quit, rest),
        b"RETR" => one_number(rest, "RETR number").map(Command::Retr),
        b"RSET" => alone(Command::Rset, rest),
        b"STAT" => alone(Command::Stat, rest),
        b"STLS" => alone(Command::Stls, rest),
        b"TOP" => top(rest),
        b"UIDL" => perhaps_number(rest, "UIDL, or UIDL number").map(Command::Uidl),
        b"USER" => user(rest),
        b"UTF8" => alone(Command::Utf8, rest),
        _ => Err(unknown(keyword)),
    }
}

/// Commands of HTTP, which a page on the web can make a browser send to any port, with lines of its choice behind them; and
/// of SMTP, which has its own.
fn unknown(keyword: &[u8]) -> CommandError {
    const FOREIGN: [&[u8]; 11] = [
        b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"CONNECT", b"DELETE", b"PATCH", b"TRACE",
        b"EHLO", b"HELO",
    ];
    if FOREIGN.iter().any(|foreign| keyword.eq_ignore_ascii_case(foreign)) {
        CommandError::Foreign
    } else {
        CommandError::Unknown
    }
}

/// Spaces at the end of a line are forgiven, except in passwords.
fn alone<'a>(command: Command<'a>, rest: Option<&[u8]>) -> Result<Command<'a>, CommandError> {
    match rest.map(<[u8]>::trim_ascii) {
        None | Some([]) => Ok(command),
        Some(_) => Err(CommandError::NoArguments),
    }
}

fn auth(rest: Option<&[u8]>) -> Result<Command<'_>, CommandError> {
    const USAGE: CommandError = CommandError::Usage("AUTH mechanism");
    let rest = match rest.map(<[u8]>::trim_ascii) {
        None | Some([]) => return Ok(Command::Mechanisms),
        Some(rest) => std::str::from_utf8(rest).map_err(|_| USAGE)?,
    };
    let mut words = rest.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(mechanism), initial, None) => Ok(Command::Auth { mechanism, initial }),
        _ => Err(USAGE),
    }
}

fn user(rest: Option<&[u8]>) -> Result<Command<'_>, CommandError> {
    const USAGE: CommandError = CommandError::Usage("USER name");
    let name = std::str::from_utf8(rest.unwrap_or_default()).map_err(|_| USAGE)?.trim_matches(' ');
    if name.is_empty() || name.len() > LONGEST_USER || name.chars().any(char::is_control) {
        return Err(USAGE);
    }
    Ok(Command::User(name))
}

fn top(rest: Option<&[u8]>) -> Result<Command<'_>, CommandError> {
    const USAGE: CommandError = CommandError::Usage("TOP number lines");
    let mut words = words(rest);
    let (Some(message), Some(lines), None) = (words.next(), words.next(), words.next()) else {
        return Err(USAGE);
    };
    let lines = number(lines).ok_or(USAGE)?;
    Ok(Command::Top(message_number(message, USAGE)?, lines))
}

fn one_number(rest: Option<&[u8]>, usage: &'static str) -> Result<u32, CommandError> {
    let usage = CommandError::Usage(usage);
    let mut words = words(rest);
    match (words.next(), words.next()) {
        (Some(word), None) => message_number(word, usage),
        _ => Err(usage),
    }
}

fn perhaps_number(rest: Option<&[u8]>, usage: &'static str) -> Result<Option<u32>, CommandError> {
    let usage = CommandError::Usage(usage);
    let mut words = words(rest);
    match (words.next(), words.next()) {
        (None, _) => Ok(None),
        (Some(word), None) => message_number(word, usage).map(Some),
        _ => Err(usage),
    }
}

fn words(rest: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    rest.unwrap_or_default().split(|&byte| byte == b' ').filter(|word| !word.is_empty())
}

/// A number is a number, whether a message has it or not: what no message can have is said in the same words.
fn message_number(word: &[u8], usage: CommandError) -> Result<u32, CommandError> {
    let number = number(word).ok_or(usage)?;
    u32::try_from(number).ok().filter(|&number| number > 0).ok_or(CommandError::Number)
}

fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = std::str::from_utf8(word).ok()?;
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
