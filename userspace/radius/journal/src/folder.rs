//! The real disk: a folder of a file system.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::disk::{self, Disk, DiskFile};
use crate::error::JournalError;

/// The file that says who has the journal open.
const LOCK: &str = "lock";

/// A folder that a journal is in.
pub(crate) struct Folder {
    folder: File,
}

impl Folder {
    /// Opens the folder, which is made if it isn't there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let made = !path.exists();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let folder = File::open(path)?;
        if made {
            // Its name must be as durable as what will be in it. Parents that are not ours to sync were there before.
            for parent in path.ancestors().skip(1) {
                let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                if let Err(error) = File::open(parent).and_then(|parent| parent.sync_all()) {
                    tracing::debug!(folder = %parent.display(), %error, "can't be synced");
                }
            }
        }
        Ok(Self { folder })
    }

    /// Has no other process open the journal for as long as the file is open.
    pub(crate) fn lock(&self) -> Result<File, JournalError> {
        let failed = |source| JournalError::Disk { what: "lock", name: LOCK.to_owned(), source };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let mut lock = self.openat(LOCK, flags).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let read = lock.take(32).read_to_string(&mut holder);
                return Err(JournalError::Locked {
                    pid: read.ok().and_then(|_| holder.trim().parse().ok()),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Only what a person or the next one reads: that it can't be written to a full disk is no reason to stop.
        let told = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        if let Err(error) = told {
            tracing::debug!(%error, "the lock file doesn't tell who has it");
        }
        Ok(lock)
    }

    fn openat(&self, name: &str, flags: OFlags) -> io::Result<File> {
        // Nobody else reads what customers do.
        Ok(rustix::fs::openat(&self.folder, name, flags, Mode::from_raw_mode(0o600))?.into())
    }
}

impl Disk for Folder {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.folder)? {
            // A name that is no text is none of ours.
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        match self.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        Ok(Arc::new(self.openat(name, flags)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.openat(name, OFlags::RDWR | OFlags::CLOEXEC)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.folder, from, &self.folder, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.folder, name, AtFlags::empty())?)
    }

    fn sync(&self) -> io::Result<()> {
        self.folder.sync_all()
    }

    fn free(&self) -> io::Result<u64> {
        let of = rustix::fs::fstatvfs(&self.folder)?;
        Ok(of.f_bavail.saturating_mul(of.f_frsize))
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let allocate = || rustix::fs::fallocate(self, FallocateFlags::empty(), 0, length);
        match rustix::io::retry_on_intr(allocate) {
            // Some file systems can't: then the zeros have to be written for the room to be ours.
            Err(Errno::OPNOTSUPP) => disk::fill(self, length),
            result => Ok(result?),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        Self::set_len(self, length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_what_the_trait_says() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("deep").join("journal");
        let folder = Folder::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(folder.names().unwrap(), Vec::<String>::new());
        assert_eq!(folder.open("a").err().unwrap().kind(), io::ErrorKind::NotFound);

        let file = folder.create("a").unwrap();
        assert_eq!(fs::metadata(path.join("a")).unwrap().permissions().mode() & 0o777, 0o600);
        file.allocate(10_000).unwrap();
        assert_eq!(file.length().unwrap(), 10_000);
        file.write_at(b"here", 9_998).unwrap();
        file.sync().unwrap();
        let mut read = [1; 6];
        assert_eq!(file.read_at(&mut read, 9_996).unwrap(), 6);
        assert_eq!(&read, b"\0\0here");
        assert_eq!(file.read_at(&mut read, 10_002).unwrap(), 0);
        file.set_len(9_999).unwrap();
        assert_eq!(folder.open("a").unwrap().length().unwrap(), 9_999);

        let other = folder.create("a").unwrap();
        assert_eq!((other.length().unwrap(), file.length().unwrap()), (0, 9_999));
        folder.rename("a", "b").unwrap();
        folder.sync().unwrap();
        assert_eq!(folder.names().unwrap(), ["b"]);
        folder.remove("b").unwrap();
        assert_eq!(folder.names().unwrap(), Vec::<String>::new());
        assert!(folder.free().unwrap() > 0);
    }

    #[test]
    fn a_folder_has_one_holder() {
        let above = tempfile::tempdir().unwrap();
        let folder = Folder::open(above.path()).unwrap();
        let lock = folder.lock().unwrap();
        let again = Folder::open(above.path()).unwrap();
        match again.lock() {
            Err(JournalError::Locked { pid }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(lock);
        again.lock().unwrap();
    }
}
