//! Folders of this machine that are made, and are there after a power cut.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a folder, for us alone, and those that it is in. When it returns, all that were made are durable. Blocks.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    make_with(path, &mut |folder| fs::File::open(folder)?.sync_all())
}

/// The name of a folder that was made stands in the one that it is in: that is flushed.
fn make_with(path: &Path, flush: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    make_with(parent, flush)?;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        // Somebody else made it at the same moment, and has not flushed it yet, perhaps.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    flush(parent)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn every_folder_with_a_new_one_in_it_is_flushed() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a"), folder.path().join("a/b"));
        let mut flushed: Vec<PathBuf> = Vec::new();
        let mut flush = |folder: &Path| {
            flushed.push(folder.to_owned());
            Ok(())
        };
        make_with(&second, &mut flush).unwrap();
        make_with(&second, &mut flush).unwrap();
        make_with(&first.join("c"), &mut flush).unwrap();
        assert_eq!(flushed, [folder.path().to_owned(), first.clone(), first]);
        let mode = fs::metadata(&second).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        make(&second.join("d/e")).unwrap();
        assert!(second.join("d/e").is_dir());
    }

    #[test]
    fn what_can_not_be_flushed_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let mut broken = |_: &Path| Err(io::Error::other("bad sector"));
        assert!(make_with(&folder.path().join("a/b"), &mut broken).is_err());
        assert!(!folder.path().join("a/b").exists());
        fs::write(folder.path().join("file"), "in the way").unwrap();
        assert!(make(&folder.path().join("file/a")).is_err());
    }
}
