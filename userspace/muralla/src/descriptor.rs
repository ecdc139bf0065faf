//! Descriptors: those that were open before this process began, and those that are waited for. The
//! crate's only unsafe code.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// The first socket that systemd passed (socket activation), once per process.
///
/// # Errors
///
/// When the environment promises descriptors that are not there.
pub(crate) fn passed_by_systemd() -> io::Result<Option<UnixListener>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let Some(descriptor) = sd_notify::listen_fds()?.next() else {
        return Ok(None);
    };
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(None);
    }
    // SAFETY: LISTEN_PID named this process, so systemd opened the descriptor for it; listen_fds has
    // found it open, and the swap above makes this call its only owner.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    Ok(Some(UnixListener::from(descriptor)))
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
