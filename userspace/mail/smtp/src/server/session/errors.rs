//! What is wrong with what a client says, and how much of it is borne.

use muralla_mail_envelope::{EnhancedCode, Reply};

use super::{Session, State};
use crate::command::{Command, CommandError};
use crate::server::report::End;

/// A line of the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// Octets, its end included.
    pub(super) taken: usize,
    /// Octets without that, if it can be read.
    pub(super) read: Result<usize, BadLine>,
}

/// Why a line can't be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BadLine {
    /// It ends without CR, or has one inside.
    End,
    /// It is too long.
    Long,
}

impl Session {
    pub(super) fn note_idle(&mut self, command: Command<'_>) {
        match command {
            Command::Mail(_) | Command::Rcpt(_) | Command::Data | Command::Bdat { .. } => {
                self.idle = 0;
            }
            Command::Quit => {}
            _ => {
                self.idle = self.idle.saturating_add(1);
                if self.idle > self.config.limits.idle_commands {
                    self.count_error();
                }
            }
        }
    }

    pub(super) fn bad_line(&mut self, bad: BadLine) {
        match bad {
            BadLine::End => {
                self.report.bare_line_ends = self.report.bare_line_ends.saturating_add(1);
                self.error(
                    500,
                    EnhancedCode::new(5, 5, 2),
                    "Lines end with CR LF, and have neither alone",
                );
            }
            BadLine::Long => self.error(500, EnhancedCode::new(5, 5, 6), "The line is too long"),
        }
    }

    pub(super) fn no_command(&mut self, error: CommandError) {
        let (code, detail) = match error {
            CommandError::Unknown => (500, 1),
            CommandError::Octets => (500, 2),
            CommandError::Arguments(_) | CommandError::Bdat => (501, 4),
            CommandError::Foreign => {
                self.report.foreign = true;
                self.say(421, Some(EnhancedCode::new(4, 7, 0)), "This is a mail server");
                return self.end(End::Abusive);
            }
        };
        self.error(code, EnhancedCode::new(5, 5, detail), &error.to_string());
        if error == CommandError::Bdat {
            // Octets follow, nobody knows how many, and the next commands may be among them.
            self.say(421, Some(EnhancedCode::new(4, 5, 0)), "Where the chunk ends can't be known");
            self.end(End::Abusive);
        }
    }

    /// Something was wrong with a command.
    pub(super) fn error(&mut self, code: u16, enhanced: EnhancedCode, text: &str) {
        self.say(code, Some(enhanced), text);
        self.count_error();
    }

    pub(super) fn fault(&mut self, reply: &Reply) {
        self.reply(reply);
        self.count_error();
    }

    pub(super) fn count_error(&mut self) {
        self.report.errors = self.report.errors.saturating_add(1);
        if self.report.errors > self.config.limits.errors {
            self.abuse("Too many errors");
        }
    }

    pub(super) fn abuse(&mut self, text: &str) {
        if !matches!(self.state, State::Closed) {
            self.say(421, Some(EnhancedCode::new(4, 7, 0)), text);
            self.end(End::Abusive);
        }
    }
}
