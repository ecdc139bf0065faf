//! What a journal asks of a file system: little enough that a simulated one can lose power at every step.

use std::io;
use std::sync::Arc;

/// A folder. Names have no `/` in them.
///
/// Changes of names may be lost in a crash until [`sync`](Self::sync) returned, and contents until
/// [`DiskFile::sync`] did: each wholly or in part, in any order.
pub trait Disk: Send + Sync + 'static {
    /// The names of all files.
    ///
    /// # Errors
    /// The file system's, here and below.
    fn names(&self) -> io::Result<Vec<String>>;

    /// A new file, empty, for reading and writing. It takes the name from an older one.
    ///
    /// # Errors
    /// The file system's.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// A file that is there, for reading and writing.
    ///
    /// # Errors
    /// The file system's; [`io::ErrorKind::NotFound`] if it isn't there.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, at once and in place of the file that has it.
    ///
    /// # Errors
    /// The file system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Deletes a file. Who has it open can go on reading it.
    ///
    /// # Errors
    /// The file system's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all changes of names durable.
    ///
    /// # Errors
    /// The file system's.
    fn sync(&self) -> io::Result<()>;

    /// Bytes that are free for this process.
    ///
    /// # Errors
    /// The file system's.
    fn free(&self) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Reads some bytes; none only at the end of the file.
    ///
    /// # Errors
    /// The file system's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all the bytes, or fails with some of them written.
    ///
    /// # Errors
    /// The file system's.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes an empty file so long, of zeros, and reserves the room for it.
    ///
    /// # Errors
    /// The file system's; [`io::ErrorKind::StorageFull`] if there isn't as much room.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Cuts the file off, or has zeros follow.
    ///
    /// # Errors
    /// The file system's.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// The file system's.
    fn length(&self) -> io::Result<u64>;

    /// Makes the contents durable (`fdatasync`). When it fails, what was written since the last success is in doubt for
    /// good: the kernel may drop the pages and have the next sync succeed.
    ///
    /// # Errors
    /// The file system's.
    fn sync(&self) -> io::Result<()>;
}

/// The end of a name that a file has until it is complete. Such files are deleted when a journal is opened.
pub(crate) const NEW: &str = ".new";

/// Puts a file in place of another: after a crash there is the old one or the new one, whole.
pub(crate) fn replace(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
    let new = format!("{name}{NEW}");
    let attempt = || {
        let file = disk.create(&new)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        disk.rename(&new, name)?;
        disk.sync()?;
        Ok(file)
    };
    attempt().inspect_err(|_| {
        // On a full disk the half of it would keep it full. What has its name already is whole.
        let _ = disk.remove(&new);
    })
}

/// The first bytes of a file, at most so many. None if there is no such file.
pub(crate) fn read_file(disk: &dyn Disk, name: &str, most: usize) -> io::Result<Option<Vec<u8>>> {
    match disk.open(name) {
        Ok(file) => read_head(&*file, most).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The first bytes of a file, at most so many.
pub(crate) fn read_head(file: &dyn DiskFile, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..)
        && !rest.is_empty()
    {
        match read_legible(file, rest, filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Reads some bytes. A block that the medium can't give back reads as zeros, so that its neighbours are not lost with it.
pub(crate) fn read_legible(
    file: &dyn DiskFile,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    const BLOCK: u64 = 4096;
    let illegible =
        |error: &io::Error| error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
    match file.read_at(buffer, offset) {
        Err(error) if illegible(&error) => {
            let block = usize::try_from(BLOCK - offset % BLOCK).unwrap_or(usize::MAX);
            let length = block.min(buffer.len());
            let block = buffer.get_mut(..length).unwrap_or_default();
            match file.read_at(block, offset) {
                Err(error) if illegible(&error) => {
                    block.fill(0);
                    Ok(length)
                }
                result => result,
            }
        }
        result => result,
    }
}

/// Writes zeros to the whole of a file.
pub(crate) fn fill<F: DiskFile + ?Sized>(file: &F, length: u64) -> io::Result<()> {
    const PIECE: u64 = 1 << 20;
    let zeros = vec![0; usize::try_from(PIECE.min(length)).unwrap_or_default()];
    let mut offset = 0;
    while offset < length {
        let count = usize::try_from(length - offset).unwrap_or(usize::MAX).min(zeros.len());
        file.write_at(zeros.get(..count).unwrap_or_default(), offset)?;
        offset += count as u64;
    }
    Ok(())
}

/// A file of bytes that are there already.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) struct Memory(pub(crate) Vec<u8>);

#[cfg(any(test, feature = "fuzzing"))]
impl DiskFile for Memory {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let mut rest = self.0.get(from..).unwrap_or_default();
        io::Read::read(&mut rest, buffer)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of which one block can't be read.
    struct Scratched(Memory, std::ops::Range<u64>);

    impl DiskFile for Scratched {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let end = offset + buffer.len() as u64;
            if offset < self.1.end && self.1.start < end {
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
            }
            self.0.read_at(buffer, offset)
        }

        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            self.0.write_at(bytes, offset)
        }

        fn allocate(&self, length: u64) -> io::Result<()> {
            self.0.allocate(length)
        }

        fn set_len(&self, length: u64) -> io::Result<()> {
            self.0.set_len(length)
        }

        fn length(&self) -> io::Result<u64> {
            self.0.length()
        }

        fn sync(&self) -> io::Result<()> {
            self.0.sync()
        }
    }

    #[test]
    fn a_bad_sector_costs_its_block_alone() {
        let whole: Vec<u8> = (0..40_000u32).map(|at| (at % 251) as u8 | 1).collect();
        let file = Scratched(Memory(whole.clone()), 9_000..9_512);
        let read = read_head(&file, 100_000).unwrap();
        assert_eq!(read.len(), whole.len());
        for (at, (read, written)) in read.iter().zip(&whole).enumerate() {
            let expected = if (8192..12288).contains(&at) { 0 } else { *written };
            assert_eq!(*read, expected, "at {at}");
        }
    }
}
