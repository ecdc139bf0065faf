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
    pub(crate) fn at(
        file: &Path,
        line: u32,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { file: file.into(), line: Some(line), what: what.into(), remedy: remedy.into() }
    }

    pub(crate) fn of(file: &Path, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, what: what.into(), remedy: remedy.into() }
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
