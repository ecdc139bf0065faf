//! What packs in a folder ask of a file system: little enough that a simulated one can lose power at every step.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, ReadWriteFlags};

/// A folder. Names have no `/` in them. What names are there is durable when [`sync`](Self::sync) returned.
pub(crate) trait Disk: Send + Sync + 'static {
    /// A new file that this process appends to, and others see [in use](Self::is_in_use) until it is dropped. There must be none
    /// of that name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// A file, to be read.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Whether some process appends to it.
    fn is_in_use(&self, name: &str) -> io::Result<bool>;

    /// Deletes a file, and gives its room back even if others have it open.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Puts a file there, or in place of the one that is.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// All files: name, bytes, and when they were last written to, in seconds since 1970.
    fn names(&self) -> io::Result<Vec<(String, u64, i64)>>;

    fn sync(&self) -> io::Result<()>;

    /// Bytes that are free for this process.
    fn free(&self) -> io::Result<u64>;
}

/// An open file. What is in it is durable when [`sync`](Self::sync) returned.
pub(crate) trait DiskFile: Send + Sync {
    /// Reads some bytes; none only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The same, if they needn't be waited for.
    fn read_at_once(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(buffer, offset)
    }

    /// Writes all the bytes, or fails with some of them written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    fn set_len(&self, length: u64) -> io::Result<()>;

    fn sync(&self) -> io::Result<()>;
}

/// Reads until the buffer is full or the file ends. Returns how much there was.
pub(crate) fn read_all(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..)
        && !rest.is_empty()
    {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A folder of the file system.
pub(crate) struct Folder {
    path: PathBuf,
    folder: File,
}

impl Folder {
    /// Opens it; it is made if it isn't there, for us alone, or for whom the folder belongs to that it is in.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if !path.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                let parent = File::open(parent)?;
                hand_over(&File::open(path)?, &parent)?;
                parent.sync_all()?;
            }
        }
        Ok(Self { path: path.to_owned(), folder: File::open(path)? })
    }
}

impl Disk for Folder {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path.join(name))?;
        hand_over(&file, &self.folder)?;
        // Who looks whether it is in use holds it for no longer than that.
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(File::open(self.path.join(name))?))
    }

    fn is_in_use(&self, name: &str) -> io::Result<bool> {
        let file = match File::open(self.path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        // A process that reads it may have it open for long, and would keep the room.
        match OpenOptions::new().write(true).open(&path) {
            Ok(file) => file.set_len(0)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile_in(&self.path, name)?;
        let written = io::Write::write_all(&mut file.0, bytes)
            .and_then(|()| hand_over(&file.0, &self.folder))
            .and_then(|()| file.0.sync_all())
            .and_then(|()| fs::rename(&file.1, self.path.join(name)));
        if written.is_err() {
            let _ = fs::remove_file(&file.1);
        }
        written
    }

    fn names(&self) -> io::Result<Vec<(String, u64, i64)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let about = match entry.metadata() {
                Ok(about) if about.is_file() => about,
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => continue,
            };
            let modified = about.mtime();
            names.push((name, about.len(), modified));
        }
        Ok(names)
    }

    fn sync(&self) -> io::Result<()> {
        self.folder.sync_all()
    }

    fn free(&self) -> io::Result<u64> {
        let about = rustix::fs::fstatvfs(&self.folder)?;
        Ok(about.f_bavail.saturating_mul(about.f_frsize))
    }
}

/// What root makes belongs to whom the folder belongs: an operator's commands run as root, and the service that reads it does not.
fn hand_over(made: &File, folder: &File) -> io::Result<()> {
    let owner = folder.metadata()?;
    if made.metadata()?.uid() == 0 && owner.uid() != 0 {
        fchown(made, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// A file that nobody looks at, to be given its name when it is complete.
fn tempfile_in(folder: &Path, name: &str) -> io::Result<(File, PathBuf)> {
    let path = folder.join(format!("{name}.{:016x}.new", rand::random::<u64>()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    Ok((file, path))
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn read_at_once(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut buffers = [io::IoSliceMut::new(buffer)];
        Ok(rustix::io::preadv2(self, &mut buffers, offset, ReadWriteFlags::NOWAIT)?)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        Self::set_len(self, length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_makes_belongs_to_whom_the_folder_belongs() {
        const NOBODY: u32 = 65_534;
        let top = tempfile::tempdir().unwrap();
        let owner = match rustix::process::geteuid().as_raw() {
            0 => {
                std::os::unix::fs::chown(top.path(), Some(NOBODY), Some(NOBODY)).unwrap();
                NOBODY
            }
            other => other,
        };
        let path = top.path().join("packs");
        let folder = Folder::open(&path).unwrap();
        let _file = folder.create("one").unwrap();
        folder.replace("two", b"content").unwrap();
        for made in [path.clone(), path.join("one"), path.join("two")] {
            assert_eq!(fs::metadata(&made).unwrap().uid(), owner, "{}", made.display());
        }
    }
}
