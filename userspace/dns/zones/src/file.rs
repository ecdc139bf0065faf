//! Files of zones and lists, read whole.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
///
/// When it is something else, larger, or can't be read.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Opening a FIFO would wait for a writer, so the kind is looked at before.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len().min(most);
    let mut text = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(most.saturating_add(1)).read_to_end(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::other(format!("more than {most} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_a_regular_file_is_read_and_nobody_waits_for_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("zone");
        fs::write(&path, "12345678").unwrap();
        assert_eq!(read(&path, 8).unwrap(), b"12345678");
        assert!(read(&path, 7).unwrap_err().to_string().contains("more than 7 bytes"));
        fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        for other in [&path, folder.path()] {
            let error = read(other, 8).unwrap_err();
            assert_eq!(error.to_string(), "not a regular file", "{}", other.display());
        }
        assert_eq!(
            read(&folder.path().join("none"), 8).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
