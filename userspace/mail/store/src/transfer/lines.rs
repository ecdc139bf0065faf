//! What a message looks like in a file: ends of lines, lines that begin with `From `, and headers that a mailbox keeps its state in.
//! Pure.

use memchr::{memchr, memchr_iter};

use crate::folders::Flags;

/// A message as the store has it, from a file whose lines may end in LF alone. A file whose first line ends in CRLF is taken as it is:
/// what LF alone is in it is meant.
#[must_use]
pub fn to_crlf(raw: &[u8]) -> Vec<u8> {
    let first = memchr(b'\n', raw);
    let is_crlf = first
        .and_then(|newline| newline.checked_sub(1))
        .is_some_and(|before| raw.get(before) == Some(&b'\r'));
    if first.is_none() || is_crlf {
        return raw.to_vec();
    }
    let mut message = Vec::with_capacity(raw.len() + raw.len() / 32);
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                message.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
                message.extend_from_slice(b"\r\n");
            }
            None => message.extend_from_slice(line),
        }
    }
    message
}

/// A message for a file whose lines end in LF alone. One that has LF alone already, or CR before CRLF, stays as it is, so that
/// [`to_crlf`] gives back what there was.
#[must_use]
pub fn to_lf(message: &[u8]) -> Vec<u8> {
    let is_crlf = memchr_iter(b'\n', message).all(|newline| {
        let line = message.get(..newline).unwrap_or_default();
        line.strip_suffix(b"\r").is_some_and(|line| !line.ends_with(b"\r"))
    });
    if is_crlf { without_cr(message) } else { message.to_vec() }
}

/// The same for a format that has no other ends of lines.
fn without_cr(message: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(message.len());
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(line) => {
                file.extend_from_slice(line);
                file.push(b'\n');
            }
            None => file.extend_from_slice(line),
        }
    }
    file
}

/// A message as it stands in an mbox, with one more `>` before each line that would be taken for the next message or for a quoted
/// one (RFC 4155 names the form mboxrd).
#[must_use]
pub fn quote(message: &[u8]) -> Vec<u8> {
    let lines = without_cr(message);
    let mut quoted = Vec::with_capacity(lines.len() + 64);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        if is_from_or_quoted(line) {
            quoted.push(b'>');
        }
        quoted.extend_from_slice(line);
    }
    quoted
}

/// What [`quote`] was given, but for the ends of lines.
#[must_use]
pub fn unquote(quoted: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(quoted.len());
    for line in quoted.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b">") {
            Some(rest) if is_from_or_quoted(rest) => message.extend_from_slice(rest),
            _ => message.extend_from_slice(line),
        }
    }
    message
}

fn is_from_or_quoted(line: &[u8]) -> bool {
    let quotes = line.iter().take_while(|byte| **byte == b'>').count();
    line.get(quotes..).is_some_and(|rest| rest.starts_with(b"From "))
}

/// Headers that programs write into the messages of a mailbox, and that are no part of them.
const STATE: [&str; 9] = [
    "Status",
    "X-Status",
    "X-Keywords",
    "X-UID",
    "X-IMAP",
    "X-IMAPbase",
    "X-Mozilla-Status",
    "X-Mozilla-Status2",
    "X-Mozilla-Keys",
];

/// What headers of a mailbox's state said.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct State {
    /// What is known of the message.
    pub flags: Flags,
    /// It is the program's own note, or it was removed and only not yet cut out: there is no message.
    pub is_none: bool,
}

/// A message without the headers that a mailbox keeps its state in, and what they said.
#[must_use]
pub fn take_state(message: &[u8]) -> (Vec<u8>, State) {
    let mut state = State::default();
    let mut rest = Vec::with_capacity(message.len());
    let (mut at, mut dropping) = (0, false);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if matches!(line, b"\n" | b"\r\n") {
            break;
        }
        at += line.len();
        // A line that begins with white space goes on with the header before it (RFC 5322 section 2.2.3).
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            dropping = false;
            if let Some((name, value)) = header(line)
                && let Some(name) = STATE.iter().find(|known| known.eq_ignore_ascii_case(name))
            {
                dropping = true;
                state.read(name, value);
            }
        }
        if !dropping {
            rest.extend_from_slice(line);
        }
    }
    rest.extend_from_slice(message.get(at..).unwrap_or_default());
    (rest, state)
}

/// A message with headers that say what is known of it, behind its own; [`take_state`] takes them out again.
#[must_use]
pub fn with_state(message: &[u8], flags: Flags) -> Vec<u8> {
    let letters = |known: &[(Flags, char)]| -> String {
        known.iter().filter(|(flag, _)| flags.has(*flag)).map(|(_, letter)| *letter).collect()
    };
    let words: Vec<&str> =
        KEYWORDS.iter().filter(|(flag, _)| flags.has(*flag)).map(|(_, word)| *word).collect();
    let mut state = String::new();
    for (name, value) in [
        ("Status", letters(&[(Flags::SEEN, 'R')])),
        ("X-Status", letters(&X_STATUS)),
        ("X-Keywords", words.join(" ")),
    ] {
        if !value.is_empty() {
            // What was read isn't new either.
            let old = if name == "Status" { "O" } else { "" };
            state.push_str(&format!("{name}: {value}{old}\r\n"));
        }
    }
    let (header, body) = message.split_at(header_end(message));
    // A header that breaks off in a line has no end to write behind.
    match header.last() {
        None | Some(b'\n') => [header, state.as_bytes(), body].concat(),
        Some(_) => [state.as_bytes(), message].concat(),
    }
}

/// What is marked by words, as Thunderbird and others do.
pub(crate) const KEYWORDS: [(Flags, &str); 3] =
    [(Flags::FORWARDED, "$Forwarded"), (Flags::JUNK, "$Junk"), (Flags::NOT_JUNK, "$NotJunk")];

const X_STATUS: [(Flags, char); 4] =
    [(Flags::ANSWERED, 'A'), (Flags::DELETED, 'D'), (Flags::FLAGGED, 'F'), (Flags::DRAFT, 'T')];

/// What a word says.
#[must_use]
pub fn keyword(word: &str) -> Flags {
    let word = word.trim_start_matches('$');
    if word.eq_ignore_ascii_case("NonJunk") {
        return Flags::NOT_JUNK;
    }
    let is = |known: &&(Flags, &str)| known.1.trim_start_matches('$').eq_ignore_ascii_case(word);
    KEYWORDS.iter().find(is).map(|(flag, _)| *flag).unwrap_or_default()
}

impl State {
    fn read(&mut self, name: &str, value: &str) {
        match name {
            "Status" if value.contains('R') => self.flags = self.flags | Flags::SEEN,
            "X-Status" => {
                for (flag, letter) in X_STATUS {
                    if value.contains(letter) {
                        self.flags = self.flags | flag;
                    }
                }
            }
            "X-Keywords" => {
                for word in value.split_ascii_whitespace() {
                    self.flags = self.flags | keyword(word);
                }
            }
            // The first message of a file of UW IMAP or Pine is no message.
            "X-IMAP" => self.is_none = true,
            "X-Mozilla-Status" => {
                let bits = u32::from_str_radix(value, 16).unwrap_or(0);
                for (bit, flag) in [
                    (0x0001, Flags::SEEN),
                    (0x0002, Flags::ANSWERED),
                    (0x0004, Flags::FLAGGED),
                    (0x1000, Flags::FORWARDED),
                ] {
                    if bits & bit != 0 {
                        self.flags = self.flags | flag;
                    }
                }
                self.is_none |= bits & 0x0008 != 0;
            }
            _ => {}
        }
    }
}

fn header(line: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(line.get(..line.len().min(512))?).ok()?;
    let (name, value) = text.split_once(':')?;
    Some((name.trim_end(), value.trim()))
}

/// Where the empty line begins that ends the header; the message's end if there is none.
fn header_end(message: &[u8]) -> usize {
    let mut line = 0;
    for newline in memchr_iter(b'\n', message) {
        if matches!(message.get(line..newline), Some(b"" | b"\r")) {
            return line;
        }
        line = newline + 1;
    }
    message.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ends_of_lines() {
        for (file, message) in [
            ("", ""),
            ("no line", "no line"),
            ("a: b\n\nc\n", "a: b\r\n\r\nc\r\n"),
            ("a: b\n\nc", "a: b\r\n\r\nc"),
            ("\na\n", "\r\na\r\n"),
            // A stray CR before LF is an end of a line.
            ("a\nb\r\nc\n", "a\r\nb\r\nc\r\n"),
            // What is no end of a line stays.
            ("a\nb\rc\n", "a\r\nb\rc\r\n"),
            ("a\r\nb\nc\r\n", "a\r\nb\nc\r\n"),
        ] {
            assert_eq!(to_crlf(file.as_bytes()), message.as_bytes(), "{file:?}");
        }
        for (message, file) in [
            ("a: b\r\n\r\nc", "a: b\n\nc"),
            ("a: b\r\n\r\nc\nd", "a: b\r\n\r\nc\nd"),
            ("a: b\r\r\n", "a: b\r\r\n"),
        ] {
            assert_eq!(to_lf(message.as_bytes()), file.as_bytes(), "{message:?}");
            assert_eq!(to_crlf(file.as_bytes()), message.as_bytes(), "{message:?}");
        }
    }

    #[test]
    fn quoting() {
        for (message, quoted) in [
            ("From here\r\n", ">From here\n"),
            ("a\r\n>From there\r\n>>From\r\n", "a\n>>From there\n>>From\n"),
            ("Fromage\r\n> From\r\n", "Fromage\n> From\n"),
            ("no end: From ", "no end: From "),
        ] {
            assert_eq!(quote(message.as_bytes()), quoted.as_bytes(), "{message:?}");
            assert_eq!(to_crlf(&unquote(quoted.as_bytes())), message.as_bytes(), "{quoted:?}");
        }
    }

    #[test]
    fn state_is_taken_out() {
        let none = State::default();
        let flags = |flags| State { flags, is_none: false };
        for (message, rest, state) in [
            ("", "", none),
            ("Subject: a\r\n\r\nStatus: R\r\n", "Subject: a\r\n\r\nStatus: R\r\n", none),
            ("Status: RO\r\nSubject: a\r\n\r\nb", "Subject: a\r\n\r\nb", flags(Flags::SEEN)),
            (
                "Subject: a\r\nX-Status: AF\r\nX-Keywords: NonJunk\r\n $Forwarded\r\nTo: b\r\n\r\n",
                "Subject: a\r\nTo: b\r\n\r\n",
                flags(Flags::ANSWERED | Flags::FLAGGED | Flags::NOT_JUNK),
            ),
            (
                "x-mozilla-status: 1003\n\nb\n",
                "\nb\n",
                flags(Flags::SEEN | Flags::ANSWERED | Flags::FORWARDED),
            ),
            ("X-Mozilla-Status: 0008\n\n", "\n", State { is_none: true, ..none }),
            ("X-IMAP: 1 2\n\n", "\n", State { is_none: true, ..none }),
            ("Status-Quo: R\n\n", "Status-Quo: R\n\n", none),
        ] {
            let taken = take_state(message.as_bytes());
            assert_eq!(taken, (rest.as_bytes().to_vec(), state), "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn a_file_gives_the_message_back(message in r"([a>F\r]|From |\r\n|[é\x00]){0,40}") {
            // A message of LF alone has become one of CRLF when it comes back: nobody sends such.
            let first = memchr(b'\n', message.as_bytes());
            prop_assume!(first.is_none_or(|at| at > 0 && message.as_bytes()[at - 1] == b'\r'));
            prop_assert_eq!(to_crlf(&to_lf(message.as_bytes())), message.as_bytes());
        }

        #[test]
        fn an_mbox_gives_the_message_back(message in r"([a>F]|From |>|\r\n|[é\x00]){0,40}") {
            let quoted = quote(message.as_bytes());
            prop_assert!(!quoted.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"From ")));
            prop_assert_eq!(to_crlf(&unquote(&quoted)), message.as_bytes());
        }

        #[test]
        fn state_comes_back(flags in 0_u32..256, header in r"(Subject: [a-z]{0,9}\r\n){0,3}", body in r"(\r\n[a-z:\r\n]{0,20})?") {
            let (flags, message) = (Flags(flags), format!("{header}{body}"));
            let (rest, state) = take_state(&with_state(message.as_bytes(), flags));
            prop_assert_eq!((rest, state), (message.into_bytes(), State { flags, is_none: false }));
        }
    }
}
