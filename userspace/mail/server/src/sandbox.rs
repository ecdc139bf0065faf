//! What systemd lets the service write to: what lies elsewhere has to be named in the unit.

use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;

/// What to do about a place that is read-only for this process.
pub(crate) fn hint(place: &Path) -> String {
    format!(
        "nothing may be written there: systemd lets the service write below /var/lib/muralla-mail alone, so that for another place \
         `systemctl edit muralla-mail` has to say, below [Service], ReadWritePaths={}",
        there(place).display()
    )
}

/// Whether a place, or where it is to be made, is read-only for this process, whoever it is.
pub(crate) fn is_read_only(place: &Path) -> bool {
    access(there(place), Access::WRITE_OK) == Err(Errno::ROFS)
}

/// As much of it as is there.
fn there(place: &Path) -> &Path {
    let there = place.ancestors().find(|place| place.exists());
    // Of a file, the folder: SQLite makes others beside it.
    there
        .and_then(|there| if there.is_file() { there.parent() } else { Some(there) })
        .unwrap_or(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_can_not_be_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mail.db");
        std::fs::write(&file, "x").unwrap();
        for place in [file.clone(), folder.path().join("packs/here"), folder.path().to_owned()] {
            assert!(!is_read_only(&place));
            let text = hint(&place);
            let expected = format!("ReadWritePaths={}", folder.path().display());
            assert!(text.ends_with(&expected), "{text}");
        }
    }
}
