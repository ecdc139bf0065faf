//! Files that include others, within bounds.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What may still be read, and what is being read.
#[derive(Debug)]
pub(crate) struct Files {
    /// Real paths, the outermost first.
    open: Vec<PathBuf>,
    bytes: u64,
    count: usize,
    depth: usize,
}

impl Files {
    /// `bytes` of all files together, `count` files, `depth` files within files.
    pub(crate) fn new(bytes: u64, count: usize, depth: usize) -> Self {
        Self { open: Vec::new(), bytes, count, depth }
    }

    /// None at all may be read.
    pub(crate) fn none() -> Self {
        Self::new(0, 0, 0)
    }

    /// The text of a file. [`Files::leave`] it once it is read.
    pub(crate) fn enter(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        if self.count == 0 {
            return Err("is one file more than may be read".into());
        }
        if self.open.len() >= self.depth {
            return Err(format!("is the {}th file within another", self.open.len()));
        }
        let unreadable = |error| format!("can't be read: {error}");
        // A device or a pipe might never end, or never begin.
        if !fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err("is not a regular file".into());
        }
        let real = path.canonicalize().map_err(unreadable)?;
        if self.open.contains(&real) {
            return Err("includes itself".into());
        }
        let mut text = Vec::new();
        let file = fs::File::open(&real).map_err(unreadable)?;
        file.take(self.bytes.saturating_add(1)).read_to_end(&mut text).map_err(unreadable)?;
        let Some(left) = self.bytes.checked_sub(text.len() as u64) else {
            return Err("is longer than all files together may be".into());
        };
        self.bytes = left;
        self.count -= 1;
        self.open.push(real);
        Ok(text)
    }

    pub(crate) fn leave(&mut self) {
        self.open.pop();
    }
}

/// The path of what a file includes.
pub(crate) fn beside(file: &Path, written: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(written)
}

/// The text without a byte order mark, which is no part of its first word.
pub(crate) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}
