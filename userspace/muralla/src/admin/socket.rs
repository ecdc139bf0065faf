//! The listening end of the admin socket.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error(
        "another muralla is running: {0} answers; stop it first, or choose another [admin] socket"
    )]
    Alive(PathBuf),
    #[error("{0} is there and is no socket; remove it, or choose another [admin] socket")]
    NotASocket(PathBuf),
    #[error("can't listen on {path}: {reason}; run as root, or choose another [admin] socket")]
    Bind { path: PathBuf, reason: io::Error },
}

/// Listens on `path`, or on the socket that was `passed`. Who is in the socket's group may use it
/// (mode 0660). A socket that a dead daemon left is replaced.
pub(crate) fn listen(
    path: &Path,
    passed: Option<UnixListener>,
) -> Result<UnixListener, SocketError> {
    let failed = |reason| SocketError::Bind { path: path.to_owned(), reason };
    let listener = passed.map_or_else(|| bind(path), Ok)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    let failed = |reason| SocketError::Bind { path: path.to_owned(), reason };
    if let Ok(metadata) = fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(SocketError::Alive(path.to_owned()));
        }
        fs::remove_file(path).map_err(failed)?;
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    // Bound under another name and renamed, so that nobody finds it with wider permissions.
    let mut hidden = path.as_os_str().to_owned();
    hidden.push(".new");
    let hidden = PathBuf::from(hidden);
    let _ = fs::remove_file(&hidden);
    let listener = UnixListener::bind(&hidden).map_err(failed)?;
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o660)).map_err(failed)?;
    fs::rename(&hidden, path).map_err(failed)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/admin.sock");
        let first = listen(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(listen(&path, None), Err(SocketError::Alive(_))));
        drop(first);
        assert!(path.exists(), "a dead daemon leaves its socket");
        let second = listen(&path, None).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);

        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(listen(&path, None), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
