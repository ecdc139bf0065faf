//! A command with all that is said until it is done.

use std::collections::VecDeque;

use data_encoding::BASE64;

use super::answers::{Answer, Done};
use crate::error::RemoteError;

/// A command, in pieces: the server says that it may go on before each but the first (RFC 3501 section 4.3).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Command {
    pieces: Vec<Vec<u8>>,
    last: Vec<u8>,
}

impl Command {
    /// One that begins so.
    pub(crate) fn new(text: &str) -> Self {
        Self { pieces: Vec::new(), last: text.as_bytes().to_vec() }
    }

    /// Goes on so.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.last.extend_from_slice(text.as_bytes());
        self
    }

    /// Goes on with a text of any octets: quoted if that can be, and otherwise as a literal.
    pub(crate) fn string(mut self, octets: &[u8]) -> Self {
        if octets.len() <= LONGEST_QUOTED && octets.iter().all(|byte| (b' '..=b'~').contains(byte))
        {
            self.last.push(b'"');
            for byte in octets {
                if matches!(byte, b'"' | b'\\') {
                    self.last.push(b'\\');
                }
                self.last.push(*byte);
            }
            self.last.push(b'"');
            return self;
        }
        self.last.extend_from_slice(format!("{{{}}}\r\n", octets.len()).as_bytes());
        self.then(octets.to_vec())
    }

    /// `AUTHENTICATE PLAIN`, with the response at once if the server takes it (RFC 4959).
    pub(crate) fn plain(response: &[u8], at_once: bool) -> Self {
        let response = BASE64.encode(response);
        if at_once {
            return Self::new("AUTHENTICATE PLAIN ").text(&response);
        }
        Self::new("AUTHENTICATE PLAIN\r\n").then(response.into_bytes())
    }

    fn then(mut self, next: Vec<u8>) -> Self {
        self.pieces.push(std::mem::replace(&mut self.last, next));
        self
    }
}

/// Longer texts are literals.
const LONGEST_QUOTED: usize = 1000;

/// One command while it is carried out.
#[derive(Debug)]
pub(crate) struct Exchange {
    tag: String,
    pieces: VecDeque<Vec<u8>>,
    /// Answers that may come still.
    left: u64,
}

/// What is to be done about an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Say this.
    Say(Vec<u8>),
    /// Take note of it.
    Note(Answer),
    /// It is done.
    Done(Done),
}

impl Exchange {
    /// Begins one, whose number is that of no other one in the session. At most so many answers come before it is done. Returns what to
    /// say first.
    pub(crate) fn begin(number: u32, command: Command, most: u64) -> (Self, Vec<u8>) {
        let tag = format!("M{number}");
        let Command { pieces, mut last } = command;
        last.extend_from_slice(b"\r\n");
        let mut pieces: VecDeque<Vec<u8>> = pieces.into_iter().chain([last]).collect();
        let mut first = format!("{tag} ").into_bytes();
        first.extend(pieces.pop_front().unwrap_or_default());
        (Self { tag, pieces, left: most }, first)
    }

    /// Hears an answer.
    pub(crate) fn hear(&mut self, answer: Answer) -> Result<Step, RemoteError> {
        match answer {
            Answer::Go => match self.pieces.pop_front() {
                Some(piece) => Ok(Step::Say(piece)),
                None => {
                    Err(RemoteError::Malformed("it waits for more of a command that is complete"))
                }
            },
            Answer::Done(done) if done.tag.eq_ignore_ascii_case(&self.tag) => Ok(Step::Done(done)),
            Answer::Done(_) => {
                Err(RemoteError::Malformed("it answers a command that was not given"))
            }
            Answer::Bye(text) => Err(RemoteError::Bye(text)),
            answer => {
                self.left =
                    self.left.checked_sub(1).ok_or(RemoteError::TooMuch("untagged answers"))?;
                Ok(Step::Note(answer))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::answers::End;
    use super::*;

    fn pieces(command: Command) -> Vec<String> {
        let (mut exchange, first) = Exchange::begin(3, command, 0);
        let mut said = vec![first];
        while let Ok(Step::Say(piece)) = exchange.hear(Answer::Go) {
            said.push(piece);
        }
        said.into_iter().map(|piece| String::from_utf8_lossy(&piece).into_owned()).collect()
    }

    #[test]
    fn commands() {
        for (command, said) in [
            (Command::new("NOOP"), vec!["M3 NOOP\r\n"]),
            (
                Command::new("LOGIN ").string(b"ann").text(" ").string(b"a \"b\" \\c"),
                vec!["M3 LOGIN \"ann\" \"a \\\"b\\\" \\\\c\"\r\n"],
            ),
            (
                Command::new("LOGIN ").string("señor".as_bytes()).text(" ").string("ü".as_bytes()),
                vec!["M3 LOGIN {6}\r\n", "señor {2}\r\n", "ü\r\n"],
            ),
            (Command::new("EXAMINE ").string(b""), vec!["M3 EXAMINE \"\"\r\n"]),
            (Command::new("EXAMINE ").string(b"a\r\nb"), vec!["M3 EXAMINE {4}\r\n", "a\r\nb\r\n"]),
            (Command::plain(b"\0a\0b", true), vec!["M3 AUTHENTICATE PLAIN AGEAYg==\r\n"]),
            (Command::plain(b"\0a\0b", false), vec!["M3 AUTHENTICATE PLAIN\r\n", "AGEAYg==\r\n"]),
        ] {
            assert_eq!(pieces(command), said);
        }
    }

    #[test]
    fn what_is_said_out_of_turn_ends_it() {
        let done = |tag: &str| {
            let (tag, text) = (tag.to_owned(), "done".to_owned());
            Answer::Done(Done { tag, end: End::Ok, text, capabilities: None })
        };
        let begin = || Exchange::begin(3, Command::new("NOOP"), 2).0;
        assert!(matches!(begin().hear(done("m3")), Ok(Step::Done(_))));
        assert!(matches!(begin().hear(done("M2")), Err(RemoteError::Malformed(_))));
        assert!(matches!(begin().hear(Answer::Go), Err(RemoteError::Malformed(_))));
        assert!(matches!(begin().hear(Answer::Bye("x".to_owned())), Err(RemoteError::Bye(_))));
        let mut exchange = begin();
        for _ in 0..2 {
            assert!(matches!(exchange.hear(Answer::Other), Ok(Step::Note(_))));
        }
        assert!(matches!(exchange.hear(Answer::Other), Err(RemoteError::TooMuch(_))));
        // It may be refused before all of it was said.
        let (mut exchange, _) = Exchange::begin(3, Command::plain(b"", false), 0);
        assert!(matches!(exchange.hear(done("M3")), Ok(Step::Done(_))));
    }
}
