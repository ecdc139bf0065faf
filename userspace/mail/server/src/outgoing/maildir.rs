//! Delivers into Maildir folders: <https://cr.yp.to/proto/maildir.html>.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use muralla_mail_envelope::MessageId;

/// Delivers a message, once: its file's name is made of its id, so that it is known if it was delivered before, wherever its
/// reader's program has put it since. Blocks.
pub(crate) fn deliver(
    folder: &Path,
    id: MessageId,
    received: i64,
    message: &[u8],
) -> io::Result<()> {
    for part in ["tmp", "new", "cur"] {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.join(part))?;
    }
    let name = format!("{received}.{id}.muralla");
    if was_delivered(folder, &name)? {
        return Ok(());
    }
    let new = folder.join("tmp").join(format!("{name}.{:08x}", rand::random::<u32>()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&with_plain_ends(message))?;
        file.sync_all()?;
        let inbox = folder.join("new");
        fs::rename(&new, inbox.join(&name))?;
        File::open(inbox)?.sync_all()
    })();
    if written.is_err() {
        // Nobody looks there, and whoever tidies up removes what is older than a day and a half.
        let _ = fs::remove_file(&new);
    }
    written
}

fn was_delivered(folder: &Path, name: &str) -> io::Result<bool> {
    if folder.join("new").join(name).try_exists()? {
        return Ok(true);
    }
    for entry in fs::read_dir(folder.join("cur"))? {
        // Flags stand behind a colon.
        let file = entry?.file_name();
        if file.to_str().is_some_and(|file| file.split(':').next() == Some(name)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Lines of files end with LF.
fn with_plain_ends(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    let mut bytes = message.iter().peekable();
    while let Some(byte) = bytes.next() {
        if !(*byte == b'\r' && bytes.peek() == Some(&&b'\n')) {
            out.push(*byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivered_once_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("ann");
        let id = MessageId([7; 16]);
        let message = b"Subject: one\r\n\r\nfirst\r\nsecond\r\r\n";
        for _ in 0..2 {
            deliver(&home, id, 1_800_000_000, message).unwrap();
        }
        let files = |part: &str| -> Vec<_> {
            let files = fs::read_dir(home.join(part)).unwrap();
            files.map(|file| file.unwrap().path()).collect()
        };
        let new = files("new");
        assert_eq!(new.len(), 1);
        assert_eq!(fs::read(&new[0]).unwrap(), b"Subject: one\n\nfirst\nsecond\r\n");
        let name = new[0].file_name().unwrap().to_str().unwrap().to_owned();
        fs::rename(&new[0], home.join("cur").join(format!("{name}:2,S"))).unwrap();
        deliver(&home, id, 1_800_000_000, message).unwrap();
        assert_eq!((files("new").len(), files("cur").len(), files("tmp").len()), (0, 1, 0));
        deliver(&home, MessageId([8; 16]), 1_800_000_000, message).unwrap();
        assert_eq!(files("new").len(), 1);
    }

    #[test]
    fn what_can_not_be_written_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "in the way").unwrap();
        assert!(deliver(&file, MessageId([7; 16]), 0, b"x").is_err());
    }
}
