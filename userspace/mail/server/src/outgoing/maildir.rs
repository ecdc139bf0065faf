//! Delivers into Maildir folders: <https://cr.yp.to/proto/maildir.html>.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use muralla_mail_envelope::MessageId;

use crate::sandbox;

/// Opens folders alone: no symbolic link, and no pipe, which would wait for whoever writes into it (open(2)).
const FOLDER: i32 =
    rustix::fs::OFlags::NOFOLLOW.union(rustix::fs::OFlags::DIRECTORY).bits().cast_signed();

/// Delivers a message, once: its file's name is made of its id, so that it is known if it was delivered before, wherever its
/// reader's program has put it since. Blocks.
pub(crate) fn deliver(
    folder: &Path,
    id: MessageId,
    received: i64,
    message: &[u8],
) -> io::Result<()> {
    let parts = ["tmp", "new", "cur"].map(|part| folder.join(part));
    let made = absent(&parts);
    for part in &parts {
        crate::folder::make(part)?;
    }
    for part in &made {
        // Whoever the folder above belongs to may have put something else there by now.
        let opened = OpenOptions::new().read(true).custom_flags(FOLDER).open(part);
        if let Ok(opened) = opened {
            belong(&opened, part, 0o700);
        }
    }
    let name = format!("{received}.{id}.muralla");
    if was_delivered(folder, &name)? {
        return Ok(());
    }
    let new = folder.join("tmp").join(format!("{name}.{:08x}", rand::random::<u32>()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&with_plain_ends(message))?;
        belong(&file, &new, 0o600);
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

/// Folders that are not there, with those above them, the uppermost first.
fn absent(folders: &[PathBuf]) -> BTreeSet<PathBuf> {
    let all = folders.iter().flat_map(|folder| {
        folder.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned)
    });
    all.collect()
}

/// What was made belongs to whom the folder above belongs to, as far as this process may give it away: another program reads it. What that
/// folder's group may do there, it may do here; all others may nothing.
fn belong(made: &File, path: &Path, own: u32) {
    let Some(above) = path.parent().and_then(|above| fs::metadata(above).ok()) else { return };
    // Root may give it to anybody, and others to a group that they are in. What is open is given away, whatever has its name by now.
    let _ = fchown(made, Some(above.uid()), Some(above.gid()))
        .or_else(|_| fchown(made, None, Some(above.gid())));
    let Ok(now) = made.metadata() else { return };
    if now.gid() != above.gid() {
        return;
    }
    let group = (own >> 3) & above.mode() & 0o070;
    // A bit that makes what is in the folder the group's as well, where the system has set it by itself.
    let kept = now.mode() & 0o2000;
    let _ = made
        .set_permissions(Permissions::from_mode(own | group | kept))
        .or_else(|_| made.set_permissions(Permissions::from_mode(own | group)));
}

/// An error, with what to do about the one that systemd makes.
pub(crate) fn told(folder: &Path, error: &io::Error) -> String {
    let place = folder.display();
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => format!("{place}: {}", sandbox::hint(folder)),
        _ => format!("{place}: {error}"),
    }
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

    /// Another program, in the group of the folder above, reads what is made here; nobody else does.
    #[test]
    fn what_is_made_is_the_group_s() {
        let folder = tempfile::tempdir().unwrap();
        for (above, folders, files) in [
            (0o770, 0o770, 0o660),
            (0o750, 0o750, 0o640),
            (0o755, 0o750, 0o640),
            (0o700, 0o700, 0o600),
        ] {
            let home = folder.path().join(format!("{above:o}"));
            fs::create_dir(&home).unwrap();
            fs::set_permissions(&home, Permissions::from_mode(above)).unwrap();
            let maildir = home.join("example.net/ann");
            deliver(&maildir, MessageId([7; 16]), 0, b"x").unwrap();
            let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
            for made in [home.join("example.net"), maildir.clone(), maildir.join("cur")] {
                assert_eq!(mode(&made), folders, "{}", made.display());
            }
            let file = fs::read_dir(maildir.join("new")).unwrap().next().unwrap().unwrap();
            assert_eq!(mode(&file.path()), files, "in {above:o}");
            // What is there already is left as it is.
            fs::set_permissions(&maildir, Permissions::from_mode(0o711)).unwrap();
            deliver(&maildir, MessageId([8; 16]), 0, b"x").unwrap();
            assert_eq!(mode(&maildir), 0o711);
        }
    }

    #[test]
    fn what_systemd_forbids_is_explained() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = folder.path().join("example.net/ann");
        let text = told(&maildir, &io::ErrorKind::ReadOnlyFilesystem.into());
        let place = folder.path().display();
        assert!(text.contains(&format!("ReadWritePaths={place}")), "{text}");
        assert!(!told(&maildir, &io::ErrorKind::NotFound.into()).contains("ReadWritePaths"));
    }

    #[test]
    fn what_can_not_be_written_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "in the way").unwrap();
        assert!(deliver(&file, MessageId([7; 16]), 0, b"x").is_err());
    }
}
