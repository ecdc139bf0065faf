//! Descriptors: those that were open before this process began, and those that are waited for. The
//! crate's only unsafe code.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tracing::warn;

/// The name that the units give to the admin socket.
const ADMIN: &str = "admin";

/// And to the one that services tell the wall at.
const REPORTS: &str = "reports";

/// What systemd passed to this process.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    /// The admin socket (socket activation).
    pub(crate) admin: Option<UnixListener>,
    /// The socket that services tell the wall at.
    pub(crate) reports: Option<UnixListener>,
    /// Sockets of a process before this one, by the names under which it stored them.
    pub(crate) kept: Vec<(String, OwnedFd)>,
}

/// A role's sockets by their names, for systemd to keep through a restart.
pub(crate) fn copies(sockets: Vec<(String, BorrowedFd<'_>)>) -> Vec<(String, OwnedFd)> {
    let copy = |(name, socket): (String, BorrowedFd<'_>)| match socket.try_clone_to_owned() {
        Ok(copy) => Some((name, copy)),
        Err(error) => {
            warn!(name, %error, "a socket can't be kept through a restart");
            None
        }
    };
    sockets.into_iter().filter_map(copy).collect()
}

/// Takes what systemd passed, once per process: every later call gets nothing.
///
/// # Errors
///
/// When the environment promises descriptors that are not there.
pub(crate) fn passed_by_systemd() -> io::Result<Inherited> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let mut inherited = Inherited::default();
    let descriptors = sd_notify::listen_fds_with_names()?;
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(inherited);
    }
    for (descriptor, name) in descriptors {
        // SAFETY: LISTEN_PID named this process, so systemd opened the descriptor for it; it was found
        // open just now, and the swap above makes this call its only owner.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        // A unit without FileDescriptorName= gives its own name.
        let admin = name == ADMIN || name.ends_with(".socket") || name == "unknown";
        if name == REPORTS && inherited.reports.is_none() {
            inherited.reports = Some(UnixListener::from(descriptor));
        } else if admin && inherited.admin.is_none() {
            inherited.admin = Some(UnixListener::from(descriptor));
        } else {
            inherited.kept.push((name, descriptor));
        }
    }
    Ok(inherited)
}

/// A descriptor that can be waited for.
#[derive(Debug)]
pub(crate) struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// For use within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the descriptor is none that can be polled.
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        // SAFETY: an OwnedFd names the same open descriptor until it is dropped, and only `wait` below
        // reaches it, so that nobody can put another one in its place.
        let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
        Ok(Self(watched?))
    }

    /// Returns when there is something to read; whoever has read all says so with `clear_ready`.
    pub(crate) async fn wait(&self) -> io::Result<AsyncFdReadyGuard<'_, OwnedFd>> {
        self.0.readable().await
    }
}
