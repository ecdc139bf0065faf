//! Users files in FreeRADIUS' format.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use crate::dictionary::Dictionary;
use crate::files::{self, Files};
use crate::lexer::Lexer;
use crate::pair::{Pair, PairError};
use crate::problem::{Fault, Problem};

/// Bytes of a file and all that it includes.
const MOST_BYTES: u64 = 2 << 30;
/// Files in all.
const MOST_FILES: usize = 10_000;
/// Files within files.
const MOST_DEPTH: usize = 10;
/// Bytes of a user's name: as many as have place in a User-Name.
const MOST_NAME: usize = 253;
/// Problems after which reading ends: a file with more of them is of another kind.
const MOST_PROBLEMS: usize = 100;
/// Problems that get a name to choose instead, which costs a look at every name.
const MOST_GUESSES: usize = 20;

/// One entry of a users file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UsersEntry {
    /// Name of the user, or `DEFAULT`, which is every user.
    pub name: String,
    /// What a request must have for the entry to count, and what is known of the user (the password).
    pub check: Vec<Pair>,
    /// What goes into the reply.
    pub reply: Vec<Pair>,
    /// File that it is in, for `$INCLUDE` the included one.
    pub file: Arc<Path>,
    /// Line that it begins on.
    pub line: u32,
    /// Whether the entries behind it are looked at too. Its pair is not among those of the reply.
    pub fall_through: bool,
}

impl UsersEntry {
    /// Whether it is for every user.
    pub fn is_default(&self) -> bool {
        self.name == "DEFAULT"
    }
}

/// Users files in FreeRADIUS' format: entries of a name with check items, and reply items on indented lines.
#[derive(Clone, Copy, Debug)]
pub struct UsersFile;

impl UsersFile {
    /// Reads a file and all that it includes.
    ///
    /// # Errors
    /// All that is wrong with it, by line, up to a bound.
    pub fn read(dictionary: &Dictionary, file: &Path) -> Result<Vec<UsersEntry>, Vec<Problem>> {
        let mut reader = Reader::new(dictionary, Files::new(MOST_BYTES, MOST_FILES, MOST_DEPTH));
        if let Err(what) = reader.file(file) {
            let remedy = "check its path, size and permissions";
            reader.problems.push(Problem::of(file, Fault::new(format!("the file {what}"), remedy)));
        }
        reader.end()
    }

    /// Reads a text; `file` stands for its file. What it includes is read from beside that file.
    ///
    /// # Errors
    /// All that is wrong with it, by line, up to a bound.
    pub fn parse(
        dictionary: &Dictionary,
        file: impl AsRef<Path>,
        text: impl AsRef<[u8]>,
    ) -> Result<Vec<UsersEntry>, Vec<Problem>> {
        let files = Files::new(MOST_BYTES, MOST_FILES, MOST_DEPTH);
        Self::parse_with(dictionary, files, file.as_ref(), text.as_ref())
    }

    pub(crate) fn parse_with(
        dictionary: &Dictionary,
        files: Files,
        file: &Path,
        text: &[u8],
    ) -> Result<Vec<UsersEntry>, Vec<Problem>> {
        let mut reader = Reader::new(dictionary, files);
        reader.text(file, text);
        reader.end()
    }
}

struct Reader<'d> {
    dictionary: &'d Dictionary,
    files: Files,
    entries: Vec<UsersEntry>,
    problems: Vec<Problem>,
    guesses: usize,
    after: After,
}

/// What came before a line.
#[derive(Clone, Copy)]
enum After {
    /// Nothing that an indented line could belong to.
    Nothing,
    /// The line of an entry's name.
    Name,
    /// A line of reply items with a comma at its end.
    Comma(u32),
    /// A line of reply items without.
    Reply(u32),
}

impl<'d> Reader<'d> {
    fn new(dictionary: &'d Dictionary, files: Files) -> Self {
        Self {
            dictionary,
            files,
            entries: Vec::new(),
            problems: Vec::new(),
            guesses: 0,
            after: After::Nothing,
        }
    }

    fn end(self) -> Result<Vec<UsersEntry>, Vec<Problem>> {
        if self.problems.is_empty() { Ok(self.entries) } else { Err(self.problems) }
    }

    fn file(&mut self, path: &Path) -> Result<(), String> {
        let text = self.files.enter(path)?;
        self.text(path, &text);
        self.files.leave();
        Ok(())
    }

    fn text(&mut self, file: &Path, text: &[u8]) {
        let file: Arc<Path> = file.into();
        self.after = After::Nothing;
        for (number, line) in Lines::new(files::without_mark(text)) {
            if self.problems.len() >= MOST_PROBLEMS {
                return;
            }
            let words = line.trim_ascii();
            if words.is_empty() || words.starts_with(b"#") {
                continue;
            }
            if line.first().is_some_and(u8::is_ascii_whitespace) {
                self.reply(&file, number, words);
                continue;
            }
            self.complete(&file);
            match words.strip_prefix(b"$INCLUDE") {
                Some(path) if path.first().is_none_or(u8::is_ascii_whitespace) => {
                    self.include(&file, number, path.trim_ascii());
                }
                _ => self.entry(&file, number, words),
            }
        }
        self.complete(&file);
    }

    fn problem(&mut self, file: &Path, line: u32, fault: Fault) {
        self.problems.push(Problem::at(file, line, fault));
    }

    /// No more reply items follow.
    fn complete(&mut self, file: &Path) {
        if let After::Comma(line) = self.after {
            let fault = Fault::new(
                "a comma stands at the end of the line, and no reply item follows",
                "remove the comma, or indent the line that follows",
            );
            self.problem(file, line, fault);
        }
        self.after = After::Nothing;
    }

    fn include(&mut self, file: &Path, line: u32, written: &[u8]) {
        let written = String::from_utf8_lossy(written);
        let written = written.trim_matches('"');
        let result = match written {
            "" => Err("is no file".into()),
            written => self.file(&files::beside(file, written)),
        };
        if let Err(what) = result {
            let fault =
                Fault::new(format!("\"{written}\" {what}"), "correct or remove the $INCLUDE");
            self.problem(file, line, fault);
        }
        self.after = After::Nothing;
    }

    /// The line of a name and its check items.
    fn entry(&mut self, file: &Arc<Path>, line: u32, words: &[u8]) {
        let mut lexer = Lexer::new(words);
        let name = match lexer.peek() {
            Some(b'"' | b'\'' | b'`') => lexer.value().map_err(|error| error.to_string()),
            _ => {
                let end = words.iter().position(u8::is_ascii_whitespace).unwrap_or(words.len());
                let (name, rest) = words.split_at_checked(end).unwrap_or((words, &[]));
                lexer = Lexer::new(rest);
                Ok(name.to_vec())
            }
        };
        let name = name.and_then(|name| match String::from_utf8(name) {
            Ok(name) if (1..=MOST_NAME).contains(&name.len()) => Ok(name),
            Ok(_) => Err(format!("the name of a user has 1 to {MOST_NAME} bytes")),
            Err(_) => Err("the name of the user is not in UTF-8".into()),
        });
        // What is indented below belongs to it, whatever is wrong with it.
        self.after = After::Name;
        let name = match name {
            Ok(name) => name,
            Err(what) => return self.problem(file, line, Fault::new(what, "correct the name")),
        };
        let mut check = Vec::new();
        let before = self.problems.len();
        if self.pairs(file, line, &mut lexer, &mut check) && self.problems.len() == before {
            let fault = Fault::new(
                "a comma stands at the end of the check items, which are all on one line",
                "remove the comma; to go on in the next line, put a backslash at the end of this one",
            );
            self.problem(file, line, fault);
        }
        self.entries.push(UsersEntry {
            name,
            check,
            reply: Vec::new(),
            file: file.clone(),
            line,
            fall_through: false,
        });
    }

    /// An indented line.
    fn reply(&mut self, file: &Path, line: u32, words: &[u8]) {
        match self.after {
            After::Nothing => {
                let fault = Fault::new(
                    "the line is indented, and belongs to no entry",
                    "begin the line of a user's name without a blank",
                );
                // Once is enough: lines that follow are taken for more of it.
                self.after = After::Name;
                self.problem(file, line, fault);
            }
            After::Reply(before) => {
                let fault = Fault::new(
                    format!("a comma is missing at the end of line {before}"),
                    "put one behind each line of reply items but the last",
                );
                self.problem(file, line, fault);
            }
            After::Name | After::Comma(_) => {}
        }
        let mut reply = Vec::new();
        let comma = self.pairs(file, line, &mut Lexer::new(words), &mut reply);
        self.after = if comma { After::Comma(line) } else { After::Reply(line) };
        for pair in &reply {
            if !pair.operator.sets() && self.problems.len() < MOST_PROBLEMS {
                let fault = Fault::new(
                    format!("{} asks something, and stands among reply items", pair.redacted()),
                    "set it with :=, = or +=, or put it behind the name",
                );
                self.problem(file, line, fault);
            }
        }
        let Some(entry) = self.entries.last_mut() else { return };
        for pair in reply {
            if pair.attribute.is_internal() && pair.attribute.name() == "Fall-Through" {
                entry.fall_through = pair.value.number() == Some(1);
            } else {
                entry.reply.push(pair);
            }
        }
    }

    /// The pairs of a line; whether a comma stands behind the last.
    fn pairs(
        &mut self,
        file: &Path,
        line: u32,
        lexer: &mut Lexer<'_>,
        out: &mut Vec<Pair>,
    ) -> bool {
        lexer.skip_blanks();
        while !lexer.at_end() {
            let fault = match Pair::read(self.dictionary, lexer) {
                Ok(pair) => {
                    lexer.skip_blanks();
                    let attribute = pair.attribute.clone();
                    out.push(pair);
                    match lexer.peek() {
                        None | Some(b'#') => return false,
                        Some(b',') => {
                            lexer.bump();
                            lexer.skip_blanks();
                            if lexer.at_end() {
                                return true;
                            }
                            continue;
                        }
                        // What follows may be half of a password.
                        Some(_) => Fault::new(
                            format!("a comma is missing behind the value of {attribute}"),
                            "put commas between items, and values with blanks in quotes",
                        ),
                    }
                }
                Err(error) => self.fault(&error),
            };
            self.problem(file, line, fault);
            // Where the next item begins is anybody's guess.
            return lexer.rest().trim_ascii_end().ends_with(b",");
        }
        false
    }

    fn fault(&mut self, error: &PairError) -> Fault {
        let near = error.unknown_name().filter(|_| self.guesses < MOST_GUESSES).and_then(|name| {
            self.guesses += 1;
            self.dictionary.nearest(name)
        });
        match near {
            Some(near) => Fault::new(error.to_string(), format!("is {near} meant?")),
            None => Fault::new(error.to_string(), ""),
        }
    }
}

/// Lines with their numbers; one with a backslash at its end goes on in the next.
struct Lines<'a> {
    rest: &'a [u8],
    number: u32,
}

impl<'a> Lines<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { rest: text, number: 0 }
    }

    fn physical(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.number = self.number.saturating_add(1);
        let mut parts = self.rest.splitn(2, |byte| *byte == b'\n');
        let line = parts.next()?;
        self.rest = parts.next().unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (u32, Cow<'a, [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.physical()?;
        let number = self.number;
        let mut line = Cow::Borrowed(first);
        // A comment ends with its line, whatever is in it.
        let is_comment = first.trim_ascii_start().starts_with(b"#");
        while !is_comment && goes_on(&line) {
            line.to_mut().pop();
            match self.physical() {
                Some(next) => line.to_mut().extend_from_slice(next),
                None => break,
            }
        }
        Some((number, line))
    }
}

/// Whether the last byte is a backslash that is not escaped itself.
fn goes_on(line: &[u8]) -> bool {
    line.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests;
