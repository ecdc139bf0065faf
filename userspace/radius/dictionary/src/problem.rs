//! What is wrong, where, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Something wrong with a file, in words for the person who wrote it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// File it is in: for `$INCLUDE` the included one.
    pub file: PathBuf,
    /// Line, from 1; none if it is about the whole file.
    pub line: Option<u32>,
    /// What is wrong.
    pub what: String,
    /// What to do; may be empty where `what` leaves no doubt.
    pub remedy: String,
}

impl Problem {
    pub(crate) fn at(file: &Path, line: u32, fault: Fault) -> Self {
        Self { file: file.into(), line: Some(line), what: fault.what, remedy: fault.remedy }
    }

    pub(crate) fn of(file: &Path, fault: Fault) -> Self {
        Self { file: file.into(), line: None, what: fault.what, remedy: fault.remedy }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// What is wrong and what to do, before it is known where.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

impl Fault {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}
